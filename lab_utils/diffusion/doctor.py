"""The schedule doctor: is a schedule healthy, and if it isn't, what is wrong with it?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab_utils.diffusion.schedules import Schedule

THRESHOLDS = (0.5, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Diagnosis:
    """What the schedule doctor found.

    Attributes:
        first, last: ᾱ after the first and the last noising step.
        passes: threshold → the number of noising steps after which ᾱ is below it, or None if it never is.
        wasted: share of all steps with ᾱ < 0.01, where almost nothing of the data is left to be learnt from.
        snr: the largest and the smallest signal-to-noise ratio.
        gap: Kullback–Leibler divergence in nats between q(x_T | x_0) and N(0, I), averaged over data of unit
            variance per axis (the prior term of Ho et al. 2020, eq. 5): −ln(1 − ᾱ_T) in the plane.
        left: √ᾱ_T, the share of each point's position that is still in x_T while sampling begins without it.
        amplification: the largest 1/√α: what a reverse step makes of an error in its input.
    """

    name: str
    timesteps: int
    first: float
    last: float
    passes: dict[float, int | None]
    wasted: float
    snr: tuple[float, float]
    gap: float
    left: float
    amplification: float

    @property
    def findings(self) -> list[str]:
        """What is wrong, a sentence each; empty for a healthy schedule."""
        found = []
        if self.left > 0.02:
            found.append(
                f"It never reaches noise: √ᾱ_T = {self.left:.1%} of every point is still there when sampling starts "
                "from N(0, I), which knows nothing of it."
            )
        jump = math.sqrt(1 - self.first)
        if jump > 0.05:
            found.append(f"Its first step adds noise of σ = {jump:.2f} at once, and blurs what is finer than that.")
        if self.wasted > 0.2:
            found.append(
                f"It reaches 0 too early: {self.wasted:.1%} of its steps have ᾱ < 0.01, where almost nothing of the "
                "data is left."
            )
        if self.amplification > 10:
            found.append(
                f"One reverse step multiplies by 1/√α = {self.amplification:.1f}: a network must be exact there, "
                "or its output must be built so that its error does not matter."
            )
        return found

    @property
    def verdict(self) -> str:
        """The findings in words."""
        return " ".join(self.findings) or "Healthy: it reaches noise, late enough, and no step is extreme."

    def rows(self) -> dict[str, str]:
        """The findings as labelled text, for a table."""
        return {
            "ᾱ, first step → last": f"{self.first:.6f} → {self.last:.2g}",
            **{
                f"ᾱ < {level:g} from step": "never" if step is None else f"{step} of {self.timesteps}"
                for level, step in self.passes.items()
            },
            "steps with ᾱ < 0.01": f"{self.wasted:.1%}",
            "SNR, first → last": f"{self.snr[0]:.3g} → {self.snr[1]:.2g}",
            "gap to N(0, I) at T": f"{self.gap:.2g} nats",
            "largest 1/√α": f"{self.amplification:.3g}",
        }

    def __str__(self) -> str:
        width = max(map(len, self.rows()))
        lines = [f"{label:<{width}}  {value}" for label, value in self.rows().items()]
        return "\n".join([f"{self.name}, T = {self.timesteps}", *lines, self.verdict])


def diagnose(schedule: Schedule) -> Diagnosis:
    """Examine a schedule."""
    curve = schedule.alphas_cumprod
    passes = {level: int((curve >= level).sum()) + 1 for level in THRESHOLDS}
    last = float(curve[-1])
    return Diagnosis(
        name=schedule.name,
        timesteps=schedule.timesteps,
        first=float(curve[0]),
        last=last,
        passes={level: step if step <= schedule.timesteps else None for level, step in passes.items()},
        wasted=float((curve < 0.01).double().mean()),
        snr=(float(schedule.snr[0]), float(schedule.snr[-1])),
        gap=-math.log1p(-last),
        left=math.sqrt(last),
        amplification=float(1 / schedule.alphas.min().sqrt()),
    )
