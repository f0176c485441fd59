"""Flow matching: what no target can get below, and the paths from noise to data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils.figures.style import BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, STYLE, WIDTH, Extent, canvas, fix, scatter

TARGETS: dict[str, dict[str, Any]] = {  # name → its look in every figure
    "x": {"color": GREEN, "linestyle": "-."},
    "epsilon": {"color": ORANGE, "linestyle": "--"},
    "v": {"color": BLUE, "linestyle": "-"},
    "velocity": {"color": PURPLE, "linestyle": (0, (1, 1))},
}
SYMBOLS = {"x": "x", "epsilon": "ε", "v": "v", "velocity": "velocity u"}


@mpl.rc_context(STYLE)
def floors(places: ArrayLike, by_target: Mapping[str, ArrayLike]) -> Figure:
    """The floor of each target along the straight path, from the data on the left to the noise on the right.

    Args:
        places: (k,) of the path, s from 0 to 1.
        by_target: a key of `diffusion.TARGETS` → (k,) the smallest expected loss there.
    """
    figure, (axes,) = canvas(1, 1, 3.4)
    for name, values in by_target.items():
        found = np.asarray(values)
        axes.plot(np.asarray(places), found, label=f"{SYMBOLS[name]}: {found.mean():.2f} in the mean", **TARGETS[name])
    axes.set(xlabel="place on the path, s: data on the left, noise on the right", ylabel="floor of the loss")
    axes.set(xlim=(0, 1), ylim=(0, None))
    figure.legend(loc="outside right upper", title="the loss is the error of")
    return figure


@mpl.rc_context(STYLE)
def paths(
    panels: Mapping[str, ArrayLike], behind: ArrayLike, extent: Extent, *, columns: int = 3, color: str = BLUE
) -> Figure:
    """Paths from noise, a ring, to data, a dot, side by side.

    Args:
        panels: title → (k, n, 2), where n points are at k places.
        behind: (m, 2) real points.
        extent: left, right, bottom, top.
        columns: panels in a row.
        color: of the paths.
    """
    rows = -(-len(panels) // columns)
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = canvas(
        rows, columns, 0.35 + rows * (0.3 + WIDTH * 0.95 / columns * shape), sharex=True, sharey=True
    )
    for number, (axes, (title, path)) in enumerate(zip(all_axes, panels.items(), strict=False)):
        ways = np.asarray(path).swapaxes(0, 1)
        scatter(axes, behind, 0.6, PALE, 1)
        axes.add_collection(LineCollection([*ways], colors=color, linewidths=0.7, alpha=0.7, zorder=2))
        x, y = ways[:, 0].T
        axes.scatter(x, y, s=9, facecolors="none", edgecolors=GREY, linewidths=0.6, zorder=3)
        scatter(axes, ways[:, -1], 9, ORANGE, 4)
        axes.set_title(title, fontsize=9)
        axes.grid(visible=False)
        fix(axes, extent)
        if number % columns == 0:
            axes.set_ylabel("y")
        if number >= len(panels) - columns:
            axes.set_xlabel("x")
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    return figure
