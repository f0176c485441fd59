"""What a network may predict, and how each answer says what the noise is: the one place that converts.

A noised point is x_t = α x + σ ε, with α = √ᾱ and σ = √(1−ᾱ). So whoever knows one of these knows the others:

- "epsilon", the noise ε (Ho et al. 2020, section 3.2);
- "x", the data point (Salimans & Ho 2022, section 4);
- "v" = α ε − σ x (Salimans & Ho 2022, section 4 and appendix D);
- "velocity" = ε − x, that of the straight path from the data to the noise (Lipman et al. 2023, with time reversed);
- "score", the slope of the log density of the noised points, −ε/σ (Song & Ermon 2019).

All conversions are linear: ε = skip · x_t + scale · answer, with two numbers that depend on ᾱ alone. So the errors of
two answers differ by a factor, |ε̂ − ε|² = scale² · |error of the answer|², and the best answer of one kind is the best
of every kind.

At the two ends of a schedule some of these conversions divide by nearly 0. Nothing is clipped there, and this is done:

- σ → 0, before t = 0: the noise divides by σ for "x" (skip = 1/σ). A network's two numbers are worked out in float64
  and multiplied in float32, so its rounding errors of 6e-8 become 6e-8/σ in ε: 6e-5 for the σ = 0.001 of `flow()`.
- α → 0, at the last timestep: "epsilon" has nothing to divide by, and "v" and "velocity" are multiplied by α, so that
  their errors vanish. The other way round, from ε to the others, divides by α: it is done in float64, and as exact as
  the ε that is given.
- Of exactly ᾱ = 1 or 0, which no `Schedule` has, a conversion that would divide by 0 is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# name → skip and scale, from α and σ
TARGETS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "epsilon": lambda signal, noise: (torch.zeros_like(noise), torch.ones_like(noise)),
    "x": lambda signal, noise: (1 / noise, -signal / noise),
    "v": lambda signal, noise: (noise, signal),
    "velocity": lambda signal, noise: (1 / (signal + noise), signal / (signal + noise)),
    "score": lambda signal, noise: (torch.zeros_like(noise), -noise),
}
LEARNT = ("epsilon", "x", "v", "velocity")  # what the lab's network may predict


def skip_and_scale(predicts: str, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    """The two numbers in ε = skip · x_t + scale · answer.

    Args:
        predicts: what kind of answer it is, one of `TARGETS`.
        alphas_cumprod: ᾱ, float64 of any shape.

    Returns:
        skip and scale, of the shape of ᾱ; infinite where the noise can't be told from the answer.

    Raises:
        ValueError: for another kind of answer.
    """
    if predicts not in TARGETS:
        raise ValueError(f"a network predicts one of {', '.join(TARGETS)}; got {predicts!r}")
    return TARGETS[predicts](alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt())


def to_epsilon(predicts: str, answer: Tensor, x_t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """The noise in x_t, from a network's answer of another kind.

    Args:
        predicts: one of `TARGETS`.
        answer: (n, 2), what the network said.
        x_t: (n, 2), the noised points.
        alphas_cumprod: (1,) or (n,) float64, ᾱ at each point's timestep.

    Returns:
        (n, 2) float64.

    Raises:
        ValueError: for another kind of answer, or where the noise doesn't follow from it: ᾱ = 1 for "x".
    """
    skip, scale = skip_and_scale(predicts, alphas_cumprod.unsqueeze(1))
    if not skip.isfinite().all():
        raise ValueError(f"the noise does not follow from {predicts!r} where there is none, ᾱ = 1; ask at ᾱ below 1")
    return skip * x_t.double() + scale * answer.double()


def from_epsilon(predicts: str, epsilon: Tensor, x_t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """What a network that predicts something else would have answered: `to_epsilon` the other way round.

    So the best denoiser tells the best answer of every kind; its "velocity" is the exact field of flow matching with
    independent pairs (Bertrand et al. 2025, proposition 1). Errors of ε are divided by the scale; see the module's
    text for what that means at the ends.

    Args:
        predicts: one of `TARGETS`.
        epsilon: (n, 2), the noise.
        x_t: (n, 2), the noised points.
        alphas_cumprod: (1,) or (n,) float64, ᾱ at each point's timestep.

    Returns:
        (n, 2) float64.

    Raises:
        ValueError: for another kind of answer, or where it doesn't follow from the noise: ᾱ = 0 for "x", "v" and
            "velocity", ᾱ = 1 for "x" and "score".
    """
    skip, scale = skip_and_scale(predicts, alphas_cumprod.unsqueeze(1))
    if not (skip.isfinite() & scale.isfinite() & (scale != 0)).all():
        raise ValueError(
            f"{predicts!r} does not follow from the noise where only noise is left, ᾱ = 0, or none at all, ᾱ = 1; ask "
            "at ᾱ between them"
        )
    return (epsilon.double() - skip * x_t.double()) / scale
