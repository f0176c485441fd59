"""The page about measured points, of `python -m lab_utils.measure --out page.html`: numbers, then pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils import SEED, figures
from lab_utils.figures.display import png
from lab_utils.measure.benchmark import SIZE
from lab_utils.measure.cells import count_differences
from lab_utils.measure.comparison import Comparison
from lab_utils.measure.neighbours import stray_mask
from lab_utils.report.pages import environment, facts

if TYPE_CHECKING:
    import pandas as pd

SEEN = 0.0005  # the share of real points, on each of the four sides, that may lie outside the maps
LONG, HIGH = 4.0, 1.0  # a map is at most so many times as long as high, and as high as long
EACH = 20  # points in a cell on average, of both sets together
CELLS = 4, 60  # along the longer side: the fewest and the most


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page: its PNG in base64, its caption, and what it shows for who can't see it."""

    png: str
    name: str
    caption: str
    alt: str


def page(
    found: Comparison,
    generated: Tensor,
    real: Tensor,
    *,
    names: tuple[str, str] = ("generated points", "real points"),
    labels: tuple[str, str] = ("x", "y"),
    standing: pd.DataFrame | None = None,
    said: Sequence[str] = (),
) -> str:
    """One page that stands alone, with nothing to fetch: what was found, and where one sees it.

    Args:
        found: what `compare` says of these points.
        generated: (n, 2) finite, in the units of the real ones.
        real: (m, 2) finite, m at least 2.
        names: what the points are called.
        labels: of the axes.
        standing: a table of other samples with this one among them; with `said`, sentences about it.
        said: these sentences.
    """
    order = torch.Generator().manual_seed(SEED)
    mine, true = (points[torch.randperm(len(points), generator=order)].double() for points in (generated, real))
    extent = _extent(true)
    pictures = [_strays(mine, true, extent, labels), _differences(mine, true, extent, labels)]
    others = None if standing is None else standing.rename_axis(None).to_html(float_format="{:.3g}".format, na_rep="–")
    template = environment().get_template("measured.html.j2")
    return template.render(
        names=names,
        found=found,
        table=Markup(found.table().to_html()),
        pictures=pictures,
        standing=others and Markup(others),
        said=said,
        about=facts(),
    )


def _extent(real: Tensor) -> figures.Extent:
    """What the maps show: all real points but for single far ones, and no strip that is too thin to be seen."""
    points = real.numpy()
    low, high = np.quantile(points, [SEEN, 1 - SEEN], axis=0)
    left, right, bottom, top = figures.around(np.clip(points, low, high))
    width, height = right - left, top - bottom
    x, y = max(0.0, height / HIGH - width) / 2, max(0.0, width / LONG - height) / 2
    return left - x, right + x, bottom - y, top + y


def _strays(mine: Tensor, true: Tensor, extent: figures.Extent, labels: tuple[str, str]) -> Picture:
    """Generated points over real ones, with the strays marked; and as many other real points, as the control."""
    many = min(SIZE, len(mine), len(true) // 2)
    shown, control, behind = (points.numpy() for points in (mine[:many], true[:many], true[many : 2 * many]))
    panels = {"generated": shown, "other real points": control}
    masks = {title: stray_mask(points, behind) for title, points in panels.items()}
    share, real_share = (100 * mask.mean() for mask in masks.values())
    figure = figures.strays(panels, behind, extent, labels=labels, masks=masks)
    caption = (
        f"{many} generated points over as many real ones in grey, and beside them as many other real points. A ring "
        "marks a stray: it is farther from all grey points than 99.9 % of these are from each other. Of the generated "
        f"points {share:.3g} % are strays, of the other real ones {real_share:.3g} %. That is beside one real set; "
        "the table has the mean over several."
    )
    return _picture(figure, "Strays", caption, "Two maps of dots: generated points, and real ones, over real points.")


def _differences(mine: Tensor, true: Tensor, extent: figures.Extent, labels: tuple[str, str]) -> Picture:
    """Where there are too many and too few; and the same of other real points, as the control."""
    many = min(len(mine), len(true) // 2)
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    side = (EACH / (2 * many) * width * height) ** 0.5  # of a cell, if all had as many points
    most = min(max(round(max(width, height) / side), CELLS[0]), CELLS[1])
    cells = tuple(max(1, round(most * length / max(width, height))) for length in (width, height))
    others = true[many : 2 * many]
    panels = {
        title: count_differences(points[:many], others, extent, (cells[0], cells[1]))
        for title, points in (("generated", mine), ("other real points", true))
    }
    squares = [np.square(sigmas[np.isfinite(sigmas)]) for sigmas in panels.values()]
    told = [f"{values.mean():.3g} in {values.size} cells" if values.size else "unknown" for values in squares]
    figure = figures.differences(panels, extent, labels=labels)
    caption = (
        f"Where there are too many points (red) and too few (blue), in standard deviations: {many} generated points "
        "beside as many real ones, and below as many other real points beside the same ones. If nothing differs, the "
        f"mean of the squares is about 1. For the generated points it is {told[0]}, for the other real ones {told[1]}."
    )
    return _picture(
        figure, "Too many, too few", caption, "Two maps of coloured cells, of generated and of real points."
    )


def _picture(figure: Figure, name: str, caption: str, alt: str) -> Picture:
    return Picture(base64.b64encode(png(figure)).decode("ascii"), name, caption, alt)
