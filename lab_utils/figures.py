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
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
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
RISING = ("#9ECAE1", "#4292C6", "#08519C", "#08204A")  # from pale to dark: one thing at four later and later times
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
    epochs: Sequence[int],
    measures: Mapping[str, Mapping[str, Sequence[Measure]]],
    best: Mapping[str, Measure],
    *,
    columns: int = 3,
) -> Figure:
    """Each distance as a multiple of its floor, against the number of epochs; the floor's own spread is a band.

    Args:
        epochs: of the checkpoints.
        measures: distance → schedule → one measure for each checkpoint.
        best: distance → what the training points themselves measure.
        columns: panels in a row.
    """
    rows = -(-len(measures) // columns)
    figure, all_axes = _figure(rows, columns, 0.6 + 2.3 * rows, sharex=True)
    for axes, (distance, by_schedule) in zip(all_axes, measures.items(), strict=False):
        low, high = np.asarray(best[distance].floor_range) / best[distance].floor
        axes.axhspan(low, high, color=PALE, alpha=0.5, linewidth=0, label="real against real, 95 %")
        axes.axhline(best[distance].multiple, color=GREY, linestyle=":", linewidth=1.4, label="the training points")
        for offset, (name, values) in zip((0.97, 1.03), by_schedule.items(), strict=False):
            middle = np.array([value.multiple for value in values])
            bounds = np.array([value.interval for value in values]).T
            where = np.asarray(epochs) * offset  # side by side, so that the bars don't hide each other
            axes.errorbar(where, middle, yerr=np.abs(bounds - middle), label=name, capsize=3, **LINES[name])
        better = " (more is better)" if best[distance].higher_is_better else ""
        axes.set(xscale="log", title=distance + better)
        axes.set_ylim(bottom=None if best[distance].higher_is_better else min(0, axes.get_ylim()[0]))
        axes.set_xticks(epochs, [str(epoch) for epoch in epochs])
        axes.minorticks_off()
    for axes in all_axes[len(measures) :]:
        axes.set_visible(False)
    figure.supxlabel("epochs of training", fontsize=10)
    figure.supylabel("multiple of what real points read", fontsize=10)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
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


@mpl.rc_context(STYLE)
def losses_along_t(floors: Mapping[str, ArrayLike], losses: Mapping[str, ArrayLike]) -> Figure:
    """The smallest possible loss and a network's, against t, one panel for each schedule.

    Args:
        floors: schedule → floor in equal stretches of 0 … T−1.
        losses: schedule → the network's loss in the same stretches.
    """
    figure, all_axes = _figure(1, len(floors), 3.2, sharey=True)
    for axes, (name, floor) in zip(all_axes, floors.items(), strict=True):
        t = _centres(floor)
        axes.fill_between(
            t, 0, np.asarray(floor), color=PALE, alpha=0.6, linewidth=0, label="floor: nothing gets below"
        )
        axes.plot(t, np.asarray(losses[name]), label="the network's loss", color=_line(name)["color"], linewidth=1.4)
        axes.set(title=name, xlabel="timestep t", ylim=(0, 1.05))
        axes.legend(loc="upper right")
    all_axes[0].set_ylabel("loss")
    return figure


def _centres(values: ArrayLike, timesteps: int = 1000) -> np.ndarray[Any, Any]:
    """The middle of each of the equal stretches of 0 … T−1 to which the values belong."""
    count = len(np.asarray(values))
    return (np.arange(count) + 0.5) * timesteps / count


@mpl.rc_context(STYLE)
def excess(
    checkpoints: Mapping[str, tuple[ArrayLike, ArrayLike]],
    curves: Mapping[str, ArrayLike],
    along_t: Mapping[str, Mapping[int, ArrayLike]],
    *,
    window: int = 200,
) -> Figure:
    """What of the loss could go away, on logarithmic axes: against the epoch, and against t at some epochs.

    Args:
        checkpoints: schedule → epochs, and the mean excess there.
        curves: schedule → loss − floor of each epoch.
        along_t: schedule → epoch → the excess in equal stretches of 0 … T−1.
        window: epochs in the moving average of the curves.
    """
    figure, (left, *others) = _figure(1, 1 + len(along_t), 3.6)
    for name, (epochs, values) in checkpoints.items():
        mean = _smooth(np.asarray(curves[name]), window)
        left.plot(np.arange(len(mean)) + window / 2, mean, color=_line(name)["color"], linewidth=0.7, alpha=0.6)
        left.plot(np.asarray(epochs), np.asarray(values), label=name, **LINES[name])
    left.set(xscale="log", yscale="log", xlabel="epoch", ylabel="excess = loss − floor", title="mean over t")
    marked = sorted({int(epoch) for epochs, _ in checkpoints.values() for epoch in np.asarray(epochs)})
    left.set_xticks(marked, [str(epoch) for epoch in marked])
    left.set_xticks([], minor=True)
    left.set_xlim(left=window / 2)
    left.legend()
    for axes, (name, by_epoch) in zip(others, along_t.items(), strict=True):
        for color, (epoch, values) in zip(RISING, by_epoch.items(), strict=False):
            axes.plot(_centres(values), np.asarray(values), color=color, label=f"{epoch} epochs", linewidth=1.5)
        axes.set(yscale="log", xlabel="timestep t", title=f"{name}, along t", ylim=(1e-6, 1))
    others[0].legend(loc="lower left")
    return figure


@mpl.rc_context(STYLE)
def comparison(panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str, *, log: bool = False) -> Figure:
    """Recipes one below the other, each seed a dot and their mean a bar; a line at 1, where real points are.

    Args:
        panels: title → recipe → one value for each seed; the same recipes in each panel, the first at the top.
        xlabel: what the values are, the same for all panels.
        log: whether the axis is logarithmic.
    """
    recipes = list(next(iter(panels.values())))
    figure, all_axes = _figure(1, len(panels), 0.9 + 0.3 * len(recipes), sharex=True, sharey=True)
    for axes, (title, by_recipe) in zip(all_axes, panels.items(), strict=True):
        for place, recipe in enumerate(recipes):
            values = np.asarray(by_recipe[recipe])
            axes.plot(values, np.full(len(values), place), "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
            axes.plot(values.mean(), place, "|", color=ORANGE, markersize=15, markeredgewidth=2.5)
        axes.axvline(1, color=GREY, linewidth=1.2, linestyle=":")
        axes.set(title=title, xlabel=xlabel)
        axes.grid(visible=False, axis="y")
    all_axes[0].set_yticks(range(len(recipes)), recipes)
    all_axes[0].set_ylim(len(recipes) - 0.5, -0.5)  # the first at the top, none cut off
    if log:
        all_axes[0].set_xscale("log")
        all_axes[0].xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
        all_axes[0].xaxis.set_major_formatter(FormatStrFormatter("%g"))
        all_axes[0].xaxis.set_minor_locator(NullLocator())
    return figure


# sampler → how it is drawn; what needs all T evaluations is a single point
_SAMPLERS: dict[str, dict[str, Any]] = {
    "DDPM": {"color": "black", "marker": "*", "markersize": 11, "linestyle": "none"},
    "DDIM, η = 1": {"color": GREEN, "marker": "^", "linestyle": "-."},
    "DDIM": {"color": ORANGE, "marker": "s", "linestyle": "--"},
    "DPM-Solver++(2M)": {"color": BLUE, "marker": "o", "linestyle": "-"},
}


@mpl.rc_context(STYLE)
def evaluations(
    measures: Mapping[str, Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]]],
    bands: Mapping[str, tuple[float, float]],
) -> Figure:
    """Quality against the number of evaluations of the denoiser: a row for a distance, a column for a denoiser.

    Args:
        measures: distance → denoiser → sampler → (k,) numbers of evaluations and (k, seeds) multiples of the floor; a
            point is the mean over seeds and its bar goes from the lowest to the highest.
        bands: distance → the interval of the multiples between real draws.
    """
    rows, columns = len(measures), len(next(iter(measures.values())))
    figure, all_axes = _figure(rows, columns, 0.8 + 2.3 * rows, sharex=True, sharey="row")
    for number, (distance, by_denoiser) in enumerate(measures.items()):
        for axes, (denoiser, by_sampler) in zip(all_axes[number * columns :], by_denoiser.items(), strict=False):
            axes.axhspan(*bands[distance], color=PALE, alpha=0.5, linewidth=0, label="real against real, 95 %")
            for sampler, (steps, values) in by_sampler.items():
                each = np.asarray(values)
                mean = each.mean(axis=1)
                spread = [mean - each.min(axis=1), each.max(axis=1) - mean]
                axes.errorbar(np.asarray(steps), mean, yerr=spread, label=sampler, capsize=3, **_SAMPLERS[sampler])
            axes.set(xscale="log", yscale="log", title=denoiser if number == 0 else "")
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5) if axes.get_ylim()[1] < 10 else (1,)))
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.yaxis.set_minor_locator(NullLocator())
        all_axes[number * columns].set_ylabel(f"{distance}, multiple of floor")
    figure.supxlabel("evaluations of the denoiser", fontsize=10)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
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
    figure, all_axes = _figure(
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
    figure.colorbar(image, ax=all_axes, label="standard deviations: generated − real", shrink=0.8, extend="both")
    return figure


@mpl.rc_context(STYLE)
def trade_off(
    families: Mapping[str, tuple[ArrayLike, ArrayLike]],
    trainings: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    real: tuple[float, float],
) -> Figure:
    """Two measures, one the price of the other: lines for families of estimates, dots for trainings, a star: reality.

    Args:
        families: name → the values of both measures, along one setting.
        trainings: name → the values of both measures, one for each seed.
        xlabel: what the first measure is …
        ylabel: … and the second.
        real: where real points are.
    """
    figure, (axes,) = _figure(1, 1, 4.2)
    for (name, (x, y)), style in zip(families.items(), ("-", "--"), strict=False):
        axes.plot(np.asarray(x), np.asarray(y), style, color=GREY, linewidth=1.5, label=name)
    for (name, (x, y)), color, marker in zip(
        trainings.items(), (BLUE, ORANGE, RISING[-1], "#009E73"), "osD^", strict=False
    ):
        axes.plot(np.asarray(x), np.asarray(y), marker, color=color, markersize=6, label=name)
    axes.plot(*real, "*", color="black", markersize=13, label="real points")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    return figure
