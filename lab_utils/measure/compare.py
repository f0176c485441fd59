"""The one call that measures anything: generated points against real ones, in whatever units they have.

The real points are cut into disjoint sets, and the generated ones into sets of the same size. What the generated sets
read against the real ones stands beside what the real sets read against each other; see `benchmark`. The answer, with
its words, is a `Comparison`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import PointsError, as_points
from lab_utils.measure.benchmark import LEAST, MOST, SIZE, Benchmark
from lab_utils.measure.comparison import Comparison
from lab_utils.measure.distance import Distance
from lab_utils.measure.remarks import PRECISE, far_out, remarks
from lab_utils.points.dataset import Units

FEWEST = 24  # points, of both kinds: fewer make sets so small that no interval says anything
LARGE = 1000  # points in a set: of larger ones five generated and five real are taken, which keeps it to some seconds
W2_DEAR = 501  # points in a set, from which on all pairs of sets together take W2 too long
WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
NEIGHBOURS_LEAST = 25  # points in a set, for measures that ask three or five neighbours
CLASSIFIER_LEAST = 50  # points in a set: half of them, 25 of each kind, are the least that its trees can learn from


def compare(
    generated: Tensor | NDArray[Any],
    real: Tensor | NDArray[Any],
    *,
    train: Tensor | NDArray[Any] | None = None,
    names: Iterable[str] | None = None,
    seed: int = SEED,
    device: str = "cpu",
) -> Comparison:
    """Measure generated points against real ones.

    Everything is worked out in the units in which the real points have mean 0 and a mean variance of 1 per axis, and is
    told in their own. A set has 5000 points, or as many as the generated ones are, or as leave five real sets. Up to
    ten sets of both kinds are taken, or five where a set has more than 1000 points; the points are shuffled first.

    Args:
        generated: (n, 2) tensor or array of floats or whole numbers, n at least 24, in the units of the real ones.
        real: (m, 2), m at least 24: points that the model has not seen, else copies of them look best.
        train: (k, 2) points that the model has seen; with them, "copies" is measured too.
        names: of the measures; all that so many points allow, unless given. W2 of large sets must be asked for.
        seed: of the shuffling.
        device: where the energy distance and the MMD are worked out, which take most of the time: "cpu", "cuda", "mps"
            or "auto", see `base.devices`. There their last digits differ.

    Raises:
        DeviceError: this machine has no such device.
        PointsError: these are no such points, or too few, or some are NaN or infinite, or all real ones are the same.
        ValueError: there is no measure of that name, or copies are asked for without training points.
    """
    if isinstance(names, str):
        raise ValueError(f"names are a list of measures, such as [{names!r}]; got the text {names!r}")
    mine, true = _points(generated, "generated", FEWEST), _points(real, "real", FEWEST)
    seen = None if train is None else _points(train, "training", 1)
    units = Units.of(true)
    size = min(SIZE, len(true) // LEAST, len(mine))
    most = MOST if size <= LARGE else LEAST
    order = torch.Generator().manual_seed(seed)
    real_sets, generated_sets = (
        _shuffled(points, order)[: size * most].split(size)[: len(points) // size] for points in (true, mine)
    )
    normal = [_normalised(points, units, true) for points in generated_sets]
    benchmark = Benchmark(
        _normalised(torch.cat(real_sets), units, true),
        None if seen is None else _normalised(seen, units, true),
        seed=seed,
        device=device,
    )
    wanted = [*benchmark.known] if names is None else [*names]
    if "copies" in wanted and seen is None:
        raise ValueError("copies are told by the training points: give them, too, as train (--train of the command)")
    left_out = {} if seen is not None or names is not None else {"copies": "it needs the training points"}
    for name in wanted:
        if reason := _why_not(name, benchmark.known.get(name), size, asked=names is not None):
            left_out[name] = reason
    return Comparison(
        measures=benchmark.measure_all(*normal, names=[name for name in wanted if name not in left_out]),
        left_out=left_out,
        far=far_out(mine, true),
        remarks=tuple(remarks(mine, true, seen)),
        size=size,
        sets=(len(generated_sets), len(real_sets)),
        given=(len(mine), len(true)),
        scale=units.scale,
    )


def _points(points: Tensor | NDArray[Any], name: str, least: int) -> Tensor:
    """What a user has as points as (n, 2) float64; whole numbers are as good as floats.

    Raises:
        PointsError: as `compare`.
    """
    if not isinstance(points, Tensor) and not isinstance(points, np.ndarray):
        points = np.asarray(points)  # a table of pandas, or lists
    if isinstance(points, np.ndarray) and points.dtype.kind in "iu":
        points = points.astype(np.float64)
    elif isinstance(points, Tensor) and points.dtype in WHOLE:
        points = points.double()
    found = as_points(points, name).detach().cpu().double()
    if len(found) < least:
        raise PointsError(f"{name} points: {len(found)} given; comparing takes {least} or more")
    whole = torch.isfinite(found).all(dim=1)
    if not whole.all():
        first = int((~whole).nonzero()[0])
        raise PointsError(
            f"{int((~whole).sum())} of {len(found)} {name} points are NaN or infinite, the first in row {first}, "
            "counted from 0. Find out why they are; or measure the others, and say how many you left out"
        )
    return found


def _shuffled(points: Tensor, order: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=order)]


def _normalised(points: Tensor, units: Units, real: Tensor) -> Tensor:
    """The points in the real ones' units: (n, 2) float32, or float64 where an outlier squeezes the rest together."""
    farthest = (real - units.shift).abs().max() / units.scale
    exact = (points - units.shift) / units.scale
    return exact if farthest > PRECISE else exact.float()


def _why_not(name: str, distance: Distance | None, size: int, *, asked: bool) -> str:
    """Why this distance is not taken of sets of so many points; empty if it is, or if there is no such distance."""
    if distance is None:  # the benchmark says what there is
        return ""
    if size < distance.least:
        return f"it needs sets of {distance.least} points; these have {size}"
    if size > distance.most:
        return f"it takes sets of {distance.most:g} points at most; these have {size}"
    if name in ("precision", "coverage") and size < NEIGHBOURS_LEAST:
        return f"in sets of {size} points the nearest five are a large part; it needs {NEIGHBOURS_LEAST}"
    if name == "classifier" and size < CLASSIFIER_LEAST:
        return f"sets of {size} points are too few to learn from; it needs {CLASSIFIER_LEAST}"
    if name == "W2" and size >= W2_DEAR and not asked:
        return f"it takes long between sets of {size} points; ask for it by its name"
    return ""
