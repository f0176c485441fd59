"""Schedules are what the papers and DESIGN say, check themselves, and the forward process follows from them."""

import itertools
import json
import math
from inspect import signature

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import (
    KINDS,
    Schedule,
    ScheduleError,
    check_timesteps,
    cosine,
    from_config,
    linear,
    sigmoid,
)

ALL = {
    "linear": linear(),
    "cosine": cosine(),
    "sigmoid, clipped": sigmoid(),
    "sigmoid, raw": sigmoid(reading="raw"),
    "short": sigmoid(timesteps=7),
    "one step": linear(0.3, 0.3, 1),
    "custom": Schedule(torch.tensor([0.1, 0.2, 0.15], dtype=torch.float64)),
}


@pytest.fixture(params=list(ALL))
def schedule(request):
    return ALL[request.param]


# --- against diffusers, whose tables are float32: a relative error of 2⁻²⁴ in each β, and in ᾱ of one in each factor


@pytest.mark.parametrize("timesteps", [10, 1000])
@pytest.mark.parametrize(("beta_start", "beta_end"), [(1e-4, 0.02), (1e-3, 0.1)])
def test_linear_is_that_of_diffusers(beta_start, beta_end, timesteps):
    ours = linear(beta_start, beta_end, timesteps)
    theirs = DDPMScheduler(
        num_train_timesteps=timesteps, beta_start=beta_start, beta_end=beta_end, beta_schedule="linear"
    )
    torch.testing.assert_close(ours.betas, theirs.betas.double(), rtol=2e-6, atol=0)
    torch.testing.assert_close(ours.alphas, theirs.alphas.double(), rtol=2**-23, atol=0)
    rounding = timesteps * 2**-23
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod.double(), rtol=rounding, atol=0)


@pytest.mark.parametrize("timesteps", [10, 1000])
def test_cosine_is_that_of_diffusers(timesteps):
    ours = cosine(timesteps)
    theirs = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule="squaredcos_cap_v2")
    torch.testing.assert_close(ours.betas, theirs.betas.double(), rtol=1e-7, atol=0)
    # The last α = 0.001 is rounded at the scale of 1, so its own relative error is 1000 times that.
    rounding = (timesteps + 1000) * 2**-23
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod.double(), rtol=rounding, atol=0)


# --- the sigmoid against a closed form of its own
#
# A falling logistic curve s(x) = 1/(1 + eˣ) has the differences s(a) − s(b) = sinh((b−a)/2) / (2 cosh(a/2) cosh(b/2)).
# So rescaled to 1 at −5 and 0 at 5, ᾱ(x) = (s(x) − s(5)) / (s(−5) − s(5)) has the form below, without a difference
# of nearly equal numbers, and β = (ᾱ(prev) − ᾱ(x)) / ᾱ(prev) likewise.


def rescaled(x, start, end):
    return math.sinh((end - x) / 2) * math.cosh(start / 2) / (math.cosh(x / 2) * math.sinh((end - start) / 2))


def rescaled_beta(previous, x, end):
    return math.sinh((x - previous) / 2) * math.cosh(end / 2) / (math.cosh(x / 2) * math.sinh((end - previous) / 2))


@pytest.mark.parametrize(("start", "end"), [(-5.0, 5.0), (-3.0, 6.0), (-1.0, 0.5)])
@pytest.mark.parametrize("timesteps", [2, 10, 1000])
def test_the_clipped_sigmoid_is_its_closed_form(start, end, timesteps):
    schedule = sigmoid(start, end, timesteps)
    nodes = [start + (end - start) * k / timesteps for k in range(timesteps + 1)]
    betas = [min(0.999, rescaled_beta(a, b, end)) for a, b in itertools.pairwise(nodes)]
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-9)
    # All but the last node lie on the curve; the last, where the curve is 0, on a thousandth of the one before.
    curve = [rescaled(x, start, end) for x in nodes[1:-1]]
    np.testing.assert_allclose(schedule.alphas_cumprod[:-1], curve, rtol=1e-9)
    before = curve[-1] if curve else 1.0
    assert float(schedule.alphas_cumprod[-1]) == pytest.approx(before * 0.001, rel=1e-9)


@pytest.mark.parametrize("timesteps", [1, 10, 1000])
def test_the_raw_sigmoid_is_the_logistic_function_itself(timesteps):
    schedule = sigmoid(timesteps=timesteps, reading="raw")
    np.testing.assert_allclose(schedule.alphas_cumprod, expit(np.linspace(5, -5, timesteps)), rtol=1e-12)


def test_a_sigmoid_of_one_step_takes_all_but_a_thousandth():
    assert sigmoid(timesteps=1).betas.tolist() == [0.999]


# --- a schedule checks itself


