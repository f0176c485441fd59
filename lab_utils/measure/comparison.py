"""What `compare` found: the measures, and which of them tell generated points from real ones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from scipy.special import stdtrit

from lab_utils.measure import telling
from lab_utils.measure.benchmark import Measure

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = {"energy distance", "blur", "RMS", "sliced W1", "W2"}  # measures in the unit of the points
CERTAIN = 0.05  # the chance that any of the measures is called other than real where nothing differs
VAGUE = 1e4  # an interval whose ends differ by more times than this says nothing


@dataclass(frozen=True, eq=False)
class Comparison:
    """Generated points held against real ones; `print` shows it as a table with sentences.

    Attributes:
        measures: by name, in the order of the table. Their values are in normalised units; `value` has them in the
            points' own.
        left_out: name → why it was not measured.
        far: a sentence about single points that are much too far out, or empty: an interval can't speak of them.
        remarks: what one should know of these points; a sentence or two each.
        size: points in a set.
        sets: how many generated and how many real sets.
        given: how many generated and how many real points there were.
        scale: of the real points, which turns normalised lengths into their own.
    """

    measures: dict[str, Measure]
    left_out: dict[str, str]
    far: str
    remarks: tuple[str, ...]
    size: int
    sets: tuple[int, int]
    given: tuple[int, int]
    scale: float

    def value(self, name: str, *, real: bool = False) -> float:
        """What the generated sets read, or what real ones do: lengths in the points' own units, shares as they are."""
        measure = self.measures[name]
        return (measure.real if real else measure.value) * (self.scale if name in LENGTHS else 1)

    def badness(self, name: str) -> float:
        """How many times as bad as real: the multiple, or 1 / multiple of what should be high."""
        measure = self.measures[name]
        if measure.real == 0:
            return math.inf if measure.value > 0 else 1.0
        if measure.higher_is_better:
            return 1 / measure.multiple if measure.multiple > 0 else math.inf
        return measure.multiple

    @property
    def worse(self) -> list[str]:
        """The measures that are worse than real beyond chance, the worst first.

        Of ten 95 % intervals, one in four comparisons of real points with real ones would find something worse. So each
        is made wider, as Bonferroni asks for: the chance is 5 % that any measure is called other than real wrongly.
        """
        found = [name for name in self.measures if self._beyond_chance(name) > 0]
        return sorted(found, key=self.badness, reverse=True)

    @property
    def better(self) -> list[str]:
        """The measures that are on the other side of real beyond chance; fresh points from the truth read real."""
        return [name for name in self.measures if self._beyond_chance(name) < 0]

    @property
    def unsure(self) -> list[str]:
        """The measures that read worse than real, with an interval that says nothing, and whose rank is the lowest."""
        lowest = max(CERTAIN, 1 / math.comb(sum(self.sets), self.sets[0]))
        return [
            name
            for name, measure in self.measures.items()
            if not self.has_interval(name) and self.badness(name) > 1 and measure.rank <= lowest
        ]

    def has_interval(self, name: str) -> bool:
        """Whether there is an interval that says something, where there is a multiple."""
        measure = self.measures[name]
        low, high = measure.interval
        return measure.real == 0 or (math.isfinite(high) and not 0 < VAGUE * low < high)

    def _beyond_chance(self, name: str) -> int:
        """1 if it is worse than real beyond chance, −1 if it is so on the other side, else 0."""
        measure, count = self.measures[name], len(self.measures)
        if measure.real == 0:  # exactly, between any two real sets
            return int(measure.value > 0)
        if measure.p_value is not None:
            return int(measure.p_value <= CERTAIN / count)
        if not self.has_interval(name):
            return 0
        low, high = measure.interval
        wider = float(stdtrit(measure.freedom, 1 - CERTAIN / 2 / count) / stdtrit(measure.freedom, 1 - CERTAIN / 2))
        if low > 0:  # the interval was made on the scale of logarithms
            low, high = (measure.multiple * (end / measure.multiple) ** wider for end in (low, high))
        else:
            high = measure.multiple + wider * (high - measure.multiple)
        above, below = low > 1, high < 1
        return int(below) - int(above) if measure.higher_is_better else int(above) - int(below)

    @property
    def verdict(self) -> str:
        """What is worst, in a few sentences; or that no measure tells the points from real ones."""
        return telling.verdict(self)

    @property
    def notes(self) -> list[str]:
        """What is odd about the points, what the numbers are made of, and what they leave out."""
        return telling.notes(self)

    def table(self) -> pd.DataFrame:
        """The measures as a table of text, a row each."""
        import pandas as pd  # here, because it is slow to import

        rows = {name: telling.row(self, name) for name in self.measures}
        return pd.DataFrame.from_dict(rows, orient="index", columns=[*telling.COLUMNS])

    def __str__(self) -> str:
        """The table, what is worst, and the notes."""
        return "\n".join([*telling.lines(self), "", self.verdict, "", *self.notes])

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{escape(text)}</p>" for text in [self.verdict, *self.notes])
        return f"{self.table().to_html()}{paragraphs}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values: lengths in the points' own units, None where there is no number."""
        measures = {
            name: {
                "value": self.value(name),
                "real": self.value(name, real=True),
                "multiple": _number(measure.multiple),
                "interval": [_number(end) for end in measure.interval],
                "varies": measure.varies,
                "rank": measure.rank,
                "p_value": measure.p_value,
                "higher_is_better": measure.higher_is_better,
                "unit": "own" if name in LENGTHS else "share" if name in telling.SHARES else None,
            }
            for name, measure in self.measures.items()
        }
        return {
            "verdict": self.verdict,
            **{what: getattr(self, what) for what in ("worse", "better", "unsure")},
            "measures": measures,
            "left_out": self.left_out,
            "remarks": [*self.remarks],
            "size": self.size,
            "sets": {"generated": self.sets[0], "real": self.sets[1]},
            "given": {"generated": self.given[0], "real": self.given[1]},
            "scale": self.scale,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
