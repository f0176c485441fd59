"""Which noise goes with which point: independent pairs, or those of optimal transport within a batch.

Training draws as many noises as a batch has points. Any pairing of the two gives a flow from noise to data, because
that takes no more than the right noise and the right data, each as a whole (Lipman et al. 2023, theorem 1; Tong et al.
2024). Pairs that lie near each other cross less often, so the flow has straighter paths, which few
steps can follow (Pooladian et al. 2023; Tong et al. 2024).

A network of coupled pairs learns another function. Its answer is the mean noise of the *pairs* that lead to x_t, so

- no floor, no excess and no nats can be told of it: those are of the best denoiser of independent pairs;
- its noise is not the slope of a density any more (−σ ∇ log p, Tweedie's formula, holds for independent noise only), so
  samplers that add noise on their way are wrong for it. The ordinary differential equation is right: `euler`, `heun`,
  `midpoint`, `ddim`, `dpm_solver`, and the log-likelihood, which follows it backwards.

What is exchanged are the noises, never the points. So whatever belongs to a point, its label say, stays with it. If a
network is told labels, pairs are made class by class: else the noise of each class would be skewed, while sampling
starts from the same noise for all. That is right for the points whose label is left out, too: all pairs together have
the right noise and the right data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lab_utils.base.arguments import check_as_many, check_finite

COUPLINGS = ("independent", "optimal transport")
GIVEN = "given pairs"  # what a network has learnt from that was trained with noises of its own for its points
MOST = 10_000  # points: the solver then holds 4 GB, 40 bytes a pair


def optimal_pairs(points: Tensor, noises: Tensor) -> Tensor:
    """The pairing of the least sum of squared distances, exactly.

    POT's network simplex does it, because SciPy's `linear_sum_assignment` finds the same pairs in more than twice the
    time. It is dearer than what it is for: 500 pairs took 22 ms on a core that does a training step of 500 points in
    2.0 ms. 250 pairs took 4.3 ms, beside 2.5 ms for a step of so many by a network twice as wide; 100 took 0.8 ms, and
    50 took 0.3 ms. So with 500 points a batch a coupled training takes twelve times as long, and with 250 points and
    the wider network 2.7 times.

    Args:
        points: (n, 2) finite floats.
        noises: (n, 2) finite floats.

    Returns:
        (n,) int64, a permutation: noise number pairs[i] goes with point number i.

    Raises:
        ValueError: for other points or noises, or more than 10 000 of them.
    """
    check_as_many(points, noises, "points", "noises")
    if not len(points):
        return torch.zeros(0, dtype=torch.int64)
    check_finite(points, "the coupling's")
    check_finite(noises, "the coupling's noise")
    if len(points) > MOST:
        raise ValueError(f"optimal transport couples {MOST:,} points at most, in 4 GB; got {len(points):,}")
    import ot  # type: ignore[import-untyped]  # here, because it takes seconds to import

    costs = torch.cdist(points.double(), noises.double(), compute_mode="donot_use_mm_for_euclid_dist").square_()
    # A mass of 1 each: the simplex then adds and subtracts whole numbers, and its plan has 0 and 1 in it, nothing else.
    # It must go on to the optimum, however many iterations that takes.
    ones = torch.ones(len(points), dtype=torch.float64).numpy()
    plan = ot.emd(ones, ones, costs.numpy(), numItermax=10**9, center_dual=False, check_marginals=False)
    return torch.from_numpy(plan).argmax(dim=1)


def couple(how: str, points: Tensor, noises: Tensor, labels: Tensor | None = None) -> Tensor:
    """The noises, in an order in which each goes with the point at its place.

    Args:
        how: one of `COUPLINGS`: "independent" leaves them as they are, "optimal transport" takes `optimal_pairs`.
        points: (n, 2) floats, the points of a batch.
        noises: (n, 2) floats, as many.
        labels: (n,) int64, the classes of the points; noises are then exchanged within a class only.

    Returns:
        (n, 2): the same noises, each once.

    Raises:
        ValueError: for another coupling, and as for `optimal_pairs`.
    """
    if how not in COUPLINGS:
        raise ValueError(f"a coupling is one of {', '.join(COUPLINGS)}; got {how!r}")
    if how == "independent":
        return noises
    if labels is None:
        return noises[optimal_pairs(points, noises)]
    coupled = noises.clone()
    for number in labels.unique():
        ours = labels == number
        coupled[ours] = noises[ours][optimal_pairs(points[ours], noises[ours])]
    return coupled


def coupling_of(denoiser: Any) -> str:
    """How a denoiser was trained: "independent" unless it says otherwise."""
    return str(getattr(denoiser, "coupling", "independent"))


def check_independent(denoiser: Any, what: str) -> None:
    """Raise a `ValueError` if a denoiser was trained with coupled pairs, so that `what`, a clause, speaks against it.

    A trained network has its coupling as an attribute, as its recipe has; what has none is of independent pairs.
    """
    coupling = coupling_of(denoiser)
    if coupling != "independent":
        raise ValueError(
            f"{what}, and here the training has the coupling {coupling!r}: the best answer for coupled pairs is "
            "another one than that for independent pairs. Measure its samples instead, and take them by a sampler "
            "without noise: euler, heun, midpoint, ddim or dpm_solver"
        )
