"""A file of any number of points, made in chunks that wait in a folder beside it until all are there.

So memory is bounded whatever the number of points, and what is interrupted goes on with the chunks that are missing.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.csv import CSVWriter
from pyarrow.parquet import ParquetWriter
from torch import Tensor
from tqdm import tqdm

from lab_utils.base.arguments import is_whole
from lab_utils.base.files import clear_parts, lock, put, write_whole
from lab_utils.base.tensors import DamagedError, load_tensors, save_tensors
from lab_utils.points.dataset import Units

Pieces = Iterator[NDArray[np.float64]]  # (m, 2) each, in the data's own units


class ChunksError(ValueError):
    """A file that can't be made as it was asked for; the message says why, and what could be done instead."""


# --- Kinds of files ----------------------------------------------------------------------------------------------


def _npy(path: Path, n: int, pieces: Pieces) -> None:
    with path.open("wb") as file:
        about = {"descr": "<f8", "fortran_order": False, "shape": (n, 2)}
        np.lib.format.write_array_header_1_0(file, about)
        for points in pieces:
            file.write(points.astype("<f8").tobytes())


def _columns(
    writer: Callable[[Path, pa.Schema], AbstractContextManager[Any]], path: Path, n: int, pieces: Pieces
) -> None:
    schema = pa.schema([("x", pa.float64()), ("y", pa.float64())])
    with writer(path, schema) as file:
        for points in pieces:
            file.write(pa.record_batch([*points.T], schema=schema))


# How to write `n` points, piece by piece. All three keep every bit: CSV has as many digits as that takes.
FORMATS: dict[str, Callable[[Path, int, Pieces], None]] = {
    ".npy": _npy,
    ".csv": partial(_columns, CSVWriter),
    ".parquet": partial(_columns, partial(ParquetWriter, use_dictionary=False)),  # no number comes twice
}


def check(out: Path, n: int) -> None:
    """Raise a `ChunksError` unless `n` points can go to a new file at `out`, as far as can be told beforehand."""
    if not is_whole(n, least=1):
        raise ChunksError(f"the number of points must be a whole number of 1 or more, not {n!r}")
    if out.suffix not in FORMATS:
        raise ChunksError(f"{out} must end in {', '.join(FORMATS)}, which says what kind of file to write")
    if out.exists() or out.is_symlink():  # also where the link leads to nothing yet
        raise ChunksError(f"{out} is there already; move it away, or name another file")
    try:
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise ChunksError(f"can't write into the folder {out.parent} ({error.strerror}); name another") from error


# --- The chunks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunks:
    """The chunks of a file of points, in the folder `OUT.parts`: float32, in normalised units, 8 bytes a point.

    Attributes:
        out: the file that they will become.
        n: how many points it will have.
        most: how many points a chunk has; the last may have fewer.
    """

    out: Path
    n: int
    most: int

    @property
    def folder(self) -> Path:
        """Where they wait."""
        return self.out.with_name(f"{self.out.name}.parts")

    @property
    def numbers(self) -> range:
        """The numbers of all chunks."""
        return range(-(-self.n // self.most))

    def size(self, number: int) -> int:
        """How many points that chunk has."""
        return min(self.most, self.n - number * self.most)

    def missing(self) -> Iterator[int]:
        """The numbers of those that are not there."""
        return (number for number in self.numbers if not self._path(number).exists())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def _about(self, number: int) -> dict[str, int]:
        return {"chunk": number, "points": self.size(number)}

    @contextmanager
    def open(self, about: dict[str, Any]) -> Iterator[None]:
        """Begin, or go on with what is there; when the block ends well, the folder goes.

        Args:
            about: all that the points depend on; values that JSON gives back as they were, short enough to be told.

        Raises:
            ChunksError: see `check`; or the folder is that of other points or holds something else, and is left as it
                is; or another process is at it.
            BaseException: whatever ends the block, with a note that says how much is kept.
        """
        try:
            held = lock(self.out, timeout=0).acquire()
        except TimeoutError as error:
            raise ChunksError(f"another process is making {self.out}; wait for it, or name another file") from error
        with held:
            check(self.out, self.n)
            self._begin({"points": self.n, "points of a chunk": self.most, **about})
            self._remove_damaged()
            try:
                yield
            except BaseException as error:
                done, total = len(self.numbers) - sum(1 for _ in self.missing()), len(self.numbers)
                error.add_note(f"{done} of {total} chunks are in {self.folder}; the same call goes on with the rest")
                raise
            shutil.rmtree(self.folder)

    def _begin(self, about: dict[str, Any]) -> None:
        path = self.folder / "job.json"
        remedy = "Name another file, or delete that folder to begin anew"
        self.folder.mkdir(exist_ok=True)
        if path.exists():
            try:
                there = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise ChunksError(f"{path} can't be read ({error}). {remedy}") from error
            other = [f"{name} {there.get(name)}, not {now}" for name, now in about.items() if there.get(name) != now]
            if other:
                raise ChunksError(f"{self.folder} is that of other points: {'; '.join(other)}. {remedy}")
        elif any(path.suffix != ".part" for path in self.folder.iterdir()):
            raise ChunksError(f"{self.folder} is in the way, with something else in it. {remedy}")
        else:
            with write_whole(path) as part:
                part.write_text(json.dumps(about, indent=2), encoding="utf-8")

    def _remove_damaged(self) -> None:
        clear_parts(self.folder)
        for number in self.numbers:
            try:
                self._read(number)
            except FileNotFoundError:
                pass
            except DamagedError as error:
                self._path(number).unlink()
                tqdm.write(f"{error}. It is made again.", file=sys.stderr)

    def save(self, number: int, points: Tensor) -> None:
        """Keep a chunk's points: (m, 2) float32 in normalised units."""
        save_tensors(self._path(number), {"points": points}, self._about(number))

    def _read(self, number: int) -> Tensor:
        return load_tensors(self._path(number), self._about(number))["points"]

    def assemble(self, units: Units, *, progress: bool) -> None:
        """Put them together, in the data's own units; the file takes its place when it is whole."""
        whole = self.folder / self.out.name  # in here, a process that is killed leaves nothing that nobody takes away
        bar = tqdm(self.numbers, desc=f"writing {self.out.name}", unit="chunk", leave=False, disable=not progress)
        FORMATS[self.out.suffix](whole, self.n, (units.restore(self._read(number)).numpy() for number in bar))
        put(whole, self.out)  # on the disk before `open` removes the chunks
