"""The study: what does the recipe change, over seeds and on two data sets?

A sweep changes a few settings of the original's recipe and keeps all others; the same run may stand in
several sweeps, and is made once. A seed decides which points are training points, the first weights, the batches, and
the noise of the sampling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lab_utils.base.files import DATA
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import usual
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import KINDS
from lab_utils.diffusion.training import Recipe
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.likelihood import FlowError, mean_log_likelihood
from lab_utils.measure.losses import Noised, along_t, answers, gradient_signal, noise, squared
from lab_utils.measure.nats import Truth
from lab_utils.points.dataset import SPLIT, Dataset, dataset
from lab_utils.runs.fit import fit

Configuration = dict[str, Any]

TABLE = DATA / "study.csv"
DATASETS = ("cities", "spiral")
SEEDS = 5
SIZE = 5000  # points of a sample
FEW = 1500  # points for W2, which is slow
NOISED, LIKELY = 20_000, 10_000  # noised points for the loss and its parts, and held-out ones for the log-likelihood
PARTS = (16, 10, 4, 2, 1)  # a run is measured after a 16th, a 10th … of its epochs: 125, 200, 500, 1000, 2000

# The original's recipe, and what the sweeps may change.
BASE: Configuration = {
    "train": 5000,
    "schedule": "sigmoid",
    "width": 64,
    "depth": 3,
    "input_frequencies": 16,
    "max_frequency": 32.0,
    "fading": False,
    "epochs": 2000,
    "batch_size": 500,
    "decay": False,
    "timesteps": "uniform",
    "weights": "uniform",
    "noises": 1,
    "fixed_noises": 0,
    "tail": 0.0,
}
FINE: Configuration = {"input_frequencies": 32, "max_frequency": 256.0}
FADING: Configuration = {**FINE, "fading": True}
DETAIL: Configuration = {"timesteps": "detail"}
DECAY: Configuration = {"decay": True}
SHARP: Configuration = {**FADING, **DETAIL, **DECAY}
MORE_STEPS: Configuration = {**SHARP, "batch_size": 250}
TAIL: Configuration = {"tail": 0.05}
WIDER: Configuration = {**MORE_STEPS, "width": 128}
BETTER: Configuration = {**WIDER, **TAIL}

ALWAYS = ("energy distance", "blur", "RMS", "strays", "copies")  # at each checkpoint; at the last also the rest, and W2
AT_LAST = (*ALWAYS, "sliced W1", "MMD", "precision", "coverage", "classifier")

SWEEPS: dict[str, list[Configuration]] = {
    "schedule": [{}, {"schedule": "linear"}],
    "timesteps": [{}, {"timesteps": "log-SNR"}, {"weights": "log-SNR"}, DETAIL],
    # more noises at as many steps of the optimiser; the checkpoints compare them at as many epochs too
    "noises": [
        {},
        {"noises": 4, "epochs": 500},
        {"noises": 16, "epochs": 125},
        {"fixed_noises": 1},
        {"fixed_noises": 16},
    ],
    # one change alone, then one upon the other
    "recipe": [
        {},
        DECAY,
        FINE,
        FADING,
        DETAIL,
        {**DETAIL, **DECAY},
        SHARP,
        MORE_STEPS,
        TAIL,
        WIDER,
        {**WIDER, "epochs": 500},
        BETTER,
        {**BETTER, "epochs": 500},
    ],
    "depth": [{"depth": 1}, {}, {"depth": 6}],
    # at as many steps of the optimiser, whatever the number of points; fewer points at as many epochs, too
    "points": [
        *({"train": n, "epochs": 2000 * 5000 // n} for n in (500, 2000, 5000, 20_000)),
        {"train": 500},
        {"train": 2000},
        {**BETTER, "train": 20_000, "epochs": 500},
    ],
    # the rate of the original is too high for a wide network, so a falling one as well
    "width": [{"width": 16}, {}, {"width": 128}, {"width": 256}, DECAY, {**DECAY, "width": 128}],
}


def grid(
    sweeps: Sequence[str] = (*SWEEPS,), data: Sequence[str] = DATASETS, seeds: int = SEEDS
) -> Iterator[Configuration]:
    """The configurations of some sweeps, each once: all of them with one seed before the next seed begins."""
    changes = {tuple(sorted((BASE | change).items())): BASE | change for sweep in sweeps for change in SWEEPS[sweep]}
    for seed in range(seeds):
        for name in data:
            for configuration in changes.values():
                yield {"data": name, **configuration, "seed": seed}


@lru_cache(maxsize=4)
def data_and_draws(name: str, train: int, seed: int = SPLIT) -> tuple[Dataset, Benchmark]:
    """The data, with training points of the seed's own, and real sets to hold samples against."""
    data = dataset(name, train=train, seed=seed)
    return data, Benchmark(data.held_out, data.train)


