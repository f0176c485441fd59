"""What an option of a command may be: the types that all of the lab's commands give to `argparse`.

Each takes the text that was typed, and gives its value; or raises an error that says what came and what was expected,
which `argparse` tells below the command's usage. So a wrong option ends a command before it has done anything.
"""

from __future__ import annotations

import csv
import math
import re
from argparse import ArgumentTypeError

MOST_SEED = 2**64 - 1  # PyTorch's generators take no larger one
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")  # int() would read 1_000, too, and stops at 4300 digits
# of Dask's kinds of addresses, those that lead to another machine; a name, a number, or IPv6's in brackets; the port
_ADDRESS = re.compile(r"(?:(?:tcp|tls|wss?)://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")


def _refused(text: str, expected: str) -> ArgumentTypeError:
    return ArgumentTypeError(f"expected {expected}, not {text!r:.80}")


def _whole(text: str, expected: str, least: int, most: float = math.inf) -> int:
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise _refused(text, expected)
    return int(text)


def count(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole(text, "a whole number of 1 or more", 1)


def count_or_zero(text: str) -> int:
    """A whole number of 0 or more, for an option to which 0 means something else than a small number."""
    return _whole(text, "a whole number of 0 or more", 0)


def seed(text: str) -> int:
    """A whole number that PyTorch takes as a seed: 0 to `MOST_SEED`."""
    return _whole(text, f"a whole number from 0 to {MOST_SEED}", 0, MOST_SEED)


def seconds(text: str) -> float:
    """A finite number above 0."""
    found = _seconds(text, expected := "a number of seconds above 0")
    if not found:
        raise _refused(text, expected)
    return found


def seconds_or_zero(text: str) -> float:
    """A finite number of 0 or more, for an option to which 0 means something else than a short time."""
    return _seconds(text, "a number of seconds, 0 or more")


def _seconds(text: str, expected: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise _refused(text, expected)
    return found


def address(text: str) -> str:
    """The address of a Dask scheduler: tcp://host:port, or host:port; whether anybody answers there is not asked."""
    found = _ADDRESS.fullmatch(text)
    if not found or not 0 < int(found[1]) < 2**16:
        raise _refused(text, "the address of a Dask scheduler, such as tcp://10.0.0.1:8786")
    return text


def names(text: str) -> list[str]:
    """Names that are separated by commas; one with a comma in it is in double quotes."""
    return next(csv.reader([text], skipinitialspace=True), [])
