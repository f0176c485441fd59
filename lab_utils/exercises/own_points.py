"""The tasks of notebook 6: from a picture to points, from points to what a model sees, and what a distance is worth."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils.exercises.questions import draw
from lab_utils.exercises.task import Task


def _chances(brightness: Tensor) -> Tensor:
    return (1 - brightness) / (1 - brightness).sum()


chances = Task(
    "dark pixels are mass",
    _chances,
    lambda: [(draw(4, 6, seed=2).sigmoid(),), (draw(3, 3, seed=3).sigmoid(),)],
    {
        "bright pixels have the mass: 1 is white. What is a pixel's darkness?": lambda b: b / b.sum(),
        "they are not divided by their sum: chances add up to 1.": lambda b: 1 - b,
        "each row adds up to 1 by itself; all pixels together should.": lambda b: (
            (1 - b) / (1 - b).sum(1, keepdim=True)
        ),
        "divided by the largest: then the darkest pixel has the chance 1.": lambda b: (1 - b) / (1 - b).max(),
        "black and white only: grey pixels have some mass, too.": lambda b: (b < 0.5).double() / (b < 0.5).sum(),
    },
    well="a grey pixel has its share",
)


def _places(rows: Tensor, columns: Tensor, height: int) -> Tensor:
    return torch.stack([columns, height - 1 - rows], dim=1)


places = Task(
    "from pixels to points",
    _places,
    lambda: [(torch.tensor([0, 1, 7]), torch.tensor([5, 0, 3]), 8), (torch.tensor([2, 2]), torch.tensor([1, 9]), 3)],
    {
        "x and y have changed places: x counts columns, y counts rows.": lambda r, c, h: _places(r, c, h).flip(1),
        "it stands on its head: row 0 is the top of a picture, and y = 0 the bottom of a plot.": lambda r, c, h: (
            torch.stack([c, r], dim=1)
        ),
        "the index is off by one: the top row, number 0, is at y = height − 1.": lambda r, c, h: (
            _places(r, c, h) + torch.tensor([0, 1])
        ),
        "x and y have changed places, and it stands on its head.": lambda r, c, h: torch.stack([r, c], dim=1),
    },
)


def _normalised(points: Tensor) -> Tensor:
    centred = points - points.mean(dim=0)
    return centred / centred.square().mean().sqrt()


normalised = Task(
    "what the model sees",
    _normalised,
    lambda: [(draw(50, 2, seed=seed) * torch.tensor([30.0, 4.0]) + torch.tensor([200.0, -7.0]),) for seed in (0, 1)],
    {
        "each axis has a scale of its own. That would stretch the picture: one scale for both.": lambda p: (
            (p - p.mean(dim=0)) / (p - p.mean(dim=0)).square().mean(dim=0).sqrt()
        ),
        "divided by the variance; the scale is its root.": lambda p: (
            (p - p.mean(dim=0)) / (p - p.mean(dim=0)).square().mean()
        ),
        "the points are not centred: take away the mean of each axis first.": lambda p: (
            p / (p - p.mean(dim=0)).square().mean().sqrt()
        ),
        "one number is taken away from both coordinates; each axis has a mean of its own.": lambda p: (
            (p - p.mean()) / (p - p.mean()).square().mean().sqrt()
        ),
        "by the largest distance from the centre: one far point would decide for all.": lambda p: (
            (p - p.mean(dim=0)) / (p - p.mean(dim=0)).abs().max()
        ),
        "not divided by anything.": lambda p: p - p.mean(dim=0),
    },
    well="mean 0, mean variance 1, and the proportions kept",
)


def _multiple(distance: float, between_real: Tensor) -> float:
    return distance / float(between_real.median())


multiple = Task(
    "how many times the floor?",
    _multiple,
    lambda: [(0.6, torch.tensor([0.2, 0.3, 0.9])), (2.0, torch.tensor([1.0, 1.5, 8.0, 0.4, 2.0]))],
    {
        "the mean of the floors: one pair of draws that lie far apart would move it. Take the median.": lambda d, f: (
            d / float(f.mean())
        ),
        "the smallest of the floors: that is luck. Take the median.": lambda d, f: d / float(f.min()),
        "the difference: in which units? Divide.": lambda d, f: d - float(f.median()),
        "the fraction is upside down: a model's distance is above the floor, and so is the multiple above 1.": (
            lambda d, f: float(f.median()) / d
        ),
    },
)
