"""A loss is a mean over noised points, nothing has a smaller one than the best denoiser, and errors are honest."""

import math

import pytest
import torch

from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure import losses
from lab_utils.measure.losses import (
    Noised,
    along_t,
    answers,
    gradient_signal,
    mean_and_error,
    mean_loss,
    noise,
    squared,
)

SCHEDULES = {"linear": linear(), "sigmoid": sigmoid(), "short": sigmoid(timesteps=20)}


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def floor_of(points, schedule, **arguments):
    return mean_loss(BestDenoiser(points, schedule), points, **arguments)


class Perturbed:
    """A denoiser that is the best one and something besides."""

    def __init__(self, best, change):
        self.best, self.schedule, self.change = best, best.schedule, change

    def epsilon(self, x_t, t):
        return self.change(self.best.epsilon(x_t, t), x_t)


def test_the_mean_loss_is_that_of_noised_points_at_evenly_spread_times(schedule):
    """A recording denoiser sees what was asked, and knows what it answered."""
    points = normal(40, 1)
    asked = []

    class Recorder:
        def __init__(self):
            self.schedule = schedule

        def epsilon(self, x_t, t):
            asked.append((x_t.clone(), t))
            return torch.zeros_like(x_t)

    loss, error = mean_loss(Recorder(), points, draws=4000, seed=3)
    x_t, t = (torch.cat(parts) for parts in zip(*sorted(asked, key=lambda block: int(block[1][0])), strict=True))
    counts = torch.bincount(t, minlength=schedule.timesteps)
    assert counts.min() == counts.max() == 4000 // schedule.timesteps
    # an answer of 0 has the loss E ε² = 1, with the variance 2 / (2 draws)
    assert abs(loss - 1) < 5 * math.sqrt(1 / 4000)
    assert error == pytest.approx(math.sqrt(1 / 4000), rel=0.1)
    a = schedule.alphas_cumprod[t].unsqueeze(1)
    expected = float((a * points.double().square().mean() + 1 - a).mean())
    assert float(x_t.square().mean()) == pytest.approx(expected, rel=0.15)


def test_a_fresh_models_mean_loss_is_its_closed_form():
    """Its answer is √(1−ᾱ) x_t, so for points of mean square m per axis the error is ᾱ² + ᾱ(1−ᾱ) m on average."""
    schedule, points = linear(), normal(500, 1)
    a, m = schedule.alphas_cumprod, float(points.square().mean())
    exact = float((a**2 + a * (1 - a) * m).mean())
    loss, error = mean_loss(DiffusionGenerator(schedule=schedule), points)
    assert abs(loss - exact) < 5 * error
    assert 0 < error < 0.01


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_the_floor_is_that_of_a_brute_force(make):
    """The expectation over x_0, ε and t drawn independently of it, with the posterior's own variance as integrand.

    E|ε − E[ε|x_t]|² given x_t is ᾱ/(1−ᾱ) times the variance of the softmax's points: no noise enters it, so the two
    ways share neither numbers nor formula.
    """
    schedule, points = make(timesteps=50), normal(30, 1)
    generator = torch.Generator().manual_seed(77)
    n = 20_000
    t = torch.randint(0, 50, (n,), generator=generator)
    x_0 = points[torch.randint(0, 30, (n,), generator=generator)].double()
    x_t = schedule.q_sample(x_0, t, torch.randn(n, 2, generator=generator, dtype=torch.float64))
    a = schedule.alphas_cumprod[t].unsqueeze(1)
    squared = (x_t.unsqueeze(1) - a.sqrt().unsqueeze(2) * points.double()).square().sum(2)
    weights = torch.softmax(-squared / (2 * (1 - a)), dim=1)
    spread = weights @ points.double().square() - (weights @ points.double()).square()
    errors = (a / (1 - a) * spread).mean(1)
    floor, error = floor_of(points, schedule, draws=20_000)
    assert abs(floor - float(errors.mean())) < 5 * math.hypot(error, float(errors.std()) / math.sqrt(n))
    assert floor > 10 * error


@pytest.mark.parametrize(
    "change",
    [
        lambda e, _: e + 0.1,
        lambda e, _: 1.1 * e,
        lambda e, _: 0.9 * e,
        lambda e, x: e + 0.1 * x,
        lambda e, x: e - 0.1 * x,
        lambda e, x: e + 0.1 * torch.sin(5 * x),
        lambda e, x: e + 0.1 * torch.cos(x.flip(1)),
    ],
    ids=["shift", "longer", "shorter", "outwards", "inwards", "waves", "across"],
)
def test_nothing_has_a_smaller_loss(schedule, change):
    """On the same noised points; that the best is the best holds on average, so the margin is many standard errors."""
    points = normal(50, 1)
    best = BestDenoiser(points, schedule)
    floor, _ = floor_of(points, schedule, draws=10_000)
    loss, _ = mean_loss(Perturbed(best, change), points, draws=10_000)
    assert loss > floor + 1e-3
    assert floor == mean_loss(best, points, draws=10_000)[0]


