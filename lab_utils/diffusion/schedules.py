"""Noise schedules: how fast the data disappear, and the forward process.

A timestep is an index `t` in 0 … T−1; `alphas_cumprod[t]` is ᾱ after t+1 noising steps, and before t = 0 stands
the data, where ᾱ = 1. All arithmetic on schedules is done in float64: a sigmoid's last ᾱ is some 1e-7, and its
last α 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from lab_utils.base.arguments import check_as_many, is_whole

MOST_TIMESTEPS = 1_000_000  # there are tables with a row for each
READINGS = ("raw", "ends", "clipped")  # of "a rescaled sigmoid"
MAX_BETA = 0.999  # Nichol & Dhariwal 2021, section 3.2: no single step may take everything away


class ScheduleError(ValueError):
    """A schedule that cannot be used, and why."""


def check_timesteps(t: Tensor, timesteps: int, points: int | None = None) -> None:
    """Raise a `ScheduleError` unless `t` holds indices of timesteps: int64, shape () or (1,) or (points,)."""
    if not isinstance(t, Tensor):
        raise ScheduleError(f"t must be an int64 tensor of timesteps, not {type(t).__name__}; write torch.tensor(t)")
    if t.dtype != torch.int64:
        raise ScheduleError(f"t must be an int64 tensor of timesteps, not {t.dtype}")
    if t.shape not in {(), (1,)} and (t.dim() != 1 or (points is not None and len(t) != points)):
        per_point = "(n,)" if points is None else f"({points},)"
        raise ScheduleError(
            f"t must have the shape (), (1,) or {per_point}, one timestep for all points or one for each; "
            f"it has the shape {tuple(t.shape)}"
        )
    if len(t.reshape(-1)) and not (int(t.min()) >= 0 and int(t.max()) < timesteps):
        raise ScheduleError(f"t must lie in 0 … {timesteps - 1}; it runs from {int(t.min())} to {int(t.max())}")


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule of T steps, given by its betas; it checks itself when it is made.

    Attributes:
        betas: (T,) float64, the variance that each noising step adds (Ho et al. 2020, eq. 2).
        config: what made it, in words and numbers: enough for `from_config` to make it again. Unless given, the kind
            "custom" and the betas themselves.

    Raises:
        ScheduleError: unless all betas are finite and lie strictly between 0 and 1, and ᾱ falls at every step; or if
            `config` makes other betas.
    """

    betas: Tensor
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check, in the order in which the reasons explain each other."""
        betas = torch.as_tensor(self.betas, dtype=torch.float64)
        object.__setattr__(self, "betas", betas)
        if betas.dim() != 1 or not len(betas):
            raise ScheduleError(f"betas must have the shape (T,) with T of 1 or more, not {tuple(betas.shape)}")
        for broken, rule in (
            (~torch.isfinite(betas), "finite"),
            (betas <= 0, "greater than 0 (a step that adds no noise cannot be undone: 0/0 in the posterior)"),
            (betas >= 1, "less than 1 (a step that leaves nothing of the data cannot be undone: 1/√α is infinite)"),
        ):
            if broken.any():
                t = int(broken.nonzero()[0])
                raise ScheduleError(f"every beta must be {rule}; the beta of t = {t} is {float(betas[t]):.6g}")
        stuck = ~((self.alphas_cumprod < self.alphas_cumprod_prev) & (self.alphas_cumprod > 0))
        if stuck.any():
            raise ScheduleError(
                "alphas_cumprod must fall at every step, from 1 before the first, and stay above 0; at "
                f"t = {int(stuck.nonzero()[0])} it does not: the betas are too small or too many for float64"
            )
        if not self.config:
            object.__setattr__(self, "config", {"kind": "custom", "betas": betas.tolist()})
        elif not torch.equal(betas, _betas(self.config)):
            raise ScheduleError(
                f"these betas are not those that the config {self.config!r:.200} makes; leave the config out, and the "
                "schedule is a custom one"
            )

    def __str__(self) -> str:
        """What it is, in a line."""
        given = [f"{name} = {value}" for name, value in self.config.items() if name not in {"kind", "betas"}]
        if self.name == "custom":
            given = [f"T = {self.timesteps}", f"last ᾱ = {float(self.alphas_cumprod[-1]):.3g}"]
        return f"{self.name} ({', '.join(given)})"

    @property
    def timesteps(self) -> int:
        """T, the number of noising steps."""
        return len(self.betas)

    @property
    def name(self) -> str:
        """What it is called in tables and legends."""
        return str(self.config["kind"])

    @cached_property
    def alphas(self) -> Tensor:
        """(T,) α = 1 − β."""
        return 1 - self.betas

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """(T,) ᾱ_t = ∏ α_s, the share of the data's variance that is left (Ho et al. 2020, eq. 4)."""
        return self.alphas.cumprod(0)

    @cached_property
    def alphas_cumprod_prev(self) -> Tensor:
        """(T,) ᾱ one step earlier; 1, the data, before the first."""
        return torch.cat([torch.ones(1, dtype=torch.float64), self.alphas_cumprod[:-1]])

    @cached_property
    def snr(self) -> Tensor:
        """(T,) signal-to-noise ratio ᾱ / (1 − ᾱ) (Kingma et al. 2021, eq. 2)."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_variance(self) -> Tensor:
        """(T,) β̃_t, the variance of q(x_{t−1} | x_t, x_0) (Ho et al. 2020, eq. 7); 0 at t = 0."""
        return self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    def _check(self, points: Tensor, t: Tensor, epsilon: Tensor) -> None:
        check_as_many(points, epsilon, "points", "epsilon")
        check_timesteps(t, self.timesteps, len(points))

    def q_sample(self, x_0: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Noise in one shot: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε (Ho et al. 2020, eq. 4).

        Args:
            x_0: (n, 2) points.
            t: (), (1,) or (n,) int64.
            epsilon: (n, 2) standard normal noise.

        Returns:
            (n, 2) noised points, in the precision of `x_0`.

        Raises:
            ValueError: if an argument has another shape, or holds other numbers.
        """
        self._check(x_0, t, epsilon)
        alphas_cumprod = self.alphas_cumprod[t.cpu()].reshape(-1, 1)
        return alphas_cumprod.sqrt().to(x_0) * x_0 + (1 - alphas_cumprod).sqrt().to(x_0) * epsilon

    def q_step(self, x_prev: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """Noise by the one step t: x_t = √α_t x_{t−1} + √β_t ε (Ho et al. 2020, eq. 2). Shapes as in `q_sample`."""
        self._check(x_prev, t, epsilon)
        beta = self.betas[t.cpu()].reshape(-1, 1)
        return (1 - beta).sqrt().to(x_prev) * x_prev + beta.sqrt().to(x_prev) * epsilon


def _check_arguments(timesteps: int, **numbers: float) -> int:
    """The number of timesteps as Python's own, after a look at all that a schedule is made of."""
    for name, number in numbers.items():
        if not isinstance(number, Real):
            raise ScheduleError(f"{name} must be a number, not {type(number).__name__}")
    if not is_whole(timesteps, least=1):
        raise ScheduleError(f"timesteps must be a whole number of 1 or more, not {timesteps!r}")
    if timesteps > MOST_TIMESTEPS:
        raise ScheduleError(f"timesteps may be {MOST_TIMESTEPS:,} at most, not {timesteps:,}")
    return int(timesteps)


def _from_nodes(alphas_cumprod: Tensor, max_beta: float = math.inf) -> Tensor:
    """β from ᾱ on T+1 nodes, the first of which is the data; β above `max_beta` is clipped to it."""
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=max_beta)


