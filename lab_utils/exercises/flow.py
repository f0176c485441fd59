"""The tasks of notebook 8: the velocity, the way along it, and which noise goes with which point."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from lab_utils.diffusion.couplings import couple, optimal_pairs
from lab_utils.exercises.questions import draw, generator, number
from lab_utils.exercises.task import Task

Velocity = Callable[[Tensor, float], Tensor]
Batch = tuple[Tensor, Tensor, Tensor]


def _velocity(x_t: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
    return epsilon - _data(x_t, epsilon, kept)


def _data(x_t: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
    return (x_t - (1 - kept).sqrt() * epsilon) / kept.sqrt()


velocity = Task(
    "the velocity",
    _velocity,
    lambda: [(draw(9, 2), draw(9, 2, seed=1), number(kept)) for kept in (0.3, 0.8)],
    {
        "the wrong sign: u leads from the data to the noise, so it is ε − x.": lambda y, e, k: -_velocity(y, e, k),
        "x_t stands where the data point should be: take the noise out of x_t first.": lambda y, e, k: e - y,
        "that is v = α ε − σ x, the target of Salimans and Ho: the velocity is ε − x, without α and σ.": (
            lambda y, e, k: k.sqrt() * e - (1 - k).sqrt() * _data(y, e, k)
        ),
        "that is the estimate of the data, x; the velocity is what leads from it to the noise.": _data,
        "the data point is not divided by α = √ᾱ: in x_t it is multiplied by it.": lambda y, e, k: (
            e - (y - (1 - k).sqrt() * e)
        ),
        "divided by ᾱ; the data point was multiplied by its root.": lambda y, e, k: e - (y - (1 - k).sqrt() * e) / k,
        "the roots are missing: α = √ᾱ and σ = √(1 − ᾱ).": lambda y, e, k: e - (y - (1 - k) * e) / k,
        "the root ends too early: σ is √(1 − ᾱ), not 1 − √ᾱ.": lambda y, e, k: e - (y - (1 - k.sqrt()) * e) / k.sqrt(),
        "1 − ᾱ for its root: σ is a standard deviation.": lambda y, e, k: e - (y - (1 - k) * e) / k.sqrt(),
        "√ᾱ and √(1 − ᾱ) have changed places: α belongs to the data, σ to the noise.": lambda y, e, k: (
            e - _data(y, e, 1 - k)
        ),
        "the noise is added to x_t once more; it has to be taken out.": lambda y, e, k: (
            e - (y + (1 - k).sqrt() * e) / k.sqrt()
        ),
        "a bracket is missing: only the noise is divided by α, and x_t should be as well.": lambda y, e, k: (
            e - (y - (1 - k).sqrt() * e / k.sqrt())
        ),
        "a bracket is missing: only x_t is divided by α, and the noise should be as well.": lambda y, e, k: (
            e - (y / k.sqrt() - (1 - k).sqrt() * e)
        ),
        "divided by α + σ: that is the way of the rescaled point, and the velocity is not rescaled.": lambda y, e, k: (
            _velocity(y, e, k) / (k.sqrt() + (1 - k).sqrt())
        ),
    },
    tolerance=1e-5,
)


def _flow_sampling(u: Velocity, z: Tensor, steps: int) -> Tensor:
    return _walk(u, z, steps)


def _walk(
    u: Velocity,
    z: Tensor,
    steps: int,
    *,
    ask: Callable[[int, int], float] = lambda k, n: 1 - k / n,
    length: Callable[[int, int], float] = lambda k, n: 1 / n,
    turns: int = 0,
) -> Tensor:
    """Euler's steps; the arguments after the star make mistakes: where step k asks, its length, so many more turns."""
    for k in range(steps + turns):
        z = z - length(k, steps) * u(z, ask(k, steps))
    return z


def _always_about_the_first(u: Velocity, z: Tensor, steps: int) -> Tensor:
    return z - sum(u(z, 1 - k / steps) / steps for k in range(steps))


