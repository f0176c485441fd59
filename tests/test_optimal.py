"""The best denoiser is Bayes' rule, nothing has a smaller loss, and the floor's error is what it is said to be."""

import math

import pytest
import torch

from lab_utils import mixtures
from lab_utils.metrics import Benchmark, sharpness
from lab_utils.mixtures import GaussianMixture, exact_mixture
from lab_utils.model import DiffusionGenerator
from lab_utils.optimal import BestDenoiser, loss_floor, mean_loss
from lab_utils.points import dataset
from lab_utils.sampling import sample
from lab_utils.schedules import linear, sigmoid

SCHEDULES = {"linear": linear(), "sigmoid": sigmoid(), "short": sigmoid(timesteps=20)}


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def brute_force(points, schedule, x_t, t):
    """DESIGN's formula word for word, point by point, in float64; softmax with the largest exponent taken out."""
    rows = []
    for x, index in zip(x_t.double(), t.tolist(), strict=True):
        a = float(schedule.alphas_cumprod[index])
        exponents = -(x - math.sqrt(a) * points.double()).square().sum(1) / (2 * (1 - a))
        weights = (exponents - exponents.max()).exp()
        mean = (weights.unsqueeze(1) * points.double()).sum(0) / weights.sum()
        rows.append((x - math.sqrt(a) * mean) / math.sqrt(1 - a))
    return torch.stack(rows)


class Perturbed:
    """A denoiser that is the best one and something besides."""

    def __init__(self, best, change):
        self.best, self.schedule, self.change = best, best.schedule, change

    def epsilon(self, x_t, t):
        return self.change(self.best.epsilon(x_t, t), x_t)


# --- the formula


@pytest.mark.parametrize("n", [1, 256, 257, 519])
def test_it_is_the_brute_force_softmax(schedule, n, monkeypatch):
    points = normal(150, 1)
    monkeypatch.setattr(mixtures, "BLOCK", 256 * 150)  # 256 points at once
    t = torch.randint(0, schedule.timesteps, (n,), generator=torch.Generator().manual_seed(2))
    t[0], t[-1] = 0, schedule.timesteps - 1
    # noised data, as in use, and now and then a point far away from all of them
    x_t = schedule.q_sample(points.double().repeat(5, 1)[:n], t, normal(n, 3, torch.float64))
    x_t[::50] *= 30
    found = BestDenoiser(points, schedule).epsilon(x_t, t)
    assert found.dtype == torch.float64
    exact = brute_force(points, schedule, x_t, t)
    torch.testing.assert_close(found, exact, rtol=1e-7, atol=1e-7)


def test_its_answer_is_in_the_precision_of_the_question_but_worked_out_in_double(schedule):
    points, x_t = normal(60, 1), normal(40, 2)
    t = torch.arange(40) % schedule.timesteps
    best = BestDenoiser(points, schedule)
    found = best.epsilon(x_t, t)
    assert found.dtype == torch.float32
    assert torch.equal(found, best.epsilon(x_t.double(), t).float())


def test_one_t_for_all_is_that_t_for_each(schedule):
    best = BestDenoiser(normal(60, 1), schedule)
    x_t = normal(261, 2)
    each = best.epsilon(x_t, torch.full((len(x_t),), 7))
    for t in (torch.tensor(7), torch.tensor([7])):
        assert torch.equal(best.epsilon(x_t, t), each)
        assert best.epsilon(x_t[:0], t).shape == (0, 2)


