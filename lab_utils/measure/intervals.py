"""What a multiple of real is worth: its 95 % interval, and its rank among real sets.

K generated sets are held against R real ones, and these against each other. The multiple is the mean of the first
distances over the mean of the second. Both have their chance: other sets would have given another number.

The jackknife (Quenouille; Efron & Stein 1981) leaves out one set at a time, generated or real, and looks at how the
logarithm of the multiple changes. What one generated and one real set do *together* is in both of these sums, so it is
taken off once. Student's t, with as many degrees of freedom as there are sets, less two, makes the interval. Of fewer
than four generated sets the jackknife leaves out blocks of points instead, ten a set. A simulation with a known truth
says how often such intervals hold it (`tests/measure/test_intervals.py`): docs/measure.md has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lab_utils import SEED

Array = NDArray[np.float64]

BLOCKS = 10  # of points, that the jackknife leaves out of a set in turn
SETS = 4  # generated: from so many on, whole sets are left out
RELABELLINGS = 1000  # of generated and real sets; where there are more, so many are drawn


def mean_between(between: Array) -> float:
    """The mean of an (R, R) matrix of distances between real sets, without its diagonal, which is 0."""
    return float(between.sum() / (len(between) * (len(between) - 1)))


def multiple(to_real: Array, between: Array) -> float:
    """What generated sets read, over what real ones read: infinite, or NaN, where the latter is 0.

    Args:
        to_real: (K, R) distances of the generated sets from the real ones.
        between: (R, R) distances between the real sets, 0 on the diagonal.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(to_real.mean()) / mean_between(between))


def _squares(values: list[float]) -> float:
    """The jackknife's variance: (n − 1)/n times the sum of the squared deviations."""
    return float(np.var(values) * (len(values) - 1))


def freedom(sets: int, reals: int, *, blocks: bool) -> int:
    """The degrees of freedom of `interval`, of so many generated and real sets: of whole sets or of blocks."""
    return reals - 1 + (sets * (BLOCKS - 1) if blocks else sets - 1)


def interval(
    to_real: Array, between: Array, blocks: Array | None = None, *, points: int | None = None
) -> tuple[float, float]:
    """The 95 % interval of the multiple.

    Args:
        to_real: (K, R) distances of the generated sets from the real ones.
        between: (R, R) distances between the real sets, 0 on the diagonal.
        blocks: (K, B, R), the same as `to_real` of each generated set without one of its B blocks of points. Without
            them the jackknife leaves out whole sets; and of a single set the interval then has nothing of its chance.
        points: of a share, how many generated points there are in all. If it is 0 among them, it may be up to three in
            as many (the rule of three, Hanley & Lippman-Hand 1983).

    Returns:
        Its ends, 0 or more: 0 and infinity where the sets are too few to say more, NaN where real reads 0.
    """
    sets, reals = to_real.shape
    if not mean_between(between) > 0:
        return math.nan, math.nan
    if points and not to_real.any():
        return 0.0, 3 / points / mean_between(between)
    if reals < 3:  # of two there is one distance, and nothing to say how much it varies
        return 0.0, math.inf
    others = [np.delete(np.delete(between, j, 0), j, 1) for j in range(reals)]

    def bounds(scale: Callable[[float], float]) -> tuple[float, float]:
        """The ends on a scale on which the multiple is about Gaussian."""

        def said(rows: Array, left_out: int | None = None) -> float:
            if left_out is None:
                return scale(multiple(rows, between))
            return scale(multiple(np.delete(rows, left_out, 1), others[left_out]))

        whole, without_real = said(to_real), [said(to_real, j) for j in range(reals)]
        generated, shared = 0.0, 0.0
        if blocks is not None:
            for i, rows in enumerate(blocks):
                one_out = [np.concatenate([to_real[:i], row[None], to_real[i + 1 :]]) for row in rows]
                generated += _squares([said(matrix) for matrix in one_out])
        elif sets > 1:
            fewer = [np.delete(to_real, i, 0) for i in range(sets)]
            without_set = [said(rows) for rows in fewer]
            generated = _squares(without_set)
            together = [
                said(rows, j) - without_set[i] - without_real[j] + whole
                for (i, rows), j in product(enumerate(fewer), range(reals))
            ]
            shared = float(np.square(together).sum()) * (sets - 1) * (reals - 1) / (sets * reals)
        twice = generated + _squares(without_real)
        half = float(stdtrit(freedom(sets, reals, blocks=blocks is not None), 0.975)) * math.sqrt(
            max(twice - shared, twice / 4)
        )
        return whole - half, whole + half

    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.exp(bounds(lambda value: float(np.log(value))))
        if not np.isfinite([low, high]).all() and to_real.any():  # all is in one set: without it there is no logarithm
            low, high = np.maximum(0.0, bounds(float))
    return (float(low), float(high)) if np.isfinite([low, high]).all() else (0.0, math.inf)


def rank(between: Array, sets: int, *, higher_is_better: bool = False) -> float:
    """How many labellings read at least as bad, if real sets stand in the place of some generated ones.

    Where nothing differs, all sets are alike, and each way to call K of them "generated" is as likely as any other. So
    this is the p-value of a permutation test (Phipson & Smyth 2010): at or below x in at most a share x of all cases.

    Args:
        between: (K + R, K + R) distances between all sets, the K generated ones first; 0 on the diagonal.
        sets: K.
        higher_is_better: whether it is worse to read less.

    Returns:
        A share of all labellings, the true one among them, or of a thousand drawn ones.
    """
    every = len(between)
    if math.comb(every, sets) <= RELABELLINGS:
        chosen = np.array([*combinations(range(every), sets)])  # the true one first
    else:
        draw = np.random.default_rng(SEED)
        others = [draw.permutation(every)[:sets] for _ in range(RELABELLINGS - 1)]
        chosen = np.array([np.arange(sets), *others])
    as_generated = np.zeros((len(chosen), every))
    np.put_along_axis(as_generated, chosen, 1.0, axis=1)
    as_real = 1 - as_generated
    to_real = ((as_generated @ between) * as_real).sum(1) / (sets * (every - sets))
    among = ((as_real @ between) * as_real).sum(1) / ((every - sets) * (every - sets - 1))
    worse = (among - to_real) if higher_is_better else (to_real - among)
    return float(np.mean(worse >= worse[0] - 1e-12 * np.abs(worse).max()))
