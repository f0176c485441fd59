"""The recipe of Karras et al. 2022, "Elucidating the design space of diffusion-based generative models" (EDM).

All numbers are those of its table 1 and of its training on CIFAR-10 (its appendix F.2), in which the data have a
standard deviation of 1/2, so the points are brought to that. Left out: the rise of the learning rate over the first ten
million images, in which no race here would get anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.contender import Contender, ResidualNetwork, Settings

SIGMA_DATA = 0.5
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
P_MEAN, P_STD = -1.2, 1.2
S_CHURN, S_MIN, S_MAX, S_NOISE = 30.0, 0.01, 1.0, 1.007  # table 5: of CIFAR-10, without labels
HALF_LIFE, RAMP_UP = 500_000, 0.05  # of the moving average: points, and the most as a share of the points so far


def preconditioning(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of table 1, each of the shape of `sigma`.

    D(x) = c_skip x + c_out F(c_in x, c_noise): what enters F, and what it is to answer, have unit variance.
    """
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), total.rsqrt(), sigma.log() / 4


def loss_weight(sigma: Tensor) -> Tensor:
    """λ(σ) of table 1: 1 / c_out², which makes the loss at each σ that of F."""
    return (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2


def sigmas(steps: int) -> Tensor:
    """(steps + 1,) float64: the noise levels of the sampler, eq. 5, with the 0 at their end."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (SIGMA_MAX ** (1 / RHO) + ramp * (SIGMA_MIN ** (1 / RHO) - SIGMA_MAX ** (1 / RHO))) ** RHO
    return torch.cat([levels, torch.zeros(1, dtype=torch.float64)])


class Denoiser(torch.nn.Module):
    """D of eq. 7 around the residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ResidualNetwork(time_scale=25.0)  # c_noise runs over a few units, as a coordinate does

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(n, 2) noised points and their σ, (n, 1) or (1, 1) → the data points seen in them, (n, 2)."""
        c_skip, c_out, c_in, c_noise = preconditioning(sigma)
        return c_skip * x + c_out * self.network(c_in * x, c_noise.squeeze(1))


def heun(denoiser: Denoiser, x: Tensor, levels: Tensor, churn: float = 0.0) -> Tensor:
    """Algorithm 2: a step of Heun's method between each two levels, of Euler's to 0; without churn it is algorithm 1.

    Args:
        denoiser: D(x, σ).
        x: (n, 2) points at the first level.
        levels: (steps + 1,) σ, falling; see `sigmas`. The last may be 0.
        churn: S_churn: how much noise is added anew before each step, and taken away by it.
    """
    gamma = min(churn / (len(levels) - 1), math.sqrt(2) - 1)
    for now, after in pairwise(levels.float()):
        if gamma and S_MIN <= now <= S_MAX:
            more = now * (1 + gamma)
            x = x + S_NOISE * (more**2 - now**2).sqrt() * torch.randn_like(x)
            now = more
        slope = (x - denoiser(x, now.view(1, 1))) / now
        ahead = x + (after - now) * slope
        if after > 0:
            slope = (slope + (ahead - denoiser(ahead, after.view(1, 1))) / after) / 2
        x = x + (after - now) * slope
    return x


class EDM(Contender):
    """EDM with the network that diffusers is given, too."""

    name = "EDM recipe"
    defaults: ClassVar[Settings] = {"learning_rate": 1e-3, "batch_size": 512}
    samplers: ClassVar[dict[str, int]] = {  # a step asks twice, the last one once
        **{f"Heun, {steps} steps": 2 * steps - 1 for steps in (32, 5, 9, 18)},
        **{f"Heun with churn, {steps} steps": 2 * steps - 1 for steps in (9, 18, 32, 128)},
    }
    evaluations = 2

    def build(self) -> None:
        self.denoiser = Denoiser()
        self.optimiser = torch.optim.Adam(self.denoiser.parameters(), lr=self.settings["learning_rate"])
        self.average = AveragedModel(self.denoiser, multi_avg_fn=self._average)

    def _average(self, averaged: list[Tensor], current: list[Tensor], steps: Tensor) -> None:
        seen = max(self.points, self.settings["batch_size"])
        decay = 0.5 ** (self.settings["batch_size"] / min(HALF_LIFE, RAMP_UP * seen))
        get_ema_multi_avg_fn(decay)(averaged, current, steps)

    def turns(self) -> Iterator[int]:
        for points in self.batches():
            y = SIGMA_DATA * points
            sigma = (P_MEAN + P_STD * torch.randn(len(y), 1)).exp()
            errors = (self.denoiser(y + sigma * torch.randn_like(y), sigma) - y).square()
            self.descend(self.optimiser, (loss_weight(sigma) * errors).mean())
            self.average.update_parameters(self.denoiser)
            yield len(y)

    def draw(self, n: int, sampler: str, steps: int | None) -> Tensor:
        levels = sigmas((self.samplers[sampler] + 1) // 2)
        x = SIGMA_MAX * torch.randn(n, 2)
        churn = S_CHURN if "churn" in sampler else 0.0
        return heun(self.average.module, x, levels if steps is None else levels[: steps + 1], churn) / SIGMA_DATA

    def ask(self, n: int) -> Callable[[float], Tensor]:
        return lambda way: self.average.module(torch.zeros(n, 2), torch.ones(1, 1))
