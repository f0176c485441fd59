"""A field to draw in, and the small network, which learns the drawing in the reader's browser."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import sde_dpm_solver
from lab_utils.diffusion.schedules import sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.widgets.live import ENGINE, PARTS, STYLE
from lab_utils.widgets.payload import network_parts, sampler_rows, schedule_tables

POINTS = 5000  # that are taken from the drawing to learn, as many as the course's
SETS, SET = 5, 1000  # other sets of points of the drawing, to hold samples of the same size against
STEPS = 20
BATCH = 200  # points: in half a minute, more steps are worth more than quieter ones
_SCRIPTS = files("lab_utils.widgets") / "scripts"
TRAINING, DRAWING = ((_SCRIPTS / name).read_text(encoding="utf-8") for name in ("training.js", "drawing.js"))
_RENDER = """
export default {
  render({ model, el }) {
    return drawOwn(el, JSON.parse(model.get("payload")));
  },
};
"""


def drawing_payload() -> dict[str, Any]:
    """What the browser needs, for JSON: the original's network with its first weights, its schedule, its recipe."""
    recipe = Recipe(batch_size=BATCH)
    network = DiffusionGenerator(schedule=sigmoid())
    return {
        "model": network_parts(network),
        "schedule": schedule_tables(network.schedule),
        "sampler": sampler_rows(sde_dpm_solver(network.schedule, STEPS)),
        "recipe": {name: getattr(recipe, name) for name in ("learning_rate", "warmup", "ema_decay", "batch_size")},
        "count": POINTS,
        "sets": {"number": SETS, "count": SET},
    }


class DrawingField(anywidget.AnyWidget):
    """The field in a notebook: draw, train, and watch the excess fall. The browser does it all by itself."""

    _esm = f"{ENGINE}\n{PARTS}\n{TRAINING}\n{DRAWING}\n{_RENDER}"
    _css = STYLE
    payload = traitlets.Unicode().tag(sync=True)

    def __init__(self) -> None:
        super().__init__(payload=json.dumps(drawing_payload()))

    def __repr__(self) -> str:
        """What a notebook keeps as text."""
        return "DrawingField()"


def drawing_script() -> str:
    """The program of the field in the page's element with the id "draw"; it follows `live.page_script`."""
    payload = json.dumps(drawing_payload(), separators=(",", ":"))
    return f'{TRAINING}\n{DRAWING}\ndrawOwn(document.getElementById("draw"), {payload});\n'
