"""A trained model that samples in the reader's browser: one explorer, for JupyterLab and for a page of the report."""

from __future__ import annotations

import json
from importlib.resources import files

import anywidget
import traitlets

from lab_utils.widgets.payload import Live

_SCRIPTS = files("lab_utils.widgets") / "scripts"
ENGINE, _EXPLORER, STYLE = (
    (_SCRIPTS / name).read_text(encoding="utf-8") for name in ("engine.js", "explorer.js", "explorer.css")
)
_SCRIPT = f"{ENGINE}\n{_EXPLORER}"
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
        live: the networks, and what was measured of them.

    Raises:
        ValueError: as for `Live.payload`.
    """

    _esm = f"{_SCRIPT}\n{_RENDER}"
    _css = STYLE
    payload = traitlets.Unicode().tag(sync=True)

    def __init__(self, live: Live) -> None:
        super().__init__(payload=json.dumps(live.payload()))


def page_script(live: Live) -> str:
    """The program of a page, for a `<script type="module">`: the same explorer, in the element with the id "live".

    It stands in the page itself, with all that it needs, because a page that is opened as a file may fetch no module.

    Raises:
        ValueError: as for `Live.payload`.
    """
    payload = json.dumps(live.payload(), separators=(",", ":")).replace("<", "\\u003c")  # no name ends the script
    return f'{_SCRIPT}\nliveExplorer(document.getElementById("live"), {payload});\n'
