"""Points of the plane: side by side, on their way, and counted in cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PALE,
    STYLE,
    WIDTH,
    Extent,
    canvas,
    dot_size,
    fix,
    label_outside,
    scatter,
)
from lab_utils.measure.neighbours import stray_mask


@mpl.rc_context(STYLE)
def maps(
    panels: Mapping[str, ArrayLike],
    extent: Extent,
    *,
    labels: tuple[str, str] = ("x", "y"),
    behind: ArrayLike | None = None,
    columns: int = 1,
    size: float | None = None,
    colors: Sequence[str] = (BLUE,),
) -> Figure:
    """Point sets side by side on the same axes.

    Args:
        panels: title → (n, 2) points in the data's own units. Points outside `extent` are not seen.
        extent: left, right, bottom, top, the same for all panels.
        labels: of the axes, written at the outer panels only.
        behind: (m, 2) real points drawn in grey behind each panel, to compare with.
        columns: panels in a row.
        size: of a dot, in square points; unless it is given, a dot is the larger the fewer there are.
        colors: of the panels, used in turn.
    """
    rows = -(-len(panels) // columns)
    shape, whole = (extent[3] - extent[2]) / (extent[1] - extent[0]), 2.0 / columns**2
    figure, all_axes = canvas(
        rows, columns, 0.35 + rows * (0.3 + WIDTH * 0.95 / columns * shape), sharex=True, sharey=True
    )
    for number, (axes, (title, points)) in enumerate(zip(all_axes, panels.items(), strict=False)):
        if behind is not None:
            scatter(axes, behind, size or dot_size(len(np.asarray(behind)), whole, 5000), PALE, 1)
        scatter(axes, points, size or dot_size(len(np.asarray(points)), whole, 5000), colors[number % len(colors)])
        axes.set_title(title)
        fix(axes, extent)
    label_outside(all_axes, len(panels), columns, labels)
    return figure


@mpl.rc_context(STYLE)
def strays(
    panels: Mapping[str, ArrayLike],
    real: ArrayLike,
    extent: Extent,
    *,
    labels: tuple[str, str] = ("x", "y"),
    masks: Mapping[str, ArrayLike] | None = None,
    columns: int = 2,
    size: float = 1.5,
) -> Figure:
    """Generated points over real ones, each stray with a ring around it; the titles count the strays.

    Args:
        panels: title → (n, 2) generated points, finite.
        real: (m, 2) real points in the same units, which are drawn in grey. They say which points are strays. So they
            should be a real set of thousands of points, and not the training points.
        extent: left, right, bottom, top, the same for all panels. A stray outside stands as a cross at the edge where
            it left, and the title counts these, too.
        labels: of the axes, written at the outer panels only.
        masks: title → (n,) which points are strays, if it was `stray_mask` of other real points that said so.
        columns: panels in a row.
        size: of a dot, in square points.

    Raises:
        ValueError: points aren't finite, or have another shape; or a mask has.
    """
    found = {
        title: stray_mask(np.asarray(points, dtype=np.float64), np.asarray(real, dtype=np.float64))
        if masks is None
        else np.asarray(masks[title], dtype=bool)
        for title, points in panels.items()
    }
    low, high = np.array(extent)[[0, 2]], np.array(extent)[[1, 3]]
    titles, rings, crosses = [], [], []
    for title, points in panels.items():
        places, mask = np.asarray(points), found[title]
        if mask.shape != (len(places),):
            raise ValueError(f"masks[{title!r}] must have the shape ({len(places)},), not {mask.shape}")
        outside = mask & ((places < low) | (places > high)).any(axis=1)
        rings.append(places[mask & ~outside])
        crosses.append(places[outside].clip(low, high))
        away = f", {outside.sum()} of them outside" if outside.any() else ""
        titles.append(f"{title}\nstrays: {mask.sum()} of {len(mask)}, {mask.mean():.2%}{away}")
    figure = maps(
        dict(zip(titles, panels.values(), strict=True)), extent, labels=labels, behind=real, columns=columns, size=size
    )
    for axes, ringed, crossed in zip(figure.axes, rings, crosses, strict=False):
        (x, y), (x_out, y_out) = ringed.T, crossed.T
        axes.scatter(x, y, s=45, facecolors="none", edgecolors=ORANGE, linewidths=1.2, zorder=4)
        axes.scatter(x_out, y_out, s=45, marker="x", color=ORANGE, linewidths=1.6, zorder=4, clip_on=False)
    return figure


def _reverse_title(step: int, total: int) -> str:
    return f"after {step} of {total} reverse steps"


def _reverse_axes(panels: Mapping[str, ArrayLike], extent: Extent, labels: tuple[str, str]) -> tuple[Figure, list[Any]]:
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = canvas(1, len(panels), 0.95 + WIDTH * 0.95 / len(panels) * shape, sharex=True, sharey=True)
    dots = []
    for axes, (name, points) in zip(all_axes, panels.items(), strict=True):
        size = dot_size(len(np.asarray(points)), 1.5, 2000)
        dots.append(scatter(axes, points, size, LINES.get(name, {"color": BLUE})["color"]))
        axes.set_title(name)
        fix(axes, extent)
        axes.set_xlabel(labels[0])
    all_axes[0].set_ylabel(labels[1])
    return figure, dots


@mpl.rc_context(STYLE)
def reverse_animation(
    paths: Mapping[str, Mapping[int, ArrayLike]], extent: Extent, labels: tuple[str, str] = ("x", "y")
) -> FuncAnimation:
    """The reverse process as an animation, the schedules side by side.

    Args:
        paths: schedule → number of reverse steps done → (n, 2) points; the same numbers for each schedule.
        extent: left, right, bottom, top.
        labels: of the axes.
    """
    steps = list(next(iter(paths.values())))
    figure, dots = _reverse_axes({name: path[steps[0]] for name, path in paths.items()}, extent, labels)
    figure.set_dpi(80)  # a frame is a whole picture in the page; small ones keep the notebook small
    title = figure.suptitle(_reverse_title(steps[0], steps[-1]), fontsize=10.5)

    def draw(step: int) -> list[Any]:
        for dot, path in zip(dots, paths.values(), strict=True):
            dot.set_offsets(np.asarray(path[step]))
        title.set_text(_reverse_title(step, steps[-1]))
        return dots

    return FuncAnimation(figure, draw, frames=steps, interval=120, blit=False)


@mpl.rc_context(STYLE)
def walks(
    walks: Mapping[str, ArrayLike],
    starts: ArrayLike,
    behind: ArrayLike,
    extent: Extent,
    labels: tuple[str, str] = ("x", "y"),
) -> Figure:
    """The ways of one point from noise (a dot) to data (a star), side by side.

    Args:
        walks: way, three at most → (k, 2) where the point is after more and more steps, in the data's own units.
        starts: (n, 2) all points of noise that could be chosen.
        behind: (m, 2) real points.
        extent: left, right, bottom, top.
        labels: of the axes.
    """
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = canvas(1, len(walks), 0.8 + WIDTH * 0.95 / len(walks) * shape, sharex=True, sharey=True)
    x_starts, y_starts = np.asarray(starts).T
    for axes, (name, walk), color in zip(all_axes, walks.items(), (BLUE, ORANGE, GREEN), strict=False):
        scatter(axes, behind, 0.4, PALE, 1)
        axes.scatter(x_starts, y_starts, s=8, facecolors="none", edgecolors=GREY, linewidths=0.5, zorder=2)
        x, y = np.asarray(walk).T
        axes.plot(x, y, color=color, linewidth=1.2, zorder=3)
        axes.plot(x[:1], y[:1], color="black", marker="o", markersize=5, zorder=4)
        axes.plot(x[-1:], y[-1:], color=color, marker="*", markersize=10, markeredgecolor="black", zorder=5)
        axes.set(title=name, xlabel=labels[0])
        fix(axes, extent)
    all_axes[0].set_ylabel(labels[1])
    return figure


@mpl.rc_context(STYLE)
def differences(
    panels: Mapping[str, ArrayLike], extent: Extent, *, labels: tuple[str, str] = ("x", "y"), most: float = 6.0
) -> Figure:
    """Maps of a difference in standard deviations: too many points in one colour, too few in the other.

    Args:
        panels: title → (rows, columns) differences, NaN where nothing can be said; the first row is the lowest.
        extent: left, right, bottom, top of the map that the cells fill.
        labels: of the axes.
        most: where the colours end.
    """
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = canvas(
        len(panels), 1, 0.35 + len(panels) * (0.3 + WIDTH * 0.88 * shape), sharex=True, sharey=True
    )
    for axes, (title, sigmas) in zip(all_axes, panels.items(), strict=True):
        image = axes.imshow(
            np.asarray(sigmas),
            origin="lower",
            extent=extent,
            cmap="RdBu_r",
            vmin=-most,
            vmax=most,
            interpolation="nearest",
        )
        axes.set(title=title, ylabel=labels[1])
        axes.grid(visible=False)
        axes.set_facecolor("#EEEEEE")
    all_axes[-1].set_xlabel(labels[0])
    figure.colorbar(image, ax=all_axes, label="difference, in standard deviations", shrink=0.8, extend="both")
    return figure
