"""The tasks of notebook 2: what a network sees, and how to examine it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lab_utils.exercises.questions import Network, check_time, draw
from lab_utils.exercises.task import Task


def _angles(x: Tensor, omega: Tensor) -> Tensor:
    return x.unsqueeze(-1) * omega  # (n, 2, k)


def _waves(x: Tensor, omega: Tensor) -> Tensor:
    angles = _angles(x, omega).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


waves = Task(
    "coordinates as waves",
    _waves,
    lambda: [
        (draw(7, 2), torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)),
        (draw(5, 2, seed=1), torch.tensor([0.3, 2.0], dtype=torch.float64)),
    ],
    {
        "cosines first: put the sines before them.": lambda x, w: _waves(x, w).roll(2 * len(w), dims=1),
        "sines and cosines are interleaved, a sine and its cosine side by side: first come all sines, then all "
        "cosines.": lambda x, w: torch.stack([_angles(x, w).sin(), _angles(x, w).cos()], dim=-1).flatten(1),
        "sines and cosines are interleaved, both of the first coordinate before those of the second: first come all "
        "sines, then all cosines.": lambda x, w: torch.cat([_angles(x, w).sin(), _angles(x, w).cos()], dim=2).flatten(
            1
        ),
        "divided by ω: it is a frequency, not a wavelength.": lambda x, w: _waves(x, 1 / w),
        "ω in turns: it is in radians per unit already, without 2π.": lambda x, w: _waves(x, 2 * math.pi * w),
        "ω in half turns: it is in radians per unit already, without π.": lambda x, w: _waves(x, math.pi * w),
        "the order is another: first all waves of the first coordinate, then those of the second.": lambda x, w: (
            torch.cat([f((x.unsqueeze(1) * w.unsqueeze(1)).flatten(1)) for f in (torch.sin, torch.cos)], dim=1)
        ),
        "sines twice: the second half are cosines.": lambda x, w: _angles(x, w).sin().flatten(1).repeat(1, 2),
        "cosines twice: the first half are sines.": lambda x, w: _angles(x, w).cos().flatten(1).repeat(1, 2),
    },
)


def _change(model: Network, x: Tensor, t: int) -> Tensor:
    """Of the model's answer, from t = 0."""
    return model(x, torch.tensor([t])) - model(x, torch.tensor([0]))


def _largest(model: Network, x: Tensor, t: int) -> float:
    return float(_change(model, x, t).abs().max())


def _time_matters(model: Network, x: Tensor, timesteps: int) -> float:
    return _largest(model, x, timesteps - 1)


def _wave(strength: float) -> Network:
    """A model whose answer swings with the time, between the first timestep and the last more widely than at them."""

    def model(x: Tensor, t: Tensor) -> Tensor:
        check_time(t, len(x))
        return x * (0.2 + strength * (0.3 * t.reshape(-1, 1)).sin())

    return model


def _examined() -> Tensor:
    """(20, 2) points. The largest coordinate is the last point's y, the next one the first point's."""
    return torch.cat([torch.tensor([[0.5, -2.5]]), draw(18, 2).clamp(-2, 2), torch.tensor([[-0.3, -3.0]])])


def _somewhere(take: Callable[[Tensor], Tensor]) -> Callable[[Network, Tensor, int], float]:
    return lambda model, x, timesteps: float(take(_change(model, x, timesteps - 1)))


time_matters = Task(
    "does time matter?",
    _time_matters,
    lambda: [
        (model, _examined(), timesteps)
        for model, timesteps in ((_wave(1.0), 10), (_wave(-1.0), 10), (_wave(1.0), 8), (_wave(0.0), 10))
    ],
    {
        "differences of both signs cancel in a mean: take their absolute values, and the largest of them.": (
            _somewhere(torch.mean)
        ),
        "the largest difference, but without its sign taken away: one of −5 is a difference, too.": (
            _somewhere(torch.max)
        ),
        "that is the mean difference; one point that knows the time would be lost in it. Take the largest.": (
            _somewhere(lambda change: change.abs().mean())
        ),
        "that is the sum of all differences; take the largest.": _somewhere(lambda change: change.abs().sum()),
        "that is how far the answer moves, both coordinates together; take the largest change of a coordinate.": (
            _somewhere(lambda change: change.norm(dim=1).max())
        ),
        "that is the largest square; take the absolute value.": _somewhere(lambda change: change.square().max()),
        "only some of the points are asked about: the largest change may be at another one.": (
            lambda m, x, n: _largest(m, x[:-1], n - 1)
        ),
        "only the first coordinate is looked at: the largest change may be in the second.": (
            _somewhere(lambda change: change[:, 0].abs().max())
        ),
        "the last timestep is T − 1; T itself is one too far.": lambda m, x, n: _largest(m, x, n),
        "that is the change from t = 0 to t = 1; the last timestep is T − 1.": lambda m, x, n: _largest(m, x, 1),
        "that is the change to t = 999, which is the last timestep only if there are 1000: it is T − 1.": (
            lambda m, x, n: _largest(m, x, 999)
        ),
        "that is the largest change to any timestep; asked is the one to the last.": (
            lambda m, x, n: max(_largest(m, x, t) for t in range(n))
        ),
        "that is the largest answer at the last timestep; take away what it was at t = 0.": (
            lambda m, x, n: float(m(x, torch.tensor([n - 1])).abs().max())
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
        "a half is what a fresh network reads, which answers √(1 − ᾱ) x_t, not 0.": lambda: 0.5,
        "that is the mean of |ε|; the error is squared.": lambda: math.sqrt(2 / math.pi),
    },
    well="the noise's own variance",
    tolerance=1e-3,
)
