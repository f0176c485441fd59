"""The flow's density is the exact one where that is known, integrates to 1 where it is not, and says when it fails."""

import math

import pytest
import torch
from torch import nn

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import even_in_log_snr
from lab_utils.diffusion.schedules import Schedule, linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.mixtures import GaussianMixture, exact_mixture
from lab_utils.measure import likelihood
from lab_utils.measure.likelihood import FlowError, log_likelihood, mean_log_likelihood
from lab_utils.points.dataset import dataset

SCHEDULES = {"linear": linear(), "sigmoid": sigmoid()}


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_network(schedule, strength=0.5):
    """A small network that says something without having learnt anything, in waves long enough for a coarse grid."""
    model = DiffusionGenerator(schedule=schedule, width=16, depth=1, input_frequencies=3, max_frequency=2.0)
    nn.init.normal_(model.leave.weight, std=strength, generator=torch.Generator().manual_seed(0))
    return model


class Answering:
    """A denoiser that answers whatever the function says."""

    def __init__(self, answer, schedule):
        self.answer, self.schedule = answer, schedule

    def epsilon(self, x_t, t):
        return self.answer(x_t)


# --- where the density is known


def blur(schedule):
    return float((1 - schedule.alphas_cumprod[0]) / schedule.alphas_cumprod[0])


def test_of_a_gaussian_it_is_the_blurred_gaussians(schedule):
    """Against PyTorch's own density. At the end a linear schedule still has 0.6 % of the data in it, which shows."""
    mean = torch.tensor([0.5, -0.4], dtype=torch.float64)
    covariance = torch.tensor([[0.9, 0.5], [0.5, 0.4]], dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(mean, covariance + blur(schedule) * torch.eye(2))
    points = exact.mean + normal(700, 1) @ exact.scale_tril.T
    best = BestDenoiser(GaussianMixture(mean.unsqueeze(0), covariance.unsqueeze(0)), schedule)
    errors = log_likelihood(best, points) - exact.log_prob(points)
    assert abs(errors.mean()) < 2e-3
    assert errors.abs().max() < 0.03


@pytest.mark.parametrize("name", ["gaussian", "eight_gaussians"])
def test_of_a_shape_it_is_the_shapes_density(schedule, name):
    data = dataset(name)
    mixture, points = exact_mixture(data), data.held_out[:1000]
    found = log_likelihood(BestDenoiser(mixture, schedule), points)
    assert found.dtype == torch.float64
    errors = found - mixture.log_prob(points, blur(schedule))
    assert abs(errors.mean()) < 0.005
    assert errors.abs().mean() < 0.01


def test_it_converges_with_the_square_of_the_step():
    """Twice the nodes, a quarter of the error, until the schedule's own timesteps are as few as the nodes."""
    data, schedule = dataset("eight_gaussians"), linear()
    best, points = BestDenoiser(exact_mixture(data), schedule), data.held_out[:500]
    fine = log_likelihood(best, points, nodes=500)
    errors = [float((log_likelihood(best, points, nodes=n) - fine).abs().mean()) for n in (16, 32, 64, 128)]
    assert errors[0] > 2.5 * errors[1] > 2.5 * 2.5 * errors[2] > 2.5**3 * errors[3]
    assert errors[3] < 1e-3


def test_of_a_fresh_model_it_is_a_standard_normal(schedule):
    """A fresh network answers √(1−ᾱ) x_t, under which x_t does not move at all."""
    points = 2 * normal(300, 1).float()
    a = float(schedule.alphas_cumprod[0])
    exact = math.log(a / (2 * math.pi)) - a * points.double().square().sum(1) / 2
    found = log_likelihood(DiffusionGenerator(schedule=schedule), points)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)  # the network counts in float32


# --- where it is not


