"""Each step of each sampler is that of the paper and of diffusers, and together they lead to the data."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.diffusion.samplers import (
    PURE_NOISE,
    ancestral,
    ddim,
    dpm_solver,
    even_in_log_snr,
    reverse_step,
    sde_dpm_solver,
)
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import Schedule, cosine, linear, sigmoid
from lab_utils.measure.distances import DISTANCES
from lab_utils.points.dataset import dataset

SHORT = sigmoid(timesteps=8)


def exact_tables(scheduler, schedule):
    """A scheduler of diffusers with our float64 tables in the place of its float32 ones.

    Float32 is not enough for a sigmoid's end, where ᾱ is 7e-8. So it is the formula that is compared, not its
    rounding; that the tables agree is a test of the schedules.
    """
    scheduler.betas, scheduler.alphas = schedule.betas, schedule.alphas
    scheduler.alphas_cumprod = schedule.alphas_cumprod
    scheduler.one = scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return scheduler


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("ours", "theirs"), [("posterior", "fixed_small"), ("beta", "fixed_large")])
@pytest.mark.parametrize("make", [linear, sigmoid])
def test_every_ancestral_step_is_that_of_diffusers(make, ours, theirs):
    """For each t of 0 … 999, to 1e-5, from the same point, prediction and noise."""
    schedule = make()
    scheduler = DDPMScheduler(num_train_timesteps=1000, variance_type=theirs, clip_sample=False)
    exact_tables(scheduler, schedule)
    coefficients = ancestral(schedule, ours).coefficients.flip(0).tolist()
    generator = torch.Generator().manual_seed(0)
    for t in range(1000):
        x_t, epsilon = torch.randn(2, 6, 2, generator=generator)
        expected = scheduler.step(epsilon, t, x_t, generator=torch.Generator().manual_seed(t)).prev_sample
        noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(t))
        stepped = reverse_step(coefficients[t], x_t, epsilon, noise)
        assert stepped.dtype == torch.float32
        # relative to the size of the points where a step multiplies them by 31.6
        torch.testing.assert_close(stepped, expected.float(), rtol=1e-5, atol=1e-5, msg=lambda m, t=t: f"t = {t}: {m}")


@pytest.mark.parametrize("schedule", [linear(), sigmoid(), SHORT, Schedule([0.3])], ids=["linear", "sigmoid", "8", "1"])
def test_the_posterior_step_is_bayes_rule(schedule):
    """Ho et al.'s eq. 7, written out here, with x_0 put in as eq. 4 solved for it."""
    x_t, epsilon = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    betas = schedule.betas.numpy()
    curve = np.cumprod(1 - betas)
    zero = torch.zeros_like(x_t)
    coefficients = ancestral(schedule).coefficients.flip(0).tolist()
    for t in range(schedule.timesteps):
        before = curve[t - 1] if t else 1.0
        x_0 = (x_t - math.sqrt(1 - curve[t]) * epsilon) / math.sqrt(curve[t])
        mean = (math.sqrt(before) * betas[t] * x_0 + math.sqrt(1 - betas[t]) * (1 - before) * x_t) / (1 - curve[t])
        stepped = reverse_step(coefficients[t], x_t, epsilon, zero)
        torch.testing.assert_close(stepped, mean, rtol=1e-6, atol=1e-9)
        noise = reverse_step(coefficients[t], zero, zero, torch.ones_like(x_t))[0, 0]
        assert float(noise) ** 2 == pytest.approx((1 - before) / (1 - curve[t]) * betas[t], rel=1e-9)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_the_last_step_adds_no_noise_and_every_other_does(variance):
    for schedule in (linear(), sigmoid(), SHORT):
        noise = ancestral(schedule, variance).coefficients[:, 2]
        assert noise[-1] == 0
        assert (noise[:-1] > 0).all()


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [5, 20, 100, 1000])
@pytest.mark.parametrize("make", [linear, sigmoid])
def test_every_ddim_step_is_that_of_diffusers(make, steps, eta):
    schedule = make()
    sampler = ddim(schedule, steps, eta)
    scheduler = exact_tables(DDIMScheduler(num_train_timesteps=1000, clip_sample=False), schedule)
    after = (*sampler.timesteps[1:], -1)
    for t, s, row in zip(sampler.timesteps, after, sampler.coefficients.tolist(), strict=True):
        scheduler.num_inference_steps = Fraction(1000, t - s)  # from which it works out that s comes after t
        x, epsilon, noise = normal(t, 3, 6, 2)
        expected = scheduler.step(epsilon, t, x, eta=eta, variance_noise=noise).prev_sample
        torch.testing.assert_close(reverse_step(row, x, epsilon, noise), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_ddim_with_all_steps_and_all_noise_is_ancestral(make):
    schedule = make()
    one, other = ddim(schedule, 1000, eta=1.0), ancestral(schedule)
    assert one.timesteps == other.timesteps
    torch.testing.assert_close(one.coefficients, other.coefficients, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("steps", [2, 5, 20, 100, 1000])
@pytest.mark.parametrize("make", [linear, sigmoid])
@pytest.mark.parametrize(("solver", "theirs"), [(dpm_solver, "dpmsolver++"), (sde_dpm_solver, "sde-dpmsolver++")])
def test_every_step_of_the_solvers_is_that_of_diffusers(solver, theirs, make, steps):
    """A whole way, each step from the same point and the same prediction; theirs keeps the estimates by itself."""
    schedule = make()
    sampler = solver(schedule, steps)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000, final_sigmas_type="zero", euler_at_final=False, algorithm_type=theirs
    )
    scheduler.set_timesteps(timesteps=list(sampler.timesteps))
    noise_over_signal = (1 / schedule.snr[list(sampler.timesteps)]).sqrt()
    scheduler.sigmas = torch.cat([noise_over_signal, torch.zeros(1, dtype=torch.float64)])
    scheduler.lower_order_nums = 0
    x, before = normal(0, 6, 2), torch.zeros(6, 2).double()
    for k, (t, row) in enumerate(zip(sampler.timesteps, sampler.coefficients.tolist(), strict=True)):
        epsilon = 0.9 * x + 0.1 * normal(k + 1, 6, 2)
        # the last step of theirs is of first order only where it is asked to be
        scheduler.config.lower_order_final = scheduler.config.euler_at_final = k == len(sampler) - 1
        noise = normal(10_000 + k, 6, 2)
        expected = scheduler.step(epsilon, t, x, variance_noise=noise).prev_sample
        stepped = reverse_step(row, x, epsilon, noise, before)
        torch.testing.assert_close(stepped, expected, rtol=1e-6, atol=1e-6, msg=lambda m, t=t: f"t = {t}: {m}")
        p, q = sampler.estimates[k].tolist()
        x, before = expected, p * x - q * epsilon


@pytest.mark.parametrize("make", [linear, sigmoid])
@pytest.mark.parametrize(
    "way",
    [
        lambda s: ddim(s, 50),
        lambda s: ddim(s, 50, 1.0),
        lambda s: dpm_solver(s, 20),
        lambda s: sde_dpm_solver(s, 20),
        lambda s: sde_dpm_solver(s, 20, noise=0.5),
    ],
)
def test_of_a_single_point_every_way_leads_there(make, way):
    """Of one data point the noise is known exactly, x̂ is the point, and the last step takes it."""
    schedule, point = make(), torch.tensor([0.7, -1.1], dtype=torch.float64)

    class Exact:
        def __init__(self):
            self.schedule = schedule

        def epsilon(self, x_t, t):
            a = schedule.alphas_cumprod[int(t)]
            return ((x_t.double() - a.sqrt() * point) / (1 - a).sqrt()).to(x_t)

    found = sample(Exact(), 100, sampler=way(schedule))
    torch.testing.assert_close(found, point.float().expand(100, 2), rtol=0, atol=2e-4)


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_between_no_noise_and_that_of_the_reverse_sde_lie_others(make):
    """Without noise it is DPM-Solver++; with any, the first step keeps the variance of pure noise where x̂ is 0."""
    schedule = make()
    still, none = dpm_solver(schedule, 20), sde_dpm_solver(schedule, 20, noise=0.0)
    torch.testing.assert_close(none.coefficients, still.coefficients, rtol=1e-12, atol=1e-12)
    for noise in (0.0, 0.3, 1.0, 2.0):
        sampler = sde_dpm_solver(schedule, 20, noise=noise)
        now, after = schedule.alphas_cumprod[[*sampler.timesteps[:2]]]
        a, b, c, _ = sampler.coefficients[0]
        # x̂ = 0 means x_t = σ ε; so what is left of x_t is a − b/σ
        kept = (a - b / (1 - now).sqrt()) ** 2 * (1 - now) + c**2
        torch.testing.assert_close(kept, 1 - after, rtol=1e-9, atol=0)


def test_a_step_from_two_estimates_is_refused_with_one():
    row = dpm_solver(SHORT, 4).coefficients[1].tolist()
    with pytest.raises(ValueError, match="two estimates of the data: give that of the step before"):
        reverse_step(row, *normal(0, 3, 6, 2))


def test_what_no_sampler_can_be_is_refused():
    with pytest.raises(ValueError, match="variance must be one of posterior, beta, not 'small'"):
        ancestral(SHORT, "small")
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"eta must lie in 0 … 1, .*; got {eta}"):
            ddim(SHORT, 5, eta)
    for noise in (-0.1, math.nan, math.inf, "much", True):
        with pytest.raises(ValueError, match=f"noise must be a number of 0 or more: .*; got {noise!r}"):
            sde_dpm_solver(SHORT, 5, noise=noise)
    for make in (ddim, dpm_solver, sde_dpm_solver, even_in_log_snr):
        for steps in (1, 0, 2.5, True):
            with pytest.raises(
                ValueError, match=f"the number of timesteps must be a whole number of 2 or more, up to .*, not {steps}"
            ):
                make(SHORT, steps)


