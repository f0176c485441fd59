"""The tasks of notebook 5: the best denoiser, the excess over it, and copies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.exercises.questions import draw
from lab_utils.exercises.task import Task


def _responsibilities(x_t: Tensor, points: Tensor, kept: float, factor: float = 0.5, root: bool = True) -> Tensor:
    centres = (math.sqrt(kept) if root else 1.0) * points
    squared = (x_t.unsqueeze(1) - centres).square().sum(dim=2)
    return torch.softmax(-factor * squared / (1 - kept), dim=1)


def _best_epsilon(x_t: Tensor, points: Tensor, kept: float) -> Tensor:
    return _from_weights(x_t, points, kept, _responsibilities(x_t, points, kept))


def _from_weights(x_t: Tensor, points: Tensor, kept: float, weights: Tensor) -> Tensor:
    return (x_t - math.sqrt(kept) * weights @ points) / math.sqrt(1 - kept)


best_epsilon = Task(
    "the best denoiser",
    _best_epsilon,
    lambda: [(draw(9, 2), draw(6, 2, seed=1), kept) for kept in (0.3, 0.8)],
    {
        "the wrong sign: the weights are largest for the points that are farthest.": lambda x, p, k: _from_weights(
            x, p, k, _responsibilities(x, p, k, factor=-0.5)
        ),
        "the factor 2 is missing: a Gaussian's exponent is the squared distance over twice the variance.": (
            lambda x, p, k: _from_weights(x, p, k, _responsibilities(x, p, k, factor=1.0))
        ),
        "the weights compare x_t with the points themselves; at that time they have shrunk to √ᾱ of where they "
        "were.": lambda x, p, k: _from_weights(x, p, k, _responsibilities(x, p, k, root=False)),
        "that takes the nearest point alone. Several may have become this x_t; the best answer is their "
        "mean.": lambda x, p, k: _from_weights(
            x, p, k, torch.nn.functional.one_hot(_responsibilities(x, p, k).argmax(dim=1), len(p)).to(p)
        ),
        "that is the mean of the data, the estimate of x_0; the noise is what is left of x_t without "
        "it.": lambda x, p, k: _responsibilities(x, p, k) @ p,
        "the weights sum to 1 over the noised points; they should over the data points: each x_t has one "
        "origin.": lambda x, p, k: _from_weights(x, p, k, torch.softmax(_responsibilities(x, p, k).log(), dim=0)),
        "divided by 1 − ᾱ; the noise was multiplied by its root.": lambda x, p, k: (
            _best_epsilon(x, p, k) / math.sqrt(1 - k)
        ),
    },
    well="equal to the lab's own on points that you haven't seen",
    tolerance=1e-5,
)


def _excess(answers: Tensor, best: Tensor) -> Tensor:
    return (answers - best).square().mean()


excess = Task(
    "the excess over the floor",
    _excess,
    lambda: [(draw(40, 2), draw(40, 2, seed=1))],
    {
        "sum for mean.": lambda a, b: (a - b).square().sum(),
        "that is the sum over the coordinates and the mean over the points; the loss is the mean over "
        "both.": lambda a, b: (a - b).square().sum(dim=1).mean(),
        "not squared: that is the mean of the absolute differences.": lambda a, b: (a - b).abs().mean(),
        "that is the root of it.": lambda a, b: (a - b).square().mean().sqrt(),
    },
)


def _copied_share(multiple: float, train: int, held_out: int) -> float:
    return (multiple - 1) * train / held_out


copied_share = Task(
    "the copied share",
    _copied_share,
    lambda: [(1.16, 5000, 5000), (1.05, 20_000, 5000)],
    {
        "the fraction is upside down: with more training points the same multiple means more copies.": (
            lambda m, n, h: (m - 1) * h / n
        ),
        "1 is what real points read, so it has to be taken away first.": lambda m, n, h: m * n / h,
        "the number of training points is left out.": lambda m, n, h: m - 1,
        "the wrong sign.": lambda m, n, h: (1 - m) * n / h,
    },
)
