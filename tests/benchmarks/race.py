"""Seconds of training to a quality, contender beside contender; and the one honest tuning of each peer."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender
from benchmarks.peers import LabAsItComes, LabOfThatSize
from lab_utils import SEED
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.standings import times_real
from lab_utils.points.dataset import SPLIT, Dataset, dataset

Row = dict[str, Any]

MEASURES = ("energy distance", "sliced W1", "MMD", "blur", "RMS", "strays", "precision", "coverage")
EVERY = "every measure"  # how many times real the worst of them reads; of precision and coverage, how many times less
RACED = (EVERY, "energy distance", "blur")  # what the seconds are told of
TARGETS = (4.0, 2.0, 1.5)  # × real
SIZE = 5000  # points in a sample
FIRST, STEP = 0.5, math.sqrt(2)  # the first look, in seconds of training, and each next one's factor
MANY, STRIDE = 250, 4  # who asks the network so often for a point is looked at in every fourth checkpoint only
RATES, BATCHES = (1, 3, 10), (1, 4)  # what a peer's own learning rate and batch size are multiplied by

# Settings are chosen on one draw, and raced on another: another split into training points and held-out ones, and other
# real sets. The race's is one where the training points themselves are near what real points read on both data sets;
# where they lie at five times that, as they may, no model can be nearer, and the race would tell nothing.
TUNING_DRAW, RACE_DRAW = SPLIT, 10


@dataclass(frozen=True)
class Judge:
    """A data set, and the real sets that samples are held against."""

    data: Dataset
    benchmark: Benchmark

    def multiples(self, points: Tensor) -> Row:
        """Each measure as a multiple of what real sets read; None where some points, or it, are not finite."""
        if not torch.isfinite(points).all():
            return dict.fromkeys((*MEASURES, EVERY))
        found = {name: self.benchmark.multiple(name, points) for name in MEASURES}
        found[EVERY] = max(times_real(name, multiple) for name, multiple in found.items())
        return {name: multiple if math.isfinite(multiple) else None for name, multiple in found.items()}


@lru_cache
def judge(name: str, draw: int) -> Judge:
    """The data `name`, split and judged by the seed `draw`."""
    data = dataset(name, seed=draw)
    return Judge(data, Benchmark(data.held_out, seed=draw))


def points_of(contender: Contender, seed: int = SEED, sampler: str | None = None) -> Tensor:
    """SIZE points on all cores: as many parts beside each other, unless the contender sees to that itself.

    The clock stands meanwhile, so this is nobody's gain or loss.
    """
    sampler = sampler or contender.usual
    if contender.workers > 1:
        return contender.sample(SIZE, seed, sampler)
    torch.manual_seed(seed)
    parts = [len(part) for part in torch.arange(SIZE).chunk(os.cpu_count() or 1)]
    with ThreadPoolExecutor(len(parts)) as pool:  # whether gradients are kept is each thread's own choice
        return torch.cat([*pool.map(torch.no_grad()(lambda n: contender.draw(n, sampler, None)), parts)])


def checkpoints(budget: float) -> list[float]:
    """The seconds of training after which a contender is looked at, up to and with the budget."""
    count = max(0, math.ceil(math.log(budget / FIRST, STEP) - 1e-9))
    return [FIRST * STEP**k for k in range(count)] + [budget]


def time_to(rows: Iterable[Mapping[str, Any]], measure: str, target: float) -> tuple[float, bool]:
    """When a contender was first seen at or below a target, and True; or how long it was watched in vain, and False.

    The first time counts, whether or not it stays: a user would stop there.

    Args:
        rows: the contender's looks in one race, in order of time; none at all reads 0 seconds in vain.
        measure: one of `MEASURES`, or `EVERY`.
        target: a multiple of real.
    """
    seconds = 0.0
    for row in rows:
        seconds = row["seconds"]
        if row[measure] is not None and row[measure] <= target:
            return seconds, True
    return seconds, False


def race(contenders: Mapping[str, Contender], jury: Judge, budget: float, seed: int) -> Iterator[Row]:
    """Train the contenders in turns, and look at each after each turn.

    For each checkpoint, all train up to it one after another, in a fresh random order; so a machine that is slow for a
    while is slow for all. The clock stands while points are sampled and measured. Who has reached all targets stops.
    Whose sampler takes very many evaluations is looked at less often, and at the end in any case.

    Yields:
        One row for each look, with the contender's name, the checkpoint, the measured seconds and the multiples.
    """
    chance, looks = random.Random(seed), {name: [] for name in contenders}
    times = checkpoints(budget)
    for left, checkpoint in zip(reversed(range(len(times))), times, strict=True):
        running = [name for name in contenders if not _done(looks[name])]
        for name in chance.sample(running, len(running)):
            contender = contenders[name]
            contender.train_until(checkpoint)
            if left % (STRIDE if contender.samplers[contender.usual] > MANY else 1):
                continue
            multiples = jury.multiples(points_of(contender, seed))
            row = {"seconds": contender.seconds, "points": contender.points, **multiples}
            looks[name].append(row)
            yield {"contender": name, "checkpoint": checkpoint, **row}


def _done(rows: Sequence[Row]) -> bool:
    return time_to(rows, EVERY, min(TARGETS))[1]


def compare_samplers(contender: Contender, jury: Judge, budget: float, seed: int) -> Iterator[Row]:
    """What each of a contender's samplers makes of its network after the whole budget, one row each.

    Who reached all targets early trains on until then, so that all networks have had the same time.
    """
    contender.train_until(budget)
    for sampler, evaluations in contender.samplers.items():
        multiples = jury.multiples(points_of(contender, seed, sampler))
        yield {"sampler": sampler, "evaluations": evaluations, "seconds": contender.seconds, **multiples}


def grid(kind: type[Contender]) -> list[dict[str, float]]:
    """The learning rates, batch sizes and other choices that a peer is tuned over; its own are the first."""
    rate, batch = kind.defaults["learning_rate"], kind.defaults["batch_size"]
    return [
        {**dict(zip(kind.choices, others, strict=True)), "learning_rate": rate * r, "batch_size": batch * b}
        for others in product(*kind.choices.values())
        for b, r in product(BATCHES, RATES)
    ]


def tune(kind: type[Contender], jury: Judge, budget: float) -> list[Row]:
    """Train a peer with each of its settings for `budget` seconds, one seed, and sample in all its ways.

    Returns:
        A row for each setting and each sampler, the best first: that whose worst measure is the lowest; of those with
        the same to two digits, the one with the lowest blur.
    """
    rows = []
    for settings in grid(kind):
        contender = kind(jury.data.train, **settings)
        rows += [{**settings, **row} for row in compare_samplers(contender, jury, budget, SEED)]
    return sorted(rows, key=_rank)


def _rank(row: Row) -> tuple[float, float]:
    if row[EVERY] is None or row["blur"] is None:
        return math.inf, math.inf
    return float(f"{row[EVERY]:.2g}"), row["blur"]


def entrants(
    kinds: Iterable[type[Contender]], tuned: Mapping[str, Mapping[str, Any]], train: Tensor, seed: int
) -> dict[str, Contender]:
    """Everybody who races, by name: each kind with its own settings, and each that was tuned once more with those.

    A peer that is best as it is has no second row; its own settings are its tuned ones.
    """
    found = {kind.name: kind(train, seed) for kind in kinds}
    for kind in kinds:
        settings = tuned.get(kind.name)
        if settings is not None and dict(settings) != {**grid(kind)[0], "usual": found[kind.name].usual}:
            found[f"{kind.name}, tuned"] = kind(train, seed, **settings)
    return found


def racers(kinds: Mapping[str, type[Contender]], absent: Mapping[str, str]) -> list[type[Contender]]:
    """The kinds that race: without those that are missing, and without those that are there for their speed alone."""
    slow = (LabAsItComes.name, LabOfThatSize.name)
    return [kind for name, kind in kinds.items() if name not in absent and name not in slow]


def order(data: Sequence[str], seeds: int) -> list[tuple[int, str]]:
    """The races: all data sets with one seed before the next seed begins, so that one can stop early."""
    return [(seed, name) for seed in range(seeds) for name in data]
