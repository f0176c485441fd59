"""Tables in text files, as spreadsheets and other programs write them: whatever they split columns and decimals by."""

from __future__ import annotations

import csv
import mmap
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lab_utils.base.arguments import PointsError

HEAD = 1 << 16  # characters, by which the separator and the decimal mark are judged
SAMPLE = 1000  # rows, by which it is judged which columns hold numbers
PIECE = 100_000  # rows that are in memory with all their columns


def _letters(encoding: str) -> set[int]:
    return {code for code in range(0x80, 0x100) if bytes([code]).decode(encoding, "ignore").isalpha()}


# "ł" of cp1250 is "³" in cp1252, which doesn't stand before a letter. ("Ÿ", "ź" of cp1250, hardly occurs in cp1252.)
CENTRAL = re.compile(
    b"[%b][A-Za-z\x80-\xff]" % bytes(_letters("cp1250") - _letters("cp1252") | set("Ÿ".encode("cp1252")))
)
BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class TextTable:
    """A text file of columns that are split by semicolons, tabs or commas, with or without a line of names.

    The separator is the first of these three that splits both of the first two lines. The decimal mark is a comma if
    more numbers have a comma than a point; what stands in the names doesn't count. The text is UTF-8, else cp1252 or
    cp1250 (see `_encoding`).

    Attributes:
        names: of the columns, in their order; "" where one has none.

    Raises:
        PointsError: the file is empty or no text, or has one column only.
    """

    def __init__(self, path: Path, source: str) -> None:
        """Look at the beginning of the file at `path`, which messages call `source`."""
        self._path, self._source, self._encoding = path, source, _encoding(path, source)
        mark = "-sig" * (self._encoding == "utf-8")  # spreadsheets begin a file with a byte-order mark
        with path.open(encoding=self._encoding + mark, newline="") as file:
            head = file.read(HEAD)
        for self._separator in (";", "\t", ","):
            rows = list(csv.reader(StringIO(head, newline=""), delimiter=self._separator))
            filled = [row for row in rows if len(row) > 1 or "".join(row).strip()]
            if all(len(row) > 1 for row in filled[:2]):
                break
        if not filled:
            raise PointsError(f"{source} is empty; expected two columns of numbers")
        first, self._begin = filled[0], head.strip("\r\n ").splitlines()[0][:200]
        if len(first) == 1:
            expected = "expected two or more, split by commas, semicolons or tabs"
            raise PointsError(f"{source} has 1 column; {expected}. It begins with {self._begin!r}")
        cells = [cell for row in rows for cell in row]
        self._decimal = "," if _count_decimals(cells, ",") > _count_decimals(cells, ".") else "."
        cells = [cell.strip() for cell in first]
        # A line of names has no number in it, or the places 0, 1 … that pandas writes for columns without names, above
        # numbers with decimals; everything else is taken, and judged, as a row.
        later = [cell for row in rows if row is not first for cell in row]
        named = [cell for cell in cells if cell]
        places = named == [*map(str, range(len(named)))] and _count_decimals(later, self._decimal) > 0
        has_names = bool(named) and (places or not any(_is_number(cell, self._decimal) for cell in cells))
        self._skip = rows.index(first) + 1 if has_names else 0
        self.names: Sequence[str] = cells if has_names else [""] * len(cells)

    def numeric(self) -> list[int]:
        """Which columns hold numbers, by the first rows."""
        with self._in_words():
            sample = self._rows(nrows=SAMPLE)
        return [
            place
            for place, column in sample.items()
            if pd.api.types.is_any_real_numeric_dtype(column) and column.notna().any()
        ]

    def read(self, x: int, y: int, label: int | None = None) -> pd.DataFrame:
        """The columns "x", "y" and, if asked for, "label" of all rows; see `tables.Sheet`."""
        with self._in_words():
            width = self._rows(nrows=1, dtype=str).shape[1]
        if width != len(self.names):
            expected = f"expected {len(self.names)}, as in the line that it begins with"
            raise PointsError(f"{self._source} has {width} columns; {expected}: {self._begin!r}")
        # All columns are read, and those dropped that nobody wants: told to read some, pandas takes rows of any length.
        types = dict.fromkeys(range(width), str) | dict.fromkeys((x, y), np.float64)
        wanted = {x: "x", y: "y"} | ({} if label is None else {label: "label"})
        with self._in_words(x, y), self._rows(dtype=types, chunksize=PIECE) as pieces:
            table: pd.DataFrame = pd.concat([piece[[*wanted]] for piece in pieces], ignore_index=True)
        return table.rename(columns=wanted)

    def _rows(self, **options: Any) -> Any:
        """The rows below the names, as pandas reads them."""
        layout: dict[str, Any] = {"sep": self._separator, "decimal": self._decimal, "encoding": self._encoding}
        return pd.read_csv(self._path, header=None, skiprows=self._skip, **layout, **options)

    @contextmanager
    def _in_words(self, *columns: int) -> Iterator[None]:
        """What pandas can't read within the block becomes a `PointsError`; in `columns` it should find numbers."""
        try:
            yield
        except pd.errors.EmptyDataError as error:
            raise PointsError(f"{self._source} has column names but no points") from error
        except pd.errors.ParserError as error:
            raise PointsError(
                f"{self._source} is no table of {len(self.names)} columns ({str(error).strip()})"
            ) from error
        except ValueError as error:
            found = self._first_text(columns) or error
            raise PointsError(f"{self._source}: {found}; expected a number") from error

    def _first_text(self, columns: tuple[int, ...]) -> str | None:
        """Where in `columns` the first cell stands that is no number, and what it says."""
        for piece in self._rows(dtype=str, chunksize=PIECE):
            cells = piece[[*columns]]
            plain = cells.apply(lambda column: column.str.replace(self._decimal, ".", regex=False))
            numbers = plain.apply(pd.to_numeric, errors="coerce")
            for row, place in np.argwhere((cells.notna() & numbers.isna()).to_numpy())[:1]:
                column = columns[place]
                name = f" ({self.names[column]!r})" if self.names[column] else ""
                where = f"in column {column + 1}{name}"
                return f"row {piece.index[row] + 1} of the points has {cells.iloc[row, place]!r} {where}"
        return None


def _count_decimals(cells: list[str], mark: str) -> int:
    number = re.compile(rf"\s*[+-]?\d*[{mark}]\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
    return sum(number.fullmatch(cell) is not None for cell in cells)


def _is_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return False
    return True


def _encoding(path: Path, source: str) -> str:
    """UTF-8 if the file is that, else what spreadsheets on Windows write, cp1250 or cp1252; that is said on stderr.

    Nearly any text can be read as both of these. It is taken for cp1250 if it has a letter of Central Europe before
    another letter where cp1252 has none but a sign, as in "£ódŸ" for "Łódź", and for cp1252 otherwise. Where one
    leaves a byte undefined, it is the other. This touches names and labels only: all write numbers alike.

    Raises:
        PointsError: it is no text, or none of these.
    """
    if _decodes(path, "utf-8"):
        return "utf-8"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        text, central = not BINARY.search(content), bool(CENTRAL.search(content))
    candidates = sorted(("cp1250", "cp1252"), reverse=not central)
    for encoding in candidates if text else ():
        if _decodes(path, encoding):
            print(f"{source} is not UTF-8; it is read as {encoding}.", file=sys.stderr)
            return encoding
    raise PointsError(f"{source} is not UTF-8 text, nor cp1252 or cp1250; save it as CSV in UTF-8")


def _decodes(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding, newline="") as file:
            while file.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return False
    return True
