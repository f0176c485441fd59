"""The loss of a denoiser, along t and on average, and how much of it could ever go away.

A loss is a mean over noised points. Whoever compares two denoisers holds both against the same noised points: draw
them once (`noise`), let each denoiser answer (`answers`), and take the squared differences, of an answer and the noise
(the loss) or of an answer and the best answer (the excess). Over many points, loss − floor and excess are the same
number; but the excess is never negative and has far less scatter, so it can be drawn on a log axis.
"""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab_utils import SEED, WORKERS
from lab_utils.base.arguments import check_as_many, check_points
from lab_utils.diffusion.couplings import check_independent
from lab_utils.diffusion.denoiser import Denoiser, check_denoiser
from lab_utils.diffusion.schedules import Schedule

BLOCK = 4096  # noised points that one thread hands to a denoiser at once


@dataclass(frozen=True)
class Noised:
    """Points of some data, noised.

    Attributes:
        x_t: (n, 2) float32 noised points.
        t: (n,) int64 timesteps, rising, as many of each.
        epsilon: (n, 2) float32, the noise that was added.
    """

    x_t: Tensor
    t: Tensor
    epsilon: Tensor


def noise(points: Tensor, schedule: Schedule, *, draws: int = 50_000, seed: int = SEED) -> Noised:
    """Draw some of `points`, (N, 2) and normalised, with timesteps spread evenly over 0 … T−1, and noise them.

    Raises:
        ValueError: if there are no points or less than two draws.
    """
    check_points(points)
    if not len(points) or draws < 2:
        raise ValueError(f"a loss needs at least one point and two draws; got {len(points)} and {draws}")
    generator = torch.Generator().manual_seed(seed)
    x_0 = points[torch.randint(0, len(points), (draws,), generator=generator)]
    t = torch.arange(draws) * schedule.timesteps // draws
    epsilon = torch.randn(draws, 2, generator=generator)
    return Noised(schedule.q_sample(x_0, t, epsilon), t, epsilon)


@torch.inference_mode()
def answers(denoiser: Denoiser, noised: Noised) -> Tensor:
    """(n, 2): the noise that `denoiser` sees in the noised points.

    Raises:
        TypeError: what is given is no denoiser.
        ValueError: it was trained with coupled pairs; the noised points are of independent ones, and so are the noise
            and the best answers that its answers could be held against.
    """
    check_denoiser(denoiser)
    check_independent(denoiser, "losses, their floors and the excess over them are those of independent pairs")

    @torch.inference_mode()
    def answer(block: tuple[Tensor, Tensor]) -> Tensor:
        return denoiser.epsilon(*block)

    with ThreadPoolExecutor(WORKERS) as pool:
        blocks = zip(noised.x_t.split(BLOCK), noised.t.split(BLOCK), strict=True)
        return torch.cat(list(pool.map(answer, blocks)))


def squared(a: Tensor, b: Tensor) -> Tensor:
    """(n,) float64: the mean over both coordinates of the squared differences of two (n, 2) tensors.

    Raises:
        ValueError: if they have other shapes.
    """
    check_as_many(a, b, "a", "b")
    return (a - b).double().square().mean(dim=1)


def _check_values(values: Tensor) -> None:
    if values.ndim != 1:
        raise ValueError(f"the values must have the shape (n,), one for each noised point; not {tuple(values.shape)}")


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean of (n,) values that are in the order of t, and its standard error.

    Neighbours have nearly the same t; so their differences show the chance alone, not the change along t.

    Raises:
        ValueError: if they have another shape.
    """
    _check_values(values)
    variance = values.diff().square().mean() / 2
    return float(values.mean()), float((variance / len(values)).sqrt())


def along_t(values: Tensor, groups: int = 50) -> Tensor:
    """(groups,): the means of (n,) values that are in the order of t, over `groups` equal stretches of 0 … T−1.

    Raises:
        ValueError: if they have another shape, or can't be shared out equally.
    """
    _check_values(values)
    if groups < 1 or len(values) % groups:
        raise ValueError(f"{len(values)} values can't be shared out over {groups} equal stretches of t")
    return values.reshape(groups, -1).mean(dim=1)


def mean_loss(denoiser: Denoiser, points: Tensor, *, draws: int = 50_000, seed: int = SEED) -> tuple[float, float]:
    """The simple loss (Ho et al. 2020, eq. 14) of a denoiser on noised points, and the standard error of that number.

    With the best denoiser of the same points this is the floor: the smallest mean loss that anything can have there.
    The same seed gives the same noised points whatever the denoiser, so two of them differ by much less than the
    standard error says. Arguments and errors as for `noise`.
    """
    check_denoiser(denoiser)
    noised = noise(points, denoiser.schedule, draws=draws, seed=seed)
    return mean_and_error(squared(answers(denoiser, noised), noised.epsilon))


def gradient_signal(model: Denoiser, noised: Noised, *, batch: int = 500, seed: int = SEED) -> float:
    """The aim of a training step over its chance part: |G|² / tr Σ for batches of that size.

    G is the gradient of the mean loss by all weights and Σ the covariance of a batch's gradient about it (McCandlish et
    al. 2018, eq. 2.9, whose noise scale is the batch size over this number). Below 1, a step is more chance than aim;
    0 means that no aim can be told from chance.

    Raises:
        TypeError: the denoiser is no nn.Module with weights, which a step could change.
        ValueError: if the noised points make less than two whole batches, or the denoiser was trained with coupled
            pairs.
    """
    check_independent(model, "the aim of a training step is told of independent pairs")
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise TypeError(f"{type(model).__name__} has no weights, so there is no gradient of a training step")
    order = torch.randperm(len(noised.t), generator=torch.Generator().manual_seed(seed))
    batches = [part for part in order.split(batch) if len(part) == batch]
    if len(batches) < 2:
        raise ValueError(f"{len(order)} noised points don't make two batches of {batch}")
    learner = copy.deepcopy(model).requires_grad_(True)
    weights = [*learner.parameters()]
    gradients = []
    for part in batches:
        loss = (learner.epsilon(noised.x_t[part], noised.t[part]) - noised.epsilon[part]).square().mean()
        parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        gradients.append(torch.cat([gradient.flatten() for gradient in parts]).double())
    each = torch.stack(gradients)
    noise_part = float(each.var(dim=0).sum())
    aim = float(each.mean(dim=0).square().sum()) - noise_part / len(batches)  # without the mean's own chance part
    return max(0.0, aim) / noise_part if noise_part else 0.0 if aim <= 0 else math.inf
