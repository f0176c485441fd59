"""Steps along the straight path are those of flow matching: direction, order and count of evaluations are right."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from lab_utils.diffusion import (
    Schedule,
    cosine,
    ddim,
    denoiser,
    diagnose,
    euler,
    flow,
    from_config,
    heun,
    initial_noise,
    linear,
    midpoint,
    places,
    reverse_step,
    sample,
    sigmoid,
    snapshots,
)
from lab_utils.diffusion.straight import even_in_s
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.points import Units
from lab_utils.runs.generate import generate

METHODS = {"euler": euler, "heun": heun, "midpoint": midpoint}
MEAN = torch.tensor([0.7, -1.1], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.3, 0.55], [0.55, 0.4]], dtype=torch.float64)


def best(schedule):
    return BestDenoiser(GaussianMixture(MEAN.unsqueeze(0), COVARIANCE.unsqueeze(0)), schedule)


def noises(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def follow(sampler, x, rows=None, model=None):
    """The points after each row, in float64, from the rows alone; of the Gaussian unless another model is given."""
    model, before, path = model or best(sampler.schedule), torch.zeros_like(x), [x]
    for k, t in enumerate(sampler.timesteps[:rows]):
        epsilon, (p, q) = model.epsilon(x, torch.tensor([t])), sampler.estimates[k].tolist()
        x, before = reverse_step(sampler.coefficients[k].tolist(), x, epsilon, 0 * x, before), p * x - q * epsilon
        path.append(x)
    return path


def velocity(z, s):
    """E[ε − x | z] for N(μ, C), from Bayes' rule along the axes: z is N((1−s) μ, (1−s)² λ + s²)."""
    variances, axes = torch.linalg.eigh(COVARIANCE)
    centred = (z - (1 - s) * MEAN) @ axes
    gain = (s - (1 - s) * variances) / ((1 - s) ** 2 * variances + s**2)
    return (centred * gain) @ axes.T - MEAN


def flowed(z, s, after):
    """Where dz/ds = u leads exactly: along each axis, z − (1−s) μ grows as the standard deviation does."""
    variances, axes = torch.linalg.eigh(COVARIANCE)
    width = [((1 - place) ** 2 * variances + place**2).sqrt() for place in (s, after)]
    return (1 - after) * MEAN + ((z - (1 - s) * MEAN) @ axes * width[1] / width[0]) @ axes.T


# --- the schedule


@pytest.mark.parametrize("timesteps", [1, 2, 10, 1000, 100_000])
def test_flow_stands_evenly_on_the_straight_path(timesteps):
    """ᾱ = (1−s)²/((1−s)² + s²) at s = 1/T, 2/T …, and at 1 − 1/2T in the end."""
    schedule = flow(timesteps)
    s = np.append(np.arange(1, timesteps) / timesteps, 1 - 0.5 / timesteps)
    np.testing.assert_allclose(schedule.alphas_cumprod, (1 - s) ** 2 / ((1 - s) ** 2 + s**2), rtol=1e-9)
    np.testing.assert_allclose(places(schedule), s, rtol=1e-5)  # β of the first of very many steps is 1e-10 in float64
    assert torch.equal(from_config(schedule.config).betas, schedule.betas)


def test_flow_is_healthy_to_the_doctor():
    found = diagnose(flow())
    assert found.findings == []
    assert found.left == pytest.approx(0.0005, rel=1e-3)
    assert found.wasted == 0.092
    assert found.amplification == pytest.approx(2, rel=0.01)
    assert flow().config == {"kind": "flow", "timesteps": 1000}


@pytest.mark.parametrize(
    "schedule", [linear(), sigmoid(), cosine(), flow()], ids=["linear", "sigmoid", "cosine", "flow"]
)
def test_a_noised_point_divided_by_the_sum_of_its_scales_stands_on_the_straight_path(schedule):
    x, epsilon = noises(1000), noises(1000, 1)
    t, s = torch.arange(1000), places(schedule).unsqueeze(1)
    kept = schedule.alphas_cumprod.unsqueeze(1)
    z = schedule.q_sample(x, t, epsilon) / (kept.sqrt() + (1 - kept).sqrt())
    torch.testing.assert_close(z, (1 - s) * x + s * epsilon, rtol=0, atol=1e-12)


# --- each step


