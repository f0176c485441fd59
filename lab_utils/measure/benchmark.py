"""How far generated points are from real ones, as a multiple of how far real ones are from each other.

Two independent sets of points from the truth are not at distance 0. So a distance has no floor: it has what two real
sets read, *real*, and is given as so many times that. The distances stand in `distances`, and what a multiple is worth
in `intervals`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import as_points, check_finite
from lab_utils.base.code import code_checksum
from lab_utils.base.devices import device_named, for_float64
from lab_utils.base.files import sha256
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.intervals import BLOCKS, SETS, Array, freedom, interval, mean_between, multiple, rank
from lab_utils.measure.matrices import Prepared, kept, matrix, prepared, without_blocks
from lab_utils.measure.neighbours import copies

SIZE = 5000  # points in a set, where there are so many
LEAST, MOST = 5, 10  # real sets: the size of a set leaves so many where it can, and more than the second are not used
NORMALISED = 0.5, 2.0  # between these the points' spread along an axis lies in normalised units
KEPT = 1000  # points: what sets of fewer read is worked out again about as soon as it is read
CODE = ("distance", "mass", "neighbours", "classifier", "matrices")  # modules that decide what real sets read


@dataclass(frozen=True)
class Measure:
    """What generated sets read in one distance, beside what real sets read.

    Attributes:
        value: mean distance from the generated sets to the real ones.
        real: mean distance between two real sets of the same size.
        multiple: value / real; infinite, or NaN, where real reads 0.
        interval: the 95 % interval of the multiple, over all that `varies` names; see `intervals`.
        varies: what the interval has the chance of.
        freedom: the degrees of freedom of Student's t in it.
        rank: the share of labellings that read at least as bad, with real sets in the place of generated ones; see
            `intervals.rank`. It can't be below one over the number of labellings, which is small where the sets are
            few: a sixth for one generated and five real sets.
        p_value: of a test: how likely so high a value is if the generated points are from the truth.
        higher_is_better: whether a multiple below 1 is worse than real.
    """

    value: float
    real: float
    multiple: float
    interval: tuple[float, float]
    varies: str
    freedom: int
    rank: float
    p_value: float | None = None
    higher_is_better: bool = False

    def __str__(self) -> str:
        chance = "" if self.p_value is None else f", p = {self.p_value:.2g}"
        return f"{self.multiple:.2f} × real [{self.interval[0]:.2f}, {self.interval[1]:.2f}]{chance}"


class Benchmark:
    """Held-out points, cut into disjoint real sets that every generated set is held against.

    All points are in normalised units, as tensors or arrays: the distances are made for these units.

    Args:
        held_out: (N, 2) real points that no model has seen.
        train: (M, 2) real points that the model has seen; with them, "copies" is known too.
        seed: of the cut.
        device: where the distances are worked out that are sums over all pairs, the energy distance and the MMD: "cpu",
            "cuda", "mps" or "auto", see `base.devices`. The others work on the processor. Points may be on either.

    Attributes:
        size: points in a set that one should generate: 5000, or as many as leave five real sets.
        known: the distances by their names.

    Raises:
        DeviceError: this machine has no such device.
        ValueError: if there are fewer than two held-out points, or these are not in normalised units.
    """

    def __init__(
        self,
        held_out: Tensor | NDArray[Any],
        train: Tensor | NDArray[Any] | None = None,
        *,
        seed: int = SEED,
        device: str = "cpu",
    ) -> None:
        self._device = device_named(device)
        held_out = as_points(held_out, "held_out").cpu()
        check_finite(held_out, "held_out")
        if len(held_out) < 2:
            raise ValueError(f"two real sets of a point each need 2 held-out points; there are {len(held_out)}")
        spread = float(held_out.double().var(dim=0, correction=0).mean().sqrt())
        if not NORMALISED[0] <= spread <= NORMALISED[1]:
            raise ValueError(
                f"the held-out points are not in normalised units: along an axis they spread by {spread:.3g}, where it "
                "should be about 1; normalise both them and what you measure: data.units.normalise(points)"
            )
        self.size = max(1, min(SIZE, len(held_out) // LEAST))
        self._held_out = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(seed))]
        self._train = None if train is None else as_points(train, "training").cpu()
        self.known = DISTANCES | ({} if self._train is None else {"copies": copies(self._train)})
        self._prepared: dict[tuple[str, int], Prepared] = {}
        self._between: dict[tuple[str, int], Array] = {}

    def names(self, size: int | None = None) -> tuple[str, ...]:
        """The distances that are taken between sets of so many points unless others are asked for."""
        size = self.size if size is None else size
        return tuple(name for name, known in self.known.items() if known.fits(size) and size < known.dear)

    def real_sets(self, size: int | None = None) -> list[Tensor]:
        """The held-out points as disjoint sets of `size` points, ten at most; what is left over is not used.

        Raises:
            ValueError: if there are too few held-out points for two such sets.
        """
        size, n = self.size if size is None else size, len(self._held_out)
        if size < 1:
            raise ValueError(f"a set has 1 point or more; got a size of {size}")
        if 2 * size > n:
            raise ValueError(
                f"sets of {size} points need two real sets of as many to say what real reads: {2 * size} held-out "
                f"points; there are {n}. Give sets of {self.size} points, which leave {n // self.size} real ones; "
                f"{n // 2} at most"
            )
        return [*self._held_out.split(size)][: min(n // size, MOST)]

    def between_real(self, name: str, size: int | None = None) -> Array:
        """(R, R) distances `name` between the real sets of that size; 0 on the diagonal.

        They are worked out once for the same points, and kept in the cache.

        Raises:
            ValueError: there is no such distance, or it can't be taken of such sets; as `real_sets` for the size.
        """
        size = self.size if size is None else size
        if (name, size) not in self._between:
            reals = self._prepare(name, size)
            self._between[name, size] = (
                matrix(self.known[name], reals, reals)
                if size < KEPT
                else kept(self._key(name, size), len(reals), lambda: matrix(self.known[name], reals, reals))
            )
        return self._between[name, size]

    def _key(self, name: str, size: int) -> str:
        """A checksum of all that decides what real sets read."""
        code = code_checksum(*(f"lab_utils.measure.{module}" for module in CODE))
        used = [self._held_out, *([self._train] if name == "copies" and self._train is not None else [])]
        points = b"".join(points.detach().numpy().tobytes() for points in used)
        return sha256(f"{code} {name} {size} {self._place(name)} ".encode() + points)[:16]

    def _place(self, name: str) -> torch.device:
        """Where that distance is worked out."""
        return self._device if self.known[name].movable else torch.device("cpu")

    def _taken(self, name: str, points: Tensor) -> Tensor:
        """A set of points, taken there."""
        place = self._place(name)
        return points.to(for_float64(place) if points.dtype == torch.float64 else place)

    def _prepare(self, name: str, size: int) -> Prepared:
        """The real sets, each with what the distance prepares of it."""
        if name not in self.known:
            hint = "; copies need the training points, as Benchmark(held_out, train)" if name == "copies" else ""
            raise ValueError(f"there is no distance {name!r}; choose one of {', '.join(self.known)}{hint}")
        if (name, size) not in self._prepared:
            sets = [self._taken(name, points) for points in self.real_sets(size)]
            self._prepared[name, size] = prepared(self.known[name], sets, f"{name}: held-out")
        return self._prepared[name, size]

    def _sets(self, name: str, generated: tuple[Tensor | NDArray[Any], ...]) -> Prepared:
        """The generated sets, each with what the distance prepares of it.

        Raises:
            ValueError: there is none, they are of several sizes, or the distance can't be taken of them.
        """
        if not generated:
            raise ValueError("nothing to measure: give at least one set of generated points")
        sets = [as_points(points, "generated") for points in generated]
        sizes = {len(points) for points in sets}
        if len(sizes) > 1:
            raise ValueError(f"the sets must be of one size; got sets of {sorted(sizes)} points")
        self._prepare(name, len(sets[0]))
        return prepared(self.known[name], [self._taken(name, points) for points in sets], "generated")

    def multiple(self, name: str, *generated: Tensor | NDArray[Any]) -> float:
        """The multiple alone, which takes a part of the time of `measure`. Arguments and errors as there."""
        sets = self._sets(name, generated)
        size = len(sets[0][0])
        return multiple(matrix(self.known[name], sets, self._prepare(name, size)), self.between_real(name, size))

    def measure(self, name: str, *generated: Tensor | NDArray[Any]) -> Measure:
        """Measure one or more sets of generated points by the distance `name`, beside real sets of the same size.

        Args:
            name: of the distance, one of `known`.
            generated: (n, 2) each, independent sets of the same size.

        Raises:
            ValueError: if there is no such distance or no set, if the sets are of several sizes, or larger than the
                held-out points allow.
        """
        sets = self._sets(name, generated)
        size = len(sets[0][0])
        distance, reals, between = self.known[name], self._prepare(name, size), self.between_real(name, size)
        to_real = matrix(distance, sets, reals)
        from_real = to_real.T if distance.symmetric else matrix(distance, reals, sets)
        every = np.block([[matrix(distance, sets, sets), to_real], [from_real, between]])
        blocks, varies = None, f"{len(sets)} generated sets"
        if len(sets) < SETS and distance.smooth and size >= 2 * BLOCKS and distance.fits(size - size // BLOCKS - 1):
            blocks = np.stack([without_blocks(distance, points, reals) for points, _ in sets])
            varies = f"the points of {len(sets)} generated set" + "s" * (len(sets) > 1)
        elif len(sets) == 1:
            varies = "not the generated set"
        return Measure(
            value=float(to_real.mean()),
            real=mean_between(between),
            multiple=multiple(to_real, between),
            interval=interval(to_real, between, blocks, points=size * len(sets) if distance.share else None),
            varies=f"{varies}, {len(reals)} real sets",
            freedom=freedom(len(sets), len(reals), blocks=blocks is not None),
            rank=rank(every, len(sets), higher_is_better=distance.higher_is_better),
            p_value=None if distance.p_value is None else distance.p_value([*to_real.diagonal()], size),
            higher_is_better=distance.higher_is_better,
        )

    def measure_all(self, *generated: Tensor | NDArray[Any], names: Iterable[str] | None = None) -> dict[str, Measure]:
        """Measure the sets by every distance in `names`, or by those of `Benchmark.names`; errors as in `measure`."""
        if names is None:
            names = self.names(len(generated[0]) if generated else None)
        return {name: self.measure(name, *generated) for name in names}
