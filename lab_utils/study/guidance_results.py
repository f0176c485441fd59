"""What the study of guidance says: a measure of one way to sample, seed by seed, and how it differs from another one's.

table = read_table(guidance_study.TABLE)
way = Way("autoguidance", 2.0)
values(table, way, "strays")               # seed → × real, the mean over the classes
print(change(table, way, "strays"))        # beside the same network unguided: both means, and whether it helps
curves(table, ["blur"], {"autoguidance": way})   # along all weights, for `figures.along_weights`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab_utils.measure.distances import DISTANCES
from lab_utils.study.guidance_study import FREE, WITH_NOISE
from lab_utils.study.results import Interval
from lab_utils.study.table import select
from lab_utils.study.verdicts import described, effect

Array = NDArray[np.float64]
ACCURACY = "accuracy"
REMEDY = 'complete it by `make study ARGS="--only guidance"`'
REAL = "real "  # before a measure's name: the column of what real points read in it


@dataclass(frozen=True)
class Way:
    """A way to sample: how it is guided, with which weight, by whom, with which sampler, on which data."""

    guidance: str = FREE
    weight: float = 1.0
    denoiser: str = "original"
    sampler: str = WITH_NOISE
    data: str = "cities"

    def __str__(self) -> str:
        return f"{self.guidance}, w = {self.weight:g}"

    def at(self, weight: float) -> Way:
        """The same with another weight; with w = 1 every guidance is the aim alone, which stands in the table once."""
        return replace(self, weight=weight, guidance=FREE if weight == 1 else self.guidance)


def rows_of(table: pd.DataFrame, way: Way) -> pd.DataFrame:
    """The table's rows of one way: a row for each seed and class.

    Raises:
        ValueError: there are none, with what was asked for.
    """
    rows = select(table, asdict(way.at(way.weight)))
    if rows.empty:
        raise _missing(str(way), way)
    return rows


def _missing(what: str, way: Way) -> ValueError:
    return ValueError(f"the table has no {what} of {way.denoiser!r} by {way.sampler} on {way.data!r}; {REMEDY}")


def values(table: pd.DataFrame, way: Way, measure: str) -> pd.Series[float]:
    """One measure of one way: seed → the mean over the classes; NaN if it is not known of one of them.

    Distances and the accuracy are multiples of real. Of the divergences, "JS to powered" and its kin, what as many
    points of the law itself read is taken off.

    Raises:
        ValueError: there are no such rows, or no such measure.
    """
    rows = rows_of(table, way)
    if measure not in rows or measure.startswith(REAL):
        raise ValueError(f"the table has no measure {measure!r}; it has {', '.join(measures(table))}")
    found = rows[measure].astype(float)
    if measure == ACCURACY:
        found = found / rows[REAL + measure]
    elif REAL + measure in rows:
        found = found - rows[REAL + measure]
    finite = found.where(np.isfinite(found))
    return finite.groupby(rows["seed"]).agg(lambda of_classes: of_classes.mean(skipna=False))


def measures(table: pd.DataFrame) -> list[str]:
    """The names of what was measured."""
    names = [*table.columns]
    return [name for name in names[names.index("class") + 1 :] if not name.startswith(REAL)]


def more_is_better(measure: str) -> bool:
    """Whether a measure is a share that real points score high in."""
    return measure == ACCURACY or (measure in DISTANCES and DISTANCES[measure].higher_is_better)


def shortfall(multiples: pd.Series[float], measure: str) -> pd.Series[float]:
    """By how much × real a measure is worse than real, and 0 where it isn't: nothing is gained beyond real."""
    return ((1 - multiples) if more_is_better(measure) else (multiples - 1)).clip(lower=0)


def reads_real(multiple: Interval, measure: str) -> bool:
    """Whether the interval of a multiple reaches real, or lies beyond it on the good side."""
    return multiple.high >= 1 if more_is_better(measure) else multiple.low <= 1


@dataclass(frozen=True)
class Change:
    """What a way of sampling changes in one measure.

    Attributes:
        before, after: the means, × real.
        more: how much worse than real it is after than before, beyond what it was; below 0 it is better. See
            `shortfall`.
        word: "helps", "harms", "no difference seen", "not known"; or "real" where both are; or "not told from real
            before", where it can't be said that there was anything to gain.
        text: the same with the smallest effect that would have been seen.
    """

    before: Interval
    after: Interval
    more: Interval
    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.before} → {self.after} × real ({self.text})"


def change(table: pd.DataFrame, way: Way, measure: str, *, to: Way | None = None, comparisons: int = 1) -> Change:
    """What a way changes in one measure, seed by seed, beside another one, or beside the same unguided.

    Args:
        table: of the study.
        way: one way …
        measure: of which real reads 1: a distance or "accuracy".
        to: … and the other; unguided unless given.
        comparisons: how many are made, of which the best one will be told: the interval of the change is as much
            wider (Bonferroni).

    Raises:
        ValueError: as for `values`.
    """
    before, after = (values(table, one, measure) for one in (to or way.at(1.0), way))
    worse = shortfall(before, measure), shortfall(after, measure)
    more = Interval.of(worse[1] - worse[0], comparisons)
    means = Interval.of(before), Interval.of(after)
    word, text = effect(more, none=0), described(more, none=0)
    if all((one == 0).all() for one in worse):
        word = text = "real"
    elif word == "helps" and reads_real(means[0], measure):
        word = text = "not told from real before"
    return Change(*means, more, word, text)


def curve(table: pd.DataFrame, way: Way, measure: str, *, least: float = 0.0) -> tuple[Array, Array]:
    """One measure along the weights that the table has of a way, w = 1 among them: (k,) weights, (k, seeds) values.

    Args:
        table: of the study.
        way: its weight says nothing here.
        measure: as for `values`.
        least: the smallest weight to show.

    Raises:
        ValueError: as for `values`; or a seed lacks one of the weights.
    """
    beyond = select(table, {name: value for name, value in asdict(way).items() if name != "weight"})["weight"]
    if beyond.empty:
        raise ValueError(
            f"the table has no {way.guidance} of {way.denoiser!r} by {way.sampler} on {way.data!r}; {REMEDY}"
        )
    weights = [weight for weight in sorted({1.0, *map(float, beyond)}) if weight >= least]
    found = pd.DataFrame({weight: values(table, way.at(weight), measure) for weight in weights})
    lacking = [f"{weight:g}" for weight in weights if len(values(table, way.at(weight), measure)) < len(found)]
    if lacking:
        raise ValueError(
            f"of {way.guidance} of {way.denoiser!r} by {way.sampler} on {way.data!r} the table lacks seeds with w = "
            f"{', '.join(lacking)}; {REMEDY}"
        )
    return np.array(weights), found.to_numpy(dtype=float).T


def curves(
    table: pd.DataFrame, shown: Sequence[str], ways: Mapping[str, Way], *, least: float = 0.0
) -> dict[str, dict[str, tuple[Array, Array]]]:
    """What `figures.along_weights` draws: measure → name of a way → its `curve`. Errors as there."""
    return {measure: {name: curve(table, way, measure, least=least) for name, way in ways.items()} for measure in shown}
