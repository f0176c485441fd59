"""The tasks of notebook 9: labels that stay with their points, label dropout, the guided noise, the guided estimate."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils.diffusion.conditional import NO_CLASS
from lab_utils.exercises.questions import draw, generator, number
from lab_utils.exercises.task import Task


def _shuffled(points: Tensor, labels: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    return points[order], labels[order]


def _order(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=generator(seed))


shuffled = Task(
    "labels stay with their points",
    _shuffled,
    lambda: [(draw(n, 2, seed=n), torch.arange(n) ** 2 % 7, _order(n, seed)) for n, seed in ((9, 0), (12, 1))],
    {
        "the labels are left behind: row k of the points is now the point number order[k], and its label is still "
        "that of the point number k.": lambda p, c, o: (p[o], c),
        "the points are left behind, and the labels have moved.": lambda p, c, o: (p, c[o]),
        "the labels go the way back: `order.argsort()` undoes the order, and points and labels need the same "
        "one.": lambda p, c, o: (p[o], c[o.argsort()]),
        "the points go the way back: `order.argsort()` undoes the order, and points and labels need the same "
        "one.": lambda p, c, o: (p[o.argsort()], c[o]),
        "each label is with its point, but both go the way back: row k should be the point number order[k].": (
            lambda p, c, o: (p[o.argsort()], c[o.argsort()])
        ),
        "the labels are moved twice.": lambda p, c, o: (p[o], c[o][o]),
        "the labels are sorted, and so they have lost their points.": lambda p, c, o: (p[o], c.sort().values),
        "the order itself is returned for the labels: it says which point comes where, not of which class it "
        "is.": lambda p, c, o: (p[o], o),
        "nothing is moved.": lambda p, c, o: (p.clone(), c.clone()),
    },
    parts=("the points", "the labels"),
    labels=True,
    well="each in the new order, and each with its own label",
)


def _left_out(labels: Tensor, draws: Tensor, share: float) -> Tensor:
    return labels.masked_fill(draws < share, NO_CLASS)


left_out = Task(
    "label dropout",
    _left_out,
    lambda: [
        (torch.arange(n) % 6, torch.rand(n, generator=generator(seed), dtype=torch.float64), share)
        for n, seed, share in ((40, 2, 0.1), (30, 3, 0.3))
    ],
    {
        "the share is inverted: the labels whose number is below the share are kept, and all others are left out. So "
        "of a share of 0.1 nine in ten would be gone.": lambda c, u, s: c.masked_fill(u >= s, NO_CLASS),
        "left out is −1; 0 is a class, the first one.": lambda c, u, s: c.masked_fill(u < s, 0),
        "one number decides for all labels of the batch, and each has its own.": lambda c, u, s: c.masked_fill(
            u[0] < s, NO_CLASS
        ),
        "so many of the first labels are left out, always the same ones; the draws say which.": lambda c, u, s: (
            c.masked_fill(torch.arange(len(c)) < round(s * len(c)), NO_CLASS)
        ),
        "these are the labels that are left; the others should stay where they are, as −1, because each point needs "
        "its own.": lambda c, u, s: c[u >= s],
        "that says which labels are left out; the answer is the labels themselves.": lambda c, u, s: u < s,
        "that says which labels are kept; the answer is the labels themselves.": lambda c, u, s: u >= s,
        "1 is taken away from each label that is left out. So the first class becomes −1, and each other class "
        "the one before it.": lambda c, u, s: c - (u < s).long(),
        "no label is left out.": lambda c, u, s: c.clone(),
        "all labels are left out.": lambda c, u, s: torch.full_like(c, NO_CLASS),
    },
    labels=True,
    well="a number below the share leaves its label out, as −1",
)


def _guided_noise(eps_class: Tensor, eps_none: Tensor, w: float) -> Tensor:
    return eps_none + w * (eps_class - eps_none)


_WEIGHTS = (0.0, 1.0, 3.5)

guided_noise = Task(
    "the guided noise",
    _guided_noise,
    lambda: [(draw(6, 2), draw(6, 2, seed=1), w) for w in _WEIGHTS],
    {
        "w is counted from the other end: w = 0 gives the class here, as Ho & Salimans 2022 count, who begin at −1. In "
        "this notebook w = 0 is no class, and w = 1 the class.": lambda c, n, w: _guided_noise(c, n, w + 1),
        "the two have changed places: w = 1 should give the answer with the class, and it gives the one "
        "without.": lambda c, n, w: _guided_noise(n, c, w),
        "w is one too late: w = 1 should give the answer with the class, and here w = 2 does.": lambda c, n, w: (
            _guided_noise(c, n, w - 1)
        ),
        "the wrong sign: it goes away from the class.": lambda c, n, w: _guided_noise(c, n, -w),
        "the difference is missing: with the class, the answer without it has to be taken away first.": (
            lambda c, n, w: n + w * c
        ),
        "that is the difference, w times; it has to be added to the answer without a class.": lambda c, n, w: (
            w * (c - n)
        ),
        "the weights add up to 1 + w, and should add up to 1: (1 − w) without a class, and w with it.": (
            lambda c, n, w: (1 + w) * n + w * c
        ),
        "w is kept between 0 and 1. Guidance goes beyond the class, and there w is greater than 1.": (
            lambda c, n, w: _guided_noise(c, n, min(w, 1.0))
        ),
        "divided by the sum of 1 and w. That is a mean of the two, and never goes beyond the class.": (
            lambda c, n, w: (n + w * c) / (1 + w)
        ),
    },
    well="no class at w = 0, the class at w = 1, and beyond it",
)


def _estimate(x_t: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
    """Of the data."""
    return (x_t - (1 - kept).sqrt() * epsilon) / kept.sqrt()


def _guided_estimate(x_t: Tensor, eps_class: Tensor, eps_none: Tensor, w: float, kept: Tensor, limit: float) -> Tensor:
    return _estimate(x_t, _guided_noise(eps_class, eps_none, w), kept).clamp(-limit, limit)


def _clipped_first(x_t: Tensor, eps_class: Tensor, eps_none: Tensor, w: float, kept: Tensor, limit: float) -> Tensor:
    towards, away = (_estimate(x_t, epsilon, kept).clamp(-limit, limit) for epsilon in (eps_class, eps_none))
    return _guided_noise(towards, away, w)


guided_estimate = Task(
    "the guided estimate of the data",
    _guided_estimate,
    lambda: [
        (draw(12, 2), draw(12, 2, seed=1), draw(12, 2, seed=2), w, number(kept), limit)
        for w, kept, limit in ((3.0, 0.4, 2.0), (1.5, 0.8, 1.2))
    ],
    {
        "each estimate is clipped before guidance. Then the sum can leave the box all the same, and where an estimate "
        "was clipped it is no longer the guided one: clip last.": _clipped_first,
        "each estimate is clipped before guidance, and the sum again. It stays in the box, but it is another point: "
        "where an estimate was clipped, the difference of the two is no longer what guidance multiplies. Clip once, at "
        "the end.": lambda x, c, n, w, k, m: _clipped_first(x, c, n, w, k, m).clamp(-m, m),
        "only the estimate with the class is clipped before guidance: clip once, at the end.": (
            lambda x, c, n, w, k, m: _guided_noise(_estimate(x, c, k).clamp(-m, m), _estimate(x, n, k), w)
        ),
        "the guided noise is clipped, and should be the estimate of the data.": lambda x, c, n, w, k, m: _estimate(
            x, _guided_noise(c, n, w).clamp(-m, m), k
        ),
        "nothing is clipped: with w above 1 the estimate can lie where no data are.": lambda x, c, n, w, k, m: (
            _estimate(x, _guided_noise(c, n, w), k)
        ),
        "that is the guided noise, clipped; the estimate of the data is asked for.": lambda x, c, n, w, k, m: (
            _guided_noise(c, n, w).clamp(-m, m)
        ),
        "the noised points are clipped, and should be the estimate.": lambda x, c, n, w, k, m: _estimate(
            x.clamp(-m, m), _guided_noise(c, n, w), k
        ),
        "points outside are pulled back along their direction, into a circle; the box clips each coordinate by "
        "itself.": lambda x, c, n, w, k, m: _into_circle(_estimate(x, _guided_noise(c, n, w), k), m),
        "only what is too large is clipped; what is below −limit is outside, too.": lambda x, c, n, w, k, m: _estimate(
            x, _guided_noise(c, n, w), k
        ).clamp(max=m),
        "that is the estimate with the class, clipped: w is not used. Guide first.": lambda x, c, n, w, k, m: _estimate(
            x, c, k
        ).clamp(-m, m),
        "it is not divided by √ᾱ: x_t is √ᾱ times the data, plus noise.": lambda x, c, n, w, k, m: (
            x - (1 - k).sqrt() * _guided_noise(c, n, w)
        ).clamp(-m, m),
        "only the noise is divided by √ᾱ: a bracket is missing.": lambda x, c, n, w, k, m: (
            x - (1 - k).sqrt() * _guided_noise(c, n, w) / k.sqrt()
        ).clamp(-m, m),
        "divided by ᾱ; the data were multiplied by its root.": lambda x, c, n, w, k, m: (
            (x - (1 - k).sqrt() * _guided_noise(c, n, w)) / k
        ).clamp(-m, m),
        "1 − ᾱ for its root: noise is multiplied by a standard deviation.": lambda x, c, n, w, k, m: (
            (x - (1 - k) * _guided_noise(c, n, w)) / k.sqrt()
        ).clamp(-m, m),
        "the noise is added to x_t once more; it has to be taken out.": lambda x, c, n, w, k, m: _estimate(
            x, -_guided_noise(c, n, w), k
        ).clamp(-m, m),
        "the roots are missing: √ᾱ and √(1 − ᾱ).": lambda x, c, n, w, k, m: (
            (x - (1 - k) * _guided_noise(c, n, w)) / k
        ).clamp(-m, m),
        "w is counted from the other end: here w = 0 is no class, and w = 1 the class.": lambda x, c, n, w, k, m: (
            _guided_estimate(x, c, n, w + 1, k, m)
        ),
        "the two noises have changed places: w = 1 should be the class.": lambda x, c, n, w, k, m: _guided_estimate(
            x, n, c, w, k, m
        ),
    },
    well="guided first, clipped last",
)


def _into_circle(points: Tensor, radius: float) -> Tensor:
    shrunk: Tensor = points * (radius / points.norm(dim=1, keepdim=True)).clamp(max=1)
    return shrunk
