"""The tasks of notebook 7: from a picture to points, from points to what a model sees, and what a distance is worth."""

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
        "divided by the sum of the brightness, and should be by that of the darkness.": lambda b: (1 - b) / b.sum(),
        "first divided, then taken from 1: make it dark first, then divide.": lambda b: 1 - b / b.sum(),
        "each row adds up to 1 by itself; all pixels together should.": lambda b: (
            (1 - b) / (1 - b).sum(1, keepdim=True)
        ),
        "each column adds up to 1 by itself; all pixels together should.": lambda b: (1 - b) / (1 - b).sum(0),
        "divided by the largest: then the darkest pixel has the chance 1.": lambda b: (1 - b) / (1 - b).max(),
        "divided by the number of pixels: that adds up to the mean darkness, not to 1.": lambda b: (1 - b) / b.numel(),
        "a softmax gives mass to white pixels as well: divide by the sum.": lambda b: (
            (1 - b).flatten().softmax(0).reshape(b.shape)
        ),
        "a softmax of each row gives mass to white pixels, too, and the same to each row: divide by the sum of all.": (
            lambda b: (1 - b).softmax(1)
        ),
        "a softmax of each column gives mass to white pixels, too, and the same to each column: divide by the sum of "
        "all.": lambda b: (1 - b).softmax(0),
        "a softmax of the brightness: the bright pixels have the most mass, and the white ones should have none.": (
            lambda b: b.flatten().softmax(0).reshape(b.shape)
        ),
        "black and white only: grey pixels have some mass, too.": lambda b: (b < 0.5).double() / (b < 0.5).sum(),
    },
    well="a grey pixel has its share",
)


def _places(rows: Tensor, columns: Tensor, height: int) -> Tensor:
    return torch.stack([columns, height - 1 - rows], dim=1)


places = Task(
    "from pixels to points",
    _places,
    lambda: [  # none of the pixels is in the bottom row
        (torch.tensor([0, 1, 5]), torch.tensor([5, 0, 3]), 8),
        (torch.tensor([2, 2]), torch.tensor([1, 9]), 4),
    ],
    {
        "x and y have changed places: x counts columns, y counts rows.": lambda r, c, h: _places(r, c, h).flip(1),
        "it stands on its head: row 0 is the top of a picture, and y = 0 the bottom of a plot.": lambda r, c, h: (
            torch.stack([c, r], dim=1)
        ),
        "the index is off by one: the top row, number 0, is at y = height − 1.": lambda r, c, h: (
            _places(r, c, h) + torch.tensor([0, 1])
        ),
        "y = 0 is the picture's last row, `height − 1`, not the lowest row that has a pixel.": lambda r, c, h: (
            torch.stack([c, r.max() - r], dim=1)
        ),
        "y is negative: the minus turns the picture over, and height − 1 brings it back up.": lambda r, c, h: (
            torch.stack([c, -r], dim=1)
        ),
        "x and y have changed places, and the columns are turned over: x counts columns from the left, y counts rows "
        "from below.": lambda r, c, h: torch.stack([r, h - 1 - c], dim=1),
        "x and y have changed places, and it stands on its head.": lambda r, c, h: torch.stack([r, c], dim=1),
    },
)


def _normalised(points: Tensor) -> Tensor:
    centred = _centred(points)
    return centred / centred.square().mean().sqrt()


def _centred(points: Tensor) -> Tensor:
    return points - points.mean(dim=0)


