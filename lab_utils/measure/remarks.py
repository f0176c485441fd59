"""What one should know of two sets of points before one trusts their comparison; a sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from lab_utils.points.dataset import Units

PRECISE = 50.0  # scales from the middle: with a real point so far out, the others lie so close that they need float64
FAR = 10.0  # scales from the middle: a real point that is farther out decides what the scale is
UNITS = 3.0  # by so many times centre or spread must differ for the units to be in doubt
EXACT = 0.01  # the share of generated points that stand on a real one, beyond what real ones do among themselves
PLACES = 0.5  # different places for each point: fewer are worth a sentence
BEYOND = 5.0  # times as far from the real points as any of these is from the others

Array = NDArray[np.float64]


def remarks(generated: Tensor, real: Tensor, train: Tensor | None = None) -> Iterator[str]:
    """Look at finite (n, 2) generated, (m, 2) real and (k, 2) training points, all float64, in the same units."""
    mine, true = generated.numpy(), real.numpy()
    yield from _units(mine, true)
    yield from _outliers(real)
    yield from _exact(mine, true)
    yield from _places(mine, true)
    if train is not None and (copied := float(_among(mine, train.numpy()).mean())) > EXACT:
        yield f"{_percent(copied)} of the generated points are training points exactly."
    if train is not None and (share := float(_among(true, train.numpy()).mean())) > EXACT:
        yield (
            f"{_percent(share)} of the real points are training points exactly. Then copies of training points look "
            "real: give real points that the model has not seen."
        )


def far_out(generated: Tensor, real: Tensor) -> str:
    """A sentence about the generated point that is farthest out, if real ones never are nearly so far; else nothing."""
    true = real.numpy()
    tree = cKDTree(true)
    reach = float(np.max(tree.query(true, [2])[0]))
    distances = np.asarray(tree.query(generated.numpy())[0])
    if not distances.max() > BEYOND * reach > 0:
        return ""
    times, many = distances.max() / reach, int((distances > reach).sum())
    return (
        f"The farthest generated point is {distances.max():.3g} from all real ones, {times:.3g} times as far as any "
        f"real point is from the others. Beside all {len(true)} real points, {many} of {len(distances)} generated ones "
        "lie farther out than any of these."
    )


def _middle(points: Array) -> tuple[Array, float]:
    """The median, and the spread without regard to single far points: the mean of both axes' quartile distances."""
    low, middle, high = np.quantile(points, [0.25, 0.5, 0.75], axis=0)
    return middle, float((high - low).mean())


def _units(mine: Array, true: Array) -> Iterator[str]:
    (centre, spread), (real_centre, real_spread) = _middle(mine), _middle(true)
    if not spread > 0 or not real_spread > 0:
        return
    apart = float(np.linalg.norm(centre - real_centre)) / real_spread
    if apart > UNITS or not 1 / UNITS <= spread / real_spread <= UNITS:
        x, y, real_x, real_y = *centre, *real_centre
        yield (
            f"Are the units the same? Half of the generated points lie within {spread:.3g} around "
            f"({x:.3g}, {y:.3g}), of the real ones within {real_spread:.3g} around ({real_x:.3g}, {real_y:.3g}). "
            "They were measured as they are."
        )


def _outliers(real: Tensor) -> Iterator[str]:
    units = Units.of(real)
    out = ((real - units.shift).norm(dim=1) / units.scale).numpy()
    if (out > FAR).any():
        yield (
            f"The real points have {int((out > FAR).sum())} that are more than {FAR:g} times the scale from the "
            f"middle, the farthest {out.max():.3g}. Such points make the scale, by which the widths of MMD "
            "go, and the distances of mass follow them. Are they mistakes?"
        )


def _exact(mine: Array, true: Array) -> Iterator[str]:
    share = float(_among(mine, true).mean())
    _, counts = np.unique(_rows(true), return_counts=True)
    if share > EXACT + float(counts[counts > 1].sum() / len(true)):
        yield (
            f"{_percent(share)} of the generated points are real points exactly. Are the real ones those that the "
            "model was trained on? Then copies look best: give real points that it has not seen."
        )


def _places(mine: Array, true: Array) -> Iterator[str]:
    for name, points in (("generated", mine), ("real", true)):
        places = len(np.unique(_rows(points)))
        if places < PLACES * len(points):
            yield f"The {len(points)} {name} points stand at {places} different places."


def _rows(points: Array) -> NDArray[Any]:
    """(n,): each point as one number, in single precision, so that the same point is found in files of either."""
    with np.errstate(over="ignore"):  # what is too large for it becomes infinite, and so is no point of a file
        return np.ascontiguousarray(points, dtype=np.float32).view(np.complex64)[:, 0]


def _among(points: Array, others: Array) -> NDArray[np.bool_]:
    """(n,): whether each point is one of the others."""
    return np.isin(_rows(points), _rows(others))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
