"""Losses and their floors, and what of them could go away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PALE,
    RISING,
    STYLE,
    around,
    canvas,
    centres,
    dot_size,
    fix,
    line_of,
    scatter,
    smooth,
)
from lab_utils.measure.nats import Nats


@mpl.rc_context(STYLE)
def losses(curves: Mapping[str, ArrayLike], floors: Mapping[str, float], *, window: int = 100) -> Figure:
    """The loss of each epoch, as one usually sees it and enlarged, with the floor below which no network can get.

    Args:
        curves: schedule → loss of each epoch.
        floors: schedule → the smallest possible mean loss.
        window: epochs in the moving average that is drawn over the single epochs.
    """
    figure, (left, right) = canvas(1, 2, 3.4)
    for name, curve in curves.items():
        values = np.asarray(curve)
        epochs = np.arange(1, len(values) + 1)
        color = line_of(name)["color"]
        left.plot(epochs, values, color=color, linewidth=0.8)
        left.axhline(floors[name], color=color, linestyle=":", linewidth=1.4)
        right.plot(epochs[window - 1 :], smooth(values, window) - floors[name], label=name, **line_of(name))
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, None), title="the loss of each epoch, and its floor (dotted)")
    right.axhline(0, color=GREY, linestyle=":", linewidth=1.4)
    right.set(xlabel="epoch", ylabel="loss − floor", xscale="log", ylim=(-0.003, 0.04))
    right.set_title(f"loss − floor, mean of {window} epochs")
    right.legend(loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def losses_along_t(floors: Mapping[str, ArrayLike], losses: Mapping[str, ArrayLike], *, timesteps: int) -> Figure:
    """The smallest possible loss and a network's, against t, one panel for each schedule.

    Args:
        floors: schedule → floor in equal stretches of 0 … T−1.
        losses: schedule → the network's loss in the same stretches.
        timesteps: T, of all schedules.
    """
    figure, all_axes = canvas(1, len(floors), 3.2, sharey=True)
    for axes, (name, floor) in zip(all_axes, floors.items(), strict=True):
        t = centres(floor, timesteps)
        axes.fill_between(
            t, 0, np.asarray(floor), color=PALE, alpha=0.6, linewidth=0, label="floor: nothing gets below"
        )
        axes.plot(t, np.asarray(losses[name]), label="the network's loss", color=line_of(name)["color"], linewidth=1.4)
        axes.set(title=name, xlabel="timestep t", ylim=(0, 1.05))
        axes.legend(loc="upper right")
    all_axes[0].set_ylabel("loss")
    return figure


@mpl.rc_context(STYLE)
def excess(
    checkpoints: Mapping[str, tuple[ArrayLike, ArrayLike]],
    curves: Mapping[str, ArrayLike],
    along_t: Mapping[str, Mapping[int, ArrayLike]],
    *,
    timesteps: int,
    window: int = 200,
) -> Figure:
    """What of the loss could go away: against the epoch, on logarithmic axes, and against t at some epochs.

    Args:
        checkpoints: schedule → epochs, and the mean excess there.
        curves: schedule → loss − floor of each epoch.
        along_t: schedule → epoch → the excess in equal stretches of 0 … T−1.
        timesteps: T, of all schedules.
        window: epochs in the moving average of the curves.
    """
    figure, (left, *others) = canvas(1, 1 + len(along_t), 3.6)
    for name, (epochs, values) in checkpoints.items():
        mean = smooth(np.asarray(curves[name]), window)
        left.plot(np.arange(len(mean)) + window / 2, mean, color=line_of(name)["color"], linewidth=0.7, alpha=0.6)
        left.plot(np.asarray(epochs), np.asarray(values), label=name, **line_of(name, marked=True))
    left.set(xscale="log", yscale="log", xlabel="epoch", ylabel="excess = loss − floor", title="mean over t")
    marked = sorted({int(epoch) for epochs, _ in checkpoints.values() for epoch in np.asarray(epochs)})
    left.set_xticks(marked, [str(epoch) for epoch in marked])
    left.set_xticks([], minor=True)
    left.set_xlim(left=window / 2)
    left.legend()
    for axes, (name, by_epoch) in zip(others, along_t.items(), strict=True):
        for color, (epoch, values) in zip(RISING, by_epoch.items(), strict=False):
            axes.plot(
                centres(values, timesteps), np.asarray(values), color=color, label=f"{epoch} epochs", linewidth=1.5
            )
        axes.set(xlabel="timestep t", title=f"{name}, along t", xlim=(0, timesteps), ylim=(0, None))
    others[0].legend(loc="upper right")
    return figure


@mpl.rc_context(STYLE)
def nats(lost: Mapping[str, Nats], *, scale: float = 1.0, unit: str = "normalised units") -> Figure:
    """Where along log-SNR the nats are lost: a line for each denoiser, and the area below it is its excess in nats.

    On the noisy side the axis ends where each denoiser has lost 99 % of its nats.

    Args:
        lost: label → the denoiser's excess, at least one. A schedule has its own colour; of others, up to four are
            drawn from pale to dark, and more in other colours.
        scale: of the data, `data.units.scale`: the upper axis shows how wide the noise is in the data's own units.
        unit: what these are called.
    """
    figure, (axes,) = canvas(1, 1, 3.8)
    ends = []
    for (label, one), color in zip(lost.items(), cycle((*RISING, ORANGE, GREEN, GREY)), strict=False):
        look = line_of(label) if label in LINES else {"color": color}
        axes.plot(one.log_snr.numpy(), one.density.numpy(), label=f"{label}: {one}", **look)
        most = one.density.cumsum(0) < 0.99 * one.density.sum()  # from little noise to much; of 0 nats it is nowhere
        ends.append(float(one.log_snr[most].min()) if most.any() else float(one.log_snr[0]))
    left, right = min(ends) - 0.5, max(float(one.log_snr[0]) for one in lost.values()) + 0.1
    axes.set(xlabel="log SNR: more noise on the left, less on the right", ylabel="nats for each unit of log SNR")
    axes.set(xlim=(left, right), ylim=(0, None))
    axes.legend(title="nats in all, the area below the line")
    widths = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
    places = {-2 * math.log(width / scale): f"{width:g}" for width in widths}  # where √(1/SNR) · scale is that wide
    shown = {place: width for place, width in places.items() if left <= place <= right}
    upper = axes.secondary_xaxis("top")
    upper.set_xticks(list(shown), list(shown.values()))
    upper.set_xlabel(f"width of the noise (its standard deviation), {unit}")
    return figure


@mpl.rc_context(STYLE)
def training_view(
    losses: ArrayLike,
    floor: float,
    excess: Mapping[int, float],
    samples: ArrayLike,
    real: ArrayLike,
    *,
    labels: tuple[str, str] = ("x", "y"),
) -> Figure:
    """How a training stands: its losses above their floor, what of them could go away, and what it makes now.

    Args:
        losses: of each epoch.
        floor: the smallest possible mean loss.
        excess: epoch → the mean excess over the floor.
        samples: (n, 2) points that the model makes, in the data's own units.
        real: (m, 2) points that it has not seen, drawn in grey behind them.
        labels: of the axes that the points are on.
    """
    figure, (left, middle, right) = canvas(1, 3, 2.9)
    values = np.asarray(losses)
    left.plot(np.arange(1, len(values) + 1), values, color=BLUE, linewidth=0.8)
    left.axhline(floor, color=GREY, linestyle=":", linewidth=1.4)
    left.set(xlabel="epoch", title="loss, and its floor (dotted)", ylim=(0, None))
    middle.plot(list(excess), list(excess.values()), color=BLUE, marker="o", markersize=3)
    middle.set(xlabel="epoch", title="excess over the floor", yscale="log")
    scatter(right, real, dot_size(len(np.asarray(real)), 1.0, 2000), PALE, 1)
    scatter(right, samples, dot_size(len(np.asarray(samples)), 1.5, 2000), BLUE)
    right.set(title="samples now (grey: real)", xlabel=labels[0], ylabel=labels[1])
    fix(right, around(real))
    return figure