# --- timesteps


def test_timesteps_are_even_in_the_log_of_the_snr():
    schedule = linear()
    taken = even_in_log_snr(schedule, 20)
    assert (taken[0], taken[-1], len(taken)) == (0, 999, 20)
    steps = schedule.snr[taken].log().diff()
    assert float(steps.max() - steps.min()) < 0.75 * float(-steps.mean())  # the first timesteps are far apart
    assert float((steps[8:] - steps[8:].mean()).abs().max()) < 0.1
    assert taken == sorted(set(taken))


@given(
    timesteps=st.integers(1, 60), data=st.data(), least=st.floats(0, 1), make=st.sampled_from([linear, cosine, sigmoid])
)
def test_there_are_as_many_as_were_asked_for_all_different(timesteps, data, least, make):
    steps = data.draw(st.integers(min(2, timesteps), timesteps))
    schedule = make(timesteps=timesteps)
    taken = even_in_log_snr(schedule, steps, least=least)
    assert len(taken) == steps
    assert taken == sorted(set(taken))
    assert taken[0] == 0
    assert taken[-1] == max(steps, int((schedule.alphas_cumprod >= least).sum())) - 1


@pytest.mark.parametrize("make", [ddim, dpm_solver, sde_dpm_solver])
@pytest.mark.parametrize("steps", [2, 16, 20, 576, 673, 674, 998, 999, 1000])
def test_a_sampler_has_the_number_of_steps_that_was_asked_for(make, steps):
    assert len(make(linear(), steps)) == steps


