"""How far generated points are from real ones, measured against the floor that two real draws set.

Two independent draws from the truth are not at distance 0. So a distance is reported as a multiple of its floor:
its median between independent real draws of the same sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.points import check_points

Distance = Callable[[Tensor, Tensor], float]

BLOCK = 256  # rows of a distance matrix in memory at once: few enough for the memory to be used again, not fetched anew


def mean_distance(x: Tensor, y: Tensor) -> float:
    """Mean Euclidean distance between all pairs of (n, 2) `x` and (m, 2) `y`, in bounded memory."""
    exact = "donot_use_mm_for_euclid_dist"  # the faster way loses digits where points are close
    sums = [torch.cdist(block, y, compute_mode=exact).sum(dtype=torch.float64) for block in x.split(BLOCK)]
    total = float(torch.stack(sums).sum())
    return total / (len(x) * len(y))


def energy_distance(generated: Tensor, real: Tensor) -> float:
    """Energy distance 2 E|X−Y| − E|X−X'| − E|Y−Y'| between two point sets (Székely & Rizzo 2013, eq. 6.1).

    It sees where the mass is, and little of its fine detail. (n, 2), (m, 2) → a number of 0 or more, in units of the
    points.
    """
    _check(generated, real)
    return 2 * mean_distance(generated, real) - mean_distance(generated, generated) - mean_distance(real, real)


def sharpness(generated: Tensor, real: Tensor) -> float:
    """Median distance from a generated point to the nearest real one: small where contours are drawn sharply.

    It sees the detail, and nothing of the mass: points heaped in one real town would look perfect to it.
    (n, 2), (m, 2) → in units of the points.
    """
    _check(generated, real)
    nearest, _ = cKDTree(real.numpy()).query(generated.numpy())
    return float(np.median(nearest))


def _check(generated: Tensor, real: Tensor) -> None:
    for name, points in (("generated", generated), ("real", real)):
        check_points(points, name)
        if not len(points):
            raise ValueError(f"{name} points: none given, at least one is needed")
        if not torch.isfinite(points).all():
            raise ValueError(f"{name} points must be finite; {int((~torch.isfinite(points)).any(1).sum())} are not")


DISTANCES: dict[str, Distance] = {"energy distance": energy_distance, "sharpness": sharpness}


def _distances(name: str, pairs: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    if name not in DISTANCES:
        raise ValueError(f"there is no distance {name!r}; choose one of {', '.join(DISTANCES)}")
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(lambda pair: DISTANCES[name](*pair), pairs))


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
        check_points(held_out, "held_out")
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
        self._floors: dict[str, list[float]] = {}

    def floors(self, name: str) -> list[float]:
        """The distance `name` between the two sets of each pair."""
        if name not in self._floors:
            self._floors[name] = _distances(name, ((rival, reference) for reference, rival in self.pairs))
        return self._floors[name]

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
        values = _distances(name, ((points, reference) for points in generated for reference, _ in self.pairs))
        floors = self.floors(name)
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
