"""Distances between all sets of points and all others, each worked out once, on all cores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.base.devices import ONE_THREAD
from lab_utils.base.files import cache_folder, write_whole
from lab_utils.measure.distance import Distance
from lab_utils.measure.intervals import BLOCKS, Array

Prepared = list[tuple[Tensor, Any]]  # sets of points, each with what a distance prepares of it


def _parallel(function: Callable[[Any], Any], items: Iterable[Any], sets: Iterable[Tensor]) -> list[Any]:
    one = any(points.device.type in ONE_THREAD for points in sets)
    with ThreadPoolExecutor(1 if one else WORKERS) as pool:
        return list(pool.map(function, items))


def prepared(distance: Distance, sets: Sequence[Tensor], name: str) -> Prepared:
    """The sets, (n, 2) each, with what the distance prepares of them.

    Raises:
        ValueError: the distance can't be taken of one of them, which the message calls `name`.
    """
    for points in sets:
        distance.check(points, name)
    return [*zip(sets, _parallel(distance.prepare, sets, sets), strict=True)]


def matrix(distance: Distance, rows: Prepared, columns: Prepared) -> Array:
    """(rows, columns) distances of each generated set from each real one; 0 on the diagonal where both are the same."""
    same = rows is columns
    pairs = [(i, j) for i in range(len(rows)) for j in range(len(columns)) if not same or i != j]
    if same and distance.symmetric:
        pairs = [(i, j) for i, j in pairs if i < j]
    found = np.zeros((len(rows), len(columns)))
    sets = [points for points, _ in rows]
    values = _parallel(lambda pair: distance.between(*rows[pair[0]], *columns[pair[1]]), pairs, sets)
    for (i, j), value in zip(pairs, values, strict=True):
        found[i, j] = value
    return found + found.T if same and distance.symmetric else found


def without_blocks(distance: Distance, points: Tensor, reals: Prepared) -> Array:
    """(B, R) distances of a generated set from the real ones, each time without another one of its blocks of points.

    The blocks are random, because the order of the points may tell something: a file may be sorted.
    """
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(SEED))
    parts = points[order.to(points.device)].tensor_split(BLOCKS)
    rest = [torch.cat([*parts[:i], *parts[i + 1 :]]) for i in range(BLOCKS)]
    return matrix(distance, prepared(distance, rest, "generated"), reals)


def kept(key: str, sets: int, make: Callable[[], Array]) -> Array:
    """A (sets, sets) matrix that is made once, and then found in the cache under its key.

    What can't be read there is made again; a cache that can't be written costs time only.
    """
    path = cache_folder() / "measure" / f"{key}.json"
    with suppress(OSError, ValueError):
        found = np.array(json.loads(path.read_text()), dtype=np.float64)
        if found.shape == (sets, sets) and np.isfinite(found).all():
            return found
    found = make()
    with suppress(OSError), write_whole(path) as part:
        part.write_text(json.dumps(found.tolist()))
    return found
