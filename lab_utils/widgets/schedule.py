"""Bend the noise schedule by its ends, and see what becomes of the data, of the SNR, of the steps."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor

from lab_utils import SEED, figures
from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import Schedule, ScheduleError, cosine, linear, sigmoid
from lab_utils.figures.display import quick_png
from lab_utils.points.dataset import Dataset
from lab_utils.widgets.base import LAYOUT, STYLE, Picture, explorer

POINTS = 1500  # shown in each small map: enough to know the continents by
SHARES = (0.1, 0.25, 0.5, 0.75)  # of the steps, after which the data are shown
KINDS = ("linear", "sigmoid", "sigmoid, not rescaled", "cosine")


def make_schedule(kind: str, beta_start: float, beta_end: float, start: float, end: float, timesteps: int) -> Schedule:
    """The schedule that the explorer's sliders ask for; each kind takes the ends that are its own.

    Args:
        kind: one of `KINDS`.
        beta_start: β of the first step, for "linear".
        beta_end: β of the last step, for "linear".
        start: where the sigmoid begins, for both kinds of "sigmoid".
        end: where it ends.
        timesteps: T.

    Raises:
        ScheduleError: there is no such kind, or the schedule can't be used.
    """
    if kind == "linear":
        return linear(beta_start, beta_end, timesteps)
    if kind == "sigmoid":
        return sigmoid(start, end, timesteps)
    if kind == "sigmoid, not rescaled":
        return sigmoid(start, end, timesteps, reading="raw")
    if kind == "cosine":
        return cosine(timesteps)
    raise ScheduleError(f"the explorer knows no schedule {kind!r}; it has {', '.join(map(repr, KINDS))}")


def noised(data: Dataset, schedule: Schedule) -> dict[str, Tensor]:
    """Some of the training points in their own units, with the same noise, after some shares of the steps."""
    points = data.train[:POINTS]
    noise = torch.randn(points.shape, generator=torch.Generator().manual_seed(SEED))
    stages = {}
    for share in SHARES:
        done = max(1, round(share * schedule.timesteps))
        stages[f"{done} steps, ᾱ = {schedule.alphas_cumprod[done - 1]:.2g}"] = data.units.restore(
            schedule.q_sample(points, torch.tensor(done - 1), noise)
        )
    return stages


def schedule_view(data: Dataset, extent: figures.Extent, **choice: Any) -> tuple[bytes, str]:
    """What the schedule explorer shows for one choice of the sliders.

    Args:
        data: whose training points are noised.
        extent: left, right, bottom, top of the small maps.
        choice: the arguments of `make_schedule`.

    Returns:
        A PNG picture of ᾱ, SNR and noised points, and the doctor's report in HTML; for a schedule that can't be, no
        picture and the reason.
    """
    try:
        schedule = make_schedule(**choice)
    except ScheduleError as error:
        return b"", f"<p><b>This schedule cannot be used.</b> {html.escape(str(error))}</p>"
    diagnosis = diagnose(schedule)
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in diagnosis.rows().items())
    text = f"<p><b>{html.escape(diagnosis.verdict)}</b></p><table>{rows}</table>"
    return quick_png(figures.schedule_card(schedule, noised(data, schedule), extent)), text


def schedule_explorer(data: Dataset, extent: figures.Extent) -> widgets.VBox:
    """Sliders for the kind, its ends and T; below, the curves, the noised points and the doctor's verdict."""
    text = {"style": STYLE, "layout": LAYOUT, "continuous_update": False}
    controls = {
        "kind": widgets.Dropdown(options=KINDS, value="linear", description="kind", style=STYLE, layout=LAYOUT),
        "beta_start": widgets.FloatLogSlider(1e-4, min=-5, max=-2, description="β, first step", **text),
        "beta_end": widgets.FloatLogSlider(0.02, min=-3, max=-0.5, description="β, last step", **text),
        "start": widgets.FloatSlider(-5, min=-12, max=0, step=0.5, description="sigmoid from", **text),
        "end": widgets.FloatSlider(5, min=0, max=12, step=0.5, description="sigmoid to", **text),
        "timesteps": widgets.IntSlider(1000, min=10, max=2000, step=10, description="T", **text),
    }
    picture, report = Picture(), widgets.HTML()

    def show() -> None:
        choice = {name: control.value for name, control in controls.items()}
        for name in ("beta_start", "beta_end"):
            controls[name].disabled = choice["kind"] != "linear"
        for name in ("start", "end"):
            controls[name].disabled = not choice["kind"].startswith("sigmoid")
        drawn, report.value = schedule_view(data, extent, **choice)
        picture.show(drawn, "ᾱ and the signal-to-noise ratio of the chosen schedule, and points noised by it")

    return explorer(controls.values(), show, [picture, report])
