"""The checkerboard under noise, in closed form: against quadrature, autograd, many points, and far outside."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from lab_utils.diffusion import euler, flow, heun, linear, sample, sigmoid
from lab_utils.exact import BestDenoiser, UniformSquares, exact_squares, off_support
from lab_utils.measure import Benchmark, mean_loss
from lab_utils.points import dataset

BOARD = dataset("checkerboard")
SQUARES = exact_squares(BOARD)
BLURS = (1e-6, 1e-3, 0.1, 1.0, 4e6)


def places(n, seed=0):
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_density_is_what_quadrature_gives():
    """∫ N(x; y, s) over the square, along each axis by SciPy; a mean over the squares."""
    corners = torch.tensor([[0.0, 0.5], [-1.5, 1.0]])
    squares = UniformSquares(corners, 0.75)

    def along(a, low, blur):
        return quad(lambda y: norm.pdf(a, y, blur**0.5), low, low + 0.75, epsabs=1e-12)[0] / 0.75

    for x in ([0.2, 0.9], [1.4, -0.3]):
        for blur in (0.01, 0.5):
            each = [math.prod(along(a, low, blur) for a, low in zip(x, c, strict=True)) for c in corners.tolist()]
            found = squares.log_prob(torch.tensor([x]), blur)
            assert float(found.exp()) == pytest.approx(np.mean(each), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("blur", BLURS)
def test_the_score_is_the_slope_of_the_log_density(blur):
    x = places(200).requires_grad_(True)
    (slope,) = torch.autograd.grad(SQUARES.log_prob(x, blur).sum(), x)
    torch.testing.assert_close(SQUARES.score(x.detach(), blur), slope, rtol=1e-6, atol=1e-9)


def test_each_point_may_have_a_noise_of_its_own():
    x, blurs = places(5), torch.tensor(BLURS, dtype=torch.float64)
    for ask in (SQUARES.log_prob, SQUARES.score):
        together = ask(x, blurs)
        for k, blur in enumerate(BLURS):
            torch.testing.assert_close(together[k : k + 1], ask(x[k : k + 1], blur))
        assert len(ask(x[:0], 0.5)) == 0


@given(
    far=st.floats(-1e6, 1e6),
    up=st.floats(-1e6, 1e6),
    blur=st.sampled_from(BLURS),
    side=st.sampled_from([1e-3, 1.0, 50]),
)
def test_however_far_outside_the_score_leads_back_to_the_square(far, up, blur, side):
    """It is finite, and x + blur · score, the best guess of the point without noise (Tweedie), lies in the square."""
    squares = UniformSquares(torch.tensor([[-0.25, 0.5]]), side)
    x = torch.tensor([[far, up]], dtype=torch.float64)
    guess = x + blur * squares.score(x, blur)
    assert (guess - squares.means).abs().max() <= side / 2 + 1e-9 * max(1.0, abs(far), abs(up), blur)


@pytest.mark.parametrize("make", [linear, sigmoid, flow])
def test_the_best_denoiser_of_very_many_points_comes_near_to_it(make):
    """Their answers differ the less the more points there are; what is left is the chance of the points."""
    schedule, exact = make(), BestDenoiser(SQUARES, make())
    x, t = BOARD.held_out[:400], torch.linspace(100, 999, 400).long()
    x_t = schedule.q_sample(x, t, torch.randn(400, 2, generator=torch.Generator().manual_seed(1)))
    best = exact.epsilon(x_t, t)
    errors = [
        float((BestDenoiser(BOARD.held_out[-n:], schedule).epsilon(x_t, t) - best).square().mean().sqrt())
        for n in (300, 3000, 30_000)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.03


def test_no_denoiser_has_a_smaller_loss_on_new_points_of_the_board():
    schedule = sigmoid()
    floor, error = mean_loss(BestDenoiser(SQUARES, schedule), BOARD.held_out)
    other, _ = mean_loss(BestDenoiser(BOARD.train, schedule), BOARD.held_out)
    assert floor + error < other, "5000 points are not the board"


def test_what_it_samples_are_new_points_of_the_board():
    schedule = flow()
    x = sample(BestDenoiser(SQUARES, schedule), 5000, sampler=heun(schedule, 100))
    assert float(off_support("checkerboard", BOARD.units.restore(x)).double().mean()) < 0.002
    benchmark = Benchmark(BOARD.held_out)
    between = benchmark.between_real("energy distance")
    assert benchmark.multiple("energy distance", x) * between[between > 0].mean() < 1.2 * between.max()
    assert benchmark.multiple("coverage", x) == pytest.approx(1, abs=0.02)


def test_one_step_of_its_velocity_leads_all_noise_to_the_middle_of_the_board():
    x = sample(BestDenoiser(SQUARES, flow()), 200, sampler=euler(flow(), 1))
    torch.testing.assert_close(x, SQUARES.means.mean(dim=0).float().expand(200, 2), rtol=0, atol=0.01)


def test_of_a_class_it_is_one_square():
    data = dataset("checkerboard", label="part", train=800)
    whole, one = exact_squares(data), exact_squares(data.given("(0, 0)"))
    assert (len(whole.means), len(one.means)) == (8, 1)
    torch.testing.assert_close(data.units.restore(one.means), torch.tensor([[0.5, 0.5]]).double())
    assert (data.given("(0, 0)").train - one.means).abs().max() <= one.half + 1e-6


def test_of_other_data_it_is_not_known():
    with pytest.raises(ValueError, match="of 'moons' no density is known that is even in squares"):
        exact_squares(dataset("moons"))


@pytest.mark.parametrize(
    ("corners", "side", "says"),
    [
        (torch.zeros(0, 2), 1.0, "one square or more"),
        (torch.tensor([[0.0, math.nan]]), 1.0, "finite"),
        (torch.zeros(1, 2), 0.0, "side must be a number above 0, not 0.0"),
        (torch.zeros(1, 2), True, "not True"),
    ],
)
def test_what_is_no_square_is_refused(corners, side, says):
    with pytest.raises(ValueError, match=says):
        UniformSquares(corners, side)


@pytest.mark.parametrize("blur", [0.0, -1.0, torch.tensor([1.0, math.nan])])
def test_without_noise_there_is_no_slope(blur):
    with pytest.raises(ValueError, match="blur is a variance, above 0"):
        SQUARES.score(places(2), blur)
    with pytest.raises(ValueError, match=r"blur must have the shape \(\) or \(2,\), not \(3,\)"):
        SQUARES.log_prob(places(2), torch.ones(3))
