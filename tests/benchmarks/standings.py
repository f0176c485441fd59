"""The command behind `make standings`: what the lab has measured on its own data, method by method.

    python -m benchmarks.standings              complete data/standings.csv
    python -m benchmarks.standings --renew      and make again what another version of the code has measured

It makes the rows that are missing, each written as soon as it is measured; so it can be interrupted, and the same call
goes on. A peer that can't be imported is named, and its rows are left as they are. `lab_utils.measure.standings` reads
the table.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.contender import Contender
from benchmarks.peers import PEERS, missing
from benchmarks.race import points_of
from lab_utils.diffusion.samplers import usual
from lab_utils.diffusion.sampling import sample
from lab_utils.exact.kernels import adaptive_kernels, fixed_kernels
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.exact.supports import OFF_SUPPORT, off_support
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.standings import MEASURES, SIZE, TABLE
from lab_utils.points.dataset import Dataset
from lab_utils.runs.fit import fit
from lab_utils.study.running import RunsFailedError, run_table
from lab_utils.study.sweeps import BASE, BETTER, build, data_and_draws
from lab_utils.study.table import TableError

Draw = Callable[[int], Tensor]  # seed → SIZE points in normalised units
Method = Callable[[Dataset, int], tuple[Draw, str]]  # data, seed → how it draws, and what is to be said of it

DATA = ("cities", "spiral", "checkerboard", "moons", "swiss_roll", "thin_roll", "eight_gaussians", "gaussian")
SETS = 4  # samples of each method: one reads an energy distance of 0.8 to 3 × real where its points are real
COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # of the fitted mixture, to choose from by BIC
EPOCHS = 500  # of the better recipe; a peer, too, sees each training point so often


def training_points(data: Dataset, seed: int) -> tuple[Draw, str]:
    """The training points themselves: what a model reads that has learnt them by heart."""
    return lambda _: data.train[:SIZE], "one sample: there are no more"


def kernels(estimate: Callable[[Tensor], GaussianMixture], data: Dataset, seed: int) -> tuple[Draw, str]:
    """A kernel estimate of the training points."""
    mixture = estimate(data.train)
    return partial(mixture.sample, SIZE), f"median bandwidth {float(mixture.covariances[:, 0, 0].median().sqrt()):.3g}"


def fitted_mixture(data: Dataset, seed: int) -> tuple[Draw, str]:
    """A Gaussian mixture by expectation maximisation, with the number of components that has the lowest BIC."""
    from sklearn.mixture import GaussianMixture as Fitted

    points = data.train.double().numpy()
    fits = [Fitted(k, random_state=seed, max_iter=300).fit(points) for k in COMPONENTS if k < len(points)]
    best = min(fits, key=lambda fit: fit.bic(points))
    mixture = GaussianMixture(*map(torch.from_numpy, (best.means_, best.covariances_, best.weights_)))
    return partial(mixture.sample, SIZE), f"{best.n_components} components"


def recipe(change: dict[str, Any], data: Dataset, seed: int) -> tuple[Draw, str]:
    """The lab's network by a recipe of the study, sampled as is usual."""
    network, _, how = build({"data": data.name, **BASE, **change, "seed": seed})
    model = fit(network, data, how, progress=False).model()
    sampler = usual(model.schedule)
    return lambda draw: sample(model, SIZE, seed=draw, sampler=sampler), f"{how.epochs} epochs, {len(sampler)} steps"


def peer(kind: type[Contender], data: Dataset, seed: int) -> tuple[Draw, str]:
    """A peer of `make bench` as it comes, with the sampler that it is used with."""
    one = kind(data.train, seed)
    while one.points < EPOCHS * len(data.train):
        one.turn()
    return partial(points_of, one), f"{EPOCHS} epochs, {one.usual}"


METHODS: dict[str, Method] = {
    "training points": training_points,
    "fixed kernels": partial(kernels, fixed_kernels),
    "adaptive kernels": partial(kernels, adaptive_kernels),
    "Gaussian mixture": fitted_mixture,
    "original recipe": partial(recipe, {}),
    "better recipe": partial(recipe, {**BETTER, "epochs": EPOCHS}),
    **{kind.name: partial(peer, kind) for kind in PEERS},
}


def judge(name: str) -> tuple[Dataset, Benchmark]:
    """The data, and real sets to hold samples against: those of `python -m lab_utils.measure --data`."""
    return data_and_draws(name, BASE["train"])


def measured(points: Tensor, data: Dataset, benchmark: Benchmark) -> dict[str, float]:
    """What a sample reads, × real, and its exact share off the support where that is known; NaN if it went astray."""
    finite = bool(points.isfinite().all())
    found = {name: benchmark.multiple(name, points) if finite else math.nan for name in MEASURES}
    found["off support"] = math.nan
    if finite and data.name in OFF_SUPPORT:
        found["off support"] = float(off_support(data.name, data.units.restore(points)).double().mean())
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def run(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Make one method's model of the data and measure `SETS` samples of it, one row each."""
    data, benchmark = judge(configuration["data"])
    name, seed = configuration["name"], configuration["seed"]
    draw, about = METHODS[name](data, seed)
    seeds = range(1 if name == "training points" else SETS)
    return [{"set": i, "size": SIZE, "about": about, **measured(draw(i), data, benchmark)} for i in seeds]


def grid(data: Sequence[str], methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is to be measured: all methods on a data set before the next one begins."""
    for name in data:
        for method in methods:
            yield {"data": name, "name": method, "seed": 0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Complete the table; 0 when all is there, 1 when something failed or is missing, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standings", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=[*DATA], help="data sets (default: all)")
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=[*METHODS], help="default: all")
    parser.add_argument("--renew", action="store_true", help="make those again, too, that another version made")
    options = parser.parse_args(arguments)
    absent = missing()
    for name in absent.keys() & {*options.methods}:
        print(f"{name} is left out: {absent[name]}. `make standings` installs what it needs", file=sys.stderr)
    methods = [name for name in options.methods if name not in absent]
    try:
        if methods:
            run_table(run, grid(options.data, methods), TABLE, renew=options.renew)
    except (TableError, RunsFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if len(methods) < len(options.methods) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end keeps what Ctrl-C keeps
    sys.exit(main())
