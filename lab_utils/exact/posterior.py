"""What can be known of a noised point: which points of the data it may come from, and the best guess."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.diffusion.schedules import Schedule
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.points.dataset import Dataset


@dataclass(frozen=True)
class Knowledge:
    """What can be known of one noised point; everything in the data's own units.

    Attributes:
        t: the timestep …
        timesteps: … of so many, T.
        noise: how wide the noise is there, seen from the data: its standard deviation along each axis.
        origin: (2,) where the point comes from.
        seen: (2,) the noised point x_t / √ᾱ.
        guess: (2,) the best guess, the mean of the posterior.
        chances: (N,) of each of the data's points to be the origin.
    """

    t: int
    timesteps: int
    noise: float
    origin: Tensor
    seen: Tensor
    guess: Tensor
    chances: Tensor

    @property
    def candidates(self) -> float:
        """How many points may be the origin: e to the entropy of the chances, which is k for k that are alike."""
        return float(torch.special.entr(self.chances).sum().exp())

    @property
    def text(self) -> str:
        """The same in words."""
        miss = float((self.guess - self.origin).norm())
        return (
            f"t = {self.t}: noise of {self.noise:.3g}; {self.candidates:,.0f} points of the data may be behind it; "
            f"the best guess misses by {miss:.3g}"
        )


def know(data: Dataset, schedule: Schedule, number: int, t: int) -> Knowledge:
    """What the best denoiser of the training points knows when their point `number` is noised to `t`."""
    origin = data.train[number : number + 1]
    noise = torch.randn(1, 2, generator=torch.Generator().manual_seed(SEED))
    seen = schedule.q_sample(origin, torch.tensor(t), noise).double() / schedule.alphas_cumprod[t].sqrt()
    chances = GaussianMixture(data.train, 0.0).posterior(seen, float(1 / schedule.snr[t]))
    restore = data.units.restore
    return Knowledge(
        t=t,
        timesteps=schedule.timesteps,
        noise=float((1 / schedule.snr[t]).sqrt() * data.units.scale),
        origin=restore(origin)[0],
        seen=restore(seen)[0],
        guess=restore(chances @ data.train.double())[0],
        chances=chances[0],
    )
