"""The exact share off the support is what closed forms say, and agrees with the strays."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ncx2, norm

from lab_utils.exact.supports import NOTHING, OFF_SUPPORT, off_support
from lab_utils.measure.neighbours import stray_mask
from lab_utils.points.dataset import dataset
from lab_utils.points.shapes import CHECKERBOARD_CORNERS, EIGHT_CENTRES, EIGHT_STD, GAUSSIAN_COV, GAUSSIAN_MEAN, draw

N = 200_000


def share(shape, points):
    return float(off_support(shape, points).double().mean())


def around(p, n=N):
    """The expected share, and five of its standard deviations."""
    return pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


def blurred(points, std, seed=0):
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(seed), dtype=points.dtype)
    return points + std * noise


def spread(points, count):
    """The points, but for `count` of them, which lie anywhere on a map half as wide again as they are."""
    low, high = points.amin(0), points.amax(0)
    anywhere = torch.rand(count, 2, generator=torch.Generator().manual_seed(0), dtype=points.dtype) * 2 - 1
    return torch.cat([(low + high) / 2 + 0.75 * (high - low) * anywhere, points[count:]])


@pytest.mark.parametrize("shape", OFF_SUPPORT)
def test_the_truth_reads_what_is_said_of_it(shape):
    assert share(shape, draw(shape, N, 3)) == around(OFF_SUPPORT[shape])


def test_points_that_went_through_a_models_units_are_not_off_the_checkerboard():
    data = dataset("checkerboard")
    assert share("checkerboard", data.units.restore(torch.cat([data.train, data.held_out]))) == 0


def test_the_answer_is_the_same_for_arrays():
    points = blurred(draw("eight_gaussians", 1000, 0), 0.5)
    assert torch.equal(off_support("eight_gaussians", points.numpy()), off_support("eight_gaussians", points))


@pytest.mark.parametrize("factor", [0.8, 1.5, 3.0])
def test_a_wider_gaussian_reads_its_closed_form(factor):
    points = GAUSSIAN_MEAN + factor * (draw("gaussian", N, 4) - GAUSSIAN_MEAN)
    assert share("gaussian", points) == around(NOTHING ** (1 / factor**2))


def test_a_shifted_gaussian_reads_its_closed_form():
    shift = torch.tensor([1.0, 2.0], dtype=torch.float64)
    square = float(shift @ torch.linalg.solve(GAUSSIAN_COV, shift))
    assert share("gaussian", draw("gaussian", N, 5) + shift) == around(ncx2(2, square).sf(-2 * math.log(NOTHING)))


@pytest.mark.parametrize("shift", [0.03, 0.4])
def test_a_shifted_checkerboard_leaves_that_much_of_each_square(shift):
    points = draw("checkerboard", N, 6) + torch.tensor([0.0, shift], dtype=torch.float64)
    assert share("checkerboard", points) == around(shift)


def test_a_margin_is_the_distance_from_the_nearest_dark_square():
    # (0, 0) … (1, 1) is dark, and so is (−1, −1) … (0, 0); between them are light ones
    points = torch.tensor([[0.5, 1.1], [2.3, 2.4], [-0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    for margin, off in [(0, [1, 1, 1, 0]), (0.099, [1, 1, 1, 0]), (0.101, [0, 1, 1, 0]), (0.499, [0, 1, 1, 0])]:
        assert off_support("checkerboard", points, margin=margin).int().tolist() == off
    assert not off_support("checkerboard", points, margin=0.501).any()


def within(a, std):
    """P(a ≤ u + std·z ≤ a + 1) for u even on [0, 1] and z normal: what is left of a stripe a side is blurred over."""

    def integral(b):  # of Φ((b − u)/std) over u; the antiderivative of Φ(x) is x Φ(x) + φ(x)
        high, low = b / std, (b - 1) / std
        return std * (high * norm.cdf(high) + norm.pdf(high) - low * norm.cdf(low) - norm.pdf(low))

    return integral(a + 1) - integral(a)


@pytest.mark.parametrize("std", [0.02, 0.2, 1.0])
def test_a_blurred_checkerboard_reads_its_closed_form(std):
    inside = np.mean(
        [
            sum(within(a - x, std) * within(b - y, std) for a, b in CHECKERBOARD_CORNERS.tolist())
            for x, y in CHECKERBOARD_CORNERS.tolist()
        ]
    )
    assert share("checkerboard", blurred(draw("checkerboard", N, 7), std)) == around(1 - inside)


def test_the_eight_gaussians_level_leaves_out_one_in_a_thousand_by_a_plain_sum_over_the_plane():
    """The density summed over a fine grid, where it is said to be next to nothing: another way than the module's."""
    step = 0.01
    line = torch.arange(-7, 7, step, dtype=torch.float64) + step / 2
    rows = torch.exp(-((line.unsqueeze(1) - EIGHT_CENTRES[:, 0]) ** 2) / (2 * EIGHT_STD**2))
    columns = torch.exp(-((line.unsqueeze(1) - EIGHT_CENTRES[:, 1]) ** 2) / (2 * EIGHT_STD**2))
    mass = (rows @ columns.T) * step**2 / (8 * 2 * math.pi * EIGHT_STD**2)
    assert float(mass.sum()) == pytest.approx(1, abs=1e-9)
    off = off_support("eight_gaussians", torch.cartesian_prod(line, line)).view(mass.shape)
    assert float(mass[off].sum()) == pytest.approx(NOTHING, rel=2e-3)
    assert float(mass[off].max()) <= float(mass[~off].min())  # a level: none of those outside is likelier


