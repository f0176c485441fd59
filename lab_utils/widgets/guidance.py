"""Choose a class, slide w, and see where a guided network's points go, over the two laws that they might follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import anywidget
import torch
import traitlets

from lab_utils import figures
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.samplers import dpm_solver, sde_dpm_solver
from lab_utils.exact.gridded import Law
from lab_utils.points.dataset import Dataset
from lab_utils.widgets.live import ENGINE, PARTS, STYLE
from lab_utils.widgets.payload import Solver, encoded, known, network_parts, sampler_rows, schedule_tables

POINTS = 1000  # that a browser moves
MOST = 5.0  # the largest w
WAYS: dict[str, tuple[Solver, int]] = {  # so many steps lead the towns of a continent, up to w = 5, to where 200 do,
    # within a degree in the mean
    "none (ODE)": (dpm_solver, 20),
    "in each but the last (SDE)": (sde_dpm_solver, 50),
}
OUTSIDE = 0.01  # of a class's points lie beyond each side of its frame but for the margin …
MARGIN = 0.15  # … which is so much of its longer side
LEAST = -60_000.0  # the least logarithm of a cell's mass: half precision has no smaller number
GUIDANCE = (files("lab_utils.widgets") / "scripts" / "guidance.js").read_text(encoding="utf-8")
_RENDER = """
export default {
  render({ model, el }) {
    return guidanceExplorer(el, JSON.parse(model.get("payload")));
  },
};
"""


def guidance_payload(
    network: DenoisingModule,
    data: Dataset,
    laws: Mapping[str, Law],
    *,
    kind: str = "class",
    extent: figures.Extent | None = None,
    labels: tuple[str, str] = ("x", "y"),
) -> dict[str, Any]:
    """What the explorer needs, for JSON; arguments and errors as for `GuidanceExplorer`."""
    told = known(network)
    if not told.classes or told.classes != data.classes or tuple(laws) != data.classes or data.train_labels is None:
        raise ValueError(
            "the network, the data and the laws must have the same classes, one or more, in the same order; they have "
            f"{told.classes}, {data.classes} and {tuple(laws)}"
        )
    if len(grids := {law.grid for law in laws.values()}) > 1:
        raise ValueError(f"all laws must stand on one grid; they stand on {len(grids)}")
    (grid,) = grids
    return {
        "points": POINTS,
        "most": MOST,
        "model": network_parts(told),
        "schedule": schedule_tables(told.schedule),
        "samplers": [
            {"name": name, **sampler_rows(make(told.schedule, steps))} for name, (make, steps) in WAYS.items()
        ],
        "classes": [*data.classes],
        "kind": kind,
        "shares": (data.train_labels.bincount(minlength=len(data.classes)) / len(data.train)).tolist(),
        "grid": {"extent": [*grid.extent], "cells": [*grid.cells]},
        "laws": encoded(torch.stack([law.log_mass for law in laws.values()]).clamp(min=LEAST), "<f2"),
        "shift": data.units.shift.tolist(),
        "scale": data.units.scale,
        "extent": [*(extent or figures.around(data.units.restore(data.held_out).numpy()))],
        "frames": [_frame(data.given(label)) for label in data.classes],
        "labels": [*labels],
    }


def _frame(part: Dataset) -> list[float]:
    """A map around nearly all points of a class, with room for points that go astray."""
    ends = torch.tensor([OUTSIDE, 1 - OUTSIDE], dtype=torch.float64)
    return [*figures.around(part.units.restore(part.train).quantile(ends, dim=0).numpy(), margin=MARGIN)]


class GuidanceExplorer(anywidget.AnyWidget):
    """The explorer in a notebook. The browser samples by itself, so it needs the kernel only once.

    Args:
        network: that knows the classes of `data`.
        data: what it has learnt, with labels.
        laws: class → p(x|c) on one grid, in normalised units. p(x) is their mixture, with each class's share of the
            training points.
        kind: what a class is, "continent" for instance.
        extent: left, right, bottom, top of the whole map, in the data's own units. At first the maps show the
            surroundings of the class that is asked for.
        labels: of their axes, with the unit behind a slash.

    Raises:
        ValueError: the classes differ, the laws stand on several grids, or it is no network that a browser knows.
    """

    _esm = f"{ENGINE}\n{PARTS}\n{GUIDANCE}\n{_RENDER}"
    _css = STYLE
    payload = traitlets.Unicode().tag(sync=True)

    def __init__(self, network: DenoisingModule, data: Dataset, laws: Mapping[str, Law], **shown: Any) -> None:
        self._names = ", ".join(laws)
        super().__init__(payload=json.dumps(guidance_payload(network, data, laws, **shown)))

    def __repr__(self) -> str:
        """What a notebook keeps as text: names, and not a hundred thousand weights."""
        return f"GuidanceExplorer({self._names})"


def guidance_script(payload: Mapping[str, Any]) -> str:
    """The program of the explorer in the page's element with the id "guide"; it follows `live.page_script`."""
    text = json.dumps(payload, separators=(",", ":")).replace("<", "\\u003c")  # no name ends the script
    return f'{GUIDANCE}\nguidanceExplorer(document.getElementById("guide"), {text});\n'
