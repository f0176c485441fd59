"""What is read of the study of guidance is what stands in its table, seed by seed, and what is missing is named."""

import math

import numpy as np
import pandas as pd
import pytest
from guidance_tables import SEEDS, UNGUIDED, only, table

from lab_utils.study.guidance_results import (
    Way,
    change,
    curve,
    curves,
    measures,
    reads_real,
    rows_of,
    shortfall,
    values,
)
from lab_utils.study.guidance_study import AUTO, EXACT, FREE, WEIGHTS, WITHOUT
from lab_utils.study.guidance_truth import MIXTURE
from lab_utils.study.results import Interval

AUTO_2 = Way(AUTO, 2.0)


def test_a_measure_is_the_mean_over_the_classes_of_each_seed_as_multiples_of_real():
    made = table(chance=0)
    found = values(made, Way(FREE, 3.0), "blur")
    assert found.to_dict() == pytest.approx({seed: 2.0 + (seed - 2) * 0.005 for seed in range(SEEDS)})
    accuracy = values(made, Way(FREE, 3.0), "accuracy")
    assert accuracy.to_dict() == pytest.approx({seed: 0.9 + (seed - 2) * 0.005 for seed in range(SEEDS)})


def test_of_divergences_what_real_points_read_is_taken_off():
    made = table(lambda way, measure: 0.1 if measure == "JS to powered" else 0, chance=0)
    exact = Way(FREE, 3.0, EXACT, WITHOUT, MIXTURE)
    assert values(made, exact, "JS to powered").tolist() == pytest.approx([0.1] * SEEDS)
    assert values(made, exact, "JS to class").tolist() == pytest.approx([0] * SEEDS)
    assert measures(made) == [*UNGUIDED, "JS to class", "JS to powered"]


def test_a_class_that_is_not_known_or_infinite_makes_its_seed_not_known():
    made = table()
    rows = rows_of(made, AUTO_2)
    for seed, value in ((1, math.nan), (3, math.inf)):
        made.loc[rows.index[rows["seed"] == seed][0], "strays"] = value
    assert values(made, AUTO_2, "strays").isna().tolist() == [False, True, False, True, False]
    found = change(made, AUTO_2, "strays")
    assert (found.word, found.text) == ("not known", "not known: 3 of 5 seeds")


def test_with_w_1_every_guidance_is_the_unguided_model():
    made = table()
    assert AUTO_2.at(1.0) == Way(FREE, 1.0)
    assert values(made, Way(AUTO, 1.0), "blur").equals(values(made, Way(FREE, 1.0), "blur"))
    assert str(AUTO_2) == "autoguidance, w = 2"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda made: values(made, Way(AUTO, 2.5), "blur"),
            "the table has no autoguidance, w = 2.5 of 'original' by SDE",
        ),
        (
            lambda made: values(made, Way(FREE, 2.0, data="moons"), "blur"),
            "on 'moons'; complete it by `make study ARGS=",
        ),
        (lambda made: values(made, AUTO_2, "size"), "no measure 'size'; it has accuracy, energy distance, blur"),
        (lambda made: values(made, AUTO_2, "real accuracy"), "no measure 'real accuracy'"),
        (
            lambda made: curve(made, Way("none at all"), "blur"),
            "the table has no none at all of 'original'",
        ),
    ],
)
def test_what_the_table_does_not_have_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call(table())


# --- changes


@pytest.mark.parametrize(
    ("measure", "more", "word"),
    [
        ("blur", -0.5, "helps"),
        ("blur", 0.5, "harms"),
        ("coverage", 0.1, "helps"),
        ("coverage", -0.1, "harms"),
        ("accuracy", 0.05, "helps"),
        ("copies", 0.3, "harms"),
        ("blur", 0.0, "no difference seen"),
    ],
)
def test_a_change_is_told_from_none_and_its_good_side_is_that_of_the_measure(measure, more, word):
    found = change(table(only(AUTO, **{measure: more})), AUTO_2, measure)
    assert found.word == word
    assert found.before.mean == pytest.approx(UNGUIDED[measure], abs=0.01)
    assert found.after.mean == pytest.approx(UNGUIDED[measure] + more, abs=0.01)
    assert f"× real ({word}" in str(found)
    other = change(table(only(AUTO, **{measure: more})), Way(FREE, 2.0), measure)
    assert other.word == "no difference seen"
    assert "would have been" in other.text


