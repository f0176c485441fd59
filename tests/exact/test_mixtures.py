"""Densities are those of independent libraries; blurring is a convolution; kernels are chosen by cross-validation."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from lab_utils.exact import mixtures
from lab_utils.exact.mixtures import GaussianMixture, exact_mixture
from lab_utils.points.dataset import dataset

EYE = torch.eye(2, dtype=torch.float64)
KINDS = ("one for all", "one each", "full")


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixture(kind, count=15):
    """A mixture far from the origin, and its means, weights and (K, 2, 2) covariances."""
    generator = torch.Generator().manual_seed(1)
    means, weights = normal(count, 2) + 5, torch.rand(count, generator=generator, dtype=torch.float64)
    roots = 0.5 * torch.randn(count, 2, 2, generator=generator, dtype=torch.float64)
    given = {"one for all": torch.tensor(0.09), "one each": 0.01 + weights / 5, "full": roots @ roots.mT}[kind]
    full = given if kind == "full" else given.double().reshape(-1, 1, 1) * EYE.expand(count, 2, 2)
    return GaussianMixture(means, given, weights), means, weights, full


def peer(means, weights, covariances):
    """The same mixture as PyTorch has it."""
    return MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))


# --- the density


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_is_bayes_rule(kind):
    ours, means, weights, covariances = mixture(kind)
    x, blur = means[:9] + normal(9, 4), 0.3
    joint = torch.stack(
        [
            weight.log() + MultivariateNormal(mean, covariance + blur * EYE).log_prob(x)
            for weight, mean, covariance in zip(weights / weights.sum(), means, covariances, strict=True)
        ],
        dim=1,
    )
    found = ours.posterior(x, blur)
    torch.testing.assert_close(found, (joint - ours.log_prob(x, blur).unsqueeze(1)).exp(), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [1, 100, 2**17])
def test_the_log_density_and_its_slope_are_pytorchs(kind, block, monkeypatch):
    monkeypatch.setattr(mixtures, "BLOCK", block)
    ours, means, weights, covariances = mixture(kind)
    torch.testing.assert_close(ours.covariances, covariances)
    x = (means.repeat(4, 1) + normal(60, 3) * torch.tensor([0.1, 1, 5]).repeat(20).unsqueeze(1)).requires_grad_()
    each = torch.linspace(0, 2, 60, dtype=torch.float64)
    for blur in (0.0, 0.3, torch.tensor(0.3), each):
        added = torch.as_tensor(blur, dtype=torch.float64).reshape(-1, 1, 1, 1) * EYE
        whole = covariances + added.expand(60, 15, 2, 2)
        exact = peer(means.expand(60, 15, 2), weights.expand(60, 15), whole).log_prob(x)
        (slope,) = torch.autograd.grad(exact.sum(), x)
        found = ours.log_prob(x, blur)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(ours.score(x, blur), slope, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), x)[0], slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_density(kind):
    ours, *_ = mixture(kind)
    axis = torch.linspace(-5, 15, 1001, dtype=torch.float64)
    for blur in (0.1, 1.0):
        assert float(ours.log_prob(torch.cartesian_prod(axis, axis), blur).exp().sum() * 0.02**2) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_its_mean_and_covariance_and_nearly_its_entropy(kind):
    """Each within 5 standard errors; the blurred mixture is that of noised samples."""
    ours, means, weights, covariances = mixture(kind)
    n, share = 40_000, weights / weights.sum()
    x = ours.sample(n, seed=3)
    assert x.dtype == torch.float64
    assert torch.equal(x, ours.sample(n, seed=3))
    assert not torch.equal(x, ours.sample(n, seed=4))
    mean = share @ means
    spread = means - mean
    covariance = torch.einsum("k,kij->ij", share, covariances + spread.unsqueeze(2) * spread.unsqueeze(1))
    root = covariance.diagonal().sqrt()
    assert ((x.mean(0) - mean).abs() < 5 * root / math.sqrt(n)).all()
    assert ((x.T.cov() - covariance).abs() < 5 * math.sqrt(3 / n) * root.outer(root)).all()
    # E log p over samples is −entropy, wherever they come from: here from PyTorch's
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = peer(means, weights, covariances).sample((n,))
    for blur in (0.0, 0.5):
        ours_at, others_at = (
            ours.log_prob(points + math.sqrt(blur) * normal(n, seed), blur) for seed, points in ((5, x), (6, other))
        )
        assert abs(ours_at.mean() - others_at.mean()) < 5 * math.hypot(ours_at.std(), others_at.std()) / math.sqrt(n)


def test_a_point_has_a_density_once_it_is_blurred():
    for covariances in (
        0.0,
        torch.zeros(3),
        torch.zeros(3, 2, 2),
        torch.tensor([[1.0, 1.0], [1.0, 1.0]]).expand(3, 2, 2),
    ):
        points = GaussianMixture(normal(3), covariances)
        for call in (points.log_prob, points.score):
            with pytest.raises(ValueError, match="has no density; give a blur"):
                call(normal(2))
        assert points.log_prob(normal(2), 0.1).isfinite().all()
        assert points.sample(10).shape == (10, 2)
    torch.testing.assert_close(points.sample(50, seed=1), points.sample(50, seed=1))
    assert torch.cdist(GaussianMixture(normal(3), 0.0).sample(50), normal(3)).amin(1).max() == 0


def test_components_of_no_weight_do_not_count():
    ours = GaussianMixture(normal(3), 0.1, torch.tensor([0.0, 2.0, 0.0]))
    alone = GaussianMixture(normal(3)[1:2], 0.1)
    torch.testing.assert_close(ours.log_prob(normal(9, 1)), alone.log_prob(normal(9, 1)))
    torch.testing.assert_close(ours.score(normal(9, 1)), alone.score(normal(9, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_points_have_no_densities(kind):
    ours, *_ = mixture(kind)
    assert ours.log_prob(torch.zeros(0, 2)).shape == (0,)
    assert ours.score(torch.zeros(0, 2), torch.zeros(0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((torch.zeros(0, 2), 1.0), "at least one component; got none"),
        ((torch.zeros(3, 3), 1.0), r"means must be .* shape \(3, 3\)"),
        (
            (torch.zeros(3, 2), torch.ones(2)),
            r"covariances must have the shape \(\), \(3,\) or \(3, 2, 2\).* not \(2,\)",
        ),
        ((torch.zeros(3, 2), 1.0, torch.ones(2)), r"weights must have the shape \(3,\).* not \(2,\)"),
        ((torch.full((3, 2), math.nan), 1.0), "means must be finite; 6 of 6 are not"),
        ((torch.zeros(3, 2), math.inf), "covariances must be finite; 1 of 1"),
        ((torch.zeros(3, 2), 1.0, torch.tensor([1, math.nan, 1])), "weights must be finite; 1 of 3"),
        ((torch.zeros(3, 2), 1.0, torch.tensor([1.0, -1, 1])), "weights must be 0 or more.* is -1"),
        ((torch.zeros(3, 2), 1.0, torch.zeros(3)), "not all 0; the smallest is 0"),
        ((torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.0, 1.0]]])), "symmetric"),
        ((torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]])), "no negative variance; the smallest is -1"),
        ((torch.zeros(1, 2), -0.5), "no negative variance; the smallest is -0.5"),
    ],
)
def test_what_is_no_mixture_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        GaussianMixture(*arguments)


@pytest.mark.parametrize(
    ("x", "blur", "reason"),
    [
        (torch.zeros(3), 0.0, r"x must be .* shape \(3,\)"),
        (torch.zeros(3, 2), torch.ones(2), r"blur must have the shape \(\) or \(3,\), not \(2,\)"),
        (torch.zeros(3, 2), -1.0, "blur is a variance, 0 or more; got -1"),
        (torch.zeros(3, 2), math.nan, "got nan"),
    ],
)
def test_what_has_no_density_is_refused(x, blur, reason):
    ours, *_ = mixture("one each")
    for call in (ours.log_prob, ours.score):
        with pytest.raises(ValueError, match=reason):
            call(x, blur)


def test_a_sample_of_none_is_refused():
    with pytest.raises(ValueError, match="n must be 1 or more, not 0"):
        mixture("full")[0].sample(0)


# --- known densities


@pytest.mark.parametrize(("name", "count"), [("gaussian", 1), ("eight_gaussians", 8)])
def test_the_shapes_densities_are_those_of_their_points(name, count):
    """No point is in a place of too little density, and the mean is the entropy; both within 5 standard errors."""
    data = dataset(name)
    exact = exact_mixture(data)
    assert len(exact.means) == count
    held_out, own = exact.log_prob(data.held_out), exact.log_prob(exact.sample(len(data.held_out)))
    assert abs(held_out.mean() - own.mean()) < 5 * math.hypot(held_out.std(), own.std()) / math.sqrt(len(own))
    # a wrong scale or shift would show as a gain: no other mixture of the kind has a greater mean
    for other in (
        GaussianMixture(exact.means, 1.1 * exact.covariances),
        GaussianMixture(exact.means, exact.covariances / 1.1),
        GaussianMixture(exact.means + 0.02, exact.covariances),
        GaussianMixture(exact.means - 0.02, exact.covariances),
    ):
        assert other.log_prob(data.held_out).mean() < held_out.mean()
    assert held_out.min() > own.min() - 5


def test_of_other_data_no_density_is_known():
    with pytest.raises(ValueError, match="of 'moons' no density is known that is a mixture; of gaussian, eight"):
        exact_mixture(dataset("moons"))
