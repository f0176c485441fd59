"""Guidance: two denoisers as one, which goes on from the answer of the second beyond that of the first.

    ε_w = ε_base + w (ε_aim − ε_base)

So w = 0 is the base, w = 1 the aim, and w > 1 goes beyond the aim. (Others count otherwise: the w of Ho & Salimans 2022
is ours less 1. That of Karras et al. 2024, and the guidance scale of diffusers, are ours.) Which two:

- classifier-free guidance (Ho & Salimans 2022): the aim is the denoiser of a class, `given(model, "Africa")`, the base
  that of all classes together, the `model` itself;
- autoguidance (Karras et al. 2024): the aim is a good model, the base a worse version of the same: of fewer epochs,
  `run.model(200)`, or of fewer neurons. Both are told the same class, or none.

It does *not* sample p(x)^(1−w) p(x|c)^w. The score that belongs to ε_w is, at each noise level, that of the two noised
densities, powered. But to noise and then to power is not to power and then to noise. So the scores are not those of one
density at all noise levels, and which points come out even depends on the sampler (Bradley & Nakkiran 2024, section 3).
`exact.guided_gaussians` has what comes out for Gaussians.

Guidance may be limited to an interval of noise levels (Kynkäänniemi et al. 2024): outside of it the aim is asked alone,
in one evaluation. A noise level is σ = √((1−ᾱ)/ᾱ), the standard deviation of the noise in x_t/√ᾱ, in normalised units.
That is the σ of their paper, but for the scale of the data. It means the same under every schedule, and times
`data.units.scale` it is a width in the data's own units, which a reader can hold against the map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lab_utils.base.arguments import check_points, is_number
from lab_utils.diffusion.couplings import coupling_of
from lab_utils.diffusion.denoiser import Answer, Denoiser, along, check_denoiser, on
from lab_utils.diffusion.schedules import Schedule, check_timesteps


class Guided:
    """What `guided` makes: a denoiser that asks two others. `weights` is (T,) float64, w at each timestep."""

    def __init__(self, aim: Denoiser, base: Denoiser, weights: Tensor) -> None:
        self.aim, self.base, self.weights = aim, base, weights
        both = (coupling_of(denoiser) for denoiser in (aim, base))
        self.coupling = next((coupling for coupling in both if coupling != "independent"), "independent")

    @property
    def schedule(self) -> Schedule:
        """That of both."""
        return self.aim.schedule

    def to(self, device: torch.device) -> Guided:
        """The same with both denoisers on that device, as `denoiser.on` has them there."""
        return Guided(on(self.aim, device), on(self.base, device), self.weights)

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The guided noise, as the contract of `denoiser` has it; errors as for a network.

        Where w is 1 at all of the timesteps the aim is asked alone, and where it is 0 the base.
        """
        check_points(x_t, "x_t")
        check_timesteps(t, self.schedule.timesteps, len(x_t))
        weights = self.weights[t.cpu()].reshape(-1, 1)
        if (weights == 1).all():
            return self.aim.epsilon(x_t, t)
        if (weights == 0).all():
            return self.base.epsilon(x_t, t)
        return _beyond(self.base.epsilon(x_t, t), self.aim.epsilon(x_t, t), weights.to(x_t))

    def along(self, timesteps: Sequence[int]) -> Callable[[int], Answer]:
        """The same along known timesteps, each of the two by its own fast way, and only where it is asked."""
        t = torch.tensor(timesteps, dtype=torch.int64)
        check_timesteps(t, self.schedule.timesteps)
        weights = self.weights[t].tolist()
        aim = _along_some(self.aim, timesteps, [weight != 0 for weight in weights])
        base = _along_some(self.base, timesteps, [weight != 1 for weight in weights])

        def block(n: int) -> Answer:
            towards, away = aim(n), base(n)

            def epsilon(x_t: Tensor, k: int) -> Tensor:
                if weights[k] in {0, 1}:
                    return (towards if weights[k] else away)(x_t, k)
                return _beyond(away(x_t, k), towards(x_t, k), x_t.new_tensor(weights[k]))

            return epsilon

        return block


def _beyond(base: Tensor, aim: Tensor, weights: Tensor) -> Tensor:
    """What `guided` says; exactly the aim where w is 1, which rounding would spoil."""
    return torch.where(weights == 1, aim, base + weights * (aim - base))


def _along_some(denoiser: Denoiser, timesteps: Sequence[int], asked: Sequence[bool]) -> Callable[[int], Answer]:
    """A denoiser's way along those of the timesteps at which it is asked, with the numbers of the whole way."""
    taken = [k for k, wanted in enumerate(asked) if wanted]
    if not taken:
        return lambda n: lambda x_t, k: x_t
    number = {k: place for place, k in enumerate(taken)}
    way = along(denoiser, [timesteps[k] for k in taken])

    def block(n: int) -> Answer:
        answer = way(n)
        return lambda x_t, k: answer(x_t, number[k])

    return block


def guided(aim: Denoiser, base: Denoiser, weight: float, *, interval: tuple[float, float] | None = None) -> Guided:
    """The denoiser ε_base + w (ε_aim − ε_base); see the module's text for what the two may be.

    >>> sample(guided(given(model, "Africa"), model, 2.0), 1000)          # classifier-free
    >>> sample(guided(run.model(), run.model(200), 2.0), 1000)            # autoguidance

    It satisfies the contract of `denoiser`, so every sampler, every measure and `generate` takes it, and so does
    another guidance. With w = 0 and with w = 1 its answers are those of the base and of the aim to the bit, and cost
    one evaluation; with any other w they cost two.

    Args:
        aim: the denoiser to go towards and beyond …
        base: … seen from this one.
        weight: w, any finite number.
        interval: (low, high), the noise levels with low < σ ≤ high at which to guide (Kynkäänniemi et al. 2024);
            0 ≤ low < high, and high may be `math.inf`. Elsewhere it is the aim's answer. All levels unless
            given.

    Raises:
        TypeError: one of the two is no denoiser.
        ValueError: their schedules differ, the weight is no finite number, or the interval is none or has no timestep
            of the schedule in it.
    """
    check_denoiser(aim)
    check_denoiser(base)
    if not torch.equal(aim.schedule.betas, base.schedule.betas):
        raise ValueError(
            f"guidance mixes the answers of two denoisers to the same noised points, so both must have one schedule; "
            f"the aim has {aim.schedule}, the base {base.schedule}"
        )
    if not is_number(weight):
        raise ValueError(f"the weight must be a finite number: 0 for the base, 1 for the aim; got {weight!r}")
    low, high = (0.0, math.inf) if interval is None else interval
    levels = aim.schedule.snr.rsqrt()
    inside = (levels > low) & (levels <= high)
    if not 0 <= low < high or not inside.any():
        raise ValueError(
            "an interval is (low, high), noise levels σ = √((1−ᾱ)/ᾱ) of which the schedule has some: they run from "
            f"{float(levels[0]):.3g} to {float(levels[-1]):.3g}; got {interval}"
        )
    return Guided(aim, base, torch.where(inside, float(weight), 1.0).double())
