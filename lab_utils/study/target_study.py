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
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import Sampler, ancestral, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import KINDS, Schedule
from lab_utils.diffusion.straight import euler, heun
from lab_utils.diffusion.targets import LEARNT
from lab_utils.diffusion.training import Recipe
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.nats import Truth
from lab_utils.measure.standings import times_real
from lab_utils.measure.straightness import along_paths, paths
from lab_utils.runs.fit import fit
from lab_utils.study.sweeps import NOISED, SIZE, Configuration, data_and_draws

TABLE = DATA / "targets.csv"
DATASETS = ("cities", "checkerboard")
SEEDS = 5
TRAIN, EPOCHS, BATCH = 5000, 1000, 500
NETWORK = {"width": 64, "depth": 3, "input_frequencies": 32, "max_frequency": 256.0, "fading": True}
MEASURES = ("energy distance", "sliced W1", "blur", "RMS", "strays", "coverage")

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

ASKED: tuple[Configuration, ...] = (
    # every target with every schedule, with the error of ε as the loss: evenly drawn timesteps, and for detail
    *(
        {**BASE, "schedule": schedule, "target": target, "timesteps": timesteps}
        for timesteps in ("uniform", "detail")
        for schedule in KINDS
        for target in LEARNT
    ),
    # the losses of the literature
    FLOW_MATCHING,
    {**FLOW_MATCHING, "timesteps": "logit-normal"},
    {**FLOW_MATCHING, "timesteps": "log-SNR"},
    {**BASE, "weights": "v"},
    {**BASE, "timesteps": "log-normal", "weights": "v"},
    OPTIMAL_TRANSPORT,
    # one draw of log-SNR and one weight, so that nothing but the schedule differs
    *(
        {**BASE, "schedule": schedule, "timesteps": "logit-normal", "weights": "velocity"}
        for schedule in KINDS
    ),
)  # fmt: skip

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
    return Truth(BestDenoiser(population, KINDS[schedule]()), population, draws=NOISED)


def outside(benchmark: Benchmark, multiples: Mapping[str, float]) -> float:
    """How many times the worst measure reads what the worst real set reads in it; 1 and below is inside of real."""
    found = []
    for name, multiple in multiples.items():
        between = benchmark.between_real(name)
        others = between.sum(axis=1) / (len(between) - 1)  # of each real set to the others
        worst = max(times_real(name, float(value)) for value in others / others.mean())
        found.append(times_real(name, multiple) / worst)
    return float(np.max(found))


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Train by one configuration, or find it done in the cache, and measure it: a row for each way to sample."""
    c = dict(configuration)
    name, seed, kind = (c.pop(key) for key in ("data", "seed", "schedule"))
    schedule = KINDS[kind]()
    data, benchmark = data_and_draws(name, TRAIN, seed)
    network = DiffusionGenerator(schedule=schedule, target=c.pop("target"), seed=seed, **NETWORK)  # type: ignore[arg-type]
    recipe = Recipe(epochs=EPOCHS, batch_size=BATCH, decay=True, checkpoints=(EPOCHS,), seed=seed, **c)
    model = fit(network, data, recipe, progress=False).model()
    coupled = recipe.coupling != "independent"
    of_training = {
        "nats": math.nan if coupled else _truth(name, seed, kind).excess(model).total,
        "straightness": along_paths(*paths(model))[1],
    }
    rows = []
    for title, (make, numbers) in SAMPLERS.items():
        for steps in numbers:
            sampler = make(schedule, steps)
            if coupled and sampler.coefficients[:, 2].any():  # steps with noise need independent pairs
                continue
            points = sample(model, SIZE, seed=seed, sampler=sampler)
            finite = bool(points.isfinite().all())
            multiples = {measure: benchmark.multiple(measure, points) if finite else math.nan for measure in MEASURES}
            measures = {**multiples, "outside": outside(benchmark, multiples)} | of_training
            rows.append(
                {
                    "sampler": title,
                    "evaluations": len(sampler),
                    **{column: float(f"{value:.5g}") for column, value in measures.items()},
                }
            )
    return rows
