"""Schedules: ᾱ, the signal-to-noise ratio, and what they make of points."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

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
from lab_utils.schedules import Schedule


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
def schedule_card(
    schedule: Schedule, stages: Mapping[str, ArrayLike], extent: Extent, labels: tuple[str, str] = ("x", "y")
) -> Figure:
    """ᾱ and the signal-to-noise ratio of one schedule, and what it makes of points, for the explorer.

    Args:
        schedule: whose wasted steps, those with ᾱ < 0.01, are shaded.
        stages: title → (n, 2) noised points in the data's own units.
        extent: left, right, bottom, top of the maps.
        labels: of their axes.
    """
    figure = Figure(figsize=(WIDTH, 4.6), dpi=EXPLORER_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2 * len(stages), height_ratios=(3, 2))
    left, right = figure.add_subplot(grid[0, : len(stages)]), figure.add_subplot(grid[0, len(stages) :])
    steps = np.arange(1, schedule.timesteps + 1)
    left.plot(steps, schedule.alphas_cumprod.numpy(), **line_of(schedule.name))
    left.set(xlabel="noising steps done", ylabel="ᾱ", ylim=(-0.02, 1.02))
    right.plot(steps, schedule.snr.numpy(), **line_of(schedule.name))
    right.axhline(1, color=GREY, linewidth=1, linestyle=":")
    right.set(xlabel="noising steps done", ylabel="SNR (1: as much noise as data)", yscale="log", ylim=(1e-9, 1e6))
    wasted = schedule.doctor().passes[0.01]
    if wasted is not None:
        for axes in (left, right):
            axes.axvspan(wasted, schedule.timesteps, color=PALE, alpha=0.45, linewidth=0)
        left.set_title(f"shaded: {schedule.doctor().wasted:.1%} of the steps have ᾱ < 0.01")
    for number, (title, points) in enumerate(stages.items()):
        axes = figure.add_subplot(grid[1, 2 * number : 2 * number + 2])
        scatter(axes, points, 0.8, line_of(schedule.name)["color"])
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(labels[0])
        axes.tick_params(labelleft=not number)
        fix(axes, extent)
        if not number:
            axes.set_ylabel(labels[1])
    return figure
