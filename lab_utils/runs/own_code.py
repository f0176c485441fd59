"""What the code of a class does, as a checksum: so that a network that was changed is not taken for the old one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from lab_utils.base.files import sha256


def own_code(kind: type) -> str:
    """A checksum of the code of a class and of those that it is derived from; "" for the lab's own.

    Of a class from a file the whole file counts; of one that was written in a notebook, its methods and the functions,
    classes and plain values of the notebook that they name.
    """
    ours = {"lab_utils", "torch", "builtins"}
    foreign = [each for each in kind.__mro__ if each.__module__.partition(".")[0] not in ours]
    return sha256("\n".join(_told(foreign)).encode()) if foreign else ""


def _told(kinds: list[type]) -> Iterator[str]:
    seen: set[int] = set()
    for kind in kinds:
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if file and Path(file).is_file():
            yield Path(file).read_text(encoding="utf-8")
        else:
            yield from _of(kind, seen)


def _of(thing: Any, seen: set[int]) -> Iterator[str]:
    """What a value does, a line for each of its parts, not where it stands."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, type):
        for name, member in sorted(vars(thing).items()):
            if name not in {"__doc__", "__dict__", "__weakref__", "__module__", "__firstlineno__"}:
                yield name
                yield from _of(member, seen)
    elif isinstance(thing, staticmethod | classmethod):
        yield from _of(thing.__func__, seen)
    elif isinstance(thing, property):
        yield from _of(thing.fget, seen)
    elif isinstance(thing, FunctionType):
        yield f"{inspect.signature(thing)} {thing.__defaults__} {thing.__kwdefaults__}"
        yield from _of_code(thing.__code__)
        for name in thing.__code__.co_names:
            value = thing.__globals__.get(name)
            if getattr(value, "__module__", None) == thing.__module__:
                yield from _of(value, seen)
            elif isinstance(value, bool | int | float | str | tuple):
                yield f"{name} = {value!r}"


def _of_code(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant)
        else:
            yield repr(constant)
