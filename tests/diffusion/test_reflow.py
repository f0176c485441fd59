"""Reflow on a Gaussian, where all is known: its pairs, one step of an exact field, and what a second round gains."""

import pytest
import torch

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.reflow import pairs
from lab_utils.diffusion.samplers import sde_dpm_solver
from lab_utils.diffusion.sampling import initial_noise, sample
from lab_utils.diffusion.schedules import flow
from lab_utils.diffusion.straight import euler
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.nats import Truth

SPREAD = 0.5
DATA = SPREAD * torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.3, -0.2])


def spread_of(points):
    return float(points.std(dim=0).mean())


def test_one_step_of_an_exact_velocity_gives_the_mean_of_the_data():
    """Whatever the noise: from there all data are equally near, and the mean is the best guess."""
    best = BestDenoiser(DATA, flow())
    points = sample(best, 500, sampler=euler(flow(), 1))
    torch.testing.assert_close(points, DATA.mean(dim=0).expand(500, 2), atol=2e-3, rtol=0)


def test_the_pairs_are_the_models_own_points_and_where_they_came_from():
    best = BestDenoiser(DATA, flow())
    points, noises = pairs(best, 300, steps=20, seed=7)
    assert torch.equal(noises, initial_noise(300, 7))
    assert spread_of(points) == pytest.approx(spread_of(DATA), rel=0.15)
    together = torch.corrcoef(torch.stack([points[:, 0], noises[:, 0]]))[0, 1]
    assert together > 0.9, "near noise leads to near points"


def trained(points, noises=None):
    network = DiffusionGenerator(schedule=flow(), target="velocity", width=32, depth=1, input_frequencies=4)
    recipe = Recipe(epochs=60, batch_size=200, weights="velocity", ema_decay=0.99, warmup=20, checkpoints=())
    trainer = Trainer(network, points, recipe, noises=noises)
    for _ in trainer:
        pass
    return trainer.averaged


def test_after_reflow_one_step_draws_the_spread_that_one_step_of_the_first_model_loses():
    best = BestDenoiser(DATA, flow())
    points, noises = pairs(best, 2000, steps=20)
    first, second = trained(points), trained(points, noises)
    spread = [spread_of(sample(model, 2000, seed=1, sampler=euler(flow(), 1))) for model in (first, second)]
    assert spread[0] < 0.2 * spread_of(points)
    assert spread[1] == pytest.approx(spread_of(points), rel=0.1)
    # and it is the same map: near where the exact flow leads the same noise
    exact, _ = pairs(best, 2000, steps=20, seed=1)
    one_step = sample(second, 2000, seed=1, sampler=euler(flow(), 1))
    assert float((one_step - exact).square().sum(dim=1).mean()) < 0.1 * float(points.var())


def test_a_network_of_given_pairs_says_so_and_is_not_held_against_independent_ones():
    points, noises = DATA[:200], initial_noise(200)
    network = trained(points, noises)
    assert network.coupling == "given pairs"
    with pytest.raises(ValueError, match="coupling 'given pairs'"):
        Truth(BestDenoiser(DATA, flow()), DATA, draws=500).excess(network)
    with pytest.raises(ValueError, match="adds noise"):
        sample(network, 10, sampler=sde_dpm_solver(flow(), 10))


@pytest.mark.parametrize(
    ("noises", "recipe", "says"),
    [
        (initial_noise(199), Recipe(), "199"),
        (initial_noise(200).double(), Recipe(), "float32"),
        (initial_noise(200), Recipe(coupling="optimal transport"), "the recipe pairs none"),
        (initial_noise(200), Recipe(tail=0.1), "tail = 0.1"),
        (initial_noise(200), Recipe(fixed_noises=2), "fixed_noises = 2"),
    ],
)
def test_noises_that_can_be_no_pairs_are_refused(noises, recipe, says):
    network = DiffusionGenerator(schedule=flow(), width=8, depth=1)
    with pytest.raises(ValueError, match=says):
        Trainer(network, DATA[:200], recipe, noises=noises)