def test_the_floor_of_a_point_is_0_and_more_points_have_a_higher_one():
    schedule = linear()
    floors = [floor_of(normal(n, 1), schedule, draws=5000)[0] for n in (1, 2, 10, 200)]
    assert floors[0] == pytest.approx(0, abs=1e-9)
    assert floors == sorted(floors)
    assert floors[1] > 0.01


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_the_standard_error_is_the_spread_over_seeds(make):
    """Of 30 seeds the spread is known to 13 %, so a factor of 1.6 is more than 3 times that."""
    points = normal(40, 1)
    results = [floor_of(points, make(), draws=2000, seed=seed) for seed in range(30)]
    values, errors = torch.tensor(results, dtype=torch.float64).T
    assert 1 / 1.6 < float(values.std() / errors.mean()) < 1.6
    assert len(set(values.tolist())) == 30
    assert floor_of(points, make(), draws=2000, seed=0) == results[0]


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one point and two draws; got 0 and 10"):
        mean_loss(BestDenoiser(normal(5), linear()), torch.zeros(0, 2), draws=10)
    with pytest.raises(ValueError, match="got 5 and 1"):
        mean_loss(BestDenoiser(normal(5), linear()), normal(5), draws=1)


# --- excess and the course along t


def test_the_excess_is_the_loss_minus_the_floor(schedule):
    """E|ε̂ − ε|² = E|ε̂ − ε*|² + E|ε* − ε|²: the cross term vanishes on average, since ε* = E[ε | x_t]."""
    points = normal(50, 1)
    best = BestDenoiser(points, schedule)
    noised = noise(points, schedule, draws=20_000)
    truth = answers(best, noised)
    given = answers(Perturbed(best, lambda e, x: e + 0.3 * torch.sin(5 * x)), noised)
    excess = squared(given, truth)
    gap, error = mean_and_error(squared(given, noised.epsilon) - squared(truth, noised.epsilon) - excess)
    assert abs(gap) < 5 * error
    assert float(excess.mean()) > 20 * error


def test_the_course_along_t_is_the_mean_over_each_stretch():
    values = torch.arange(12, dtype=torch.float64)
    assert along_t(values, 4).tolist() == [1, 4, 7, 10]
    assert along_t(values, 12).tolist() == values.tolist()
    for groups in (5, 0, 13):
        with pytest.raises(ValueError, match=f"12 values can't be shared out over {groups} equal stretches"):
            along_t(values, groups)


def test_answers_do_not_depend_on_blocks_or_threads(schedule, monkeypatch):
    model = DiffusionGenerator(schedule=schedule, width=8, depth=1)
    noised = noise(normal(30), schedule, draws=1000)
    whole = answers(model, noised)
    for block, workers in ((100, 1), (77, 3)):
        monkeypatch.setattr(losses, "BLOCK", block)
        monkeypatch.setattr(losses, "WORKERS", workers)
        torch.testing.assert_close(answers(model, noised), whole, rtol=1e-5, atol=1e-6)
    assert noised.t.tolist() == sorted(noised.t.tolist())
    assert whole.shape == (1000, 2)
    assert not whole.requires_grad


# --- the gradient's aim and chance


class Constant(DenoisingModule):
    """It answers its two weights, whatever the point."""

    def __init__(self):
        super().__init__(linear())
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def predict(self, x_t, t):
        return self.weight.expand(len(x_t), 2)


@pytest.mark.parametrize("batch", [100, 400])
def test_the_gradients_signal_is_its_closed_form(batch):
    """The gradient of a batch is w − mean(ε): so Σ = I σ²/batch, and G = −the mean of ε."""
    generator = torch.Generator().manual_seed(1)
    epsilon = torch.tensor([0.5, 0.0]) + torch.randn(40_000, 2, generator=generator)
    noised = Noised(torch.zeros(40_000, 2), torch.zeros(40_000, dtype=torch.int64), epsilon)
    found = gradient_signal(Constant(), noised, batch=batch)
    assert found == pytest.approx(0.25 * batch / 2, rel=0.35)


def test_a_gradient_without_an_aim_is_all_chance():
    epsilon = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(2, 1)
    noised = Noised(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), epsilon)
    assert gradient_signal(Constant(), noised, batch=1) == 0
    with pytest.raises(ValueError, match="4 noised points don't make two batches of 3"):
        gradient_signal(Constant(), noised, batch=3)
