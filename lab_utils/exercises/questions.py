"""What the tasks ask about: points, noise, a stand-in for a network, a short schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import linear

Network = Callable[[Tensor, Tensor], Tensor]

SHORT = linear(timesteps=20, beta_start=0.05, beta_end=0.4)  # few steps, and each of them tells
MANY = 200_000  # copies of one point: enough to tell one kind of noise from another


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same for the same seed."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def generator(seed: int = 1) -> torch.Generator:
    """A new generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def moments(points: Tensor) -> Tensor:
    """Mean, variance and fourth moment along each axis, the last over the variance²: 3 if normal, 1.8 if even."""
    centred = points - points.mean(dim=0)
    variance = centred.square().mean(dim=0)
    return torch.cat([points.mean(dim=0), variance, centred.pow(4).mean(dim=0) / variance.square()])


def network(x_t: Tensor, t: Tensor) -> Tensor:
    """Answers like a network: differently at each point and timestep."""
    time = torch.as_tensor(t).reshape(-1, 1)
    return (1.3 * x_t + 0.1 * time).sin() + 0.2 * x_t
