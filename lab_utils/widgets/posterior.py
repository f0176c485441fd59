"""Choose a timestep, and see what the best denoiser knows there: which points of the data a noised one may come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from lab_utils import SEED, figures
from lab_utils.display import quick_png
from lab_utils.optimal import BestDenoiser
from lab_utils.points import Dataset
from lab_utils.schedules import Schedule
from lab_utils.widgets.base import LAYOUT, STYLE, Picture, explorer, under


@dataclass(frozen=True)
class Knowledge:
    """What can be known of one noised point; everything in the data's own units.

    Attributes:
        t: the timestep.
        noise: how wide the noise is there, seen from the data: its standard deviation along each axis.
        origin: (2,) where the point comes from.
        seen: (2,) the noised point x_t / √ᾱ.
        guess: (2,) the best guess, the mean of the posterior.
        chances: (N,) of each of the data's points to be the origin.
    """

    t: int
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
            f"t = {self.t}: noise of {self.noise:.3g}; {self.candidates:.3g} points of the data may be behind it; "
            f"the best guess misses by {miss:.3g}"
        )


def know(data: Dataset, schedule: Schedule, number: int, t: int) -> Knowledge:
    """What the best denoiser of the training points knows when their point `number` is noised to `t`."""
    origin = data.train[number : number + 1]
    noise = torch.randn(1, 2, generator=torch.Generator().manual_seed(SEED))
    best = BestDenoiser(data.train, schedule)
    seen = schedule.q_sample(origin, torch.tensor(t), noise).double() / schedule.alphas_cumprod[t].sqrt()
    chances = best.mixture.posterior(seen, float(1 / schedule.snr[t]))
    restore = data.units.restore
    return Knowledge(
        t=t,
        noise=float((1 / schedule.snr[t]).sqrt() * data.units.scale),
        origin=restore(origin)[0],
        seen=restore(seen)[0],
        guess=restore(chances @ data.train.double())[0],
        chances=chances[0],
    )


def posterior_explorer(
    data: Dataset,
    schedule: Schedule,
    floor: ArrayLike,
    extent: figures.Extent,
    labels: tuple[str, str] = ("x", "y"),
    number: int = 0,
) -> widgets.VBox:
    """Click on the curve at a timestep, or on the map at a point; or choose both with sliders.

    Args:
        data: whose training points are all that there is.
        schedule: the noise schedule.
        floor: the smallest possible loss in equal stretches of 0 … T−1.
        extent: left, right, bottom, top of the map.
        labels: of its axes.
        number: of the training point that is noised first.
    """
    text: dict[str, Any] = {"style": STYLE, "layout": LAYOUT}
    time = widgets.IntSlider(300, min=0, max=schedule.timesteps - 1, description="timestep t", **text)
    which = widgets.IntSlider(number, min=0, max=len(data.train) - 1, description="point", **text)
    picture, words = Picture(clickable=True), widgets.HTML()
    points = data.units.restore(data.train)
    drawn: list[Figure] = []

    def show() -> None:
        known = know(data, schedule, which.value, time.value)
        drawn[:] = [figures.posterior(known, points, floor, extent, labels)]
        picture.show(quick_png(drawn[0]), f"where the best denoiser thinks a point comes from. {known.text}")
        words.value = known.text

    def clicked(change: Mapping[str, list[float]]) -> None:
        curve, chart = drawn[0].axes[:2]
        at_curve, at_map = under(curve, change["new"]), under(chart, change["new"])
        if at_curve is not None:
            time.value = round(at_curve[0])  # the slider keeps it within its ends
        elif at_map is not None:
            place = torch.tensor(at_map, dtype=torch.float64)
            which.value = int((points - place).norm(dim=1).argmin())

    picture.observe(clicked, "at")
    return explorer([time, which], show, [picture, words])
