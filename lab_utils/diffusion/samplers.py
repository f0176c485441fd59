"""Ways from noise to data: which timesteps to take, and what to do with the denoiser's answer at each.

A step from t to an earlier s turns x_t into a·x_t − b·ε + c·z + d·x̂: ε is the noise that the denoiser sees in x_t, z is
fresh standard normal noise, and x̂ is the data point that was estimated one step before. The four numbers depend on
the schedule alone. `sampling` takes the steps. Each row of numbers is one question to the denoiser; a method that asks
twice a step has two rows for it, see `straight`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lab_utils.base.arguments import check_points, is_number, is_whole
from lab_utils.diffusion.schedules import Schedule

VARIANCES = ("posterior", "beta")

# Where ᾱ is smaller, normalised data can't be told from pure noise. The loss hardly trains a network there, for it sees
# the network's part of the answer times √ᾱ. A way of few steps could not make up for a wrong one; so it begins later.
PURE_NOISE = 0.01
STEPS = 50  # of the usual sampler: they read what a thousand of DDPM do, see `study.sampler_study`


@dataclass(frozen=True)
class Sampler:
    """A way from noise to data.

    Attributes:
        name: what it is called in legends.
        schedule: the schedule that it was made for; on another one its numbers would be wrong.
        timesteps: where the denoiser is asked, never rising; the last step leads from the last of them to the data.
        coefficients: (steps, 4) float64, one row a, b, c, d for each timestep.
        estimates: (steps, 2) float64, one row p, q for each timestep: the data point seen there is x̂ = p·x_t − q·ε, or
            whatever else of x_t and ε the next row goes on from.
    """

    name: str
    schedule: Schedule
    timesteps: tuple[int, ...]
    coefficients: Tensor
    estimates: Tensor

    def __len__(self) -> int:
        return len(self.timesteps)

    def check(self, schedule: Schedule) -> None:
        """Raise a `ValueError` unless it was made for a schedule with these betas."""
        if not torch.equal(self.schedule.betas, schedule.betas):
            raise ValueError(
                f"this sampler ({self.name}) was made for {self.schedule}, and the denoiser has "
                f"{schedule}; make one for the denoiser's own schedule, `denoiser.schedule`"
            )

    @property
    def multistep(self) -> bool:
        """Whether a step needs the estimate of the step before."""
        return bool(self.coefficients[:, 3].any())


def from_rows(name: str, schedule: Schedule, timesteps: Sequence[int], rows: Sequence[Sequence[float]]) -> Sampler:
    """A sampler of rows a, b, c, d, one for each timestep, which estimates the data point from each answer."""
    alphas_cumprod = schedule.alphas_cumprod[list(timesteps)]
    # x_0 = (x_t − √(1−ᾱ) ε) / √ᾱ (Ho et al. 2020, eq. 15)
    estimates = torch.stack([1 / alphas_cumprod.sqrt(), (1 / alphas_cumprod - 1).sqrt()], dim=1)
    return Sampler(name, schedule, tuple(timesteps), torch.tensor(rows, dtype=torch.float64), estimates)


def even_in_log_snr(schedule: Schedule, steps: int, *, least: float = 0.0) -> list[int]:
    """So many timesteps, rising, as even in log SNR as different ones can be.

    The first is t = 0. The last is the last with ᾱ ≥ `least`, or a later one where there are fewer than `steps` before.

    Raises:
        ValueError: if `steps` is no whole number from 2 to that of the schedule's timesteps.
    """
    most = schedule.timesteps
    if not is_whole(steps, least=min(2, most)) or steps > most:
        raise ValueError(f"the number of timesteps must be a whole number of 2 or more, up to {most}, not {steps!r}")
    count = max(steps, int((schedule.alphas_cumprod >= least).sum()))
    fall = -schedule.snr.log()[:count]
    return nearest(fall, torch.linspace(float(fall[0]), float(fall[-1]), steps, dtype=torch.float64))


def nearest(places: Tensor, wanted: Tensor) -> list[int]:
    """The numbers, rising and all different, of the places that are nearest to those wanted.

    Args:
        places: (T,) floats, rising: where each timestep stands.
        wanted: (steps,) floats, rising, no more than there are places.
    """
    steps, count = len(wanted), len(places)
    closest = (wanted.unsqueeze(1) - places).abs().argmin(dim=1)
    # where the schedule's own steps are longer, several want the same timestep: the later ones go on to the next …
    number = torch.arange(steps)
    rising = (closest - number).cummax(dim=0).values + number
    # … and leave room for those that come after them
    chosen: list[int] = torch.minimum(rising, count - steps + number).tolist()
    return chosen


def ancestral(schedule: Schedule, variance: str = "posterior") -> Sampler:
    """All T steps of Ho et al. 2020, algorithm 2 (eq. 11).

    c is the root of the posterior variance β̃ ("posterior") or of β ("beta"), both of their section 3.2. The last
    step, t = 0, adds no noise.

    Raises:
        ValueError: for another name of a variance.
    """
    if variance not in VARIANCES:
        raise ValueError(f"variance must be one of {', '.join(VARIANCES)}, not {variance!r}")
    a = 1 / schedule.alphas.sqrt()
    b = schedule.betas / (1 - schedule.alphas_cumprod).sqrt() * a
    c = (schedule.posterior_variance if variance == "posterior" else schedule.betas).sqrt()
    c = torch.cat([torch.zeros(1, dtype=c.dtype), c[1:]])
    rows = torch.stack([a, b, c, torch.zeros_like(c)], dim=1).flip(0)
    return from_rows("DDPM", schedule, range(schedule.timesteps - 1, -1, -1), rows.tolist())


def ddim(schedule: Schedule, steps: int, eta: float = 0.0, *, least: float = PURE_NOISE) -> Sampler:
    """Song et al. 2020 (DDIM), eq. 12 and 16, at timesteps that are even in log SNR.

    Args:
        schedule: the schedule.
        steps: how many; see `even_in_log_snr`. As many as the schedule has are all of them.
        eta: 0 for no noise at all, 1 for as much as the posterior has: with all T steps that is `ancestral`.
        least: the ᾱ at which the way begins; 0 for the schedule's last timestep.

    Raises:
        ValueError: if eta isn't in [0, 1], or for another number of steps.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in 0 … 1, from no noise to that of the posterior; got {eta}")
    timesteps = even_in_log_snr(schedule, steps, least=least)[::-1]
    rows = []
    for now, after in _pairs(schedule, timesteps):
        variance = eta**2 * (1 - after) / (1 - now) * (1 - now / after)
        a = math.sqrt(after / now)
        b = a * math.sqrt(1 - now) - math.sqrt(max(0.0, 1 - after - variance))
        rows.append((a, b, math.sqrt(variance), 0.0))
    return from_rows(f"DDIM, η = {eta:g}", schedule, timesteps, rows)


