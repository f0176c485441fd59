"""Words follow from intervals, and a sentence's numbers are those that were worked out."""

import math

import numpy as np
import pandas as pd
import pytest

from lab_utils.study.results import Interval
from lab_utils.study.verdicts import agreed, described, effect, smallest, stated


def test_effects_are_what_the_interval_says():
    assert effect(Interval(0.8, 0.7, 0.9, 5, 5)) == "helps"
    assert effect(Interval(1.3, 1.1, 1.5, 5, 5)) == "harms"
    assert effect(Interval(0.9, 0.7, 1.1, 5, 5)) == "no difference seen"
    assert effect(Interval(0.9, 0.7, 1.1, 5, 5), none=0, more_is_better=True) == "helps"
    assert effect(Interval(-0.9, -1.1, -0.7, 5, 5), none=0, more_is_better=True) == "harms"
    assert effect(Interval(-0.9, -1.1, -0.7, 5, 5), none=0) == "helps"


def test_where_a_seed_is_not_known_there_is_no_verdict():
    found = Interval.of(pd.Series([0.5, 0.5, 0.5, math.nan]))
    assert effect(found) == "not known"
    assert described(found) == "not known: 3 of 4 seeds"


def test_where_nothing_differs_a_difference_is_seen_in_one_of_twenty():
    random = np.random.default_rng(0)
    seen = [effect(Interval.of(pd.Series(random.normal(size=5))), none=0) != "no difference seen" for _ in range(2000)]
    assert 0.04 < np.mean(seen) < 0.06


@pytest.mark.parametrize("none", [0.0, 1.0])
def test_an_effect_a_little_larger_than_the_smallest_is_seen_and_one_a_little_less_is_not(none):
    spread = pd.Series([-0.03, -0.01, 0.0, 0.01, 0.03])  # of logarithms, if it is a ratio
    around = Interval.of(spread)
    half = (around.high - around.low) / 2
    for factor, seen in ((1.02, True), (0.98, False)):
        found = Interval.of(spread + factor * half)
        if none:
            found = Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), 5, 5)
        assert (effect(found, none=none) != "no difference seen") == seen
        wanted = math.exp(half) - 1 if none else half
        assert smallest(found, none=none) == pytest.approx(wanted)


def test_no_difference_is_said_with_what_would_have_been_seen():
    quarter = "25.0\N{NO-BREAK SPACE}%"
    assert described(Interval(1.0, 0.8, 1.25, 5, 5)) == f"no difference seen, where {quarter} would have been"
    assert described(Interval(0.1, -0.2, 0.4, 5, 5), none=0) == "no difference seen, where 0.3 would have been"
    assert described(Interval.of(pd.Series([1.3]))) == "no difference seen, and one seed can't show any"
    assert described(Interval(0.8, 0.7, 0.9, 5, 5)) == "helps"


def test_data_sets_that_agree_have_one_verdict_and_others_one_each():
    assert agreed({"towns": "true", "spiral": "true"}) == "true"
    assert agreed({"towns": "true", "spiral": "false"}) == "towns: true; spiral: false"


def test_a_number_is_stated_as_it_is_rounded():
    stated({"2.06": 2.0617, "−0.70": -0.699, "-0.70": -0.7049, "15 %": 0.1512, "98.5 %": 0.98462, "4": 4.4, "0": -0.3})


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("2.06", 2.0650001, r"the text says 2.06, and it is 2.07 \(2.065\)"),
        ("15 %", 0.1449, "the text says 15 %, and it is 14 %"),
        ("0.7", math.nan, "the text says 0.7, and it is nan"),
        ("0.28", -0.28, "the text says 0.28, and it is -0.28"),
    ],
)
def test_a_number_that_the_table_says_otherwise_is_an_error_that_says_what_it_should_be(text, value, said):
    with pytest.raises(AssertionError, match=said):
        stated({"1": 1.0, text: value})