def test_more_than_the_schedule_has_are_refused():
    with pytest.raises(ValueError, match="up to 50, not 51"):
        ddim(linear(timesteps=50), 51)


def test_all_are_taken_where_as_many_are_asked_for():
    assert even_in_log_snr(sigmoid(), 1000) == list(range(1000))


@pytest.mark.parametrize("make", [linear, sigmoid, cosine])
def test_a_way_of_few_steps_begins_where_the_first_of_the_data_can_be_seen(make):
    schedule = make()
    for sampler in (ddim(schedule, 20), dpm_solver(schedule, 20), sde_dpm_solver(schedule, 20)):
        first = sampler.timesteps[0]
        assert len(sampler) == 20
        assert schedule.alphas_cumprod[first] >= PURE_NOISE > schedule.alphas_cumprod[first + 1]
        assert sampler.timesteps[-1] == 0
        steps = schedule.snr[list(sampler.timesteps)].log().diff()
        assert float(steps[:12].min()) < 1.3 * float(steps[:12].max())  # both are negative


def test_towns_noised_to_where_a_way_begins_cannot_be_told_from_pure_noise():
    """Their sliced Wasserstein-1 distance from pure noise is among those of two draws of pure noise."""
    schedule, distance = sigmoid(), DISTANCES["sliced W1"]
    towns = dataset("cities").held_out[:4000]
    draws = torch.randn(22, 4000, 2, generator=torch.Generator().manual_seed(0))
    noised = schedule.q_sample(towns, torch.tensor(dpm_solver(schedule, 20).timesteps[0]), draws[0])
    assert distance(noised, draws[1]) < max(distance(a, b) for a, b in draws[2:].split(2))
    assert distance(schedule.q_sample(towns, torch.tensor(500), draws[0]), draws[1]) > 0.1


def test_where_all_is_noise_a_way_still_has_its_first_timestep():
    schedule = Schedule(torch.tensor([0.995, 0.5, 0.5, 0.9], dtype=torch.float64))
    assert dpm_solver(schedule, 3).timesteps == (2, 1, 0)
    assert even_in_log_snr(schedule, 3) == [0, 2, 3]
