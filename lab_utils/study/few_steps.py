"""Are few evaluations as good as a thousand? What the study of samplers says, way by way and measure by measure.

Each few-step sample is held against the thousand steps of the same network, so what the draw of the training points and
the training do stands on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lab_utils.measure.standings import more_is_better
from lab_utils.study.results import Interval
from lab_utils.study.table import select
from lab_utils.study.verdicts import effect

Way = tuple[str, int]  # the sampler's name and its number of steps, as in the table

THOUSAND: Way = ("DDPM", 1000)
WORSE, BETTER = " ▲", " ▽"  # marks of a cell


def multiples(table: pd.DataFrame, way: Way, measure: str, *, denoiser: str, data: Sequence[str]) -> pd.Series[float]:
    """One measure of one way to sample, × real: (data, seed) → value.

    Raises:
        ValueError: the table has no such rows on one of the data sets.
    """
    sampler, steps = way
    rows = select(table, {"denoiser": denoiser, "sampler": sampler, "steps": steps})
    rows = rows[rows["data"].isin([*data])]
    missing = sorted({*data} - {*rows["data"]})
    if missing:
        raise ValueError(f"the table has no {denoiser} by {sampler} in {steps} steps on {', '.join(missing)}")
    return rows.set_index(["data", "seed"])[measure].astype(float)


def difference(table: pd.DataFrame, way: Way, measure: str, *, denoiser: str, data: Sequence[str]) -> Interval:
    """By how much a way reads more than the thousand steps of the same networks, × real: the mean over all pairs.

    Errors as for `multiples`.
    """
    few, all_steps = (
        multiples(table, one, measure, denoiser=denoiser, data=data).sort_index() for one in (way, THOUSAND)
    )
    return Interval.of(few - all_steps)


def beside_a_thousand(
    table: pd.DataFrame,
    ways: Mapping[str, Way],
    measures: Sequence[str],
    *,
    denoiser: str,
    data: Sequence[str],
) -> pd.DataFrame:
    """Means over data sets and seeds as text: a row for each of the named ways, a column for each measure.

    A mark says that the 95 % interval of the difference to the thousand steps, pair by pair, excludes 0: `WORSE` or
    `BETTER`. Errors as for `multiples`.
    """
    rows: dict[str, dict[str, str]] = {}
    for name, way in ways.items():
        rows[name] = {}
        for measure in measures:
            more = difference(table, way, measure, denoiser=denoiser, data=data)
            word = effect(more, none=0, more_is_better=more_is_better(measure))
            mark = {"harms": WORSE, "helps": BETTER}.get(word, "")
            mean = multiples(table, way, measure, denoiser=denoiser, data=data).mean()
            rows[name][measure] = f"{mean:.2f}{mark}"
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*measures])
