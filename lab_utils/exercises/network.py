"""The tasks of notebook 2: what a network sees, and how to examine it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.exercises.questions import Network, draw, network
from lab_utils.exercises.task import Task


def _waves(x: Tensor, omega: Tensor) -> Tensor:
    angles = (x.unsqueeze(-1) * omega).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


waves = Task(
    "coordinates as waves",
    _waves,
    lambda: [(draw(7, 2), torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64))],
    {
        "cosines first: put the sines before them.": lambda x, w: _waves(x, w).roll(x.shape[1] * len(w), dims=1),
        "divided by ω: it is a frequency, not a wavelength.": lambda x, w: _waves(x, 1 / w),
        "ω in turns: it is in radians per unit already, without 2π.": lambda x, w: _waves(x, 2 * math.pi * w),
        "the order is another: first all waves of the first coordinate, then those of the second.": lambda x, w: (
            torch.cat([f((x.unsqueeze(1) * w.unsqueeze(1)).flatten(1)) for f in (torch.sin, torch.cos)], dim=1)
        ),
    },
)


def _time_matters(model: Network, x: Tensor, timesteps: int) -> float:
    return float((model(x, torch.tensor([timesteps - 1])) - model(x, torch.tensor([0]))).abs().max())


def _opposite(x: Tensor, t: Tensor) -> Tensor:
    return -network(x, t)


def _timeless(x: Tensor, t: Tensor) -> Tensor:
    return network(x, torch.tensor([3]))


time_matters = Task(
    "does time matter?",
    _time_matters,
    lambda: [(each, draw(20, 2), 10) for each in (network, _opposite, _timeless)],
    {
        "differences of both signs cancel in a mean: take their absolute values, and the largest of them.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).mean())
        ),
        "the largest difference, but without its sign taken away: one of −5 is a difference, too.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).max())
        ),
        "that is the mean difference; one point that knows the time would be lost in it. Take the largest.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).abs().mean())
        ),
        "the last timestep is T − 1; T itself is one too far.": (
            lambda m, x, n: float((m(x, torch.tensor([n])) - m(x, torch.tensor([0]))).abs().max())
        ),
    },
    well="a network that doesn't know the time is found out",
)


def _silent_loss() -> float:
    return 1.0


silent_loss = Task(
    "the loss of a network that always answers 0",
    _silent_loss,
    lambda: [()],
    {
        "it would be 0 if the noise were 0. The error is the noise itself, squared: what is the mean square of a "
        "standard normal number?": lambda: 0.0,
        "that is the sum over both coordinates; the loss is their mean.": lambda: 2.0,
        "a half is what a fresh network reads, which answers √(1 − ᾱ) x, not 0.": lambda: 0.5,
    },
    well="the noise's own variance",
    tolerance=1e-3,
)
