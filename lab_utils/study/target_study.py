"""The study of targets: what does a network's target change, what its schedule, and what the weight of its errors?

All trainings have the same network, the same number of steps and the same falling rate. They differ in the schedule, in
what the network predicts, in how the timesteps are drawn, in whose error the loss is, and in how points and noises are
paired. Each is sampled in several ways, so that one can also ask how many evaluations it needs. The excess in nats
compares them all but for those with coupled pairs, whose best answer is another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from lab_utils.base.files import DATA
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import Sampler, ancestral, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import KINDS, Schedule
from lab_utils.diffusion.straight import euler, heun
from lab_utils.diffusion.targets import LEARNT
from lab_utils.diffusion.training import Recipe
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.intervals import Array, mean_between
from lab_utils.measure.nats import Truth
from lab_utils.measure.standings import times_real
from lab_utils.measure.straightness import along_paths, flow_paths
from lab_utils.runs.fit import fit
from lab_utils.study.sweeps import NOISED, SIZE, Configuration, data_and_draws

TABLE = DATA / "targets.csv"
DATASETS = ("cities", "checkerboard")
SEEDS = 5
TRAIN, EPOCHS, BATCH = 5000, 1000, 500
NETWORK = {"width": 64, "depth": 3, "input_frequencies": 32, "max_frequency": 256.0, "fading": True}
MEASURES = ("energy distance", "sliced W1", "MMD", "blur", "RMS", "strays", "precision", "coverage")
LOG_SNR = (-10.0, 9.2)  # over these, which all four schedules have, the excess in nats is summed
EARLY = 4  # what a training has learnt is asked after so small a part of its epochs, too

BASE: Configuration = {
    "schedule": "sigmoid",
    "target": "v",
    "timesteps": "uniform",
    "weights": "uniform",
    "coupling": "independent",
}
# what practice calls by a name of its own; see the table in `diffusion.weights`
FLOW_MATCHING: Configuration = {**BASE, "schedule": "flow", "target": "velocity", "weights": "velocity"}
OPTIMAL_TRANSPORT: Configuration = {**FLOW_MATCHING, "coupling": "optimal transport"}

ONE_LOSS: Configuration = {"timesteps": "logit-normal", "weights": "velocity"}  # the same in log-SNR for each schedule

# Left out of targets × schedules × losses: targets under linear and cosine, detail and even log-SNR under other
# schedules than the sigmoid, and EDM's log-normal draw. None of the four sentences in `target_claims` asks for them.
ASKED: tuple[Configuration, ...] = (
    # the four targets, all else equal: with the error of ε under the sigmoid, and with flow matching's own loss
    *({**BASE, "target": target} for target in LEARNT),
    *({**FLOW_MATCHING, "target": target} for target in LEARNT),
    # the other schedules with timesteps drawn evenly, and all four with one loss
    *({**BASE, "schedule": schedule} for schedule in ("linear", "cosine", "flow")),
    *({**BASE, **ONE_LOSS, "schedule": schedule} for schedule in KINDS),
    # what else practice weighs, and couples
    {**BASE, "timesteps": "detail"},
    {**BASE, "timesteps": "log-SNR"},
    {**FLOW_MATCHING, "timesteps": "logit-normal"},
    OPTIMAL_TRANSPORT,
)

# name → how it is made of a schedule and a number of steps, and the numbers of steps
SAMPLERS: dict[str, tuple[Callable[[Schedule, int], Sampler], tuple[int, ...]]] = {
    "Euler": (euler, (5, 10, 20, 50, 100)),
    "Heun": (heun, (3, 5, 10, 25, 50)),
    "DPM-Solver++(2M)": (dpm_solver, (5, 10, 20, 50)),
    "SDE-DPM-Solver++(2M)": (sde_dpm_solver, (10, 20, 50)),
    "DDPM": (lambda schedule, _: ancestral(schedule), (1000,)),
}


def grid(data: Sequence[str] = DATASETS, seeds: int = SEEDS) -> Iterator[Configuration]:
    """The trainings, each once: all of them with one seed before the next seed begins."""
    for seed in range(seeds):
        for name in data:
            for configuration in ASKED:
                yield {"data": name, **configuration, "seed": seed}


@lru_cache(maxsize=len(KINDS))
def _truth(name: str, seed: int, schedule: str) -> Truth:
    """The best answers about the whole population, which all targets of one schedule are held against."""
    data, _ = data_and_draws(name, TRAIN, seed)
    population = torch.cat([data.train, data.held_out])
    return Truth(BestDenoiser(population, KINDS[schedule]()), population, draws=NOISED, log_snr=LOG_SNR)


def _beyond(measure: str, of_set: Array, between: Array) -> float:
    """How many times a set reads what the worst of some real sets reads, from its and their distances to real sets."""
    others = between.sum(axis=1) / (len(between) - 1)  # of each real set to the others
    worst = max(times_real(measure, float(value)) for value in others / others.mean())
    return times_real(measure, float(of_set.mean() / others.mean())) / worst


def outside(benchmark: Benchmark, multiples: Mapping[str, float]) -> float:
    """How many times the worst measure reads what the worst real set reads in it; 1 and below is inside of real."""
    found = []
    for name, multiple in multiples.items():
        between = benchmark.between_real(name)
        found.append(_beyond(name, np.array([multiple * mean_between(between)]), between))
    return float(np.max(found))


def outside_of_real(benchmark: Benchmark, measures: Sequence[str] = MEASURES) -> list[float]:
    """What `outside` reads of each real set where it is held against the others, as a generated set is."""
    matrices = {name: benchmark.between_real(name) for name in measures}
    found = []
    for i in range(len(benchmark.real_sets())):
        each = [
            _beyond(name, np.delete(between[i], i), np.delete(np.delete(between, i, 0), i, 1))
            for name, between in matrices.items()
        ]
        found.append(max(each))
    return found


def _measures(model: DenoisingModule, benchmark: Benchmark, sampler: Sampler, seed: int) -> dict[str, float]:
    """What a sample of the model reads, × real, and how far outside of real the worst is; NaN if it went astray."""
    points = sample(model, SIZE, seed=seed, sampler=sampler)
    finite = bool(points.isfinite().all())
    multiples = {measure: benchmark.multiple(measure, points) if finite else math.nan for measure in MEASURES}
    return {**multiples, "outside": outside(benchmark, multiples)}


def _ways(schedule: Schedule, *, noise: bool) -> Iterator[tuple[str, Sampler]]:
    """All ways to sample, those whose steps add noise only where they may."""
    for title, (make, numbers) in SAMPLERS.items():
        for steps in numbers:
            sampler = make(schedule, steps)
            if noise or not sampler.coefficients[:, 2].any():
                yield title, sampler


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Train by one configuration, or find it done in the cache, and measure it.

    Returns:
        A row for each way to sample the last model. Before them a row of the model after a quarter of the epochs, which
        is sampled in the first way only.
    """
    c = dict(configuration)
    name, seed, kind = (c.pop(key) for key in ("data", "seed", "schedule"))
    schedule = KINDS[kind]()
    data, benchmark = data_and_draws(name, TRAIN, seed)
    network = DiffusionGenerator(schedule=schedule, target=c.pop("target"), seed=seed, **NETWORK)  # type: ignore[arg-type]
    checkpoints = (EPOCHS // EARLY, EPOCHS)
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH, decay=True, checkpoints=checkpoints, seed=seed, **c)
    trained = fit(network, data, recipe, progress=False)
    coupled = recipe.coupling != "independent"  # its steps may add no noise, and it has another best answer
    rows = []
    for epoch in checkpoints:
        model = trained.model(epoch)
        of_training = {
            "nats": math.nan if coupled else _truth(name, seed, kind).excess(model).total,
            "straightness": along_paths(*flow_paths(model))[1],
        }
        ways = [*_ways(schedule, noise=not coupled)]
        for title, sampler in ways if epoch == EPOCHS else ways[:1]:
            found = _measures(model, benchmark, sampler, seed) | of_training
            numbers = {column: float(f"{value:.5g}") for column, value in found.items()}
            rows.append({"epoch": epoch, "sampler": title, "evaluations": len(sampler), **numbers})
    return rows