def test_the_sigmoid_with_its_ends_is_refused_and_the_reason_names_both_ends():
    reason = r"exactly 1 at t = 0 and exactly 0 at t = 999.* Read it as 'clipped', on T\+1 nodes with β ≤ 0\.999\.$"
    with pytest.raises(ScheduleError, match=reason):
        sigmoid(reading="ends")


@pytest.mark.parametrize(
    ("betas", "reason"),
    [
        ([0.1, math.nan, 0.2], r"must be finite; the beta of t = 1 is nan"),
        ([0.1, 0.2, math.inf], r"must be finite; the beta of t = 2 is inf"),
        ([0.0, 0.1], r"must be greater than 0 \(.*\); the beta of t = 0 is 0"),
        ([0.1, -0.1], r"must be greater than 0 \(.*\); the beta of t = 1 is -0.1"),
        ([0.1, 1.0], r"must be less than 1 \(.*\); the beta of t = 1 is 1"),
        ([1.5], r"must be less than 1 \(.*\); the beta of t = 0 is 1.5"),
        ([], r"shape \(T,\) .* not \(0,\)"),
        ([[0.1, 0.2]], r"shape \(T,\) .* not \(1, 2\)"),
        (0.1, r"shape \(T,\) .* not \(\)"),
        ([0.999] * 200, r"^alphas_cumprod must fall at every step.*; at t = 107 it does not"),  # 10⁻³²⁴ is no float64
        ([1e-17, 0.1], r"fall at every step, from 1 .*; at t = 0 it does not"),  # 1 − 10⁻¹⁷ is 1: an infinite SNR
        ([0.1, 1e-17], r"fall at every step.*; at t = 1 it does not"),
    ],
)
def test_betas_that_break_a_rule_are_refused_and_the_rule_is_named(betas, reason):
    with pytest.raises(ScheduleError, match=reason):
        Schedule(torch.tensor(betas, dtype=torch.float64))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_each_schedule_has_a_thousand_steps_unless_asked_for_more_or_fewer(make):
    assert make().timesteps == 1000


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("timesteps", [0, -1, 2.0, True, "10", None])
def test_a_number_of_steps_that_is_none_is_refused(make, timesteps):
    with pytest.raises(ScheduleError, match="timesteps must be a whole number of 1 or more"):
        make(timesteps=timesteps)


def test_a_million_steps_are_the_most():
    assert sigmoid(timesteps=1_000_000).timesteps == 1_000_000
    with pytest.raises(ScheduleError, match="timesteps may be 1,000,000 at most, not 1,000,001"):
        sigmoid(timesteps=1_000_001)


@pytest.mark.parametrize("argument", ["beta_start", "beta_end", "start", "end", "offset"])
@pytest.mark.parametrize("value", ["5", None, sigmoid()], ids=["text", "none", "schedule"])
def test_what_is_no_number_is_refused_by_its_name(argument, value):
    make = next(make for make in KINDS.values() if argument in signature(make).parameters)
    with pytest.raises(ScheduleError, match=f"^{argument} must be a number, not {type(value).__name__}$"):
        make(**{argument: value})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"start": 5.0, "end": -5.0}, "finite start < end"),
        ({"start": 1.0, "end": 1.0}, "finite start < end"),
        ({"start": -math.inf}, "finite start < end"),
        ({"end": math.nan}, "finite start < end"),
        ({"reading": "clip"}, "'raw', 'ends' or 'clipped', not 'clip'"),
        ({"reading": "ends", "timesteps": 1}, "^a sigmoid .* needs at least two points$"),
        ({"start": -60.0}, "greater than 0"),  # so flat at its beginning that its first step adds no noise
    ],
)
def test_a_sigmoid_that_cannot_be_is_refused(arguments, reason):
    with pytest.raises(ScheduleError, match=reason):
        sigmoid(**arguments)


@pytest.mark.parametrize("arguments", [{"beta_start": 0.0}, {"beta_end": 1.0}, {"beta_start": -0.1}])
def test_linear_betas_outside_0_and_1_are_refused(arguments):
    with pytest.raises(ScheduleError, match="every beta must be"):
        linear(**arguments)


def test_betas_of_any_kind_of_numbers_become_float64():
    assert Schedule(torch.tensor([0.5])).betas.dtype == torch.float64
    assert Schedule([0.25, 0.5]).betas.tolist() == [0.25, 0.5]


# --- properties of every schedule that can be built


def built(made):
    """The schedule, or None where it can't be."""
    make, arguments = made
    try:
        return make(*arguments)
    except ScheduleError:
        return None


