"""A trained model that samples in the reader's browser: one explorer, for JupyterLab and for a page of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

import anywidget
import traitlets

from lab_utils import figures
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.points.dataset import Dataset
from lab_utils.widgets.payload import NOTHING, Choice, Live, Reading

_SCRIPTS = files("lab_utils.widgets") / "scripts"
ENGINE, PARTS, EXPLORER, STYLE = (
    (_SCRIPTS / name).read_text(encoding="utf-8") for name in ("engine.js", "parts.js", "explorer.js", "explorer.css")
)
_SCRIPT = f"{ENGINE}\n{PARTS}\n{EXPLORER}"
_RENDER = """
export default {
  render({ model, el }) {
    return liveExplorer(el, JSON.parse(model.get("payload")));
  },
};
"""


class LiveExplorer(anywidget.AnyWidget):
    """The explorer in a notebook.

    The browser samples by itself, so it needs the kernel only once.

    Args:
        models: name → the networks of that name, one for each schedule.
        data: what they learnt.
        readings: what was measured of them.
        extent: left, right, bottom, top of the map, in the data's own units; noise is wider than the data.
        labels: of the axes, with the unit behind a slash.

    Raises:
        ValueError: as for `Live.payload`.
    """

    _esm = f"{_SCRIPT}\n{_RENDER}"
    _css = STYLE
    payload = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        models: Mapping[str, Sequence[DenoisingModule]],
        data: Dataset,
        *,
        readings: Mapping[Choice, Reading] = NOTHING,
        extent: figures.Extent | None = None,
        labels: tuple[str, str] = ("x", "y"),
    ) -> None:
        self._names = ", ".join(models)
        super().__init__(payload=json.dumps(Live(models, data, readings, extent, labels).payload()))

    def __repr__(self) -> str:
        """What a notebook keeps as text: names, and not a hundred thousand weights."""
        return f"LiveExplorer({self._names})"


def page_script(live: Live) -> str:
    """The program of a page, for a `<script type="module">`: the same explorer, in the element with the id "live".

    It stands in the page itself, with all that it needs, because a page that is opened as a file may fetch no module.

    Raises:
        ValueError: as for `Live.payload`.
    """
    payload = json.dumps(live.payload(), separators=(",", ":")).replace("<", "\\u003c")  # no name ends the script
    return f'{_SCRIPT}\nliveExplorer(document.getElementById("live"), {payload});\n'
