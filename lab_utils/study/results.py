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
    """A mean over seeds and its 95 % confidence interval.

    What varies from seed to seed is all that chance decides: which points are training points, the first weights, the
    batches, the noise of the training and that of the sampling. `spread` says what part each of them has.

    Attributes:
        mean, low, high: the mean over the seeds and the ends of its interval. NaN if a seed's value is not known: a
            mean over the trainings that came out well would be no mean over the trainings.
        seeds: how many seeds have a value …
        asked: … of how many.
        known: the smallest and the largest known value; NaN if there is none.
    """

    mean: float
    low: float
    high: float
    seeds: int
    asked: int
    known: tuple[float, float] = (math.nan, math.nan)

    @classmethod
    def of(cls, values: pd.Series[float], comparisons: int = 1) -> Interval:
        """Student's interval. It is infinite for one seed, and NaN if a value is not known.

        Of several comparisons, of which the best is to be told, all intervals hold at once in 95 % of studies if each
        is asked for with their number (Bonferroni).
        """
        there = values.dropna()
        n, known = len(there), (float(there.min()), float(there.max()))
        if not 0 < n == len(values):
            return cls(math.nan, math.nan, math.nan, n, len(values), known)
        mean = float(there.mean())
        half = float(stdtrit(n - 1, 1 - 0.025 / comparisons) * there.std() / math.sqrt(n)) if n > 1 else math.inf
        return cls(mean, mean - half, mean + half, n, n, known)

    def excludes(self, value: float) -> bool:
        """Whether the interval lies on one side of a value; an interval that is not known does not."""
        return self.low > value or self.high < value

    def __str__(self) -> str:
        # no-break spaces, so that a narrow table breaks its lines before an interval, not in it
        if math.isnan(self.mean):
            count = f"{self.seeds} of {self.asked} seeds"
            low, high = self.known
            return f"{count}: {low:.3g}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high:.3g}" if self.seeds else count
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

        Arguments and errors as for `values`; `to_epoch` is that of `to`, the same as `epoch` unless given. A seed that
        only one of the two has is one whose ratio is not known.

        Raises:
            ValueError: if a value is 0 or below, so that it has no ratio; its difference can be asked for.
        """
        above, below = self._pair(measure, change, to, data, epoch, to_epoch)
        for values in (above, below):
            if (values <= 0).any():
                raise ValueError(
                    f"{measure!r} reads {float(values.min()):.3g} for seed {values.idxmin()} on {data}, and a ratio "
                    "needs values above 0; ask for the difference(…) instead"
                )
        found = Interval.of((above / below).map(math.log))
        mean, low, high, *known = map(math.exp, (found.mean, found.low, found.high, *found.known))
        return Interval(mean, low, high, found.seeds, found.asked, (known[0], known[1]))

    def difference(
        self,
        measure: str,
        change: Mapping[str, Any],
        to: Mapping[str, Any] = NOTHING,
        *,
        data: str = "cities",
        epoch: int | None = None,
        to_epoch: int | None = None,
    ) -> Interval:
        """By how much the measure of `change` exceeds that of `to`: the mean of the differences, seed by seed.

        For measures that may be 0 or below: MMD, gradient signal, log-likelihood. Arguments and errors as for `values`
        and `ratio`.
        """
        above, below = self._pair(measure, change, to, data, epoch, to_epoch)
        return Interval.of(above - below)

    def _pair(
        self,
        measure: str,
        change: Mapping[str, Any],
        to: Mapping[str, Any],
        data: str,
        epoch: int | None,
        to_epoch: int | None,
    ) -> tuple[pd.Series[float], pd.Series[float]]:
        return (
            self.values(measure, change, data=data, epoch=epoch),
            self.values(measure, to, data=data, epoch=epoch if to_epoch is None else to_epoch),
        )
