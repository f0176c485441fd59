"""Kernel estimates are scikit-learn's, and their widths those that explain left-out points best."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from lab_utils.exact.kernels import adaptive_kernels, fixed_kernels

EYE = torch.eye(2, dtype=torch.float64)


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- kernels


def test_fixed_kernels_are_scikit_learns():
    points, places = normal(400, 1), normal(300, 2)
    for bandwidth in (0.05, 0.4):
        ours = fixed_kernels(points, bandwidths=[bandwidth])
        # One leaf for all points: in a deeper tree scikit-learn 1.9 loses the smallest densities (by 25 nats in 106).
        tree = KernelDensity(bandwidth=bandwidth, leaf_size=400).fit(points.numpy())
        theirs = tree.score_samples(places.numpy())
        np.testing.assert_allclose(ours.log_prob(places).numpy(), theirs, rtol=1e-10)


def test_the_bandwidth_is_scikit_learns_choice():
    """Of 500 points the best is clear whichever the parts; the whole way by way of its grid search."""
    points = normal(500, 1)
    grid = np.geomspace(0.05, 2, 9)
    search = GridSearchCV(KernelDensity(), {"bandwidth": grid}, cv=KFold(5, shuffle=True, random_state=0))
    chosen = search.fit(points.numpy()).best_params_["bandwidth"]
    assert grid[0] < chosen < grid[-1]
    assert float(fixed_kernels(points, bandwidths=grid.tolist()).covariances[0, 0, 0]) == pytest.approx(chosen**2)


def test_an_adaptive_bandwidth_is_a_factor_times_a_distance():
    points = normal(200, 1)
    ours = adaptive_kernels(points, neighbours=[4], factors=[0.7])
    distances = torch.cdist(points, points).sort(dim=1).values[:, 4]
    floor = distances.quantile(0.01)
    expected = (0.7 * distances.clamp(min=floor)) ** 2
    torch.testing.assert_close(ours.covariances[:, 0, 0], expected)
    torch.testing.assert_close(ours.covariances, expected.reshape(-1, 1, 1) * EYE.expand(200, 2, 2))
    assert torch.equal(ours.means, points)


def test_the_pair_that_explains_left_out_points_best_is_chosen():
    points = normal(300, 1)
    neighbours, factors, folds = (2, 6, 20), (0.3, 1.0, 2.0), 4
    parts = torch.randperm(300, generator=torch.Generator().manual_seed(9)).tensor_split(folds)
    scores = {}
    for k in neighbours:
        for factor in factors:
            logs = []
            for number, part in enumerate(parts):
                kept = points[torch.cat([p for i, p in enumerate(parts) if i != number]).sort().values]
                logs.append(adaptive_kernels(kept, neighbours=[k], factors=[factor]).log_prob(points[part]))
            scores[k, factor] = float(torch.cat(logs).mean())
    k, factor = max(scores, key=scores.get)
    ours = adaptive_kernels(points, neighbours=neighbours, factors=factors, folds=folds, seed=9)
    expected = adaptive_kernels(points, neighbours=[k], factors=[factor])
    assert torch.equal(ours.covariances, expected.covariances)


def test_adaptive_kernels_draw_what_is_fine_and_what_is_coarse():
    """Of points that are dense here and thin there, one bandwidth must fail one of the two."""

    def points(seed):
        x = normal(2000, seed)
        return torch.cat([0.01 * x[:1000], x[1000:] + 3])

    fixed, adaptive = (make(points(1)).log_prob(points(2)).mean() for make in (fixed_kernels, adaptive_kernels))
    assert adaptive > fixed + 0.5


@pytest.mark.parametrize("estimate", [fixed_kernels, adaptive_kernels])
def test_the_same_seed_gives_the_same_kernels_in_double(estimate):
    points = normal(150, 1).float()
    first = estimate(points)
    assert first.means.dtype == first.covariances.dtype == torch.float64
    assert torch.equal(first.covariances, estimate(points).covariances)
    assert estimate(points, seed=5).covariances.shape == (150, 2, 2)


def test_points_that_coincide_have_a_width_all_the_same():
    """Four of each: the third neighbour of every one is at distance 0, were it not for one that is apart."""
    places = normal(50, 1)
    points = torch.cat([places.repeat(4, 1), normal(60, 2)])
    variances = adaptive_kernels(points, neighbours=[3], factors=[1.0]).covariances[:, 0, 0]
    positive = torch.cdist(points, points).sort(dim=1).values[200:, 3]
    assert (variances > 0).all()
    torch.testing.assert_close(variances[:200], positive.quantile(0.01).square().expand(200))
    assert adaptive_kernels(points).log_prob(normal(100, 3)).isfinite().all()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: fixed_kernels(torch.zeros(9, 3)), r"points must be .* shape \(9, 3\)"),
        (lambda: fixed_kernels(normal(4)), "folds must be 2 or more, and no more than the points; got 5, for 4 points"),
        (lambda: fixed_kernels(normal(40), folds=1), "got 1, for 40 points"),
        (lambda: fixed_kernels(normal(40), bandwidths=[]), r"bandwidths must be one or more .* not \[\]"),
        (lambda: fixed_kernels(normal(40), bandwidths=[0.1, 0]), r"greater than 0, not \[0.1, 0\]"),
        (lambda: adaptive_kernels(normal(40), neighbours=[0]), r"neighbours .* not \[0\]"),
        (lambda: adaptive_kernels(normal(40), factors=[-1.0]), r"factors .* not \[-1.0\]"),
        (lambda: adaptive_kernels(normal(40), neighbours=[2, 32]), "of 32 points none has a neighbour number 32"),
        (lambda: adaptive_kernels(torch.ones(40, 2)), "every point coincides with 1 others"),
    ],
)
def test_kernels_that_cannot_be_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
