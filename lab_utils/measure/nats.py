"""The excess in nats: how far a denoiser's samples can be from the truth, in the one unit that all denoisers share.

Losses of two schedules, targets or weightings can't be compared, and neither can their excesses. Nats can. With λ = log
SNR = log(ᾱ/(1−ᾱ)), ε* the best answer and ε̂ the denoiser's, for noised points of the truth,

    excess in nats = ½ ∫ E|ε̂ − ε*|² dλ,    |·|² the sum over both coordinates.

Why: x̄ = x_t/√ᾱ is a data point plus noise of the variance s = e^−λ. This noise is a Brownian motion in the time s, and
Anderson's (1982) equation leads back: dx̄ = score·ds + noise, with the score −ε*/√s. Put −ε̂/√s in its place. By
Girsanov's theorem the KL divergence of the two random ways, from their common end, is ½ ∫ E|ε̂ − ε*|²/s ds, and ds/s is
−dλ. What the ways lead to can't differ by more than they do. So

    KL(truth with the first noise ‖ what the stochastic sampler makes) ≤ excess in nats + `start`,

for a sampler with infinitely many steps from the last timestep to t = 0 (Song, Durkan et al. 2021, theorem 1; Kingma et
al. 2021, section 5.1). `start` is there because sampling starts from N(0, I), not from the noised truth. The two sides
are equal if the denoiser is the best one of another distribution, and sampling starts from that one, noised.

Two schedules are compared over the λ that both have: one whose first noise is smaller has to tell finer detail, and so
has more to lose. What the first noise hides is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import check_finite, is_whole
from lab_utils.diffusion.denoiser import Denoiser, check_denoiser
from lab_utils.measure.losses import Noised, along_t, answers, mean_and_error, squared

STRETCHES = 50  # of log-SNR, equally long


@dataclass(frozen=True)
class Nats:
    """What a denoiser loses against the best one.

    Attributes:
        total: the excess in nats, over all log-SNR of the schedule, from t = 0 to T − 1, or over a part of it.
        error: its standard error, of the noised points that were drawn. Denoisers that one `Truth` measures are asked
            about the same noised points, so there is less chance in their difference than their errors say.
        start: nats, by which the bound is at most higher because sampling starts from N(0, I).
        log_snr: (50,) the middles of equal stretches of log-SNR, falling.
        density: (50,) nats for each unit of log-SNR there; times the length of a stretch they add up to the total.
    """

    total: float
    error: float
    start: float
    log_snr: Tensor
    density: Tensor

    def __str__(self) -> str:
        """The total with its standard error, both as far as the error's first digit."""
        digits = max(0, -math.floor(math.log10(self.error))) if 0 < self.error < math.inf else 3
        return f"{self.total:.{digits}f} ± {self.error:.{digits}f} nats"


class Truth:
    """Noised points of the truth and the best answers to them, against which any denoiser is held.

    The noised points are spread evenly over log-SNR, each at the nearest timestep. That is the trapezoidal rule over
    the timesteps of the schedule; between them a denoiser can't be asked.

    Args:
        best: the best denoiser of the truth, for example `BestDenoiser` of a mixture or of all points there are.
        points: (N, 2) finite floats, normalised: the truth's points, or enough draws from it. That they are few is
            not in the standard error.
        draws: how many points are noised, a multiple of 50.
        seed: of the draws.
        log_snr: from where to where to integrate, (least, most); unless given, over all that the schedule has.

    Raises:
        ValueError: there are no points, or others than finite float32 or float64 (N, 2); for other draws; the schedule
            has a single timestep, so there is nothing to integrate over; or it does not reach as far as `log_snr`.
    """

    def __init__(
        self,
        best: Denoiser,
        points: Tensor,
        *,
        draws: int = 20_000,
        seed: int = SEED,
        log_snr: tuple[float, float] | None = None,
    ) -> None:
        check_denoiser(best)
        check_finite(points, "the truth's")
        if not is_whole(draws, least=STRETCHES) or draws % STRETCHES:
            raise ValueError(f"draws must be a multiple of {STRETCHES}, as many for each stretch; got {draws!r}")
        self.schedule = best.schedule
        if self.schedule.timesteps < 2:
            raise ValueError("an integral over log-SNR needs a schedule of two timesteps or more; this one has 1")
        reach = float(self.schedule.snr[-1].log()), float(self.schedule.snr[0].log())
        least, self._most = log_snr or reach
        if not reach[0] <= least < self._most <= reach[1]:
            raise ValueError(f"log_snr must rise within {reach[0]:.4g} … {reach[1]:.4g}, the schedule's; got {log_snr}")
        self._span = self._most - least
        self._noised = self._noise_evenly(points, int(draws), seed)
        self._best = answers(best, self._noised)
        last = self.schedule.alphas_cumprod[-1]
        # KL(N(√ᾱ x, (1−ᾱ) I) ‖ N(0, I)), as a mean over x; that of the mean is lower, because KL is convex
        size = points.double().square().sum(dim=1).mean()
        self._start = float(last * size / 2 - last - (-last).log1p())

    def excess(self, denoiser: Denoiser) -> Nats:
        """The excess of a denoiser in nats, in all and along log-SNR.

        Raises:
            ValueError: the denoiser has another schedule than the truth, so its noised points are others; or it was
                trained with coupled pairs, so its best answers are others.
        """
        check_denoiser(denoiser)
        if not torch.equal(denoiser.schedule.betas, self.schedule.betas):
            raise ValueError(
                f"the truth was noised by {self.schedule}, and the denoiser has {denoiser.schedule}; make a Truth with "
                "the denoiser's own schedule, `denoiser.schedule`; the nats can be compared all the same"
            )
        # half the sum over two coordinates is their mean
        values = squared(answers(denoiser, self._noised), self._best)
        mean, error = mean_and_error(values)
        middles = self._most - self._span * (torch.arange(STRETCHES, dtype=torch.float64) + 0.5) / STRETCHES
        return Nats(self._span * mean, self._span * error, self._start, middles, along_t(values, STRETCHES))

    def _noise_evenly(self, points: Tensor, draws: int, seed: int) -> Noised:
        """Some of the points, (N, 2), noised: one at a random place in each of so many equal stretches of log-SNR."""
        generator = torch.Generator().manual_seed(seed)
        places = (torch.arange(draws) + torch.rand(draws, generator=generator, dtype=torch.float64)) / draws
        fall = -self.schedule.snr.log()
        middles = (fall[1:] + fall[:-1]) / 2
        t = torch.bucketize(self._span * places - self._most, middles)  # the nearest timestep
        x_0 = points[torch.randint(0, len(points), (draws,), generator=generator)].float()
        epsilon = torch.randn(draws, 2, generator=generator)
        return Noised(self.schedule.q_sample(x_0, t, epsilon), t, epsilon)
