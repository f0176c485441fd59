"""The numbers of a run, brought together: medians with intervals, times to a target, ratios, rates.

Everything here is worked out from what stands in the JSON.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.race import EVERY, time_to
from lab_utils.measure.standings import more_is_better

Row = Mapping[str, Any]
Result = Mapping[str, Any]

LAB = "lab"
TUNED = ", tuned"


@dataclass(frozen=True)
class Summary:
    """The median of some values, and the smallest and the largest.

    From the smallest to the largest of n values is an interval that holds the true median with a chance of 1 − 2/2ⁿ.
    """

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Summary:
        values = sorted(values)
        return cls(median(values), values[0], values[-1])

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def coverage(n: int) -> float:
    """The chance that the interval of a `Summary` of `n` values holds the true median."""
    return 1 - 2 * 0.5**n


def raced_seeds(result: Result) -> tuple[int, int]:
    """How many seeds have raced: on the data set with the fewest, and on that with the most; of those with a race."""
    pairs = {(row["data"], row["seed"]) for row in result["samplers"]}
    counts = Counter(data for data, _ in pairs).values()
    return min(counts, default=0), max(counts, default=0)


def where(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows that have all these values."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def names(rows: Iterable[Row]) -> list[str]:
    """The contenders in these rows, each once, the lab's first."""
    found = dict.fromkeys(row["contender"] for row in rows)
    return sorted(found, key=lambda name: (not name.startswith(LAB), name))


def number(value: float) -> str:
    """Three digits, or no decimals where there are more."""
    return "∞" if math.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def interval(found: Summary) -> str:
    """The median, and the interval in brackets where it has a width."""
    if found.low == found.high:
        return number(found.middle)
    return f"{number(found.middle)} [{number(found.low)}, {number(found.high)}]"


def times(result: Result, data: str, contender: str, measure: str, target: float) -> dict[int, tuple[float, bool]]:
    """seed → seconds to the target and True, or how long it was watched in vain and False."""
    rows = where(result["race"], data=data, contender=contender)
    seeds = sorted({row["seed"] for row in rows})
    return {seed: time_to(where(rows, seed=seed), measure, target) for seed in seeds}


def seconds(found: Mapping[int, tuple[float, bool]]) -> Summary:
    """Seconds over seeds, infinite where the target was not reached."""
    return Summary.of(value if reached else math.inf for value, reached in found.values())


def ratio_bounds(lab: tuple[float, bool], peer: tuple[float, bool]) -> tuple[float, float]:
    """The peer's seconds over the lab's: between which bounds, where one of them, or both, did not get there."""
    ratio = peer[0] / lab[0]
    return ratio if lab[1] else 0.0, ratio if peer[1] else math.inf


def best_peer(result: Result, data: str, measure: str, target: float, *, tuned: bool) -> str | None:
    """The peer that is the first to the target; of those that never are, whoever was nearest to it in the end.

    Tuning that left a peer as it was gives it no row of its own; then its only row counts as tuned as well.
    """
    peers = [name for name in names(where(result["race"], data=data)) if name != LAB]
    if tuned and not where(result["tuning"], data=data):
        return None
    if tuned:
        peers = [name for name in peers if name + TUNED not in peers]
    else:
        peers = [name for name in peers if not name.endswith(TUNED)]

    def rank(name: str) -> tuple[float, float]:
        last = {row["seed"]: row[measure] for row in where(result["race"], data=data, contender=name)}
        ends = [math.inf if value is None else value for value in last.values()]
        return seconds(times(result, data, name, measure, target)).middle, median(ends)

    return min(peers, key=rank, default=None)


def reading(row: Row, measure: str) -> float:
    """× real in one row; as bad as can be where some points were not finite: 0 of what is better when there is more."""
    if row[measure] is None:
        return 0.0 if more_is_better(measure) else math.inf
    return float(row[measure])


def beyond(theirs: Summary, ours: Summary, measure: str) -> bool:
    """Whether the whole of an interval is better than the whole of another one, in that measure."""
    return theirs.low > ours.high if more_is_better(measure) else theirs.high < ours.low


def at_the_end(result: Result, data: str, contender: str, measure: str) -> Summary | None:
    """× real over seeds, after the whole budget, by the sampler that the contender is used with."""
    rows = [row for row in where(result["samplers"], data=data, contender=contender) if row["sampler"] == row["usual"]]
    return Summary.of(reading(row, measure) for row in rows) if rows else None


def evaluations(result: Result, data: str, contender: str, target: float) -> float:
    """The fewest evaluations of the network at which every measure is at the target, in the median; else infinity.

    The network is that after the whole budget; of all the contender's samplers the best counts.
    """
    ways: dict[tuple[int, str], list[float]] = {}
    for row in where(result["samplers"], data=data, contender=contender):
        ways.setdefault((row["evaluations"], row["sampler"]), []).append(reading(row, EVERY))
    return min((count for (count, _), values in ways.items() if median(values) <= target), default=math.inf)


def rates(result: Result, contender: str, what: str, n: int | None = None) -> list[Row]:
    """A contender's measured rates; of several choices of threads, those of the one with the best median."""
    rows = where(result["rates"], contender=contender, what=what, **({} if n is None else {"n": n}))
    choices = [where(rows, threads=count) for count in sorted({row["threads"] for row in rows})]
    return max(choices, key=lambda chosen: median(row["rate"] for row in chosen), default=[])
