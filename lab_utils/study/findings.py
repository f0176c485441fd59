"""What was found, a sentence each for the report's first page: made of its numbers, and refused if they don't carry it.

The number that a reader should keep stands first, in bold. What it is held against follows in the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab_utils.measure.benchmark import Measure
from lab_utils.study.results import Results
from lab_utils.study.verdicts import effect

NEARLY_ALL = 0.9
ALIKE = 0.05  # by how much two multiples of real differ that are called alike


def loss_finding(results: Results, early: int = 200, late: int = 2000) -> str:
    """Why the loss of the original's recipe on the towns hardly falls while its samples become better.

    Raises:
        AssertionError: the floor isn't nearly all of the loss, or the blur does not fall.
        ValueError: the trainings weren't measured after so many epochs.
    """
    share = float((results.values("floor", epoch=late) / results.values("loss", epoch=late)).mean())
    fall = 1 - results.ratio("loss", {}, epoch=late, to_epoch=early).mean
    before, after = (results.mean("blur", epoch=epoch).mean for epoch in (early, late))
    assert share > NEARLY_ALL, f"the floor is {share:.1%} of the loss: write the sentence anew"
    assert 0 < fall < 1 - NEARLY_ALL, f"the loss falls by {fall:.1%}: write the sentence anew"
    blur = effect(results.ratio("blur", {}, epoch=late, to_epoch=early))
    assert blur == "helps", f"more epochs and the blur: {blur}; write the sentence anew"
    return (
        f"**{100 * share:.1f} %** of the loss is a floor that no network can get below, so from {early} to {late} "
        f"epochs the loss falls by only {100 * fall:.1f} %, while the blur of the samples falls from {before:.2f} to "
        f"{after:.2f} × real."
    )


def recipe_finding(results: Results, better: Mapping[str, Any]) -> str:
    """How much sharper a better recipe draws the towns than the original's, and in how many epochs.

    Args:
        results: of the study.
        better: what the recipe changes of the original's; its epochs, too.

    Raises:
        AssertionError: it does not help.
        ValueError: the study has no such trainings.
    """
    word = effect(results.ratio("blur", better))
    assert word == "helps", f"the better recipe and the blur: {word}; write the sentence anew"
    ours, theirs = (results.mean("blur", change).mean for change in (better, {}))
    epochs, usual = (int(results.rows(change)["epoch"].max()) for change in (better, {}))
    return (
        f"**{ours:.2f} × real** is the blur of the better recipe's samples after {epochs} epochs, and the original's "
        f"recipe reads {theirs:.2f} × real after {usual}."
    )


def strays_finding(
    without_noise: Mapping[str, Measure], with_noise: Mapping[str, Measure], in_tail: Mapping[str, Measure]
) -> str:
    """What few evaluations leave on the checkerboard that a median does not see, and what mends it.

    Args:
        without_noise: "blur" and "strays" of a sample in 20 steps of an ODE.
        with_noise: the same of 50 steps with noise, by the same network.
        in_tail: the same of 20 steps without noise, by a network whose training asked in the tail.

    Raises:
        AssertionError: the blur sees the strays, they can't be told from real, or a cure leaves more than half of them.
    """
    blur = without_noise["blur"].multiple
    strays, noise, tail = (sample["strays"].multiple for sample in (without_noise, with_noise, in_tail))
    assert abs(blur - 1) < ALIKE, f"the blur reads {blur:.2f} × real: write the sentence anew"
    told = strays > 2 * max(1, noise, tail) and without_noise["strays"].interval[0] > 1
    assert told, f"strays: {strays:.1f}, {noise:.1f} and {tail:.1f} × real: write the sentence anew"
    return (
        f"**{strays:.1f} × real** is the share of strays that 20 steps without noise leave on the checkerboard, where "
        f"the blur, a median, reads {blur:.2f} × real; 50 steps with noise leave {noise:.1f}, and training in the tail "
        f"leaves {tail:.1f}."
    )
