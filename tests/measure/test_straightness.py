"""Energy, straightness and cost of a flow are exact where that is known, and add up."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from lab_utils.diffusion import denoiser, flow, heun, initial_noise, sample, sigmoid
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.measure import along_paths, flow_paths, straightness

MEAN = torch.tensor([[0.5, -0.3]], dtype=torch.float64)
VARIANCES = (1.4, 0.3)
GAUSSIAN = GaussianMixture(MEAN, torch.diag(torch.tensor(VARIANCES, dtype=torch.float64)).unsqueeze(0))


def exact_energy():
    """∫ E|u|² ds: along each axis z is (1−s) μ + √V z_1 with V = (1−s)² λ + s², so u is −μ + V′/2√V · z_1."""

    def density(s, variance):
        v, slope = (1 - s) ** 2 * variance + s**2, 2 * s - 2 * (1 - s) * variance
        return slope**2 / (4 * v)

    return sum(quad(density, 0, 1, args=(variance,))[0] for variance in VARIANCES) + float(MEAN.square().sum())


def exact_cost():
    """From z_1 to μ + √λ z_1 along each axis."""
    return sum((math.sqrt(variance) - 1) ** 2 for variance in VARIANCES) + float(MEAN.square().sum())


@pytest.mark.parametrize("make", [flow, sigmoid])
def test_of_a_gaussian_all_numbers_are_the_closed_forms(make):
    """4000 points: the standard error of a mean of squares is 2 % of its part that isn't the mean's."""
    found = straightness(BestDenoiser(GAUSSIAN, make()), 4000)
    assert found.energy == pytest.approx(exact_energy(), rel=0.05)
    assert found.cost == pytest.approx(exact_cost(), rel=0.05)
    assert found.straightness == pytest.approx(exact_energy() - exact_cost(), rel=0.05)
    # a Gaussian's flow is linear and monotone, and so the optimal transport of its ends
    assert found.cost == pytest.approx(found.cheapest, rel=1e-4)


@pytest.mark.parametrize("make", [flow, sigmoid])
def test_paths_lead_from_noise_to_samples_by_way_of_the_closed_form(make):
    """Of a Gaussian, along each axis z − (1−s) μ grows as √((1−s)² λ + s²)."""
    model = BestDenoiser(GAUSSIAN, make())
    z, s = flow_paths(model, 30, seed=4)
    assert z.shape == (101, 30, 2)
    assert float(s[-1]) == 0
    assert (s.diff() < 0).all()
    torch.testing.assert_close(z[-1].float(), sample(model, 30, seed=4, sampler=heun(model.schedule, 100)))
    kept = model.schedule.alphas_cumprod[-1]
    begin = initial_noise(30, seed=4).double() / (kept.sqrt() + (1 - kept).sqrt())
    torch.testing.assert_close(z[0], begin)
    place = s.view(-1, 1, 1)
    width = ((1 - place) ** 2 * torch.tensor(VARIANCES) + place**2).sqrt()
    exact = (1 - place) * MEAN + (begin - (1 - s[0]) * MEAN) * width / width[0]
    torch.testing.assert_close(z, exact, rtol=0, atol=2e-3)


def test_the_error_of_the_steps_falls_with_their_square():
    model = BestDenoiser(GAUSSIAN, flow(4000))
    fine = straightness(model, 50, steps=800).energy
    errors = [abs(straightness(model, 50, steps=steps).energy - fine) for steps in (12, 25, 50, 100)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 27 * errors[3]


def test_of_a_single_point_all_paths_are_straight_and_the_flow_is_optimal_transport():
    found = straightness(BestDenoiser(torch.tensor([[0.3, 0.4]]), flow()), 500)
    assert found.straightness == pytest.approx(0, abs=1e-5)
    assert found.energy == pytest.approx(found.cost, rel=1e-5)
    assert found.cost == pytest.approx(found.cheapest, rel=1e-4)


def test_a_turning_flow_costs_more_than_the_cheapest_transport():
    """With u = 2 times z turned by 90° each point goes round by 2 radians, which costs an energy of 4 |z|²."""

    def turning(x_t, t):
        kept = schedule.alphas_cumprod[t].unsqueeze(1)
        z = x_t / (kept.sqrt() + (1 - kept).sqrt())
        return 2 * torch.stack([-z[:, 1], z[:, 0]], dim=1)

    schedule = flow()
    found = straightness(denoiser(turning, schedule, predicts="velocity"), 1000)
    size = found.energy / 4
    assert size == pytest.approx(2, rel=0.1)
    assert found.cost == pytest.approx(size * (2 * math.sin(1)) ** 2, rel=2e-3)
    assert found.straightness == pytest.approx(found.energy - found.cost, rel=1e-6)
    assert found.cheapest < 0.05 * found.cost
    assert str(found).startswith(f"path energy {found.energy:.3f} = straightness {found.straightness:.3f} + cost")


@given(
    numbers=st.lists(st.floats(-3, 3), min_size=16, max_size=16),
    places=st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    falling=st.booleans(),
)
def test_energy_is_straightness_and_cost_whatever_the_paths(numbers, places, falling):
    z, s = torch.tensor(numbers, dtype=torch.float64).reshape(4, 2, 2), torch.tensor([0.0, *places]).cumsum(0)
    energy, bend, cost = along_paths(z, -s if falling else s)
    assert energy == pytest.approx(bend + cost, rel=1e-6, abs=1e-6)
    assert bend >= 0
    assert cost == pytest.approx(float((z[-1] - z[0]).square().sum(1).mean()) / float(s[-1]), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("z", "s", "reason"),
    [
        (torch.zeros(3, 4, 2), torch.tensor([0.0, 0.5]), r"got \(3, 4, 2\) and \(2,\)"),
        (torch.zeros(1, 4, 2), torch.tensor([0.0]), "k ≥ 2"),
        (torch.zeros(2, 0, 2), torch.tensor([0.0, 1.0]), "n ≥ 1"),
        (torch.zeros(2, 4, 3), torch.tensor([0.0, 1.0]), r"\(k, n, 2\)"),
        (torch.zeros(3, 4, 2), torch.tensor([0.0, 0.5, 0.5]), "must fall or rise, each step by more than 0"),
        (torch.zeros(3, 4, 2), torch.tensor([0.0, 0.5, 0.2]), "must fall or rise"),
    ],
)
def test_what_are_no_paths_is_refused(z, s, reason):
    with pytest.raises(ValueError, match=reason):
        along_paths(z, s)


def test_what_has_no_straightness_is_refused():
    model = BestDenoiser(GAUSSIAN, flow(50))
    for n, steps, reason in (
        (10_001, 20, "10,000 points at most; got 10,001"),
        (0, 20, "n must be"),
        (10, 51, "up to 50"),
    ):
        with pytest.raises(ValueError, match=reason):
            straightness(model, n, steps=steps)
    with pytest.raises(TypeError, match="is no denoiser"):
        straightness("a model")
