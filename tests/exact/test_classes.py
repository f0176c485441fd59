"""The best denoisers of classes: each is that of its points, Bayes' rule puts them together, and floors add up."""

import math

import pytest
import torch

from lab_utils.diffusion import sigmoid
from lab_utils.exact import BestDenoiser, GaussianMixture, exact_mixture
from lab_utils.measure import Truth, answers, mean_loss, noise, squared
from lab_utils.points import dataset

SCHEDULE = sigmoid()
PARTS = dataset("eight_gaussians", label="part", train=800)
T = torch.arange(500) * 2


def noised_points(data):
    """As many noised points as timesteps in `T`, of the data that nobody has seen."""
    generator = torch.Generator().manual_seed(0)
    return SCHEDULE.q_sample(data.held_out[:500], T, torch.randn(500, 2, generator=generator)).double()


def test_the_best_denoiser_of_a_part_of_the_eight_gaussians_is_linear():
    """ε = σ (x_t − √ᾱ m)/(ᾱ v + 1 − ᾱ), with m and v the mean and the variance of that one Gaussian."""
    for k, name in ((0, "0°"), (3, "135°")):
        mixture = exact_mixture(PARTS.given(name))
        angle = k * math.pi / 4
        centre = 4 * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
        mean, variance = (centre - PARTS.units.shift) / PARTS.units.scale, (0.4 / PARTS.units.scale) ** 2
        kept = SCHEDULE.alphas_cumprod[T].unsqueeze(1)
        x_t = noised_points(PARTS)
        exact = (1 - kept).sqrt() * (x_t - kept.sqrt() * mean) / (kept * variance + 1 - kept)
        torch.testing.assert_close(BestDenoiser(mixture, SCHEDULE).epsilon(x_t, T), exact, rtol=1e-9, atol=1e-9)


def test_without_labels_or_with_all_of_them_the_mixture_is_whole():
    assert torch.equal(exact_mixture(PARTS).means, exact_mixture(dataset("eight_gaussians", train=800)).means)
    assert len(exact_mixture(PARTS).means) == 8


@pytest.mark.parametrize("known", ["the density", "training points"])
def test_the_best_denoiser_is_the_mean_of_those_of_the_classes_by_their_chances(known):
    """E[ε | x_t] = Σ_c p(c | x_t) E[ε | x_t, c]; the chances are Bayes' rule, from densities of noised points."""
    x_t = noised_points(PARTS)
    parts = [PARTS.given(name) for name in PARTS.classes]
    if known == "the density":
        data, each, shares = exact_mixture(PARTS), [exact_mixture(part) for part in parts], torch.full((8,), 1 / 8)
    else:
        data, each = PARTS.train, [part.train for part in parts]
        shares = torch.tensor([len(part.train) / len(PARTS.train) for part in parts])
    denoisers = [BestDenoiser(part, SCHEDULE) for part in each]
    kept = SCHEDULE.alphas_cumprod[T]
    seen = x_t / kept.sqrt().unsqueeze(1)
    logs = torch.stack([best.mixture.log_prob(seen, (1 - kept) / kept) for best in denoisers], dim=1)
    chances = torch.softmax(logs + shares.double().log(), dim=1)
    mean = sum(chances[:, k : k + 1] * best.epsilon(x_t, T) for k, best in enumerate(denoisers))
    torch.testing.assert_close(BestDenoiser(data, SCHEDULE).epsilon(x_t, T), mean, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("source", ["cities", "checkerboard"])
def test_floors_by_class_are_lower_by_just_what_knowing_the_class_is_worth(source):
    """Pythagoras: the loss of the denoiser of all, on points of one class, is the floor there and its excess over it.

    On the whole, by the shares of the classes, that is the floor of all; the difference is what labels can be worth.
    """
    data = dataset(source, label="continent" if source == "cities" else "part", train=1000)
    untold, total, floors = BestDenoiser(data.train, SCHEDULE), 0.0, 0.0
    for name in data.classes:
        part = data.given(name)
        best = BestDenoiser(part.train, SCHEDULE)
        noised = noise(part.train, SCHEDULE, draws=20_000)
        floor, loss = mean_loss(best, part.train, draws=20_000)[0], mean_loss(untold, part.train, draws=20_000)[0]
        excess = float(squared(answers(untold, noised), answers(best, noised)).mean())
        assert loss == pytest.approx(floor + excess, abs=0.01), name
        assert excess > 0.02, name
        total, floors = total + loss * len(part.train) / 1000, floors + floor * len(part.train) / 1000
    whole = mean_loss(untold, data.train)[0]
    assert total == pytest.approx(whole, abs=0.01)
    assert floors < 0.95 * whole


def test_the_excess_of_a_denoiser_that_is_not_told_the_class_is_its_divergence_in_nats():
    """KL(p(·|c) ‖ p), by the theorem of `measure.nats`: log 8 for one of eight Gaussians that hardly overlap."""
    part = exact_mixture(PARTS.given("90°"))
    best, untold = BestDenoiser(part, SCHEDULE), BestDenoiser(exact_mixture(PARTS), SCHEDULE)
    found = Truth(best, part.sample(50_000), draws=400_000).excess(untold)
    assert found.total == pytest.approx(math.log(8), abs=4 * found.error + 0.005)
    assert found.error < 0.02


def test_what_a_label_is_worth_on_the_mean_is_the_information_it_has_of_the_points():
    """Σ_c p(c) KL(p(·|c) ‖ p), of two Gaussians that overlap, by quadrature; it is below the entropy of the label."""
    means, shares = torch.tensor([[-0.7, 0.0], [0.9, 0.3]]), torch.tensor([0.6, 0.4], dtype=torch.float64)
    mixture = GaussianMixture(means, 0.5, shares)
    blur = float((1 - SCHEDULE.alphas_cumprod[0]) / SCHEDULE.alphas_cumprod[0])
    axis = torch.linspace(-6, 6, 601, dtype=torch.float64)
    grid, cell = torch.cartesian_prod(axis, axis), float((axis[1] - axis[0]) ** 2)
    found = exact = error = 0.0
    for k, share in enumerate(shares.tolist()):
        part = GaussianMixture(means[k : k + 1], 0.5)
        log_part = part.log_prob(grid, blur)
        exact += share * float((log_part.exp() * (log_part - mixture.log_prob(grid, blur))).sum()) * cell
        nats = Truth(BestDenoiser(part, SCHEDULE), part.sample(50_000), draws=100_000).excess(
            BestDenoiser(mixture, SCHEDULE)
        )
        found, error = found + share * nats.total, math.hypot(error, share * nats.error)
    assert found == pytest.approx(exact, abs=4 * error + 0.002)
    assert error < 0.01
    assert exact < float(torch.special.entr(shares).sum())
