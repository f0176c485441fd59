"""Which code made a result: checksums of source, without what only people read."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from lab_utils.base.files import sha256

# By tokens and patterns, not by `ast`: in CPython 3.11 that stops with a SystemError where two threads parse at once.
_BETWEEN = (tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
_FROM = re.compile(r"^\s*from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]*)", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import\s+([^\n]*)", re.MULTILINE)


def decisive(source: str) -> str:
    """Python source without comments, docstrings and blank lines, which decide nothing that the code gives."""
    lines = source.splitlines()
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
        elif token.type == tokenize.NEWLINE:
            if [part.type for part in statement] == [tokenize.STRING]:  # a text for itself
                first, last = statement[0].start[0], statement[0].end[0]
                lines[first - 1 : last] = [""] * (last - first + 1)
            statement = []
        elif token.type not in _BETWEEN:
            statement.append(token)
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
        source = decisive(path.read_text(encoding="utf-8"))
        named = [module for names in _IMPORT.findall(source) for module in _names(names)]
        for package, names in _FROM.findall(source):
            named += [package, *(f"{package}.{inner}" for inner in _names(names))]
        left += filter(counts, named)
    return sorted(found)


def _names(text: str) -> list[str]:
    """What is imported: "(a as b, c)" is a and c."""
    return [part.split()[0] for part in text.strip("()\n ").split(",") if part.strip()]
