"""Where are there too many points, and where too few? Counts in the cells of a grid, in standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import check_finite

LEAST = 10  # points in a cell, of both sets together: with fewer, a count is no approximate Gaussian


def count_differences(
    generated: Tensor, real: Tensor, extent: tuple[float, float, float, float], cells: tuple[int, int]
) -> NDArray[np.float64]:
    """How far the densities of two sets of points differ, cell by cell.

    The counts are Poisson's. If both sets come from the same source, a cell has the density p = (g + r)/(n + m), and
    g/n − r/m has the variance p(1/n + 1/m); the difference is given in its roots. The mean of their squares is then
    about 1 (Pearson's χ², divided by the number of cells).

    Args:
        generated: (n, 2) points.
        real: (m, 2) points.
        extent: left, right, bottom, top of the grid, in the units of the points; what lies outside is left out.
        cells: columns and rows.

    Returns:
        (rows, columns), the lowest row first; positive where the generated points are denser, NaN where both sets
        together have fewer than 10 points.

    Raises:
        ValueError: unless both are finite (n, 2) floats, n at least 1.
    """
    check_finite(generated, "generated")
    check_finite(real, "real")
    left, right, bottom, top = extent
    bounds = [[bottom, top], [left, right]]
    shape = (cells[1], cells[0])
    g, r = (
        np.histogram2d(points[:, 1], points[:, 0], shape, bounds)[0] for points in (generated.numpy(), real.numpy())
    )
    n, m = len(generated), len(real)
    p: NDArray[Any] = (g + r) / (n + m)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas = (g / n - r / m) / np.sqrt(p * (1 / n + 1 / m))
    return np.asarray(np.where(g + r >= LEAST, sigmas, np.nan))
