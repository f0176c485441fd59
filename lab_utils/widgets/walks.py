"""Pick a point of noise, and follow it back to the data on several ways at once."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils import figures
from lab_utils.figures.display import quick_png
from lab_utils.widgets.base import LAYOUT, STYLE, Picture, explorer, under


def walk_explorer(
    walks: Mapping[str, ArrayLike], behind: ArrayLike, extent: figures.Extent, labels: tuple[str, str] = ("x", "y")
) -> widgets.VBox:
    """Click on a point of noise, or choose it with the slider, and see the ways that it takes.

    Args:
        walks: way → (steps + 1, n, 2) points in the data's own units, in the order of the steps; the first the same.
        behind: (m, 2) real points, drawn in grey.
        extent: left, right, bottom, top.
        labels: of the axes.
    """
    ways = {name: np.asarray(walk) for name, walk in walks.items()}
    starts = next(iter(ways.values()))[0]
    slider = widgets.IntSlider(0, min=0, max=len(starts) - 1, description="point of noise", style=STYLE, layout=LAYOUT)
    picture = Picture(clickable=True)
    drawn: list[Figure] = []

    def show() -> None:
        chosen = {name: walk[:, slider.value] for name, walk in ways.items()}
        drawn[:] = [figures.walks(chosen, starts, behind, extent, labels)]
        alt = f"the ways of point {slider.value} from noise to data: {', '.join(walks)}"
        picture.show(quick_png(drawn[0]), alt)

    def clicked(change: Mapping[str, list[float]]) -> None:
        place = under(drawn[0].axes[0], change["new"])
        if place is not None:
            slider.value = int(np.linalg.norm(starts - np.array(place), axis=1).argmin())

    picture.observe(clicked, "at")
    return explorer([slider], show, [picture])
