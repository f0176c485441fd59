"""Every figure of the lab, in one style. Functions here take results and give a matplotlib `Figure`.

Colours are Okabe and Ito's, which people with any kind of colour vision tell apart; a schedule has the same colour in
every figure, and another line style besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils.metrics import Measure
from lab_utils.schedules import Schedule

BLUE, ORANGE, GREEN, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#555555", "#C9C9C9"
LINES: dict[str, dict[str, Any]] = {
    "linear": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "sigmoid": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "cosine": {"color": GREEN, "linestyle": "-.", "marker": "^"},
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
WIDTH = 8.0  # inches, of every figure
DPI = 130

Extent = tuple[float, float, float, float]  # left, right, bottom, top


def _figure(rows: int, columns: int, height: float, **kwargs: Any) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # not pyplot's, which would keep every figure in memory
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, list(axes.flat)


def _line(name: str) -> dict[str, Any]:
    """Colour and line style of a schedule, without its marker."""
    return {key: value for key, value in LINES.get(name, {"color": GREY, "linestyle": ":"}).items() if key != "marker"}


@mpl.rc_context(STYLE)
def alphas_cumprod(schedules: Mapping[str, Schedule]) -> Figure:
    """ᾱ against the step, on a linear axis and on a logarithmic one.

    Of a single schedule, the steps with ᾱ < 0.01 are shaded.

    Args:
        schedules: label → schedule; a label that names a kind has that kind's colour.
    """
    figure, (left, right) = _figure(1, 2, 3.0)
    for label, schedule in schedules.items():
        curve = schedule.alphas_cumprod.numpy()
        steps = np.arange(1, len(curve) + 1)
        for axes in (left, right):
            axes.plot(steps, curve, label=label, **_line(label))
    if len(schedules) == 1:
        found = schedule.doctor()
        start = found.passes[0.01]
        if start is not None:
            for axes in (left, right):
                axes.axvspan(start, found.timesteps, color=PALE, alpha=0.45, linewidth=0)
            note = f"{found.wasted:.1%} of the steps\nhave ᾱ < 0.01"
            left.text(start - 15, 0.97, note, ha="right", va="top", fontsize=9, color=GREY)
    left.set(xlabel="noising steps done", ylabel="ᾱ, share of variance left", ylim=(-0.02, 1.02))
    right.set(xlabel="noising steps done", ylabel="ᾱ (logarithmic)", yscale="log", ylim=(1e-8, 2))
    if len(schedules) > 1:
        left.legend()
    return figure


@mpl.rc_context(STYLE)
def schedule_card(schedule: Schedule) -> Figure:
    """ᾱ and the signal-to-noise ratio of one schedule, for the explorer."""
    figure, (left, right) = _figure(1, 2, 2.8)
    steps = np.arange(1, schedule.timesteps + 1)
    left.plot(steps, schedule.alphas_cumprod.numpy(), **_line(schedule.name))
    left.set(xlabel="noising steps done", ylabel="ᾱ", ylim=(-0.02, 1.02))
    right.plot(steps, schedule.snr.numpy(), **_line(schedule.name))
    right.axhline(1, color=GREY, linewidth=1, linestyle=":")
    right.set(xlabel="noising steps done", ylabel="SNR (1: as much noise as data)", yscale="log", ylim=(1e-9, 1e6))
    return figure


def _scatter(axes: Axes, points: ArrayLike, size: float, color: str, zorder: float = 2) -> Any:
    x, y = np.asarray(points).T
    return axes.scatter(x, y, s=size, color=color, linewidths=0, alpha=0.8, zorder=zorder, rasterized=True)


def _map_axes(axes: Axes, extent: Extent) -> None:
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_aspect("equal")


@mpl.rc_context(STYLE)
def maps(
    panels: Mapping[str, ArrayLike],
    extent: Extent,
    *,
    labels: tuple[str, str] = ("x", "y"),
    behind: ArrayLike | None = None,
    columns: int = 1,
    size: float = 2.0,
    colors: Sequence[str] = (BLUE,),
) -> Figure:
    """Point sets side by side on the same axes.

    Args:
        panels: title → (n, 2) points in the data's own units. Points outside `extent` are not seen.
        extent: left, right, bottom, top, the same for all panels.
        labels: of the axes, written at the outer panels only.
        behind: (m, 2) real points drawn in grey behind each panel, to compare with.
        columns: panels in a row.
        size: of a dot, in square points.
        colors: of the panels, used in turn.
    """
    rows = -(-len(panels) // columns)
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = _figure(
        rows, columns, 0.35 + rows * (0.3 + WIDTH * 0.95 / columns * shape), sharex=True, sharey=True
    )
    for number, (axes, (title, points)) in enumerate(zip(all_axes, panels.items(), strict=False)):
        if behind is not None:
            _scatter(axes, behind, size, PALE, 1)
        _scatter(axes, points, size, colors[number % len(colors)])
        axes.set_title(title)
        _map_axes(axes, extent)
        if number % columns == 0:
            axes.set_ylabel(labels[1])
        if number >= len(panels) - columns:
            axes.set_xlabel(labels[0])
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    return figure


def _smooth(values: np.ndarray[Any, Any], window: int) -> np.ndarray[Any, Any]:
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


@mpl.rc_context(STYLE)
def losses(curves: Mapping[str, ArrayLike], floors: Mapping[str, float], *, window: int = 100) -> Figure:
    """The loss of each epoch, as one usually sees it and enlarged, with the floor below which no network can get.

    Args:
        curves: schedule → loss of each epoch.
        floors: schedule → the smallest possible mean loss.
        window: epochs in the moving average that is drawn over the single epochs.
    """
    figure, (left, right) = _figure(1, 2, 3.4)
    for name, curve in curves.items():
        values = np.asarray(curve)
        epochs = np.arange(1, len(values) + 1)
        color = _line(name)["color"]
        left.plot(epochs, values, color=color, linewidth=0.8)
        left.axhline(floors[name], color=color, linestyle=":", linewidth=1.4)
        right.plot(epochs[window - 1 :], _smooth(values, window) - floors[name], label=name, **_line(name))
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, None), title="the loss of each epoch, and its floor (dotted)")
    right.axhline(0, color=GREY, linestyle=":", linewidth=1.4)
    right.set(xlabel="epoch", ylabel="loss − floor", xscale="log", ylim=(-0.003, 0.04))
    right.set_title(f"loss − floor, mean of {window} epochs")
    right.legend(loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def multiples(
    epochs: Sequence[int], measures: Mapping[str, Mapping[str, Sequence[Measure]]], best: Mapping[str, Measure]
) -> Figure:
    """Each distance as a multiple of its floor, against the number of epochs; the floor's own spread is a band.

    Args:
        epochs: of the checkpoints.
        measures: distance → schedule → one measure for each checkpoint.
        best: distance → what the training points themselves measure.
    """
    figure, all_axes = _figure(1, len(measures), 3.7)
    for axes, (distance, by_schedule) in zip(all_axes, measures.items(), strict=True):
        low, high = np.asarray(best[distance].floor_range) / best[distance].floor
        axes.axhspan(low, high, color=PALE, alpha=0.5, linewidth=0, label="real against real, 95 %")
        axes.axhline(best[distance].multiple, color=GREY, linestyle=":", linewidth=1.4, label="the training points")
        for offset, (name, values) in zip((0.97, 1.03), by_schedule.items(), strict=False):
            middle = np.array([value.multiple for value in values])
            bounds = np.array([value.interval for value in values]).T
            where = np.asarray(epochs) * offset  # side by side, so that the bars don't hide each other
            axes.errorbar(where, middle, yerr=np.abs(bounds - middle), label=name, capsize=3, **LINES[name])
        axes.set(
            xscale="log", xlabel="epochs of training", ylabel="multiple of the floor", title=distance, ylim=(0, None)
        )
        axes.set_xticks(epochs, [str(epoch) for epoch in epochs])
        axes.minorticks_off()
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@mpl.rc_context(STYLE)
def reverse_frame(
    panels: Mapping[str, ArrayLike], step: int, total: int, extent: Extent, labels: tuple[str, str] = ("x", "y")
) -> Figure:
    """The points of each schedule after `step` of `total` reverse steps, side by side."""
    figure, _ = _reverse_axes(panels, extent, labels)
    figure.suptitle(_reverse_title(step, total), fontsize=10.5)
    return figure


def _reverse_title(step: int, total: int) -> str:
    return f"after {step} of {total} reverse steps"


def _reverse_axes(panels: Mapping[str, ArrayLike], extent: Extent, labels: tuple[str, str]) -> tuple[Figure, list[Any]]:
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = _figure(1, len(panels), 0.95 + WIDTH * 0.95 / len(panels) * shape, sharex=True, sharey=True)
    dots = []
    for axes, (name, points) in zip(all_axes, panels.items(), strict=True):
        dots.append(_scatter(axes, points, 1.5, LINES.get(name, {"color": BLUE})["color"]))
        axes.set_title(name)
        _map_axes(axes, extent)
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