def both(shape, points):
    """The exact share, and the strays as a mean over a dozen real sets: one alone reads a third more or less."""
    strays = [stray_mask(points, draw(shape, 5000, 300 + i)).mean() for i in range(12)]
    return share(shape, points), float(np.mean(strays))


def scale(shape):
    return float(draw(shape, 5000, 0).var(dim=0).mean().sqrt())


@pytest.mark.parametrize("shape", OFF_SUPPORT)
def test_strays_rise_with_the_exact_share(shape):
    shares = [both(shape, blurred(draw(shape, 5000, 8), std * scale(shape))) for std in (0.0, 0.1, 0.2, 0.4, 0.8)]
    exact, strays = np.array(shares).T
    assert (np.diff(exact) > 0).all()
    assert (np.diff(strays) > 0).all()


@pytest.mark.parametrize("shape", OFF_SUPPORT)
@pytest.mark.parametrize("count", [100, 1000])
def test_single_points_where_none_should_be_read_the_same_both_ways(shape, count):
    exact, strays = both(shape, spread(draw(shape, 20_000, 8), count))
    assert exact > 0.6 * count / 20_000
    assert strays == pytest.approx(exact, rel=0.06, abs=1.2e-3)  # the truth's own are 0.1 % and 0.1 %, or none


@pytest.mark.parametrize("shape", ["eight_gaussians", "gaussian"])
@pytest.mark.parametrize("std", [0.1, 0.2, 0.4])
def test_strays_of_a_blurred_truth_are_three_quarters_to_all_of_the_exact_share(shape, std):
    exact, strays = both(shape, blurred(draw(shape, 20_000, 8), std * scale(shape)))
    assert 0.65 * exact < strays < 1.05 * exact + 5e-4


@pytest.mark.parametrize("std", [0.064, 0.128, 0.256, 0.5])
def test_strays_of_the_checkerboard_are_the_points_farther_outside_than_a_25th_of_a_side(std):
    points = blurred(draw("checkerboard", 20_000, 8), std)
    exact, strays = both("checkerboard", points)
    assert strays < exact
    assert strays == pytest.approx(float(off_support("checkerboard", points, margin=0.042).double().mean()), rel=0.05)


def test_what_is_not_known_or_no_points_is_an_error():
    points = draw("moons", 10, 0)
    with pytest.raises(ValueError, match="'moons' has no density is not known; it is of checkerboard, eight_gaussians"):
        off_support("moons", points)
    with pytest.raises(ValueError, match="finite"):
        off_support("gaussian", points * math.nan)
    with pytest.raises(ValueError, match=r"0 for all but the checkerboard; got 0\.1"):
        off_support("gaussian", points, margin=0.1)
    with pytest.raises(ValueError, match="0 or more"):
        off_support("checkerboard", points, margin=math.nan)
    with pytest.raises(ValueError, match="shape"):
        off_support("gaussian", points[0])
