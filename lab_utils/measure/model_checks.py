"""Checks of a noise-predicting model that see what a check of its output's shape cannot.

Each takes a model, or anything else that keeps the contract of `denoiser`, asks it a question whose answer is known,
and gives a `Finding`: the number that was measured, and whether it is what a sound model gives. None needs a trained
model.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab_utils import SEED
from lab_utils.diffusion.denoiser import Denoiser

POINTS = 256  # how many points each question is asked about


@dataclass(frozen=True)
class Finding:
    """What a check measured, NaN where there is nothing to measure, and whether it is as it should be."""

    value: float
    sound: bool

    def __str__(self) -> str:
        if math.isnan(self.value) and self.sound:
            return "–"
        return f"{'✓' if self.sound else '✗'} {self.value:.3g}"


def _questions(seed: int = SEED) -> Tensor:
    return torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(seed))


def shape(model: Denoiser) -> Finding:
    """The original report's check: ten points, one timestep; the result has the shape of the input. 1 if it has."""
    x = _questions()[:10]
    same = model.epsilon(x, torch.tensor([model.schedule.timesteps // 2])).shape == x.shape
    return Finding(float(same), same)


@torch.no_grad()
def time(model: Denoiser) -> Finding:
    """Largest change of the answer between the first and the last timestep; more than 0 in a sound model."""
    x = _questions()
    last = model.schedule.timesteps - 1
    change = float((model.epsilon(x, torch.tensor(last)) - model.epsilon(x, torch.tensor(0))).abs().max())
    return Finding(change, change > 1e-3)


@torch.no_grad()
def axes(model: Denoiser) -> Finding:
    """Largest change of the answer when a point moves by 1 along one axis; of the two axes, the smaller change."""
    x, t = _questions(), torch.tensor(model.schedule.timesteps - 1)
    changes = [float((model.epsilon(x + step, t) - model.epsilon(x, t)).abs().max()) for step in torch.eye(2)]
    return Finding(min(changes), min(changes) > 1e-3)


@torch.no_grad()
def rows(model: Denoiser) -> Finding:
    """Largest change of a point's answer when the other points of the batch are others; 0 in a sound model."""
    x, t = _questions(), torch.tensor(model.schedule.timesteps // 2)
    others = torch.cat([x[:1], _questions(SEED + 1)[1:]])
    change = float((model.epsilon(x, t)[0] - model.epsilon(others, t)[0]).abs().max())
    return Finding(change, change < 1e-5)


def gradients(model: Denoiser) -> Finding:
    """Share of the weight tensors that move in three steps of training; all of them in a sound model.

    Three, because a last layer that begins at 0 passes no gradient on before it has moved itself. A denoiser without
    weights can't be asked.
    """
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        return Finding(math.nan, True)
    learner = copy.deepcopy(model).requires_grad_(True)
    before = [weight.detach().clone() for weight in learner.parameters()]
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-3)
    for seed in range(3):
        x, epsilon = _questions(seed), _questions(seed + 3)
        t = torch.linspace(0, model.schedule.timesteps - 1, POINTS).long()
        loss = (learner.epsilon(x, t) - epsilon).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pairs = zip(before, learner.parameters(), strict=True)
    moved = [not torch.equal(old, new) for old, new in pairs]
    share = sum(moved) / len(moved)
    return Finding(share, all(moved))


@torch.no_grad()
def noise(model: Denoiser) -> Finding:
    """Root mean square error of the noise found in pure noise, at the last timestep.

    There x_T is all noise, ε itself, so a sound model gives its input back and the error is near 0; an answer of 0 has
    the error 1.
    """
    x = _questions()
    error = float((model.epsilon(x, torch.tensor(model.schedule.timesteps - 1)) - x).square().mean().sqrt())
    return Finding(error, error < 0.1)


CHECKS: dict[str, Callable[[Denoiser], Finding]] = {
    "shape": shape,
    "time": time,
    "axes": axes,
    "rows": rows,
    "gradients": gradients,
    "noise": noise,
}
