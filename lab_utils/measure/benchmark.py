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
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.base.arguments import check_finite
from lab_utils.measure.distances import DISTANCES, copies

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

    Args:
        held_out: (N, 2) real points that no model has seen.
        train: (M, 2) real points that the model has seen; with them, "copies" is known too.
        size: points in each set; the generated sets must have as many.
        draws: number of pairs; each is a fresh split of the held-out points. Their distances are the floors: many,
            for two real draws may lie ten times as far apart as two others. A dear distance uses the first few.
        references: how many of the pairs' references the generated sets are held against, from the first one on.
        seed: of the splits.

    Attributes:
        pairs: the pairs, each a (size, 2) reference and a (size, 2) rival that stands for a perfect model.
        known: the distances by their names.

    Raises:
        ValueError: if two disjoint sets of that size can't be drawn from the held-out points, or `size`, `draws` or
            `references` is below 1.
    """

    def __init__(
        self,
        held_out: Tensor,
        train: Tensor | None = None,
        *,
        size: int = 5000,
        draws: int = 20,
        references: int = 5,
        seed: int = SEED,
    ) -> None:
        check_finite(held_out, "held_out")
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
        orders = [torch.randperm(len(held_out), generator=generator)[: 2 * size] for _ in range(draws)]
        self.pairs = [(held_out[order[:size]], held_out[order[size:]]) for order in orders]
        self.known = DISTANCES | ({} if train is None else {"copies": copies(train)})
        self._prepared: dict[str, tuple[list[Any], list[float]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The distances that can be taken between sets of this size."""
        return tuple(name for name, distance in self.known.items() if distance.fits(self.size))

    def _prepare(self, name: str) -> tuple[list[Any], list[float]]:
        """What the distance `name` prepares for each reference, and its floors; worked out at the first call."""
        if name not in self.known:
            hint = "; copies need the training points, as Benchmark(held_out, train)" if name == "copies" else ""
            raise ValueError(f"there is no distance {name!r}; choose one of {', '.join(self.known)}{hint}")
        if name not in self._prepared:
            distance = self.known[name]
            pairs = self.pairs[: FEW if distance.dear else None]
            distance.check(pairs[0][0], f"{name}: held-out")  # all have one size
            references = _parallel(distance.prepare, [reference for reference, _ in pairs])
            rivals = _parallel(distance.prepare, [rival for _, rival in pairs])
            both = zip(pairs, references, rivals, strict=True)
            floors = _parallel(lambda p: distance.between(p[0][1], p[2], p[0][0], p[1]), both)
            self._prepared[name] = references[: self.references], floors
        return self._prepared[name]

    def floors(self, name: str) -> list[float]:
        """The distance `name` between the two sets of each pair that it uses."""
        return self._prepare(name)[1]

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
            check_finite(points, "generated")
        prepared, floors = self._prepare(name)
        distance = self.known[name]
        rows = zip(generated, _parallel(distance.prepare, generated), strict=True)
        columns = zip((reference for reference, _ in self.pairs), prepared, strict=False)  # the first few pairs
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
            p_value=None if distance.p_value is None else distance.p_value(float(middle), self.size),
            higher_is_better=distance.higher_is_better,
        )

    def measure_all(self, *generated: Tensor, names: Iterable[str] | None = None) -> dict[str, Measure]:
        """Measure the sets by every distance in `names`, or by all of the benchmark's; errors as in `measure`."""
        return {name: self.measure(name, *generated) for name in (self.names if names is None else names)}
