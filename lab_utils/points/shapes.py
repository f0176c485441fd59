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


def _moons(n: int, rng: Generator) -> Array:
    from sklearn.datasets import make_moons  # here, because it is slow to import and most runs don't need it

    # scikit-learn spaces its points evenly along the arcs, the same ones each time. Picked at random from many,
    # they are independent draws, as the distances between two samples take for granted.
    arcs, _ = make_moons(100_000, shuffle=False)
    return np.asarray(rng.choice(arcs, n) + 0.08 * rng.standard_normal((n, 2)))


def _swiss_roll(n: int, rng: Generator, noise: float = 0.4) -> Array:
    from sklearn.datasets import make_swiss_roll

    roll, _ = make_swiss_roll(n, noise=noise, random_state=int(rng.integers(2**31)))
    return np.asarray(roll[:, [0, 2]])  # seen along its axis


def _checkerboard(n: int, rng: Generator) -> Array:
    return rng.choice(CHECKERBOARD_CORNERS.numpy(), n) + rng.random((n, 2))


def _eight_gaussians(n: int, rng: Generator) -> Array:
    return rng.choice(EIGHT_CENTRES.numpy(), n) + EIGHT_STD * rng.standard_normal((n, 2))


def _spiral(n: int, rng: Generator) -> Array:
    radius = 3 * math.pi * np.sqrt(rng.random(n))  # the root: about as many points per length everywhere
    arm = rng.choice([-1.0, 1.0], n)
    curve = (arm * radius)[:, None] * np.stack([np.cos(radius), np.sin(radius)], axis=1)
    return np.asarray(curve + 0.25 * rng.standard_normal((n, 2)))


def _gaussian(n: int, rng: Generator) -> Array:
    return rng.multivariate_normal(GAUSSIAN_MEAN.numpy(), GAUSSIAN_COV.numpy(), n, method="cholesky")


_DRAW: dict[str, Callable[[int, Generator], Array]] = {
    "moons": _moons,
    "swiss_roll": _swiss_roll,
    "thin_roll": partial(_swiss_roll, noise=0.0),  # a curve: it has no density, and a model must hit a line
    "checkerboard": _checkerboard,
    "eight_gaussians": _eight_gaussians,
    "spiral": _spiral,
    "gaussian": _gaussian,
}
SHAPES: tuple[str, ...] = tuple(_DRAW)


def draw(shape: str, n: int, seed: int) -> Tensor:
    """Draw `n` independent points of one of `SHAPES`: (n, 2) float64, in the shape's own units.

    The same seed gives the same bits; no global random state is read or changed.

    Raises:
        PointsError: if `shape` is not one of `SHAPES`, or `n` is below 1.
    """
    if shape not in _DRAW:
        raise PointsError(f"there is no shape {shape!r}; choose one of {', '.join(SHAPES)}")
    if n < 1:
        raise PointsError(f"n must be 1 or more; got {n}")
    return torch.from_numpy(_DRAW[shape](n, np.random.default_rng(seed)))
