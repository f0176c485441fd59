"""What everything that denoises promises."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lab_utils.diffusion.schedules import Schedule


class Denoiser(Protocol):
    """What `sample` runs: a trained network and the exact best denoiser alike."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose noise it predicts."""
        ...

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in `x_t`: (n, 2) floats and (), (1,) or (n,) int64 → (n, 2)."""
        ...
