"""Distances between two sets of points, each with the paper that it is from.

All take (n, 2) generated and (m, 2) real points in normalised units (mean variance 1 per axis), float32 or float64, in
memory bounded by the sets' own; only W2 needs a whole matrix, and says so. What each reads for real points is the
business of `metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import check_finite

PAIRS = 2**18  # of a matrix of distances in memory at once: as many as fit into a core's own cache
DIRECTIONS = 64  # of the sliced distance: enough for it to change by less than 0.1 % when the points are turned
FAINT = 1e-9  # a kernel below this counts as 0: its powers would be numbers so small that processors slow down
OCTAVES = 5  # bandwidths of the MMD's kernels: 1, 1/2 … 1/16, from the whole picture down to its finer detail
PRECISION_K, COVERAGE_K = 3, 5  # neighbours, as in the two papers
W2_MOST = 10_000  # points: the solver then holds 4 GB, for 40 bytes a pair were measured, and takes some 20 s

Array = NDArray[Any]
Balls = tuple[cKDTree, Array]


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
        least: how many points a set must have.
        most: how many it may have.
        dear: whether it takes so long that one computes few of them.
        p_value: of a test, how likely a value as high is between two sets of so many points from the same source.
    """

    meaning: str
    prepare: Callable[[Tensor], Any]
    between: Callable[[Tensor, Any, Tensor, Any], float]
    higher_is_better: bool = False
    least: int = 1
    most: float = math.inf
    dear: bool = False
    p_value: Callable[[float, int], float] | None = None

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


def _array(points: Tensor) -> Array:
    return np.asarray(points.detach().numpy())


def _tree(points: Tensor) -> cKDTree:
    return cKDTree(_array(points))


def _nothing(points: Tensor) -> None:
    """What is prepared where nothing is needed of one set alone."""


# --- energy distance and MMD: means over all pairs. Sums are kept as numbers: a small tensor that stays alive for each
# block keeps the block's own memory from being used again, which came to gigabytes for 40 000 points.


