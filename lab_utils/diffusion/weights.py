"""How t is drawn in training, and how much the error at t counts.

The lab's loss is the mean squared error of ε. No weight changes which answer is the best one at t. But a network of
finite size, in a training of finite length, gets right what counts. To draw t more often and to count its error more
come to the same in the mean; they differ in how much the batches scatter.

A target's own loss is a weight, too: with ε = skip · x_t + scale · answer (see `targets`), the squared error of the
answer is that of ε over scale². So

- "x": (1−ᾱ)/ᾱ, one over the signal-to-noise ratio;
- "v": 1/ᾱ (with x instead of v that is the "SNR+1 weighting" of Salimans & Ho 2022, section 4);
- "velocity": (√ᾱ + √(1−ᾱ))²/ᾱ, the loss of flow matching;

and the weight of ε itself is "uniform". A network need not predict what its loss is of. Which papers are which choice:

| recipe | schedule | target | timesteps | weights | sampler |
|---|---|---|---|---|---|
| DDPM (Ho et al. 2020) | `linear` | "epsilon" | "uniform" | "uniform" | `ancestral` |
| v-prediction (Salimans & Ho 2022) | `cosine` | "v" | "uniform" | "v" | `ddim` |
| EDM (Karras et al. 2022) | any | "v" | "log-normal" | "v" | `heun`, at σ's of their own |
| flow matching (Lipman et al. 2023), rectified flow (Liu et al. 2023) | `flow` | "velocity" | "uniform" | "velocity" | `euler` |
| Stable Diffusion 3 (Esser et al. 2024, section 3.1) | `flow` | "velocity" | "logit-normal" | "velocity" | `euler` |
| with couplings (Pooladian et al. 2023, Tong et al. 2024) | `flow` | "velocity" | "uniform" | "velocity" | `euler` |
| the lab's, of 2023 and after | `sigmoid` | "v" | "uniform", "detail" | "uniform" | `sde_dpm_solver` |

The last but one has `coupling="optimal transport"` besides; see `couplings`. EDM's preconditioning and weight, with the
data's variance of 1, are target and loss v: c_skip x_t/√ᾱ + c_out F = √ᾱ x_t − √(1−ᾱ) v with F = −v.
"""  # noqa: E501  # a table

from __future__ import annotations

import math

import torch
from torch import Tensor

from lab_utils.diffusion.schedules import Schedule
from lab_utils.diffusion.targets import skip_and_scale

# which share of the timesteps is drawn evenly in log-SNR, and above which log-SNR; the rest evenly in t
EVEN = {"uniform": (0.0, -math.inf), "log-SNR": (1.0, -math.inf), "detail": (0.75, 2.0)}
# ln(σ/α) is normal, with this mean and this standard deviation. EDM's −1.2 is for data of standard deviation 1/2.
NORMAL = {"logit-normal": (0.0, 1.0), "log-normal": (-1.2 + math.log(2), 1.2)}
TIMESTEPS = (*EVEN, *NORMAL)
ERRORS = ("x", "v", "velocity")
WEIGHTS = (*TIMESTEPS, *ERRORS)
LEAST_SCALE = 1e-5  # float32 rounds ε to 6e-8 of itself; that over the scale is the rounding of the answer


def timestep_probabilities(schedule: Schedule, how: str) -> Tensor:
    """(T,) float64: how likely each timestep is when t is drawn as `how`, one of `TIMESTEPS`, says.

    "uniform" treats all timesteps alike. "log-SNR" gives each the stretch of log-SNR that it stands for, so that all
    levels of noise are equally likely, whatever the schedule (Kingma et al. 2021, section 5.1). "detail" draws three of
    four so where noise makes up an eighth of the variance or less (log-SNR above 2), where the fine features of the
    data are; the fourth one, evenly in t, keeps the network right everywhere else.

    The other two draw ln(σ/α), which is minus a half of log-SNR, from a normal distribution, again whatever the
    schedule; what lies outside of the schedule is left out. With "logit-normal" it is N(0, 1): because σ/α = s/(1−s),
    this is the logit of the place s on the straight path (Esser et al. 2024, section 3.1). "log-normal" is
    N(−1.2, 1.2²) for the logarithm of the noise over twice the data's standard deviation (Karras et al. 2022, table 1,
    with their σ_data = 1/2).

    Raises:
        ValueError: the schedule has no stretch of log-SNR to draw from.
    """
    log_snr = schedule.snr.log()
    edges = torch.cat([log_snr[:1], (log_snr[1:] + log_snr[:-1]) / 2, log_snr[-1:]])
    if how in NORMAL:
        mean, deviation = NORMAL[how]
        chances: Tensor = torch.special.ndtr((-edges / 2 - mean) / deviation).diff().clamp(min=0)
        if chances.sum() > 0:
            return chances / chances.sum()
    else:
        share, lowest = EVEN[how]
        edges = edges.clamp(min=lowest)
        if not share or edges[0] > edges[-1]:
            return (1 - share) / schedule.timesteps - share * edges.diff() / (edges[0] - edges[-1])
    raise ValueError(
        f"timesteps can't be drawn as {how!r} with {schedule}: it has at most one to draw, "
        f"because its log-SNR runs from {float(log_snr[0]):.3g} to {float(log_snr[-1]):.3g}; take another way, or "
        "a schedule that begins with less noise"
    )


def loss_weights(schedule: Schedule, how: str) -> Tensor:
    """(T,) float64: how often the squared error of ε counts at each timestep, with `how` one of `WEIGHTS`.

    Of `TIMESTEPS` it is T times their chance, 1 in the mean; so the loss is what it would be if t were drawn that way.
    Of `ERRORS` it is 1/scale², and the loss that is told is that of x, v or the velocity itself.

    Raises:
        ValueError: as for `timestep_probabilities`; or the schedule leaves so little of the data that the error of ε,
            in float32, does not tell the other one any more.
    """
    if how not in ERRORS:
        return timestep_probabilities(schedule, how) * schedule.timesteps
    _, scale = skip_and_scale(how, schedule.alphas_cumprod)
    if not scale.abs().min() >= LEAST_SCALE:
        raise ValueError(
            f"the loss can't be that of {how!r} with {schedule}: at its last timestep ᾱ is "
            f"{float(schedule.alphas_cumprod[-1]):.2g}, so the error of {how!r} would be that of ε over "
            f"{float(scale.abs().min()):.2g}, and float32 rounds too coarsely for that; take a schedule that leaves "
            "more of the data, or other weights"
        )
    return scale.square().reciprocal()
