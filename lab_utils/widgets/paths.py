"""One cloud in two languages, that of diffusion and that of flow matching, with a slider for the place on the path."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from lab_utils.base.arguments import check_finite
from lab_utils.diffusion.schedules import flow
from lab_utils.diffusion.straight import places
from lab_utils.diffusion.targets import from_epsilon
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.exact.squares import UniformSquares
from lab_utils.widgets.live import ENGINE, PARTS, STYLE
from lab_utils.widgets.payload import encoded

SHOWN = 1500  # points
STEPS = 50  # of the slider, from the data to the noise
REACH, ACROSS = 2.4, 13  # the arrows stand on a grid: as far from the middle, and so many in a row
_SCRIPTS = files("lab_utils.widgets") / "scripts"
PATHS = (_SCRIPTS / "paths.js").read_text(encoding="utf-8")
_RENDER = """
export default {
  render({ model, el }) {
    return twoLanguages(el, JSON.parse(model.get("payload")));
  },
};
"""


def paths_payload(points: Tensor, truth: Tensor | GaussianMixture | UniformSquares) -> dict[str, Any]:
    """What the browser needs, for JSON: the points, and the exact best guess of the data everywhere on the path.

    Args:
        points: (n, 2) floats, normalised; the first 1500 are shown.
        truth: the density that they are from, as `BestDenoiser` takes it.

    Raises:
        ValueError: there are no points, or others than finite ones; or as for `BestDenoiser`.
    """
    check_finite(points, "the explorer's")
    schedule = flow(STEPS)
    exact = BestDenoiser(truth, schedule)
    line = torch.linspace(-REACH, REACH, ACROSS, dtype=torch.float64)
    z, guesses = torch.cartesian_prod(line, line), []
    for t, kept in enumerate(schedule.alphas_cumprod):
        x_t = (kept.sqrt() + (1 - kept).sqrt()) * z
        guesses.append(from_epsilon("x", exact.epsilon(x_t, torch.tensor(t)), x_t, kept.reshape(1)))
    return {
        "points": encoded(points[:SHOWN], "<f4"),
        "places": [0.0, *places(schedule).tolist()],
        "grid": line.tolist(),
        "guesses": encoded(torch.stack(guesses), "<f2"),
    }


class PathExplorer(anywidget.AnyWidget):
    """The explorer in a notebook. The browser draws by itself, so it needs the kernel only once.

    Args:
        points: (n, 2) floats, normalised; the first 1500 are shown.
        truth: the density that they are from, or all points that there are: its exact arrows are drawn.

    Raises:
        ValueError: as for `paths_payload`.
    """

    _esm = f"{ENGINE}\n{PARTS}\n{PATHS}\n{_RENDER}"
    _css = STYLE
    payload = traitlets.Unicode().tag(sync=True)

    def __init__(self, points: Tensor, truth: Tensor | GaussianMixture | UniformSquares) -> None:
        super().__init__(payload=json.dumps(paths_payload(points, truth)))

    def __repr__(self) -> str:
        """What a notebook keeps as text."""
        return "PathExplorer()"


def paths_script(points: Tensor, truth: Tensor | GaussianMixture | UniformSquares) -> str:
    """The program of the explorer in the page's element with the id "path"; it follows `live.page_script`."""
    payload = json.dumps(paths_payload(points, truth), separators=(",", ":"))
    return f'{PATHS}\ntwoLanguages(document.getElementById("path"), {payload});\n'
