"""Which outputs of a notebook show what a student's functions gave: in a copy, those would be the solutions' results.

A name is *theirs* if a solution's cell defines it, or if it was made with such a name: `points = loop(noise)`, and then
`rows = read(points)`. Names are followed from one statement to the next, as they stand in the notebook.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Sequence


def parsed(source: str) -> list[ast.stmt]:
    """The statements of a cell; none if it is no Python but has a command of IPython's."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements in their order, those of loops and branches as well; each loop begins by giving its name away."""
    for statement in body:
        match statement:
            case ast.For():
                yield ast.copy_location(ast.Assign([statement.target], statement.iter), statement)
                yield from statements([*statement.body, *statement.orelse])
            case ast.If() | ast.While():
                yield ast.Expr(statement.test)
                yield from statements([*statement.body, *statement.orelse])
            case ast.With():
                yield from (ast.Expr(item.context_expr) for item in statement.items)
                yield from statements(statement.body)
            case _:
                yield statement


def names(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The names that a statement uses, also in its functions, and those that it gives to something."""
    tables = [symtable.symtable(ast.unparse(statement), "cell", "exec")]
    given = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    used: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        own = table.get_type() == "module"
        used |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (own or s.is_global())}
    return used, given


def defined(source: str) -> set[str]:
    """The names that a cell gives to something."""
    return set().union(*(names(statement)[1] for statement in statements(parsed(source))))


def filled(statement: ast.stmt) -> set[str]:
    """The names of what a statement puts something into: rows, of `rows["none"] = 1`."""
    return {
        node.value.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
    }


def shows(source: str, theirs: set[str]) -> bool:
    """Whether a cell uses one of the names that are theirs. Afterwards these are those that are theirs after it."""
    found = False
    for statement in statements(parsed(source)):
        used, given = names(statement)
        if used & theirs:
            found = True
            theirs |= given | filled(statement)
        else:
            theirs -= given
    return found