def _between_so_many_places(u: Velocity, z: Tensor, steps: int) -> Tensor:
    for s, after in pairwise(torch.linspace(1, 0, steps, dtype=torch.float64).tolist()):
        z = z - (s - after) * u(z, s)
    return z


def _stand_in(z: Tensor, s: float) -> Tensor:
    """Something that depends on both, as a velocity does."""
    return (1.3 * z + 2 * s).sin() + 0.2 * z


flow_sampling = Task(
    "from noise to data along the velocity",
    _flow_sampling,
    lambda: [(_stand_in, draw(9, 2, seed=2), steps) for steps in (4, 1, 7)],
    {
        "the steps lead away from the data: u points from the data to the noise, and we go the other way. Take the "
        "step away from z.": lambda u, z, n: _walk(u, z, n, length=lambda k, m: -1 / m),
        "the time runs the wrong way: it begins at s = 0, with the data, and goes with u. The first z is noise, so the "
        "first s is 1, and s falls.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: k / m, length=lambda k, m: -1 / m
        ),
        "s rises from 0, and should fall from 1: the first z is noise.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: k / m
        ),
        "s rises from one step, and should fall from 1: the first z is noise.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: (k + 1) / m
        ),
        "each step asks for the velocity where it ends; Euler's step asks where it begins.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: 1 - (k + 1) / m
        ),
        "each step asks for the velocity in its middle, with the z of its beginning; Euler's step asks for both where "
        "it begins.": lambda u, z, n: _walk(u, z, n, ask=lambda k, m: 1 - (k + 0.5) / m),
        "the velocity is asked for at s = 1 in each step; s falls by 1/steps.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: 1.0
        ),
        "u gets the number of the step in the place of s, which runs from 1 to 0.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: k
        ),
        "u gets the number of steps that are left in the place of s: divide it by `steps`.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: m - k
        ),
        "the velocity is asked for at the first z in each step; it is needed where the point is now.": (
            _always_about_the_first
        ),
        "a step is as long as the whole way; all steps together have the length 1.": lambda u, z, n: _walk(
            u, z, n, length=lambda k, m: 1.0
        ),
        "each step goes all the way that is left, s; it should go 1/steps.": lambda u, z, n: _walk(
            u, z, n, length=lambda k, m: 1 - k / m
        ),
        "one step alone. Does `return` stand inside the loop?": lambda u, z, n: z - u(z, 1.0) / n,
        "the first step is missing, the one from s = 1: `range(1, steps)` leaves out k = 0.": lambda u, z, n: _walk(
            u, z, n, ask=lambda k, m: 1 - (k + 1) / m, turns=-1
        ),
        "the last step is missing.": lambda u, z, n: _walk(u, z, n, turns=-1),
        "there is one step too many: the last one begins at s = 0, where the data are.": lambda u, z, n: _walk(
            u, z, n, turns=1
        ),
        "so many places have one step less between them: `torch.linspace(1, 0, steps)` needs one place more.": (
            _between_so_many_places
        ),
        "the last step begins at s = 0, where the way ends: the places of `torch.linspace(1, 0, steps)` lie further "
        "apart than 1/steps.": lambda u, z, n: _walk(u, z, n, ask=lambda k, m: 1 - k / max(m - 1, 1)),
    },
    tolerance=1e-5,
    well="by Euler's steps from s = 1 to s = 0",
)


def _coupled(points: Tensor, noises: Tensor, labels: Tensor) -> Batch:
    return points, couple("optimal transport", points, noises, labels), labels


def _by_class(
    points: Tensor, noises: Tensor, labels: Tensor, pairs: Callable[[Tensor, Tensor], Tensor] = optimal_pairs
) -> Batch:
    """Class after class, with any way to find the numbers of the noises that go with the points."""
    exchanged = noises.clone()
    for label in labels.unique():
        ours = labels == label
        exchanged[ours] = noises[ours][pairs(points[ours], noises[ours])]
    return points, exchanged, labels


def _joined(points: Tensor, noises: Tensor, labels: Tensor) -> Batch:
    """The right pairs, one class after the other; but the labels as they were."""
    order = labels.argsort(stable=True)
    _, exchanged, _ = _coupled(points, noises, labels)
    return points[order], exchanged[order], labels