def _squares(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """The squared distances between all pairs, in blocks of rows, in the finer precision of the two sets.

    In the plane two subtractions do it, three times as fast as `torch.cdist`, which loops over the coordinates.
    """
    finer = torch.promote_types(x.dtype, y.dtype)
    across, up = y.detach().to(finer).T.contiguous()
    for block in x.detach().to(finer).split(max(1, PAIRS // len(y))):
        dx, dy = block[:, :1] - across, block[:, 1:] - up
        yield dx.square_().addcmul_(dy, dy)


def _total(block: Tensor) -> float:
    """The sum: each row's in its own precision, which is fast; and theirs, whose errors go both ways, in double."""
    return float(block.sum(dim=1).sum(dtype=torch.float64))


def mean_distance(x: Tensor, y: Tensor) -> float:
    """Mean distance between all pairs of (n, 2) `x` and (m, 2) `y`, in bounded memory. Errors as `check_finite`."""
    check_finite(x, "x")
    check_finite(y, "y")
    return math.fsum(_total(block.sqrt_()) for block in _squares(x, y)) / (len(x) * len(y))


def _own_mean_distance(points: Tensor) -> float:
    return mean_distance(points, points)


def _energy_distance(x: Tensor, spread_x: float, y: Tensor, spread_y: float) -> float:
    return 2 * mean_distance(x, y) - spread_x - spread_y


energy_distance = Distance(
    """Energy distance 2 E|X−Y| − E|X−X'| − E|Y−Y'| (Székely & Rizzo 2013, eq. 6.1): 0 or more.

    It sees where the mass is, and little of its fine detail.
    """,
    prepare=_own_mean_distance,
    between=_energy_distance,
)


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Σ k(x_i, y_j) over all pairs, k the sum of the Gaussian kernels."""
    sums = []
    for block in _squares(x, y):
        kernel = block.mul_(-0.5).exp_()  # of bandwidth 1
        sums.append(_total(kernel))
        for _ in range(OCTAVES - 1):
            torch.threshold_(kernel, FAINT, 0.0)
            kernel.square_().square_()  # exp(−d²/2σ²) to the fourth has half the bandwidth; much cheaper than exp
            sums.append(_total(kernel))
    return math.fsum(sums)


def _own_kernel_mean(points: Tensor) -> float:
    n = len(points)
    return (_kernel_sum(points, points) - OCTAVES * n) / (n * (n - 1))  # without k(x_i, x_i), which is OCTAVES


def _mmd(x: Tensor, own_x: float, y: Tensor, own_y: float) -> float:
    return own_x + own_y - 2 * _kernel_sum(x, y) / (len(x) * len(y))


mmd = Distance(
    """Squared maximum mean discrepancy, without bias (Gretton et al. 2012, eq. 3), of a sum of Gaussian kernels.

    Its bandwidths are 1, 1/2 … 1/16, in normalised units; it has no unit itself. About 0, and as often below as above,
    for two draws from the same source.
    """,
    prepare=_own_kernel_mean,
    between=_mmd,
    least=2,
)


# --- Wasserstein distances


def _slices(points: Tensor) -> Tensor:
    """(DIRECTIONS, n): the points as seen along each direction, in order."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()]).to(points)
    return (points.detach() @ directions).T.sort(dim=1).values


def _sliced_w1(x: Tensor, slices_x: Tensor, y: Tensor, slices_y: Tensor) -> float:
    n, m = len(x), len(y)
    # In one dimension the points are matched in order: W1 = ∫|F⁻¹(q) − G⁻¹(q)| dq, where the quantiles F⁻¹ step at
    # q = i/n and G⁻¹ at j/m. The steps are counted in whole numbers, in 1/nm.
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    weights = steps.diff(prepend=torch.zeros(1, dtype=torch.int64)).double() / (n * m)
    i, j = (steps - 1) // m, (steps - 1) // n
    each = [(a[i] - b[j]).abs().double() @ weights for a, b in zip(slices_x, slices_y, strict=True)]
    return float(torch.stack(each).mean())


sliced_w1 = Distance(
    """Sliced Wasserstein-1 (Bonneel et al. 2015): how far points must move on average, seen along one direction.

    The mean over equally spaced directions; a shift by s reads 2s/π. It sees where the mass is.
    """,
    prepare=_slices,
    between=_sliced_w1,
)


def _w2(x: Tensor, _: None, y: Tensor, __: None) -> float:
    import ot  # type: ignore[import-untyped]  # here, because it takes seconds to import

    mean_x, mean_y = x.detach().double().mean(0), y.detach().double().mean(0)
    # W2² = |difference of the means|² + W2² of the centred sets (Peyré & Cuturi 2019, remark 2.19), which the solver
    # does faster. It runs on one thread; the number of its iterations must not be what ends it.
    costs = torch.cdist(x.detach() - mean_x, y.detach() - mean_y, compute_mode="donot_use_mm_for_euclid_dist").square_()
    centred = ot.emd2([], [], costs.numpy(), numItermax=10**9, center_dual=False, check_marginals=False)
    return math.sqrt(max(0.0, float(centred) + float((mean_x - mean_y).square().sum())))


w2 = Distance(
    """Wasserstein-2, exactly (Peyré & Cuturi 2019, eq. 2.24): the root mean square way of the cheapest transport.

    It sees all, but two real draws are already far apart in it, and it is dear.
    """,
    prepare=_nothing,
    between=_w2,
    most=W2_MOST,
    dear=True,
)


# --- neighbours: blur, precision, coverage, copies


def _median_nearest(x: Tensor, _: cKDTree, y: Tensor, tree: cKDTree) -> float:
    return float(np.median(tree.query(_array(x))[0]))


blur = Distance(
    """Median distance from a generated point to the nearest real one: small where contours are drawn sharply.

    It sees the detail, and nothing of the mass: points heaped in one real town would look perfect to it.
    """,
    prepare=_tree,
    between=_median_nearest,
)


def _balls(k: int, points: Tensor) -> Balls:
    """The points as a tree, and how far it is from each to its `k`-th neighbour."""
    tree = _tree(points)
    return tree, np.asarray(tree.query(_array(points), [k + 1])[0])[:, 0]  # each is its own first neighbour


def _precision(x: Tensor, _: Balls, y: Tensor, balls: Balls) -> float:
    # No place lies within more than six balls for each of the k neighbours (of k + 1 points in one sixth of the
    # circle around it, the last has the others nearer), so the hits are few, as long as each place is asked once.
    places, counts = np.unique(_array(x), axis=0, return_counts=True)
    radii = balls[1] * (1 + 1e-12)  # the edge belongs to the ball, whatever the rounding of squares
    hits = cKDTree(places).query_ball_point(_array(y), radii)
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
    least=PRECISION_K + 1,
)


def _coverage(x: Tensor, balls_x: Balls, y: Tensor, balls_y: Balls) -> float:
    return float(np.mean(balls_x[0].query(_array(y))[0] <= balls_y[1]))


coverage = Distance(
    """Share of real points with a generated one in the ball to their fifth neighbour (Naeem et al. 2020, section 3.2).

    It sees what is missing. Real points read 1 − (m−1)…(m−5) / (n+m−1)…(n+m−5), whatever the truth: 0.97 for n = m.
    """,
    prepare=partial(_balls, COVERAGE_K),
    between=_coverage,
    higher_is_better=True,
    least=COVERAGE_K + 1,
)


def _beside(train: cKDTree, points: Tensor) -> Balls:
    """The points as a tree, and how far each is from the nearest training point."""
    return _tree(points), np.asarray(train.query(_array(points))[0])


def _copies(x: Tensor, beside_x: Balls, y: Tensor, beside_y: Balls) -> float:
    to_train, to_real = beside_x[1], beside_y[0].query(_array(x))[0]
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
    )


# --- a classifier


def _shuffled(points: Tensor) -> Array:
    """The points in an order that cuts them into random halves, the same ones each time."""
    return _array(points[torch.randperm(len(points), generator=torch.Generator().manual_seed(SEED))])


def _accuracy(x: Tensor, shuffled_x: Array, y: Tensor, shuffled_y: Array) -> float:
    from sklearn.ensemble import ExtraTreesClassifier  # here, because it is slow to import

    n = min(len(x), len(y))  # as many of both, so that guessing is right half the time
    half = n // 2
    # Measured against nearest neighbours (5 to 151), boosting and random forests, on towns and Gaussians that were
    # blurred, shifted, stretched or cut: it alone is near the best at fine detail and at missing mass alike.
    trees = ExtraTreesClassifier(100, min_samples_leaf=3, random_state=SEED)
    trees.fit(np.concatenate([shuffled_x[:half], shuffled_y[:half]]), np.repeat([0, 1], half))
    said = trees.predict(np.concatenate([shuffled_x[half:n], shuffled_y[half:n]]))
    return float(np.mean(said == np.repeat([0, 1], n - half)))


def _chance(accuracy: float, n: int) -> float:
    from scipy.stats import binomtest  # here, because it is slow to import

    tests = 2 * (n - n // 2)
    return float(binomtest(math.floor(accuracy * tests + 1e-6), tests, alternative="greater").pvalue)


classifier = Distance(
    """Accuracy of a classifier (extremely randomised trees) that is to tell unseen generated points from real ones.

    The two-sample test of Lopez-Paz & Oquab 2017, section 3: half of both sets to learn from, the other half to be
    told apart. Real points read ½, and p is from the exact binomial.
    """,
    prepare=_shuffled,
    between=_accuracy,
    least=2,
    p_value=_chance,
)


DISTANCES: dict[str, Distance] = {
    "energy distance": energy_distance,
    "blur": blur,
    "sliced W1": sliced_w1,
    "W2": w2,
    "MMD": mmd,
    "precision": precision,
    "coverage": coverage,
    "classifier": classifier,
}
