"""The grid has each run once, a run's measures are those of its models, and the command says what went wrong."""

import math

import pytest
import torch

from lab_utils.diffusion.samplers import sde_dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.likelihood import FlowError, mean_log_likelihood
from lab_utils.measure.losses import answers, squared
from lab_utils.runs.fit import fit
from lab_utils.study import sweeps as study
from lab_utils.study.sweeps import BASE, DATASETS, PARTS, SWEEPS, build, grid, measure_model, run

SMALL = {
    "data": "gaussian",
    **BASE,
    "train": 100,
    "width": 8,
    "depth": 1,
    "input_frequencies": 2,
    "epochs": 20,
    "batch_size": 50,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A cache of the test's own, and samples of a size that is soon measured."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    for name, value in {"SIZE": 300, "FEW": 100, "NOISED": 2000, "LIKELY": 400}.items():
        monkeypatch.setattr(study, name, value)
    caches = (study.data_and_draws, study._truth)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def key(configuration):
    return tuple(sorted(configuration.items()))


def test_each_configuration_is_there_once_with_every_seed_on_all_data():
    configurations = list(grid(seeds=3))
    assert len({key(configuration) for configuration in configurations}) == len(configurations)
    assert len({tuple(configuration) for configuration in configurations}) == 1  # the same columns in the same order
    for seed in range(3):
        for data in DATASETS:
            for sweep in SWEEPS.values():
                for change in sweep:
                    assert BASE | change | {"data": data, "seed": seed} in configurations


def test_one_seed_is_done_before_the_next_begins_and_sweeps_can_be_chosen():
    seeds = [configuration["seed"] for configuration in grid()]
    assert seeds == sorted(seeds)
    chosen = list(grid(["schedule"], ["moons"], 2))
    assert [(c["data"], c["schedule"], c["seed"]) for c in chosen] == [
        ("moons", kind, seed) for seed in (0, 1) for kind in ("sigmoid", "linear")
    ]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_change_of_a_sweep_is_one_that_the_lab_knows_and_that_can_be_built(sweep):
    for change in SWEEPS[sweep]:
        assert change.keys() <= BASE.keys()
        network, _, recipe = build({"data": "gaussian", **BASE, **change, "train": 100, "seed": 1})
        for name, value in (BASE | change).items():
            holder = network.config if name in network.config else vars(recipe)
            if name == "schedule":
                assert network.schedule.name == value
            elif name != "train":
                assert holder[name] == value
        assert network.config["seed"] == recipe.seed == 1
        assert len(recipe.checkpoints) == len(PARTS)
        assert recipe.checkpoints[-1] == recipe.epochs


def test_the_originals_recipe_is_measured_where_the_report_looks():
    _, data, recipe = build({"data": "gaussian", **BASE, "seed": 0})
    assert {200, 500, 1000, 2000} <= set(recipe.checkpoints)
    assert len(data.train) == 5000


def test_a_run_gives_a_row_for_each_checkpoint_and_the_same_ones_again():
    rows = run(SMALL)
    assert [row["epoch"] for row in rows] == [1, 2, 5, 10, 20]
    assert [row["steps"] for row in rows] == [2, 4, 10, 20, 40]
    assert rows[-1].keys() > rows[0].keys()  # the last model is measured in more ways
    assert str(run(SMALL)) == str(rows)
    for row in rows:
        assert row["loss"] == pytest.approx(row["floor"] + row["excess"], abs=0.05)
        parts = [value for name, value in row.items() if name.startswith("excess ")]
        assert sum(parts) / 10 == pytest.approx(row["excess"], rel=1e-3)


def test_the_measures_are_those_of_the_model():
    network, data, recipe = build(SMALL)
    model = fit(network, data, recipe, progress=False).model(20)
    measures = measure_model(model, SMALL)
    noised, best, truth = study._truth("gaussian", 100, 3, "sigmoid")
    assert measures["nats"] == truth.excess(model).total
    assert measures["excess"] == float(squared(answers(model, noised), best).mean())
    assert len(noised.t) == 2000
    real = data.held_out[:300]
    _, benchmark = study.data_and_draws("gaussian", 100, 3)
    points = sample(model, 300, seed=3, sampler=sde_dpm_solver(model.schedule, 50))
    assert measures["blur"] == benchmark.multiple("blur", points)
    assert measures["strays"] == benchmark.multiple("strays", points)
    assert measures["W2"] == Benchmark(data.held_out).multiple("W2", points[:100])
    likely = mean_log_likelihood(model, data.held_out[:400])
    assert (measures["log-likelihood"], measures["folded"]) == (likely.mean, likely.share)
    assert torch.isfinite(real).all()
    assert "coverage" in measures
    assert "coverage" not in measure_model(model, SMALL, last=False)


@pytest.mark.parametrize("last", [False, True])
def test_a_model_gone_astray_has_a_loss_but_no_distances(last, monkeypatch):
    monkeypatch.setattr(study, "sample", lambda *_, **__: torch.full((300, 2), math.inf))

    def not_finite(*_):
        raise FlowError("the flow does not stay finite")

    monkeypatch.setattr(study, "mean_log_likelihood", not_finite)
    measures = measure_model(build(SMALL)[0], SMALL, last=last)
    distances = {*study.AT_LAST, "W2", "log-likelihood", "folded"} if last else {*study.ALWAYS}
    assert {name for name, value in measures.items() if math.isnan(value)} == distances
    assert measures["loss"] > measures["floor"]
