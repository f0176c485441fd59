"""How good the samples are, as multiples of what real points read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

from lab_utils.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    RISING,
    STYLE,
    canvas,
    line_of,
)
from lab_utils.measure.benchmark import Measure

SAMPLERS: dict[str, dict[str, Any]] = {
    "DDPM": {"color": "black", "marker": "*", "markersize": 11, "linestyle": "none"},
    "DDIM, η = 1": {"color": GREEN, "marker": "^", "linestyle": "-."},
    "DDIM": {"color": ORANGE, "marker": "s", "linestyle": "--"},
    "DPM-Solver++(2M)": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "SDE-DPM-Solver++(2M)": {"color": PURPLE, "marker": "D", "linestyle": "-"},
    "Euler": {"color": ORANGE, "marker": "X", "linestyle": "--"},
    "Heun": {"color": BLUE, "marker": "P", "linestyle": "-"},
    "midpoint": {"color": GREEN, "marker": "v", "linestyle": "-."},
}
FEW_TICKS = 30  # an axis that reaches from 1 to less than this would have one or two powers of ten


def _real(axes: Axes, band: tuple[float, float]) -> None:
    """Mark what real sets read: 1 on average, and as a band from the lowest to the highest of them."""
    axes.axhspan(*band, color=PALE, alpha=0.5, linewidth=0, label="real sets, lowest to highest")
    axes.axhline(1, color=GREY, linewidth=1)


@mpl.rc_context(STYLE)
def multiples(
    epochs: Sequence[int],
    measures: Mapping[str, Mapping[str, Sequence[Measure]]],
    best: Mapping[str, Measure],
    bands: Mapping[str, tuple[float, float]],
    *,
    columns: int = 3,
) -> Figure:
    """Each distance, × real, against the number of epochs, with 95 % intervals.

    Args:
        epochs: of the checkpoints.
        measures: distance → schedule → one measure for each checkpoint.
        best: distance → what the training points themselves measure.
        bands: distance → the lowest and the highest multiple that a real set reads; a grey band around 1.
        columns: panels in a row.
    """
    rows = -(-len(measures) // columns)
    figure, all_axes = canvas(rows, columns, 0.6 + 2.3 * rows, sharex=True)
    for axes, (distance, by_schedule) in zip(all_axes, measures.items(), strict=False):
        _real(axes, bands[distance])
        axes.axhline(best[distance].multiple, color=GREY, linestyle=":", linewidth=1.4, label="the training points")
        for offset, (name, values) in zip((0.97, 1.03), by_schedule.items(), strict=False):
            middle = np.array([value.multiple for value in values])
            bounds = np.array([value.interval for value in values]).T
            bars = np.where(np.isfinite(bounds), np.abs(bounds - middle), 0)  # without an end: no bar
            where = np.asarray(epochs) * offset  # side by side, so that the bars don't hide each other
            axes.errorbar(where, middle, yerr=bars, label=name, capsize=3, **line_of(name, marked=True))
        better = " (more is better)" if best[distance].higher_is_better else ""
        axes.set(xscale="log", title=distance + better)
        axes.set_ylim(bottom=None if best[distance].higher_is_better else 0)
        axes.set_xticks(epochs, [str(epoch) for epoch in epochs])
        axes.minorticks_off()
    for axes in all_axes[len(measures) :]:
        axes.set_visible(False)
    figure.supxlabel("epochs of training", fontsize=10)
    figure.supylabel("× real: 1 is what real sets read among themselves", fontsize=10)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
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
    figure, all_axes = canvas(1, len(panels), 0.9 + 0.3 * len(recipes), sharex=True, sharey=True)
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


def _edge(*values: ArrayLike) -> float:
    """Where a logarithmic axis begins: a little below the least of all values above 0."""
    everything = np.concatenate([np.ravel(np.asarray(one, dtype=float)) for one in values])
    return float(0.9 * everything[everything > 0].min())


@mpl.rc_context(STYLE)
def evaluations(
    measures: Mapping[str, Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]]],
    bands: Mapping[str, tuple[float, float]],
) -> Figure:
    """Quality against the number of evaluations of the denoiser: a row for a distance, a column for a denoiser.

    Args:
        measures: distance → denoiser → sampler → (k,) numbers of evaluations and (k, seeds) multiples of real; a
            point is the mean over seeds and its bar goes from the lowest to the highest. The axis is logarithmic, so a
            bar that goes to 0 ends at its edge.
        bands: distance → the lowest and the highest multiple that a real set reads; a grey band around 1.
    """
    rows, columns = len(measures), len(next(iter(measures.values())))
    figure, all_axes = canvas(rows, columns, 0.8 + 2.3 * rows, sharex=True, sharey="row")
    for number, (distance, by_denoiser) in enumerate(measures.items()):
        seeds = [np.asarray(values) for by_sampler in by_denoiser.values() for _, values in by_sampler.values()]
        edge = _edge(bands[distance], *seeds, *(each.mean(axis=1) for each in seeds))
        for axes, (denoiser, by_sampler) in zip(all_axes[number * columns :], by_denoiser.items(), strict=False):
            _real(axes, bands[distance])
            for sampler, (steps, values) in by_sampler.items():
                each = np.asarray(values)
                mean = each.mean(axis=1)
                spread = [mean - each.min(axis=1).clip(edge), each.max(axis=1) - mean]
                axes.errorbar(np.asarray(steps), mean, yerr=spread, label=sampler, capsize=3, **SAMPLERS[sampler])
            axes.set(xscale="log", yscale="log", title=denoiser if number == 0 else "")
            axes.set_ylim(bottom=edge)
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            if np.divide(*axes.get_xlim()[::-1]) < FEW_TICKS:
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5) if axes.get_ylim()[1] < 10 else (1,)))
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.yaxis.set_minor_locator(NullLocator())
        all_axes[number * columns].set_ylabel(f"{distance}, × real")
    figure.supxlabel("evaluations of the denoiser", fontsize=10)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
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
    figure, (axes,) = canvas(1, 1, 4.2)
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
