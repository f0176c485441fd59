"""Laws on a grid: a density in numbers, powers of densities made whole again, and how far points are from them.

A `Law` has the probability of each cell of a `Grid`. So all that is asked of it is a sum, and points are a law, too:
`histogram(points, grid)`. That is how the powered law of guidance, p(x)^(1−w) p(x|c)^w over its integral, becomes
something that samples can be held against, though nobody has a formula for its integral.

    grid = Grid.around(points, side=0.1)
    whole, part = (gridded(mixture.log_prob, grid.finer(4)) for mixture in (all_points, one_class))
    law = powered(whole, part, 3.0)                      # in fine cells, to look at, and to draw from
    kl(histogram(points, grid), law.coarser(4))          # in coarse cells, in which points can be counted …
    real_reads(kl, law.coarser(4), len(points))          # … and what as many points of the law itself read there

What is finer than a cell is not seen: two laws differ by no less than their cells do (the data processing inequality,
Cover & Thomas 2006, section 2.8). Counts differ from the law that they are drawn from, by about half the number of
cells over n in Kullback and Leibler's divergence. So every reading needs that of the law itself beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import as_points, check_finite, is_number, is_whole

EDGE = 1e-3  # of the mass in the outermost cells: more, and the grid is too small for a law
DRAWS = 20  # of points of a law, over which what it reads itself is a mean


@dataclass(frozen=True)
class Grid:
    """Cells of the plane, all of one size.

    Attributes:
        extent: left, right, bottom, top, in the units of the points.
        cells: columns and rows.

    Raises:
        ValueError: there are no cells, or the extent has no area.
    """

    extent: tuple[float, float, float, float]
    cells: tuple[int, int]

    def __post_init__(self) -> None:
        """Check both."""
        left, right, bottom, top = self.extent
        if not (all(map(math.isfinite, self.extent)) and left < right and bottom < top):
            raise ValueError(f"an extent is left < right and bottom < top, finite numbers; got {self.extent}")
        if not all(is_whole(count, least=1) for count in self.cells):
            raise ValueError(f"a grid has 1 column or more, and 1 row or more; got {self.cells}")

    @classmethod
    def around(cls, points: Tensor, side: float, *, margin: float = 0.0) -> Grid:
        """Square cells of that side that hold all of the (n, 2) points, and `margin` more on each side of them.

        Raises:
            ValueError: there are no points or they aren't finite, `side` isn't above 0, or `margin` is below.
        """
        check_finite(points)
        if not (is_number(side) and side > 0 and is_number(margin) and margin >= 0):
            raise ValueError(f"side must be a number above 0, and margin 0 or more; got {side!r} and {margin!r}")
        low, high = (points.double().amin(0) - margin).tolist(), (points.double().amax(0) + margin).tolist()
        counts = [math.floor((b - a) / side) + 1 for a, b in zip(low, high, strict=True)]
        right, top = (a + count * side for a, count in zip(low, counts, strict=True))
        return cls((low[0], right, low[1], top), (counts[0], counts[1]))

    def finer(self, parts: int) -> Grid:
        """The same with each cell cut in so many parts along each axis."""
        return Grid(self.extent, (self.cells[0] * parts, self.cells[1] * parts))

    @property
    def sides(self) -> tuple[float, float]:
        """How wide a cell is, and how high."""
        left, right, bottom, top = self.extent
        return (right - left) / self.cells[0], (top - bottom) / self.cells[1]

    @property
    def centres(self) -> Tensor:
        """The middles of the cells: (rows · columns, 2) float64, row by row from the lowest."""
        (columns, rows), (width, height) = self.cells, self.sides
        x = self.extent[0] + (torch.arange(columns, dtype=torch.float64) + 0.5) * width
        y = self.extent[2] + (torch.arange(rows, dtype=torch.float64) + 0.5) * height
        return torch.cartesian_prod(y, x).flip(1)

    def places(self, points: Tensor) -> Tensor:
        """The cell of each of the (n, 2) points: (n,) int64, counted as in `centres`.

        A point outside of the grid is in the cell at the edge that is nearest, so none is lost.

        Raises:
            ValueError: the points aren't finite, or have another shape or type.
        """
        check_finite(points)
        (columns, rows), (width, height) = self.cells, self.sides
        x = ((points[:, 0].double() - self.extent[0]) / width).floor().clamp(0, columns - 1)
        y = ((points[:, 1].double() - self.extent[2]) / height).floor().clamp(0, rows - 1)
        return (y * columns + x).long()


@dataclass(frozen=True, eq=False)
class Law:
    """The probability of each cell of a grid.

    Attributes:
        grid: where.
        log_mass: (rows, columns) float64, the logarithms of the probabilities; the lowest row first.
    """

    grid: Grid
    log_mass: Tensor

    @property
    def mass(self) -> Tensor:
        """The probabilities: (rows, columns) float64, which add up to 1."""
        return self.log_mass.exp()

    def sample(self, n: int, seed: int = SEED) -> Tensor:
        """Draw `n` independent points, each anywhere in its cell: (n, 2) float64. The same seed gives the same points.

        Raises:
            ValueError: if `n` is below 1.
        """
        if not is_whole(n, least=1):
            raise ValueError(f"n must be a whole number of 1 or more, not {n!r}")
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(self.mass.flatten(), n, replacement=True, generator=generator)
        within = torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5
        return self.grid.centres[drawn] + within * torch.tensor(self.grid.sides, dtype=torch.float64)

    def coarser(self, parts: int) -> Law:
        """The same law in cells that are each so many of these, along each axis.

        Raises:
            ValueError: the columns and rows can't be put together in such numbers.
        """
        columns, rows = self.grid.cells
        if not is_whole(parts, least=1) or columns % parts or rows % parts:
            raise ValueError(f"cells are put together {parts} by {parts}, and there are {columns} by {rows} of them")
        blocks = self.log_mass.reshape(rows // parts, parts, columns // parts, parts)
        return Law(Grid(self.grid.extent, (columns // parts, rows // parts)), blocks.logsumexp(dim=(1, 3)))


def gridded(log_prob: Callable[[Tensor], Tensor], grid: Grid) -> Law:
    """A density as a law: what it is in the middle of each cell, made whole.

    That is exact to eight digits for Gaussians as wide as a cell or wider, one or many (the trapezoidal rule); the mass
    outside of the grid is left out.

    Args:
        log_prob: (n, 2) float64 points → (n,) log densities, up to a constant: `GaussianMixture.log_prob`, say.
        grid: of cells that are fine enough.

    Raises:
        ValueError: the density is nowhere above 0, or somewhere no number.
    """
    columns, rows = grid.cells
    return _whole(log_prob(grid.centres).double().reshape(rows, columns), grid)


def _whole(log_mass: Tensor, grid: Grid) -> Law:
    total = log_mass.logsumexp(dim=(0, 1))
    if not total.isfinite():
        raise ValueError(f"a law needs cells with finite log densities; over all cells they sum to {float(total):g}")
    return Law(grid, log_mass - total)


def mixed(laws: Sequence[Law], shares: Sequence[float]) -> Law:
    """The law of points that are each of one of several laws, with chances in proportion to `shares`.

    Raises:
        ValueError: the laws stand on different grids, or are none or not as many as the shares.
    """
    if not laws or len(laws) != len(shares):
        raise ValueError(f"each law needs its share; got {len(laws)} laws and {len(shares)} shares")
    for law in laws:
        _check_grids(law, laws[0])
    logs = torch.tensor(shares, dtype=torch.float64).log()
    return _whole(
        torch.stack([law.log_mass + share for law, share in zip(laws, logs, strict=True)]).logsumexp(0), laws[0].grid
    )


def powered(whole: Law, part: Law, weight: float) -> Law:
    """p(x)^(1−w) p(x|c)^w over its integral: what guidance is often taken to sample from.

    Because p(x|c)/p(x) is p(c|x)/p(c), that is also p(x|c) p(c|x)^(w−1): the class, sharpened. For Gaussians it is the
    Gaussian of `guided_gaussians.powered_variance`.

    Args:
        whole: p(x) …
        part: … and p(x|c), on the same grid.
        weight: w, as in `diffusion.guidance`.

    Raises:
        ValueError: the weight is no finite number, the grids differ, or one of the two has cells without any mass, as
            counts have; or the law ends up at the edge of the grid: it needs a larger one, or is no density.
    """
    _check_grids(part, whole)
    if not is_number(weight):
        raise ValueError(f"the weight must be a finite number: 0 for the whole, 1 for the part; got {weight!r}")
    law = _whole((1 - weight) * whole.log_mass + weight * part.log_mass, whole.grid)
    inner = float(law.mass[1:-1, 1:-1].sum())
    if 1 - inner > EDGE:
        raise ValueError(
            f"of p(x)^{1 - weight:g} p(x|c)^{weight:g} {1 - inner:.2%} lies at the edge of the grid: it needs a larger "
            "grid, or is no density because it does not fall to the sides"
        )
    return law


def histogram(points: Tensor, grid: Grid) -> Law:
    """The law of one of (n, 2) points, picked at random: their shares in the cells; as for `Grid.places`."""
    columns, rows = grid.cells
    counts = torch.bincount(grid.places(as_points(points)), minlength=columns * rows).reshape(rows, columns)
    return Law(grid, (counts.double() / len(points)).log())


def _check_grids(law: Law, other: Law) -> None:
    if law.grid != other.grid:
        raise ValueError(f"both laws must stand on one grid; they stand on {law.grid} and {other.grid}")


def kl(law: Law, other: Law) -> float:
    """The divergence KL(law ‖ other) = Σ p log(p/q) of Kullback & Leibler 1951, in nats: 0 or more.

    It is infinite where the law has mass and the other has none. So counts of points come first. Single points where
    the other law has next to nothing can decide it; they can't decide `jensen_shannon`.

    Raises:
        ValueError: the laws stand on different grids.
    """
    _check_grids(law, other)
    there = law.log_mass > -math.inf
    return float((law.mass * (law.log_mass - other.log_mass))[there].sum())


def jensen_shannon(law: Law, other: Law) -> float:
    """The divergence of Jensen and Shannon, in nats (Lin 1991, eq. 4.1): the mean KL of both from the law between them.

    From 0 for the same law to log 2 for two that share no cell. Errors as for `kl`.
    """
    middle = mixed([law, other], [0.5, 0.5])
    return (kl(law, middle) + kl(other, middle)) / 2


def real_reads(
    distance: Callable[[Law, Law], float], law: Law, n: int, *, draws: int = DRAWS, seed: int = SEED
) -> float:
    """What `n` independent points of a law read against it, by `kl` or `jensen_shannon`: the mean over `draws` draws.

    Raises:
        ValueError: `n` or `draws` is below 1.
    """
    if not is_whole(draws, least=1):
        raise ValueError(f"draws must be a whole number of 1 or more, not {draws!r}")
    seeds = range(seed, seed + draws)
    return sum(distance(histogram(law.sample(n, each), law.grid), law) for each in seeds) / draws
