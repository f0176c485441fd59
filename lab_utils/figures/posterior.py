"""What the best denoiser knows of a noised point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from lab_utils.exact.posterior import Knowledge
from lab_utils.figures.style import (
    BLUE,
    EXPLORER_DPI,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    STYLE,
    WIDTH,
    Extent,
    canvas,
    centres,
    fix,
    scatter,
)


def _chart(axes: Axes, known: Knowledge, points: ArrayLike, extent: Extent, labels: tuple[str, str]) -> None:
    chances = np.asarray(known.chances)
    likely = chances > 1e-4 * chances.max()
    scatter(axes, points, 1.0, PALE, 1)
    size = 3 + 22 * chances[likely] / chances.max()
    x, y = np.asarray(points)[likely].T
    axes.scatter(x, y, s=size, color=BLUE, alpha=0.35, linewidths=0, zorder=2)
    marks: dict[str, Any] = {"linestyle": "none", "zorder": 3}
    axes.plot(*np.asarray(known.seen), color="black", marker="x", markersize=9, label="what is seen", **marks)
    axes.plot(*np.asarray(known.guess), color=ORANGE, marker="D", markersize=7, label="the best guess", **marks)
    ring: dict[str, Any] = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 2}
    axes.plot(*np.asarray(known.origin), color=GREEN, label="the truth", **ring, **marks)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set_title(f"t = {known.t}", y=1.02)
    fix(axes, extent)


def _near(known: Knowledge, points: NDArray[Any], extent: Extent) -> Extent:
    """The part of `extent`, of the same shape, that holds the truth, what is seen, and where most may come from."""
    chances = np.asarray(known.chances)
    likely = points[
        np.argsort(chances)[::-1][: int((np.sort(chances)[::-1].cumsum() < 0.99 * chances.sum()).sum()) + 1]
    ]
    places = np.concatenate([likely, [np.asarray(known.seen), np.asarray(known.origin)]])
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    whole = np.array([extent[1] - extent[0], extent[3] - extent[2]])
    share = min(1.0, 1.3 * float(((places.max(axis=0) - places.min(axis=0)) / whole).max()))
    if share > 0.8:
        return extent
    half = share * whole / 2
    return middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1]


@mpl.rc_context(STYLE)
def posterior(
    known: Knowledge, points: ArrayLike, floor: ArrayLike, extent: Extent, labels: tuple[str, str] = ("x", "y")
) -> Figure:
    """The smallest possible loss against t, and where a point that was noised to one t may come from.

    Args:
        known: what is known of that point.
        points: (N, 2) the data, in their own units; the larger and darker, the likelier.
        floor: the smallest possible loss in equal stretches of 0 … T−1.
        extent: left, right, bottom, top of the map.
        labels: of its axes.
    """
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, (curve, chart) = canvas(1, 2, 0.7 + 0.66 * WIDTH * shape, width_ratios=(1, 2))
    figure.set_dpi(EXPLORER_DPI)
    figure.set_layout_engine(None)  # to work the margins out takes as long as to draw
    figure.subplots_adjust(left=0.08, right=0.99, top=0.9, bottom=0.3, wspace=0.28)
    curve.plot(centres(floor, known.timesteps), np.asarray(floor), color=GREY)
    curve.axvline(known.t, color=ORANGE, linewidth=1.4)
    curve.set(xlabel="timestep t", ylabel="smallest possible loss", ylim=(0, 1.02))
    _chart(chart, known, points, extent, labels)
    figure.legend(*chart.get_legend_handles_labels(), loc="lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def posteriors(
    stages: Sequence[Knowledge], points: ArrayLike, extent: Extent, labels: tuple[str, str] = ("x", "y")
) -> Figure:
    """Where a point may come from that was noised to each of several t. Arguments as for `posterior`.

    Each map shows no more of `extent` than is needed to see the likely points, so they are of different scales.
    """
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    rows = -(-len(stages) // 2)
    figure, all_axes = canvas(rows, 2, 0.4 + rows * (0.5 + WIDTH / 2 * shape))
    for axes, known in zip(all_axes, stages, strict=False):
        near = _near(known, np.asarray(points), extent)
        _chart(axes, known, points, near, labels)
        axes.set_title(f"t = {known.t}, {near[1] - near[0]:.0f} across", y=1.02)
        if axes is not all_axes[0] and axes is not all_axes[2 % len(all_axes)]:
            axes.set_ylabel("")
    for axes in all_axes[len(stages) :]:
        axes.set_visible(False)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
