"""What guidance makes of Gaussians: the laws solve their equations, and the samplers keep them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from lab_utils.diffusion import ancestral, ddim, dpm_solver, guided, heun, linear, sample, sde_dpm_solver, sigmoid
from lab_utils.exact import BestDenoiser, GaussianMixture, ode_variance, powered_variance, sde_variance
from lab_utils.measure import log_likelihood

WEIGHTS = (1, 2, 3, 5)
ORIGIN = torch.zeros(1, 2)


def pair(schedule, whole=2.0, part=1.0):
    """The best denoisers of N(0, part) and of N(0, whole)."""
    return [BestDenoiser(GaussianMixture(ORIGIN, variance), schedule) for variance in (part, whole)]


def variance_made(denoiser, sampler):
    """The variance along an axis that a sampler leads to from N(0, I), worked out through its rows, without drawing.

    A denoiser of Gaussians around 0 multiplies: ε = e x_t. So (x_t, x̂ of the step before) is Gaussian, and each row
    a x_t − b ε + c z + d x̂ takes its covariance to the next.
    """
    east = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    rows = zip(sampler.timesteps, sampler.coefficients.tolist(), sampler.estimates.tolist(), strict=True)
    for t, (a, b, c, d), (p, q) in rows:
        e = float(denoiser.epsilon(east, torch.tensor(t))[0, 0])
        step = torch.tensor([[a - b * e, d], [p - q * e, 0.0]], dtype=torch.float64)
        covariance = step @ covariance @ step.T
        covariance[0, 0] += c**2
    return float(covariance[0, 0])


# --- the laws


@pytest.mark.parametrize(
    ("weight", "ode", "sde", "powered"),
    [(0, 2, 2, 2), (1, 1, 1, 1), (2, 1 / 2, 7 / 12, 2 / 3), (3, 0.25, 0.3875, 0.5), (5, 1 / 16, 511 / 2304, 1 / 3)],
)
def test_for_variances_of_2_and_1_the_laws_are_those_of_the_paper(weight, ode, sde, powered):
    """2^(1−w), (2 − 2^(2−2w))/(2w−1) and 2/(w+1): three numbers where people expect one."""
    assert ode_variance(weight) == pytest.approx(ode, rel=1e-12)
    assert sde_variance(weight) == pytest.approx(sde, rel=1e-12)
    assert powered_variance(weight) == pytest.approx(powered, rel=1e-12)
    assert ode_variance(weight) == pytest.approx(2.0 ** (1 - weight), rel=1e-12)
    assert sde_variance(weight) == pytest.approx((2 - 2.0 ** (2 - 2 * weight)) / (2 * weight - 1), rel=1e-12)


VARIANCES = st.floats(0.2, 5)


@given(weight=st.floats(-1, 6), whole=VARIANCES, part=VARIANCES)
@example(weight=0.0, whole=0.2, part=0.20000000000000004)
def test_the_laws_solve_their_equations_from_much_noise_down_to_none(weight, whole, part):
    """SciPy's DOP853 on d log V/ds = a for the ODE and on dV/ds = 2aV − 1 for the SDE, in the logarithm of s + 1."""
    most = math.log1p(1e6)

    def slope(r, both):
        s = math.expm1(r)
        a = (1 - weight) / (whole + s) + weight / (part + s)
        return [a * (1 + s), (2 * a - math.exp(-both[1])) * (1 + s)]

    found = np.exp(solve_ivp(slope, (most, 0.0), [most, most], method="DOP853", rtol=1e-9, atol=1e-9).y[:, -1])
    assert found[0] == pytest.approx(ode_variance(weight, whole, part), rel=1e-3)
    assert found[1] == pytest.approx(sde_variance(weight, whole, part), rel=1e-3)


@given(weight=st.floats(-1, 6), whole=VARIANCES, part=VARIANCES)
def test_without_guidance_all_three_are_the_variance_that_is_there(weight, whole, part):
    for law in (ode_variance, sde_variance, powered_variance):
        assert law(0.0, whole, part) == pytest.approx(whole, rel=1e-9)
        assert law(1.0, whole, part) == pytest.approx(part, rel=1e-9)
        assert law(weight, part, part) == pytest.approx(part, rel=1e-9)
    assert sde_variance(weight, part * (1 + 1e-7), part) == pytest.approx(part, rel=1e-5)


@given(weight=st.floats(1.01, 8), part=VARIANCES, more=st.floats(1.05, 5))
def test_guidance_towards_a_part_narrows_less_than_it_less_with_noise_and_least_in_the_powered_law(weight, part, more):
    whole = part * more
    ode, sde, powered = (law(weight, whole, part) for law in (ode_variance, sde_variance, powered_variance))
    assert 0 < ode < sde < powered < part


def test_at_one_half_the_sde_has_its_limit():
    assert sde_variance(0.5) == pytest.approx(2 * math.log(2), rel=1e-12)
    assert sde_variance(0.5 + 1e-9) == pytest.approx(sde_variance(0.5), rel=1e-6)


