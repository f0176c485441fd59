"""Which code made a result: checksums of source, without what only people read."""

from __future__ import annotations

import ast
import io
import sys
import threading
import tokenize
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from lab_utils.base.files import sha256

_PARSING = threading.Lock()  # CPython 3.11 stops with a SystemError now and then where two threads parse at once
_HAVE_DOCSTRINGS = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _parsed(source: str) -> ast.Module:
    with _PARSING:
        return ast.parse(source)


def decisive(source: str) -> str:
    """Python source without its comments, docstrings and blank lines, which decide nothing that the code gives."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(_parsed(source)):
        if isinstance(node, _HAVE_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            if not lines[text.lineno - 1][: text.col_offset].strip():  # it has its lines for itself
                lines[text.lineno - 1 : text.end_lineno] = [""] * (text.end_lineno - text.lineno + 1)  # type: ignore[operator]
    return "".join(line.rstrip() + "\n" for line in lines if line.strip())


def _path(module: str) -> Path | None:
    """The file of a module; None if there is none of that name."""
    if module == "__main__":  # a script, or a module that was run as one
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    top, *inner = module.split(".")
    spec = find_spec(top)  # of what lies in it, this would import the packages around
    if spec is None:
        return None
    places = [Path(folder, *inner) for folder in spec.submodule_search_locations or ()] if inner else []
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    if not inner and spec.has_location and spec.origin:
        files = [Path(spec.origin)]
    return next((file for file in files if file.is_file()), None)


def code_checksum(*modules: str) -> str:
    """A checksum of what decides in modules, given by their names: when it changes, nothing old is taken for new.

    Raises:
        ValueError: there is no such module.
    """
    paths = {module: _path(module) for module in modules}
    if missing := [module for module, path in paths.items() if path is None]:
        raise ValueError(f"there is no module {', '.join(missing)}")
    return sha256("".join(decisive(path.read_text(encoding="utf-8")) for path in paths.values() if path).encode())


def imported(module: str, counts: Callable[[str], bool]) -> list[str]:
    """A module and those that it imports, directly or by others, as far as their names count; sorted."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found.add(name)
        for node in ast.walk(_parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                left += filter(counts, (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
            elif isinstance(node, ast.Import):
                left += filter(counts, (alias.name for alias in node.names))
    return sorted(found)