@lru_cache(maxsize=4)
def _truth(name: str, train: int, seed: int, kind: str) -> tuple[Noised, Tensor, Truth]:
    """Noised points of the whole population, training points and held-out ones, the best answers, and those in nats."""
    data, _ = data_and_draws(name, train, seed)
    population, schedule = torch.cat([data.train, data.held_out]), KINDS[kind]()
    noised, best = noise(population, schedule, draws=NOISED), BestDenoiser(population, schedule)
    return noised, answers(best, noised), Truth(best, population, draws=NOISED)


def build(configuration: Mapping[str, Any]) -> tuple[DiffusionGenerator, Dataset, Recipe]:
    """The network, the data and the recipe that a configuration describes."""
    c = dict(configuration)
    data, _ = data_and_draws(c.pop("data"), c.pop("train"), c["seed"])
    schedule = KINDS[c.pop("schedule")]()
    sizes = {name: c.pop(name) for name in ("width", "depth", "input_frequencies", "max_frequency", "fading")}
    network = DiffusionGenerator(schedule=schedule, seed=c["seed"], **sizes)
    checkpoints = tuple(sorted({c["epochs"] // part for part in PARTS}))
    return network, data, Recipe(**c, checkpoints=checkpoints)


def measure_model(model: DenoisingModule, configuration: Mapping[str, Any], *, last: bool = True) -> dict[str, float]:
    """The measures of one trained model: its loss, where along t it could be less, and its samples' distances.

    "nats" is the excess in nats, against the best denoiser of all points that there are; see `measure.nats`.
    Distances are multiples of what real sets read, and NaN for a model gone so far astray that some points are not
    finite. The last model of a run is measured in more ways. Its log-likelihood is the mean over 10 000 held-out
    points, in nats a point and normalised units; "folded" is the share of them at which the flow's steps fold the
    plane.
    """
    name, train, seed, kind = (configuration[key] for key in ("data", "train", "seed", "schedule"))
    data, benchmark = data_and_draws(name, train, seed)
    noised, best, truth = _truth(name, train, seed, kind)
    given = answers(model, noised)
    excess = squared(given, best)
    points = sample(model, SIZE, seed=seed, sampler=usual(model.schedule))
    measures = {
        "loss": float(squared(given, noised.epsilon).mean()),
        "floor": float(squared(best, noised.epsilon).mean()),
        "excess": float(excess.mean()),
        **{f"excess {100 * i}-{100 * i + 99}": float(value) for i, value in enumerate(along_t(excess, 10))},
        "nats": truth.excess(model).total,
        "gradient signal": gradient_signal(model, noised),
    }
    finite = bool(points.isfinite().all())
    for distance in AT_LAST if last else ALWAYS:
        measures[distance] = benchmark.multiple(distance, points) if finite else math.nan
    if last:
        measures["W2"] = benchmark.multiple("W2", points[:FEW]) if finite else math.nan
        likely = {"log-likelihood": math.nan, "folded": math.nan}
        with suppress(FlowError):  # of a model gone astray the flow is not finite
            found = mean_log_likelihood(model, data.held_out[:LIKELY])
            likely = {"log-likelihood": found.mean, "folded": found.share}
        measures |= likely
    return measures


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Train by one configuration, or find it done in the cache, and measure it at each of its checkpoints."""
    network, data, recipe = build(configuration)
    done = fit(network, data, recipe, progress=False)
    steps = -(-len(data.train) * recipe.noises // recipe.batch_size)
    rows = []
    for epoch in recipe.checkpoints:
        measures = measure_model(done.model(epoch), configuration, last=epoch == recipe.epochs)
        rows.append(
            {
                "epoch": epoch,
                "steps": epoch * steps,
                "training loss": float(done.losses[max(0, epoch - 50) : epoch].mean()),
                **{name: float(f"{value:.5g}") for name, value in measures.items()},
            }
        )
    return rows