@pytest.mark.parametrize("schedule", [sigmoid(), flow()], ids=["sigmoid", "flow"])
@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("method", METHODS)
def test_each_step_is_the_textbook_s_with_the_velocity_of_a_gaussian(method, steps, schedule):
    """In z and s, with u in closed form, and not in x_t and ε: the rows must come to the same."""
    sampler = METHODS[method](schedule, steps)
    s, kept = [*places(schedule).tolist(), 0.0], [*schedule.alphas_cumprod.tolist(), 1.0]
    scale = [math.sqrt(a) + math.sqrt(1 - a) for a in kept]
    path = follow(sampler, noises(50))
    k = 0
    while k < len(sampler):
        twice = k + 1 < len(sampler) and sampler.coefficients[k + 1, 3] != 0
        t, inside = sampler.timesteps[k], sampler.timesteps[k + 1] if twice else None
        after = (*sampler.timesteps, -1)[k + 1 + twice]
        z, h = path[k] / scale[t], s[t] - s[after]
        if twice:
            share = (s[t] - s[inside]) / h
            assert share == 1 if method == "heun" else share == pytest.approx(0.5, abs=0.26)
            ahead = z - share * h * velocity(z, s[t])
            torch.testing.assert_close(path[k + 1] / scale[inside], ahead, rtol=1e-9, atol=1e-9)
            mean = (1 - 1 / (2 * share)) * velocity(z, s[t]) + velocity(ahead, s[inside]) / (2 * share)
        else:
            mean = velocity(z, s[t])
        torch.testing.assert_close(path[k + 1 + twice] / scale[after], z - h * mean, rtol=1e-9, atol=1e-9)
        k += 1 + twice
    assert len(path) == len(sampler) + 1


@pytest.mark.parametrize("make", [linear, sigmoid, flow])
def test_euler_s_step_is_ddim_s(make):
    """At all timesteps, and so at any."""
    schedule = make(timesteps=200)
    ours, theirs = euler(schedule, 200), ddim(schedule, 200)
    assert ours.timesteps == theirs.timesteps
    torch.testing.assert_close(ours.coefficients, theirs.coefficients, rtol=1e-9, atol=1e-12)


def errors(method, schedule, counts, share=1.0):
    """The root mean square distance from the exact flow of a Gaussian after that share of the steps, for each count."""
    x, found = noises(200), []
    s, kept = [*places(schedule).tolist(), 0.0], [*schedule.alphas_cumprod.tolist(), 1.0]
    scale = [math.sqrt(a) + math.sqrt(1 - a) for a in kept]
    for n in counts:
        sampler = METHODS[method](schedule, n)
        rows = len(sampler) if share == 1 else round(share * n) * (1 if method == "euler" else 2)
        after = (*sampler.timesteps, -1)[rows]
        z = follow(sampler, x, rows)[-1] / scale[after]
        exact = flowed(x / scale[schedule.timesteps - 1], s[schedule.timesteps - 1], s[after])
        found.append(float((z - exact).square().mean().sqrt()))
    return found


def orders(found):
    return [math.log2(a / b) for a, b in itertools.pairwise(found)]


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("midpoint", 3)])
def test_half_the_step_makes_the_error_on_a_gaussian_less_by_the_order(method, order):
    """At 10 … 80 steps, after half of them and after all, against the closed form.

    The midpoint's error of second order is that of the third derivative of the variance along the path (for y = √V and
    λ = y′/y its density is (λ″ + 6 λ λ′ + 4 λ³)/24 = V‴/48V). Of a Gaussian V is a polynomial of degree 2 in s, so
    nothing is left of it; on other data there is, see below.
    """
    for share in (0.5, 1.0):
        found = orders(errors(method, flow(8000), (10, 20, 40, 80), share))
        assert found == pytest.approx([order] * 3, abs=0.35)
        assert found[-1] == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2)])
def test_half_the_step_makes_the_error_on_a_mixture_less_by_the_order(method, order):
    """Against DOP853 of SciPy with the exact velocity at any s, from z/(1−s) and the score of the blurred mixture."""
    mixture = GaussianMixture(torch.tensor([[1.0, 0.5], [-0.8, -0.6]]), 0.3)
    schedule, x = flow(8000), noises(20)
    first, kept = float(places(schedule)[-1]), schedule.alphas_cumprod[-1]
    z = x / (kept.sqrt() + (1 - kept).sqrt())

    def slope(s, flat):
        at, spread = torch.from_numpy(flat).reshape(-1, 2), torch.tensor(s / (1 - s), dtype=torch.float64)
        epsilon = -spread * mixture.score(at / (1 - s), spread**2)
        return ((epsilon - at) / (1 - s)).flatten().numpy()  # ε − x with x = (z − s ε)/(1−s)

    exact = solve_ivp(slope, (first, 0.0), z.flatten().numpy(), method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    model, found = BestDenoiser(mixture, schedule), []
    for n in (20, 40, 80, 160):
        ends = follow(METHODS[method](schedule, n), x, model=model)[-1].flatten()
        found.append(float((ends - torch.from_numpy(exact)).norm()))
    assert orders(found) == pytest.approx([order] * 3, abs=0.4)
    assert orders(found)[-1] == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("method", ["heun", "midpoint"])
@pytest.mark.parametrize("schedule", [sigmoid(), linear(), cosine()], ids=["sigmoid", "linear", "cosine"])
def test_it_is_second_order_on_other_schedules_too_whose_timesteps_are_not_even_in_s(schedule, method):
    found = errors(method, schedule, (5, 10, 20), 0.6)
    assert found[0] > 3.3 * found[1] > 3.3 * 3.3 * found[2]


# --- the direction of time


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [flow, sigmoid])
def test_a_velocity_of_1_0_shifts_all_points_by_1_0_whatever_the_steps(make, method, steps):
    """From noise to data it is −(1, 0), because the velocity leads from the data to the noise.

    The length is the s where sampling begins, 0.9995 of `flow()`. There a step divides what float32 rounds by 2α.
    """
    schedule = make()
    moving = denoiser(lambda x, t: torch.tensor([1.0, 0.0]).expand(len(x), 2), schedule, predicts="velocity")
    found = sample(moving, 200, seed=3, sampler=METHODS[method](schedule, steps))
    first, kept = float(places(schedule)[-1]), float(schedule.alphas_cumprod[-1])
    begin = initial_noise(200, seed=3) / (math.sqrt(kept) + math.sqrt(1 - kept))
    shift = (found - begin).double()
    torch.testing.assert_close(shift, torch.tensor([-first, 0.0]).double().expand(200, 2), rtol=0, atol=2e-3)
    torch.testing.assert_close(shift.mean(0), torch.tensor([-1.0, 0.0]).double(), rtol=0, atol=1e-3)


