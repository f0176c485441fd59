"""Files that hold a table: text, NumPy's `.npy`, Parquet.

A table is opened first, which tells its columns, and read when it is known which of them are wanted.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lab_utils.base.arguments import PointsError
from lab_utils.points.text_tables import TextTable

MOST_BYTES = 1_000_000_000  # of a file; some twenty million points in a text
MOST_ROWS = 100_000_000  # of a Parquet file, in which a few bytes can stand for any number of rows


class Sheet(Protocol):
    """A table that is open.

    Attributes:
        names: of the columns, in their order; "" where one has none.
    """

    names: Sequence[str]

    def numeric(self) -> list[int]:
        """Which columns hold numbers, counted from 0."""

    def read(self, x: int, y: int, label: int | None = None) -> pd.DataFrame:
        """All rows of the columns that are asked for, called "x" and "y", float64, and "label", of any type.

        A missing value is NaN. The index counts the rows from 0.

        Raises:
            PointsError: there are no rows, or x or y is something else than numbers.
        """


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


def open_table(path: Path, source: str) -> Sheet:
    """Open the table at `path`: by its ending `.npy` or `.parquet`, else text. Messages call it `source`.

    Raises:
        PointsError: it is no such table, or too large.
        OSError: it can't be opened.
    """
    check_file(path, MOST_BYTES)
    kinds: dict[str, type[ArrayTable] | type[ParquetTable]] = {".npy": ArrayTable, ".parquet": ParquetTable}
    return kinds.get(path.suffix.lower(), TextTable)(path, source)


class ArrayTable:
    """A `.npy` file with an array of numbers, (n, k); its columns have no names. See `Sheet`."""

    def __init__(self, path: Path, source: str) -> None:
        """Map the array into memory; nothing is unpickled."""
        try:
            self._array = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OverflowError, TokenError) as error:  # of a header that is damaged
            raise PointsError(f"{source} is no array of numbers in NumPy's format ({error})") from error
        shape, kind = self._array.shape, self._array.dtype
        if len(shape) != 2 or kind.kind not in "fiu":
            raise PointsError(f"{source} has an array of {kind}, shape {shape}; expected numbers, shape (n, 2)")
        self._source = source
        self.names: Sequence[str] = [""] * shape[1]

    def numeric(self) -> list[int]:
        """All of them."""
        return [*range(len(self.names))]

    def read(self, x: int, y: int, label: int | None = None) -> pd.DataFrame:
        """See `Sheet`."""
        if not len(self._array):
            raise PointsError(f"{self._source} has no points; its array is of shape {self._array.shape}")
        table = pd.DataFrame(self._array[:, [x, y]].astype(np.float64), columns=["x", "y"])
        native = self._array.dtype.newbyteorder("=")
        return table if label is None else table.assign(label=self._array[:, label].astype(native))


class ParquetTable:
    """A Parquet file. An index that pandas has put there is no column. See `Sheet`."""

    def __init__(self, path: Path, source: str) -> None:
        """Read what stands there about the columns."""
        self._path, self._source = path, source
        with self._in_words(), pq.ParquetFile(path) as file:
            rows, fields = file.metadata.num_rows, [*file.schema_arrow]
        if rows > MOST_ROWS:
            raise PointsError(f"{source} has {rows} rows; at most {MOST_ROWS} are read: take a part")
        columns = [field for field in fields if not field.name.startswith("__index_level_")]
        self.names: Sequence[str] = [field.name for field in columns]
        self._types = [field.type for field in columns]

    def numeric(self) -> list[int]:
        """Those of a type of numbers."""
        return [place for place, kind in enumerate(self._types) if _holds_numbers(kind)]

    def read(self, x: int, y: int, label: int | None = None) -> pd.DataFrame:
        """See `Sheet`."""
        for place in (x, y):
            if not _holds_numbers(self._types[place]):
                kind = f"the column {self.names[place]!r} is of type {self._types[place]}"
                raise PointsError(f"{self._source}: {kind}; expected numbers")
        places = {"x": x, "y": y} | ({} if label is None else {"label": label})
        names = {key: self.names[place] for key, place in places.items()}
        for name in names.values():
            if self.names.count(name) > 1:
                raise PointsError(f"{self._source} has several columns {name!r}; give each a name of its own")
        with self._in_words(), pq.ParquetFile(self._path) as file:
            found = file.read(columns=[*names.values()])
            columns = {key: found[name] for key, name in names.items()}
            numbers = {key: columns[key].cast(pa.float64(), safe=False) for key in ("x", "y")}
            table: pd.DataFrame = pa.table(columns | numbers).to_pandas()
        if not len(table):
            raise PointsError(f"{self._source} has columns but no points")
        return table

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What PyArrow can't read within the block becomes a `PointsError`."""
        try:
            yield
        except (pa.ArrowException, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # the disk's; PyArrow's own has none
                raise
            raise PointsError(f"{self._source} can't be read as Parquet ({error})") from error


def _holds_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
