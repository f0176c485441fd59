"""What a distance between two sets of points is, whichever it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import check_finite

Array = NDArray[Any]


@dataclass(frozen=True)
class Distance:
    """A distance between two point sets: call it with (n, 2) generated and (m, 2) real points.

    What it needs of one set alone it computes once: `prepare(points)`. `between` takes both sets, each with what was
    prepared for it, so that many sets can be compared with many others at little cost.

    Attributes:
        meaning: what it is, from where, and what it sees.
        prepare: what is computed of one set.
        between: the distance of generated points, what was prepared for them, real points, and what was for those.
        higher_is_better: whether it is a share that real points score high in, rather than a distance from them.
        share: whether it is a share of points, between 0 and 1.
        symmetric: whether it is the same the other way round, so that one of the two is worked out.
        smooth: whether a few points less change it a little only. Then its chance can be had from the points of one
            set.
        least: how many points a set must have.
        most: how many it may have.
        movable: whether it is worked out where the points are, on whichever device; the others work on the processor.
        dear: from so many points on it takes seconds, and is left out unless it is asked for.
        p_value: of a test: how likely values as high are between independent pairs of sets of so many points, where
            all are from the same source.
    """

    meaning: str
    prepare: Callable[[Tensor], Any]
    between: Callable[[Tensor, Any, Tensor, Any], float]
    higher_is_better: bool = False
    share: bool = False
    symmetric: bool = False
    smooth: bool = True
    movable: bool = False
    least: int = 1
    most: float = math.inf
    dear: float = math.inf
    p_value: Callable[[Sequence[float], int], float] | None = None

    def __call__(self, generated: Tensor, real: Tensor) -> float:
        """The distance, in units of the points where `meaning` says no other.

        Raises:
            ValueError: for too few points or too many, points that aren't finite, or another shape or type.
        """
        self.check(generated, "generated")
        self.check(real, "real")
        return self.between(generated, self.prepare(generated), real, self.prepare(real))

    def fits(self, n: int) -> bool:
        """Whether it can be taken between sets of `n` points."""
        return self.least <= n <= self.most

    def check(self, points: Tensor, name: str = "points") -> None:
        """Raise a `ValueError`, which calls them `name`, unless this distance can be taken of the points."""
        check_finite(points, name)
        n = len(points)
        if n < self.least:
            raise ValueError(f"{name} points: {n} given, at least {self.least} are needed for this distance")
        if n > self.most:
            raise ValueError(
                f"{name} points: {n} given, at most {self.most} are taken: {n} × {n} points need a matrix of costs of "
                f"{8 * n * n / 1e9:.1f} GB, and the solver four times that on top. Take the first {self.most}, or the "
                "sliced W1, which needs no matrix"
            )


def array_of(points: Tensor) -> Array:
    """The points as an array, which shares their memory if they are on the processor."""
    return np.asarray(points.detach().cpu().numpy())
