"""Results are the right rows, intervals are Student's, and ratios are taken seed by seed."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lab_utils.study.results import Interval, Results
from lab_utils.study.sweeps import BASE


def rows(seeds=5, data="cities", epochs=(200, 2000), value=lambda seed, epoch: 2.0 + seed, **change):
    return [
        {**BASE, **change, "data": data, "seed": seed, "epoch": epoch, "blur": value(seed, epoch)}
        for seed in range(seeds)
        for epoch in epochs
    ]


@pytest.fixture
def results():
    wide = rows(width=128, value=lambda seed, epoch: (2.0 + seed) * (0.5 if epoch == 2000 else 1) * (1.1 ** (seed - 2)))
    return Results(pd.DataFrame(rows() + wide + rows(data="spiral", value=lambda *_: 7.0)))


def test_the_rows_are_those_of_one_configuration(results):
    assert set(results.rows()["width"]) == {64}
    assert set(results.rows({"width": 128})["width"]) == {128}
    assert len(results.rows(data="spiral")) == 10


def test_the_values_are_those_of_the_last_epoch_or_of_the_one_asked_for(results):
    assert results.values("blur").to_dict() == {seed: 2.0 + seed for seed in range(5)}
    at_200 = results.values("blur", {"width": 128}, epoch=200)
    assert at_200[2] == 4.0


def test_what_is_not_there_is_named(results):
    with pytest.raises(ValueError, match=r"no runs on cities with \{'depth': 6\}"):
        results.rows({"depth": 6})
    with pytest.raises(ValueError, match=r"after \[200, 2000\] epochs, not after 500"):
        results.values("blur", epoch=500)


def test_a_summary_is_the_means_by_name(results):
    found = results.summary({"plain": {}, "wide": {"width": 128}}, ["blur"], epoch=200)
    assert found.index.tolist() == ["plain", "wide"]
    assert found.loc["wide", "blur"] == str(results.mean("blur", {"width": 128}, epoch=200))
    assert results.summary({"plain": {}}, ["blur"], data="spiral").iloc[0, 0] == "7 [7,\N{NO-BREAK SPACE}7]"


def test_the_interval_is_students():
    values = pd.Series([1.0, 2.0, 4.0, 4.5])
    found = Interval.of(values)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean, found.low, found.high, found.seeds) == pytest.approx((values.mean(), low, high, 4))
    assert str(Interval(1.234, 0.5, 2.0, 5, 5)) == "1.23 [0.5,\N{NO-BREAK SPACE}2]"


def test_what_is_not_known_is_counted_and_no_mean_is_given_without_it():
    """A mean over the trainings that came out well is no mean over the trainings."""
    found = Interval.of(pd.Series([1.0, math.nan, 2.0, 4.0, math.nan]))
    assert (found.seeds, found.asked, found.known) == (3, 5, (1.0, 4.0))
    assert all(math.isnan(number) for number in (found.mean, found.low, found.high))
    assert str(found) == "3 of 5 seeds: 1\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}4"
    none = Interval.of(pd.Series([math.nan]))
    assert (str(none), none.seeds, none.excludes(1)) == ("0 of 1 seeds", 0, False)


def test_one_seed_says_nothing():
    found = Interval.of(pd.Series([0.1]))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert str(found) == "0.1 (one seed)"
    assert not found.excludes(1)


def test_an_interval_excludes_what_lies_outside_and_nothing_if_it_is_not_known():
    assert Interval(2.0, 1.5, 2.5, 5, 5).excludes(1)
    assert Interval(0.5, 0.2, 0.9, 5, 5).excludes(1)
    assert not Interval(1.0, 0.9, 1.2, 5, 5).excludes(1)
    assert not Interval(math.nan, math.nan, math.nan, 0, 5).excludes(1)


def test_a_ratio_is_taken_seed_by_seed(results):
    """Here each seed's ratio is 0.5 × 1.1^k: paired, its spread is small, though that of the values is not."""
    found = results.ratio("blur", {"width": 128})
    logs = np.log([0.5 * 1.1**k for k in range(-2, 3)])
    half = stats.t.ppf(0.975, 4) * logs.std(ddof=1) / math.sqrt(5)
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5 * math.exp(-half), 0.5 * math.exp(half)))
    assert found.excludes(1)


def test_a_ratio_over_time(results):
    wide = {"width": 128}
    assert results.ratio("blur", wide, wide, epoch=2000, to_epoch=200).mean == pytest.approx(0.5)
    assert results.ratio("blur", wide, to_epoch=2000, epoch=200).seeds == 5


def test_the_ratio_of_a_seed_that_only_one_has_is_not_known():
    fewer = Results(pd.DataFrame(rows(seeds=3) + rows(width=16)))
    found = fewer.ratio("blur", {"width": 16})
    assert (found.seeds, found.asked) == (3, 5)
    assert math.isnan(found.mean)
    assert found.known == (1.0, 1.0)


@pytest.mark.parametrize("value", [0.0, -0.59])
def test_what_is_0_or_below_has_no_ratio_but_a_difference(value):
    """MMD and the gradient signal get there."""
    wide = rows(width=128, value=lambda seed, _: value if seed == 2 else 3.0 + seed)
    table = Results(pd.DataFrame(rows() + wide))
    for change, to in (({"width": 128}, {}), ({}, {"width": 128})):
        with pytest.raises(ValueError, match=rf"'blur' reads {value:.3g} for seed 2 on cities.*difference"):
            table.ratio("blur", change, to)
    found = table.difference("blur", {"width": 128})
    differences = pd.Series([1.0, 1.0, value - 4, 1.0, 1.0])
    assert found == Interval.of(differences)
    assert found.mean == pytest.approx(-table.difference("blur", {}, {"width": 128}).mean)


def test_a_difference_is_taken_seed_by_seed_and_over_time(results):
    assert results.difference("blur", {"width": 128}, to_epoch=2000, epoch=2000).seeds == 5
    late_less = results.difference("blur", {"width": 128}, {"width": 128}, epoch=2000, to_epoch=200)
    values = results.values("blur", {"width": 128}, epoch=200)
    assert late_less.mean == pytest.approx(-0.5 * values.mean())


def test_the_mean_is_over_seeds(results):
    assert results.mean("blur").mean == 4
    assert results.mean("blur", data="spiral").low == 7
