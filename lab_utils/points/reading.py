"""Points read from a table: a CSV file, or the lab's own towns."""

from __future__ import annotations

import csv
import stat
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA
from lab_utils.points.shapes import SHAPES

MOST_BYTES = 1_000_000_000  # of a file; some twenty million points


Array = NDArray[np.float64]


def check_file(path: Path, most: int) -> None:
    """Refuse what has more bytes than `most`, or no end at all.

    Raises:
        PointsError: it is no file but a device or the like, or too large.
        OSError: it is not there, or a folder.
    """
    about = path.stat()
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        raise PointsError(f"{path} is no ordinary file; save what comes from there as one")
    if about.st_size > most:
        raise PointsError(f"{path} has {about.st_size / 1e6:.0f} MB; at most {most / 1e6:.0f} are read: take a part")


def load(source: str | Path) -> Tensor:
    """Read all points of "cities" or of a CSV file: (n, 2) float64, in the data's own units, in the file's order.

    "cities" stands for `data/cities.csv`: longitude and latitude in degrees. Any other file is UTF-8 text with
    two columns of numbers, split by commas, semicolons or tabs, with or without a line of column names. Unless
    commas split the columns, they may be decimal commas. Blank lines don't count.

    Raises:
        PointsError: if the file can't be read, is too large, has not exactly two columns, or holds no points, text,
            gaps, NaN or infinity.
    """
    path = DATA / "cities.csv" if source == "cities" else Path(source)
    try:
        check_file(path, MOST_BYTES)
        with path.open(encoding="utf-8-sig") as file:  # "-sig": spreadsheets begin a file with a byte-order mark
            points = _read(file, str(source))
    except OSError as error:
        known = f'"cities", one of {", ".join(SHAPES)} (those are drawn, not loaded), or the path of a CSV file'
        raise PointsError(f"can't read {str(source)!r} ({error.strerror}); points come from {known}") from error
    except UnicodeDecodeError as error:
        raise PointsError(f"{source} is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    finite = np.isfinite(points)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1))) + 1
        raise PointsError(
            f"{source}: {np.sum(~finite)} of {finite.size} values missing, NaN or infinite, the first in row {row} of "
            "the points; mend or remove such rows"
        )
    return torch.from_numpy(points)


def _read(file: TextIO, name: str) -> Array:
    """The two columns of an open file; `name` is what messages call it."""
    head = file.read(4096)
    lines = head.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise PointsError(f"{name} is empty; expected two columns of numbers")
    separator = next((mark for mark in ";\t" if mark in first), ",")
    decimal = "," if separator != "," and "," in head else "."
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=separator))]
    if len(cells) != 2:
        raise _not_two_columns(name, len(cells), first)
    # A line of names has no number and no gap in it; everything else is taken, and judged, as a point.
    has_names = all(cell and not _is_number(cell, decimal) for cell in cells)
    layout: dict[str, Any] = {
        "sep": separator,
        "decimal": decimal,
        "header": None,
        "skiprows": lines.index(first) + 1 if has_names else 0,
    }
    file.seek(0)
    try:
        frame = pd.read_csv(file, dtype=np.float64, **layout)
    except pd.errors.EmptyDataError as error:
        raise PointsError(f"{name} has column names but no points") from error
    except pd.errors.ParserError as error:
        raise PointsError(f"{name} is no table of two columns ({str(error).strip()})") from error
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise PointsError(f"{name}: {_first_text(file, layout) or error}; expected a number") from error
    if frame.shape[1] != 2:
        raise _not_two_columns(name, frame.shape[1], first)
    return np.array(frame, dtype=np.float64, order="C")  # a copy, since pandas hands out what is read-only


def _not_two_columns(name: str, count: int, first: str) -> PointsError:
    return PointsError(
        f"{name} has {count} column{'s' * (count != 1)}; expected two, split by commas, semicolons or tabs. "
        f"It begins with {first[:200]!r}; keep only the two columns to learn from"
    )


def _is_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.replace(decimal, "."))
    except ValueError:
        return False
    return True


def _first_text(file: TextIO, layout: dict[str, Any]) -> str | None:
    """Where the first cell stands that is no number, and what it says; read in pieces, as the file may be huge."""
    file.seek(0)
    for piece in pd.read_csv(file, dtype=str, chunksize=100_000, **layout):
        plain = piece.apply(lambda cells: cells.str.replace(layout["decimal"], ".", regex=False))
        numbers = plain.apply(pd.to_numeric, errors="coerce")
        for row, column in np.argwhere((piece.notna() & numbers.isna()).to_numpy())[:1]:
            return f"row {piece.index[row] + 1} of the points has {piece.iloc[row, column]!r} in column {column + 1}"
    return None