def _linear(beta_start: float, beta_end: float, timesteps: int) -> Tensor:
    return torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float64)


def _cosine(timesteps: int, offset: float) -> Tensor:
    nodes = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    return _from_nodes(torch.cos((nodes + offset) / (1 + offset) * math.pi / 2) ** 2, MAX_BETA)


def _falling(start: float, end: float, nodes: int) -> Tensor:
    return torch.sigmoid(-torch.linspace(start, end, nodes, dtype=torch.float64))


def _rescaled(curve: Tensor) -> Tensor:
    return (curve - curve[-1]) / (curve[0] - curve[-1])


def _sigmoid(start: float, end: float, timesteps: int, reading: str) -> Tensor:
    one = torch.ones(1, dtype=torch.float64)
    if reading == "raw":
        return _from_nodes(torch.cat([one, _falling(start, end, timesteps)]))
    if reading == "ends":
        return _from_nodes(torch.cat([one, _rescaled(_falling(start, end, timesteps))]))
    return _from_nodes(_rescaled(_falling(start, end, timesteps + 1)), MAX_BETA)


def _flow(timesteps: int) -> Tensor:
    s = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    s[-1] = 1 - 0.5 / timesteps
    return _from_nodes((1 - s).square() / ((1 - s).square() + s.square()))


def _custom(betas: Sequence[float]) -> Tensor:
    return torch.tensor(betas, dtype=torch.float64)


# kind → how its betas follow from the rest of its config
BETAS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
    "flow": _flow,
    "custom": _custom,
}


