"""Distances that see where the mass is: energy distance, MMD, sliced and exact Wasserstein distances.

Sums over all pairs are kept as numbers: a small tensor that stays alive for each block keeps the block's own memory
from being used again, which came to gigabytes for 40 000 points. Only W2 needs a whole matrix, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lab_utils.base.arguments import check_finite
from lab_utils.measure.distance import Distance

PAIRS = 2**18  # of a matrix of distances in memory at once: as many as fit into a core's own cache
AT_ONCE = 2**24  # … on another device, whose every call takes as long for a few
DIRECTIONS = 64  # of the sliced distance: enough for it to change by less than 0.1 % when the points are turned
FAINT = 1e-9  # a kernel below this counts as 0: its powers would be numbers so small that processors slow down
OCTAVES = 5  # bandwidths of the MMD's kernels: 1, 1/2 … 1/16, from the whole picture down to its finer detail
W2_DEAR = 1501  # points: 1500 take a quarter of a second
W2_MOST = 10_000  # points: the solver then holds 4 GB, for 40 bytes a pair were measured, and takes some 20 s


# --- energy distance and MMD: means over all pairs


def _squares(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """The squared distances between all pairs, in blocks of rows, in the finer precision of the two sets.

    In the plane two subtractions do it, three times as fast as `torch.cdist`, which loops over the coordinates.
    """
    finer = torch.promote_types(x.dtype, y.dtype)
    across, up = y.detach().to(finer).T.contiguous()
    rows = max(1, (PAIRS if x.device.type == "cpu" else AT_ONCE) // len(y))
    for block in x.detach().to(finer).split(rows):
        dx, dy = block[:, :1] - across, block[:, 1:] - up
        yield dx.square_().addcmul_(dy, dy)


def _total(block: Tensor) -> float:
    """The sum: each row's in its own precision, which is fast; and theirs, whose errors go both ways, in double."""
    return float(block.sum(dim=1).cpu().sum(dtype=torch.float64))


def mean_distance(x: Tensor, y: Tensor) -> float:
    """Mean distance between all pairs of (n, 2) `x` and (m, 2) `y`, in bounded memory. Errors as `check_finite`."""
    check_finite(x, "x")
    check_finite(y, "y")
    return math.fsum(_total(block.sqrt_()) for block in _squares(x, y)) / (len(x) * len(y))


def _own_mean_distance(points: Tensor) -> float:
    return mean_distance(points, points)


def _energy_distance(x: Tensor, spread_x: float, y: Tensor, spread_y: float) -> float:
    return 2 * mean_distance(x, y) - spread_x - spread_y


energy_distance = Distance(
    """Energy distance 2 E|X−Y| − E|X−X'| − E|Y−Y'| (Székely & Rizzo 2013, eq. 6.1): 0 or more.

    It sees where the mass is, and little of its fine detail.
    """,
    prepare=_own_mean_distance,
    between=_energy_distance,
    symmetric=True,
    movable=True,
)


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Σ k(x_i, y_j) over all pairs, k the sum of the Gaussian kernels."""
    sums = []
    for block in _squares(x, y):
        kernel = block.mul_(-0.5).exp_()  # of bandwidth 1
        sums.append(_total(kernel))
        for _ in range(OCTAVES - 1):
            torch.threshold_(kernel, FAINT, 0.0)
            kernel.square_().square_()  # exp(−d²/2σ²) to the fourth has half the bandwidth; much cheaper than exp
            sums.append(_total(kernel))
    return math.fsum(sums)


def _own_kernel_mean(points: Tensor) -> float:
    return _kernel_sum(points, points) / len(points) ** 2


def _mmd(x: Tensor, own_x: float, y: Tensor, own_y: float) -> float:
    return own_x + own_y - 2 * _kernel_sum(x, y) / (len(x) * len(y))


mmd = Distance(
    """Squared maximum mean discrepancy (Gretton et al. 2012, eq. 5) of a sum of Gaussian kernels: 0 or more.

    Its bandwidths are 1, 1/2 … 1/16, in normalised units; it has no unit itself. It sees where the mass is, and more of
    the detail than the energy distance does. (The estimate without bias, eq. 3, is about 0 between real draws: nothing
    that a multiple could be taken of.)
    """,
    prepare=_own_kernel_mean,
    between=_mmd,
    symmetric=True,
    movable=True,
)


# --- Wasserstein distances


def _slices(points: Tensor) -> Tensor:
    """(DIRECTIONS, n): the points as seen along each direction, in order."""
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * (math.pi / DIRECTIONS)
    directions = torch.stack([angles.cos(), angles.sin()]).to(points)
    return (points.detach() @ directions).T.sort(dim=1).values


def _sliced_w1(x: Tensor, slices_x: Tensor, y: Tensor, slices_y: Tensor) -> float:
    n, m = len(x), len(y)
    # In one dimension the points are matched in order: W1 = ∫|F⁻¹(q) − G⁻¹(q)| dq, where the quantiles F⁻¹ step at
    # q = i/n and G⁻¹ at j/m. The steps are counted in whole numbers, in 1/nm.
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    weights = steps.diff(prepend=torch.zeros(1, dtype=torch.int64)).double() / (n * m)
    i, j = (steps - 1) // m, (steps - 1) // n
    each = [(a[i] - b[j]).abs().double() @ weights for a, b in zip(slices_x, slices_y, strict=True)]
    return float(torch.stack(each).mean())


sliced_w1 = Distance(
    """Sliced Wasserstein-1 (Bonneel et al. 2015): how far points must move on average, seen along one direction.

    The mean over equally spaced directions; a shift by s reads 2s/π. It sees where the mass is.
    """,
    prepare=_slices,
    between=_sliced_w1,
    symmetric=True,
)


def _nothing(points: Tensor) -> None:
    """What is prepared where nothing is needed of one set alone."""


def _w2(x: Tensor, _: None, y: Tensor, __: None) -> float:
    import ot  # type: ignore[import-untyped]  # here, because it takes seconds to import

    mean_x, mean_y = x.detach().double().mean(0), y.detach().double().mean(0)
    # W2² = |difference of the means|² + W2² of the centred sets (Peyré & Cuturi 2019, remark 2.19), which the solver
    # does faster. It runs on one thread; the number of its iterations must not be what ends it.
    costs = torch.cdist(x.detach() - mean_x, y.detach() - mean_y, compute_mode="donot_use_mm_for_euclid_dist").square_()
    centred = ot.emd2([], [], costs.numpy(), numItermax=10**9, center_dual=False, check_marginals=False)
    return math.sqrt(max(0.0, float(centred) + float((mean_x - mean_y).square().sum())))


w2 = Distance(
    """Wasserstein-2, exactly (Peyré & Cuturi 2019, eq. 2.24): the root mean square way of the cheapest transport.

    It sees all, but two real draws are already far apart in it, and it is dear.
    """,
    prepare=_nothing,
    between=_w2,
    symmetric=True,
    most=W2_MOST,
    dear=W2_DEAR,
)