def test_of_a_single_point_it_knows_the_noise_exactly(schedule):
    points, epsilon = torch.tensor([[0.3, -1.2]], dtype=torch.float64), normal(30, 1, torch.float64)
    t = torch.arange(30) % schedule.timesteps
    x_t = schedule.q_sample(points.expand(30, 2), t, epsilon)
    torch.testing.assert_close(BestDenoiser(points, schedule).epsilon(x_t, t), epsilon, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("index", [200, 500, 800])
def test_of_many_points_of_a_gaussian_it_is_the_gaussians(index):
    """For data N(0, I) the exact ε is √(1−ᾱ) x. With N points it differs by some 1/√N, less and less with more."""
    schedule = linear()
    t = torch.tensor(index)
    x_t = normal(300, 1, torch.float64)  # x_t is N(0, I) again
    exact = (1 - schedule.alphas_cumprod[index]).sqrt() * x_t
    errors = [
        float((BestDenoiser(normal(n, 2), schedule).epsilon(x_t, t) - exact).square().mean().sqrt())
        for n in (100, 1000, 10_000)
    ]
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2]  # by √10 each time, on average
    assert errors[2] < 0.03


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_what_it_samples_are_its_own_points_again(make):
    """It memorises: each sampled point lies on one of the points, all of which occur about equally often."""
    points = 1.5 * normal(12, 1)
    x = sample(BestDenoiser(points, make()), 600, seed=0)
    # after the last step, which adds no noise, an error of √(1−ᾱ_0) of ε would be 0.01
    distances = torch.cdist(x, points)
    assert sharpness(x, points) < 1e-4
    assert distances.amin(1).max() < 0.05
    counts = torch.bincount(distances.argmin(1), minlength=12)
    error = math.sqrt(600 * (1 / 12) * (11 / 12))
    assert (counts - 50).abs().max() < 5 * error


# --- mixtures


def noised(schedule, points):
    """Points (n, 2) noised at times from all over the schedule, some of them thrown far away."""
    t = torch.linspace(0, schedule.timesteps - 1, len(points)).long()
    x_t = schedule.q_sample(points, t, normal(len(points), 3, torch.float64))
    x_t[::20] *= 10
    return x_t, t


def test_of_a_gaussian_it_is_the_linear_answer(schedule):
    """Jointly Gaussian variables: E[ε | x_t] = Cov(ε, x_t) Cov(x_t)⁻¹ (x_t − E x_t)."""
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[2.0, 0.9], [0.9, 0.5]], dtype=torch.float64)
    x_t, t = noised(schedule, mean + normal(200, 1, torch.float64) @ torch.linalg.cholesky(covariance).T)
    best = BestDenoiser(GaussianMixture(mean.unsqueeze(0), covariance.unsqueeze(0)), schedule)
    exact = []
    for x, a in zip(x_t, schedule.alphas_cumprod[t], strict=True):
        whole = a * covariance + (1 - a) * torch.eye(2, dtype=torch.float64)
        exact.append((1 - a).sqrt() * torch.linalg.solve(whole, x - a.sqrt() * mean))
    torch.testing.assert_close(best.epsilon(x_t, t), torch.stack(exact), rtol=1e-9, atol=1e-9)


