"""Go through the reverse steps, the schedules side by side."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
from numpy.typing import ArrayLike

from lab_utils import figures
from lab_utils.figures.display import quick_png
from lab_utils.widgets.base import LAYOUT, STYLE, Picture, explorer


def reverse_view(
    paths: Mapping[str, Mapping[int, ArrayLike]], step: int, extent: figures.Extent, labels: tuple[str, str]
) -> bytes:
    """What the reverse explorer shows: a PNG picture of each schedule's points after `step` reverse steps.

    Args:
        paths: schedule → number of reverse steps done → (n, 2) points in the data's own units.
        step: one of these numbers.
        extent: left, right, bottom, top.
        labels: of the axes.
    """
    total = max(next(iter(paths.values())))
    panels = {name: path[step] for name, path in paths.items()}
    return quick_png(figures.reverse_frame(panels, step, total, extent, labels))


def reverse_explorer(
    paths: Mapping[str, Mapping[int, ArrayLike]], extent: figures.Extent, labels: tuple[str, str] = ("x", "y")
) -> widgets.VBox:
    """A slider through the reverse steps of several schedules at once. Arguments as for `reverse_view`."""
    steps = list(next(iter(paths.values())))
    slider = widgets.SelectionSlider(
        options=steps, value=steps[0], description="reverse steps done", style=STYLE, layout=LAYOUT
    )
    picture = Picture()

    def show() -> None:
        alt = f"the points of {' and '.join(paths)} after {slider.value} reverse steps"
        picture.show(reverse_view(paths, slider.value, extent, labels), alt)

    return explorer([slider], show, [picture])