def test_nothing_is_gained_beyond_real():
    """A blur of half of real's is no better than real's, and a loss from there up to real is none."""
    sharp = table(lambda way, measure: (-1.2 if way.weight == 1 else -1.5) if measure == "blur" else 0)
    assert change(sharp, AUTO_2, "blur").word == "real"
    alike = change(table(chance=0), AUTO_2, "blur")
    assert alike.word == "no difference seen", "and not real, though the difference is 0"
    assert change(sharp, AUTO_2.at(1.0), "blur", to=AUTO_2).word == "real"
    assert shortfall(pd.Series([0.5, 1.0, 1.5]), "blur").tolist() == [0, 0, 0.5]
    assert shortfall(pd.Series([0.5, 1.0, 1.5]), "coverage").tolist() == [0.5, 0, 0]
    half = table(lambda way, measure: -2.0 if measure == "strays" and way.guidance == AUTO else 0)
    found = change(half, AUTO_2, "strays")
    assert (found.word, round(found.more.mean, 1)) == ("helps", -2.0)


def test_what_could_be_real_before_is_not_said_to_become_better():
    read = {0: 0.9, 1: 1.1, 2: 1.1, 3: 1.1, 4: 1.1}  # mean 1.06, whose interval reaches 1
    made = table(only(AUTO, blur=-1.5))
    unguided = (made["weight"] == 1) & (made["data"] == "cities")
    made.loc[unguided, "blur"] = made.loc[unguided, "seed"].map(read)
    found = change(made, AUTO_2, "blur")
    assert found.more.high < 0
    assert found.word == "not told from real before"
    assert reads_real(Interval(1.1, 0.9, 1.3, 5, 5), "blur")
    assert not reads_real(Interval(1.1, 1.05, 1.15, 5, 5), "blur")
    assert reads_real(Interval(0.9, 0.7, 1.1, 5, 5), "coverage")
    assert not reads_real(Interval(0.9, 0.85, 0.95, 5, 5), "accuracy")


def test_two_ways_are_compared_seed_by_seed_and_a_missing_seed_is_said():
    made = table(only(AUTO, blur=-0.5), missing=lambda way, seed: way == AUTO_2 and seed == 3)
    assert change(made, AUTO_2, "blur").text == "not known: 4 of 5 seeds"
    assert change(made, Way(AUTO, 3.0), "blur", to=Way(FREE, 3.0)).word == "helps"


def test_the_best_of_many_is_judged_with_an_interval_wide_enough_for_all():
    """Of twenty comparisons without a difference some exclude it in two of three studies, and in one of twenty so."""
    random = np.random.default_rng(0)

    def seen(comparisons):
        studies = random.normal(size=(400, 20, 5))
        return np.mean(
            [any(Interval.of(pd.Series(one), comparisons).excludes(0) for one in study) for study in studies]
        )

    assert seen(1) > 0.5
    assert 0.01 < seen(20) < 0.09
    made = table(only(AUTO, blur=-0.02))
    once, often = (change(made, AUTO_2, "blur", comparisons=number) for number in (1, 10_000))
    assert (once.word, often.word) == ("helps", "no difference seen")


# --- curves


def test_a_curve_runs_along_the_weights_of_the_table_and_through_the_unguided_model():
    made = table(lambda way, measure: way.weight if measure == "blur" else 0, chance=0)
    weights, found = curve(made, Way(FREE), "blur")
    assert weights.tolist() == [*WEIGHTS]
    assert found.shape == (len(WEIGHTS), SEEDS)
    assert found[:, 2].tolist() == pytest.approx([2 + weight for weight in WEIGHTS])
    both = curves(made, ["blur", "accuracy"], {"free": Way(FREE), "auto": Way(AUTO)}, least=1.0)
    assert [*both] == ["blur", "accuracy"]
    weights, found = both["blur"]["auto"]
    assert weights.tolist() == [1, 1.5, 2, 3, 5]
    assert found[0].tolist() == both["blur"]["free"][1][0].tolist()


def test_a_curve_with_a_hole_is_refused():
    made = table(missing=lambda way, seed: way == AUTO_2 and seed == 3)
    with pytest.raises(ValueError, match=r"of autoguidance of 'original' by SDE.* the table lacks seeds with w = 2; "):
        curve(made, Way(AUTO), "blur")
