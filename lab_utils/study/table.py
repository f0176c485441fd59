"""Runs and their results in one tidy CSV file, which survives whatever happens to the processes that write it.

The file has one line for each row that a run gave. Its columns are, in this order:

    run                                     the run's key, a checksum of its configuration
    (the configuration's columns)           what the function was called with
    lab, python, torch, processor, seconds  which code ran where, and for how long; the same in all rows of a run
    (the results' columns)                  what the function gave

Lines are sorted by the configuration's columns, numbers as numbers, so which run ended first leaves no trace.

Which runs are there already is told by the key alone. It is made of the configuration's names and values in whatever
order; 1 and 1.0 are the same, and a value of None, NaN or "" is the same as no such column. So a column that joins
the configuration later leaves the old runs valid wherever it is None. The key says nothing of the function: when the
function changes, name another file, or give the configurations a column with its version.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lab_utils.base.files import clear_parts, in_a_line, lock, sha256, target, write_whole

FACTS = ("lab", "python", "torch", "processor", "seconds")  # the columns that tell where and how long a run ran

REMEDY = "It is left as it is; mend it or move it away, or name another file"

Configuration = Mapping[str, Any]  # column → bool, int, float, str or None; NumPy's scalars too
Rows = list[dict[str, str]]  # of one run: column → cell


class TableError(ValueError):
    """The configurations, the file or the results aren't what they should be; the message says which and where."""


# --- Values, cells and keys --------------------------------------------------------------------------------------


def _plain(name: str, value: Any) -> bool | int | float | str | None:
    """`value` as one of Python's own scalars, with None for whatever is nothing.

    Raises:
        TableError: it is something else, or text that would not fit in one line.
    """
    value = value.item() if hasattr(value, "item") else value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, bool | int | float | str) or not str(value).isprintable():
        raise TableError(f"{name!r} must be a number, True, False, None or a line of text, not {value!r}")
    return value


def cell(name: str, value: Any) -> str:
    """`value` as it stands in the file, under the column `name`; raises a `TableError` if it can't stand there."""
    plain = _plain(name, value)
    return "" if plain is None else str(plain)


def run_key(configuration: Configuration) -> str:
    """The key of the run with this configuration: 16 hexadecimal digits (the module's text says what it is made of).

    Raises:
        TableError: a column has no name, has the name of one that every file has, or a value that is no scalar.
    """
    values = {}
    for name, value in configuration.items():
        if not isinstance(name, str) or not name.isprintable() or name in ("", "run", *FACTS):
            raise TableError(f"{name!r} can't be a column of the configuration")
        plain = _plain(name, value)
        if plain is not None:
            values[name] = int(plain) if isinstance(plain, float) and plain.is_integer() else plain
    return sha256(json.dumps(values, sort_keys=True).encode())[:16]


# --- The file ----------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """A file's content, every cell as its text, so that nothing changes on the way through."""

    inputs: list[str] = field(default_factory=list)  # the configuration's columns
    outputs: list[str] = field(default_factory=list)  # the results' columns
    runs: dict[str, Rows] = field(default_factory=dict)  # run's key → its rows


def read(path: Path) -> Table:
    """What stands in the file at `path`; nothing where there is none.

    Raises:
        TableError: it is no table of the engine's, or damaged; the message says where and what to do.
    """
    if not path.exists():
        return Table()
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines(), strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise TableError(f"{path} can't be read as a table: {error}. {REMEDY}") from error
    first = header.index(FACTS[0]) if FACTS[0] in header else 0
    last = first + len(FACTS)
    if header[:1] != ["run"] or header[first:last] != [*FACTS] or len(set(header)) < len(header):
        raise TableError(
            f"{path} has the columns {', '.join(header)}; expected: run, the configuration's, {', '.join(FACTS)}, "
            f"the results'. {REMEDY}"
        )
    table = Table(header[1:first], header[last:])
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise TableError(f"{path}, line {number}: {len(cells)} cells under {len(header)} columns. {REMEDY}")
        if not re.fullmatch("[0-9a-f]{16}", cells[0]):
            raise TableError(f"{path}, line {number}: {cells[0]!r} in column run is no run's key. {REMEDY}")
        table.runs.setdefault(cells[0], []).append(dict(zip(header, cells, strict=True)))
    if not text.endswith("\n"):
        raise TableError(f"{path}, line {len(lines) + 1}: the line is cut off. {REMEDY}")
    return table


