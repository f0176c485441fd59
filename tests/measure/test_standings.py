"""Standings say where a sample stands, in numbers and in words; the command that makes them measures what it says."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks import standings as command

from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.compare import compare
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.standings import (
    BY,
    MEASURES,
    SIZE,
    TABLE,
    WORST,
    StandingsError,
    known,
    place,
    sentences,
    standings,
)
from lab_utils.points.dataset import Dataset
from lab_utils.study.running import RunsFailedError
from lab_utils.study.table import read_table

ROWS = {  # name → blur, strays, coverage of two samples each
    "good": [(1.0, 1.2, 1.0), (1.2, 0.8, 1.0)],
    "blurred": [(2.0, 3.0, 0.9), (2.2, 5.0, 0.9)],
    "narrow": [(0.6, 0.5, 0.25), (0.8, 0.5, 0.25)],
}


@pytest.fixture
def path(tmp_path):
    """A table with three methods on "moons", and one on "spiral"."""
    rows = [
        {"data": "moons", "name": name, "set": i, **dict.fromkeys(MEASURES, 1.0)}
        | dict(zip(("blur", "strays", "coverage"), values, strict=True))
        for name, sets in ROWS.items()
        for i, values in enumerate(sets)
    ]
    rows.append({"data": "spiral", "name": "good", "set": 0, **dict.fromkeys(MEASURES, 1.0), "copies": math.nan})
    path = tmp_path / "standings.csv"
    pd.DataFrame(rows).assign(run="0000000000000012").to_csv(path, index=False)
    return path


# --- standings


def test_each_row_is_the_mean_of_its_samples_and_the_best_comes_first(path):
    table = standings("moons", path)
    assert [*table.index] == ["good", "blurred", "narrow"]
    assert table.loc["blurred", "blur"] == pytest.approx(2.1)
    assert table[WORST].tolist() == pytest.approx([1.1, 4, 4])
    assert table[BY].tolist() == ["blur", "strays", "coverage"]  # a quarter of real's coverage is four times worse
    assert known(path) == ("moons", "spiral")


def test_what_was_not_measured_counts_as_nothing(path):
    table = standings("spiral", path)
    assert math.isnan(table.loc["good", "copies"])
    assert table.loc["good", WORST] == 1


def test_data_without_standings_are_an_error_that_names_those_with(path, tmp_path):
    with pytest.raises(StandingsError, match=r"no standings of 'swiss'; choose one of moons, spiral"):
        standings("swiss", path)
    with pytest.raises(StandingsError, match="none, because there is no"):
        standings("moons", tmp_path / "nothing.csv")


# --- a sample of one's own


def test_a_sample_takes_its_place_by_the_measures_that_were_given(path):
    table = place({"blur": 1.5, "W2": 9.0, "strays": math.nan}, "moons", path=path)
    assert [*table.index] == ["narrow", "good", "yours", "blurred"]
    assert [*table.columns] == ["blur", WORST, BY]
    assert table[WORST].tolist() == pytest.approx([0.7, 1.1, 1.5, 2.1])


def test_a_share_of_nothing_is_the_worst_there_can_be(path):
    table = place({"blur": 1.0, "coverage": 0.0}, "moons", name="mine", path=path)
    assert table.index[-1] == "mine"
    assert table.loc["mine", [WORST, BY]].tolist() == [math.inf, "coverage"]


def test_what_has_no_place_is_an_error(path):
    with pytest.raises(StandingsError, match=r"none of the measures W2 has standings; these have: energy distance"):
        place({"W2": 1.0}, "moons", path=path)
    with pytest.raises(StandingsError, match="'good' is the name of a row"):
        place({"blur": 1.0}, "moons", name="good", path=path)


@pytest.mark.parametrize("say", [place, sentences])
@pytest.mark.parametrize(
    ("multiples", "said"),
    [
        ({}, r"none of the measures \(none was given\) has standings; these have: energy distance"),
        ({"blur": 1.0, "blurr": 2.0}, "there is no measure 'blurr'; these have standings: energy distance"),
        ({"blur": "1.2"}, "blur must be a number, × real; got '1.2'"),
        ({"blur": None}, "blur must be a number, × real; got None"),
        ({"blur": True}, "blur must be a number, × real; got True"),
        ({"blur": -math.inf}, "blur must be a number, × real; got -inf"),
        ({"blur": torch.tensor([1.0, 2.0])}, r"blur must be a number, × real; got tensor\(\[1"),
        ({"blur": math.nan, "strays": math.nan, "W2": 1.0}, "blur, strays: NaN, so nothing is known"),
        (
            torch.full((50, 2), math.nan),
            r"such as {'blur': 1.2}; got a Tensor. Those of a comparison, as compare makes it",
        ),
        (None, r"multiples of real are needed, such as {'blur': 1.2}; got a NoneType"),
    ],
)
def test_what_are_no_multiples_is_an_error_that_says_what_is_wrong(path, say, multiples, said):
    """A slip of the pen was left out without a word, and points, or text for a number, ended in a traceback."""
    with pytest.raises(StandingsError, match=said):
        say(multiples, "moons", path=path)


@pytest.mark.parametrize("data", ["Moons", "", "mine.csv", 5, None, ["moons"]])
def test_of_data_without_standings_no_place_is_told(path, data):
    with pytest.raises(StandingsError, match=r"there are no standings of .*; choose one of moons, spiral"):
        place({"blur": 1.0}, data, path=path)


def test_every_measure_of_a_comparison_has_a_place_or_is_left_out(path):
    """Those that are told by training points, too, and those that are measured only if one asks for them."""
    real = np.random.default_rng(0).normal(size=(700, 2))
    found = compare(real[:100], real[100:], train=real[:50], names=["blur", "copies", "W2"])
    table = place({name: measure.multiple for name, measure in found.measures.items()}, "moons", path=path)
    assert [*table.columns] == ["blur", "copies", WORST, BY]


def test_infinitely_many_times_real_is_the_last_place(path):
    """Where real points stand on each other, as on a grid, they read 0."""
    assert place({"blur": math.inf}, "moons", path=path).index[-1] == "yours"
    assert sentences({"blur": np.float32(math.inf)}, "moons", path=path)["blur"].startswith(
        "blur: inf × real, above all"
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "No columns"),
        (lambda text: text.replace("blur", "sharpness"), "'blur'"),
        (lambda text: text.replace("name", "method"), "'name'"),
        (lambda text: text.replace("2.2", "two"), "'two'"),
        (lambda text: text + "1,2,3" * 99, "Expected|expected|tokeniz"),
    ],
)
def test_a_table_that_is_none_is_an_error_that_names_it(path, damage, said):
    other = path.with_name("damaged.csv")
    other.write_text(damage(path.read_text()))
    for ask in (standings, partial(place, {"blur": 1.0})):
        with pytest.raises(
            StandingsError, match=f"damaged.csv can't be read as standings: [^$]*({said})[^$]*Mend it, or"
        ):
            ask("moons", path=other)


def test_sentences_name_the_neighbours_on_both_sides(path):
    found = sentences({"blur": 1.5, "strays": 12.34, "coverage": 0.2}, "moons", path=path)
    assert [*found] == [WORST, "blur", "strays", "coverage"]
    assert found["blur"] == "blur: 1.50 × real, between good (1.10) and blurred (2.10)."
    assert found["strays"] == "strays: 12.3 × real, above all; the next is blurred (4.00)."
    assert found["coverage"] == "coverage: 0.20 × real (more is better), below all; the next is narrow (0.25)."
    assert found[WORST].startswith("Its worst measure is strays, 12.3 × real. By the worst measure of each it stands ")
    assert found[WORST].endswith("above all; the next is blurred (strays 4.00), narrow (coverage 0.25).")


def test_the_sentence_about_the_worst_gives_what_is_read_and_not_its_inverse(path):
    found = sentences({"blur": 1.2, "coverage": 0.5}, "moons", path=path)
    assert found[WORST] == (
        "Its worst measure is coverage, 0.50 × real. By the worst measure of each it stands "
        "between good (blur 1.10) and blurred (blur 2.10)."
    )


def test_what_lies_in_the_interval_is_not_told_apart(path):
    found = sentences({"blur": 1.5}, "moons", intervals={"blur": (1.05, 1.9)}, path=path)
    assert (
        found["blur"] == "blur: 1.50 × real, not told apart from good (1.10); of the others, "
        "between narrow (0.70) and blurred (2.10)."
    )


def test_a_model_that_went_astray_is_nobodys_neighbour(path):
    table = pd.read_csv(path)
    table.loc[table["name"] == "blurred", [*MEASURES]] = math.nan
    table.to_csv(path.with_name("other.csv"), index=False)
    path = path.with_name("other.csv")
    assert standings("moons", path).index[-1] == "blurred"
    found = sentences({"blur": 1.5}, "moons", path=path)
    assert found["blur"] == "blur: 1.50 × real, above all; the next is good (1.10)."
    assert found[WORST].endswith("above all; the next is good (blur 1.10).")


# --- the table that comes with the lab


def test_the_labs_own_table_is_what_the_command_makes_and_training_points_are_real_ones():
    table = read_table(TABLE)
    assert {"cities", "checkerboard"} <= {*known()} <= {*command.DATA}
    assert (table["size"] == SIZE).all()
    assert {*table["name"]} <= {*command.METHODS}
    for data in known():
        rows = standings(data)
        assert {"training points", "fixed kernels", "adaptive kernels", "Gaussian mixture"} <= {*rows.index}
        # training points are real ones, and copies of themselves; a bandwidth makes a sample wider than the truth
        assert rows.loc["training points", ["blur", "RMS", "precision"]].tolist() == pytest.approx([1, 1, 1], abs=0.1)
        assert rows.loc["training points", "copies"] > 1.5
        assert rows.loc["fixed kernels", "blur"] > rows.loc["training points", "blur"]


# --- the command


@pytest.fixture
def judge(monkeypatch):
    """Small moons in the place of any data: 400 points to learn from, sets of 300."""
    rng = np.random.default_rng(0)
    angles = rng.random(4000) * math.pi
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.05 * rng.standard_normal((4000, 2))
    data = Dataset.of(points, "gaussian", train=400)
    found = data, Benchmark(data.held_out, data.train)
    monkeypatch.setattr(command, "judge", lambda name: found)
    monkeypatch.setattr(command, "SIZE", 300)
    monkeypatch.setattr(command, "COMPONENTS", (1, 4, 8))
    monkeypatch.setattr(command, "SETS", 2)
    monkeypatch.setattr(command, "MEASURES", ("energy distance", "blur", "strays", "copies"))
    return found


@pytest.mark.parametrize("name", ["training points", "fixed kernels", "adaptive kernels", "Gaussian mixture"])
def test_a_method_is_measured_sample_by_sample(judge, name):
    data, benchmark = judge
    rows = command.run({"data": "gaussian", "name": name, "seed": 0})
    assert [row["set"] for row in rows] == ([0] if name == "training points" else [*range(command.SETS)])
    for row in rows:
        assert {*command.MEASURES, "off support"} <= {*row}
        assert 0.8 < row["blur"] < 1.6
        assert 0 <= row["off support"] <= 1
    draw, about = command.METHODS[name](data, 0)
    assert rows[0]["about"] == about
    assert rows[0]["blur"] == pytest.approx(benchmark.multiple("blur", draw(0)), rel=1e-4)
    assert rows[0]["copies"] == pytest.approx(benchmark.multiple("copies", draw(0)), rel=1e-4)


def test_the_fitted_mixture_takes_as_many_components_as_a_ring_needs(judge):
    _, about = command.fitted_mixture(judge[0], 0)
    assert about in ("4 components", "8 components")


def test_a_peer_sees_each_training_point_as_often_as_the_better_recipe(judge, monkeypatch):
    class Counting(command.Contender):
        name, defaults, samplers = "counting", {"learning_rate": 1.0, "batch_size": 100}, {"copies": 1}

        def build(self):
            made.append(self)

        def turns(self):
            while True:
                yield 100

        def draw(self, n, sampler, steps):
            return self.train[:n]

    made = []
    _, about = command.peer(Counting, judge[0], 0)
    assert made[0].points == command.EPOCHS * 400
    assert about == "500 epochs, copies"


def test_points_that_are_not_finite_read_nothing(judge):
    found = command.measured(torch.full((300, 2), math.nan), *judge)
    assert {*found} == {*command.MEASURES, "off support"}
    assert all(math.isnan(value) for value in found.values())


def test_every_column_is_a_distance_that_a_benchmark_knows(judge):
    assert {*MEASURES} <= {*judge[1].known}
    assert {*MEASURES} <= {*DISTANCES, "copies"}


def test_the_command_asks_for_what_can_be_made_and_names_what_is_missing(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command, "missing", lambda: {"diffusers": "ModuleNotFoundError: none"})
    monkeypatch.setattr(command, "run_table", lambda run, grid, path, renew: asked.append((run, [*grid], path, renew)))
    assert command.main(["--data", "moons", "--methods", "diffusers", "fixed kernels"]) == 1
    assert asked == [(command.run, [{"data": "moons", "name": "fixed kernels", "seed": 0}], TABLE, False)]
    assert "diffusers is left out: ModuleNotFoundError: none" in capsys.readouterr().err
    assert command.main(["--data", "moons", "spiral", "--methods", "fixed kernels", "--renew"]) == 0
    assert [row["data"] for row in asked[1][1]] == ["moons", "spiral"]
    assert asked[1][3]


@pytest.mark.parametrize(("error", "code"), [(RunsFailedError("1 of 2 runs"), 1), (KeyboardInterrupt(), 130)])
def test_the_command_ends_with_what_happened(monkeypatch, error, code):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(command, "missing", dict)
    monkeypatch.setattr(command, "run_table", fails)
    assert command.main([]) == code
