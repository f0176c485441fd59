"""What the study's table says: pick runs by what they changed, and compare them seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from lab_utils.study.sweeps import BASE
from lab_utils.study.table import select

NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: pd.Series[float]) -> Interval:
        """Student's interval of what is known; infinite when that is one seed only."""
        values = values.dropna()
        n, mean = len(values), float(values.mean())
        half = float(stdtrit(n - 1, 0.975) * values.std() / math.sqrt(n)) if n > 1 else math.inf
        return cls(mean, mean - half, mean + half, n)

    def excludes(self, value: float) -> bool:
        """Whether the interval lies on one side of a value."""
        return self.low > value or self.high < value

    def __str__(self) -> str:
        if not self.seeds:
            return "–"
        # so that a narrow table breaks its lines before an interval, not in it
        spread = f"[{self.low:.3g},\N{NO-BREAK SPACE}{self.high:.3g}]" if self.seeds > 1 else "(one seed)"
        return f"{self.mean:.3g} {spread}"


@dataclass(frozen=True)
class Results:
    """The study's table, as `tables.read_table` gives it."""

    table: pd.DataFrame

    def rows(self, change: Mapping[str, Any] = NOTHING, data: str = "cities") -> pd.DataFrame:
        """The rows of the original's recipe with some settings changed: every seed, every checkpoint.

        Raises:
            ValueError: if there are none, with what was asked for.
        """
        wanted = BASE | dict(change) | {"data": data}
        found = select(self.table, wanted)
        if found.empty:
            raise ValueError(
                f"the study has no runs on {data} with {dict(change) or 'the original recipe'}; see make study"
            )
        return found

    def values(
        self, measure: str, change: Mapping[str, Any] = NOTHING, *, data: str = "cities", epoch: int | None = None
    ) -> pd.Series[float]:
        """One measure, seed → value, after `epoch` epochs, or at the end.

        Raises:
            ValueError: if there are no such runs, or they weren't measured at that epoch.
        """
        rows = self.rows(change, data)
        kept = sorted(rows["epoch"].unique().tolist())
        if epoch is not None and epoch not in kept:
            raise ValueError(f"these runs were measured after {kept} epochs, not after {epoch}")
        return rows[rows["epoch"] == (kept[-1] if epoch is None else epoch)].set_index("seed")[measure].astype(float)

    def mean(
        self, measure: str, change: Mapping[str, Any] = NOTHING, *, data: str = "cities", epoch: int | None = None
    ) -> Interval:
        """The mean of one measure over seeds. Arguments and errors as for `values`."""
        return Interval.of(self.values(measure, change, data=data, epoch=epoch))

    def summary(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        measures: Sequence[str],
        *,
        data: str = "cities",
        epoch: int | None = None,
    ) -> pd.DataFrame:
        """Means with their intervals, as text: a row for each of the named changes, a column for each measure.

        Arguments and errors as for `values`.
        """
        rows = {
            name: {measure: str(self.mean(measure, change, data=data, epoch=epoch)) for measure in measures}
            for name, change in changes.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=[*measures])

    def ratio(
        self,
        measure: str,
        change: Mapping[str, Any],
        to: Mapping[str, Any] = NOTHING,
        *,
        data: str = "cities",
        epoch: int | None = None,
        to_epoch: int | None = None,
    ) -> Interval:
        """How many times the measure of `to` that of `change` is: the geometric mean of the ratios, seed by seed.

        Arguments and errors as for `values`; `to_epoch` is that of `to`, the same as `epoch` unless given.
        """
        above = self.values(measure, change, data=data, epoch=epoch)
        below = self.values(measure, to, data=data, epoch=epoch if to_epoch is None else to_epoch)
        found = Interval.of((above / below).map(math.log))  # seeds that only one of them has are not known
        return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.seeds)
