"""The grid of targets, and what a run says of a training: small networks, points of a known shape."""

import math

import numpy as np
import pytest

from lab_utils.diffusion.schedules import KINDS
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.intervals import mean_between
from lab_utils.points.dataset import dataset
from lab_utils.study import sweeps, target_study
from lab_utils.study.target_study import (
    ASKED,
    BASE,
    FLOW_MATCHING,
    LOG_SNR,
    OPTIMAL_TRANSPORT,
    grid,
    outside,
    outside_of_real,
    run,
)

SMALL = {"TRAIN": 100, "EPOCHS": 4, "BATCH": 50, "SIZE": 300, "NETWORK": {"width": 8, "depth": 1}}
FEW = {
    "Euler": (target_study.euler, (5,)),
    "Heun": (target_study.heun, (3,)),
    "SDE-DPM-Solver++(2M)": (target_study.sde_dpm_solver, (10,)),
}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    for name, value in {**SMALL, "SAMPLERS": FEW, "NOISED": 500}.items():
        monkeypatch.setattr(target_study, name, value)
    for cache in (sweeps.data_and_draws, target_study._truth):
        cache.cache_clear()
    yield
    for cache in (sweeps.data_and_draws, target_study._truth):
        cache.cache_clear()


def test_each_training_is_asked_for_once_and_a_seed_is_whole_before_the_next():
    asked = [*grid(("moons",), 2)]
    assert len({tuple(c.items()) for c in asked}) == len(asked) == 2 * len(ASKED)
    assert [c["seed"] for c in asked] == sorted(c["seed"] for c in asked)
    assert {c["target"] for c in asked} == {"epsilon", "x", "v", "velocity"}


def test_a_row_for_each_way_to_sample_with_the_evaluations_that_it_takes():
    rows = run({"data": "moons", **BASE, "seed": 1})
    assert [(row["epoch"], row["sampler"], row["evaluations"]) for row in rows] == [
        (1, "Euler", 5),
        (4, "Euler", 5),
        (4, "Heun", 5),
        (4, "SDE-DPM-Solver++(2M)", 10),
    ]
    assert len({row["nats"] for row in rows[1:]}) == 1
    assert rows[0]["nats"] > rows[1]["nats"], "the first quarter of the epochs leaves more to learn"
    assert all(row["nats"] > 0 and row["straightness"] > 0 for row in rows)
    assert all(math.isfinite(row["outside"]) for row in rows)


def test_coupled_pairs_have_no_nats_and_no_steps_with_noise():
    rows = run({"data": "moons", **OPTIMAL_TRANSPORT, "seed": 1})
    assert [row["sampler"] for row in rows] == ["Euler", "Euler", "Heun"]
    assert all(math.isnan(row["nats"]) for row in rows)


def test_flow_matching_is_the_velocity_of_straight_paths_and_its_own_loss():
    assert FLOW_MATCHING == {
        **BASE,
        "schedule": "flow",
        "target": "velocity",
        "weights": "velocity",
    }


def test_a_real_set_is_inside_and_a_blurred_one_is_not():
    data = dataset("gaussian", train=100)
    benchmark = Benchmark(data.held_out[:3000])
    names = ("energy distance", "blur", "coverage")
    heap = {name: benchmark.multiple(name, 0 * data.held_out[: benchmark.size]) for name in names}
    assert outside(benchmark, heap) > 2
    assert outside(benchmark, {"blur": 1.0, "energy distance": 1.0, "coverage": 1.0}) <= 1
    assert outside(benchmark, {"blur": 1.0, "coverage": 0.5}) > 1.5, "of the coverage less is worse"


class Stub:
    """Real sets of which only the distances are known."""

    def __init__(self, between):
        self.between_real = between.__getitem__
        self.real_sets = lambda: [*next(iter(between.values()))]


def test_a_real_set_is_held_against_the_others_as_a_generated_one_is():
    chance = np.random.default_rng(0)
    between = {}
    for name in ("blur", "coverage"):
        distances = chance.uniform(0.5, 1, (6, 6))
        between[name] = (distances + distances.T) * (1 - np.eye(6))
    found = outside_of_real(Stub(between), tuple(between))
    assert len(found) == 6
    for i, reading in enumerate(found):
        rest = {name: np.delete(np.delete(each, i, 0), i, 1) for name, each in between.items()}
        multiples = {
            name: float(np.delete(each[i], i).mean() / mean_between(rest[name])) for name, each in between.items()
        }
        assert reading == pytest.approx(outside(Stub(rest), multiples))


def test_every_schedule_has_the_noise_that_the_nats_are_summed_over():
    for make in KINDS.values():
        reach = make().snr.log()
        assert reach[-1] <= LOG_SNR[0] < LOG_SNR[1] <= reach[0]
