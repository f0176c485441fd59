"""What holds for every schedule, every Gaussian and any two sets of points, over drawn examples."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from soak import often
from test_schedules import SCHEDULES

from lab_utils.diffusion.samplers import ancestral, ddim, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import initial_noise, sample
from lab_utils.diffusion.schedules import cosine, linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.measure.mass import energy_distance, mmd, sliced_w1, w2

# --- a Gaussian there and back


@given(SCHEDULES, st.floats(1e-3, 1e3))
def test_one_reverse_step_gives_the_gaussian_of_the_step_before(schedule, variance):
    """Of data N(0, λ), x_t has the variance ᾱλ + 1 − ᾱ. A reverse step takes the best ε and adds c z; what x_t leaves
    unknown of x_0, whose share in the step is k = √ᾱ' β/(1−ᾱ), adds the rest, so that x_{t−1} has ᾱ'λ + 1 − ᾱ'.
    """
    now, before, beta = schedule.alphas_cumprod, schedule.alphas_cumprod_prev, schedule.betas
    assume(float(1 - now[0]) > 1e-9)  # else 1 − ᾱ has no digits left
    a, b, c, _ = ancestral(schedule).coefficients.flip(0).T
    total = now * variance + 1 - now
    best, unknown = (1 - now).sqrt() / total, variance * (1 - now) / total
    share = before.sqrt() * beta / (1 - now)
    found = (a - b * best).square() * total + c.square() + share.square() * unknown
    torch.testing.assert_close(found, before * variance + 1 - before, rtol=1e-5, atol=0)


@given(st.floats(0.1, 3), st.floats(0, 1.5), st.sampled_from([linear(), cosine(), sigmoid()]))
def test_with_noise_comes_the_variance_of_a_gaussian(width, noise, schedule):
    """The variances of x_t and of x̂ before, and their covariance, through each step of SDE-DPM-Solver++.

    Of N(0, w²) the best denoiser is linear, ε = √(1−ᾱ) x_t / (ᾱ w² + 1 − ᾱ), and so is each step.
    """
    sampler = sde_dpm_solver(schedule, 200, noise=noise, least=0.0)
    kept = schedule.alphas_cumprod[[*sampler.timesteps]]
    best = (1 - kept).sqrt() / (kept * width**2 + 1 - kept)
    state = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)  # of (x_t, x̂ before)
    for (a, b, c, d), (p, q), slope in zip(sampler.coefficients, sampler.estimates, best, strict=True):
        step = torch.stack([torch.stack([a - b * slope, d]), torch.stack([p - q * slope, torch.zeros_like(a)])])
        state = step @ state @ step.T
        state[0, 0] += c**2
    assert math.sqrt(state[0, 0]) == pytest.approx(width, rel=0.03, abs=0.01)


GAUSSIANS = st.builds(
    lambda x, y, wide, narrow, angle: (
        torch.tensor([x, y], dtype=torch.float64),
        (turn := torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double())
        @ torch.diag(torch.tensor([wide, narrow], dtype=torch.float64) ** 2)
        @ turn.T,
    ),
    *(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.5, 2), st.floats(0.1, 2), st.floats(0, math.pi)),
)


@pytest.mark.parametrize("make", [ddim, dpm_solver], ids=["DDIM", "DPM-Solver++"])
@settings(max_examples=often(25, 2000))
@given(GAUSSIANS, st.sampled_from([linear(), cosine(), sigmoid()]))
def test_from_noise_along_the_exact_denoiser_comes_the_gaussian(make, gaussian, schedule):
    """The way of each point is affine: its matrix A and its start b, found by least squares, give N(b, A Aᵀ)."""
    mean, covariance = gaussian
    best = BestDenoiser(GaussianMixture(mean.unsqueeze(0), covariance.unsqueeze(0)), schedule)
    points = sample(best, 50, sampler=make(schedule, 200, least=0.0), workers=1).double()
    start = torch.cat([initial_noise(50).double(), torch.ones(50, 1, dtype=torch.float64)], dim=1)
    way = torch.linalg.lstsq(start, points).solution
    torch.testing.assert_close(start @ way, points, rtol=0, atol=1e-4)
    scale = float(covariance.diagonal().max())
    torch.testing.assert_close(way[2], mean, rtol=0, atol=0.05 * math.sqrt(scale) + 0.02)
    torch.testing.assert_close(way[:2].T @ way[:2], covariance, rtol=0, atol=0.05 * scale)


# --- distances

COORDINATES = st.floats(-4, 4, width=32)
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=2, max_size=30).map(
    lambda points: torch.tensor(points, dtype=torch.float64)
)
TRUE = {"energy": energy_distance, "sliced W1": sliced_w1, "W2": w2}
ALL = {**TRUE, "MMD": mmd}


@pytest.mark.parametrize("distance", TRUE.values(), ids=TRUE)
@given(POINTS, st.randoms())
def test_a_distance_is_nothing_between_equal_sets_in_any_order(distance, points, random):
    order = random.sample(range(len(points)), len(points))
    assert abs(distance(points, points[order])) < 1e-6


@pytest.mark.parametrize("distance", ALL.values(), ids=ALL)
@given(POINTS, POINTS)
def test_a_distance_is_the_same_from_both_sides(distance, x, y):
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("distance", TRUE.values(), ids=TRUE)
@given(POINTS, st.floats(0, 2 * math.pi), st.floats(0.1, 5), st.floats(1.1, 3))
def test_a_distance_grows_with_a_shift(distance, points, angle, near, times):
    shift = near * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert 0 < distance(points + shift, points) < distance(points + times * shift, points)


@pytest.mark.parametrize("distance", TRUE.values(), ids=TRUE)
@given(POINTS, POINTS)
def test_a_distance_is_never_less_than_nothing(distance, x, y):
    assert distance(x, y) > -1e-6