def _of_the_whole_batch(points: Tensor, noises: Tensor, labels: Tensor) -> Batch:
    exchanged = noises.clone()
    for label in labels.unique():
        ours = labels == label
        exchanged[ours] = noises[optimal_pairs(points[ours], noises[ours])]
    return points, exchanged, labels


def _one_class(points: Tensor, noises: Tensor, labels: Tensor, label: Tensor) -> Batch:
    ours = labels == label
    exchanged = noises.clone()
    exchanged[ours] = noises[ours][optimal_pairs(points[ours], noises[ours])]
    return points, exchanged, labels


def _batch(n: int, classes: int, seed: int) -> Batch:
    """Points of classes that lie apart, noises for them, and labels in no order."""
    labels = torch.randint(classes, (n,), generator=generator(seed))
    return draw(n, 2, seed=seed) + 2 * labels.unsqueeze(1), draw(n, 2, seed=seed + 1), labels


def _in_the_order_of_the_noises(batch: Batch) -> Batch:
    """Pairs are the same pairs in any order of the rows."""
    points, noises, labels = batch
    order = noises[:, 0].argsort()
    return points[order], noises[order], labels[order]


coupled = Task(
    "pairs of optimal transport",
    _coupled,
    lambda: [_batch(24, 3, seed=3), _batch(15, 2, seed=5)],
    {
        "the pairs are those that were drawn: nothing is exchanged. `noises[ours][pairs]` has the noises of a class in "
        "the order that `optimal_pairs` has found. Write them to `exchanged[ours]`: a second bracket there would write "
        "into a copy.": lambda x, z, c: (x, z, c),
        "`noises[pairs]` takes rows of the whole batch, of any class. The numbers in `pairs` count the noises of the "
        "class, `noises[ours]`.": _of_the_whole_batch,
        "all points are paired together, whatever their class. Then each class gets the noises that lie near it, and "
        "sampling starts from all. Pair the points of each class with the noises that were drawn for them.": (
            lambda x, z, c: (x, z[optimal_pairs(x, z)], c)
        ),
        "the points are exchanged, and their labels are left behind. Exchange the noises: what belongs to a point then "
        "stays with it.": lambda x, z, c: (x[optimal_pairs(x, z).argsort()], z, c),
        "the rows are joined class after class, and the labels are left in their old order.": _joined,
        "the inverse permutation: the noise with the number `pairs[i]` goes with the point i, so the noises are "
        "`noises[ours][pairs]`. And `optimal_pairs` takes the points first.": lambda x, z, c: _by_class(
            x, z, c, lambda p, q: optimal_pairs(p, q).argsort()
        ),
        "the inverse permutation, and all points are paired together, whatever their class.": lambda x, z, c: (
            x,
            z[optimal_pairs(x, z).argsort()],
            c,
        ),
        "each point has the noise that is nearest to it, so some noises are used several times and others never. In a "
        "pairing each is used once.": lambda x, z, c: _by_class(x, z, c, lambda p, q: torch.cdist(p, q).argmin(dim=1)),
        "each point has the nearest of all noises: some are used several times, others never, and the classes are not "
        "kept apart.": lambda x, z, c: (x, z[torch.cdist(x, z).argmin(dim=1)], c),
        "these pairs have the largest sum of squared distances, and should have the smallest.": lambda x, z, c: (
            _by_class(x, z, c, lambda p, q: optimal_pairs(p, -q))
        ),
        "only the noises of the first class are exchanged. Does `return` stand inside the loop?": lambda x, z, c: (
            _one_class(x, z, c, c.min())
        ),
        "only the noises of the last class are exchanged. Is the copy made anew for each class?": lambda x, z, c: (
            _one_class(x, z, c, c.max())
        ),
    },
    seen=_in_the_order_of_the_noises,
    parts=tuple(f"the {what}, in the order of the noises' first coordinate" for what in ("points", "noises", "labels")),
    labels=True,
    well="within each class, each noise once, and the labels with their points",
)