def dpm_solver(schedule: Schedule, steps: int, *, least: float = PURE_NOISE) -> Sampler:
    """DPM-Solver++(2M), without noise (Lu et al. 2022, algorithm 2), at timesteps as for `ddim`.

    Each step goes on from two estimates of the data, this one's and the one before; the first and the last, which leads
    to the data themselves, from this one's alone.

    Raises:
        ValueError: for a number of steps that `even_in_log_snr` refuses.
    """
    return _second_order("DPM-Solver++(2M)", schedule, steps, 0.0, least)


def sde_dpm_solver(schedule: Schedule, steps: int, *, noise: float = 1.0, least: float = PURE_NOISE) -> Sampler:
    """SDE-DPM-Solver++(2M): as `dpm_solver`, with fresh noise in each step but the last (Lu et al. 2022).

    Args:
        schedule: the schedule.
        steps: how many; see `even_in_log_snr`.
        noise: how much. 1 is that of the reverse SDE, which the ancestral steps follow, too; 0 is none, and so
            `dpm_solver`; others are the SDEs of Xue et al. 2023 (SA-Solver) with this number as their τ.
        least: the ᾱ at which the way begins; 0 for the schedule's last timestep.

    Raises:
        ValueError: if `noise` is no number of 0 or more, or for a number of steps that `even_in_log_snr` refuses.
    """
    if not (is_number(noise) and noise >= 0):
        raise ValueError(f"noise must be a number of 0 or more: 1 for that of the reverse SDE; got {noise!r}")
    name = "SDE-DPM-Solver++(2M)" if noise == 1 else f"SDE-DPM-Solver++(2M), noise {noise:g}"
    return _second_order(name, schedule, steps, noise, least)


