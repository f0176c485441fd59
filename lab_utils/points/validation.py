"""What there is to know of points before a model learns them: the validation card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from lab_utils.base.arguments import as_points
from lab_utils.points.dataset import SPLIT, Dataset

FAR = 7.0  # normalised units: five standard deviations of a cloud that is all length, more of any other
FEW = 1000  # points, below which half of them say little of what real points read
LONG = 10.0  # times as long as wide
LINE = 1e6  # times: beyond, what there is across is rounding
GRID = 64  # different values of a coordinate, or fewer, are a grid and no continuum


@dataclass(frozen=True)
class Card:
    """What was found about some points, in the data's own units unless said otherwise.

    Attributes:
        points: how many there are.
        places: how many different places they stand at.
        lonely: how many are farther than `FAR` normalised units from the middle.
        farthest: the distance of the farthest from the middle, in normalised units.
        low: the smallest x and y.
        high: the largest x and y.
        values: how many different values x has, and y.
        elongation: how many times as long as wide the cloud is, along its own axes (standard deviations).
        shift: what normalisation takes away, in x and y.
        scale: what it then divides both by.
        train: how many points a model learns from.
        held_out: how many it never sees.
    """

    points: int
    places: int
    lonely: int
    farthest: float
    low: tuple[float, float]
    high: tuple[float, float]
    values: tuple[int, int]
    elongation: float
    shift: tuple[float, float]
    scale: float
    train: int
    held_out: int

    @property
    def warnings(self) -> list[str]:
        """What may spoil the result, and what to do; a sentence each."""
        found = []
        if self.points < FEW:
            found.append(
                f"{self.points} points are few: what real points read is taken of the {self.held_out} that are held "
                f"out, and all intervals will be wide. {FEW} or more points are better."
            )
        double = 1 - self.places / self.points
        if double > 0.01:
            found.append(
                f"{double:.0%} of the points stand where another one does. A model puts no two points at one place, so "
                "a distance of detail calls it blurred; were the coordinates rounded?"
            )
        elif min(self.values) <= GRID < self.points:
            axis, count = ("x", self.values[0]) if self.values[0] <= GRID else ("y", self.values[1])
            found.append(
                f"{axis} has {count} different values only: a grid, between whose lines a model will put points."
            )
        if self.lonely:
            found.append(
                f"{self.lonely} of the points are more than {FAR:g} times the scale from the middle, the farthest "
                f"{self.farthest:.3g}. They squeeze all others together; are they mistakes?"
            )
        elif self.elongation > LONG:
            found.append(
                f"The cloud is {self._shape}. One scale for both axes keeps its shape, "
                "and leaves a model little to see across it; stretch one axis if its units are arbitrary."
            )
        return found

    @property
    def _shape(self) -> str:
        return "a line" if self.elongation > LINE else f"{self.elongation:.3g} times as long as wide"

    @property
    def verdict(self) -> str:
        """The warnings in one text, or that there are none."""
        return " ".join(self.warnings) or "Nothing here will trouble a model."

    def table(self) -> pd.DataFrame:
        """The card as a table of two columns of text."""
        (left, bottom), (right, top), (x, y) = self.low, self.high, self.shift
        rows = {
            "points": f"{self.points}: {self.train} to learn from, {self.held_out} held out",
            "different places": f"{self.places}, so {self.points - self.places} duplicates",
            "range": f"x from {left:.4g} to {right:.4g}, y from {bottom:.4g} to {top:.4g}",
            "different values": f"{self.values[0]} of x, {self.values[1]} of y",
            "normalised as": f"(x − ({x:.4g}), y − ({y:.4g})) / {self.scale:.4g}",
            "outliers": f"{self.lonely} farther than {FAR:g} normalised units; the farthest at {self.farthest:.3g}",
            "shape": f"{self._shape}, and so it stays",
        }
        return pd.DataFrame({"found": rows})


def validate(points: Tensor | NDArray[Any], *, train: int = 5000, seed: int = SPLIT) -> Card:
    """Look at (n, 2) points in their own units, which a `Dataset` with the same arguments would be made of.

    Raises:
        PointsError: if no data set can be made of them.
    """
    points = as_points(points)
    data = Dataset.of(points, "points", train=train, seed=seed)
    own, units = points.double().numpy(), data.units
    normalised = units.normalise(points).double().numpy()
    distances = np.linalg.norm(normalised, axis=1)
    across, along = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(normalised.T)), 0))
    return Card(
        points=len(own),
        places=len(np.unique(own, axis=0)),
        lonely=int((distances > FAR).sum()),
        farthest=float(distances.max()),
        low=_pair(own.min(axis=0)),
        high=_pair(own.max(axis=0)),
        values=(len(np.unique(own[:, 0])), len(np.unique(own[:, 1]))),
        elongation=float(along / across) if across > 0 else math.inf,
        shift=_pair(units.shift.numpy()),
        scale=units.scale,
        train=len(data.train),
        held_out=len(data.held_out),
    )


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
