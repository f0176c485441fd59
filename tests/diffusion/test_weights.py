"""Timesteps are drawn, and errors are weighed, as the papers say whose names the choices have."""

import importlib
import math
import re

import pytest
import torch
from benchmarks.edm import loss_weight, preconditioning
from scipy.stats import norm
from small_runs import DATA, RECIPE, network

from lab_utils.diffusion import Recipe, Schedule, Trainer, flow, linear, places, sigmoid
from lab_utils.diffusion import weights as module
from lab_utils.diffusion.couplings import COUPLINGS
from lab_utils.diffusion.targets import LEARNT
from lab_utils.diffusion.weights import ERRORS, TIMESTEPS, WEIGHTS, loss_weights, timestep_probabilities

SCHEDULES = {"flow": flow(), "sigmoid": sigmoid(), "linear": linear()}


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


# --- how t is drawn


def test_logit_normal_is_what_it_is_called(schedule):
    """The share of draws below a place s of the straight path is that of N(0, 1) below logit s, whatever the schedule.

    What the schedule doesn't reach is left out: with the linear one, whose first s is 0.01, and last 0.994, 1e-6.
    """
    s, chances = places(schedule), timestep_probabilities(schedule, "logit-normal")
    for place in (0.1, 0.3, 0.5, 0.8):
        share = float(chances[s < place].sum())
        assert share == pytest.approx(norm.cdf(math.log(place / (1 - place))), abs=0.005)


def test_log_normal_is_that_of_edm(schedule):
    """ln(σ/α), with their data's standard deviation of 1/2 in the place of our 1: mean −1.2 and deviation 1.2."""
    theirs = 0.5 / schedule.snr.sqrt()
    chances = timestep_probabilities(schedule, "log-normal")
    for level in (-3.0, -1.2, 0.0, 1.0):
        assert float(chances[theirs.log() < level].sum()) == pytest.approx(norm.cdf((level + 1.2) / 1.2), abs=0.006)


@pytest.mark.parametrize("how", ["logit-normal", "log-normal"])
def test_a_schedule_far_out_in_the_tail_has_chances_or_says_why_not(how):
    chances = timestep_probabilities(linear(1e-7, 1e-6, 5), how)
    assert float(chances.sum()) == pytest.approx(1)
    assert chances.isfinite().all()
    for none in (linear(0.3, 0.3, 1), Schedule([1e-15, 1e-15])):  # the second lies 12 deviations away and more
        if none.timesteps > 1 and how == "log-normal":
            continue
        with pytest.raises(ValueError, match=f"timesteps can't be drawn as '{how}'"):
            timestep_probabilities(none, how)


# --- what the loss is of


@pytest.mark.parametrize("target", ["v", "velocity"])
@pytest.mark.parametrize("error", ["uniform", *ERRORS])
def test_the_loss_that_is_told_is_that_of_the_answer_it_is_named_after(error, target):
    """Each is the mean squared error of x, v or ε − x: from the definitions, whatever the network itself predicts."""
    schedule = flow(50)
    trainer = Trainer(network(schedule, target=target), DATA.train, Recipe(weights=error))
    with torch.no_grad():
        trainer.network.leave.bias.copy_(torch.tensor([0.7, -0.2]))
    batch = torch.arange(60)
    generator = torch.Generator().manual_seed(0)
    t = torch.randint(0, 50, (60,), generator=generator)
    epsilon, x = torch.randn(60, 2, generator=generator).double(), DATA.train[batch].double()
    kept = schedule.alphas_cumprod[t].unsqueeze(1)
    signal, noise = kept.sqrt(), (1 - kept).sqrt()
    x_t = signal * x + noise * epsilon
    with torch.no_grad():
        said = trainer.network.double().epsilon(x_t, t)
    trainer.network.float()
    guess = (x_t - noise * said) / signal
    found = {"uniform": said, "x": guess, "v": signal * said - noise * guess, "velocity": said - guess}[error]
    right = {"uniform": epsilon, "x": x, "v": signal * epsilon - noise * x, "velocity": epsilon - x}[error]
    loss = float(trainer._errors(batch, 0).detach().mean())
    assert loss == pytest.approx(float((found - right).square().mean()), rel=1e-4)


