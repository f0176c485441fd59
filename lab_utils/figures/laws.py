"""Points over the density that they are held against."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab_utils.exact.gridded import Law
from lab_utils.figures.style import BLUE, STYLE, WIDTH, Extent, canvas, dot_size, fix, label_outside, scatter
from lab_utils.points.dataset import Units

SHADES = LinearSegmentedColormap.from_list("shades", ("white", "#F2A65A"))
DENSEST = 0.98  # of the mass of a law lies in cells that are drawn paler than the darkest


@mpl.rc_context(STYLE)
def over_laws(
    panels: Mapping[str, tuple[Law, ArrayLike]],
    extent: Extent,
    units: Units,
    *,
    labels: tuple[str, str] = ("x", "y"),
    columns: int = 2,
) -> Figure:
    """Point sets side by side on the same axes, each over a law, which is the darker the more mass a cell has.

    Args:
        panels: title → a law in normalised units, and (n, 2) points in the data's own.
        extent: left, right, bottom, top, in the data's own units, the same for all panels.
        units: between the two.
        labels: of the axes, written at the outer panels only.
        columns: panels in a row.
    """
    rows = -(-len(panels) // columns)
    shape = (extent[3] - extent[2]) / (extent[1] - extent[0])
    figure, all_axes = canvas(
        rows, columns, 0.35 + rows * (0.3 + WIDTH * 0.95 / columns * shape), sharex=True, sharey=True
    )
    for axes, (title, (law, points)) in zip(all_axes, panels.items(), strict=False):
        left, right, bottom, top = law.grid.extent
        (west, south), (east, north) = units.restore(np.array([[left, bottom], [right, top]])).tolist()
        mass = law.mass.numpy()
        rising = np.sort(mass, axis=None)
        most = rising[np.searchsorted(rising.cumsum(), DENSEST)]
        box = (west, east, south, north)
        # the root shows thin parts, too
        axes.imshow(
            np.sqrt(mass / most), origin="lower", extent=box, cmap=SHADES, vmin=0, vmax=1, interpolation="bilinear"
        )
        scatter(axes, points, dot_size(len(np.asarray(points)), 4.0 / columns**2, 5000), BLUE)
        axes.set_title(title)
        axes.grid(visible=False)
        fix(axes, extent)
    label_outside(all_axes, len(panels), columns, labels)
    return figure