def usual(schedule: Schedule) -> Sampler:
    """Where a thousand steps are not the subject: `sde_dpm_solver` in 50 steps, or in as many as there are."""
    return sde_dpm_solver(schedule, min(STEPS, schedule.timesteps))


def _second_order(name: str, schedule: Schedule, steps: int, noise: float, least: float) -> Sampler:
    """The two above: with D the mixed estimate of the data, h the step of half log SNR, τ the noise and σ² = 1 − ᾱ,

    x_s = (σ_s/σ_t) e^(−τ²h) x_t + √ᾱ_s (1 − e^(−(1+τ²)h)) D + σ_s √(1 − e^(−2τ²h)) z.
    """  # noqa: D415  # it ends with the formula
    timesteps = even_in_log_snr(schedule, steps, least=least)[::-1]
    half_log_snr = (schedule.snr.log() / 2)[timesteps].tolist()
    rows = []
    for step, (now, after) in enumerate(_pairs(schedule, timesteps)):
        signal, sigma = math.sqrt(now), math.sqrt(1 - now)
        if after == 1:
            rows.append((1 / signal, sigma / signal, 0.0, 0.0))
            continue
        h = half_log_snr[step + 1] - half_log_snr[step]
        back = h / (2 * (half_log_snr[step] - half_log_snr[step - 1])) if step else 0.0  # 1 / 2r
        whole = -math.sqrt(after) * math.expm1(-(1 + noise**2) * h)  # what D is multiplied by
        a = math.sqrt(1 - after) / sigma * math.exp(-(noise**2) * h) + whole * (1 + back) / signal
        c = math.sqrt(-(1 - after) * math.expm1(-2 * noise**2 * h))
        rows.append((a, whole * (1 + back) * sigma / signal, c, -whole * back))
    return from_rows(name, schedule, timesteps, rows)


def _pairs(schedule: Schedule, timesteps: Sequence[int]) -> list[tuple[float, float]]:
    """ᾱ before and after each step; after the last it is 1, the data's."""
    curve = [*schedule.alphas_cumprod[list(timesteps)].tolist(), 1.0]
    return list(pairwise(curve))


def reverse_step(
    coefficients: Sequence[float], x_t: Tensor, epsilon: Tensor, noise: Tensor, before: Tensor | None = None
) -> Tensor:
    """One reverse step: (n, 2) x_t, the ε predicted there, standard normal noise, x̂ of the step before → (n, 2).

    `coefficients` is a row of a sampler's, as plain numbers.

    Raises:
        ValueError: if the shapes differ, or if the step needs x̂ and there is none.
    """
    check_points(x_t, "x_t")
    shapes = [tuple(x.shape) for x in (x_t, epsilon, noise, x_t if before is None else before)]
    if len({*shapes}) > 1:  # PyTorch would repeat the smaller ones
        raise ValueError(f"x_t, the predicted ε, the noise and the x̂ before must have one shape; they have {shapes}")
    a, b, c, d = coefficients
    x = (a * x_t).sub_(epsilon, alpha=b)
    if c:
        x.add_(noise, alpha=c)
    if not d:
        return x
    if before is None:
        raise ValueError("this step goes on from two estimates of the data: give that of the step before, too")
    return x.add_(before, alpha=d)
