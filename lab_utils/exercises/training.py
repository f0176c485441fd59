"""The tasks of notebook 3: the loss, the moving average, and what of the loss can go away."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils.exercises.questions import Network, StandIn, draw, short
from lab_utils.exercises.task import Task


def _noised(x: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    kept = alphas_cumprod[t].unsqueeze(1)
    return kept.sqrt() * x + (1 - kept).sqrt() * noise


def _loss(network: Network, x: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (network(_noised(x, t, noise, alphas_cumprod), t) - noise).square().mean()


loss = Task(
    "the loss of a batch",
    _loss,
    lambda: [(StandIn(), draw(30, 2), torch.arange(30) % 18 + 1, draw(30, 2, seed=1), short().alphas_cumprod)],
    {
        "sum for mean: a sum grows with the batch, and with it the steps of the optimiser.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).square().sum()
        ),
        "summed over the two coordinates, and the mean over the points only: twice the loss that the lab "
        "reports.": lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) - z).square().sum(dim=1).mean(),
        "the wrong sign: the network's answer and the noise are added; it is their difference that should be "
        "small.": lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) + z).square().mean(),
        "the network is asked for the noise, and its answer is compared with the data.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - x).square().mean()
        ),
        "the network is asked for the noise, and its answer is compared with the noised points.": (
            lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) - _noised(x, t, z, a)).square().mean()
        ),
        "the errors are not squared: that is the mean of their absolute values.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).abs().mean()
        ),
        "that is the root of it; the loss is the mean square itself.": lambda f, x, t, z, a: _loss(
            f, x, t, z, a
        ).sqrt(),
        "the mean is squared, in which errors of both signs cancel: square first.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).mean().square()
        ),
        "the network sees the data themselves, not the noised points.": lambda f, x, t, z, a: (
            (f(x, t) - z).square().mean()
        ),
        "the roots are missing where the points are noised.": lambda f, x, t, z, a: (
            (f(a[t].unsqueeze(1) * x + (1 - a[t]).unsqueeze(1) * z, t) - z).square().mean()
        ),
        "√ᾱ and √(1 − ᾱ) have changed places where the points are noised.": lambda f, x, t, z, a: _loss(
            f, x, t, z, 1 - a
        ),
        "the data don't shrink where the points are noised: √ᾱ is missing.": lambda f, x, t, z, a: (
            (f(x + (1 - a[t]).sqrt().unsqueeze(1) * z, t) - z).square().mean()
        ),
        "the index is off by one: the network is told t + 1, and the points were noised to t.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t + 1) - z).square().mean()
        ),
        "the index is off by one: the network is told t − 1, and the points were noised to t.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t - 1) - z).square().mean()
        ),
        "the index is off by one: t − 1 for t, where the points are noised and for the network.": (
            lambda f, x, t, z, a: _loss(f, x, t - 1, z, a)
        ),
        "the index is off by one: the points are noised to t − 1, and the network is told t.": lambda f, x, t, z, a: (
            (f(_noised(x, t - 1, z, a), t) - z).square().mean()
        ),
        "the index is off by one: the points are noised to t + 1, and the network is told t.": lambda f, x, t, z, a: (
            (f(_noised(x, t + 1, z, a), t) - z).square().mean()
        ),
        "all points have the first one's timestep; each has its own.": lambda f, x, t, z, a: _loss(
            f, x, t[:1].expand(len(t)), z, a
        ),
    },
    tolerance=1e-5,
)


def _ema(average: Tensor, weights: Tensor, decay: float) -> Tensor:
    return decay * average + (1 - decay) * weights


ema = Task(
    "the moving average of the weights",
    _ema,
    lambda: [(draw(5), draw(5, seed=1), 0.9), (draw(5), draw(5, seed=1), 0.999)],
    {
        "the two have changed places: the average should keep `decay` of itself, and take little of the new "
        "weights.": lambda a, w, d: _ema(w, a, d),
        "it adds the new weights to what is left of the average; their share is 1 − decay.": lambda a, w, d: d * a + w,
        "the average keeps all of itself, and takes a share of the weights on top: the two shares add up to 1.": (
            lambda a, w, d: a + (1 - d) * w
        ),
        "the wrong sign: the average moves away from the weights.": lambda a, w, d: a - (1 - d) * (w - a),
        "the decay is not used: that is the mean of the two.": lambda a, w, d: (a + w) / 2,
    },
)


def _avoidable(loss: float, floor: float) -> float:
    return (loss - floor) / loss


avoidable = Task(
    "the share of the loss that training can take away",
    _avoidable,
    lambda: [(0.4, 0.3), (0.371, 0.365)],
    {
        "that is the share that can't go away.": lambda loss, floor: floor / loss,
        "that is the excess itself; as a share of the loss it is divided by the loss.": lambda loss, floor: (
            loss - floor
        ),
        "divided by the floor; a share of the loss is divided by the loss.": lambda loss, floor: (loss - floor) / floor,
        "the loss over its floor is a multiple; a share lies between 0 and 1.": lambda loss, floor: loss / floor,
        "the wrong sign: the loss lies above its floor.": lambda loss, floor: (floor - loss) / loss,
        "that is per cent; a share lies between 0 and 1.": lambda loss, floor: 100 * (loss - floor) / loss,
        "a bracket is missing: only the floor is divided by the loss.": lambda loss, floor: loss - floor / loss,
    },
    tolerance=1e-4,
)
