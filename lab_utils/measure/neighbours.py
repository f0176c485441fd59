"""Distances that see the detail, by nearest neighbours: blur, RMS, strays, precision, coverage, copies."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils.base.arguments import as_points, check_finite
from lab_utils.measure.distance import Array, Distance, array_of

PRECISION_K, COVERAGE_K = 3, 5  # neighbours, as in the two papers
STRAY = 0.001  # the share of real points that counts as far from the others

Balls = tuple[cKDTree, Array]
Reach = tuple[cKDTree, float]


def _tree(points: Tensor) -> cKDTree:
    return cKDTree(array_of(points))


def _nearest(x: Tensor, tree: cKDTree) -> Array:
    """(n,): how far it is from each point to the nearest one in the tree."""
    return np.asarray(tree.query(array_of(x))[0])


def _blur(x: Tensor, _: cKDTree, y: Tensor, tree: cKDTree) -> float:
    return float(np.median(_nearest(x, tree)))


blur = Distance(
    """Median distance from a generated point to the nearest real one: small where contours are drawn sharply.

    It sees the detail, and nothing of the mass: points heaped in one real town would look perfect to it. Nor does it
    see what half of the points do; see RMS and strays.
    """,
    prepare=_tree,
    between=_blur,
)


def _rms(x: Tensor, _: cKDTree, y: Tensor, tree: cKDTree) -> float:
    return float(np.sqrt(np.mean(_nearest(x, tree) ** 2)))


rms = Distance(
    """Root mean square of the distances from the generated points to the nearest real one: it sees the far ones.""",
    prepare=_tree,
    between=_rms,
)


def _reach(points: Tensor) -> Reach:
    """The points as a tree, and the distance to the nearest other one that 99.9 % of them keep within."""
    tree = _tree(points)
    to_others = np.asarray(tree.query(array_of(points), [2])[0])[:, 0]  # each is its own first neighbour
    # at this order statistic a new point lies beyond with a chance of 0.1 %, or of 1/(m + 1) where 0.1 % is less
    return tree, float(np.quantile(to_others, 1 - STRAY, method="weibull"))


def _beyond(x: Tensor, reach: Reach) -> NDArray[np.bool_]:
    return _nearest(x, reach[0]) > reach[1]


def _strays(x: Tensor, _: Reach, y: Tensor, reach: Reach) -> float:
    return float(np.mean(_beyond(x, reach)))


strays = Distance(
    """Share of points that are farther from every real point than 99.9 % of real points are from the nearest other one.

    It sees single points where none should be. Real ones read 0.1 %, or 1/(m + 1) where m real points are fewer than
    a thousand, because then it is the largest of their distances that is asked for.
    """,
    prepare=_reach,
    between=_strays,
    share=True,
    least=2,
)


def stray_mask(points: Tensor | NDArray[Any], real: Tensor | NDArray[Any]) -> NDArray[np.bool_]:
    """Which points are strays beside one real set: (n,) bool, whose mean is the distance `strays`.

    Args:
        points: (n, 2), in any units …
        real: … and (m, 2) in the same ones, at least 2.

    Raises:
        ValueError: there are fewer, they aren't finite, or have another shape or type.
    """
    x, y = as_points(points, "generated"), as_points(real, "real")
    check_finite(x, "generated")
    strays.check(y, "strays: real")
    return _beyond(x, _reach(y))


def _balls(k: int, points: Tensor) -> Balls:
    """The points as a tree, and how far it is from each to its `k`-th neighbour."""
    tree = _tree(points)
    return tree, np.asarray(tree.query(array_of(points), [k + 1])[0])[:, 0]  # each is its own first neighbour


def _precision(x: Tensor, _: Balls, y: Tensor, balls: Balls) -> float:
    # No place lies within more than six balls for each of the k neighbours (of k + 1 points in one sixth of the
    # circle around it, the last has the others nearer), so the hits are few, as long as each place is asked once.
    places, counts = np.unique(array_of(x), axis=0, return_counts=True)
    radii = balls[1] * (1 + 1e-12)  # the edge belongs to the ball, whatever the rounding of squares
    hits = cKDTree(places).query_ball_point(array_of(y), radii)
    inside = np.zeros(len(places), dtype=bool)
    inside[np.fromiter(chain.from_iterable(hits), dtype=np.intp)] = True
    return float(counts[inside].sum() / len(x))


precision = Distance(
    """Share of points on land: in the ball of some real point to its third neighbour (Kynkäänniemi et al. 2019, eq. 2).

    It sees points where none should be, and nothing of what is missing.
    """,
    prepare=partial(_balls, PRECISION_K),
    between=_precision,
    higher_is_better=True,
    share=True,
    least=PRECISION_K + 1,
)


def _coverage(x: Tensor, balls_x: Balls, y: Tensor, balls_y: Balls) -> float:
    return float(np.mean(balls_x[0].query(array_of(y))[0] <= balls_y[1]))


coverage = Distance(
    """Share of real points with a generated one in the ball to their fifth neighbour (Naeem et al. 2020, section 3.2).

    It sees what is missing. Real points read 1 − (m−1)…(m−5) / (n+m−1)…(n+m−5), whatever the truth: 0.97 for n = m.
    """,
    prepare=partial(_balls, COVERAGE_K),
    between=_coverage,
    higher_is_better=True,
    share=True,
    least=COVERAGE_K + 1,
)


def _beside(train: cKDTree, points: Tensor) -> Balls:
    """The points as a tree, and how far each is from the nearest training point."""
    return _tree(points), np.asarray(train.query(array_of(points))[0])


def _copies(x: Tensor, beside_x: Balls, y: Tensor, beside_y: Balls) -> float:
    to_train, to_real = beside_x[1], beside_y[0].query(array_of(x))[0]
    return float(np.mean(to_train < to_real) + np.mean(to_train == to_real) / 2)


def copies(train: Tensor) -> Distance:
    """The share of generated points that lie nearer to a training point than to a held-out one.

    Args:
        train: (N, 2) points that the model has seen.

    Raises:
        ValueError: if there are none, they aren't finite, or have another shape or type.
    """
    check_finite(train, "training")
    return Distance(
        """Share of points nearer to a training point than to a held-out one; ties count half (Meehan et al. 2020).

        In place of their rank test over distances, one share: copies of training points read 1. Fresh points from
        the truth read N / (N + m) for N training and m held-out points, ½ where there are as many; less than that is
        no better, it means that the training points were missed.
        """,
        prepare=partial(_beside, _tree(train)),
        between=_copies,
        share=True,
    )
