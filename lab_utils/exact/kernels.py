"""Kernel density estimates: Gaussian mixtures with a component around every point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils import SEED, WORKERS
from lab_utils.base.arguments import check_points
from lab_utils.exact.mixtures import GaussianMixture

FOLDS = 5
BANDWIDTHS = tuple(np.geomspace(0.005, 1, 24).tolist())
NEIGHBOURS = (1, 2, 3, 5, 10, 30)
FACTORS = (0.4, 0.6, 1.0, 1.6, 2.5)


def fixed_kernels(
    points: Tensor, *, bandwidths: Sequence[float] = BANDWIDTHS, folds: int = FOLDS, seed: int = SEED
) -> GaussianMixture:
    """A kernel density estimate: a Gaussian around every point, all with one bandwidth.

    The bandwidth is the one of `bandwidths` with the highest mean log density of points that were left out, over a
    cross-validation of so many `folds` (Duin 1976, with folds in the place of single points).

    Args:
        points: (n, 2) floats, normalised.
        bandwidths: standard deviations to choose from. A single one is taken as it is.
        folds: parts that are left out in turn.
        seed: of the parts.

    Raises:
        ValueError: if there are fewer points than folds, fewer than 2 folds, no bandwidths, or one that is not greater
            than 0.
    """
    _check_positive("bandwidths", bandwidths)
    return _choose(points, [partial(GaussianMixture, covariances=h**2) for h in bandwidths], folds, seed)


def adaptive_kernels(
    points: Tensor,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    factors: Sequence[float] = FACTORS,
    folds: int = FOLDS,
    seed: int = SEED,
) -> GaussianMixture:
    """A kernel density estimate whose bandwidth is small where points are dense (Breiman, Meisel & Purcell 1977).

    The bandwidth of each point is a factor times the distance to its k-th neighbour, k and the factor chosen by
    cross-validation as in `fixed_kernels`. Where more than k points coincide that distance is 0; no distance counts as
    less than the smallest hundredth of those above 0.

    Args:
        points: (n, 2) floats, normalised.
        neighbours: values of k to choose from …
        factors: … each with each of these factors. A single pair is taken as it is.
        folds: parts that are left out in turn.
        seed: of the parts.

    Raises:
        ValueError: as for `fixed_kernels`; also if some k is not below the number of points that the estimate is made
            of, or all distances to the k-th neighbours are 0.
    """
    _check_positive("neighbours", neighbours)
    _check_positive("factors", factors)
    pairs = [(k, factor) for k in neighbours for factor in factors]
    return _choose(points, [partial(_adapted, k=k, factor=factor) for k, factor in pairs], folds, seed)


def _check_positive(name: str, values: Sequence[float]) -> None:
    if not values or not all(value > 0 for value in values):
        raise ValueError(f"{name} must be one or more numbers greater than 0, not {list(values)}")


def _adapted(points: Tensor, k: int, factor: float) -> GaussianMixture:
    if not k < len(points):
        raise ValueError(f"of {len(points)} points none has a neighbour number {k}: take fewer, or give more points")
    places: NDArray[np.float64] = points.double().numpy()
    # every point's nearest neighbour is itself
    distances = np.asarray(cKDTree(places).query(places, [k + 1])[0])[:, 0]
    if not distances.any():
        raise ValueError(f"every point coincides with {k} others, so their distances give no bandwidth")
    distances = np.maximum(distances, np.quantile(distances[distances > 0], 0.01))
    return GaussianMixture(points, torch.from_numpy((factor * distances) ** 2))


def _choose(
    points: Tensor, estimates: Sequence[Callable[[Tensor], GaussianMixture]], folds: int, seed: int
) -> GaussianMixture:
    """The estimate made of all points, by the way of making one that gives left-out points the highest log density."""
    check_points(points)
    if not 2 <= folds <= len(points):
        raise ValueError(f"folds must be 2 or more, and no more than the points; got {folds}, for {len(points)} points")
    if len(estimates) == 1:
        return estimates[0](points)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    parts = order.tensor_split(folds)
    masks = [torch.ones(len(points), dtype=torch.bool).index_fill(0, part, False) for part in parts]
    splits = [(points[mask], points[part]) for mask, part in zip(masks, parts, strict=True)]

    def score(estimate: Callable[[Tensor], GaussianMixture]) -> float:
        return sum(float(estimate(kept).log_prob(left_out).sum()) for kept, left_out in splits)

    with ThreadPoolExecutor(WORKERS) as pool:
        scores = list(pool.map(score, estimates))
    return estimates[scores.index(max(scores))](points)