# --- what is made of them


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_evaluations_are_counted(method, steps):
    """Heun's last step asks once, because nothing can be asked of the data; each of the midpoint twice."""
    sampler = METHODS[method](flow(), steps)
    assert len(sampler) == {"euler": steps, "heun": 2 * steps - 1, "midpoint": 2 * steps}[method]
    assert len(sampler.timesteps) == len(sampler.coefficients) == len(sampler.estimates) == len(sampler)
    assert all(a >= b for a, b in zip(sampler.timesteps, sampler.timesteps[1:], strict=False))
    assert not sampler.coefficients[:, 2].any()
    asked = []

    class Counting:
        schedule = sampler.schedule

        def epsilon(self, x_t, t):
            asked.append(int(t))
            return 0.9 * x_t

    sample(Counting(), 5, sampler=sampler)
    assert asked == [*sampler.timesteps]


@pytest.mark.parametrize("method", METHODS)
def test_snapshots_samples_and_files_are_those_of_the_rows(method, tmp_path):
    schedule = flow(100)
    sampler, model = METHODS[method](schedule, 10), best(schedule)
    kept = snapshots(model, 40, range(len(sampler) + 1), seed=2, sampler=sampler)
    path = follow(sampler, initial_noise(40, seed=2).double())
    for k, points in kept.items():
        torch.testing.assert_close(points.double(), path[k], rtol=0, atol=2e-5)
    assert torch.equal(kept[len(sampler)], sample(model, 40, seed=2, sampler=sampler))
    units = Units(torch.tensor([3.0, 4.0], dtype=torch.float64), 2.0)
    generate(model, 40, tmp_path / "points.npy", units=units, seed=2, sampler=sampler, progress=False)
    np.testing.assert_array_equal(np.load(tmp_path / "points.npy"), units.restore(kept[len(sampler)]).numpy())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", [linear(), sigmoid(), flow()], ids=["linear", "sigmoid", "flow"])
def test_of_a_single_point_every_way_leads_there(schedule, method):
    """Of one data point the velocity is exact and the path straight, so a single step is enough."""
    point = torch.tensor([[0.7, -1.1]])
    for steps in (1, 7):
        found = sample(BestDenoiser(point, schedule), 50, sampler=METHODS[method](schedule, steps))
        torch.testing.assert_close(found, point.expand(50, 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schedule", [flow(1), flow(2), flow(5), Schedule([0.01, 0.98, 0.5, 0.9])], ids=str)
def test_few_timesteps_are_enough_for_as_many_steps(schedule, method):
    for steps in range(1, schedule.timesteps + 1):
        sampler = METHODS[method](schedule, steps)
        assert sampler.coefficients.isfinite().all()
        assert float(sampler.coefficients.abs().max()) < 100
        assert sampler.timesteps[-1] == 0 or steps < schedule.timesteps
        point = torch.tensor([[0.7, -1.1]])
        found = sample(BestDenoiser(point, schedule), 5, sampler=sampler)
        torch.testing.assert_close(found, point.expand(5, 2), rtol=0, atol=1e-4)


@given(
    timesteps=st.integers(1, 60), data=st.data(), least=st.floats(0, 1), make=st.sampled_from([linear, sigmoid, flow])
)
def test_there_are_as_many_timesteps_as_were_asked_for_all_different(timesteps, data, least, make):
    steps = data.draw(st.integers(1, timesteps))
    schedule = make(timesteps=timesteps)
    taken = even_in_s(schedule, steps, least=least)
    assert len(taken) == steps
    assert taken == sorted(set(taken))
    assert taken[-1] == max(steps, int((schedule.alphas_cumprod >= least).sum())) - 1


def test_steps_are_even_in_s():
    s = places(flow())[even_in_s(flow(), 50)]
    steps = torch.cat([torch.zeros(1), s]).diff()
    assert float((steps - steps.mean()).abs().max()) < 0.0006  # half a timestep


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, 51, "10"])
@pytest.mark.parametrize("method", METHODS)
def test_a_number_of_steps_that_is_none_is_refused(method, steps):
    with pytest.raises(ValueError, match="number of steps must be a whole number of 1 or more, up to 50, not "):
        METHODS[method](flow(50), steps)
