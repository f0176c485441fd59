"""Networks with one mistake each that people really make, and the check that says whether a model is right by shape.

Notebook 2 teaches with the same five.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.diffusion.denoiser import Denoiser
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear
from lab_utils.measure.model_checks import CHECKS


class TimeIgnored(DiffusionGenerator):
    """The timestep was lost: every point is taken for hardly noised."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The answer for t = 0, whatever `t` is."""
        return super().forward(x_t, torch.zeros_like(t))


class AxisIgnored(DiffusionGenerator):
    """A slip of an index: the second coordinate never enters."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The answer for points on the first axis."""
        return super().forward(x_t * torch.tensor([1.0, 0.0]), t)


class RowsMixed(DiffusionGenerator):
    """A mean over the wrong dimension: a point's answer depends on the other points of the batch."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The answer less the mean of the batch's answers."""
        answer = super().forward(x_t, t)
        return answer - answer.mean(dim=0)


class DeadGradients(DiffusionGenerator):
    """A bad start: the first layer sits where SiLU is flat, and never learns."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        nn.init.constant_(self.enter.bias, -1000.0)


class FrozenAtZero(DiffusionGenerator):
    """A mask that was never lifted: whatever comes in, 0 comes out."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Zeros."""
        return 0 * super().forward(x_t, t)


BROKEN = (TimeIgnored, AxisIgnored, RowsMixed, DeadGradients, FrozenAtZero)


def failed(model: Denoiser) -> list[str]:
    """The names of the checks that a model fails."""
    return [name for name, check in CHECKS.items() if not check(model).sound]


def shape_shows_that_a_model_is_right() -> tuple[str, str, str]:
    """Verdict, the number that decides, and the rest: it does if no broken network passes the check of the shape.

    The control is a sound network.
    """
    found = {kind.__name__: failed(kind(schedule=linear())) for kind in BROKEN}
    passing = [name for name, checks in found.items() if "shape" not in checks]
    seen = [name for name in passing if found[name]]
    sound = failed(DiffusionGenerator(schedule=linear()))
    return (
        "false" if passing else "not refuted",
        f"{len(passing)} of {len(found)} broken networks pass that check; a sound one, the control, "
        f"{'fails' if 'shape' in sound else 'passes'}",
        f"Of the broken networks that pass it, {len(seen)} fail one of the other {len(CHECKS) - 1} checks. "
        f"The sound one fails {len(sound)} of all {len(CHECKS)}.",
    )
