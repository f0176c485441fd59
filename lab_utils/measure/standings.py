"""Where a sample stands among those that the lab has measured on the same data.

`data/standings.csv` has what was measured of each method on the lab's own data sets: kernel estimates, a fitted
Gaussian mixture, the original's recipe, the better one, the peers of `make bench`, and the training points themselves.
`make standings` makes it.

    standings("spiral")                                      what was measured, one row for each method
    place({"blur": 1.2, "strays": 3.0}, "spiral")            the same with one row more: "yours"
    sentences({"blur": 1.2, "strays": 3.0}, "spiral")        in words, one sentence for each measure and one for all

All numbers are × real, of samples of `SIZE` points. Samples of another size read other multiples: the fewer points, the
nearer to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from pathlib import Path

import pandas as pd

from lab_utils.base.files import DATA
from lab_utils.measure.distances import DISTANCES

TABLE = DATA / "standings.csv"
SIZE = 5000  # points in each sample
MEASURES = (
    *("energy distance", "sliced W1", "MMD", "blur", "RMS", "strays"),
    *("precision", "coverage", "classifier", "copies"),
)  # the table's columns
WORST, BY = "worst", "by"  # columns that are added: the largest number of times real, and of what
Interval = tuple[float, float]


class StandingsError(ValueError):
    """There are no standings of that data, or nothing to place, or no table; the message says what there is."""


@lru_cache(maxsize=4)
def _rows(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path, dtype={"run": str}, keep_default_na=False, na_values=[""])
        return rows.astype(dict.fromkeys(MEASURES, float) | dict.fromkeys(("data", "name"), str))
    except (OSError, ValueError, KeyError) as error:  # no table, without a column, or with text among numbers
        raise StandingsError(f"{path} can't be read as standings: {error}. Mend it, or give another path") from error


def known(path: Path = TABLE) -> tuple[str, ...]:
    """The data sets that have standings."""
    return tuple(dict.fromkeys(_rows(path)["data"])) if path.exists() else ()


def standings(data: str, path: Path = TABLE) -> pd.DataFrame:
    """What the lab has measured on the data set `data`, the best first.

    Returns:
        One row for each method, by its name: its `MEASURES`, × real, each the mean over its samples. Then `WORST`,
        how many times real its worst measure reads (for precision and coverage, of which more is better, how many
        times less), and `BY`, which measure that is. Rows are in the order of `WORST`.

    Raises:
        StandingsError: the lab has measured nothing on such data.
    """
    if data not in known(path):
        names = ", ".join(known(path)) or f"none, because there is no {path}"
        raise StandingsError(f"there are no standings of {data!r}; choose one of {names}")
    rows = _rows(path)
    return _ordered(rows[rows["data"] == data].groupby("name")[[*MEASURES]].mean(), MEASURES)


def more_is_better(measure: str) -> bool:
    """Whether a measure is a share that real points score high in, rather than a distance from them."""
    return measure in DISTANCES and DISTANCES[measure].higher_is_better


def times_real(measure: str, multiple: float) -> float:
    """How many times real a multiple is on the bad side: its inverse where higher is better."""
    if more_is_better(measure):
        return math.inf if multiple == 0 else 1 / multiple
    return multiple


def _ordered(table: pd.DataFrame, measures: tuple[str, ...]) -> pd.DataFrame:
    """The table with `WORST` and `BY` over `measures`, in the order of `WORST`. What is NaN was not measured."""
    times = table[[*measures]].apply(lambda column: column.map(lambda value: times_real(str(column.name), value)))
    known_rows = times.notna().any(axis=1)
    worst = times.max(axis=1)
    by = times[known_rows].idxmax(axis=1).reindex(table.index)
    return table.assign(**{WORST: worst, BY: by}).sort_values(WORST, kind="stable")


def _checked(multiples: Mapping[str, float]) -> dict[str, float]:
    """Those that stand in the table, too, and are known.

    Raises:
        StandingsError: there are none, or one is no measure or no number.
    """
    if not isinstance(multiples, Mapping):
        raise StandingsError(
            f"multiples of real are needed, such as {{'blur': 1.2}}; got a {type(multiples).__name__}. Those of a "
            "comparison, as compare makes it of points, are {name: m.multiple for name, m in found.measures.items()}"
        )
    for name, value in multiples.items():
        if name not in {*DISTANCES, *MEASURES}:  # the first have no copies, which hang on the training points
            raise StandingsError(f"there is no measure {name!r}; these have standings: {', '.join(MEASURES)}")
        if not isinstance(value, Real) or isinstance(value, bool) or value == -math.inf:
            raise StandingsError(f"{name} must be a number, × real; got {value!r:.80}")
    found = {name: float(multiples[name]) for name in MEASURES if name in multiples}
    if not found:
        raise StandingsError(
            f"none of the measures {', '.join(multiples) or '(none was given)'} has standings; these have: "
            f"{', '.join(MEASURES)}"
        )
    if not (known := {name: value for name, value in found.items() if not math.isnan(value)}):
        raise StandingsError(f"{', '.join(found)}: NaN, so nothing is known that could have a place")
    return known


def place(multiples: Mapping[str, float], data: str, *, name: str = "yours", path: Path = TABLE) -> pd.DataFrame:
    """The standings of the data set `data` with one row more.

    Args:
        multiples: measure → × real, of samples of `SIZE` points. Those of `MEASURES` are taken, and others left out,
            and so is what is NaN. Where real reads 0, a multiple is infinite.
        data: one of `known()`.
        name: of the new row.
        path: of the table.

    Returns:
        As `standings`, with the columns that were given only. The worst is that of these columns, in all rows alike.

    Raises:
        StandingsError: the lab has measured nothing on such data, or no such measure; or one is no measure or no
            number, all are NaN, or the name is taken; or the table can't be read.
    """
    given, table = _checked(multiples), standings(data, path)
    if name in table.index:
        raise StandingsError(f"{name!r} is the name of a row of the standings; choose another")
    mine = pd.DataFrame([given], index=pd.Index([name], name=table.index.name))
    return _ordered(pd.concat([mine, table[[*given]]]), tuple(given))


def sentences(
    multiples: Mapping[str, float],
    data: str,
    *,
    intervals: Mapping[str, Interval] | None = None,
    path: Path = TABLE,
) -> dict[str, str]:
    """In words: between which of the standings each measure lies, and all of them together.

    Args:
        multiples: as for `place`.
        data: one of `known()`.
        intervals: measure → the 95 % interval of the multiple. What lies within it is not told apart from it.
        path: of the table.

    Returns:
        Measure → a sentence, and under `WORST` the sentence about the worst of them, which comes first.

    Raises:
        StandingsError: as `place`.
    """
    table = place(multiples, data, name="", path=path)
    others, intervals = table.drop("").dropna(subset=[WORST]), intervals or {}  # without models that went astray
    mine, by = float(table[WORST][""]), str(table[BY][""])
    read = {
        name: f"{why} {_number(others[why][name])}"
        for name, why in zip(map(str, others.index), others[BY], strict=True)
    }
    found = {
        WORST: f"Its worst measure is {by}, {_number(multiples[by])} × real. By the worst measure of each it stands "
        f"{_between(mine, others[WORST], read)}."
    }
    for measure in _checked(multiples):
        values, value = others[measure].dropna(), float(multiples[measure])
        low, high = intervals.get(measure, (math.nan, math.nan))
        same = values[(values >= low) & (values <= high)]
        parts = [f"not told apart from {_named(same)}"] if len(same) else []
        if len(same) < len(values):
            parts.append(("of the others, " if len(same) else "") + _between(value, values.drop(same.index)))
        more = " (more is better)" if more_is_better(measure) else ""
        found[measure] = f"{measure}: {_number(value)} × real{more}, {'; '.join(parts) or 'with none beside it'}."
    return found


def _between(value: float, others: pd.Series[float], read: Mapping[str, str] | None = None) -> str:
    """The nearest of the others below `value` and above it, each with its number, or with what is `read` of it."""
    below, above = others[others <= value], others[others > value]
    under = _named(below.nlargest(1, keep="all"), read) if len(below) else ""
    over = _named(above.nsmallest(1, keep="all"), read) if len(above) else ""
    if under and over:
        return f"between {under} and {over}"
    if under:
        return f"above all; the next is {under}"
    return f"below all; the next is {over}"


def _named(values: pd.Series[float], read: Mapping[str, str] | None = None) -> str:
    numbers = {str(name): _number(value) for name, value in values.items()}
    return ", ".join(f"{name} ({(read or numbers)[name]})" for name in numbers)


def _number(value: float) -> str:
    """Two decimals, or three digits where they are more."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