@pytest.mark.parametrize("nodes", [6, 24])
def test_it_integrates_to_1_whatever_the_network_and_the_nodes(schedule, nodes):
    """Even of a few steps that are far from the flow, and of a density that is far from N(0, I)."""
    model = smooth_network(schedule)
    axis = torch.linspace(-7, 7, 141, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_density = log_likelihood(model, grid, nodes=nodes)
    assert float(log_density.exp().sum() * 0.1**2) == pytest.approx(1, abs=2e-4)
    plain = -grid.square().sum(1) / 2 - math.log(2 * math.pi)
    assert float((log_density.exp() * (log_density - plain)).sum() * 0.1**2) > 0.1


def test_a_model_in_double_precision_says_the_same(schedule):
    model, points = smooth_network(schedule), normal(50, 1)
    single = log_likelihood(model, points)
    torch.testing.assert_close(log_likelihood(model.double(), points), single, rtol=0, atol=1e-3)


def test_the_number_of_cores_changes_nothing(monkeypatch):
    model, points = smooth_network(linear()), normal(1100, 1)
    expected = log_likelihood(model, points, nodes=10)
    assert expected.shape == (1100,)
    monkeypatch.setattr(likelihood, "WORKERS", 1)
    assert torch.equal(log_likelihood(model, points, nodes=10), expected)
    monkeypatch.setattr(likelihood, "BLOCK", 100)
    torch.testing.assert_close(log_likelihood(model, points, nodes=10), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "denoiser", [smooth_network(linear()), BestDenoiser(GaussianMixture(normal(4), 0.1), linear())], ids=["net", "best"]
)
def test_it_leaves_no_gradients_behind_and_works_where_they_are_off(denoiser):
    points = normal(20, 1)
    expected = log_likelihood(denoiser, points, nodes=20)
    assert not expected.requires_grad
    assert not points.requires_grad
    with torch.inference_mode():
        assert torch.equal(log_likelihood(denoiser, points.clone(), nodes=20), expected)
    with torch.no_grad():
        assert torch.equal(log_likelihood(denoiser, points, nodes=20), expected)
    assert all(weights.grad is None for weights in getattr(denoiser, "parameters", list)())
    assert log_likelihood(denoiser, points[:0]).shape == (0,)


@pytest.mark.parametrize("nodes", [1, 0, 2.5, True])
def test_fewer_than_two_nodes_are_refused(nodes):
    with pytest.raises(ValueError, match=rf"must be a whole number of 2 or more, .*not {nodes}"):
        log_likelihood(DiffusionGenerator(), normal(3), nodes=nodes)


# --- refusals


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (torch.zeros(4, 3), r"points must be .* shape \(4, 3\)"),
        (torch.tensor([[0.0, 1.0], [math.nan, math.inf]]), "points must be finite; 1 are not"),
    ],
)
def test_points_that_are_none_are_refused(points, reason):
    with pytest.raises(ValueError, match=reason):
        log_likelihood(DiffusionGenerator(), points)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda x: math.nan * x, "at 5 of 5 points the flow does not stay finite, even with all 1000 timesteps"),
        (lambda x: torch.zeros_like(x), "does not depend on x_t in a way that PyTorch can differentiate"),
        (lambda x: x.detach(), "does not depend on x_t in a way that PyTorch can differentiate"),
    ],
)
def test_answers_that_give_no_density_are_refused(answer, reason):
    for function in (log_likelihood, mean_log_likelihood):
        with pytest.raises(FlowError, match=reason):
            function(Answering(answer, linear()), normal(5))


def test_a_mean_needs_two_points():
    with pytest.raises(ValueError, match="two points or more; got 1"):
        mean_log_likelihood(DiffusionGenerator(), normal(1))


# --- folds


def wavy(schedule):
    """Its velocity changes fast from place to place: long steps overtake each other, short ones don't."""
    return Answering(lambda x: x + 0.2 * torch.sin(20 * x), schedule)


class Counting:
    """A denoiser that counts the points that it is asked about."""

    def __init__(self, inner):
        self.inner, self.schedule, self.asked = inner, inner.schedule, 0

    def epsilon(self, x_t, t):
        self.asked += len(x_t)
        return self.inner.epsilon(x_t, t)


def test_points_at_which_a_step_folds_are_followed_again_with_more_nodes_and_no_other_points():
    points = normal(200, 1)
    _, folded = likelihood._follow_blocks(wavy(linear()), points, even_in_log_snr(linear(), 16))
    assert 10 < folded.sum() < 190
    counting = Counting(wavy(linear()))
    found = log_likelihood(counting, points, nodes=16)
    assert found.isfinite().all()
    assert torch.equal(found[folded], log_likelihood(wavy(linear()), points[folded], nodes=64))
    assert torch.equal(found[~folded], log_likelihood(wavy(linear()), points[~folded], nodes=16))
    assert counting.asked == 2 * 15 * 200 + 2 * 63 * int(folded.sum())  # twice at each step
    mean = mean_log_likelihood(wavy(linear()), points, nodes=16)
    assert (mean.folded, mean.share, mean.surplus) == (0, 0, 0)
    assert mean.mean == pytest.approx(float(found.mean()))
    assert mean.error == pytest.approx(float(found.std()) / math.sqrt(200))
    assert str(mean) == f"{mean.mean:.3f} ± {mean.error:.3f} nats"


def test_what_folds_with_all_timesteps_is_a_share_that_is_shown_and_neither_a_missing_number_nor_left_out():
    """Of a schedule with 16 timesteps there are no more to take."""
    kept = torch.cat([torch.ones(1), linear().alphas_cumprod[even_in_log_snr(linear(), 16)]])
    schedule, points = Schedule(1 - kept[1:] / kept[:-1]), normal(400, 1)
    each = log_likelihood(wavy(schedule), points)
    folded = int(each.isnan().sum())
    assert 10 < folded < 390
    mean = mean_log_likelihood(wavy(schedule), points)
    assert (mean.points, mean.folded) == (400, folded)
    assert math.isfinite(mean.mean)
    assert math.isfinite(mean.error)
    assert mean.mean != pytest.approx(float(each.nanmean()), abs=0.01)  # not that of the others alone
    assert f"with {folded} of 400 points ({folded / 400:.2%}) at which the steps fold the plane" in str(mean)


def test_a_density_that_folds_integrates_to_1_and_twice_the_mass_that_is_reversed():
    """With two timesteps there is one step, and it is reversed where it folds."""
    model = Answering(lambda x: x + torch.sin(3 * x), linear(0.1, 0.6, 2))
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    values, folded = likelihood._follow_all(model, torch.cartesian_prod(axis, axis), 2)
    masses = values.exp() * 0.02**2
    reversed_mass = float(masses[folded].sum())
    assert reversed_mass > 0.01
    assert float(masses.sum()) == pytest.approx(1 + 2 * reversed_mass, abs=1e-3)
