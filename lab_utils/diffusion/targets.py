"""What a network may predict, and how each answer says what the noise is.

A noised point is x_t = α x + σ ε, with α = √ᾱ and σ = √(1−ᾱ). So whoever knows one of these knows the others:

- "epsilon", the noise ε (Ho et al. 2020, section 3.2);
- "x", the data point (Salimans & Ho 2022, section 4);
- "v" = α ε − σ x (Salimans & Ho 2022, section 4 and appendix D);
- "velocity" = ε − x, that of the straight path from the data to the noise (Lipman et al. 2023, with time reversed);
- "score", the slope of the log density of the noised points, −ε/σ (Song & Ermon 2019).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

# name → the noise, from the answer, x_t, α and σ
TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda answer, x_t, signal, noise: answer,
    "x": lambda answer, x_t, signal, noise: (x_t - signal * answer) / noise,
    "v": lambda answer, x_t, signal, noise: signal * answer + noise * x_t,
    "velocity": lambda answer, x_t, signal, noise: (x_t + signal * answer) / (signal + noise),
    "score": lambda answer, x_t, signal, noise: -noise * answer,
}


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
        ValueError: for another kind of answer.
    """
    if predicts not in TARGETS:
        raise ValueError(f"a network predicts one of {', '.join(TARGETS)}; got {predicts!r}")
    kept = alphas_cumprod.unsqueeze(1)
    return TARGETS[predicts](answer.double(), x_t.double(), kept.sqrt(), (1 - kept).sqrt())
