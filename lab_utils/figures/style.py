"""The one style of all figures, and what they share.

Colours are Okabe and Ito's, which people with any kind of colour vision tell apart; a schedule has the same colour in
every figure, and another line style besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

BLUE, ORANGE, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#555555", "#C9C9C9"
PURPLE = "#CC79A7"
LINES: dict[str, dict[str, Any]] = {
    "linear": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "sigmoid": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "cosine": {"color": GREEN, "linestyle": "-.", "marker": "^"},
    "flow": {"color": PURPLE, "linestyle": (0, (1, 1)), "marker": "D"},
}
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}
RISING = ("#9ECAE1", "#4292C6", "#08519C", "#08204A")  # from pale to dark: one thing at four later and later times
WIDTH = 8.0  # inches, of every figure
DPI = 200  # sharp on a screen with two pixels for each of a page's
EXPLORER_DPI = 90  # of what is drawn anew at each move of a slider

Extent = tuple[float, float, float, float]  # left, right, bottom, top


def canvas(rows: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    """A figure `height` inches high with its axes, row by row."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # not pyplot's, which would keep every figure in memory
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, list(axes.flat)


def line_of(name: str, *, marked: bool = False) -> dict[str, Any]:
    """Colour and line style of a schedule, with its marker or without; one of a reader's own is grey and dotted."""
    look = LINES.get(name, {"color": GREY, "linestyle": ":", "marker": "x"})
    return {key: value for key, value in look.items() if marked or key != "marker"}


def dot_size(n: int, size: float, enough: int) -> float:
    """How large each of `n` dots is, in square points: `size` where they are `enough`, and larger where they are few.

    All dots together keep their ink, until one is twelve times as large as among many.
    """
    return size * min(max(1.0, enough / n), 12.0)


def scatter(axes: Axes, points: ArrayLike, size: float, color: str, zorder: float = 2) -> Any:
    """Draw (n, 2) points as dots of `size` square points."""
    x, y = np.asarray(points).T
    return axes.scatter(x, y, s=size, color=color, linewidths=0, alpha=0.8, zorder=zorder, rasterized=True)


def fix(axes: Axes, extent: Extent) -> None:
    """Let the axes show `extent`, as long in one direction as in the other."""
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_aspect("equal")


def label_outside(all_axes: Sequence[Axes], panels: int, columns: int, labels: tuple[str, str]) -> None:
    """Name the axes of a grid of panels at its left and lower edge only, and hide the places that have no panel."""
    for number, axes in enumerate(all_axes[:panels]):
        if number % columns == 0:
            axes.set_ylabel(labels[1])
        if number >= panels - columns:
            axes.set_xlabel(labels[0])
    for axes in all_axes[panels:]:
        axes.set_visible(False)


def around(points: ArrayLike, margin: float = 0.08) -> Extent:
    """The smallest extent with all of the (n, 2) points in it, and a margin: so much of its longer side.

    Points that stand at one place get the margin that a side of 1 would have.
    """
    low, high = np.min(np.asarray(points), axis=0), np.max(np.asarray(points), axis=0)
    more = margin * (float(np.max(high - low)) or 1.0)
    return float(low[0]) - more, float(high[0]) + more, float(low[1]) - more, float(high[1]) + more


def smooth(values: np.ndarray[Any, Any], window: int) -> np.ndarray[Any, Any]:
    """The moving average of (n,) values, (n − window + 1,)."""
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def centres(values: ArrayLike, timesteps: int) -> np.ndarray[Any, Any]:
    """The middle of each of the equal stretches of 0 … T−1 to which the values belong."""
    count = len(np.asarray(values))
    return (np.arange(count) + 0.5) * timesteps / count
