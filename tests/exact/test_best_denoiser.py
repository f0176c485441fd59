"""The best denoiser is Bayes' rule, for points and for Gaussian mixtures, and the sampler runs it."""

import math

import pytest
import torch

from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.exact import mixtures
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.mixtures import GaussianMixture, exact_mixture
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.neighbours import blur
from lab_utils.points.dataset import dataset

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
    assert blur(x, points) < 1e-4
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
    """As far from real ones as these from each other, twice that at most, and as sharp."""
    data = dataset("eight_gaussians")
    x = sample(BestDenoiser(exact_mixture(data), make()), 3000, seed=0)
    benchmark = Benchmark(data.held_out)
    between = benchmark.between_real("energy distance", 3000)
    energy = benchmark.multiple("energy distance", x) * between[between > 0].mean()
    assert energy < 2 * between.max()
    assert benchmark.multiple("blur", x) == pytest.approx(1, abs=0.05)
    assert benchmark.multiple("strays", x) < 3


# --- refusals


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.zeros(0, 2), "^the best denoiser needs at least one point; got none$"),
        (torch.zeros(4, 3), r"shape \(4, 3\)"),
        (torch.zeros(4, 2, dtype=torch.int64), "torch.int64"),
    ],
)
def test_points_that_are_none_are_refused(points, reason):
    with pytest.raises(ValueError, match=reason):
        BestDenoiser(points, linear())


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
