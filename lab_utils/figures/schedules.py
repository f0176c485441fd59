"""Schedules: ᾱ, the signal-to-noise ratio, and what they make of points."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import Schedule
from lab_utils.figures.style import (
    EXPLORER_DPI,
    GREY,
    PALE,
    STYLE,
    WIDTH,
    Extent,
    canvas,
    fix,
    line_of,
    scatter,
)


@mpl.rc_context(STYLE)
def alphas_cumprod(schedules: Mapping[str, Schedule]) -> Figure:
    """ᾱ against the step, on a linear axis and on a logarithmic one.

    Of a single schedule, the steps with ᾱ < 0.01 are shaded.

    Args:
        schedules: label → schedule; a label that names a kind has that kind's colour.
    """
    figure, (left, right) = canvas(1, 2, 3.0)
    for label, schedule in schedules.items():
        curve = schedule.alphas_cumprod.numpy()
        steps = np.arange(1, len(curve) + 1)
        for axes in (left, right):
            axes.plot(steps, curve, label=label, **line_of(label))
    if len(schedules) == 1:
        found = diagnose(schedule)
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
def schedule_card(schedule: Schedule, stages: Mapping[str, ArrayLike], extent: Extent) -> Figure:
    """ᾱ and the signal-to-noise ratio of one schedule, and what it makes of points, for the explorer.

    Args:
        schedule: whose wasted steps, those with ᾱ < 0.01, are shaded.
        stages: title → (n, 2) noised points in the data's own units.
        extent: left, right, bottom, top of the small maps, which have no numbers at their axes.
    """
    figure = Figure(figsize=(WIDTH, 5.0), dpi=EXPLORER_DPI)
    FigureCanvasAgg(figure)
    # margins, places of titles and plain numbers of its own: to work them out takes matplotlib longer than to draw
    grid = figure.add_gridspec(2, 1, height_ratios=(3, 2), left=0.09, right=0.99, top=0.94, bottom=0.02, hspace=0.45)
    above, below = grid[0].subgridspec(1, 2, wspace=0.25), grid[1].subgridspec(1, len(stages), wspace=0.06)
    left, right = figure.add_subplot(above[0]), figure.add_subplot(above[1])
    steps = np.arange(1, schedule.timesteps + 1)
    left.plot(steps, schedule.alphas_cumprod.numpy(), **line_of(schedule.name))
    left.set(xlabel="noising steps done", ylabel="ᾱ", ylim=(-0.02, 1.02))
    right.plot(steps, schedule.snr.numpy(), **line_of(schedule.name))
    right.axhline(1, color=GREY, linewidth=1, linestyle=":")
    right.set(xlabel="noising steps done", ylabel="SNR", yscale="log", ylim=(1e-9, 1e6))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    right.set_title("above the dotted line: more data than noise", y=1.02)
    found = diagnose(schedule)
    wasted = found.passes[0.01]
    if wasted is not None:
        for axes in (left, right):
            axes.axvspan(wasted, schedule.timesteps, color=PALE, alpha=0.45, linewidth=0)
        left.set_title(f"shaded: {found.wasted:.1%} of the steps have ᾱ < 0.01", y=1.02)
    for number, (title, points) in enumerate(stages.items()):
        axes = figure.add_subplot(below[number])
        scatter(axes, points, 1.0, line_of(schedule.name)["color"])
        axes.set_title(title, fontsize=9, y=1.02)
        axes.set(xticks=[], yticks=[])
        fix(axes, extent)
    return figure
