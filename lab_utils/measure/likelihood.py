"""The log-likelihood of points under a diffusion model: the flow that turns noise into its data, followed backwards.

A denoiser says how the density of noised points changes with the noise, and there is a flow that moves the points so
that their density changes in just the same way (Song et al. 2021, section 4.3). In x̄ = x_t/√ᾱ and σ = √((1−ᾱ)/ᾱ) it
is dx̄/dσ = ε (Karras et al. 2022, eq. 1 and 3; Song et al. 2020, eq. 14). With the angle φ = arctan σ, so that
√ᾱ = cos φ and √(1−ᾱ) = sin φ, the same flow moves the points as the model sees them:

    dx_t/dφ = (ε − sin φ · x_t) / cos φ

This velocity is the v of Salimans & Ho 2022. It is what the layers of `DiffusionGenerator` answer, and nothing besides,
unless they have another target. It needs no slope of a density, so it also holds for a training with coupled pairs. The
angle ends at 90°, where σ is infinite, so that the noisy end is as easy as any other place.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lab_utils import WORKERS
from lab_utils.base.arguments import check_points
from lab_utils.diffusion.denoiser import WRAP, Denoiser, check_denoiser
from lab_utils.diffusion.samplers import even_in_log_snr

BLOCK = 512  # points
NODES = 64


class FlowError(ValueError):
    """A flow that cannot be followed: it isn't finite, or the denoiser's answer has no derivative."""


@dataclass(frozen=True)
class MeanLogLikelihood:
    """The mean log density that a model gives to points, over all of them.

    Where a step folds the plane, several points lead to the same noise, so what the change of variables gives, with the
    determinant's absolute value, is no density: it integrates to 1 + 2 m, with m its mass where the determinant is
    negative. The mean takes it all the same, so that no point is left out. If m is about the folded share of the
    points, the density has a mean that is log(1 + 2 · share) lower once it is normalised.

    Attributes:
        mean: nats a point.
        error: its standard error, of the points.
        points: how many there are.
        folded: at how many of them a step folds the plane, even with all timesteps.
    """

    mean: float
    error: float
    points: int
    folded: int

    @property
    def share(self) -> float:
        """The folded share of the points, 0 … 1."""
        return self.folded / self.points

    @property
    def surplus(self) -> float:
        """By how many nats the mean is lower, roughly, once the density is normalised; 0 where nothing folds."""
        return math.log1p(2 * self.share)

    def __str__(self) -> str:
        """The mean with its standard error, and, where steps fold, at how many points and what that does."""
        text = f"{self.mean:.3f} ± {self.error:.3f} nats"
        if not self.folded:
            return text
        return (
            f"{text}, with {self.folded:,} of {self.points:,} points ({self.share:.2%}) at which the steps fold the "
            f"plane; if the density is normalised for that, the mean is about {self.surplus:.1g} nats lower"
        )


def log_likelihood(denoiser: Denoiser, points: Tensor, *, nodes: int = NODES) -> Tensor:
    """The log density, in nats, that a model gives to points.

    It is the density of the model's points as they are at t = 0, so it still has the first noise in it: compare it
    with densities that are blurred by the variance (1−ᾱ_0)/ᾱ_0. At the last timestep the points are taken to be
    N(0, I), as `sample` takes them.

    The flow is followed by Heun's method (Karras et al. 2022, algorithm 1) between some of the timesteps. To the log
    density each step adds the logarithm of its own determinant, exact to rounding: of the step as it is taken, not of
    the flow that it follows. So whatever the denoiser and the nodes, what comes out is the density of a transformed
    N(0, I), which integrates to 1, as long as no step folds the plane. The points at which one does, where its
    determinant is not above 0, are followed again with four times as many nodes, and again, up to all timesteps.

    With 64 nodes the mean over points of the trained city models is within 0.003 nats of that with all timesteps.

    Args:
        denoiser: anything that keeps the contract of `denoiser` and whose answer has a derivative; it is asked in
            float64.
        points: (n, 2) finite floats, normalised.
        nodes: how many timesteps to use, of a schedule that has more; see `even_in_log_snr`. The time grows with it.

    Returns:
        (n,) float64. NaN at points where steps fold even with all timesteps: they have no density, and a mean without
        them would be that of other points. `mean_log_likelihood` has a mean over all. The same whatever the number of
        cores.

    Raises:
        ValueError: for other points or nodes.
        FlowError: the answer has no derivative, or the flow isn't finite at some point, even with all timesteps.
    """
    values, folded = _follow_all(denoiser, points, nodes)
    return values.masked_fill(folded, math.nan)


def mean_log_likelihood(denoiser: Denoiser, points: Tensor, *, nodes: int = NODES) -> MeanLogLikelihood:
    """The mean log density of a model over all of the points, with the share of them at which the steps fold.

    Arguments and errors as for `log_likelihood`; there must be two points or more.
    """
    values, folded = _follow_all(denoiser, points, nodes)
    if len(values) < 2:
        raise ValueError(f"a mean log-likelihood and its error need two points or more; got {len(values)}")
    error = float(values.std()) / math.sqrt(len(values))
    return MeanLogLikelihood(float(values.mean()), error, len(values), int(folded.sum()))


def _follow_all(denoiser: Denoiser, points: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """For each point (n,) float64, what the change of variables gives, and (n,) bool, whether a step folds there."""
    check_denoiser(denoiser)
    check_points(points)
    if not points.isfinite().all():
        raise ValueError(f"points must be finite; {int((~points.isfinite()).any(dim=1).sum())} are not")
    most = denoiser.schedule.timesteps
    count = min(nodes, most)
    values, folded = _follow_blocks(denoiser, points, even_in_log_snr(denoiser.schedule, count))
    while folded.any() and count < most:
        count = min(4 * count, most)
        values[folded], folded[folded.clone()] = _follow_blocks(
            denoiser, points[folded], even_in_log_snr(denoiser.schedule, count)
        )
    if values.isnan().any():
        raise FlowError(
            f"at {int(values.isnan().sum())} of {len(values)} points the flow does not stay finite, even with all "
            f"{most} timesteps: the denoiser's answers are not finite there, or they grow without bounds"
        )
    return values, folded


def _follow_blocks(denoiser: Denoiser, points: Tensor, taken: list[int]) -> tuple[Tensor, Tensor]:
    """The same with these timesteps alone, on all cores."""
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            blocks = list(pool.map(lambda block: _follow(denoiser, block, taken), points.split(BLOCK)))
        finally:  # after an error, blocks that have not begun need not begin
            pool.shutdown(cancel_futures=True)
    return torch.cat([values for values, _ in blocks]), torch.cat([folded for _, folded in blocks])


def _follow(denoiser: Denoiser, points: Tensor, nodes: list[int]) -> tuple[Tensor, Tensor]:
    """The same of a block of points: (b, 2) → (b,) and (b,)."""
    alphas_cumprod = denoiser.schedule.alphas_cumprod
    angles = (1 / denoiser.schedule.snr).sqrt().arctan().tolist()
    identity = torch.eye(2, dtype=torch.float64)
    x = points.double() * alphas_cumprod[0].sqrt()
    log_determinants = alphas_cumprod[0].log().expand(len(x))
    folded = torch.zeros(len(x), dtype=torch.bool)
    for t, later in pairwise(nodes):
        step = angles[later] - angles[t]
        first, slope = _velocity(denoiser, x, t)
        second, slope_there = _velocity(denoiser, x + step * first, later)
        x = x + step * (first + second) / 2
        jacobian = identity + step * (slope + slope_there @ (identity + step * slope)) / 2
        determinants = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
        folded = folded | ~(determinants > 0)  # NaN, too
        log_determinants = log_determinants + determinants.abs().log()
    return log_determinants - x.square().sum(dim=1) / 2 - math.log(2 * math.pi), folded


def _velocity(denoiser: Denoiser, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """The flow's velocity dx_t/dφ, (b, 2), and its Jacobian, (b, 2, 2), both in float64."""
    signal = denoiser.schedule.alphas_cumprod[t].sqrt()
    noise = (1 - signal.square()).sqrt()
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        epsilon = denoiser.epsilon(x, torch.tensor([t]))
        if epsilon.dtype != x.dtype:
            raise FlowError(f"{type(denoiser).__name__} answers {x.dtype} points with {epsilon.dtype}; {WRAP}")
        if not epsilon.requires_grad:
            raise FlowError("the denoiser's answer does not depend on x_t in a way that PyTorch can differentiate")
        velocity = (epsilon - noise * x) / signal
        # no point's answer depends on another point, so the gradient of a sum holds each one's own
        rows = [torch.autograd.grad(velocity[:, row].sum(), x, retain_graph=row == 0)[0] for row in range(2)]
    return velocity.detach(), torch.stack(rows, dim=1)
