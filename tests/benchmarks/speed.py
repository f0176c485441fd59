"""How fast training and sampling are on this machine: `make bench`, or `python tests/benchmarks/speed.py`.

Measures the real training loop on the 5000 training points of the cities, and 5000 points sampled with all 1000 steps,
each several times. Ends with 1 when a median is below what the lab promises for two cores. Writes nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice

import torch

from lab_utils import THREADS, WORKERS
from lab_utils.model import DiffusionGenerator
from lab_utils.pages import facts
from lab_utils.points import dataset
from lab_utils.sampling import sample
from lab_utils.schedules import sigmoid
from lab_utils.training import Trainer

REPEATS = 5
EPOCHS = 40  # in each repeat
POINTS = 5000


def speeds(work: Callable[[], object], amount: int) -> list[float]:
    """`amount` of work over the seconds it took, for each repeat, after a first run that doesn't count."""
    found = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        found.append(amount / (time.perf_counter() - started))
    return found[1:]


def main() -> int:
    """Measure and print; 0 when both promises are kept, else 1."""
    data = dataset("cities", train=POINTS)
    trainer = Trainer(DiffusionGenerator(schedule=sigmoid()), data.train)
    timesteps = trainer.network.schedule.timesteps
    rows = [
        ("training", "points/s", 100_000, speeds(lambda: list(islice(trainer, EPOCHS)), EPOCHS * POINTS)),
        ("sampling", "point-steps/s", 1_000_000, speeds(lambda: sample(trainer.averaged, POINTS), timesteps * POINTS)),
    ]
    print(f"{facts()['Processor']}; torch {torch.__version__}; {THREADS} thread(s), {WORKERS} sampling worker(s)")
    print(f"{POINTS} points, {timesteps} steps, median of {REPEATS} (min–max)")
    slow = 0
    for name, unit, promised, found in rows:
        median = statistics.median(found)
        verdict = "ok" if median >= promised else "TOO SLOW"
        slow += median < promised
        spread = f"({min(found):,.0f}–{max(found):,.0f})"
        print(f"{name}  {median:>12,.0f}  {spread:<24}{unit:<14} promised {promised:>9,}  {verdict}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
