"""What the tasks ask about: points, noise, a stand-in for a network, a short schedule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab_utils.diffusion.schedules import Schedule, check_timesteps, linear

Network = Callable[[Tensor, Tensor], Tensor]

MANY = 200_000  # copies of two points: enough to tell one kind of noise from another
NO_VARIANCE = 1e-12  # what is left of equal numbers when their mean is taken away
ONE = torch.ones(1, dtype=torch.float64)  # ᾱ of the data, before the first of a row of ᾱ


def short() -> Schedule:
    """A schedule of few steps, each of which tells; a new one at each call, so that nobody can spoil it for others."""
    return linear(timesteps=20, beta_start=0.05, beta_end=0.4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same for the same seed."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def generator(seed: int = 1) -> torch.Generator:
    """A new generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def number(value: float) -> Tensor:
    """A number as a float64 tensor of the shape (), which `math.sqrt`, `torch.sqrt` and `** 0.5` all take."""
    return torch.tensor(value, dtype=torch.float64)


def copies() -> Tensor:
    """(MANY, 2) points: copies of one, then as many of another."""
    return torch.tensor([[2.0, -1.0], [0.5, 3.0]]).double().repeat_interleave(MANY // 2, dim=0)


def moments(points: Tensor) -> dict[str, Tensor]:
    """What `copies` have become: the mean of each point's, and variance and kurtosis around these means."""
    halves = points.reshape(2, -1, 2)
    means = halves.mean(dim=1)
    centred = (halves - means.unsqueeze(1)).flatten(0, 1)
    variance = centred.square().mean(dim=0)
    kurtosis = centred.pow(4).mean(dim=0) / variance.square().clamp(min=NO_VARIANCE)
    return {
        **{
            f"the mean of {axis} at the {which} point": means[point, coordinate]
            for point, which in enumerate(("first", "second"))
            for coordinate, axis in enumerate("xy")
        },
        **{f"the variance of {axis}": variance[coordinate] for coordinate, axis in enumerate("xy")},
        **{
            f"the kurtosis of {axis} (3 for normal noise, 1.8 for uniform noise)": kurtosis[coordinate]
            for coordinate, axis in enumerate("xy")
        },
    }


class StandIn(nn.Module):
    """Answers like a network: differently at each point and timestep, and it refuses what a network refuses.

    Its one weight is there to be trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(number(1.3))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(n, 2) points and (), (1,) or (n,) int64 timesteps → (n, 2)."""
        check_time(t, len(x_t))
        return (self.weight * x_t + 0.1 * t.reshape(-1, 1)).sin() + 0.2 * x_t


def check_time(t: Tensor, points: int) -> None:
    """Raise a `ScheduleError` unless a network would take this `t`. One beyond the last passes: that is a mistake."""
    check_timesteps(t, 1_000_000, points)