STEPS = st.integers(1, 60)
MADE = st.one_of(
    st.builds(lambda *a: (linear, a), st.floats(1e-12, 1), st.floats(0, 1), STEPS),
    st.builds(lambda *a: (cosine, a), STEPS, st.floats(0, 0.5)),
    st.builds(
        lambda *a: (sigmoid, a), st.floats(-60, 60), st.floats(-60, 60), STEPS, st.sampled_from(["raw", "clipped"])
    ),
    st.builds(lambda betas: (Schedule, (torch.tensor(betas),)), st.lists(st.floats(0, 1, width=32), max_size=60)),
)
SCHEDULES = MADE.map(built).filter(lambda schedule: schedule is not None)


@settings(deadline=None)
@given(SCHEDULES)
def test_whatever_can_be_built_is_usable_and_consistent(schedule):
    betas, alphas, curve = schedule.betas, schedule.alphas, schedule.alphas_cumprod
    assert (schedule.timesteps,) == betas.shape == alphas.shape == curve.shape
    tables = [betas, alphas, curve, schedule.alphas_cumprod_prev, schedule.snr, schedule.posterior_variance]
    for table in tables:
        assert table.dtype == torch.float64
        assert table.isfinite().all()
    assert ((betas > 0) & (betas < 1)).all()
    assert schedule.alphas_cumprod_prev[0] == 1
    assert torch.equal(schedule.alphas_cumprod_prev[1:], curve[:-1])
    assert ((curve > 0) & (curve < schedule.alphas_cumprod_prev)).all()
    torch.testing.assert_close(alphas + betas, torch.ones_like(betas), rtol=0, atol=2**-52)
    np.testing.assert_allclose(curve, np.cumprod(1 - betas.numpy()), rtol=1e-12)
    assert (schedule.snr.diff() < 0).all()
    assert schedule.posterior_variance[0] == 0
    assert (schedule.posterior_variance <= betas).all()
    assert diagnose(schedule).verdict


def test_the_reverse_step_is_as_precise_as_the_noise_of_its_own_step_and_of_all_before_together(schedule):
    """Of the product of two Gaussians: 1 / β̃ = α / β + 1 / (1 − ᾱ of the step before)."""
    together = schedule.alphas / schedule.betas + 1 / (1 - schedule.alphas_cumprod_prev)
    torch.testing.assert_close(1 / schedule.posterior_variance[1:], together[1:], rtol=1e-9, atol=0)


# --- configurations


def test_a_configuration_makes_the_same_schedule_again_even_through_json(schedule):
    again = from_config(json.loads(json.dumps(schedule.config)))
    assert torch.equal(again.betas, schedule.betas)
    assert again.config == schedule.config
    assert again.name == schedule.name == schedule.config["kind"]


def test_two_schedules_of_ones_own_have_two_configurations():
    """A training's key is made of it: with the same words for both, one would be taken for the other."""
    assert Schedule([0.1, 0.2]).config != Schedule([0.1, 0.3]).config


@pytest.mark.parametrize("config", [{}, {"kind": "quadratic"}])
def test_an_unknown_kind_is_refused_and_the_known_ones_named(config):
    with pytest.raises(ScheduleError, match=", ".join(KINDS)):
        from_config(config)


# --- timesteps


@pytest.mark.parametrize(
    ("t", "points"),
    [
        (torch.tensor(0), 5),
        (torch.tensor(9), None),
        (torch.tensor([9]), 5),
        (torch.arange(5), 5),
        (torch.arange(7), None),
        (torch.zeros(0, dtype=torch.int64), 0),
    ],
)
def test_timesteps_of_a_right_shape_pass(t, points):
    check_timesteps(t, 10, points)


@pytest.mark.parametrize(
    ("t", "points", "reason"),
    [
        (3, 5, r"not int; write torch.tensor\(t\)"),
        (torch.tensor(3.0), 5, "not torch.float32"),
        (torch.tensor([3], dtype=torch.int32), 5, "not torch.int32"),
        (torch.tensor([True]), 5, "not torch.bool"),
        (torch.arange(4), 5, r"\(\), \(1,\) or \(5,\).* has the shape \(4,\)"),
        (torch.zeros(5, 1, dtype=torch.int64), 5, r"has the shape \(5, 1\)"),
        (torch.zeros(1, 1, dtype=torch.int64), None, r"or \(n,\).* has the shape \(1, 1\)"),
        (torch.zeros(0, dtype=torch.int64), 5, r"has the shape \(0,\)"),
        (torch.tensor(10), 5, "0 … 9; it runs from 10 to 10"),
        (torch.tensor([0, 3, -1, 2, 1]), 5, "0 … 9; it runs from -1 to 3"),
    ],
)
def test_other_timesteps_are_refused_and_the_message_says_what_came(t, points, reason):
    with pytest.raises(ScheduleError, match=reason):
        check_timesteps(t, 10, points)


