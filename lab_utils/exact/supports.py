"""Where the density is next to nothing: the exact share of points that lie where none, or hardly any, should be.

It stands beside the distance "strays", which needs no density and judges by real points instead. For 40 000 generated
points, beside twenty sets of 5000 real ones, the two read, in per cent:

    points: the truth                      as it is     blurred by .1, .2, .4 of its spread    3 % of it anywhere
    eight_gaussians   exact | strays       .11 | .09    .96 | .82    8.7 | 7.2     36 | 32     2.5 | 2.4
    gaussian          exact | strays       .09 | .09    .11 | .11    .19 | .17    .90 | .69    2.5 | 2.4
    checkerboard      exact | strays         0 | .12     17 | 10      31 | 24      52 | 45     2.4 | 2.4

So single points where none should be are the same to both. Of a blur the strays see three quarters or more, and less on
the checkerboard: a point just outside a square is off the support, and as near to real points as they are to each
other. Strays are there the points that are farther outside than .04 of a square's side, and `margin` asks for those. So
the two say different things of a network: 3.2 % of the points of the original's recipe lie outside, half of them by
less than .013 of a side, and .2 % by more than .042; it reads .38 % strays. After 250 epochs of the better recipe .78 %
lie outside, .2 % by more than .042, and .25 % are strays. (One training each, 5000 points by 1000 steps.)

By one real set alone, strays read a third more or less than by twenty where they are few.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import as_points, check_finite
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.points.shapes import CHECKERBOARD_CORNERS, EIGHT_CENTRES, EIGHT_STD, GAUSSIAN_COV, GAUSSIAN_MEAN

NOTHING = 0.001  # the share of the truth that lies where its density is next to nothing
EDGE = 1e-6  # of a square of side 1: what float32 rounds away at its edge
OFF_SUPPORT = {"checkerboard": 0.0, "eight_gaussians": NOTHING, "gaussian": NOTHING}  # what the truth itself reads
ANGLES, RADII = 256, 4000  # where the eight Gaussians' level is worked out


def off_support(shape: str, points: Tensor | NDArray[Any], *, margin: float = 0.0) -> Tensor:
    """Which points lie where the density of a known shape is next to nothing; their share is the mean.

    For "gaussian" and "eight_gaussians" that is where the density is below the level that only 0.1 % of the truth lies
    below. For "checkerboard" it is outside the dark squares, where the density is 0. So the truth itself reads 0.1 %,
    0.1 % and 0 %: `OFF_SUPPORT`.

    Args:
        shape: one of `OFF_SUPPORT`.
        points: (n, 2) in the shape's own units: `data.units.restore(points)`, where a model gave them.
        margin: only points farther than this from every dark square of the checkerboard, whose sides are 1.

    Returns:
        (n,) bool.

    Raises:
        ValueError: there is no such density, or no such margin; or the points aren't finite, or have another shape or
            type.
    """
    if shape not in OFF_SUPPORT:
        raise ValueError(f"where {shape!r} has no density is not known; it is of {', '.join(OFF_SUPPORT)}")
    if not margin >= 0 or (margin and shape != "checkerboard"):
        raise ValueError(f"margin must be a distance, 0 or more, and 0 for all but the checkerboard; got {margin}")
    points = as_points(points)
    check_finite(points, "generated")
    points = points.double()
    if shape == "checkerboard":
        # (n, 8, 2): how far each point lies beyond the edges of each dark square along each axis, 0 inside
        beyond = ((points.unsqueeze(1) - CHECKERBOARD_CORNERS - 0.5).abs() - 0.5).clamp(min=0)
        return beyond.square().sum(dim=2).amin(dim=1).sqrt() > max(margin, EDGE)
    if shape == "gaussian":
        root = torch.linalg.cholesky(GAUSSIAN_COV)
        away: Tensor = torch.linalg.solve_triangular(root, (points - GAUSSIAN_MEAN).T, upper=False)
        return away.square().sum(dim=0) > -2 * math.log(NOTHING)  # in the plane P(distance² > d) = exp(−d/2)
    return _eight().log_prob(points) < _level()


def _eight() -> GaussianMixture:
    return GaussianMixture(EIGHT_CENTRES, EIGHT_STD**2)


@lru_cache(maxsize=1)
def _level() -> float:
    """The log density of the eight Gaussians that `NOTHING` of their points lie below.

    All eight are alike and mirror themselves, so half of the angles around the first is enough. Its points that may lie
    below are those beyond the radius that 0.4 % of them lie beyond: nearer ones have thrice the density that is in
    question from their own Gaussian. They are taken on a grid of equally likely cells, and the level is the quantile
    over these. A finer grid moves it by less than 2e-4 nats, so the share by less than 0.02 % of itself.
    """
    outer = 4 * NOTHING
    beyond = outer * (torch.arange(RADII, dtype=torch.float64) + 0.5) / RADII  # P(radius > r) = exp(−r²/2)
    radii = EIGHT_STD * (-2 * beyond.log()).sqrt()
    angles = math.pi * (torch.arange(ANGLES, dtype=torch.float64) + 0.5) / ANGLES
    ways = torch.stack([angles.cos(), angles.sin()], dim=1)  # the first centre lies on the x axis
    places = EIGHT_CENTRES[0] + (radii.view(-1, 1, 1) * ways).reshape(-1, 2)
    return float(_eight().log_prob(places).quantile(NOTHING / outer))
