"""The tasks about what is best: the best denoiser, the excess over it, also in nats, and copies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.exercises.questions import draw, number
from lab_utils.exercises.task import Task


def _logits(
    x_t: Tensor, points: Tensor, kept: Tensor, *, factor: float = 0.5, root: bool = True, power: float = 2
) -> Tensor:
    """(n, N) of what the softmax is taken; the last three arguments make mistakes."""
    centres = (math.sqrt(kept) if root else 1.0) * points
    return -factor * (x_t.unsqueeze(1) - centres).square().sum(dim=2) ** (power / 2) / (1 - kept)


def _best_epsilon(x_t: Tensor, points: Tensor, kept: Tensor) -> Tensor:
    return _from_logits(x_t, points, kept, _logits(x_t, points, kept))


def _from_logits(x_t: Tensor, points: Tensor, kept: Tensor, logits: Tensor) -> Tensor:
    return _from_weights(x_t, points, kept, logits.softmax(dim=1))


def _from_weights(x_t: Tensor, points: Tensor, kept: Tensor, weights: Tensor) -> Tensor:
    return (x_t - math.sqrt(kept) * weights @ points) / math.sqrt(1 - kept)


def _estimate(x_t: Tensor, points: Tensor, kept: Tensor) -> Tensor:
    """Of the data."""
    return _logits(x_t, points, kept).softmax(dim=1) @ points


best_epsilon = Task(
    "the best denoiser",
    _best_epsilon,
    lambda: [(draw(9, 2), draw(6, 2, seed=1), number(kept)) for kept in (0.3, 0.8)],
    {
        "the wrong sign: the weights are largest for the points that are farthest.": lambda x, p, k: _from_logits(
            x, p, k, -_logits(x, p, k)
        ),
        "the factor 2 is missing: a Gaussian's exponent is the squared distance over twice the variance.": (
            lambda x, p, k: _from_logits(x, p, k, _logits(x, p, k, factor=1.0))
        ),
        "the distances are not squared in the exponent.": lambda x, p, k: _from_logits(
            x, p, k, _logits(x, p, k, power=1)
        ),
        "1 − ᾱ is missing in the exponent: it is the variance of the noise, and the squared distance is divided by "
        "twice as much.": lambda x, p, k: _from_logits(x, p, k, (1 - k) * _logits(x, p, k)),
        "ᾱ for 1 − ᾱ in the exponent: the variance there is the noise's.": lambda x, p, k: _from_logits(
            x, p, k, (1 - k) / k * _logits(x, p, k)
        ),
        "√(1 − ᾱ) for 1 − ᾱ in the exponent: a Gaussian has its variance there.": lambda x, p, k: _from_logits(
            x, p, k, math.sqrt(1 - k) * _logits(x, p, k)
        ),
        "the weights compare x_t with the points themselves; at that time they have shrunk to √ᾱ of where they "
        "were.": lambda x, p, k: _from_logits(x, p, k, _logits(x, p, k, root=False)),
        "the points shrink to √ᾱ of where they were, not to ᾱ.": lambda x, p, k: _from_logits(
            x, p, k, _logits(x, math.sqrt(k) * p, k)
        ),
        "that takes the nearest point alone. Several may have become this x_t; the best answer is their "
        "mean.": lambda x, p, k: _from_weights(
            x, p, k, torch.nn.functional.one_hot(_logits(x, p, k).argmax(dim=1), len(p)).to(p)
        ),
        "all points have the same weight; the near ones are more likely.": lambda x, p, k: _from_logits(
            x, p, k, 0 * _logits(x, p, k)
        ),
        "that is the mean of the data, the estimate of x; the noise is what is left of x_t without it.": _estimate,
        "the weights sum to 1 over the noised points; they should over the data points: each x_t has one "
        "origin.": lambda x, p, k: _from_weights(x, p, k, _logits(x, p, k).softmax(dim=0)),
        "the weights don't add up to 1: divide by their sum, as a softmax does.": lambda x, p, k: _from_weights(
            x, p, k, _logits(x, p, k).exp()
        ),
        "the estimate of the data is taken away whole; what is in x_t is √ᾱ of it.": lambda x, p, k: (
            (x - _estimate(x, p, k)) / math.sqrt(1 - k)
        ),
        "divided by 1 − ᾱ; the noise was multiplied by its root.": lambda x, p, k: (
            _best_epsilon(x, p, k) / math.sqrt(1 - k)
        ),
        "not divided by √(1 − ᾱ), by which the noise was multiplied.": lambda x, p, k: (
            _best_epsilon(x, p, k) * math.sqrt(1 - k)
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
        "not squared: that is the mean distance. `norm` has taken a root; the excess is the mean of squares.": (
            lambda a, b: (a - b).norm(dim=1).mean()
        ),
        "that is the root of the sum of all squares, which `norm` gives; the excess is their mean.": lambda a, b: (
            a - b
        ).norm(),
        "not squared: that is the mean of the absolute differences.": lambda a, b: (a - b).abs().mean(),
        "not squared: differences of both signs cancel in that mean.": lambda a, b: (a - b).mean(),
        "the mean is squared, in which differences of both signs cancel: square first.": lambda a, b: (
            (a - b).mean().square()
        ),
        "the difference of the squares: the two answers may point in opposite ways. Square their difference.": (
            lambda a, b: (a.square() - b.square()).mean()
        ),
        "that is the root of it.": lambda a, b: (a - b).square().mean().sqrt(),
    },
    tolerance=1e-5,
)


def _excess_in_nats(errors: Tensor, log_snr: Tensor) -> Tensor:
    return -0.5 * torch.trapezoid(errors, log_snr)


excess_in_nats = Task(
    "the excess in nats",
    _excess_in_nats,
    lambda: [(draw(30).square(), 8 - draw(30, seed=1).square().cumsum(0))],
    {
        "the wrong sign: λ falls along the timesteps, so the integral over it comes out negative. Turn its "
        "sign.": lambda e, s: -_excess_in_nats(e, s),
        "the half is missing.": lambda e, s: 2 * _excess_in_nats(e, s),
        "the half is missing, and the sign is wrong, because λ falls.": lambda e, s: -2 * _excess_in_nats(e, s),
        "that is the sum over the levels; the integral weighs each with how much λ changes there.": lambda e, s: (
            0.5 * e.sum()
        ),
        "that is the mean over the levels; the integral weighs each with how much λ changes there.": lambda e, s: (
            0.5 * e.mean()
        ),
        "that is the mean over λ; the integral is not divided by the length of its way.": lambda e, s: (
            _excess_in_nats(e, s) / (s[0] - s[-1])
        ),
        "y and x have changed places: the errors are integrated over λ.": lambda e, s: -0.5 * torch.trapezoid(s, e),
        "the errors are squared once more; they are squares already.": lambda e, s: _excess_in_nats(e.square(), s),
    },
    tolerance=1e-5,
)


def _copied_share(multiple: float, train: int, held_out: int) -> float:
    return (multiple - 1) * train / held_out


copied_share = Task(
    "the copied share",
    _copied_share,
    lambda: [(1.16, 5000, 5000), (1.05, 20_000, 5000), (1.2, 2000, 3000)],
    {
        "the fraction is upside down: with more training points the same multiple means more copies.": (
            lambda m, n, h: (m - 1) * h / n
        ),
        "1 is what real points read, so it has to be taken away first.": lambda m, n, h: m * n / h,
        "1 is taken away last, and should be first: it is what real points read of the multiple.": lambda m, n, h: (
            m * n / h - 1
        ),
        "5000 is written where the number of held-out points belongs.": lambda m, n, h: (m - 1) * n / 5000,
        "the number of training points is left out.": lambda m, n, h: m - 1,
        "the wrong sign.": lambda m, n, h: (1 - m) * n / h,
        "that is per cent; a share lies between 0 and 1.": lambda m, n, h: 100 * (m - 1) * n / h,
    },
    tolerance=1e-4,
)
