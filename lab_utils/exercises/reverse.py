"""The tasks of notebook 4: the way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import Schedule, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exercises.questions import ONE, Network, draw, number, short
from lab_utils.exercises.task import Task


def _reverse_mean(x_t: Tensor, epsilon: Tensor, t: int, betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (x_t - betas[t] / (1 - alphas_cumprod[t]).sqrt() * epsilon) / (1 - betas[t]).sqrt()


reverse_mean = Task(
    "one step back, without the noise",
    _reverse_mean,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), t, short().betas, short().alphas_cumprod) for t in (0, 7, 18)],
    {
        "the wrong sign: the noise that was found is taken out, not put in.": lambda x, e, t, b, a: _reverse_mean(
            x, -e, t, b, a
        ),
        "the root is missing under the fraction: √(1 − ᾱ).": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]) * e) / (1 - b[t]).sqrt()
        ),
        "the root ends too early: under the fraction stands √(1 − ᾱ), not 1 − √ᾱ.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t].sqrt()) * e) / (1 - b[t]).sqrt()
        ),
        "√β for β: here β itself is over the fraction.": lambda x, e, t, b, a: (
            (x - b[t].sqrt() / (1 - a[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "α for β: over the fraction stands 1 − α, which is β.": lambda x, e, t, b, a: (
            (x - (1 - b[t]) / (1 - a[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "the bar is forgotten: under the fraction stands √(1 − ᾱ), with the noise of all steps so far, not "
        "√(1 − α).": lambda x, e, t, b, a: (x - b[t].sqrt() * e) / (1 - b[t]).sqrt(),
        "a bar too many: over the fraction stands β = 1 − α, without a bar, not 1 − ᾱ.": lambda x, e, t, b, a: (
            (x - (1 - a[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "divided by √ᾱ: that jumps to the data in one go. One step back divides by √α.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / a[t].sqrt()
        ),
        "divided by √β, and should be by √α = √(1 − β).": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / b[t].sqrt()
        ),
        "all noise is taken out at once: that is the estimate of the data. One step takes β / √(1 − ᾱ) of "
        "it.": lambda x, e, t, b, a: (x - (1 - a[t]).sqrt() * e) / a[t].sqrt(),
        "not divided by √α: the way there shrank the points by it.": lambda x, e, t, b, a: (
            x - b[t] / (1 - a[t]).sqrt() * e
        ),
        "multiplied by √α: the way there shrank the points by it, so the way back divides.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) * (1 - b[t]).sqrt()
        ),
        "divided by α; it is its root that the points were multiplied by.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / (1 - b[t])
        ),
        "a bracket is missing: only the noise is divided by √α, and x_t should be as well.": lambda x, e, t, b, a: (
            x - b[t] / (1 - a[t]).sqrt() * e / (1 - b[t]).sqrt()
        ),
        "a bracket is missing: only x_t is divided by √α, and the noise should be as well.": lambda x, e, t, b, a: (
            x / (1 - b[t]).sqrt() - b[t] / (1 - a[t]).sqrt() * e
        ),
        "the index is off by one: ᾱ of the step before, where that of the step itself belongs.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t - 1]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "the index is off by one: ᾱ of the step after, where that of the step itself belongs.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t + 1]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
    },
    tolerance=1e-5,
)


def _before(alphas_cumprod: Tensor, t: int) -> Tensor:
    """ᾱ before the step t: 1 before the first."""
    return alphas_cumprod[t - 1] if t else 1 + 0 * alphas_cumprod[0]


def _posterior_mean(x_t: Tensor, x: Tensor, t: int, betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return _of_two(x_t, x, betas[t], alphas_cumprod[t], _before(alphas_cumprod, t))


def _of_two(x_t: Tensor, x: Tensor, beta: Tensor, kept: Tensor, before: Tensor) -> Tensor:
    """The mean of the product of two Gaussians: what x says of x_(t−1), and what x_t says."""
    return (before.sqrt() * beta * x + (1 - beta).sqrt() * (1 - before) * x_t) / (1 - kept)


def _unsimplified(x_t: Tensor, x: Tensor, beta: Tensor, before: Tensor) -> Tensor:
    """The same by the formula for two measurements, as it stands."""
    v_1, v_2 = 1 - before, beta / (1 - beta)
    return (before.sqrt() * x / v_1 + x_t / (1 - beta).sqrt() / v_2) / (1 / v_1 + 1 / v_2)


posterior_mean = Task(
    "the mean of the reverse step, if the data point is known",
    _posterior_mean,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), t, short().betas, short().alphas_cumprod) for t in (0, 7, 18)],
    {
        "not simplified: for t = 0 it divides by v₁ = 1 − ᾱ = 0, which gives NaN. On paper, multiply the numerator and "
        "the denominator by v₁ and v₂.": lambda y, x, t, b, a: _unsimplified(y, x, b[t], _before(a, t)),
        "x and x_t have changed places.": lambda y, x, t, b, a: _posterior_mean(x, y, t, b, a),
        "the roots are missing: what x says lies at √ᾱ x, and what x_t says at x_t / √α.": lambda y, x, t, b, a: (
            (_before(a, t) * b[t] * x + (1 - b[t]) * (1 - _before(a, t)) * y) / (1 - a[t])
        ),
        "the index is off by one: before the step t stands ᾱ of t − 1 (and 1 for t = 0), and you took that of "
        "t.": lambda y, x, t, b, a: _of_two(y, x, b[t], a[t], a[t]),
        "the first ᾱ is wrong: before the first step it is 1; the index −1 takes the last one.": lambda y, x, t, b, a: (
            _of_two(y, x, b[t], a[t], a[t - 1])
        ),
        "the weights have changed places: the weight of x has β in it, and the weight of x_t has 1 − ᾱ of the step "
        "before.": lambda y, x, t, b, a: (
            (_before(a, t).sqrt() * (1 - _before(a, t)) * x + (1 - b[t]).sqrt() * b[t] * y) / (1 - a[t])
        ),
        "not divided by 1 − ᾱ: the two precisions have to add up to the whole.": lambda y, x, t, b, a: (
            _posterior_mean(y, x, t, b, a) * (1 - a[t])
        ),
        "divided by the root of 1 − ᾱ; the precisions are over variances, which have no root.": lambda y, x, t, b, a: (
            _posterior_mean(y, x, t, b, a) * (1 - a[t]).sqrt()
        ),
        "β for α: the step multiplied x_(t−1) by √α = √(1 − β).": lambda y, x, t, b, a: (
            (_before(a, t).sqrt() * b[t] * x + b[t].sqrt() * (1 - _before(a, t)) * y) / (1 - a[t])
        ),
        "the bar is forgotten: √ᾱ of the step before stands in front of x, with the product of all steps "
        "until then.": lambda y, x, t, b, a: (
            ((1 - b[t]).sqrt() * b[t] * x + (1 - b[t]).sqrt() * (1 - _before(a, t)) * y) / (1 - a[t])
        ),
        "that is what x says alone, √ᾱ x; x_t says something of it, too.": lambda y, x, t, b, a: (
            _before(a, t).sqrt() * x
        ),
        "that is what x_t says alone, x_t / √α; x says something of it, too.": lambda y, x, t, b, a: (
            y / (1 - b[t]).sqrt()
        ),
        "the mean of the two without weights: the surer one counts for more.": lambda y, x, t, b, a: (
            (_before(a, t).sqrt() * x + y / (1 - b[t]).sqrt()) / 2
        ),
    },
    well="the mean of the product of two Gaussians, also for t = 0",
    tolerance=1e-5,
)


def _posterior_variance(betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return _with_before(betas, alphas_cumprod, torch.cat([ONE, alphas_cumprod[:-1]]))


def _with_before(betas: Tensor, alphas_cumprod: Tensor, before: Tensor) -> Tensor:
    return betas * (1 - before) / (1 - alphas_cumprod)


posterior_variance = Task(
    "the variance of the reverse step",
    _posterior_variance,
    lambda: [(schedule.betas, schedule.alphas_cumprod) for schedule in (short(), sigmoid())],
    {
        "the fraction is upside down. 1 − ᾱ of the step before is the smaller one and stands above.": lambda b, a: (
            torch.cat([torch.full((1,), math.inf).double(), b[1:] * (1 - a[1:]) / (1 - a[:-1])])
        ),
        "that is β, the variance of the noising step. The posterior's is smaller.": lambda b, a: b.clone(),
        "the index is off by one: above stands ᾱ of the step before t, not of the step after it.": lambda b, a: (
            _with_before(b, a, torch.cat([a[1:], a[-1:]]))
        ),
        "ᾱ is shifted the wrong way, and the 1 stands at its end: before the first step ᾱ is 1, so the 1 comes "
        "first.": lambda b, a: _with_before(b, a, torch.cat([a[1:], ONE])),
        "the first one takes the last ᾱ: `roll`, and the index −1, wrap round to the end. Before the first step ᾱ is "
        "1.": lambda b, a: _with_before(b, a, a.roll(1)),
        "0 stands in front of the shifted ᾱ, and should be 1: before the first step all of the data is there.": (
            lambda b, a: _with_before(b, a, torch.cat([0 * ONE, a[:-1]]))
        ),
        "there is one number too few: that of t = 0 is missing. Before the first step stands a ᾱ, too: 1.": (
            lambda b, a: _with_before(b[1:], a[1:], a[:-1])
        ),
        "the bar is forgotten: α for ᾱ. In both brackets stands the product of all steps so far.": lambda b, a: (
            torch.cat([0 * ONE, b[:-1]])
        ),
        "ᾱ for 1 − ᾱ: the fraction is made of what the noise has, not of what the data have.": lambda b, a: (
            b * torch.cat([ONE, a[:-1]]) / a
        ),
        "that is the root, the standard deviation.": lambda b, a: _posterior_variance(b, a).sqrt(),
        "the first is β, and should be 0: before the first step ᾱ is 1, so there is nothing uncertain "
        "left.": lambda b, a: torch.cat([b[:1], _posterior_variance(b, a)[1:]]),
        "1 − ᾱ is missing below.": lambda b, a: _posterior_variance(b, a) * (1 - a),
        "β is missing: that is the fraction alone.": lambda b, a: _posterior_variance(b, a) / b,
        "computed in float32, whose digits 1 − ᾱ uses up where ᾱ is near 1. Stay in float64.": lambda b, a: (
            _with_before(b.float(), a.float(), torch.cat([ONE, a[:-1]]).float()).double()
        ),
    },
    well="0 at t = 0, and never more than β",
    tolerance=1e-9,
)

Noise = Callable[[int, Tensor, Tensor, Schedule], Tensor]  # of the step t, from all noises and what the network found


def _new_noise(t: int, noises: Tensor, found: Tensor, schedule: Schedule) -> Tensor:
    return schedule.betas[t].sqrt() * noises[t]


def _walk(
    epsilon: Network,
    x_T: Tensor,
    noises: Tensor,
    schedule: Schedule,
    *,
    noise: Noise = _new_noise,
    steps: Callable[[range], range] = lambda steps: steps,
    asked: Callable[[int, Tensor], tuple[int, Tensor]] = lambda t, x: (t, x),
) -> Tensor:
    """Ancestral sampling with the variance β; the last three arguments make mistakes."""
    x = x_T
    for t in steps(range(schedule.timesteps - 1, -1, -1)):
        told, seen = asked(t, x)
        found = epsilon(seen, torch.tensor([told]))
        x = _reverse_mean(x, found, t, schedule.betas, schedule.alphas_cumprod)
        if t:
            x = x + noise(t, noises, found, schedule)
    return x


def _sampled(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule)


def _with(noise: Noise) -> Callable[[Network, Tensor, Tensor, Schedule], Tensor]:
    return lambda f, x, z, s: _walk(f, x, z, s, noise=noise)


def _noise_at_last(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule) + schedule.betas[0].sqrt() * noises[0]


sampling_loop = Task(
    "all steps back",
    _sampled,
    lambda: [(BestDenoiser(draw(12, 2, seed=5), short()).epsilon, draw(9, 2), draw(20, 9, 2, seed=1), short())],
    {
        "noise is added at the last step as well. After t = 0 the points are finished, and the noise would stay in "
        "them.": _noise_at_last,
        "the index is off by one: the last step, t = 0, is missing; `range` stops before its second "
        "number.": lambda f, x, z, s: _walk(f, x, z, s, steps=lambda steps: steps[:-1]),
        "one step alone, t = T − 1: does `return` stand inside the loop?": lambda f, x, z, s: _walk(
            f, x, z, s, steps=lambda steps: steps[:1]
        ),
        "the index is off by one: the first step back, t = T − 1, is missing.": lambda f, x, z, s: _walk(
            f, x, z, s, steps=lambda steps: steps[1:]
        ),
        "β for √β: β is the variance, and noise is multiplied by its root.": _with(
            lambda t, z, e, s: s.betas[t] * z[t]
        ),
        "the noise is not multiplied by √β.": _with(lambda t, z, e, s: z[t]),
        "the posterior's variance, the smaller one, for β: this exercise asks for the other one, √β times the "
        "noise.": _with(lambda t, z, e, s: s.posterior_variance[t].sqrt() * z[t]),
        "no noise is added at all: the points draw together too closely.": _with(lambda t, z, e, s: 0 * z[t]),
        "the noise that the network found is added again, as if it were new. The new noise is noises[t], which knows "
        "nothing of x_t.": _with(lambda t, z, e, s: s.betas[t].sqrt() * e),
        "the same noise at every step, noises[0]: each step has its own, noises[t].": _with(
            lambda t, z, e, s: s.betas[t].sqrt() * z[0]
        ),
        "the same noise at every step, the last of `noises`: each step has its own, noises[t].": _with(
            lambda t, z, e, s: s.betas[t].sqrt() * z[-1]
        ),
        "one point's noise for all points: noises[t] has a row for each.": _with(
            lambda t, z, e, s: s.betas[t].sqrt() * z[t, 0]
        ),
        "the noises are taken in the order of the steps; noises[t] belongs to the step t.": _with(
            lambda t, z, e, s: s.betas[t].sqrt() * z[s.timesteps - 1 - t]
        ),
        "the index is off by one: noises[t − 1] for noises[t].": _with(lambda t, z, e, s: s.betas[t].sqrt() * z[t - 1]),
        "the steps are taken forwards; the way back begins at t = T − 1.": lambda f, x, z, s: _walk(
            f, x, z, s, steps=lambda steps: steps[::-1]
        ),
        "the index is off by one: the network is asked about t − 1 while the points are at t.": lambda f, x, z, s: (
            _walk(f, x, z, s, asked=lambda t, x: (max(0, t - 1), x))
        ),
        "the network is asked about x_T at every step; ask about the points as they are.": lambda f, x, z, s: _walk(
            f, x, z, s, asked=lambda t, _: (t, x)
        ),
        "the network is asked about the last timestep at every step; ask about t.": lambda f, x, z, s: _walk(
            f, x, z, s, asked=lambda t, x: (s.timesteps - 1, x)
        ),
    },
    tolerance=1e-5,
)


def mystery(epsilon: Network, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    """A sampling loop with one of the known mistakes. Its readings tell which.

    The sign of all noise is turned. That is noise as good as before, so the readings are near those of the same mistake
    in the table, and not equal to them.
    """
    points: Tensor = sampling_loop.mistake("β for √β")(epsilon, -x_T, -noises, schedule)
    return points


_SOUND = "that one reads what a sound loop does, and the mystery's energy distance is hundreds of times real."
_CLOSER = "there the points lie closer together: the RMS and the coverage are lower than the mystery's."
_ELSEWHERE = "there the blur is several times real, and so is the RMS; the mystery's RMS is below 1."
_FAR = "there the points fly apart, and the RMS is in the hundreds; the mystery's is not."
_NONE = "there is none of that number; they are numbered from 1 to 9."

which_mistake = Task(
    "which mistake is it?",
    lambda: 2.0,
    lambda: [()],
    {
        f"row {row}? Not that one: {says}": partial(float, row)
        for says, rows in (
            (_SOUND, (1, 5, 8)),
            (_CLOSER, (3,)),
            (_ELSEWHERE, (7,)),
            (_FAR, (4, 6, 9)),
            (_NONE, (0, 10)),
        )
        for row in rows
    },
    well="the new noise was multiplied by β, and should be by √β",
)


def _estimate(x_t: Tensor, epsilon: Tensor, now: Tensor) -> Tensor:
    """Of the data."""
    return (x_t - math.sqrt(1 - now) * epsilon) / math.sqrt(now)


def _ddim_step(x_t: Tensor, epsilon: Tensor, now: Tensor, after: Tensor) -> Tensor:
    return math.sqrt(after) * _estimate(x_t, epsilon, now) + math.sqrt(1 - after) * epsilon


ddim_step = Task(
    "one step of DDIM without noise",
    _ddim_step,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), number(now), number(after)) for now, after in ((0.2, 0.5), (0.7, 0.95))],
    {
        "that is the estimate of the data; it still has to be noised to where the step ends.": lambda x, e, n, a: (
            _estimate(x, e, n)
        ),
        "the noise is missing: that is √ᾱ times the estimate of the data. At the end of the step √(1 − ᾱ) times the "
        "noise is in the points as well.": lambda x, e, n, a: math.sqrt(a) * _estimate(x, e, n),
        "the wrong sign in the estimate of the data: x_t is √ᾱ x plus noise, so the noise is taken "
        "away.": lambda x, e, n, a: math.sqrt(a) * _estimate(x, -e, n) + math.sqrt(1 - a) * e,
        "the wrong sign of the noise at the end: it is put in again, not taken out twice.": lambda x, e, n, a: (
            math.sqrt(a) * _estimate(x, e, n) - math.sqrt(1 - a) * e
        ),
        "the two ᾱ have changed places.": lambda x, e, n, a: _ddim_step(x, e, a, n),
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance.": lambda x, e, n, a: (
            a * (x - (1 - n) * e) / n + (1 - a) * e
        ),
        "a root is missing: at the end the noise is multiplied by √(1 − ᾱ).": lambda x, e, n, a: (
            math.sqrt(a) * _estimate(x, e, n) + (1 - a) * e
        ),
        "a root is missing: at the end the estimate of the data is multiplied by √ᾱ.": lambda x, e, n, a: (
            a * _estimate(x, e, n) + math.sqrt(1 - a) * e
        ),
        "a bracket is missing: only the noise is divided by √ᾱ, and x_t should be as well.": lambda x, e, n, a: (
            math.sqrt(a) * (x - math.sqrt(1 - n) * e / math.sqrt(n)) + math.sqrt(1 - a) * e
        ),
        "the estimate of the data is not divided by √ᾱ.": lambda x, e, n, a: (
            math.sqrt(a) * (x - math.sqrt(1 - n) * e) + math.sqrt(1 - a) * e
        ),
        "the estimate of the data is not multiplied by √ᾱ of where the step ends.": lambda x, e, n, a: (
            _estimate(x, e, n) + math.sqrt(1 - a) * e
        ),
        "the points themselves are noised once more; it is the estimate of the data that is noised.": (
            lambda x, e, n, a: math.sqrt(a) * x + math.sqrt(1 - a) * e
        ),
        "the points are noised with the amount they had, not with what they should have after the "
        "step.": lambda x, e, n, a: math.sqrt(a) * _estimate(x, e, n) + math.sqrt(1 - n) * e,
    },
    tolerance=1e-5,
)
