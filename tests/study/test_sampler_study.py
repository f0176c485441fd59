"""The grid of samplers, what a run measures of its points, and the command."""

import pandas as pd
import pytest
import torch

from lab_utils.diffusion.samplers import ancestral, dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.benchmark import Benchmark
from lab_utils.points.dataset import dataset
from lab_utils.study import sampler_study as steps
from lab_utils.study import sweeps as study
from lab_utils.study.sampler_study import BEST, NETWORKS, SAMPLERS, denoiser, grid, run

SMALL = {"train": 100, "width": 8, "depth": 1, "input_frequencies": 2, "epochs": 20, "batch_size": 50}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A cache of the test's own, small networks, and samples of a size that is soon measured."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    for module, name, value in [
        (steps, "SIZE", 300),
        (steps, "BASE", study.BASE | SMALL),
        (steps, "NETWORKS", {"original": {}}),
    ]:
        monkeypatch.setattr(module, name, value)
    study.data_and_draws.cache_clear()
    yield
    study.data_and_draws.cache_clear()


def test_each_run_is_there_once_with_every_seed_and_the_best_denoiser_is_spared_long_ways():
    configurations = [*grid(["moons", "spiral"], 2)]
    assert len({tuple(c.items()) for c in configurations}) == len(configurations)
    assert [c["seed"] for c in configurations] == sorted(c["seed"] for c in configurations)
    for c in configurations:
        if c["denoiser"] == BEST:
            assert c["steps"] <= 100 or c["sampler"] == "DDPM"
    for sampler, (_, numbers) in SAMPLERS.items():
        for number in numbers:
            wanted = {"data": "moons", "denoiser": "original", "sampler": sampler, "steps": number, "seed": 1}
            assert wanted in configurations


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_can_be_made_with_its_numbers_of_steps(name):
    make, numbers = SAMPLERS[name]
    for number in numbers:  # the schedule itself takes longer steps than even ones where many are asked for
        assert 0.75 * number <= len(make(sigmoid(), number)) <= number


def test_a_run_measures_the_points_of_its_sampler_against_real_draws():
    data = dataset("gaussian", train=100, seed=3)
    benchmark = Benchmark(data.held_out, data.train)
    for name, number, way in (
        ("DPM-Solver++(2M)", 10, dpm_solver(sigmoid(), 10)),
        ("DDPM", 1000, ancestral(sigmoid())),
    ):
        (row,) = run({"data": "gaussian", "denoiser": BEST, "sampler": name, "steps": number, "seed": 3})
        points = sample(BestDenoiser(data.train, sigmoid()), 300, seed=3, sampler=way)
        assert row["evaluations"] == number
        assert row["blur"] == pytest.approx(benchmark.multiple("blur", points), rel=1e-4)
        assert row["farthest"] == pytest.approx(
            float(points.norm(dim=1).max() / data.train.norm(dim=1).max()), rel=1e-4
        )


def test_a_network_is_that_of_its_recipe_after_its_last_epoch():
    network = denoiser("original", "gaussian", 1)
    built, points, recipe = study.build({"data": "gaussian", **steps.BASE, "seed": 1})
    assert network.config == built.config
    assert (recipe.epochs, len(points.train)) == (20, 100)
    assert not torch.equal(network.leave.weight, built.leave.weight)  # it has learnt something


def test_the_networks_are_recipes_that_the_lab_knows():
    assert all(change.keys() <= study.BASE.keys() | vars(Recipe()).keys() for change in NETWORKS.values())


def test_curves_have_a_row_for_each_number_of_evaluations_and_a_column_for_each_seed():
    rows = [
        {"data": name, "denoiser": who, "sampler": "DDIM", "evaluations": k, "seed": seed, "blur": k + seed / 10}
        for name in ("cities", "moons")
        for who in (*steps.NETWORKS, BEST)
        for k in (20, 5)
        for seed in (1, 0)
    ]
    found = steps.curves(pd.DataFrame(rows), "cities", ["blur"], {"better": "wide", BEST: "the best"}, ["DDIM"])
    assert [*found["blur"]] == ["wide", "the best"]
    evaluations, multiples = found["blur"]["the best"]["DDIM"]
    assert evaluations.tolist() == [5, 20]
    assert multiples.tolist() == [[5, 5.1], [20, 20.1]]
