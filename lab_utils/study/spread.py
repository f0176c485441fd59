"""Which chance makes how much of the spread: the draw of the training points, the training, or the sampling?

Some draws of training points; of each, some trainings; of each, some samples. The variances of such nested groups can
be told apart (Searle, Casella & McCulloch 1992, section 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lab_utils.base.files import DATA
from lab_utils.diffusion.samplers import usual
from lab_utils.diffusion.sampling import sample
from lab_utils.runs.fit import fit
from lab_utils.study.sweeps import BASE, BETTER, DATASETS, SIZE, Configuration, build, data_and_draws

TABLE = DATA / "spread.csv"
RECIPE: Configuration = {**BETTER, "epochs": 500}
DRAWS, TRAININGS, SAMPLES = 5, 3, 3
CHANCES = ("draw", "training", "sampling")  # the table's columns, and where the spread comes from
MEASURES = ("energy distance", "sliced W1", "blur", "RMS", "strays", "coverage", "copies")


def grid(data: Sequence[str] = DATASETS, draws: int = DRAWS) -> Iterator[Configuration]:
    """The trainings, each once: a draw of points with all its trainings before the next."""
    for draw in range(draws):
        for name in data:
            for training in range(TRAININGS):
                yield {"data": name, "draw": draw, "training": training}


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Train once, and measure some samples of the model as multiples of what real sets read."""
    name, draw = configuration["data"], configuration["draw"]
    data, benchmark = data_and_draws(name, BASE["train"], draw)
    # a number of its own for each training, so that no two have the same first weights, batches or noise
    number = draw * TRAININGS + configuration["training"]
    network, _, recipe = build({"data": name, **BASE, **RECIPE, "seed": number})
    model = fit(network, data, recipe, progress=False).model()
    sampler, rows = usual(model.schedule), []
    for sampling in range(SAMPLES):
        points = sample(model, SIZE, seed=number * SAMPLES + sampling, sampler=sampler)
        multiples = {measure: benchmark.multiple(measure, points) for measure in MEASURES}
        rows.append({"sampling": sampling, **{measure: float(f"{x:.5g}") for measure, x in multiples.items()}})
    return rows


def parts(rows: pd.DataFrame, measure: str) -> dict[str, float]:
    """The variance that each of `CHANCES` adds to a measure, in the table of one data set: chance → variance.

    The estimates are those of the analysis of variance, without bias; one that comes out negative is given as 0.

    Args:
        rows: the columns of `CHANCES` and the measure's; each sampling of each training of each draw once.
        measure: the name of a column.

    Raises:
        ValueError: some are missing, or there is a single one of some kind.
    """
    shape = [rows[chance].nunique() for chance in CHANCES]
    if len(rows) != math.prod(shape) or min(shape) < 2:
        raise ValueError(
            f"variances are told apart in a whole table of two or more of each, {', '.join(CHANCES)}; got "
            f"{len(rows)} rows of {shape}"
        )
    cube = rows.sort_values([*CHANCES])[measure].to_numpy(dtype=float).reshape(shape)
    of_trainings = cube.mean(axis=2)
    # the variance of means has a part of the variance below, which is taken off
    of_sampling = float(cube.var(axis=2, ddof=1).mean())
    within_draws = float(of_trainings.var(axis=1, ddof=1).mean())
    between_draws = float(of_trainings.mean(axis=1).var(ddof=1))
    return {
        "draw": max(0.0, between_draws - within_draws / shape[1]),
        "training": max(0.0, within_draws - of_sampling / shape[2]),
        "sampling": of_sampling,
    }


def shares(table: pd.DataFrame, data: str) -> pd.DataFrame:
    """What part of the variance each chance has, on one data set: a row for each measure, columns `CHANCES`."""
    rows = table[table["data"] == data]
    found = pd.DataFrame({measure: parts(rows, measure) for measure in MEASURES}).T[[*CHANCES]]
    return found.div(found.sum(axis=1), axis=0)
