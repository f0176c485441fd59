"""What all explorers are made of: controls that redraw, and a picture, which may be clicked on.

Pictures and text are widgets whose values are replaced when a control moves. Nothing is printed into a cell, so a
notebook that shows an explorer runs the same with and without a browser.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets
from matplotlib.axes import Axes

LAYOUT = widgets.Layout(width="34em")
STYLE = {"description_width": "11em"}

_SCRIPT = """
function render({ model, el }) {
  const picture = document.createElement("img");
  picture.style.maxWidth = "100%";
  const show = () => {
    picture.src = model.get("source");
    picture.alt = model.get("alt");
    picture.style.cursor = model.get("clickable") ? "crosshair" : "";
  };
  show();
  model.on("change:source", show);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    model.set("at", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    model.save_changes();
  });
  el.appendChild(picture);
}
export default { render };
"""


class Picture(anywidget.AnyWidget):
    """A picture that can be replaced, and tells where it was clicked.

    Attributes:
        at: where the last click was, from 0 to 1: to the right, and down; empty before the first.
    """

    _esm = _SCRIPT
    source = traitlets.Unicode().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    clickable = traitlets.Bool(False).tag(sync=True)
    at = traitlets.List(traitlets.Float()).tag(sync=True)

    def show(self, png: bytes, alt: str) -> None:
        """Show a PNG picture; `alt` describes it to someone who can't see it."""
        self.alt = alt
        self.source = "data:image/png;base64," + base64.b64encode(png).decode("ascii") if png else ""


def under(axes: Axes, at: Iterable[float]) -> tuple[float, float] | None:
    """The point of `axes` where its figure was clicked, in the units of its data; None beside them.

    The figure must have been drawn, whole (`display.quick_png`).
    """
    right, down = at
    width, height = axes.figure.bbox.size
    pixel = (right * width, (1 - down) * height)
    if not axes.bbox.contains(*pixel):
        return None
    x, y = axes.transData.inverted().transform(pixel)
    return float(x), float(y)


def explorer(controls: Iterable[Any], show: Callable[[], None], below: Iterable[Any]) -> widgets.VBox:
    """Call `show` now and whenever a control changes; stack the controls on what is shown."""
    controls = list(controls)
    for control in controls:
        control.observe(lambda _: show(), "value")
    show()
    return widgets.VBox([*controls, *below])
