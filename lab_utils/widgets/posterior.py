"""Choose a timestep, and see what the best denoiser knows there of where a noised point comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils import figures
from lab_utils.diffusion.schedules import Schedule
from lab_utils.exact.posterior import know
from lab_utils.figures.display import quick_png
from lab_utils.points.dataset import Dataset
from lab_utils.widgets.base import LAYOUT, STYLE, Picture, explorer, under


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
        floor: the smallest expected loss in equal stretches of 0 … T−1.
        extent: left, right, bottom, top of the map.
        labels: of its axes.
        number: of the training point that is noised first.
    """
    text: dict[str, Any] = {"style": STYLE, "layout": LAYOUT}
    time = widgets.IntSlider(
        3 * schedule.timesteps // 10, min=0, max=schedule.timesteps - 1, description="timestep t", **text
    )
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
