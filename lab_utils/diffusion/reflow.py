"""Reflow: straighter paths, from pairs that a trained model itself makes (Liu et al. 2023, section 2.2).

A flow leads each noise to a point of its own. Train a second network on these pairs, and the straight lines between
them cross less often than those of independent pairs. So its paths are straighter, and few steps follow them. Where no
two lines cross, one step of Euler's is exact.

Reflow makes nothing better than the first model was: what that gets wrong stands in the pairs.

    points, noises = pairs(model, 50_000)
    trainer = Trainer(DiffusionGenerator(schedule=flow(), target="velocity"), points, recipe, noises=noises)
"""

from __future__ import annotations

from torch import Tensor

from lab_utils import SEED
from lab_utils.diffusion.denoiser import Denoiser, check_denoiser
from lab_utils.diffusion.sampling import initial_noise, sample
from lab_utils.diffusion.straight import heun

STEPS = 100


def pairs(denoiser: Denoiser, n: int, *, steps: int = STEPS, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Points of a model's own, and the noise that each of them has come from.

    Args:
        denoiser: anything that keeps the contract of `denoiser`.
        n: how many.
        steps: of Heun's method along the straight path.
        seed: of the noises.

    Returns:
        (n, 2) points and (n, 2) noises, float32, in normalised units.

    Raises:
        TypeError: what is given is no denoiser.
        ValueError: for numbers of points or steps that can't be.
    """
    check_denoiser(denoiser)
    points = sample(denoiser, n, seed=seed, sampler=heun(denoiser.schedule, steps))
    return points, initial_noise(n, seed)
