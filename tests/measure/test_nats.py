"""The excess in nats is what theory says, where the KL divergence is known, and bounds it where it is not."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.special import rel_entr

from lab_utils.diffusion.samplers import ancestral
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import Schedule, cosine, linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.measure.losses import mean_and_error, noise, squared
from lab_utils.measure.nats import STRETCHES, Nats, Truth

SCHEDULES = {"linear": linear(), "sigmoid": sigmoid(), "cosine": cosine()}
ROUND = GaussianMixture(torch.zeros(1, 2), 1.0)
THREE = GaussianMixture(
    torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.2]]),
    torch.tensor([0.05, 0.1, 0.2]),
    torch.tensor([0.5, 0.3, 0.2]),
)
OTHER_THREE = GaussianMixture(
    torch.tensor([[1.0, 0.1], [-1.1, 0.4], [0.0, -1.0]]),
    torch.tensor([0.08, 0.1, 0.1]),
    torch.tensor([0.3, 0.3, 0.4]),
)


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


class Changed:
    """The best denoiser with its answers changed."""

    def __init__(self, best, change):
        self.best, self.change, self.schedule = best, change, best.schedule

    def epsilon(self, x_t, t):
        return self.change(self.best.epsilon(x_t, t), x_t)


def longer(mixture, schedule, factor):
    return Changed(BestDenoiser(mixture, schedule), lambda epsilon, _: factor * epsilon)


def divergence(p, q, blur):
    """KL(p ‖ q) of two mixtures, both with noise of this variance, by quadrature."""
    reach = 6 * math.sqrt(1 + blur)
    axis = torch.linspace(-reach, reach, 501, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_p, log_q = p.log_prob(grid, blur), q.log_prob(grid, blur)
    return float((log_p.exp() * (log_p - log_q)).sum() * (axis[1] - axis[0]) ** 2)


def between_gaussians(true, other):
    """KL between two round Gaussians in the plane with one mean and these variances."""
    return true / other - 1 - math.log(true / other)


# --- Gaussians: everything in closed form


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_of_answers_that_are_too_long_it_is_its_closed_form(schedule, factor):
    """For N(0, I) the best answer is σ x_t, with E|σ x_t|² = 2σ², and ∫ σ² dλ = log of the first ᾱ over the last."""
    truth = Truth(BestDenoiser(ROUND, schedule), ROUND.sample(100_000), draws=100_000)
    found = truth.excess(longer(ROUND, schedule, factor))
    kept = schedule.alphas_cumprod
    assert found.total == pytest.approx((factor - 1) ** 2 * math.log(kept[0] / kept[-1]), abs=4 * found.error)
    assert found.error < 0.01 * found.total


def variance_at_the_end(schedule, factor):
    """Of what a stochastic sampler with infinitely many steps makes of N(0, I), if answers are too long by a factor f.

    Seen from the data, the variance V of its points solves dV/dw = 2f V/w − 1, and w is the true one, 1 + e^−λ.
    """
    first, last = (float(1 / schedule.alphas_cumprod[t]) for t in (0, -1))
    gain = 2 * factor - 1
    return (last - last / gain) * (first / last) ** (2 * factor) + first / gain


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_it_bounds_the_divergence_of_what_the_stochastic_sampler_makes(schedule, factor):
    found = Truth(BestDenoiser(ROUND, schedule), ROUND.sample(20_000)).excess(longer(ROUND, schedule, factor))
    made = variance_at_the_end(schedule, factor)
    assert found.total - 3 * found.error > between_gaussians(float(1 / schedule.alphas_cumprod[0]), made) > 0.05


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_the_labs_own_sampler_is_such_a_sampler_but_for_the_length_of_its_steps(factor):
    """Its variance, step by step: each makes a·x − b·f·σ·x + c·z of x."""
    schedule = linear()
    way, variance = ancestral(schedule), 1.0
    for t, (a, b, c, _) in zip(way.timesteps, way.coefficients.tolist(), strict=True):
        variance = (a - b * factor * math.sqrt(1 - schedule.alphas_cumprod[t])) ** 2 * variance + c**2
    assert variance == pytest.approx(variance_at_the_end(schedule, factor), rel=0.02)


def test_of_another_gaussians_best_denoiser_it_is_the_divergence_itself(schedule):
    shifted = GaussianMixture(torch.tensor([[0.3, -0.2]]), 0.3)
    found = Truth(BestDenoiser(ROUND, schedule), ROUND.sample(100_000), draws=100_000).excess(
        BestDenoiser(shifted, schedule)
    )

    def exact(true):
        return between_gaussians(true, true - 0.7) + (0.3**2 + 0.2**2) / (2 * (true - 0.7))

    first, last = (float(1 / schedule.alphas_cumprod[t]) for t in (0, -1))
    assert exact(last) < 1e-5
    assert found.total == pytest.approx(exact(first) - exact(last), abs=4 * found.error)
    assert found.error < 0.02 * found.total


# --- mixtures


def test_of_another_mixtures_best_denoiser_it_is_the_divergence_by_quadrature(schedule):
    found = Truth(BestDenoiser(THREE, schedule), THREE.sample(100_000), draws=100_000).excess(
        BestDenoiser(OTHER_THREE, schedule)
    )
    first, last = (float(1 / schedule.snr[t]) for t in (0, -1))
    exact = divergence(THREE, OTHER_THREE, first) - divergence(THREE, OTHER_THREE, last)
    assert found.total == pytest.approx(exact, abs=4 * found.error)
    assert found.error < 0.02 * found.total


def test_a_stretch_of_log_snr_holds_what_the_divergence_falls_by_there():
    """So the figure along log-SNR shows where the nats are lost, not only how many."""
    steps = torch.linspace(9, -9, 1001, dtype=torch.float64).sigmoid()
    schedule = Schedule(1 - torch.cat([steps[:1], steps[1:] / steps[:-1]]))
    truth = Truth(BestDenoiser(THREE, schedule), THREE.sample(100_000), draws=100_000)
    found = truth.excess(BestDenoiser(OTHER_THREE, schedule))
    length = 18 / STRETCHES
    assert float(found.density.sum() * length) == pytest.approx(found.total)
    assert found.log_snr.tolist() == pytest.approx([9 - (i + 0.5) * length for i in range(STRETCHES)])
    edges = [divergence(THREE, OTHER_THREE, math.exp(-9 + i * length)) for i in range(5, 46, 10)]
    for i, (before, after) in enumerate(pairwise(edges)):
        part = float(found.density[5 + 10 * i : 15 + 10 * i].sum() * length)
        assert part == pytest.approx(before - after, abs=0.006)
    assert max(edges) - min(edges) > 0.2


@pytest.mark.parametrize(
    "change",
    [
        lambda epsilon, x: epsilon + 0.15 * torch.sin(3 * x),
        lambda epsilon, x: 0.85 * epsilon,
        lambda epsilon, x: epsilon + 0.1 * x.flip(1),
    ],
    ids=["waves", "shorter", "turned"],
)
def test_it_bounds_the_divergence_of_the_samplers_points_over_cells(change):
    """Answers that are the best for no distribution. Points that are counted in cells differ less than the points do.

    A point's cell is that of the nearest of 40 places. Both sets are drawn: where nothing differs, the divergence of
    the counts is some 40 / 10 000.
    """
    size, places = 10_000, THREE.sample(40, seed=2)
    best = BestDenoiser(THREE, linear(5e-4, 0.1, 200))
    found = Truth(best, THREE.sample(50_000)).excess(Changed(best, change))
    sets = THREE.sample(size, seed=1), sample(Changed(best, change), size).double()
    real, made = (torch.cdist(points, places).argmin(dim=1).bincount(minlength=40) / size for points in sets)
    over_cells = float(rel_entr(real.numpy(), made.numpy()).sum())
    assert over_cells > 5 * 40 / size  # so the sampler's points do differ
    assert found.total - 3 * found.error > over_cells


# --- its own properties


def test_of_the_best_denoiser_it_is_0_and_start_is_no_less_than_what_sampling_from_pure_noise_costs(schedule):
    best = BestDenoiser(THREE, schedule)
    found = Truth(best, THREE.sample(10_000), draws=1000).excess(best)
    assert (found.total, found.error) == (0, 0)
    last = schedule.alphas_cumprod[-1]
    noised = GaussianMixture(
        last.sqrt() * THREE.means, last * THREE.covariances + (1 - last) * torch.eye(2), THREE.weights
    )
    assert 0 < divergence(noised, ROUND, 0.0) <= found.start < 1e-4


def test_the_standard_error_is_the_spread_over_seeds():
    """Of 30 seeds the spread is known to 13 %, so a factor of 1.6 is more than 3 times that."""
    points, schedule = THREE.sample(10_000), sigmoid()
    found = [
        Truth(BestDenoiser(THREE, schedule), points, draws=2000, seed=seed).excess(BestDenoiser(OTHER_THREE, schedule))
        for seed in range(30)
    ]
    totals = torch.tensor([one.total for one in found])
    errors = torch.tensor([one.error for one in found])
    assert 1 / 1.6 < float(totals.std() / errors.mean()) < 1.6
    again = Truth(BestDenoiser(THREE, schedule), points, draws=2000, seed=3).excess(BestDenoiser(OTHER_THREE, schedule))
    assert (again.total, again.density.tolist()) == (found[3].total, found[3].density.tolist())


def test_schedules_agree_where_they_go_equally_far():
    """What no loss can: one wrong denoiser, seen on two schedules between the same first and last ᾱ, loses the same."""
    curve = cosine(300).alphas_cumprod[3:290]
    even = torch.linspace(float((curve[0] / (1 - curve[0])).log()), float((curve[-1] / (1 - curve[-1])).log()), 200)
    found, losses = [], []
    for kept in (curve, even.double().sigmoid()):
        schedule = Schedule(1 - torch.cat([kept[:1], kept[1:] / kept[:-1]]))
        best, wrong = BestDenoiser(THREE, schedule), BestDenoiser(OTHER_THREE, schedule)
        found.append(Truth(best, THREE.sample(100_000), draws=50_000).excess(wrong))
        noised = noise(THREE.sample(20_000).float(), schedule, draws=20_000)
        answered = (one.epsilon(noised.x_t, noised.t) for one in (best, wrong))
        losses.append(mean_and_error(squared(*answered))[0])
    a, b = found
    assert a.total == pytest.approx(b.total, abs=4 * math.hypot(a.error, b.error))
    assert not 0.8 < losses[0] / losses[1] < 1.25  # the excess of the loss depends on the schedule


def test_a_part_of_log_snr_holds_what_the_divergence_falls_by_there_on_any_schedule(schedule):
    truth = Truth(BestDenoiser(THREE, schedule), THREE.sample(100_000), draws=50_000, log_snr=(-2.0, 6.0))
    found = truth.excess(BestDenoiser(OTHER_THREE, schedule))
    exact = divergence(THREE, OTHER_THREE, math.exp(-6)) - divergence(THREE, OTHER_THREE, math.exp(2))
    assert found.total == pytest.approx(exact, abs=4 * found.error)
    assert found.error < 0.02 * found.total
    assert float(found.log_snr[0]) == pytest.approx(6 - 8 / STRETCHES / 2)
    for beyond in ((-2.0, 12.0), (-30.0, 0.0), (3.0, 3.0)):
        with pytest.raises(ValueError, match=r"log_snr must rise within -\d.* … \d.*, the schedule's; got"):
            Truth(BestDenoiser(THREE, schedule), THREE.sample(100), draws=100, log_snr=beyond)


@pytest.mark.parametrize(
    ("total", "error", "text"),
    [
        (0.82149, 0.0204, "0.82 ± 0.02"),
        (12.3456, 1.9, "12 ± 2"),
        (0.00123, 0.00004, "0.00123 ± 0.00004"),
        (math.inf, math.inf, "inf ± inf"),
    ],
)
def test_a_text_has_as_many_digits_as_the_error_allows(total, error, text):
    assert str(Nats(total, error, 0.0, torch.zeros(50), torch.zeros(50))) == f"{text} nats"


# --- refusals


def test_another_schedule_is_refused_with_the_remedy():
    truth = Truth(BestDenoiser(THREE, linear()), THREE.sample(100), draws=100)
    with pytest.raises(ValueError, match=r"noised by linear .* denoiser has sigmoid .* `denoiser\.schedule`"):
        truth.excess(BestDenoiser(THREE, sigmoid()))


@pytest.mark.parametrize("draws", [0, 49, 120, 100.0, True])
def test_draws_that_cannot_be_shared_out_are_refused(draws):
    with pytest.raises(ValueError, match="draws must be a multiple of 50"):
        Truth(BestDenoiser(THREE, linear()), THREE.sample(100), draws=draws)


def test_points_that_are_none_and_a_schedule_without_a_length_are_refused():
    with pytest.raises(ValueError, match="none given"):
        Truth(BestDenoiser(THREE, linear()), torch.zeros(0, 2))
    with pytest.raises(ValueError, match="must be finite; 1 are not"):
        Truth(BestDenoiser(THREE, linear()), torch.tensor([[0.0, math.nan], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="two timesteps or more"):
        Truth(BestDenoiser(THREE, linear(timesteps=1)), THREE.sample(100))
