"""Far points are noised up to three times as much, and their targets are the best denoiser's answers."""

import pytest
import torch

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.diffusion.tail import FARTHEST, Tail
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.points.dataset import dataset

DATA = dataset("checkerboard", train=200)


@pytest.mark.parametrize("schedule", [linear(), sigmoid()], ids=["linear", "sigmoid"])
def test_the_targets_are_the_best_denoisers_answers(schedule):
    """At every place and timestep, in float32 and so but for rounding, which small noise makes larger."""
    generator = torch.Generator().manual_seed(0)
    t = torch.randint(0, 1000, (3000,), generator=generator)
    kept = schedule.alphas_cumprod[t].unsqueeze(1)
    signal, noise = kept.sqrt().float(), (1 - kept).sqrt().float()
    spread = 1 + 3 * torch.rand(3000, 1, generator=generator)
    x = DATA.train[torch.randint(0, 200, (3000,), generator=generator)]
    x_t = signal * x + noise * spread * torch.randn(3000, 2, generator=generator)
    found = Tail(DATA.train).epsilon(x_t, signal, noise)
    # where two points are equally likely the answer turns from one to the other within a rounding error
    off = (found - BestDenoiser(DATA.train, schedule).epsilon(x_t, t)).abs().amax(dim=1)
    assert float((off > 1e-2).double().mean()) < 0.01
    assert float(off.median()) < 1e-5


def test_the_noise_is_one_to_three_times_as_large():
    spread = Tail(DATA.train).spread(10_000, torch.Generator().manual_seed(0))
    assert spread.shape == (10_000, 1)
    assert 1 <= float(spread.min()) < 1.01
    assert FARTHEST - 0.01 < float(spread.max()) <= FARTHEST
    assert float(spread.mean()) == pytest.approx(2, abs=0.03)


def trained(**change):
    network = DiffusionGenerator(schedule=sigmoid(), width=32, depth=2, input_frequencies=8, max_frequency=16.0)
    trainer = Trainer(network, DATA.train, Recipe(epochs=300, batch_size=100, warmup=20, ema_decay=0.99, **change))
    losses = [*trainer]
    return trainer.averaged, losses


def test_a_network_that_was_asked_there_knows_far_points_better_and_near_ones_as_well():
    (usual, losses), (asked, told) = trained(), trained(tail=0.1)
    best = BestDenoiser(DATA.train, sigmoid())
    generator = torch.Generator().manual_seed(1)
    t = torch.randint(0, 900, (4000,), generator=generator)
    kept = sigmoid().alphas_cumprod[t].unsqueeze(1)
    x = DATA.train[torch.randint(0, 200, (4000,), generator=generator)]
    noise = torch.randn(4000, 2, generator=generator)

    def error(network, times):
        x_t = (kept.sqrt() * x + (1 - kept).sqrt() * times * noise).float()
        with torch.inference_mode():
            return float((network.epsilon(x_t, t) - best.epsilon(x_t, t)).square().mean())

    assert error(asked, 3.0) < 0.8 * error(usual, 3.0)
    assert error(asked, 1.0) < 1.15 * error(usual, 1.0)
    # far points have larger errors; the loss that is told is without them
    assert sum(told[-50:]) / 50 == pytest.approx(sum(losses[-50:]) / 50, rel=0.05)


def test_of_a_small_batch_some_point_is_an_ordinary_one():
    """Its loss is told, however large the share of the others."""
    network = DiffusionGenerator(schedule=sigmoid(), width=4, depth=1, input_frequencies=2)
    (told,) = Trainer(network, DATA.train[:5], Recipe(epochs=1, batch_size=2, tail=0.9))
    assert told >= 0  # NaN would be the mean of none


@pytest.mark.parametrize("tail", [-0.1, 1.0, float("nan"), "all", None])
def test_what_is_no_share_is_refused(tail):
    with pytest.raises(ValueError, match=r"tail must lie in \[0, 1\), a share of each batch; got"):
        Recipe(tail=tail)
