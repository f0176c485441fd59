"""The tasks of notebook 4: the way back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import Schedule, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exercises.questions import SHORT, Network, draw
from lab_utils.exercises.task import Task


def _reverse_mean(x_t: Tensor, epsilon: Tensor, t: int, betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (x_t - betas[t] / (1 - alphas_cumprod[t]).sqrt() * epsilon) / (1 - betas[t]).sqrt()


reverse_mean = Task(
    "one step back, without the noise",
    _reverse_mean,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), t, SHORT.betas, SHORT.alphas_cumprod) for t in (0, 7, 19)],
    {
        "the wrong sign: the noise that was found is taken out, not put in.": lambda x, e, t, b, a: _reverse_mean(
            x, -e, t, b, a
        ),
        "β for √(1 − ᾱ): the root is missing under the fraction.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]) * e) / (1 - b[t]).sqrt()
        ),
        "√β for β: here β itself is over the fraction.": lambda x, e, t, b, a: (
            (x - b[t].sqrt() / (1 - a[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "divided by √ᾱ: that jumps to the data in one go. One step back divides by √α.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / a[t].sqrt()
        ),
        "all noise is taken out at once: that is the estimate of the data. One step takes β / √(1 − ᾱ) of "
        "it.": lambda x, e, t, b, a: (x - (1 - a[t]).sqrt() * e) / a[t].sqrt(),
        "multiplied by √α: the way there shrank the points by it, so the way back divides.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) * (1 - b[t]).sqrt()
        ),
        "divided by α; it is its root that the points were multiplied by.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / (1 - b[t])
        ),
        "the index is off by one: ᾱ of the step before, where that of the step itself belongs.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t - 1]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
    },
    tolerance=1e-5,
)


def _posterior_variance(betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    before = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return betas * (1 - before) / (1 - alphas_cumprod)


posterior_variance = Task(
    "the variance of the reverse step",
    _posterior_variance,
    lambda: [(schedule.betas, schedule.alphas_cumprod) for schedule in (SHORT, sigmoid())],
    {
        "mixed up: the fraction is upside down. 1 − ᾱ of the step before is the smaller one and stands "
        "above.": lambda b, a: torch.cat([torch.full((1,), math.inf).double(), b[1:] * (1 - a[1:]) / (1 - a[:-1])]),
        "mixed up: that is β, the variance of the step there. The posterior's is smaller.": lambda b, a: b.clone(),
        "the index is off by one: above stands ᾱ of the step before t, not of the step after it.": lambda b, a: (
            b * (1 - torch.cat([a[1:], a[-1:]])) / (1 - a)
        ),
        "that is the root, the standard deviation.": lambda b, a: _posterior_variance(b, a).sqrt(),
        "the first is β, and should be 0: before the first step ᾱ is 1, so there is nothing uncertain "
        "left.": lambda b, a: torch.cat([b[:1], _posterior_variance(b, a)[1:]]),
        "1 − ᾱ is missing below.": lambda b, a: _posterior_variance(b, a) * (1 - a),
    },
    well="0 at t = 0, and never more than β",
    tolerance=1e-9,
)


def _walk(
    epsilon: Network,
    x_T: Tensor,
    noises: Tensor,
    schedule: Schedule,
    *,
    last: int = 0,
    power: float = 0.5,
    late: int = 0,
) -> Tensor:
    """Ancestral sampling with the variance β; the last three arguments make mistakes."""
    x = x_T
    for t in range(schedule.timesteps - 1, last - 1, -1):
        asked = torch.tensor([max(0, t - late)])
        x = _reverse_mean(x, epsilon(x, asked), t, schedule.betas, schedule.alphas_cumprod)
        if t:
            x = x + schedule.betas[t] ** power * noises[t]
    return x


def _sampled(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule)


def _noise_at_last(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule) + schedule.betas[0].sqrt() * noises[0]


def _forward_order(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    x = x_T
    for t in range(schedule.timesteps):
        x = _reverse_mean(x, epsilon(x, torch.tensor([t])), t, schedule.betas, schedule.alphas_cumprod)
        x = x + schedule.betas[t].sqrt() * noises[t] if t else x
    return x


sampling_loop = Task(
    "all steps back",
    _sampled,
    lambda: [(BestDenoiser(draw(12, 2, seed=5), SHORT).epsilon, draw(9, 2), draw(20, 9, 2, seed=1), SHORT)],
    {
        "noise is added at the last step as well. After t = 0 the points are finished, and the noise would stay in "
        "them.": _noise_at_last,
        "the index is off by one: the last step, t = 0, is missing; `range` stops before its second "
        "number.": lambda f, x, z, s: _walk(f, x, z, s, last=1),
        "β for √β: β is the variance, and noise is multiplied by its root.": lambda f, x, z, s: _walk(
            f, x, z, s, power=1.0
        ),
        "no noise is added at all: the points draw together too closely.": lambda f, x, z, s: _walk(f, x, 0 * z, s),
        "the steps are taken forwards; the way back begins at t = T − 1.": _forward_order,
        "the index is off by one: the network is asked about t − 1 while the points are at t.": lambda f, x, z, s: (
            _walk(f, x, z, s, late=1)
        ),
    },
    tolerance=1e-5,
)


def _ddim_step(x_t: Tensor, epsilon: Tensor, now: float, after: float) -> Tensor:
    x_0 = (x_t - math.sqrt(1 - now) * epsilon) / math.sqrt(now)
    return math.sqrt(after) * x_0 + math.sqrt(1 - after) * epsilon


ddim_step = Task(
    "one step of DDIM without noise",
    _ddim_step,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), 0.2, 0.5), (draw(9, 2), draw(9, 2, seed=1), 0.7, 0.95)],
    {
        "that is the estimate of the data; it still has to be noised to where the step ends.": lambda x, e, n, a: (
            _ddim_step(x, e, n, 1.0)
        ),
        "the wrong sign in the estimate of the data: x_t is √ᾱ x_0 plus noise, so the noise is taken "
        "away.": lambda x, e, n, a: math.sqrt(a) * (x + math.sqrt(1 - n) * e) / math.sqrt(n) + math.sqrt(1 - a) * e,
        "the two ᾱ have changed places.": lambda x, e, n, a: _ddim_step(x, e, a, n),
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance.": lambda x, e, n, a: (
            a * (x - (1 - n) * e) / n + (1 - a) * e
        ),
        "the points are noised with the amount they had, not with what they should have after the "
        "step.": lambda x, e, n, a: math.sqrt(a) * (x - math.sqrt(1 - n) * e) / math.sqrt(n) + math.sqrt(1 - n) * e,
    },
    tolerance=1e-5,
)
