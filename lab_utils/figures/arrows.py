"""The field of arrows that a denoiser draws in the plane of the noised points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.diffusion.denoiser import Denoiser
from lab_utils.figures.style import BLUE, GREY, ORANGE, PALE, STYLE, WIDTH, canvas, fix, scatter

REACH = 2.5  # normalised units: the figure shows as much on each side of the middle
ACROSS = 15  # arrows in a row
PART = 0.4  # of the way is drawn, so that arrows don't end on each other


@torch.inference_mode()
def _arrows(denoiser: Denoiser, x_t: Tensor, t: int) -> Tensor:
    """(n, 2) points → from each to √ᾱ times the data that are seen in it: σ² times the score."""
    return -((1 - denoiser.schedule.alphas_cumprod[t]) ** 0.5).float() * denoiser.epsilon(x_t, torch.tensor(t))


@mpl.rc_context(STYLE)
def arrows(
    denoisers: Mapping[str, Denoiser], points: Tensor, timesteps: Sequence[int], *, titles: Mapping[str, Sequence[str]]
) -> Figure:
    """Where denoisers see the data, from everywhere in the plane: a row for a denoiser, a column for a timestep.

    An arrow goes from a noised point x_t towards √ᾱ E[x | x_t], a part of the way. It is σ² = 1 − ᾱ times the score
    there (Tweedie's formula; Efron 2011, eq. 1.4).

    Args:
        denoisers: name → denoiser, all of one schedule.
        points: (N, 2) the data in normalised units, drawn where they are at t without noise, at √ᾱ x.
        timesteps: of the columns.
        titles: denoiser → what is written over each of its panels.
    """
    steps = torch.linspace(-REACH, REACH, ACROSS)
    grid = torch.cartesian_prod(steps, steps)
    side = WIDTH / len(timesteps)
    figure, all_axes = canvas(len(denoisers), len(timesteps), len(denoisers) * (side + 0.3), sharex=True, sharey=True)
    for row, ((name, denoiser), color) in enumerate(zip(denoisers.items(), (ORANGE, BLUE, GREY), strict=False)):
        for column, t in enumerate(timesteps):
            axes = all_axes[row * len(timesteps) + column]
            shrunk = float(denoiser.schedule.alphas_cumprod[t]) ** 0.5
            scatter(axes, shrunk * points, 1.0, PALE, 1)
            (x, y), (u, v) = grid.T.numpy(), PART * _arrows(denoiser, grid, t).T.numpy()
            # shaft and head in inches, as wide in each panel
            axes.quiver(x, y, u, v, color=color, angles="xy", scale_units="xy", scale=1, width=0.006, zorder=2)
            axes.set_title(titles[name][column], fontsize=9)
            fix(axes, (-REACH, REACH, -REACH, REACH))
            axes.grid(visible=False)
            axes.set(xticks=np.arange(-2, 3, 2), yticks=np.arange(-2, 3, 2))
        all_axes[row * len(timesteps)].set_ylabel(name)
    return figure
