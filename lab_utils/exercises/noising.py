"""The tasks of notebook 1: noising steps and the schedule they follow."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.exercises.questions import ONE, copies, generator, moments, number, short
from lab_utils.exercises.task import Task


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator)


def _q_step(x: Tensor, beta: Tensor, generator: torch.Generator) -> Tensor:
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * _noise(x, generator)


_RAND = "uniform for normal noise: torch.rand lies in 0 … 1; torch.randn is the normal one."
_EVEN = "uniform for normal noise: the mean is 0, as it should be, but the noise has no tails; take torch.randn."

q_step = Task(
    "one noising step",
    _q_step,
    lambda: [(copies(), number(beta), generator()) for beta in (0.3, 0.1)],
    {
        "β for √β: β is the variance of the noise, and what noise is multiplied by is its root.": lambda x, b, g: (
            math.sqrt(1 - b) * x + b * _noise(x, g)
        ),
        "the point is multiplied by 1 − β, and should be by √(1 − β): else its variance and the noise's don't add up "
        "to 1.": lambda x, b, g: (1 - b) * x + math.sqrt(b) * _noise(x, g),
        "both roots are missing: 1 − β and β are shares of the variance; points and noise are multiplied by their "
        "roots.": lambda x, b, g: (1 - b) * x + b * _noise(x, g),
        "the factors have changed places: the point keeps √(1 − β), most of it, and the noise gets √β.": (
            lambda x, b, g: math.sqrt(b) * x + math.sqrt(1 - b) * _noise(x, g)
        ),
        "the point doesn't shrink. Without √(1 − β) the variance would grow with every step.": lambda x, b, g: (
            x + math.sqrt(b) * _noise(x, g)
        ),
        "the point is multiplied by 1 − √β, and should be by √(1 − β): it is the squares that add up to 1.": (
            lambda x, b, g: (1 - math.sqrt(b)) * x + math.sqrt(b) * _noise(x, g)
        ),
        "the point only shrinks: the noise is missing.": lambda x, b, g: math.sqrt(1 - b) * x,
        _RAND: lambda x, b, g: math.sqrt(1 - b) * x + math.sqrt(b) * torch.rand(x.shape, generator=g),
        _EVEN: lambda x, b, g: math.sqrt(1 - b) * x + math.sqrt(b) * (2 * torch.rand(x.shape, generator=g) - 1),
    },
    seen=moments,
    tolerance=0.03,
    well="mean, variance and tails of 200 000 points are right",
)


def _q_sample(x: Tensor, t: int, alphas_cumprod: Tensor, generator: torch.Generator) -> Tensor:
    kept = alphas_cumprod[t]
    return kept.sqrt() * x + (1 - kept).sqrt() * _noise(x, generator)


q_sample = Task(
    "all noising steps at once",
    _q_sample,
    lambda: [(copies(), t, short().alphas_cumprod, generator()) for t in (3, 9)],
    {
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance; points are multiplied by their "
        "roots.": lambda x, t, a, g: a[t] * x + (1 - a[t]) * _noise(x, g),
        "the noise is multiplied by 1 − ᾱ, and should be by its root.": lambda x, t, a, g: (
            a[t].sqrt() * x + (1 - a[t]) * _noise(x, g)
        ),
        "the data are multiplied by ᾱ, and should be by its root.": lambda x, t, a, g: (
            a[t] * x + (1 - a[t]).sqrt() * _noise(x, g)
        ),
        "the noise is multiplied by 1 − √ᾱ, and should be by √(1 − ᾱ): it is the squares that add up to "
        "1.": lambda x, t, a, g: a[t].sqrt() * x + (1 - a[t].sqrt()) * _noise(x, g),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t − 1].": lambda x, t, a, g: (
            _q_sample(x, t - 1, a, g)
        ),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t + 1].": lambda x, t, a, g: (
            _q_sample(x, t + 1, a, g)
        ),
        "the product is taken twice: alphas_cumprod is the product of all α up to t already.": lambda x, t, a, g: (
            _q_sample(x, t, a.cumprod(0), g)
        ),
        "√ᾱ and √(1 − ᾱ) have changed places: the data keep ᾱ of the variance.": lambda x, t, a, g: (
            (1 - a[t]).sqrt() * x + a[t].sqrt() * _noise(x, g)
        ),
        "the data don't shrink: √ᾱ is missing.": lambda x, t, a, g: x + (1 - a[t]).sqrt() * _noise(x, g),
        "the data only shrink: the noise is missing.": lambda x, t, a, g: a[t].sqrt() * x,
        _RAND: lambda x, t, a, g: a[t].sqrt() * x + (1 - a[t]).sqrt() * torch.rand(x.shape, generator=g),
        _EVEN: lambda x, t, a, g: a[t].sqrt() * x + (1 - a[t]).sqrt() * (2 * torch.rand(x.shape, generator=g) - 1),
    },
    seen=moments,
    tolerance=0.03,
    well="mean, variance and tails of 200 000 points are right",
)


def _below(level: float, alphas_cumprod: Tensor) -> float:
    return float((alphas_cumprod < level).double().mean())


def _wasted(alphas_cumprod: Tensor) -> float:
    return _below(0.01, alphas_cumprod)


wasted = Task(
    "the share of wasted steps",
    _wasted,
    lambda: [(schedule.alphas_cumprod,) for schedule in (linear(), sigmoid(), short(), sigmoid(timesteps=250))],
    {
        "that is their number; divide it by that of all steps.": lambda a: float((a < 0.01).sum()),
        "divided by 1000: another schedule may have more steps, or fewer. `len(alphas_cumprod)` is their "
        "number.": lambda a: float((a < 0.01).sum()) / 1000,
        "that is per cent; a share lies between 0 and 1.": lambda a: 100 * _wasted(a),
        "that is the share of the others, which come before ᾱ falls below 0.01.": lambda a: 1 - _wasted(a),
        "that is the step where ᾱ falls below 0.01, not the share of those from there on.": lambda a: float(
            (a >= 0.01).sum()
        ),
        "0.1 for 0.01.": lambda a: _below(0.1, a),
        "that is the share of the steps where √ᾱ is below 0.01.": lambda a: _wasted(a.sqrt()),
    },
    well="32.7 % of the linear schedule's, 9.2 % of the sigmoid's",
)


def _alphas_and_betas(alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    before = torch.cat([torch.ones(1, dtype=alphas_cumprod.dtype), alphas_cumprod[:-1]])
    return _with_alphas(alphas_cumprod / before)


def _with_alphas(alphas: Tensor) -> tuple[Tensor, Tensor]:
    return alphas, 1 - alphas


alphas_and_betas = Task(
    "α and β from ᾱ",
    _alphas_and_betas,
    lambda: [(schedule.alphas_cumprod,) for schedule in (short(), sigmoid())],
    {
        "the first α is 1, so the first β is 0, and the first step adds no noise. Before the first step ᾱ is 1, so the "
        "first α is ᾱ[0] itself.": lambda a: _with_alphas(torch.cat([ONE, a[1:] / a[:-1]])),
        "the first α takes the last ᾱ: the index −1 wraps round to the end, and so does `roll`. Before the first step "
        "ᾱ is 1.": lambda a: _with_alphas(a / a.roll(1)),
        "the index is off by one: α[t] belongs to the step that leads to ᾱ[t], so it is ᾱ[t] / ᾱ[t−1], and the step "
        "without a neighbour is the first one, not the last.": lambda a: _with_alphas(
            torch.cat([a[1:] / a[:-1], a[-1:] / a[-2:-1]])
        ),
        "the index is off by one: the ratios begin one step too late, and something fills up the end. What "
        "is missing is the first α, which is ᾱ[0] / 1.": lambda a: _with_alphas(torch.cat([a[1:] / a[:-1], ONE])),
        "there is one number too few: α[0] is missing. The first step has a ᾱ before it, too, which stands in no list: "
        "before any step all of the data is there.": lambda a: _with_alphas(a[1:] / a[:-1]),
        "the fraction is upside down: ᾱ falls, so ᾱ[t−1] / ᾱ[t] is more than 1, and β would be negative.": lambda a: (
            _with_alphas(1 / _alphas_and_betas(a)[0])
        ),
        "the difference for the ratio: ᾱ is a product, so what the step t multiplied it by is ᾱ[t] / ᾱ[t−1].": (
            lambda a: _with_alphas(torch.cat([ONE, a[:-1]]) - a)
        ),
        "β is 1 − α, without the bar; that is 1 − ᾱ, the noise of all steps so far.": lambda a: (
            _alphas_and_betas(a)[0],
            1 - a,
        ),
        "that is ᾱ itself; α is the factor by which ᾱ falls in one step.": _with_alphas,
        "α and β have changed places: α is near 1, β near 0. Return α first.": lambda a: _alphas_and_betas(a)[::-1],
        "computed in float32. β is what is left of 1 after α is taken away: of float32's seven digits that leaves two "
        "or three. Stay in float64.": lambda a: tuple(part.double() for part in _alphas_and_betas(a.float())),
    },
    parts=("α", "β"),
    well="also where β is as small as 0.00003",
    tolerance=1e-9,
)