def check_inputs(path: Path, table: Table, inputs: list[str]) -> None:
    """Refuse to add runs with the configuration's columns `inputs` to a table of another kind."""
    for name in table.inputs:
        if name not in inputs:
            raise TableError(
                f"{path} has the column {name!r}, which the configurations lack (theirs are {', '.join(inputs)}); "
                f"name another file, or give them {name}=None"
            )
    for name in inputs:
        if name in table.outputs:
            raise TableError(f"{path} has {name!r} as a result, so it can't be in a configuration; name another file")


def select(table: pd.DataFrame, wanted: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that have all these values, column → value."""
    return table[(table[[*wanted]] == pd.Series(wanted)).all(axis=1)]


def _rank(cell: str) -> tuple[int, float, str]:
    """Where `cell` stands in its column: numbers, then text, then nothing."""
    with suppress(ValueError):
        number = float(cell)
        if not math.isnan(number):
            return 0, number, cell
    return (1 if cell else 2), 0.0, cell


def add_run(path: Path, inputs: list[str], key: str, rows: Rows) -> None:
    """Put the rows of the run `key` into the file at `path`, together with whatever another process put there.

    If the run is there already, it stays, unless another version of the code made it.

    Raises:
        TableError: it can't be written, or what another process put there can't be read; it is left as it is.
    """
    try:
        _add_run(path, inputs, key, rows)
    except OSError as error:
        raise TableError(in_a_line(error)) from error


def _add_run(path: Path, inputs: list[str], key: str, rows: Rows) -> None:
    path = target(path)  # beside which a killed process leaves what it has half written
    with lock(path):
        clear_parts(path.parent, path.name)
        table = read(path)
        if table.runs.get(key, [{}])[0].get("lab") != rows[0]["lab"]:
            table.runs[key] = rows
        inputs = list(dict.fromkeys([*table.inputs, *inputs]))
        known = ("run", *inputs, *FACTS)
        outputs = dict.fromkeys([*table.outputs, *(name for row in rows for name in row if name not in known)])
        with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*known, *outputs], restval="", lineterminator="\n")
            writer.writeheader()
            for run in sorted(table.runs.values(), key=lambda run: [_rank(run[0].get(name, "")) for name in inputs]):
                writer.writerows(run)


def read_table(path: str | Path) -> pd.DataFrame:
    """The file that `run_table` wrote, one row for each of its lines.

    A column of whole numbers has integers, one of other numbers has floats (to the last bit from pandas 3.1 on), one
    of True and False has booleans, and any other has text. An empty cell is NaN; with one, whole numbers are floats.

    Raises:
        TableError: the file is damaged, or is no such table; or there is text in a column of numbers.
        FileNotFoundError: there is none.
    """
    read(Path(path))
    # The key "0000000000000012" is no number, and the text "NA" is text.
    table = pd.read_csv(path, dtype={"run": str}, keep_default_na=False, na_values=[""], low_memory=False)
    for name in table.columns.difference(["run", *FACTS[:-1]]):
        _check_numbers(Path(path), table[name])
    return table


def _check_numbers(path: Path, column: pd.Series[Any]) -> None:
    """Raise a `TableError` for text in a column of numbers, all of which it would make text.

    A column is one of numbers when these are more than half of what it has.
    """
    numbers = pd.to_numeric(column, errors="coerce").notna()
    text = column.notna() & ~numbers
    if 0 < text.sum() < numbers.sum():
        row = int(text.to_numpy().argmax())
        raise TableError(
            f"{path}, line {row + 2}: {column[row]!r} in column {column.name} is no number, and {numbers.sum()} other "
            f"cells there are. {REMEDY}"
        )
