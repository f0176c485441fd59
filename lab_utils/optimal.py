"""The best denoiser there can be, in closed form: no network has a smaller loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.points import check_points
from lab_utils.schedules import Denoiser, Schedule, check_timesteps

BLOCK = 256  # rows of a matrix of distances that are in memory at once


class BestDenoiser:
    """The exact E[ε | x_t] when the data are a finite set of points, each as likely as any other.

    It answers the same call as a model, so `sample` runs it too. It knows its points by heart: what it samples are
    those points again.

    Args:
        points: (N, 2) floats, normalised.
        schedule: the noise schedule.

    Raises:
        ValueError: if there are no points, or their shape or type is another.
    """

    def __init__(self, points: Tensor, schedule: Schedule) -> None:
        check_points(points)
        if not len(points):
            raise ValueError("the best denoiser needs at least one point; got none")
        self.points = points.double()
        self.schedule = schedule

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[ε | x_t] = (x_t − √ᾱ Σ w_i x_i) / √(1−ᾱ), w = softmax(−|x_t − √ᾱ x_i|² / 2(1−ᾱ)).

        Bayes' rule, with the likelihood of Ho et al. 2020, eq. 4 (see also Karras et al. 2022, eq. 57). Shapes and
        errors as in `DiffusionGenerator`; computed in float64, given in the precision of `x_t`.
        """
        check_points(x_t, "x_t")
        check_timesteps(t, self.schedule.timesteps, len(x_t))
        alphas_cumprod = self.schedule.alphas_cumprod[t].expand(len(x_t)).unsqueeze(1)
        blocks = zip(x_t.double().split(BLOCK), alphas_cumprod.split(BLOCK), strict=True)
        return torch.cat([self._block(x, a) for x, a in blocks]).to(x_t)

    def _block(self, x_t: Tensor, alphas_cumprod: Tensor) -> Tensor:
        signal, variance = alphas_cumprod.sqrt(), 1 - alphas_cumprod
        # |x_t − √ᾱ x_i|² = ᾱ |x_t/√ᾱ − x_i|²: in units of the data, cdist needs no copy of the points for each t
        squared = torch.cdist(x_t / signal, self.points, compute_mode="donot_use_mm_for_euclid_dist").square_()
        weights = torch.softmax(squared.mul_(-alphas_cumprod / (2 * variance)), dim=1)
        return (x_t - signal * (weights @ self.points)) / variance.sqrt()


def mean_loss(denoiser: Denoiser, points: Tensor, *, draws: int = 50_000, seed: int = SEED) -> tuple[float, float]:
    """The simple loss (Ho et al. 2020, eq. 14) of a denoiser on noised points, and the standard error of that number.

    Timesteps are spread evenly over 0 … T−1. The same seed gives the same noised points whatever the denoiser, so two
    of them differ by much less than the standard error says.

    Args:
        denoiser: a model, or the best denoiser.
        points: (N, 2) float32, normalised.
        draws: how many noised points to average over.
        seed: of the draws.
    """
    check_points(points)
    if not len(points) or draws < 2:
        raise ValueError(f"a mean loss needs at least one point and two draws; got {len(points)} and {draws}")
    schedule = denoiser.schedule
    generator = torch.Generator().manual_seed(seed)
    x_0 = points[torch.randint(0, len(points), (draws,), generator=generator)]
    t = torch.arange(draws) * schedule.timesteps // draws
    epsilon = torch.randn(draws, 2, generator=generator)
    with torch.inference_mode():
        errors = (denoiser.epsilon(schedule.q_sample(x_0, t, epsilon), t) - epsilon).double().square().mean(dim=1)
    # neighbours share nearly the same t, so their differences show the chance alone, not the loss's change along t
    variance = errors.diff().square().mean() / 2
    return float(errors.mean()), float((variance / draws).sqrt())


def loss_floor(points: Tensor, schedule: Schedule, *, draws: int = 50_000, seed: int = SEED) -> tuple[float, float]:
    """The smallest mean loss that any network can have on these points: that of `BestDenoiser`, as `mean_loss`.

    It is the floor of the loss that training shows. Only a network that knows every point by heart could reach it.
    """
    return mean_loss(BestDenoiser(points, schedule), points, draws=draws, seed=seed)
