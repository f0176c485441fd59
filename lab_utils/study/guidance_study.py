"""The study of guidance: what comes out of it, and is it worth it?

Each run samples by one way of guidance with one weight, class by class. Of each class the points are held against its
own held-out points, as multiples of real, and against two laws on a grid: p(x|c), which a class asks for, and the
powered one, p(x)^(1−w) p(x|c)^w, which guidance is often taken to sample from. On the mixture exact denoisers do that,
too. What they are short of is the guidance's doing and the sampler's; what networks add is theirs. A seed decides which
points are training points, the training, and the noise of the sampling, which is the same for all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from torch import Tensor

from lab_utils.base.files import DATA
from lab_utils.diffusion.conditional import given
from lab_utils.diffusion.denoiser import Denoiser
from lab_utils.diffusion.guidance import Guided, guided
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import Sampler, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import Schedule, sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.gridded import Law, histogram, jensen_shannon, kl, real_reads
from lab_utils.runs.fit import Run, fit
from lab_utils.study.guidance_truth import FINE, MIXTURE, classes, labelled, laws, mixture, multiples
from lab_utils.study.sweeps import BASE, BETTER, Configuration

TABLE = DATA / "guidance.csv"
DATASETS = ("cities", MIXTURE)
SEEDS = 5
SIZE = 10_000  # points of a class
STEPS = 50

EXACT = "best denoiser"
NETWORKS: dict[str, Configuration] = {"original": {}, "better": BETTER}
EARLY = 200  # epochs of the worse version of a network, which guides that of its last epoch
SIZES = ("width", "depth", "input_frequencies", "max_frequency", "fading")  # of a network; all else is the recipe

FREE, MIDDLE, LATE, AUTO = "classifier-free", "classifier-free, middle", "classifier-free, late", "autoguidance"
# The noise levels within which to guide. Of the towns they are 11 to 107 degrees, where continents part, and 1 to 5.
INTERVALS = {MIDDLE: (0.2, 2.0), LATE: (0.02, 0.1)}
WITH_NOISE, WITHOUT = "SDE-DPM-Solver++(2M)", "DPM-Solver++(2M)"
SAMPLERS: dict[str, Callable[[Schedule, int], Sampler]] = {WITH_NOISE: sde_dpm_solver, WITHOUT: dpm_solver}

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
BEYOND = (1.5, 2.0, 3.0, 5.0)
FEW = (2.0, 3.0, 5.0)
BOTH, ONE = (WITH_NOISE, WITHOUT), (WITH_NOISE,)
Ways = dict[tuple[str, str], tuple[tuple[float, ...], tuple[str, ...]]]
# (denoiser, guidance) → its weights, and its samplers. With w = 1 all ways are the aim alone, so one of them is run.
OF_NETWORKS: Ways = {
    ("original", FREE): (WEIGHTS, BOTH),
    ("original", AUTO): (BEYOND, BOTH),
    ("original", MIDDLE): (FEW, BOTH),
    ("original", LATE): (FEW, BOTH),
    ("better", FREE): ((1.0, *BEYOND), ONE),
    ("better", AUTO): (BEYOND, ONE),
    ("better", LATE): (FEW, ONE),
}
OF_THE_MIXTURE: Ways = {
    ("original", FREE): (WEIGHTS, ONE),
    ("original", AUTO): (BEYOND, ONE),
    (EXACT, FREE): (WEIGHTS, BOTH),
    (EXACT, MIDDLE): (FEW, BOTH),
}


def _of(name: str, seed: int) -> list[Configuration]:
    """The configurations of one data set and one seed, the first one of each network before all others.

    So one worker trains the second network while another one samples from the first.
    """
    every = [
        {"data": name, "denoiser": denoiser, "guidance": guidance, "weight": weight, "sampler": sampler, "seed": seed}
        for (denoiser, guidance), (weights, samplers) in (OF_THE_MIXTURE if name == MIXTURE else OF_NETWORKS).items()
        for weight in weights
        for sampler in samplers
    ]
    first = {one["denoiser"]: one for one in reversed(every)}
    return sorted(every, key=lambda one: one is not first[one["denoiser"]])


def grid(data: Sequence[str] = DATASETS, seeds: int = SEEDS) -> Iterator[Configuration]:
    """The configurations: all of them with one seed before the next seed begins, the data sets in turn."""
    for seed in range(seeds):
        for together in zip_longest(*(_of(name, seed) for name in data)):
            yield from filter(None, together)


def trained(name: str, denoiser: str, seed: int) -> Run:
    """The training of a network that is told classes, by one of the recipes, or the same found in the cache."""
    data, settings = labelled(name, seed), BASE | NETWORKS[denoiser]
    sizes = {key: settings[key] for key in SIZES}
    recipe = {key: value for key, value in settings.items() if key not in {*SIZES, "train", "schedule"}}
    network = DiffusionGenerator(schedule=sigmoid(), classes=data.classes, seed=seed, **sizes)
    kept = Recipe(**recipe, checkpoints=(EARLY, recipe["epochs"]), seed=seed)
    return fit(network, data, kept, progress=False)


def guide(configuration: Configuration, label: str) -> Guided:
    """The guided denoiser of one class that a configuration describes."""
    name, denoiser, guidance, seed = (configuration[key] for key in ("data", "denoiser", "guidance", "seed"))
    aim: Denoiser
    base: Denoiser
    if denoiser == EXACT:
        data = labelled(name, seed)
        aim, base = (BestDenoiser(mixture(data, *which), sigmoid()) for which in ((label,), data.classes))
    else:
        run = trained(name, denoiser, seed)
        aim, base = given(run.model(), label), given(run.model(EARLY), label) if guidance == AUTO else run.model()
    return guided(aim, base, configuration["weight"], interval=INTERVALS.get(guidance))


def divergences(law: Law, points: Tensor, name: str) -> dict[str, float]:
    """How far (n, 2) points are from a law, in cells in which they can be counted, and what its own points read."""
    coarse = law.coarser(FINE)
    counts = histogram(points, coarse.grid)
    found = {}
    for measure, distance in {"KL": kl, "JS": jensen_shannon}.items():
        found[f"{measure} to {name}"] = distance(counts, coarse)
        found[f"real {measure} to {name}"] = real_reads(distance, coarse, len(points))
    return found


def measured(points: Tensor, configuration: Configuration, label: str) -> dict[str, float]:
    """All that is measured of points that were sampled of one class; nothing if some of them are not finite.

    Distances are multiples of what real sets read. The accuracy is the share of points that the laws say are of that
    class, and the real one that of the class's training points, which no law is made of. The powered law of
    autoguidance is not known, because nobody knows the density that belongs to its base.

    Args:
        points: (n, 2), in normalised units.
        configuration: by which they were sampled.
        label: the class.
    """
    if not points.isfinite().all():
        return {}
    name, seed = configuration["data"], configuration["seed"]
    known = laws(name, seed)
    found = {
        "accuracy": known.accuracy(points, label),
        "real accuracy": known.accuracy(labelled(name, seed).given(label).train, label),
        **multiples(points, name, seed, label),
        **divergences(known.parts[label], points, "class"),
    }
    if configuration["guidance"] != AUTO:
        found |= divergences(known.powered(label, configuration["weight"]), points, "powered")
    return found


def run(configuration: Configuration) -> list[dict[str, Any]]:
    """Sample by one configuration, and measure the points: a row for each class."""
    make, seed = SAMPLERS[configuration["sampler"]], configuration["seed"]
    rows = []
    for label in classes(labelled(configuration["data"], seed)):
        denoiser = guide(configuration, label)
        points = sample(denoiser, SIZE, seed=seed, sampler=make(denoiser.schedule, STEPS))
        found = measured(points, configuration, label)
        rows.append({"class": label, **{name: float(f"{value:.5g}") for name, value in found.items()}})
    return rows