normalised = Task(
    "what the model sees",
    _normalised,
    lambda: [(draw(50, 2, seed=seed) * torch.tensor([30.0, 4.0]) + torch.tensor([200.0, -7.0]),) for seed in (0, 1)],
    {
        "each axis has a scale of its own. That would stretch the picture: one scale for both.": lambda p: (
            _centred(p) / _centred(p).square().mean(dim=0).sqrt()
        ),
        "each axis has a scale of its own, and its variance is divided by n − 1. One scale for both, and mean squares "
        "are divided by n.": lambda p: _centred(p) / p.std(dim=0),
        "the variances are divided by n − 1, as torch.var and torch.std do unless told `correction=0`; here by n.": (
            lambda p: _centred(p) / p.var(dim=0).mean().sqrt()
        ),
        "the variance of all 2n numbers is divided by 2n − 1, as torch.std does unless told `correction=0`.": (
            lambda p: _centred(p) / _centred(p).std()
        ),
        "the mean of the two standard deviations; the variances have the mean, and the scale is its root.": lambda p: (
            _centred(p) / _centred(p).square().mean(dim=0).sqrt().mean()
        ),
        "the sum of the two variances, where their mean should be 1.": lambda p: (
            _centred(p) / _centred(p).square().sum(dim=1).mean().sqrt()
        ),
        "divided by the variance; the scale is its root.": lambda p: _centred(p) / _centred(p).square().mean(),
        "the points are not centred: take away the mean of each axis first.": lambda p: (
            p / _centred(p).square().mean().sqrt()
        ),
        "one number is taken away from both coordinates; each axis has a mean of its own.": lambda p: (
            (p - p.mean()) / (p - p.mean()).square().mean().sqrt()
        ),
        "by the largest distance from the centre: one far point would decide for all.": lambda p: (
            _centred(p) / _centred(p).abs().max()
        ),
        "not divided by anything.": _centred,
    },
    well="mean 0, mean variance 1, and the proportions kept",
)


def _multiple(to_real: Tensor, between_real: Tensor) -> float:
    sets = len(between_real)
    return float(to_real.mean() / (between_real.sum() / (sets * (sets - 1))))


def _upper(between_real: Tensor) -> Tensor:
    """Each pair of real sets once."""
    return between_real[torch.ones_like(between_real).triu(1) > 0]


def _distances(sets: int, reals: int, seed: int) -> tuple[Tensor, Tensor]:
    """Distances of `sets` generated sets from `reals` real ones, and of these from each other."""
    between = draw(reals, reals, seed=seed).exp().triu(1)
    return 2 * draw(sets, reals, seed=seed + 1).exp(), between + between.T


multiple = Task(
    "how many times real?",
    _multiple,
    lambda: [_distances(4, 5, seed=0), _distances(2, 3, seed=2), _distances(3, 5, seed=4)],
    {
        "a set's distance from itself is 0, and these zeros of the diagonal are no pairs: R (R − 1) numbers count, of "
        "R × R.": lambda d, b: d.mean() / b.mean(),
        "divided by R × R − 1, as if one number of the diagonal were left out; each of the R real sets is at distance "
        "0 from itself.": lambda d, b: d.mean() / (b.sum() / (b.numel() - 1)),
        "the sums, and should be the means: there are K R numbers above, and R (R − 1) below.": (
            lambda d, b: d.sum() / b.sum()
        ),
        "the sum over all pairs, where their mean should be: more real sets would make any model look better.": (
            lambda d, b: d.mean() / b.sum()
        ),
        "the sum over pairs counts each pair twice, (i, j) and (j, i), and was divided by how many there are once.": (
            lambda d, b: d.mean() / (b.sum() / len(_upper(b)))
        ),
        "each pair once in the sum, and twice in the number that it is divided by.": lambda d, b: (
            d.mean() / (_upper(b).sum() / (2 * len(_upper(b))))
        ),
        "the medians, and should be the means.": lambda d, b: d.median() / _upper(b).median(),
        "the median of the distances between real sets, and should be their mean.": lambda d, b: (
            d.mean() / _upper(b).median()
        ),
        "the smallest distance between real sets: that is luck. Take the mean of all pairs.": lambda d, b: (
            d.mean() / _upper(b).min()
        ),
        "the largest distance between real sets: that is bad luck. Take the mean of all pairs.": lambda d, b: (
            d.mean() / b.max()
        ),
        "the first generated set alone; the mean is over all of them.": lambda d, b: d[0].mean() / _upper(b).mean(),
        "the first real set alone; the mean is over all of them.": lambda d, b: d[:, 0].mean() / _upper(b).mean(),
        "the mean of fractions; a real set near the others would count too much. Divide one mean by the other.": (
            lambda d, b: (d.mean(dim=0) / (b.sum(dim=0) / (len(b) - 1))).mean()
        ),
        "that is the difference, which depends on the units; a multiple does not: divide.": lambda d, b: (
            d.mean() - _upper(b).mean()
        ),
        "the fraction is upside down: 2 × real means twice as far as real sets are from each other.": lambda d, b: (
            _upper(b).mean() / d.mean()
        ),
    },
    tolerance=1e-5,
    well="generated sets over real ones, each pair of different sets counted",
)