def test_flow_matching_is_a_recipe():
    """A network that says (0.7, −0.2) everywhere has the loss E|(0.7, −0.2) − (ε − x)|² (Lipman et al. 2023, eq. 9)."""
    schedule = flow(50)
    trainer = Trainer(network(schedule, target="velocity"), DATA.train, Recipe(weights="velocity"))
    said = torch.tensor([0.7, -0.2])
    with torch.no_grad():
        trainer.network.leave.bias.copy_(said)
    batch = torch.arange(100)
    loss = float(trainer._errors(batch, 0).detach().mean())
    generator = torch.Generator().manual_seed(0)
    torch.randint(0, 50, (100,), generator=generator)
    epsilon = torch.randn(100, 2, generator=generator)
    assert loss == pytest.approx(float((said - (epsilon - DATA.train[batch])).square().mean()), rel=1e-4)


def test_a_weight_of_a_target_is_the_same_as_a_factor_of_the_error_of_another():
    """The "SNR + 1" of Salimans & Ho 2022 turns the loss of x into that of v."""
    for schedule in SCHEDULES.values():
        ratio = loss_weights(schedule, "v") / loss_weights(schedule, "x")
        torch.testing.assert_close(ratio, schedule.snr + 1, rtol=1e-9, atol=0)
        torch.testing.assert_close(loss_weights(schedule, "v"), 1 / schedule.alphas_cumprod, rtol=1e-12, atol=0)


@pytest.mark.parametrize("how", WEIGHTS)
def test_weights_are_finite_and_positive_at_both_ends(how, schedule):
    found = loss_weights(schedule, how)
    assert found.shape == (1000,)
    assert found.isfinite().all()
    assert (found >= 0).all()
    assert found.float().isfinite().all()


@pytest.mark.parametrize("how", ERRORS)
def test_where_float32_can_not_tell_an_error_the_weight_is_refused(how):
    schedule = Schedule([0.5, 1 - 1e-12])
    with pytest.raises(
        ValueError, match=f"can't be that of '{how}' .* ᾱ is 5e-13, .* take a schedule that leaves more"
    ):
        Trainer(network(schedule), DATA.train, Recipe(weights=how))
    Trainer(network(schedule), DATA.train, RECIPE)


# --- the papers


def test_edm_s_preconditioning_and_weight_are_target_and_loss_v(schedule):
    """Karras et al. 2022, table 1: x̄ = x_t/√ᾱ, D = c_skip x̄ + c_out F and F = −v, for data of unit variance."""
    sigma = 1 / schedule.snr.sqrt()
    skip, out, into, _ = preconditioning(sigma / 2)  # their data have the standard deviation 1/2
    kept = schedule.alphas_cumprod
    torch.testing.assert_close(skip, kept, rtol=1e-9, atol=0)
    torch.testing.assert_close(2 * out, (1 - kept).sqrt(), rtol=1e-9, atol=0)
    torch.testing.assert_close(into / 2, kept.sqrt(), rtol=1e-9, atol=0)
    torch.testing.assert_close(loss_weight(sigma / 2) * out.square(), torch.ones_like(kept), rtol=1e-9, atol=0)
    x, epsilon = torch.randn(2, 1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signal, noise = kept.sqrt().unsqueeze(1), (1 - kept).sqrt().unsqueeze(1)
    noised, v = x + noise / signal * epsilon, signal * epsilon - noise * x
    found = skip.unsqueeze(1) * noised - 2 * out.unsqueeze(1) * v
    torch.testing.assert_close(found, x, rtol=0, atol=1e-9)


def test_the_table_of_papers_names_what_there_is():
    rows = [line.strip("| ").split(" | ") for line in module.__doc__.splitlines() if line.startswith("| ")]
    head, _, *papers = rows if rows[1][0].startswith("-") else [rows[0], None, *rows[1:]]
    assert head == ["recipe", "schedule", "target", "timesteps", "weights", "sampler"]
    assert len(papers) == 7
    diffusion = importlib.import_module("lab_utils.diffusion")
    for _, of_schedule, target, timesteps, weights, sampler in papers:
        for name in re.findall(r"`(\w+)`", of_schedule + sampler):
            assert hasattr(diffusion, name), name
        assert {*re.findall(r'"(.+?)"', target)} <= {*LEARNT}
        assert {*re.findall(r'"(.+?)"', timesteps)} <= {*TIMESTEPS}
        assert {*re.findall(r'"(.+?)"', weights)} <= {*WEIGHTS}
    assert re.findall(r'coupling="(.+?)"', module.__doc__) == [COUPLINGS[1]]
