"""The explorers: sliders that redraw a picture. What they show comes from plain functions, which are tested as such.

Pictures and text are `HTML` widgets, whose values are replaced when a slider moves. Nothing is printed into a cell, so
a notebook that shows an explorer runs the same with and without a browser.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from numpy.typing import ArrayLike

from lab_utils import figures
from lab_utils.display import png
from lab_utils.schedules import Schedule, ScheduleError, cosine, linear, sigmoid

LAYOUT = widgets.Layout(width="34em")
STYLE = {"description_width": "11em"}


def make_schedule(kind: str, beta_start: float, beta_end: float, start: float, end: float, timesteps: int) -> Schedule:
    """The schedule that the explorer's sliders ask for; each kind takes the ends that are its own."""
    if kind == "linear":
        return linear(beta_start, beta_end, timesteps)
    if kind == "sigmoid":
        return sigmoid(start, end, timesteps)
    if kind == "sigmoid, not rescaled":
        return sigmoid(start, end, timesteps, reading="raw")
    if kind == "cosine":
        return cosine(timesteps)
    raise ScheduleError(f"the explorer knows no schedule {kind!r}")


KINDS = ("linear", "sigmoid", "sigmoid, not rescaled", "cosine")


def schedule_view(**choice: Any) -> tuple[bytes, str]:
    """What the schedule explorer shows for one choice of the sliders.

    Args:
        choice: the arguments of `make_schedule`.

    Returns:
        A PNG picture of ᾱ and SNR and the doctor's report in HTML; for a schedule that can't be, no picture and the
        reason.
    """
    try:
        schedule = make_schedule(**choice)
    except ScheduleError as error:
        return b"", f"<p><b>This schedule cannot be used.</b> {html.escape(str(error))}</p>"
    diagnosis = schedule.doctor()
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in diagnosis.rows().items())
    text = f"<p><b>{html.escape(diagnosis.verdict)}</b></p><table>{rows}</table>"
    return png(figures.schedule_card(schedule)), text


def _image(picture: bytes, alt: str) -> str:
    encoded = base64.b64encode(picture).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" alt="{html.escape(alt)}" style="max-width: 100%">'


def _explorer(controls: Mapping[str, Any], show: Callable[[], None], below: list[Any]) -> widgets.VBox:
    """Call `show` now and whenever a control changes; stack the controls on what is shown."""
    for control in controls.values():
        control.observe(lambda _: show(), "value")
    show()
    return widgets.VBox([*controls.values(), *below])


def schedule_explorer() -> widgets.VBox:
    """Sliders for the kind, its ends and T; below, the curves and the doctor's verdict."""
    text = {"style": STYLE, "layout": LAYOUT, "continuous_update": False}
    controls = {
        "kind": widgets.Dropdown(options=KINDS, value="linear", description="kind", style=STYLE, layout=LAYOUT),
        "beta_start": widgets.FloatLogSlider(1e-4, min=-5, max=-2, description="β, first step", **text),
        "beta_end": widgets.FloatLogSlider(0.02, min=-3, max=-0.5, description="β, last step", **text),
        "start": widgets.FloatSlider(-5, min=-12, max=0, step=0.5, description="sigmoid from", **text),
        "end": widgets.FloatSlider(5, min=0, max=12, step=0.5, description="sigmoid to", **text),
        "timesteps": widgets.IntSlider(1000, min=10, max=2000, step=10, description="T", **text),
    }
    picture, report = widgets.HTML(), widgets.HTML()

    def show() -> None:
        choice = {name: control.value for name, control in controls.items()}
        for name in ("beta_start", "beta_end"):
            controls[name].disabled = choice["kind"] != "linear"
        for name in ("start", "end"):
            controls[name].disabled = not choice["kind"].startswith("sigmoid")
        drawn, report.value = schedule_view(**choice)
        picture.value = _image(drawn, "ᾱ and the signal-to-noise ratio of the chosen schedule") if drawn else ""

    return _explorer(controls, show, [picture, report])


def reverse_view(
    paths: Mapping[str, Mapping[int, ArrayLike]], step: int, extent: figures.Extent, labels: tuple[str, str]
) -> bytes:
    """What the reverse explorer shows: a PNG picture of each schedule's points after `step` reverse steps.

    Args:
        paths: schedule → number of reverse steps done → (n, 2) points in the data's own units.
        step: one of these numbers.
        extent: left, right, bottom, top.
        labels: of the axes.
    """
    total = max(next(iter(paths.values())))
    panels = {name: path[step] for name, path in paths.items()}
    return png(figures.reverse_frame(panels, step, total, extent, labels))


def reverse_explorer(
    paths: Mapping[str, Mapping[int, ArrayLike]], extent: figures.Extent, labels: tuple[str, str] = ("x", "y")
) -> widgets.VBox:
    """A slider through the reverse steps of several schedules at once. Arguments as for `reverse_view`."""
    steps = list(next(iter(paths.values())))
    slider = widgets.SelectionSlider(
        options=steps, value=steps[0], description="reverse steps done", style=STYLE, layout=LAYOUT
    )
    picture = widgets.HTML()

    def show() -> None:
        alt = f"the points of {' and '.join(paths)} after {slider.value} reverse steps"
        picture.value = _image(reverse_view(paths, slider.value, extent, labels), alt)

    return _explorer({"step": slider}, show, [picture])
