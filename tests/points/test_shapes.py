"""The shapes are what they say, and draws of them are independent."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons

from lab_utils.base.arguments import PointsError
from lab_utils.points.dataset import dataset
from lab_utils.points.shapes import (
    CHECKERBOARD_CORNERS,
    EIGHT_CENTRES,
    EIGHT_STD,
    GAUSSIAN_COV,
    GAUSSIAN_MEAN,
    PARTS,
    SHAPES,
    draw,
    draw_parts,
)

# --- shapes


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_promised_size_and_the_same_seed_gives_the_same_bits(shape):
    first = draw(shape, 1000, seed=3)
    assert first.shape == (1000, 2)
    assert first.dtype == torch.float64
    assert first.isfinite().all()
    assert torch.equal(first, draw(shape, 1000, seed=3))
    assert not torch.equal(first, draw(shape, 1000, seed=4))
    assert len(first.unique(dim=0)) == 1000
    assert draw(shape, 1, seed=3).shape == (1, 2)


@pytest.mark.parametrize("source", [*SHAPES, "cities"])
def test_no_global_random_state_is_read_or_changed(source):
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = dataset(source, train=50)
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        assert dataset(source, train=50).checksum == first.checksum


def test_the_gaussian_has_the_exported_mean_and_covariance():
    n = 200_000
    points = draw("gaussian", n, seed=0)
    variances = GAUSSIAN_COV.diagonal()
    assert ((points.mean(0) - GAUSSIAN_MEAN).abs() < 5 * (variances / n).sqrt()).all()
    # The standard error of an entry of a Gaussian's sample covariance: √((Σii Σjj + Σij²) / n).
    error = ((torch.outer(variances, variances) + GAUSSIAN_COV**2) / n).sqrt()
    assert ((points.T.cov() - GAUSSIAN_COV).abs() < 5 * error).all()


def test_the_gaussian_is_gaussian_not_just_of_the_right_covariance():
    """The squared Mahalanobis distance in the plane is exponential with mean 2: P(d² > 2q) = exp(-q)."""
    n = 200_000
    centred = draw("gaussian", n, seed=1) - GAUSSIAN_MEAN
    squared = (centred @ GAUSSIAN_COV.inverse() * centred).sum(1)
    for q in (0.1, 1.0, 4.0):
        p = math.exp(-q)
        assert abs((squared > 2 * q).double().mean().item() - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_the_eight_gaussians_are_equally_likely_and_as_wide_as_exported():
    n = 80_000
    points = draw("eight_gaussians", n, seed=0)
    offsets = points[:, None] - EIGHT_CENTRES
    nearest = offsets.square().sum(2).argmin(1)
    counts = nearest.bincount(minlength=8).double()
    assert ((counts - n / 8).abs() < 5 * math.sqrt(n * (1 / 8) * (7 / 8))).all()
    own = offsets[torch.arange(n), nearest]
    # The neighbours' centres are 3.8 standard deviations beyond the border, so hardly a point is taken for another's.
    assert own.std(0).sub(EIGHT_STD).abs().max() < 0.01
    assert own.mean(0).abs().max() < 5 * EIGHT_STD / math.sqrt(n)


def test_checkerboard_points_lie_evenly_on_the_dark_squares_and_nowhere_else():
    n = 80_000
    points = draw("checkerboard", n, seed=0)
    corners = points.floor()
    assert ((points >= -2) & (points < 2)).all()
    assert (corners.sum(1) % 2 == 0).all()
    squares, counts = corners.unique(dim=0, return_counts=True)
    assert {tuple(square) for square in squares.tolist()} == {tuple(c) for c in CHECKERBOARD_CORNERS.tolist()}
    assert ((counts - n / 8).abs() < 5 * math.sqrt(n * (1 / 8) * (7 / 8))).all()
    inside = points - corners
    assert (inside.mean(0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / n)
    assert (inside.var(0) - 1 / 12).abs().max() < 0.002


def test_the_moons_lie_on_two_half_circles_up_to_their_noise():
    points = draw("moons", 20_000, seed=0)
    to_upper = ((points - torch.tensor([0.0, 0.0])).norm(dim=1) - 1).abs()
    to_lower = ((points - torch.tensor([1.0, 0.5])).norm(dim=1) - 1).abs()
    assert torch.minimum(to_upper, to_lower).max() < 5 * 0.08
    assert abs((to_upper < to_lower).double().mean().item() - 0.5) < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_independent_so_means_scatter_as_theory_says(shape):
    """A shape spaced evenly along its curve (as scikit-learn's moons are) would scatter far less than √(variance/n)."""
    n, repeats = 100, 200
    means = torch.stack([draw(shape, n, seed).mean(0) for seed in range(repeats)])
    expected = draw(shape, 50_000, seed=10_000).var(0) / n
    ratio = means.var(0) / expected  # χ² with 199 degrees of freedom / 199: 1 ± 0.1
    assert ((ratio > 0.5) & (ratio < 1.6)).all(), ratio


def test_the_spiral_has_two_arms_alike():
    """Turned by half a turn, the spiral is the same density: its mean is 0 and each arm has half the points."""
    n = 50_000
    points = draw("spiral", n, seed=0)
    assert (points.mean(0).abs() < 5 * points.std(0) / math.sqrt(n)).all()
    radius, angle = points.norm(dim=1), torch.atan2(points[:, 1], points[:, 0])
    phase = (angle - radius) % (2 * math.pi)
    on_first = (phase < math.pi / 2) | (phase > 3 * math.pi / 2)
    assert abs(on_first.double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert phase[radius > 4].sub(math.pi).abs().sub(math.pi / 2).abs().min() > 0.1  # nothing between the arms


# --- their parts


def by_choice(shape, n, seed):
    """The draws as they were written before the parts were told: NumPy chooses among the centres themselves."""
    rng = np.random.default_rng(seed)
    if shape == "eight_gaussians":
        return rng.choice(EIGHT_CENTRES.numpy(), n) + EIGHT_STD * rng.standard_normal((n, 2))
    if shape == "checkerboard":
        return rng.choice(CHECKERBOARD_CORNERS.numpy(), n) + rng.random((n, 2))
    if shape == "moons":
        return rng.choice(make_moons(100_000, shuffle=False)[0], n) + 0.08 * rng.standard_normal((n, 2))
    radius = 3 * math.pi * np.sqrt(rng.random(n))
    arm = rng.choice([-1.0, 1.0], n)
    curve = (arm * radius)[:, None] * np.stack([np.cos(radius), np.sin(radius)], axis=1)
    return curve + 0.25 * rng.standard_normal((n, 2))


@pytest.mark.parametrize("shape", PARTS)
def test_points_that_tell_their_parts_are_the_bits_that_they_always_were(shape):
    for seed, n in ((3, 35_000), (0, 1)):
        points, _ = draw_parts(shape, n, seed)
        assert torch.equal(points, torch.from_numpy(by_choice(shape, n, seed)))
        assert torch.equal(points, draw(shape, n, seed))


@pytest.mark.parametrize("shape", PARTS)
def test_each_part_is_as_likely_as_the_others(shape):
    n, parts = 80_000, len(PARTS[shape])
    _, found = draw_parts(shape, n, seed=0)
    assert (found.shape, found.dtype) == ((n,), torch.int64)
    counts = found.bincount(minlength=parts).double()
    assert len(counts) == parts == len({*PARTS[shape]})
    assert ((counts - n / parts).abs() < 5 * math.sqrt(n / parts * (1 - 1 / parts))).all()


def test_each_point_lies_where_its_part_is():
    points, square = draw_parts("checkerboard", 5000, seed=1)
    assert torch.equal(points.floor(), CHECKERBOARD_CORNERS[square])
    assert PARTS["checkerboard"][5] == str(tuple(CHECKERBOARD_CORNERS[5].int().tolist()))
    points, which = draw_parts("eight_gaussians", 5000, seed=1)
    away = (points - EIGHT_CENTRES[which]) / EIGHT_STD
    assert away.square().sum(1).max() < 2 * math.log(5000 * 1000)  # P(|z|² > d) = exp(−d/2), for any of 5000
    assert math.degrees(math.atan2(*EIGHT_CENTRES[3].flip(0))) == pytest.approx(int(PARTS["eight_gaussians"][3][:-1]))
    points, arc = draw_parts("moons", 5000, seed=1)
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    assert ((points - centres[arc]).norm(dim=1) - 1).abs().max() < 5 * 0.08
    upper, lower = (points[arc == PARTS["moons"].index(name), 1].mean() for name in ("upper", "lower"))
    assert upper > lower
    points, arm = draw_parts("spiral", 5000, seed=1)
    on_circle = points * (2 * arm - 1).unsqueeze(1)  # the first arm is the second, turned by half a turn
    radius = on_circle.norm(dim=1)
    phase = (torch.atan2(on_circle[:, 1], on_circle[:, 0]) - radius + math.pi) % (2 * math.pi) - math.pi
    assert phase[radius > 4].abs().max() < math.pi / 2


def test_a_shape_without_parts_is_refused_with_those_that_have_some():
    with pytest.raises(PointsError, match="'swiss_roll' has no parts; moons, checkerboard, eight_gaussians, spiral"):
        draw_parts("swiss_roll", 5, seed=0)


@pytest.mark.parametrize("n", [0, -5])
def test_fewer_than_one_point_cannot_be_drawn(n):
    with pytest.raises(PointsError, match=f"n must be 1 or more; got {n}"):
        draw("moons", n, seed=0)


def test_an_unknown_shape_is_answered_with_the_known_ones():
    with pytest.raises(
        PointsError, match=r"'dino'.*moons, swiss_roll, thin_roll, checkerboard, eight_gaussians, spiral, gaussian"
    ):
        draw("dino", 10, seed=0)