def test_components_without_a_width_are_points(schedule):
    """In each of the three ways to give them, and nearly so where their width is next to nothing."""
    points = normal(60, 1, torch.float64)
    x_t, t = noised(schedule, points.repeat(4, 1))
    exact = BestDenoiser(points, schedule).epsilon(x_t, t)
    for covariances in (torch.zeros(60), torch.zeros(60, 2, 2), 1e-13, torch.full((60,), 1e-13)):
        found = BestDenoiser(GaussianMixture(points, covariances), schedule).epsilon(x_t, t)
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["one for all", "one each", "full"])
def test_it_is_the_slope_of_the_log_density(schedule, kind):
    """ε = −√(1−ᾱ) ∇ log p_t, with p_t's density from PyTorch's own mixtures and its slope by autograd."""
    means, roots = normal(12, 1, torch.float64), 0.3 * normal(24, 2, torch.float64).reshape(12, 2, 2)
    weights = torch.rand(12, generator=torch.Generator().manual_seed(3))
    eye = torch.eye(2, dtype=torch.float64)
    given = {"one for all": torch.tensor(0.04), "one each": weights / 10, "full": roots @ roots.mT}[kind].double()
    covariances = given if kind == "full" else given.reshape(-1, 1, 1) * eye
    x_t, t = noised(schedule, normal(100, 4, torch.float64))
    x_t.requires_grad_()
    a = schedule.alphas_cumprod[t].reshape(-1, 1, 1)
    components = torch.distributions.MultivariateNormal(
        a.sqrt() * means, a.unsqueeze(3) * covariances + (1 - a.unsqueeze(3)) * eye
    )
    choice = torch.distributions.Categorical(weights.double().expand(100, 12))
    log_density = torch.distributions.MixtureSameFamily(choice, components).log_prob(x_t)
    (slope,) = torch.autograd.grad(log_density.sum(), x_t)
    found = BestDenoiser(GaussianMixture(means, given, weights), schedule).epsilon(x_t, t)
    torch.testing.assert_close(found, -(1 - a[:, :, 0]).sqrt() * slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_what_it_samples_of_a_mixture_are_new_points_of_it(make):
    """As far from real ones as these from each other; a multiple of the floor is at most a few when all is well."""
    data = dataset("eight_gaussians")
    x = sample(BestDenoiser(exact_mixture(data), make()), 3000, seed=0)
    benchmark = Benchmark(data.held_out, size=3000)
    energy, sharp = (benchmark.measure(name, x) for name in ("energy distance", "sharpness"))
    assert energy.value < 2 * energy.floor_range[1]
    assert sharp.multiple == pytest.approx(1, abs=0.05)


# --- the loss and its floor


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
    ((x_t, t),) = asked
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
    floor, error = loss_floor(points, schedule, draws=20_000)
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
    floor, _ = loss_floor(points, schedule, draws=10_000)
    loss, _ = mean_loss(Perturbed(best, change), points, draws=10_000)
    assert loss > floor + 1e-3
    assert floor == mean_loss(best, points, draws=10_000)[0]


def test_the_floor_of_a_point_is_0_and_more_points_have_a_higher_one():
    schedule = linear()
    floors = [loss_floor(normal(n, 1), schedule, draws=5000)[0] for n in (1, 2, 10, 200)]
    assert floors[0] == pytest.approx(0, abs=1e-9)
    assert floors == sorted(floors)
    assert floors[1] > 0.01


@pytest.mark.parametrize("make", [linear, sigmoid])
def test_the_standard_error_is_the_spread_over_seeds(make):
    """Of 30 seeds the spread is known to 13 %, so a factor of 1.6 is more than 3 times that."""
    points = normal(40, 1)
    results = [loss_floor(points, make(), draws=2000, seed=seed) for seed in range(30)]
    values, errors = torch.tensor(results, dtype=torch.float64).T
    assert 1 / 1.6 < float(values.std() / errors.mean()) < 1.6
    assert len(set(values.tolist())) == 30
    assert loss_floor(points, make(), draws=2000, seed=0) == results[0]


# --- refusals


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one point and two draws; got 0 and 10"):
        mean_loss(BestDenoiser(normal(5), linear()), torch.zeros(0, 2), draws=10)
    with pytest.raises(ValueError, match="got 5 and 1"):
        mean_loss(BestDenoiser(normal(5), linear()), normal(5), draws=1)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.zeros(0, 2), "at least one point; got none"),
        (torch.zeros(4, 3), r"shape \(4, 3\)"),
        (torch.zeros(4, 2, dtype=torch.int64), "torch.int64"),
    ],
)
def test_points_that_are_none_are_refused(points, reason):
    for call in (lambda: BestDenoiser(points, linear()), lambda: loss_floor(points, linear(), draws=10)):
        with pytest.raises(ValueError, match=reason):
            call()


@pytest.mark.parametrize(
    ("x_t", "t", "reason"),
    [
        (torch.zeros(5, 3), torch.tensor(0), r"x_t must .* of shape \(5, 3\)"),
        (torch.zeros(5, 2), 0, "t must .* not int"),
        (torch.zeros(5, 2), torch.tensor([0, 1]), r"has the shape \(2,\)"),
        (torch.zeros(5, 2), torch.tensor(1000), "0 … 999; it runs from 1000"),
    ],
)
def test_it_refuses_what_a_model_refuses(x_t, t, reason):
    with pytest.raises(ValueError, match=reason):
        BestDenoiser(normal(5), linear()).epsilon(x_t, t)
