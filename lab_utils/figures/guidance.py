"""What guidance gives and takes, along its weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

from lab_utils.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE, canvas
from lab_utils.study.guidance_results import more_is_better

LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": ORANGE, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PURPLE, "marker": "D", "linestyle": ":"},
)  # of the ways to guide, in their order
MANY = 10  # times the least: where the most is more, the axis is logarithmic


@mpl.rc_context(STYLE)
def along_weights(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    real: float = 1.0,
    columns: int = 2,
    ylabel: str = "× real: 1 is what real points read",
) -> Figure:
    """Some measures along the weight of guidance: a panel for each measure, a line for each way to guide.

    A star marks w = 1, where nothing is guided, and a grey line what real points read. A point is the mean over the
    seeds, and its bar goes from the lowest to the highest.

    Args:
        panels: measure → way → (k,) weights and (k, seeds) values, as `study.guidance_results.curves` gives them.
        real: what real points read, the same in all panels.
        columns: panels in a row.
        ylabel: what the values are.
    """
    rows = -(-len(panels) // columns)
    figure, all_axes = canvas(rows, columns, 0.8 + 2.2 * rows, sharex=True)
    for axes, (measure, by_way) in zip(all_axes, panels.items(), strict=False):
        axes.axhline(real, color=GREY, linewidth=1.4, label="real points")
        means = []
        for (way, (weights, values)), look in zip(by_way.items(), LOOKS, strict=False):
            each = np.asarray(values)
            means.append(each.mean(axis=1))
            spread = [means[-1] - each.min(axis=1), each.max(axis=1) - means[-1]]
            axes.errorbar(np.asarray(weights), means[-1], yerr=spread, label=way, capsize=3, markersize=5, **look)
        first = np.asarray(next(iter(by_way.values()))[0])
        unguided = means[0][first == 1]
        axes.plot(np.ones(len(unguided)), unguided, "*", color="black", markersize=12, zorder=5, label="unguided")
        together = np.concatenate(means)
        if together.min() > 0 and together.max() > MANY * together.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if together.max() < 100 else (1,)))
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(f"{measure} ({'more' if more_is_better(measure) else 'less'} is better)")
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("weight of the guidance, w", fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
