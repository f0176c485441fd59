"""How far generated points are from real ones, measured against the floor that two real draws set.

Two independent draws from the truth are not at distance 0. So a distance is reported as a multiple of its floor:
its median between independent real draws of the same sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.points import check_points

BLOCK = 256  # rows of a distance matrix in memory at once: few enough for the memory to be used again, not fetched anew


def _parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(function, items))


def mean_distance(x: Tensor, y: Tensor) -> float:
    """Mean Euclidean distance between all pairs of (n, 2) `x` and (m, 2) `y`, in bounded memory."""
    exact = "donot_use_mm_for_euclid_dist"  # the faster way loses digits where points are close
    sums = [torch.cdist(block, y, compute_mode=exact).sum(dtype=torch.float64) for block in x.split(BLOCK)]
    total = float(torch.stack(sums).sum())
    return total / (len(x) * len(y))


@dataclass(frozen=True)
class Distance:
    """A distance between two point sets: call it with (n, 2) generated and (m, 2) real points.

    What it needs of one set alone it computes once: `prepare(points)`. `between` takes both sets, each with what was
    prepared for it, so that many sets can be compared with many others at little cost.

    Raises:
        ValueError: when called with no points, points that aren't finite, or another shape or type.
    """

    meaning: str
    prepare: Callable[[Tensor], Any]
    between: Callable[[Tensor, Any, Tensor, Any], float]

    def __call__(self, generated: Tensor, real: Tensor) -> float:
        """The distance, in units of the points."""
        _check(generated, "generated")
        _check(real, "real")
        return self.between(generated, self.prepare(generated), real, self.prepare(real))


def _check(points: Tensor, name: str) -> None:
    check_points(points, name)
    if not len(points):
        raise ValueError(f"{name} points: none given, at least one is needed")
    if not torch.isfinite(points).all():
        raise ValueError(f"{name} points must be finite; {int((~torch.isfinite(points)).any(1).sum())} are not")


energy_distance = Distance(
    """Energy distance 2 E|X−Y| − E|X−X'| − E|Y−Y'| (Székely & Rizzo 2013, eq. 6.1): 0 or more.

    It sees where the mass is, and little of its fine detail.
    """,
    prepare=lambda points: mean_distance(points, points),
    between=lambda x, spread_x, y, spread_y: 2 * mean_distance(x, y) - spread_x - spread_y,
)

sharpness = Distance(
    """Median distance from a generated point to the nearest real one: small where contours are drawn sharply.

    It sees the detail, and nothing of the mass: points heaped in one real town would look perfect to it.
    """,
    prepare=lambda points: cKDTree(points.numpy()),
    between=lambda x, _, __, tree: float(np.median(tree.query(x.numpy())[0])),
)

DISTANCES: dict[str, Distance] = {"energy distance": energy_distance, "sharpness": sharpness}


@dataclass(frozen=True)
class Measure:
    """A distance and its floor, over several draws of real points.

    Attributes:
        value: median distance between the generated points and the real draws.
        floor: median distance between two real draws of the same sizes.
        floor_range: the interval that holds 95 % of the floor's draws.
        multiple: value / floor.
        interval: 2.5 % and 97.5 % points of the multiple over generated sets and real draws.
    """

    value: float
    floor: float
    floor_range: tuple[float, float]
    multiple: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.multiple:.2f} × floor [{self.interval[0]:.2f}, {self.interval[1]:.2f}]"


class Benchmark:
    """Held-out points, drawn into pairs of independent sets that every generated set is held against.

    Args:
        held_out: (N, 2) real points that no model has seen.
        size: points in each set; the generated sets must have as many.
        draws: number of pairs; each is a fresh split of the held-out points.
        seed: of the splits.

    Raises:
        ValueError: if two disjoint sets of that size can't be drawn from the held-out points, or `size` or `draws` is
            below 1.
    """

    def __init__(self, held_out: Tensor, *, size: int = 5000, draws: int = 10, seed: int = SEED) -> None:
        _check(held_out, "held_out")
        if size < 1 or draws < 1:
            raise ValueError(f"size and draws must be 1 or more; got {size} and {draws}")
        if 2 * size > len(held_out):
            raise ValueError(
                f"two disjoint sets of {size} points need {2 * size} held-out points; there are {len(held_out)}: "
                f"use a size of at most {len(held_out) // 2}"
            )
        self.size = size
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(len(held_out), generator=generator)[: 2 * size] for _ in range(draws)]
        self.pairs = [(held_out[order[:size]], held_out[order[size:]]) for order in orders]
        self._known: dict[str, tuple[list[Any], list[float]]] = {}

    def _know(self, name: str) -> tuple[list[Any], list[float]]:
        """What the distance `name` prepares for each reference, and its floors; worked out at the first call."""
        if name not in DISTANCES:
            raise ValueError(f"there is no distance {name!r}; choose one of {', '.join(DISTANCES)}")
        if name not in self._known:
            distance = DISTANCES[name]
            references = _parallel(distance.prepare, [reference for reference, _ in self.pairs])
            rivals = _parallel(distance.prepare, [rival for _, rival in self.pairs])
            pairs = zip(self.pairs, references, rivals, strict=True)
            floors = _parallel(lambda p: distance.between(p[0][1], p[2], p[0][0], p[1]), pairs)
            self._known[name] = references, floors
        return self._known[name]

    def floors(self, name: str) -> list[float]:
        """The distance `name` between the two sets of each pair."""
        return self._know(name)[1]

    def measure(self, name: str, *generated: Tensor) -> Measure:
        """Measure one or more (size, 2) sets of generated points by the distance `name`, against its floor.

        Raises:
            ValueError: if there is no such distance or no set, or if a set has another size, for a floor holds only for
                its own size.
        """
        if not generated:
            raise ValueError("nothing to measure: give at least one set of generated points")
        for points in generated:
            if len(points) != self.size:
                raise ValueError(f"the floor was drawn for {self.size} points; got {len(points)}")
            _check(points, "generated")
        prepared, floors = self._know(name)
        distance = DISTANCES[name]
        rows = zip(generated, _parallel(distance.prepare, generated), strict=True)
        columns = zip((reference for reference, _ in self.pairs), prepared, strict=True)
        values = _parallel(lambda pair: distance.between(*pair[0], *pair[1]), product(rows, columns))
        floor = float(np.median(floors))
        low, high = np.percentile(floors, [2.5, 97.5])
        bottom, middle, top = np.percentile(values, [2.5, 50, 97.5])
        return Measure(
            value=float(middle),
            floor=floor,
            floor_range=(float(low), float(high)),
            multiple=float(middle) / floor,
            interval=(float(bottom) / floor, float(top) / floor),
        )
