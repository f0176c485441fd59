"""A comparison in words: the table's rows, what is worst, and what the numbers are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.intervals import RELABELLINGS
from lab_utils.measure.neighbours import STRAY

if TYPE_CHECKING:
    from lab_utils.measure.comparison import Comparison

COLUMNS = ("value", "real", "× real", "95 % interval", "rank", "what it is")
MEANINGS = {
    "energy distance": "how far apart the masses are",
    "blur": "median distance to the nearest real point",
    "RMS": "root mean square of these distances",
    "strays": "farther out than 99.9 % of real points",
    "sliced W1": "how far mass must move, seen along a line",
    "W2": "how far mass must move, root mean square",
    "MMD": "how far apart the masses are, in finer detail",
    "precision": "on land: close to real points",
    "coverage": "real points that are reached",
    "classifier": "told apart rightly by a classifier",
    "copies": "nearer to training points than to real ones",
}
SHARES = {name for name, distance in DISTANCES.items() if distance.share} | {"copies"}  # told in per cent


def verdict(found: Comparison) -> str:
    """What is worst, in a few sentences; or that no measure tells the points from real ones."""
    said, measures = [], found.measures
    if found.worse:
        worst, *others = found.worse
        said.append(f"Worst: {_beside(found, worst)}.")
        if others:
            said.append(f"Worse than real, too: {_listed(found, others)}.")
    elif found.better or found.unsure:
        said.append(f"None of {len(measures)} measures is worse than real beyond chance.")
    elif multiples := [name for name, measure in measures.items() if measure.real > 0]:
        worst, lowest = max(multiples, key=found.badness), min(measures, key=lambda name: measures[name].rank)
        said.append(
            f"No difference from real is seen in {len(measures)} measures, beyond what chance does to so many. The "
            f"worst reading is {_beside(found, worst)}. The smallest rank is {_percent(measures[lowest].rank)} "
            f"({lowest})."
        )
    else:
        said.append("These points read 0, as real ones do." if measures else "Nothing was measured.")
    if found.unsure:
        said.append(f"Worse than real, but no interval says how surely: {_listed(found, found.unsure)}.")
    if found.better:
        said.append(
            f"Unlike real, on the other side: {_listed(found, found.better)}. So read copies of real points, points "
            "that keep to where real ones are dense, and points that are spread more evenly than by chance."
        )
    return " ".join([*said, found.far]).strip()


def notes(found: Comparison) -> list[str]:
    """What is odd about the points, what the numbers are made of, and what they leave out."""
    (generated, real), (n, m), size = found.sets, found.given, found.size
    said = [
        *found.remarks,
        f"Sets have {size} points: {generated} of the generated ones ({generated * size} of {n} points) and {real} of "
        f"the real ones ({real * size} of {m}). × real is the mean over generated and real sets, divided by the mean "
        "over pairs of real sets; lengths are in the points' own units.",
    ]
    by_chance: dict[str, list[str]] = {}
    for name, measure in found.measures.items():
        by_chance.setdefault(measure.varies, []).append(name)
    usual = max(by_chance, key=lambda varies: len(by_chance[varies]), default="")
    for varies in sorted(by_chance, key=lambda varies: varies != usual):
        whose = "The intervals have" if varies == usual else f"That of {', '.join(by_chance[varies])} has"
        chance = varies.replace(", ", " and of ").replace("not the generated set and of", "only")
        said.append(f"{whose} the chance of {chance}.")
    if found.measures:
        said[-1] += " No interval has the chance of another training."
        least = max(1 / math.comb(generated + real, generated), 1 / RELABELLINGS)
        said.append(
            "The rank: if real sets stand in the place of generated ones, in so many cases a measure reads at least as "
            f"bad. With so many sets it can't be below {_percent(least)}."
        )
    if none := [name for name, measure in found.measures.items() if measure.real == 0]:
        said.append(f"Real points read 0 in {', '.join(none)}, so there is no multiple and no interval.")
    if "strays" in found.measures and size < 1 / STRAY:
        said.append(
            f"With sets of {size} points, strays are farther out than all real points are from each other; new real "
            f"points are so in 1 of {size + 1} cases."
        )
    return said + [f"{name} was left out: {reason}." for name, reason in found.left_out.items()]


def row(found: Comparison, name: str) -> list[str]:
    """A measure as texts, one for each of `COLUMNS`."""
    measure = found.measures[name]
    low, high = measure.interval
    chance = "" if measure.p_value is None else f" (p = {measure.p_value:.2g})"
    return [
        _value(found, name),
        _value(found, name, real=True),
        "–" if measure.real == 0 else _three(measure.multiple),
        "–" if measure.real == 0 else f"{_three(low)} to {_three(high)}" if found.has_interval(name) else "unknown",
        _percent(measure.rank) + chance,
        MEANINGS[name] if name != "strays" or found.size >= 1 / STRAY else "farther out than all points of a real set",
    ]


def lines(found: Comparison) -> list[str]:
    """The table as lines of text."""
    rows = [["", *COLUMNS[:-1], ""], *([name, *row(found, name)] for name in found.measures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = {0, len(widths) - 1}  # words stand to the left, numbers to the right
    aligned = (
        [text.ljust(width) if i in ends else text.rjust(width) for i, (text, width) in enumerate(cells)]
        for cells in (zip(texts, widths, strict=True) for texts in rows)
    )
    return ["  ".join(texts).rstrip() for texts in aligned]


def _value(found: Comparison, name: str, *, real: bool = False) -> str:
    value = found.value(name, real=real)
    return f"{100 * value:.3g} %" if name in SHARES else f"{value:.3g}"


def _beside(found: Comparison, name: str) -> str:
    """A measure beside what real points read: "strays, 1.2 % where real points read 0.1 %: 12.0 × real [8.1, 17.2]"."""
    readings = f"{_value(found, name)} where real points read {_value(found, name, real=True)}"
    return f"{name}, {readings}" + ("" if found.measures[name].real == 0 else f": {_times(found, name)}")


def _listed(found: Comparison, names: Iterable[str]) -> str:
    return "; ".join(
        _beside(found, name) if found.measures[name].real == 0 else f"{name} {_times(found, name)}" for name in names
    )


def _times(found: Comparison, name: str) -> str:
    """The multiple, with its interval if there is one."""
    measure = found.measures[name]
    low, high = measure.interval
    interval = f" [{_three(low)}, {_three(high)}]" if found.has_interval(name) else ""
    return f"{_three(measure.multiple)} × real{interval}"


def _three(value: float) -> str:
    """Three digits: 0.992, 1.00, 29.4, 512, 1300; with a power of ten only where it is needed."""
    if 999.5 <= value < 1e6:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"
