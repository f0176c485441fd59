"""Variances of nested groups are told apart, and a run has a number of its own for each chance."""

import numpy as np
import pandas as pd
import pytest

from lab_utils.measure.benchmark import Benchmark
from lab_utils.study import spread, sweeps
from lab_utils.study.spread import CHANCES, MEASURES, grid, parts, run, shares

SMALL = {"train": 100, "width": 8, "depth": 1, "input_frequencies": 2, "epochs": 20, "batch_size": 50}


def simulated(draws, trainings, samples, deviations, seed):
    rng = np.random.default_rng(seed)
    of_draw, of_training, of_sampling = deviations
    rows = []
    for draw in range(draws):
        one = of_draw * rng.standard_normal()
        for training in range(trainings):
            other = one + of_training * rng.standard_normal()
            rows += [
                {"data": "moons", "draw": draw, "training": training, "sampling": k, "blur": 5 + other + x}
                for k, x in enumerate(of_sampling * rng.standard_normal(samples))
            ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("deviations", [(3.0, 2.0, 1.0), (0.0, 1.0, 2.0), (1.0, 0.0, 0.5)])
def test_the_variances_of_a_simulation_are_found(deviations):
    """Of a thousand draws each of the three is found within a tenth of the largest."""
    found = parts(simulated(1000, 3, 3, deviations, 0), "blur")
    for chance, deviation in zip(CHANCES, deviations, strict=True):
        assert found[chance] == pytest.approx(deviation**2, abs=0.1 * max(deviations) ** 2)


def test_small_tables_are_right_on_the_average():
    """Without bias, as long as none is cut at 0: five draws of three trainings with three samples each."""
    found = pd.DataFrame([parts(simulated(5, 3, 3, (3.0, 2.0, 1.0), seed), "blur") for seed in range(400)])
    np.testing.assert_allclose(found.mean(), [9, 4, 1], rtol=0.12)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_groups_of_different_sizes_are_refused(lost):
    table = simulated(3, 2, 2, (1.0, 1.0, 1.0), 0)
    few = [table.drop(index=0), table[table["draw"] == 0], table[table["training"] == 0]][lost]
    with pytest.raises(ValueError, match="variances are told apart in a whole table"):
        parts(few, "blur")


def test_a_run_has_training_points_and_noise_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    for name, value in [("SIZE", 300), ("BASE", sweeps.BASE | SMALL), ("RECIPE", {})]:
        monkeypatch.setattr(spread, name, value)
    configurations = [*grid(["gaussian"], 2)]
    assert len(configurations) == 2 * spread.TRAININGS
    tables = [pd.DataFrame(run(c)).assign(**c) for c in configurations]
    table = pd.concat(tables)
    assert table.groupby(["draw", "training"]).size().tolist() == [spread.SAMPLES] * 6
    assert table["blur"].nunique() == len(table)
    data, benchmark = sweeps.data_and_draws("gaussian", 100, 1)
    assert isinstance(benchmark, Benchmark)
    assert len(data.train) == 100
    found = shares(table, "gaussian")
    assert [*found.index] == [*MEASURES]
    np.testing.assert_allclose(found.sum(axis=1), 1)
