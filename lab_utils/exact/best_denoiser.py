"""The best denoiser there can be, in closed form: no network has a smaller loss."""

from __future__ import annotations

import torch
from torch import Tensor

from lab_utils.base.arguments import check_points
from lab_utils.diffusion.schedules import Schedule, check_timesteps
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.exact.squares import UniformSquares


class BestDenoiser:
    """The exact E[ε | x_t] when the data's density is known, or they are finitely many points, all equally likely.

    It answers the same call as a model, so `sample` runs it too. Points it knows by heart: what it samples are those
    points again.

    Args:
        data: a density; or (N, 2) floats, normalised: a mixture of Gaussians without a width.
        schedule: the noise schedule.

    Raises:
        ValueError: if there are no points, their shape or type is another, or they are not finite.
    """

    def __init__(self, data: Tensor | GaussianMixture | UniformSquares, schedule: Schedule) -> None:
        if not isinstance(data, GaussianMixture | UniformSquares):
            check_points(data)
            if not len(data):
                raise ValueError("the best denoiser needs at least one point; got none")
            data = GaussianMixture(data, 0.0)
        self.mixture = data
        self.schedule = schedule

    def to(self, device: torch.device) -> BestDenoiser:
        """The same on that device; where that has no float64, it goes on working on the processor."""
        return BestDenoiser(self.mixture.to(device), self.schedule)

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[ε | x_t] = −σ ∇ log p(x̄; σ), with x̄ = x_t/√ᾱ, σ² = (1−ᾱ)/ᾱ and p(·; σ) the data's density blurred by σ.

        Tweedie's formula (Efron 2011, eq. 1.4; Karras et al. 2022, eq. 3). For points it is Bayes' rule, (x̄ − Σ w_i
        x_i)/σ with w = softmax(−|x̄ − x_i|²/2σ²) (Karras et al. 2022, eq. 57). Shapes and errors as in
        `DiffusionGenerator`; computed in float64, given in the precision of `x_t`.
        """
        check_points(x_t, "x_t")
        check_timesteps(t, self.schedule.timesteps, len(x_t))
        t = (t.reshape(()) if len(t.reshape(-1)) == 1 else t).cpu()
        tables = self.schedule.alphas_cumprod[t].sqrt(), 1 / self.schedule.snr[t]
        signal, variance = (table.to(self.mixture.means) for table in tables)
        score = self.mixture.score(x_t.to(signal) / signal.unsqueeze(-1), variance)
        return (-variance.sqrt().unsqueeze(-1) * score).to(x_t)