# --- the forward process


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("t", [torch.tensor(3), torch.tensor([3]), torch.tensor([0, 3, 6, 2])])
def test_both_ways_of_noising_are_their_formulas(t, dtype):
    schedule = sigmoid(timesteps=7)
    generator = torch.Generator().manual_seed(0)
    x, epsilon = torch.randn(2, 4, 2, generator=generator, dtype=dtype)
    betas = schedule.betas.numpy()
    index = np.broadcast_to(t.numpy(), 4)[:, None]
    curve = np.cumprod(1 - betas)[index]
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-14, "atol": 1e-14}
    shot = schedule.q_sample(x, t, epsilon)
    step = schedule.q_step(x, t, epsilon)
    assert shot.dtype == step.dtype == dtype
    np.testing.assert_allclose(shot, np.sqrt(curve) * x.numpy() + np.sqrt(1 - curve) * epsilon.numpy(), **tolerance)
    beta = betas[index]
    np.testing.assert_allclose(step, np.sqrt(1 - beta) * x.numpy() + np.sqrt(beta) * epsilon.numpy(), **tolerance)


@pytest.mark.parametrize("noise", [Schedule.q_sample, Schedule.q_step])
@pytest.mark.parametrize("t", [torch.tensor(1000), torch.tensor(-1), torch.tensor([1, 2]), torch.tensor(1.0)])
def test_noising_refuses_timesteps_that_are_none(noise, t):
    with pytest.raises(ScheduleError, match="t must"):
        noise(linear(), torch.zeros(3, 2), t, torch.zeros(3, 2))


@pytest.mark.parametrize("noise", [Schedule.q_sample, Schedule.q_step])
@pytest.mark.parametrize(
    ("points", "epsilon", "reason"),
    [
        (torch.zeros(3, 3), torch.zeros(3, 2), r"^points must be .* of shape \(3, 3\)"),
        (torch.zeros(3, 2), torch.zeros(3, 1), r"^epsilon must be .* of shape \(3, 1\)"),
        (torch.zeros(3, 2), torch.zeros(1, 2), r"^epsilon must be as many as the points, 3; there are 1$"),
    ],
)
def test_noising_repeats_no_row_and_no_column(noise, points, epsilon, reason):
    with pytest.raises(ValueError, match=reason):
        noise(linear(), points, torch.tensor(5), epsilon)


def test_t_single_steps_compose_to_the_one_shot_formula_exactly(schedule):
    """Each step is an affine map of the point and of fresh noise; composed, they scale the point and add variance."""
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    scale, variance = one, zero
    for index in range(schedule.timesteps):
        t = torch.tensor(index)
        scale = schedule.q_step(scale, t, zero)
        variance = schedule.q_step(one, t, zero).square() * variance + schedule.q_step(zero, t, one).square()
        torch.testing.assert_close(schedule.q_sample(one, t, zero), scale, rtol=1e-12, atol=0)
        torch.testing.assert_close(schedule.q_sample(zero, t, one).square(), variance, rtol=1e-11, atol=0)


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_a_thousand_single_steps_end_where_one_shot_ends(make):
    """20 000 copies of each of three points, 1000 real steps: mean and covariance agree within 5 standard errors.

    Compared at several t, for at the end everything is noise and any process would pass.
    """
    schedule = make()
    copies = 20_000
    start = torch.tensor([[2.0, -1.0], [0.0, 0.5], [-3.0, 4.0]])
    generator = torch.Generator().manual_seed(0)
    x = start.repeat_interleave(copies, dim=0)
    noise = torch.empty_like(x)
    for index in range(1000):
        t = torch.tensor(index)
        x = schedule.q_step(x, t, noise.normal_(generator=generator))
        if index not in {0, 99, 299, 599, 999}:
            continue
        shot = schedule.q_sample(start.repeat_interleave(copies, dim=0), t, torch.randn(x.shape, generator=generator))
        variance = 1 - float(schedule.alphas_cumprod[index])
        for stepped, direct, x_0 in zip(x.chunk(3), shot.chunk(3), start, strict=True):
            exact = math.sqrt(1 - variance) * x_0
            error = math.sqrt(variance / copies)  # of each mean
            assert (stepped.mean(0) - exact).abs().max() < 5 * error + 1e-5
            assert (stepped.mean(0) - direct.mean(0)).abs().max() < 5 * math.sqrt(2) * error + 1e-5
            # Of a normal sample, a variance has the standard error σ²√(2/n), a covariance of 0 has σ²/√n.
            errors = variance / math.sqrt(copies) * (1 + (math.sqrt(2) - 1) * torch.eye(2))
            cov = torch.cov(stepped.T)
            assert ((cov - variance * torch.eye(2)).abs() < 5 * errors + 1e-6).all()
            assert ((cov - torch.cov(direct.T)).abs() < 5 * math.sqrt(2) * errors + 1e-6).all()
