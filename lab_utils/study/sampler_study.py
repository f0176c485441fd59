"""The study of samplers: which error is the sampler's, and which is the network's?

Trained networks and the best denoiser sample in few steps and in many. Nothing beats the best denoiser; so what its
samples are short of real points is the sampler's doing, or that of the few training points, and what a network adds to
it is the network's. A seed decides which points are training points, the training, and the noise of the sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lab_utils.base.files import DATA
from lab_utils.diffusion.denoiser import Denoiser
from lab_utils.diffusion.samplers import Sampler, ancestral, ddim, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import Schedule, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.runs.fit import fit
from lab_utils.study.sweeps import BASE, BETTER, SIZE, WIDER, Configuration, build, data_and_draws
from lab_utils.study.table import select

Array = NDArray[np.float64]

TABLE = DATA / "samplers.csv"
DATASETS = ("cities", "spiral", "checkerboard", "moons", "thin_roll")
SEEDS = 5
DISTANCES = (
    *("energy distance", "sliced W1", "MMD", "blur", "RMS", "strays"),
    *("precision", "coverage", "copies"),
)

BEST = "best denoiser"
NETWORKS: dict[str, Configuration] = {
    "original": {},
    "last weights": {"ema_decay": 0.0},
    "better": {**BETTER, "epochs": 500},
    "better, no tail": {**WIDER, "epochs": 500},
}
FEW = (10, 20, 30, 50)

# name → how it is made of a schedule and a number of steps, and the numbers of steps
SAMPLERS: dict[str, tuple[Callable[[Schedule, int], Sampler], tuple[int, ...]]] = {
    "DDPM": (lambda schedule, _: ancestral(schedule), (1000,)),
    "DDPM, variance β": (lambda schedule, _: ancestral(schedule, "beta"), (1000,)),
    "DDIM, η = 1": (lambda schedule, steps: ddim(schedule, steps, 1.0), (*FEW, 250)),
    "DDIM": (ddim, (*FEW, 250, 1000)),
    "DPM-Solver++(2M)": (dpm_solver, (5, *FEW, 100)),
    "DPM-Solver++(2M), all the way": (lambda schedule, steps: dpm_solver(schedule, steps, least=0), (10, 20)),
    "SDE-DPM-Solver++(2M)": (sde_dpm_solver, (5, *FEW, 100)),
    "SDE-DPM-Solver++(2M), noise ½": (lambda schedule, steps: sde_dpm_solver(schedule, steps, noise=0.5), FEW),
}


def _is_worth_it(denoiser: str, sampler: str, steps: int) -> bool:
    """Not each of the long ways: a step of the best denoiser is a look at all pairs of points."""
    if denoiser == BEST:
        return steps <= max(FEW) or sampler == "DDPM"
    if denoiser == "last weights":
        return (sampler, steps) in {("DDPM", 1000), ("DPM-Solver++(2M)", 20)}
    return True


def grid(data: Sequence[str] = DATASETS, seeds: int = SEEDS) -> Iterator[Configuration]:
    """The configurations: all of them with one seed before the next seed begins."""
    for seed in range(seeds):
        for name in data:
            for sampler, (_, numbers) in SAMPLERS.items():
                for steps in numbers:
                    for denoiser in (*NETWORKS, BEST):  # the networks side by side, so that each is trained once
                        if _is_worth_it(denoiser, sampler, steps):
                            yield {"data": name, "denoiser": denoiser, "sampler": sampler, "steps": steps, "seed": seed}


def denoiser(name: str, data: str, seed: int) -> Denoiser:
    """The network `name` after its last epoch, trained now or found in the cache, or the best denoiser.

    The best denoiser is that of the training points: it knows all that the networks could know.
    """
    if name == BEST:
        return BestDenoiser(data_and_draws(data, BASE["train"], seed)[0].train, sigmoid())
    network, points, recipe = build({"data": data, **BASE, **NETWORKS[name], "seed": seed})
    return fit(network, points, recipe, progress=False).model(recipe.epochs)


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Sample by one configuration, and measure the points as multiples of what real sets read."""
    asked = denoiser(*(configuration[key] for key in ("denoiser", "data", "seed")))
    make, _ = SAMPLERS[configuration["sampler"]]
    sampler = make(asked.schedule, configuration["steps"])
    data, benchmark = data_and_draws(configuration["data"], BASE["train"], configuration["seed"])
    points = sample(asked, SIZE, seed=configuration["seed"], sampler=sampler)
    measures = {name: benchmark.multiple(name, points) for name in DISTANCES}
    measures["farthest"] = float(points.norm(dim=1).max() / data.train.norm(dim=1).max())
    return [{"evaluations": len(sampler), **{name: float(f"{value:.5g}") for name, value in measures.items()}}]


def curves(
    table: pd.DataFrame, data: str, distances: Sequence[str], denoisers: Mapping[str, str], samplers: Sequence[str]
) -> dict[str, dict[str, dict[str, tuple[Array, Array]]]]:
    """What `figures.evaluations` draws: distance → denoiser → sampler → (k,) evaluations, (k, seeds) multiples.

    `denoisers` says how each is called in the figure.
    """

    def curve(denoiser: str, sampler: str, distance: str) -> tuple[Array, Array]:
        rows = select(table, {"data": data, "denoiser": denoiser, "sampler": sampler})
        seeds = rows.pivot_table(index="evaluations", columns="seed", values=distance)
        return seeds.index.to_numpy(), seeds.to_numpy()

    return {
        distance: {
            title: {sampler: curve(denoiser, sampler, distance) for sampler in samplers}
            for denoiser, title in denoisers.items()
        }
        for distance in distances
    }
