"""Points that lie evenly in squares, and their exact density once they are noised: the checkerboard, in closed form.

A square is a product of two intervals, and so is its density under noise. On an interval of half its side h around 0,
with noise of the standard deviation σ, it is P(d) = Φ((h + d)/σ) − Φ((d − h)/σ), over 2h. So all that there is to know
of a checkerboard follows from the normal distribution function: no points stand for it, and nothing is drawn.
"""

from __future__ import annotations

import math
from copy import copy

import torch
from torch import Tensor

from lab_utils.base.arguments import check_points, class_number, is_number
from lab_utils.base.devices import for_float64
from lab_utils.points.dataset import Dataset
from lab_utils.points.shapes import CHECKERBOARD_CORNERS, PARTS


class UniformSquares:
    """Squares of one size along the axes, all as likely, each with its points evenly in it; all in float64.

    As a `GaussianMixture` it can be blurred: added to independent Gaussian noise. Unlike that, it must be, because
    without noise its density has a jump at each edge, and no slope there.

    Args:
        corners: (K, 2) floats, the lower left corner of each square.
        side: how long a side is, above 0.

    Raises:
        ValueError: there is no square, the corners have another shape or aren't finite, or there is no such side.
    """

    def __init__(self, corners: Tensor, side: float) -> None:
        check_points(corners, "corners")
        if not len(corners) or not corners.isfinite().all():
            raise ValueError(f"corners must be finite, and those of one square or more; got {corners.tolist()}")
        if not (is_number(side) and 0 < side < math.inf):
            raise ValueError(f"side must be a number above 0, not {side!r}")
        self.half = float(side) / 2
        self.means = corners.double() + self.half  # of the squares: their centres

    def to(self, device: torch.device) -> UniformSquares:
        """The same squares on that device, where their answers then are; on the processor if it has no float64."""
        there = copy(self)
        there.means = self.means.to(for_float64(device))
        return there

    def log_prob(self, x: Tensor, blur: Tensor | float) -> Tensor:
        """The log density under noise.

        Args:
            x: (n, 2) floats.
            blur: the variance of the noise along each axis, above 0: one number, or (n,) for each point its own.

        Returns:
            (n,) float64, in nats.

        Raises:
            ValueError: for another shape or type, or a blur that isn't above 0.
        """
        logs, _ = self._along_axes(x, blur)
        area = len(self.means) * (2 * self.half) ** 2
        return torch.logsumexp(logs.sum(dim=2), dim=1) - math.log(area)

    def score(self, x: Tensor, blur: Tensor | float) -> Tensor:
        """The gradient of the log density at `x`: (n, 2) float64. Arguments and errors as for `log_prob`."""
        logs, slopes = self._along_axes(x, blur)
        chances = torch.softmax(logs.sum(dim=2), dim=1)
        return (chances.unsqueeze(2) * slopes).sum(dim=1)

    def _along_axes(self, x: Tensor, blur: Tensor | float) -> tuple[Tensor, Tensor]:
        """The logarithm of P of each point in each square along each axis, (n, K, 2), and its slope.

        P is even in d, so it is worked out for −|d|: then both numbers of which Φ is taken are on the side where Φ is
        small and exact. And φ/Φ comes from erfcx, in which no exponent is left, however far a point lies outside.
        """
        check_points(x, "x")
        blur = torch.as_tensor(blur, dtype=torch.float64, device=self.means.device)
        if blur.shape not in {(), (len(x),)}:
            raise ValueError(f"blur must have the shape () or ({len(x)},), not {tuple(blur.shape)}")
        if not (blur > 0).all():
            raise ValueError(f"blur is a variance, above 0; got {float(blur.min()):g}")
        sigma = blur.sqrt().reshape(-1, 1, 1)
        d = x.to(self.means).unsqueeze(1) - self.means
        upper, lower = (self.half - d.abs()) / sigma, (-self.half - d.abs()) / sigma
        larger = torch.special.log_ndtr(upper)
        fraction = torch.special.log_ndtr(lower) - larger
        kept = -fraction.expm1()  # P over the larger Φ
        slopes = (_density_over_share(lower) * fraction.exp() - _density_over_share(upper)) / (kept * sigma)
        return larger + kept.log(), d.sign() * slopes


def _density_over_share(x: Tensor) -> Tensor:
    """φ(x) / Φ(x) of the normal distribution, for any x."""
    scaled: Tensor = torch.special.erfcx(-x / math.sqrt(2))
    return math.sqrt(2 / math.pi) / scaled


def exact_squares(data: Dataset) -> UniformSquares:
    """The density that the points of "checkerboard" were drawn from, in the data's normalised units.

    If the data have labels it is that of their classes: of `data.given("(0, 0)")` a single square.

    Raises:
        ValueError: for any other data or classes.
    """
    if data.name != "checkerboard":
        raise ValueError(f"of {data.name!r} no density is known that is even in squares; of 'checkerboard' it is")
    corners = CHECKERBOARD_CORNERS
    if data.classes:
        corners = corners[[class_number(label, PARTS[data.name]) for label in data.classes]]
    return UniformSquares((corners - data.units.shift) / data.units.scale, 1 / data.units.scale)
