"""The tasks of notebook 1: noising steps and the schedule they follow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.exercises.questions import MANY, SHORT, generator, moments
from lab_utils.exercises.task import Task


def _alphas_and_betas(alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    before = torch.cat([torch.ones(1, dtype=alphas_cumprod.dtype), alphas_cumprod[:-1]])
    alphas = alphas_cumprod / before
    return alphas, 1 - alphas


def _with_alphas(alphas: Tensor) -> tuple[Tensor, Tensor]:
    return alphas, 1 - alphas


alphas_and_betas = Task(
    "α and β from ᾱ",
    _alphas_and_betas,
    lambda: [(schedule.alphas_cumprod,) for schedule in (SHORT, sigmoid())],
    {
        "the first α is 1, so the first β is 0, and the first step adds no noise. Before the first step ᾱ is 1, so the "
        "first α is ᾱ[0] itself.": lambda a: _with_alphas(torch.cat([torch.ones(1).double(), a[1:] / a[:-1]])),
        "the index is off by one: α[t] belongs to the step that leads to ᾱ[t], so it is ᾱ[t] / ᾱ[t−1], and the step "
        "without a neighbour is the first one, not the last.": lambda a: _with_alphas(
            torch.cat([a[1:] / a[:-1], a[-1:] / a[-2:-1]])
        ),
        "the index is off by one: the ratios begin one step too late, and something fills up the end. What "
        "is missing is the first α, which is ᾱ[0] / 1.": lambda a: _with_alphas(
            torch.cat([a[1:] / a[:-1], torch.ones(1).double()])
        ),
        "the fraction is upside down: ᾱ falls, so ᾱ[t−1] / ᾱ[t] is more than 1, and β would be negative.": lambda a: (
            _with_alphas(1 / _alphas_and_betas(a)[0])
        ),
        "α and β have changed places: α is near 1, β near 0. Return α first.": lambda a: _alphas_and_betas(a)[::-1],
        "computed in float32. β is what is left of 1 after α is taken away: of float32's seven digits that leaves two "
        "or three. Stay in float64.": lambda a: tuple(part.double() for part in _alphas_and_betas(a.float())),
    },
    well="also where β is as small as 0.00003",
    tolerance=1e-9,
)


def _q_step(x: Tensor, beta: float, generator: torch.Generator) -> Tensor:
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=generator)


q_step = Task(
    "one noising step",
    _q_step,
    lambda: [(torch.tensor([[2.0, -1.0]]).double().repeat(MANY, 1), beta, generator()) for beta in (0.3, 0.1)],
    {
        "β for √β: β is the variance of the noise, and what noise is multiplied by is its root.": lambda x, b, g: (
            math.sqrt(1 - b) * x + b * torch.randn(x.shape, generator=g)
        ),
        "the point is multiplied by 1 − β, and should be by √(1 − β): else its variance and the noise's don't add up "
        "to 1.": lambda x, b, g: (1 - b) * x + math.sqrt(b) * torch.randn(x.shape, generator=g),
        "the point doesn't shrink. Without √(1 − β) the variance would grow with every step.": lambda x, b, g: (
            x + math.sqrt(b) * torch.randn(x.shape, generator=g)
        ),
        "uniform for normal noise: torch.rand lies in 0 … 1; torch.randn is the normal one.": lambda x, b, g: (
            math.sqrt(1 - b) * x + math.sqrt(b) * torch.rand(x.shape, generator=g)
        ),
        "uniform for normal noise: the mean is 0, as it should be, but the noise has no tails; take "
        "torch.randn.": lambda x, b, g: (
            math.sqrt(1 - b) * x + math.sqrt(b) * (2 * torch.rand(x.shape, generator=g) - 1)
        ),
    },
    seen=moments,
    tolerance=0.02,
    well="mean, variance and tails of 200 000 points are right",
)


def _q_sample(x_0: Tensor, t: int, alphas_cumprod: Tensor, generator: torch.Generator) -> Tensor:
    kept = float(alphas_cumprod[t])
    return math.sqrt(kept) * x_0 + math.sqrt(1 - kept) * torch.randn(x_0.shape, generator=generator)


q_sample = Task(
    "all noising steps at once",
    _q_sample,
    lambda: [
        (torch.tensor([[2.0, -1.0]]).double().repeat(MANY, 1), t, SHORT.alphas_cumprod, generator()) for t in (3, 9)
    ],
    {
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance; points are multiplied by their "
        "roots.": lambda x, t, a, g: a[t] * x + (1 - a[t]) * torch.randn(x.shape, generator=g),
        "the noise is multiplied by 1 − ᾱ, and should be by its root.": lambda x, t, a, g: (
            a[t].sqrt() * x + (1 - a[t]) * torch.randn(x.shape, generator=g)
        ),
        "the noise is multiplied by 1 − √ᾱ, and should be by √(1 − ᾱ): it is the squares that add up to "
        "1.": lambda x, t, a, g: a[t].sqrt() * x + (1 - a[t].sqrt()) * torch.randn(x.shape, generator=g),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t − 1].": lambda x, t, a, g: (
            _q_sample(x, t - 1, a, g)
        ),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t + 1].": lambda x, t, a, g: (
            _q_sample(x, t + 1, a, g)
        ),
        "√ᾱ and √(1 − ᾱ) have changed places: the data keep ᾱ of the variance.": lambda x, t, a, g: (
            (1 - a[t]).sqrt() * x + a[t].sqrt() * torch.randn(x.shape, generator=g)
        ),
        "uniform for normal noise: torch.rand lies in 0 … 1; torch.randn is the normal one.": lambda x, t, a, g: (
            a[t].sqrt() * x + (1 - a[t]).sqrt() * torch.rand(x.shape, generator=g)
        ),
    },
    seen=moments,
    tolerance=0.02,
    well="mean, variance and tails of 200 000 points are right",
)


def _wasted(alphas_cumprod: Tensor) -> float:
    return float((alphas_cumprod < 0.01).double().mean())


wasted = Task(
    "the share of wasted steps",
    _wasted,
    lambda: [(schedule.alphas_cumprod,) for schedule in (linear(), sigmoid())],
    {
        "that is their number; divide it by that of all steps.": lambda a: float((a < 0.01).sum()),
        "that is per cent; a share lies between 0 and 1.": lambda a: 100 * _wasted(a),
        "that is the share of the others, which come before ᾱ falls below 0.01.": lambda a: 1 - _wasted(a),
    },
    well="32.7 % of the linear schedule's, 9.2 % of the sigmoid's",
)
