"""What guided samples are held against: data with classes, their laws on a grid, and real points of each class.

Of the mixture all of that is known exactly. It has two classes, and one of the two Gaussians of each lies among the
other class's; the second one lies apart. So it shows what guidance does where classes overlap, which continents hardly
do. Of points without a formula the laws are kernel estimates of the held-out points, which no network has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lab_utils.exact.gridded import Grid, Law, gridded, mixed, powered
from lab_utils.exact.kernels import fixed_kernels
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.measure.benchmark import Benchmark
from lab_utils.points.dataset import HELD_OUT, Dataset, Units, dataset

MIXTURE = "two classes"
MEANS = {
    "first": ((-1.4, 0.5), (0.2, 0.4)),
    "second": ((0.2, -0.4), (1.2, 0.1)),
}  # two Gaussians each, all equally likely
STD = 0.4  # of each along each axis
TRAIN = 5000
TOO_FEW = ("Oceania",)  # 426 towns leave no sets to say what real points read

MEASURES = ("energy distance", "blur", "strays", "coverage", "copies")
SETS = 5

FINE = 3  # cells of the laws, along each axis, in one in which points are counted
SIDES = {MIXTURE: 0.2}  # of a cell in which points are counted, in normalised units …
SIDE = 0.08  # … and of all other data: 4.3 degrees
MARGIN = 5  # cells around all points
KERNEL = SIDE / FINE  # the width of the kernels: 1.4 degrees, and just as wide as a cell of the laws


@lru_cache(maxsize=2)
def labelled(name: str, seed: int) -> Dataset:
    """The data with their classes, with training points of the seed's own.

    Args:
        name: "cities", whose classes are the continents; a shape that has parts; or `MIXTURE`.
        seed: of the split, and of the points of a shape.
    """
    if name != MIXTURE:
        return dataset(name, label="continent" if name == "cities" else "part", train=TRAIN, seed=seed)
    each = (TRAIN + HELD_OUT) // len(MEANS)
    seeds = range(len(MEANS) * seed, len(MEANS) * (seed + 1))  # no two classes of any two seeds have the same chance
    points = [
        GaussianMixture(torch.tensor(means), STD**2).sample(each, one)
        for means, one in zip(MEANS.values(), seeds, strict=True)
    ]
    labels = torch.arange(len(MEANS)).repeat_interleave(each)
    return Dataset.of(torch.cat(points), name, train=TRAIN, seed=seed, labels=labels, classes=(*MEANS,))


def classes(data: Dataset) -> tuple[str, ...]:
    """The classes that are asked for: those with enough points."""
    return tuple(label for label in data.classes if label not in TOO_FEW)


def mixture(data: Dataset, *labels: str) -> GaussianMixture:
    """The exact density of one class of the mixture, or of several together, in the data's normalised units."""
    means = torch.tensor([mean for label in labels for mean in MEANS[label]], dtype=torch.float64)
    return GaussianMixture((means - data.units.shift) / data.units.scale, (STD / data.units.scale) ** 2)


@dataclass(frozen=True, eq=False)
class Laws:
    """Laws of all points and of each class, in fine cells of one grid, in normalised units.

    Attributes:
        whole: p(x).
        parts: class → p(x|c).
        likeliest: (cells,) int64: in each cell the number of the class whose points are the likeliest there (Bayes).
    """

    whole: Law
    parts: dict[str, Law]
    likeliest: Tensor

    def powered(self, label: str, weight: float) -> Law:
        """p(x)^(1−w) p(x|c)^w over its integral, in fine cells."""
        return powered(self.whole, self.parts[label], weight)

    def accuracy(self, points: Tensor, label: str) -> float:
        """The share of (n, 2) points in cells whose likeliest class is `label`."""
        said = self.likeliest[self.whole.grid.places(points)]
        return float((said == [*self.parts].index(label)).double().mean())


@lru_cache(maxsize=2)
def laws(name: str, seed: int) -> Laws:
    """The laws of the classes of `labelled(name, seed)`: exact ones of the mixture, else kernel estimates."""
    data = labelled(name, seed)
    side = SIDES.get(name, SIDE)
    around = torch.cat([data.train, data.held_out])
    grid = Grid.around(around, side, margin=MARGIN * side).finer(FINE)
    densities, shares = {}, []
    for label in data.classes:
        held_out = data.given(label).held_out
        densities[label] = mixture(data, label) if name == MIXTURE else fixed_kernels(held_out, bandwidths=[KERNEL])
        shares.append(1.0 if name == MIXTURE else len(held_out))
    parts = {label: gridded(density.log_prob, grid) for label, density in densities.items()}
    joint = torch.stack(
        [law.log_mass.flatten() + torch.tensor(share).log() for law, share in zip(parts.values(), shares, strict=True)]
    )
    return Laws(mixed([*parts.values()], shares), parts, joint.argmax(dim=0))


@lru_cache(maxsize=12)
def _real(name: str, seed: int, label: str) -> tuple[Units, Benchmark]:
    """Real points of one class, to hold samples against, and the units in which its held-out points are normalised."""
    part = labelled(name, seed).given(label)
    units = Units.of(part.held_out)
    return units, Benchmark(units.normalise(part.held_out), units.normalise(part.train))


def multiples(points: Tensor, name: str, seed: int, label: str) -> dict[str, float]:
    """The distances of points of one class from its own held-out points, as multiples of what real sets read.

    Args:
        points: (n, 2), in the normalised units of the data. They are cut into sets as large as the real ones, `SETS`
            of them at most; what is left over is not used.
        name: of the data, as for `labelled` …
        seed: … and its seed.
        label: the class.
    """
    units, benchmark = _real(name, seed, label)
    size = min(benchmark.size, len(points))
    sets = units.normalise(points[: SETS * size]).split(size)
    whole = [one for one in sets if len(one) == size]
    return {measure: benchmark.multiple(measure, *whole) for measure in MEASURES}
