"""Known shapes: points that are drawn, and what is needed to compute with their exact densities."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import PointsError

# What is needed to compute with the exact densities. All in the shapes' own units.
GAUSSIAN_MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
GAUSSIAN_COV = torch.tensor([[4.0, 1.8], [1.8, 1.5]], dtype=torch.float64)
_ANGLES = torch.arange(8, dtype=torch.float64) * math.pi / 4
EIGHT_CENTRES = 4 * torch.stack([_ANGLES.cos(), _ANGLES.sin()], dim=1)  # (8, 2), equally likely
EIGHT_STD = 0.4  # of each of the eight, along each axis
# Lower left corners of the dark squares, (8, 2): a board of 4 x 4 squares of side 1 around the origin.
CHECKERBOARD_CORNERS = torch.tensor(
    [(i, j) for i in range(-2, 2) for j in range(-2, 2) if (i + j) % 2 == 0], dtype=torch.float64
)


Array = NDArray[np.float64]
Drawn = tuple[Array, NDArray[np.int64] | None]  # points, and to which part of the shape each belongs


def _moons(n: int, rng: Generator) -> Drawn:
    from sklearn.datasets import make_moons  # here, because it is slow to import and most runs don't need it

    # scikit-learn spaces its points evenly along the arcs, the same ones each time. Picked at random from many,
    # they are independent draws, as the distances between two samples take for granted.
    arcs, part = make_moons(100_000, shuffle=False)
    which = rng.choice(len(arcs), n)
    return arcs[which] + 0.08 * rng.standard_normal((n, 2)), part[which]


def _swiss_roll(n: int, rng: Generator, noise: float = 0.4) -> Drawn:
    from sklearn.datasets import make_swiss_roll

    roll, _ = make_swiss_roll(n, noise=noise, random_state=int(rng.integers(2**31)))
    return roll[:, [0, 2]], None  # seen along its axis


def _checkerboard(n: int, rng: Generator) -> Drawn:
    square = rng.choice(len(CHECKERBOARD_CORNERS), n)
    return CHECKERBOARD_CORNERS.numpy()[square] + rng.random((n, 2)), square


def _eight_gaussians(n: int, rng: Generator) -> Drawn:
    which = rng.choice(len(EIGHT_CENTRES), n)
    return EIGHT_CENTRES.numpy()[which] + EIGHT_STD * rng.standard_normal((n, 2)), which


def _spiral(n: int, rng: Generator) -> Drawn:
    radius = 3 * math.pi * np.sqrt(rng.random(n))  # the root: about as many points per length everywhere
    arm = rng.choice(2, n)
    curve = ((2.0 * arm - 1.0) * radius)[:, None] * np.stack([np.cos(radius), np.sin(radius)], axis=1)
    return curve + 0.25 * rng.standard_normal((n, 2)), arm


def _gaussian(n: int, rng: Generator) -> Drawn:
    return rng.multivariate_normal(GAUSSIAN_MEAN.numpy(), GAUSSIAN_COV.numpy(), n, method="cholesky"), None


_DRAW: dict[str, Callable[[int, Generator], Drawn]] = {
    "moons": _moons,
    "swiss_roll": _swiss_roll,
    "thin_roll": partial(_swiss_roll, noise=0.0),  # a curve: it has no density, and a model must hit a line
    "checkerboard": _checkerboard,
    "eight_gaussians": _eight_gaussians,
    "spiral": _spiral,
    "gaussian": _gaussian,
}
SHAPES: tuple[str, ...] = tuple(_DRAW)
# The names of the parts of those shapes that have some; each part is as likely as the others of its shape.
PARTS: dict[str, tuple[str, ...]] = {
    "moons": ("upper", "lower"),
    "checkerboard": tuple(f"({x}, {y})" for x, y in CHECKERBOARD_CORNERS.int().tolist()),  # the corners
    "eight_gaussians": tuple(f"{45 * k}°" for k in range(8)),  # the angle of the centre
    "spiral": ("first arm", "second arm"),
}


def draw(shape: str, n: int, seed: int) -> Tensor:
    """Draw `n` independent points of one of `SHAPES`: (n, 2) float64, in the shape's own units.

    The same seed gives the same bits; no global random state is read or changed.

    Raises:
        PointsError: if `shape` is not one of `SHAPES`, or `n` is below 1.
    """
    return _drawn(shape, n, seed)[0]


def draw_parts(shape: str, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """The points of `draw`, with the part of the shape that each was drawn from.

    Returns:
        (n, 2) float64 points, and (n,) int64, the place of each point's part in `PARTS[shape]`.

    Raises:
        PointsError: as for `draw`; or the shape has no parts.
    """
    points, parts = _drawn(shape, n, seed)
    if parts is None:
        raise PointsError(f"{shape!r} has no parts; {', '.join(PARTS)} have some")
    return points, parts


def _drawn(shape: str, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    if shape not in _DRAW:
        raise PointsError(f"there is no shape {shape!r}; choose one of {', '.join(SHAPES)}")
    if n < 1:
        raise PointsError(f"n must be 1 or more; got {n}")
    points, parts = _DRAW[shape](n, np.random.default_rng(seed))
    return torch.from_numpy(points), None if parts is None else torch.from_numpy(parts)