def test_the_powered_law_is_the_product_of_powers():
    """Up to a constant, log p_w = (1−w) log p + w log p_c, at any two points."""
    x = torch.tensor([[0.0, 0.0], [1.3, -0.4]])

    def rise(variance):
        return float(GaussianMixture(ORIGIN, variance).log_prob(x).diff())

    for weight in (-0.5, 0.5, 3.0):
        expected = (1 - weight) * rise(2.0) + weight * rise(1.0)
        assert rise(powered_variance(weight)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ode_variance(math.nan), "the weight must be a finite number; got nan"),
        (lambda: sde_variance(2.0, whole=0.0), "whole is a variance, a number greater than 0; got 0.0"),
        (lambda: powered_variance(2.0, part=-1.0), "part is a variance, a number greater than 0; got -1.0"),
        (lambda: ode_variance(2.0, interval=(1.0, 1.0)), r"an interval is \(low, high\), two noise levels; got \(1.0,"),
        (lambda: powered_variance(-1.0), r"p\(x\)\^2 p\(x\|c\)\^-1 is no density: its precision would be 0"),
    ],
)
def test_what_has_no_law_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- the samplers keep them


WITHOUT_NOISE = {
    "DDIM": lambda schedule: ddim(schedule, schedule.timesteps, least=0.0),
    "DPM-Solver++": lambda schedule: dpm_solver(schedule, schedule.timesteps, least=0.0),
    "Heun": lambda schedule: heun(schedule, schedule.timesteps // 2),
}
WITH_NOISE = {
    "DDPM": ancestral,
    "SDE-DPM-Solver++": lambda schedule: sde_dpm_solver(schedule, schedule.timesteps, least=0.0),
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", [*WITHOUT_NOISE, *WITH_NOISE])
def test_each_sampler_keeps_the_law_of_its_kind_within_one_per_cent(name, weight):
    schedule = sigmoid(timesteps=2000)
    law = ode_variance if name in WITHOUT_NOISE else sde_variance
    sampler = (WITHOUT_NOISE | WITH_NOISE)[name](schedule)
    made = variance_made(guided(*pair(schedule), weight), sampler)
    assert made == pytest.approx(law(weight), rel=0.01)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_way_that_begins_at_less_noise_is_off_by_what_the_start_is_off(weight):
    """From N(0, 1) where ᾱ = .01: the ODE's variance is (1 + ᾱ)^(w−1) of the law, 4 per cent more at w = 5."""
    schedule = sigmoid(timesteps=2000)
    sampler = dpm_solver(schedule, 1200)
    start = float(schedule.alphas_cumprod[sampler.timesteps[0]])
    assert start == pytest.approx(0.01, rel=0.03)
    made = variance_made(guided(*pair(schedule), weight), sampler)
    assert made == pytest.approx(ode_variance(weight) * (1 + start) ** (weight - 1), rel=0.005)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("interval", [(0.5, 3.0), (0.0, 1.0), (1.0, math.inf)])
def test_guidance_in_an_interval_keeps_its_law(weight, interval):
    schedule = sigmoid(timesteps=2000)
    sampler = dpm_solver(schedule, 2000, least=0.0)
    made = variance_made(guided(*pair(schedule), weight, interval=interval), sampler)
    law = ode_variance(weight, interval=interval)
    assert made == pytest.approx(law, rel=0.01)
    if weight > 1:
        assert 1.1 * ode_variance(weight) < law < 0.95 * ode_variance(1)


@given(weight=st.floats(-1, 6), whole=VARIANCES, part=VARIANCES, levels=st.tuples(st.floats(0, 9), st.floats(0, 9)))
def test_guidance_in_two_intervals_multiplies_and_in_all_of_them_is_the_law(weight, whole, part, levels):
    """What the ODE does in one interval and in the next is what it does in both."""
    low, high = sorted(levels)
    parts = [(a, b) for a, b in pairwise((0.0, low, high, math.inf)) if a < b]
    factors = [ode_variance(weight, whole, part, interval=each) / part for each in parts]
    assert part * math.prod(factors) == pytest.approx(whole ** (1 - weight) * part**weight, rel=1e-9)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("law", [ode_variance, sde_variance], ids=["ODE", "SDE"])
def test_points_that_are_drawn_have_the_variance_that_was_worked_out(law, weight):
    """Monte Carlo, as anybody samples: the mean of 2n squares, of a standard error of V/√n."""
    schedule = linear(timesteps=300, beta_end=0.06)
    sampler = dpm_solver(schedule, 150, least=0.0) if law is ode_variance else ancestral(schedule)
    both = guided(*pair(schedule), weight)
    n = 4000
    drawn = float(sample(both, n, sampler=sampler).double().square().mean())
    worked_out = variance_made(both, sampler)
    assert drawn == pytest.approx(worked_out, rel=4 / math.sqrt(n))
    assert drawn == pytest.approx(law(weight), rel=4 / math.sqrt(n) + 0.03)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_likelihood_of_a_guided_pair_is_that_of_the_gaussian_it_leads_to(weight):
    """The log-likelihood follows the ODE backwards, so it is that of N(0, 2^(1−w)): another check of the first law."""
    schedule = sigmoid()
    law = GaussianMixture(ORIGIN, ode_variance(weight))
    x = law.sample(50)
    found = log_likelihood(guided(*pair(schedule), weight), x, nodes=400)
    torch.testing.assert_close(found, law.log_prob(x), rtol=0, atol=0.02)
