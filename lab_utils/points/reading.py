"""Points read from a table: a file of one's own, or the lab's own towns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA
from lab_utils.points.columns import Column, choose, find
from lab_utils.points.shapes import SHAPES
from lab_utils.points.tables import open_table

Missing = Literal["raise", "drop"]  # what becomes of rows without a value


@dataclass(frozen=True, eq=False)
class Table:
    """Points with what their file says of them.

    Attributes:
        points: (n, 2) float64, in the data's own units, in the file's order.
        columns: what x and y are called.
        labels: (n,) int64, the place in `classes` of each point's class; None if no label was asked for.
        classes: the names of the classes, in their order: that of numbers if all are numbers, else of the alphabet.
    """

    points: Tensor
    columns: tuple[str, str] = ("x", "y")
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()


def read_table(
    source: str | Path,
    *,
    columns: Sequence[Column] | None = None,
    label: Column | None = None,
    missing: Missing = "raise",
) -> Table:
    """Read all points of "cities" or of a file, and their labels if asked for.

    "cities" stands for `data/cities.csv`: longitude and latitude in degrees, and the label "continent". A file that
    ends with `.npy` holds an array of numbers, one that ends with `.parquet` a table of that kind. Any other file is
    CSV: text in UTF-8, cp1252 or cp1250, with columns that are split by commas, semicolons or tabs, with or without a
    line of names, and with decimal points or commas. Blank lines don't count.

    Args:
        source: "cities", or the path of a file.
        columns: those of x and y, each by its name or by its number, counted from 0. If they are not given and two
            columns are called longitude and latitude, in a usual spelling and any order, these are x and y; that is
            said on stderr. Else a table must have two columns, besides the label.
        label: the column of the points' classes, by name or number.
        missing: "drop" leaves out the rows that lack one of these values, and says on stderr how many they are.

    Raises:
        PointsError: the file can't be read or is too large; there are no such columns, or it is unclear which ones
            are meant; or there are no points, text in place of numbers, gaps, NaN or infinity.
    """
    if missing not in ("raise", "drop"):
        raise PointsError(f"missing must be 'raise' or 'drop'; got {missing!r}")
    path, name = Path(source), str(source)
    if source == "cities":
        path, columns = DATA / "cities.csv", columns or ("longitude", "latitude")
    try:
        table = open_table(path, name)
        labels = None if label is None else find(label, table, name)
        x, y = choose(columns, labels, table, name)
        rows = table.read(x, y, labels)
    except OSError as error:
        known = f'"cities", one of {", ".join(SHAPES)} (those are drawn, not loaded), or the path of a CSV file'
        raise PointsError(
            f"can't read {name!r} ({error.strerror}); points come from {known}, .npy or .parquet"
        ) from error
    rows = _without_gaps(rows, missing, name)
    points = torch.from_numpy(np.array(rows[["x", "y"]], dtype=np.float64, order="C"))  # what pandas has is read-only
    called = table.names[x] or "x", table.names[y] or "y"
    return Table(points, called, *_classes(rows["label"])) if label is not None else Table(points, called)


def load(source: str | Path, *, columns: Sequence[Column] | None = None, missing: Missing = "raise") -> Tensor:
    """The points of `read_table` alone: (n, 2) float64, in the data's own units, in the file's order."""
    return read_table(source, columns=columns, missing=missing).points


def _without_gaps(rows: pd.DataFrame, missing: Missing, name: str) -> pd.DataFrame:
    """The rows that are whole; they are all, or "drop" is asked for.

    Raises:
        PointsError: some are not, or a number is infinite.
    """
    if "label" in rows:
        texts = rows["label"].astype("str").str.strip()
        rows = rows.assign(label=texts.mask(texts == ""))
    whole = rows.notna().all(axis=1)
    if missing == "drop" and not whole.all():
        print(f"{name}: {(~whole).sum()} of {len(whole)} rows lack a value and are left out.", file=sys.stderr)
        rows = rows[whole]
        if rows.empty:
            raise PointsError(f"{name}: every row lacks a value, so no points are left; choose other columns")
    finite = np.isfinite(rows[["x", "y"]].to_numpy())
    if not finite.all():
        row = rows.index[int(np.argmin(finite.all(axis=1)))] + 1
        raise PointsError(
            f"{name}: {np.sum(~finite)} of {finite.size} values missing, NaN or infinite, the first in row {row} of "
            f'the points; mend or remove such rows, or leave out those that lack a value: missing="drop" (MISSING=drop)'
        )
    if not rows.notna().all(axis=None):
        row = rows.index[rows["label"].isna()][0] + 1
        raise PointsError(
            f"{name}: {rows['label'].isna().sum()} labels missing, the first in row {row} of the points; add them, or "
            'leave out such rows: missing="drop" (MISSING=drop)'
        )
    return rows


def _classes(labels: pd.Series[str]) -> tuple[Tensor, tuple[str, ...]]:
    """The class of each label, and the names of the classes."""
    names = pd.Series(labels.unique())
    numbers = pd.to_numeric(names, errors="coerce")
    names = names.iloc[(numbers if numbers.notna().all() else names).argsort()]
    codes = pd.Categorical(labels, categories=names).codes
    return torch.from_numpy(codes.astype(np.int64)), tuple(names)
