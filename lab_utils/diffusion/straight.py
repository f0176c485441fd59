"""Sampling as flow matching does it: along the straight path z_s = (1−s) x + s ε, in steps that are even in s.

Every schedule has this path in it. With α = √ᾱ and σ = √(1−ᾱ), x_t = α x + σ ε is the point z = x_t/(α+σ) at the place
s = σ/(α+σ). There the noise becomes data by dz/ds = u, from s near 1 to s = 0. The velocity u is the mean of ε − x over
all pairs that may have led to z (Lipman et al. 2023, eq. 8, with time reversed). A step back by h is

- Euler's:      z − h u(z, s);
- Heun's:       z − h (u(z, s) + u(z', s−h)) / 2 with z' from Euler's step (Karras et al. 2022, algorithm 1);
- the midpoint: z − h u(z', s−h/2) with z' from Euler's step to there.

In terms of ε, u = ((α+σ) ε − x_t)/α. So all are rows of a `Sampler`, and a step that asks twice is two rows: the first
leads to z', and leaves beside it what the second needs of the first. Then `len` of the sampler counts evaluations.

Euler's step is that of DDIM without noise. With x̂ and ε̂ the data and the noise that the denoiser sees, z is
(1−s) x̂ + s ε̂ and u is ε̂ − x̂, so the step leads to (1−s') x̂ + s' ε̂, and so does DDIM's. Flow matching only takes
other timesteps.

The two ends. Dividing by α magnifies what float32 rounds: the first row asks at α = 1/2T with `flow()`, so its error is
some 6e-8 · 2T · h in z. At s = 0 there is no timestep to ask at, so the last step of Heun is Euler's, to the best guess
of the data, as in Karras et al. 2022; and so is that of the midpoint where no timestep is left on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from lab_utils.base.arguments import is_whole
from lab_utils.diffusion.samplers import Sampler, from_rows, nearest
from lab_utils.diffusion.schedules import Schedule


def places(schedule: Schedule) -> Tensor:
    """(T,) float64: where each timestep stands on the straight path, s = σ/(α+σ), rising from near 0 to near 1."""
    signal, noise = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    return noise / (signal + noise)


def even_in_s(schedule: Schedule, steps: int, *, least: float = 0.0) -> list[int]:
    """So many timesteps, rising, that steps between them, and from the first to the data, are as even in s as can be.

    The last is the last with ᾱ ≥ `least`, or a later one where there are fewer than `steps` before.

    Raises:
        ValueError: if `steps` is no whole number from 1 to that of the schedule's timesteps.
    """
    most = schedule.timesteps
    if not is_whole(steps, least=1) or steps > most:
        raise ValueError(f"the number of steps must be a whole number of 1 or more, up to {most}, not {steps!r}")
    s = places(schedule)[: max(steps, int((schedule.alphas_cumprod >= least).sum()))]
    return nearest(s, s[-1] * torch.arange(1, steps + 1) / steps)


def euler(schedule: Schedule, steps: int, *, least: float = 0.0) -> Sampler:
    """Euler's steps along the straight path, of first order; each asks once.

    Args:
        schedule: the schedule.
        steps: how many; see `even_in_s`.
        least: the ᾱ at which the way begins; 0 for the schedule's last timestep. A network whose loss hardly counts
            where there is only noise, as that of v with "uniform" weights, may need `samplers.PURE_NOISE`.

    Raises:
        ValueError: for a number of steps that `even_in_s` refuses.
    """
    return _along("Euler", schedule, even_in_s(schedule, steps, least=least), None)


def heun(schedule: Schedule, steps: int, *, least: float = 0.0) -> Sampler:
    """Heun's steps, of second order: each asks twice, the last one once. Arguments and errors as for `euler`."""
    return _along("Heun", schedule, even_in_s(schedule, steps, least=least), 1.0)


def midpoint(schedule: Schedule, steps: int, *, least: float = 0.0) -> Sampler:
    """Midpoint steps, of second order: each asks twice. Arguments and errors as for `euler`.

    The middle is the timestep that is nearest to it. If that lies at the share c of the step, and not at 1/2, then
    z − h ((1 − 1/2c) u(z, s) + u(z', s−ch)/2c) is still of second order (Hairer et al. 1993, section II.1). With c = 1
    that is Heun's step. On a Gaussian the midpoint is of third order, because the variance along the path is quadratic
    in s.
    """
    return _along("midpoint", schedule, even_in_s(schedule, steps, least=least), 0.5)


def _along(name: str, schedule: Schedule, rising: Sequence[int], share: float | None) -> Sampler:
    """The sampler that asks at these timesteps, and again where that share of each step is done."""
    s = [*places(schedule).tolist(), 0.0]  # what stands last, at -1, are the data
    kept = torch.cat([schedule.alphas_cumprod, torch.ones(1, dtype=torch.float64)])
    signal, noise = kept.sqrt().tolist(), (1 - kept).sqrt().tolist()
    scale = [a + b for a, b in zip(signal, noise, strict=True)]

    def to(t: int, after: int) -> tuple[float, float, float, float]:
        """Euler's row: (1−s') x̂ + s' ε̂, times α' + σ'."""
        return signal[after] / signal[t], signal[after] / signal[t] * noise[t] - noise[after], 0.0, 0.0

    timesteps, rows, left = [], [], {}
    for t, after in pairwise([*reversed(rising), -1]):
        inside = _nearest_inside(s, t, after, share) if share else -1
        if inside == -1:  # a step of Euler's, as all are to where nothing but the data is ahead
            timesteps.append(t)
            rows.append(to(t, after))
            continue
        h = s[t] - s[after]
        late = h / (2 * (s[t] - s[inside]))  # the weight of the second answer; that of the first is the rest
        early, size = h * (1 - late) / signal[t], h * late / signal[inside]
        left[len(rows)] = [scale[after] * (1 / scale[t] + early), scale[after] * early * scale[t]]
        timesteps += [t, inside]
        rows += [to(t, inside), (scale[after] * size, scale[after] * size * scale[inside], 0.0, 1.0)]
    sampler = from_rows(name, schedule, timesteps, rows)
    estimates = sampler.estimates.clone()
    for row, numbers in left.items():
        estimates[row] = torch.tensor(numbers, dtype=torch.float64)
    return replace(sampler, estimates=estimates)


def _nearest_inside(s: Sequence[float], t: int, after: int, share: float) -> int:
    """The timestep nearest to where that share of the step from t is done, a quarter at least; −1 if there is none."""
    if share == 1:
        return after
    h = s[t] - s[after]
    ahead = [number for number in range(t - 1, max(after, 0) - 1, -1) if s[t] - s[number] >= h / 4]
    return min(ahead, key=lambda number: abs(s[t] - share * h - s[number]), default=-1)
