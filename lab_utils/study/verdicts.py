"""Words for numbers: what an interval says of a change, and whether a sentence has the number that the table has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import SupportsFloat

from lab_utils.study.results import Interval


def effect(change: Interval, *, none: float = 1.0, more_is_better: bool = False) -> str:
    """In a word, what a change does: it helps or harms if the 95 % interval of its effect excludes none at all.

    Where nothing differs, that still happens in one of twenty comparisons.

    Args:
        change: the effect, as `Results.ratio` or `Results.difference` gives it.
        none: what it is where nothing differs: 1 for a ratio, 0 for a difference.
        more_is_better: of the measure; of distances less is.
    """
    if math.isnan(change.mean):
        return "not known"
    if not change.excludes(none):
        return "no difference seen"
    return "helps" if (change.mean > none) == more_is_better else "harms"


def smallest(change: Interval, *, none: float = 1.0) -> float:
    """The smallest effect that would have been seen: the half-width of the interval, which is all that chance allows.

    A measured effect that is larger makes the interval exclude `none`. For a ratio it is relative, .04 for 4 %. A true
    effect of this size would be seen in half of all studies like this one.
    """
    if change.seeds < 2:
        return math.inf
    return math.sqrt(change.high / change.low) - 1 if none == 1 else (change.high - change.low) / 2


def described(change: Interval, *, none: float = 1.0, more_is_better: bool = False) -> str:
    """`effect`, and what there is to say where it is none: the smallest that would have been seen, who is missing."""
    word = effect(change, none=none, more_is_better=more_is_better)
    if word == "not known":
        return f"not known: {change.seeds} of {change.asked} seeds"
    if word != "no difference seen":
        return word
    size = smallest(change, none=none)
    if math.isinf(size):
        return "no difference seen, and one seed can't show any"
    text = f"{size:.2g}" if none == 0 else f"{100 * size:.1f}\N{NO-BREAK SPACE}%"
    return f"no difference seen, where {text} would have been"


def agreed(verdicts: Mapping[str, str], between: str = "; ") -> str:
    """One verdict of all data sets or cases, or each its own if they don't agree: name of the data → verdict."""
    first, *others = set(verdicts.values())
    return between.join(f"{name}: {verdict}" for name, verdict in verdicts.items()) if others else first


def stated(numbers: Mapping[str, SupportsFloat]) -> None:
    """Check the numbers of a sentence: each as the sentence has it → as it was worked out.

    "2.06" is what 2.0617 is when it is rounded to two decimals, and "15 %" what 0.1512 is. The minus is "-" or "−".

    Raises:
        AssertionError: for each number that would be written otherwise, with what it should be.
    """
    wrong = []
    for text, value in numbers.items():
        percent = text.endswith("%")
        digits = text.removesuffix("%").strip().replace("−", "-")
        decimals = len(digits.partition(".")[2])
        number = float(value)
        # adding 0.0 makes no -0 of what is rounded to 0
        written = f"{round(100 * number if percent else number, decimals) + 0.0:.{decimals}f}"
        if written != digits:
            wrong.append(f"the text says {text}, and it is {written}{' %' if percent else ''} ({number:.4g})")
    assert not wrong, "; ".join(wrong) + ": write the sentence anew"
