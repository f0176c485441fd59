"""How far generated points are from real ones, measured against the floor that two real draws set.

Two independent draws from the truth are not at distance 0. So a distance is reported as a multiple of its floor:
its median between independent real draws of the same sizes. The distances themselves are in `distances`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.base.arguments import as_points, check_finite
from lab_utils.measure.distances import DISTANCES, copies

SIZE = 5000  # points in a set, where there are so many
NORMALISED = 0.5, 2.0  # between these the points' spread along an axis lies in normalised units
FEW = 8  # pairs that the floor of a dear distance is taken of


def _parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(function, items))


@dataclass(frozen=True)
class Measure:
    """A distance and its floor, over several draws of real points.

    Attributes:
        value: median distance between the generated points and the real draws.
        floor: median distance between two real draws of the same sizes. (Of its magnitude: the MMD's estimates lie
            around 0, above it and below, and their median says nothing of how far from 0 they are.)
        floor_range: the interval that holds 95 % of the distances between two real draws.
        multiple: value / floor; infinite, or NaN, where the floor is 0.
        interval: 2.5 % and 97.5 % points of the multiple over generated sets and real draws.
        p_value: for a test, how likely a value as high is if the generated points are from the truth.
        higher_is_better: whether the "floor" is what real draws score, and a multiple below 1 is worse than real.
    """

    value: float
    floor: float
    floor_range: tuple[float, float]
    multiple: float
    interval: tuple[float, float]
    p_value: float | None = None
    higher_is_better: bool = False

    def __str__(self) -> str:
        unit = "real" if self.higher_is_better else "floor"
        chance = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return f"{self.multiple:.2f} × {unit} [{self.interval[0]:.2f}, {self.interval[1]:.2f}]{chance}"


class Benchmark:
    """Held-out points, drawn into pairs of independent sets that every generated set is held against.

    All points are in normalised units, as tensors or arrays: the distances are made for these units.

    Args:
        held_out: (N, 2) real points that no model has seen.
        train: (M, 2) real points that the model has seen; with them, "copies" is known too.
        size: points in each reference; 5000 unless given, or half of the held-out points where there are fewer.
        draws: number of pairs; each is a fresh split of the held-out points. Their distances are the floors: many,
            for two real draws may lie ten times as far apart as two others. A dear distance uses the first few.
        references: how many of the pairs' references the generated sets are held against, from the first one on.
        seed: of the splits.

    Attributes:
        size: points in each reference.
        known: the distances by their names.

    Raises:
        ValueError: if two disjoint sets of that size can't be drawn from the held-out points, these are not in
            normalised units, or `size`, `draws` or `references` is below 1.
    """

    def __init__(
        self,
        held_out: Tensor | NDArray[Any],
        train: Tensor | NDArray[Any] | None = None,
        *,
        size: int | None = None,
        draws: int = 20,
        references: int = 5,
        seed: int = SEED,
    ) -> None:
        held_out = as_points(held_out, "held_out")
        check_finite(held_out, "held_out")
        spread = float(held_out.double().var(dim=0, correction=0).mean().sqrt())
        if not NORMALISED[0] <= spread <= NORMALISED[1]:
            raise ValueError(
                f"the held-out points are not in normalised units: along an axis they spread by {spread:.3g}, where it "
                "should be about 1; normalise both them and what you measure: data.units.normalise(points)"
            )
        size = min(SIZE, len(held_out) // 2) if size is None else size
        if min(size, draws, references) < 1:
            raise ValueError(f"size, draws and references must be 1 or more; got {size}, {draws} and {references}")
        if 2 * size > len(held_out):
            raise ValueError(
                f"two disjoint sets of {size} points need {2 * size} held-out points; there are {len(held_out)}: "
                f"use a size of at most {len(held_out) // 2}"
            )
        self.size = size
        self.references = references
        generator = torch.Generator().manual_seed(seed)
        self._held_out = held_out
        self._orders = [torch.randperm(len(held_out), generator=generator) for _ in range(draws)]
        self.known = DISTANCES | ({} if train is None else {"copies": copies(as_points(train, "training"))})
        self._references: dict[str, list[Any]] = {}
        self._floors: dict[tuple[str, int], list[float]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The distances that can be taken between sets of this size."""
        return tuple(name for name, distance in self.known.items() if distance.fits(self.size))

    def pairs(self, size: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Each pair: a reference, and a rival of `size` points that stands for a perfect model that gave so many.

        Raises:
            ValueError: if there are too few held-out points for both.
        """
        size = self.size if size is None else size
        most = len(self._held_out) - self.size
        if size > most:
            raise ValueError(
                f"{size} generated points can't be held against real ones: of {len(self._held_out)} held-out points "
                f"{self.size} are the reference, and {most} are left to say what real points read. Give at most "
                f"{most}, or a Benchmark of a smaller size"
            )
        return [
            (self._held_out[order[: self.size]], self._held_out[order[self.size : self.size + size]])
            for order in self._orders
        ]

    def _prepare(self, name: str, size: int) -> tuple[list[Any], list[float]]:
        """What the distance `name` prepares for its references, and its floors; worked out at the first call."""
        if name not in self.known:
            hint = "; copies need the training points, as Benchmark(held_out, train)" if name == "copies" else ""
            raise ValueError(f"there is no distance {name!r}; choose one of {', '.join(self.known)}{hint}")
        distance = self.known[name]
        pairs = self.pairs(size)[: FEW if distance.dear else None]
        if name not in self._references:
            distance.check(pairs[0][0], f"{name}: held-out")  # all have one size
            self._references[name] = _parallel(distance.prepare, [reference for reference, _ in pairs])
        references = self._references[name]
        if (name, size) not in self._floors:
            distance.check(pairs[0][1], f"{name}: held-out")
            rivals = _parallel(distance.prepare, [rival for _, rival in pairs])
            both = zip(pairs, references, rivals, strict=True)
            self._floors[name, size] = _parallel(lambda p: distance.between(p[0][1], p[2], p[0][0], p[1]), both)
        return references[: self.references], self._floors[name, size]

    def floors(self, name: str, size: int | None = None) -> list[float]:
        """The distance `name` between the two sets of each pair that it uses; see `pairs`."""
        return self._prepare(name, self.size if size is None else size)[1]

    def measure(self, name: str, *generated: Tensor | NDArray[Any]) -> Measure:
        """Measure one or more sets of generated points by the distance `name`, against its floor.

        The floor is drawn for sets of as many points as the generated ones, because it holds for its own size only.

        Raises:
            ValueError: if there is no such distance or no set, if the sets are of several sizes, or larger than the
                held-out points allow.
        """
        if not generated:
            raise ValueError("nothing to measure: give at least one set of generated points")
        sets = [as_points(points, "generated") for points in generated]
        for points in sets:
            check_finite(points, "generated")
        sizes = {len(points) for points in sets}
        if len(sizes) > 1:
            raise ValueError(f"sets of several sizes have no floor in common; got sets of {sorted(sizes)} points")
        (size,) = sizes
        prepared, floors = self._prepare(name, size)
        distance = self.known[name]
        rows = zip(sets, _parallel(distance.prepare, sets), strict=True)
        columns = zip((reference for reference, _ in self.pairs(size)), prepared, strict=False)  # the first few pairs
        values = _parallel(lambda pair: distance.between(*pair[0], *pair[1]), product(rows, columns))
        floor = np.median(np.abs(floors))
        low, high = np.percentile(floors, [2.5, 97.5])
        bottom, middle, top = np.percentile(values, [2.5, 50, 97.5])
        with np.errstate(divide="ignore", invalid="ignore"):
            multiples = np.array([bottom, middle, top]) / floor
        return Measure(
            value=float(middle),
            floor=float(floor),
            floor_range=(float(low), float(high)),
            multiple=float(multiples[1]),
            interval=(float(multiples[0]), float(multiples[2])),
            p_value=None if distance.p_value is None else distance.p_value(float(middle), min(size, self.size)),
            higher_is_better=distance.higher_is_better,
        )

    def measure_all(self, *generated: Tensor | NDArray[Any], names: Iterable[str] | None = None) -> dict[str, Measure]:
        """Measure the sets by every distance in `names`, or by all of the benchmark's; errors as in `measure`."""
        if names is None:
            names = [name for name in self.names if all(self.known[name].fits(len(points)) for points in generated)]
        return {name: self.measure(name, *generated) for name in names}
