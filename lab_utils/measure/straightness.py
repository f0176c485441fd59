"""How straight the paths from noise to data are, and how far they lead: a flow beside optimal transport.

Along the straight path of flow matching (see `diffusion.straight`) the flow dz/ds = u leads from noise at s = 1 to data
at s = 0. Three numbers, each a mean over points, in squared units of the normalised data, with |·|² the sum over both
coordinates, say what its paths are like:

- the path energy ∫ E|u|² ds, what the flow spends (Benamou & Brenier 2000);
- the straightness S = ∫ E|u − (z_1 − z_0)|² ds, 0 for straight paths at constant speed (Liu et al. 2023,
  section 2.2);
- the cost E|z_1 − z_0|² of leading each noise to its own point.

The energy is S + cost, because u is z_1 − z_0 in the mean along a path. And no pairing of these noises with these
points costs less than that of optimal transport, which is known exactly. So

    energy = S + cost ≥ cost ≥ cheapest,

and a flow that has the last value in all places is optimal transport itself. One step of Euler's is exact where S = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import is_whole
from lab_utils.diffusion.denoiser import Denoiser, check_denoiser
from lab_utils.diffusion.sampling import snapshots
from lab_utils.diffusion.straight import even_in_s, heun, places
from lab_utils.measure.mass import W2_MOST, w2

POINTS = 5000
STEPS = 100


@dataclass(frozen=True)
class Straightness:
    """What the paths of a flow are like; all in squared units of the normalised data.

    Attributes:
        energy: ∫ E|u|² ds.
        straightness: ∫ E|u − (z_1 − z_0)|² ds, 0 or more.
        cost: E|z_1 − z_0|².
        cheapest: the least cost with which the same noises could have been led to the same points.
    """

    energy: float
    straightness: float
    cost: float
    cheapest: float

    def __str__(self) -> str:
        """All four numbers, in a line."""
        return (
            f"path energy {self.energy:.3f} = straightness {self.straightness:.3f} + cost {self.cost:.3f}; the "
            f"cheapest transport of the same noise to the same points costs {self.cheapest:.3f}"
        )


def along_paths(z: Tensor, s: Tensor) -> tuple[float, float, float]:
    """Energy, straightness and cost of paths that are known at some places.

    Between two places a path is taken to be straight and even. So the energy is that of a polygon: never more than that
    of the path, and less by a share that falls with the square of the steps. It is straightness + cost, exactly.

    Args:
        z: (k, n, 2) floats, the n paths at k ≥ 2 places.
        s: (k,) floats, the places, falling or rising.

    Returns:
        Energy and straightness as integrals over s between the first and the last place, and the squared way between
        these two over the length in s. A length of 1 makes them what `Straightness` has.

    Raises:
        ValueError: for other shapes, or places that neither fall nor rise.
    """
    if z.ndim != 3 or z.shape[2] != 2 or s.shape != z.shape[:1] or len(s) < 2 or not z.shape[1]:
        raise ValueError(
            f"paths must have the shape (k, n, 2) with k ≥ 2 and n ≥ 1, and places (k,); got {tuple(z.shape)} and "
            f"{tuple(s.shape)}"
        )
    lengths = s.double().diff()
    if not ((lengths > 0).all() or (lengths < 0).all()):
        raise ValueError("the places of a path must fall or rise, each step by more than 0")
    velocities = z.double().diff(dim=0) / lengths.view(-1, 1, 1)
    lengths = lengths.abs()
    whole = float(lengths.sum())
    mean = (z[-1].double() - z[0].double()) / float(s[-1] - s[0])

    def integral(squares: Tensor) -> float:
        return float(squares.sum(dim=2).mean(dim=1) @ lengths)

    energy, straightness = integral(velocities.square()), integral((velocities - mean).square())
    return energy, straightness, whole * float(mean.square().sum(dim=1).mean())


def flow_paths(denoiser: Denoiser, n: int = POINTS, *, steps: int = STEPS, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Follow the flow of a denoiser from `n` noises to data.

    It is followed by Heun's method in steps that are even in s, from the schedule's last timestep, which stands a
    little before s = 1.

    Args:
        denoiser: anything that keeps the contract of `denoiser`; how its pairs were coupled doesn't matter.
        n: how many points.
        steps: of Heun's method, as many as the schedule has timesteps at most.
        seed: of the noises.

    Returns:
        (steps + 1, n, 2) float64, where the points stand on the straight path at each place, noise first; and the
        places, (steps + 1,) float64, falling to 0.

    Raises:
        TypeError: what is given is no denoiser.
        ValueError: for numbers of points or steps that can't be.
    """
    check_denoiser(denoiser)
    schedule = denoiser.schedule
    taken = even_in_s(schedule, steps)[::-1]
    after = [*range(0, 2 * steps - 1, 2), 2 * steps - 1]  # of Heun's answers, two a step but for the last
    found = snapshots(denoiser, n, after, seed=seed, sampler=heun(schedule, steps))
    kept = schedule.alphas_cumprod[taken]
    scale = torch.cat([kept.sqrt() + (1 - kept).sqrt(), torch.ones(1, dtype=torch.float64)])
    s = torch.cat([places(schedule)[taken], torch.zeros(1, dtype=torch.float64)])
    return torch.stack([found[k].double() for k in after]) / scale.view(-1, 1, 1), s


def straightness(denoiser: Denoiser, n: int = POINTS, *, steps: int = STEPS, seed: int = SEED) -> Straightness:
    """Follow the flow of a denoiser from `n` noises to data, by `flow_paths`, and say how straight its ways are.

    The cheapest transport is the exact one of these n noises and n points, by `distances`' W2: for 5000 of each it
    takes 1.1 GB and four seconds or so; the flow itself takes one.

    Args:
        denoiser: as for `flow_paths`.
        n: how many points, up to 10 000.
        steps: of Heun's method. Twice as many make a quarter of the error.
        seed: of the noises.

    Raises:
        TypeError: what is given is no denoiser.
        ValueError: for other numbers of points or steps.
    """
    check_denoiser(denoiser)
    if is_whole(n) and n > W2_MOST:
        raise ValueError(f"the cheapest transport is worked out for {W2_MOST:,} points at most; got {n:,}")
    z, s = flow_paths(denoiser, n, steps=steps, seed=seed)
    return Straightness(*along_paths(z, s), w2(z[0], z[-1]) ** 2 / float(s[0]))