def _betas(config: Mapping[str, Any]) -> Tensor:
    try:
        arguments = dict(config)
        return BETAS[arguments.pop("kind")](**arguments)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        kinds = ", ".join(BETAS)
        raise ScheduleError(f"no schedule is made by {config!r:.300} ({error}); its kind is one of {kinds}") from error


def _made(**config: Any) -> Schedule:
    return Schedule(_betas(config), config)


def linear(beta_start: float = 1e-4, beta_end: float = 0.02, timesteps: int = 1000) -> Schedule:
    """β rises linearly from `beta_start` to `beta_end` (Ho et al. 2020, section 4)."""
    timesteps = _check_arguments(timesteps, beta_start=beta_start, beta_end=beta_end)
    return _made(kind="linear", beta_start=float(beta_start), beta_end=float(beta_end), timesteps=timesteps)


def cosine(timesteps: int = 1000, offset: float = 0.008) -> Schedule:
    """ᾱ follows a squared cosine, β is clipped to 0.999 (Nichol & Dhariwal 2021, eq. 17)."""
    return _made(kind="cosine", timesteps=_check_arguments(timesteps, offset=offset), offset=float(offset))


def flow(timesteps: int = 1000) -> Schedule:
    """The straight path z_s = (1−s) x + s ε of flow matching (Lipman et al. 2023; Liu et al. 2023): s rises evenly.

    √ᾱ : √(1−ᾱ) is as (1−s) : s, so ᾱ = (1−s)²/((1−s)² + s²), and x_t = z_s/√((1−s)² + s²): the same points, scaled so
    that they keep the variance of normalised data. The nodes are s = 0, the data, then 1/T, 2/T … At s = 1 nothing of
    the data is left, and a step that takes everything can't be undone. So the last node stands in the middle of the
    last step, at s = 1 − 1/2T. There √ᾱ is about 1/2T, half of what it was before.

    Args:
        timesteps: T.
    """
    return _made(kind="flow", timesteps=_check_arguments(timesteps))


def sigmoid(start: float = -5.0, end: float = 5.0, timesteps: int = 1000, reading: str = "clipped") -> Schedule:
    """ᾱ follows a falling sigmoid on [start, end]; α and β are derived from it.

    "A rescaled sigmoid on [−5, 5]" can be read in three ways:

    - "raw": ᾱ is the sigmoid itself on T points. It begins below 1 and never reaches noise.
    - "ends": rescaled so that ᾱ is exactly 1 and exactly 0 at the ends of T points. Refused: the first β is 0 and
      the last 1, so neither step can be undone.
    - "clipped": rescaled on T+1 nodes, the first of which is the data; β is clipped to 0.999, and ᾱ follows from
      the clipped β (the guard of Nichol & Dhariwal 2021, section 3.2). The lab's choice.

    Mind the name: elsewhere "sigmoid" often means that β, not ᾱ, follows a sigmoid. That is another schedule.

    Raises:
        ScheduleError: if the reading is unknown or cannot be used, or unless start < end.
    """
    timesteps = _check_arguments(timesteps, start=start, end=end)
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise ScheduleError(f"a sigmoid schedule needs finite start < end; got start = {start}, end = {end}")
    if reading not in READINGS:
        raise ScheduleError(f"a sigmoid can be read as 'raw', 'ends' or 'clipped', not {reading!r}")
    if reading == "ends" and timesteps < 2:
        raise ScheduleError("a sigmoid that is rescaled between its ends needs at least two points")
    config = {"start": float(start), "end": float(end), "timesteps": timesteps, "reading": reading}
    try:
        return _made(kind="sigmoid", **config)
    except ScheduleError as error:
        if reading != "ends":
            raise
        raise ScheduleError(
            "a sigmoid rescaled on T points with its ends cannot be used: ᾱ is exactly 1 at t = 0 and exactly 0 at "
            f"t = {timesteps - 1}, but {error}. Read it as 'clipped', on T+1 nodes with β ≤ 0.999."
        ) from error


KINDS: dict[str, Callable[..., Schedule]] = {"linear": linear, "sigmoid": sigmoid, "cosine": cosine, "flow": flow}


def from_config(config: Mapping[str, Any]) -> Schedule:
    """Make a schedule again from its `config`.

    Raises:
        ScheduleError: if there is no such schedule.
    """
    kind = config.get("kind") if isinstance(config, Mapping) else None
    try:
        if kind in KINDS:
            return KINDS[kind](**{name: value for name, value in config.items() if name != "kind"})
        return Schedule(_betas(config))
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        kinds = ", ".join(BETAS)
        raise ScheduleError(f"no schedule is made by {config!r:.300} ({error}); its kind is one of {kinds}") from error
