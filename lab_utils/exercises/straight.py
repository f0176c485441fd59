"""The tasks of notebook 8: one cloud in two languages, the velocity, a step of Euler's, pairs of points and noises."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils.exercises.questions import draw, number
from lab_utils.exercises.task import Task


def _straightened(x_t: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    signal, noise = kept.sqrt(), (1 - kept).sqrt()
    return x_t / (signal + noise), noise / (signal + noise)


straightened = Task(
    "the same point on the straight path",
    _straightened,
    lambda: [(draw(9, 2), number(kept)) for kept in (0.2, 0.5, 0.9)],
    {
        "the roots are missing: α is √ᾱ and σ is √(1 − ᾱ).": lambda x, k: (x / 1.0, 1 - k),
        "s and 1 − s have changed places: s is the share of the noise, σ/(α + σ).": lambda x, k: (
            _straightened(x, k)[0],
            1 - _straightened(x, k)[1],
        ),
        "the point is multiplied by α + σ, and should be divided: x_t is the longer of the two.": lambda x, k: (
            x * (k.sqrt() + (1 - k).sqrt()),
            _straightened(x, k)[1],
        ),
        "the point is divided by α alone: then the data have their weight 1, and in z they have 1 − s.": lambda x, k: (
            x / k.sqrt(),
            _straightened(x, k)[1],
        ),
        "the point is left as it is; z is x_t over α + σ.": lambda x, k: (x.clone(), _straightened(x, k)[1]),
        "s is σ itself; on the straight path the two weights add up to 1.": lambda x, k: (
            _straightened(x, k)[0],
            (1 - k).sqrt(),
        ),
        "s is 1 − ᾱ, the share of the variance; it is the share of the weights, σ/(α + σ).": lambda x, k: (
            _straightened(x, k)[0],
            1 - k,
        ),
        "s is σ/α; it is σ over the sum of both.": lambda x, k: (_straightened(x, k)[0], ((1 - k) / k).sqrt()),
    },
    parts=("z", "s"),
    tolerance=1e-6,
)


def _velocity(x_t: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
    return epsilon - _data(x_t, epsilon, kept)


def _data(x_t: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
    return (x_t - (1 - kept).sqrt() * epsilon) / kept.sqrt()


velocity = Task(
    "the velocity that a denoiser sees",
    _velocity,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), number(kept)) for kept in (0.2, 0.5, 0.9)],
    {
        "the wrong direction: s grows from the data to the noise, so the velocity is noise minus data.": (
            lambda x, e, k: -_velocity(x, e, k)
        ),
        "the noised point is taken for the data: first estimate the data from x_t and the noise.": lambda x, e, k: (
            e - x
        ),
        "that is the estimate of the data; the velocity is the noise minus it.": _data,
        "that is v = α ε − σ x; the velocity has no weights: ε − x.": lambda x, e, k: (
            k.sqrt() * e - (1 - k).sqrt() * _data(x, e, k)
        ),
        "the wrong sign in the estimate of the data: x_t is α x plus noise, so the noise is taken away.": (
            lambda x, e, k: e - _data(x, -e, k)
        ),
        "the roots are missing in the estimate of the data.": lambda x, e, k: e - (x - (1 - k) * e) / k,
        "the estimate of the data is not divided by α.": lambda x, e, k: e - (x - (1 - k).sqrt() * e),
        "α and σ have changed places.": lambda x, e, k: e - _data(x, e, 1 - k),
    },
    tolerance=1e-5,
)


def _euler_step(z: Tensor, velocity: Tensor, now: float, after: float) -> Tensor:
    return z + (after - now) * velocity


euler_step = Task(
    "a step of Euler's along the straight path",
    _euler_step,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), now, after) for now, after in ((1.0, 0.75), (0.4, 0.1))],
    {
        "the direction of time is wrong: the velocity leads from the data to the noise, and the way back goes "
        "against it.": lambda z, u, n, a: z - (a - n) * u,
        "the step is as long as s, so it goes all the way; it is as long as s changes.": lambda z, u, n, a: z - n * u,
        "the length of the step is squared.": lambda z, u, n, a: z - (a - n) ** 2 * u,
        "the point is multiplied by 1 − s besides; Euler's step only adds.": lambda z, u, n, a: (
            (1 - a) * z + (a - n) * u
        ),
        "that is the change alone; the point itself is missing.": lambda z, u, n, a: (a - n) * u,
    },
    tolerance=1e-6,
)


def _coupled(points: Tensor, noises: Tensor, pairs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return points, noises[pairs], labels


coupled = Task(
    "which noise goes with which point",
    _coupled,
    lambda: [(draw(6, 2), draw(6, 2, seed=1), torch.tensor([2, 0, 5, 1, 3, 4]), torch.arange(6).double())],
    {
        "the inverse permutation: pairs[i] is the number of the noise for point i, so take `noises[pairs]`.": (
            lambda p, n, i, y: (p, n[i.argsort()], y)
        ),
        "the points are put in a new order, and their labels stay behind: leave the points, and reorder the "
        "noises.": lambda p, n, i, y: (p[i], n, y),
        "points and labels are put in a new order, but with the permutation of the noises: that pairs others.": (
            lambda p, n, i, y: (p[i], n, y[i])
        ),
        "both are put in a new order, so the pairs are those that they were.": lambda p, n, i, y: (p[i], n[i], y),
        "nothing is reordered: those are independent pairs.": lambda p, n, i, y: (p.clone(), n.clone(), y.clone()),
        "the labels are reordered, and the points are not.": lambda p, n, i, y: (p, n[i], y[i]),
    },
    parts=("the points", "the noises", "the labels"),
    tolerance=1e-6,
)
