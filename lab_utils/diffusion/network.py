"""The network that predicts the noise, by whichever target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from lab_utils import SEED
from lab_utils.base.arguments import check_classes, is_number, is_whole
from lab_utils.diffusion.along import Along
from lab_utils.diffusion.conditional import NO_CLASS, Given
from lab_utils.diffusion.denoiser import Answer, DenoisingModule, one_by_one
from lab_utils.diffusion.schedules import Schedule, from_config, linear
from lab_utils.diffusion.targets import LEARNT, skip_and_scale

TIME_FREQUENCIES = 16
TIME_WIDTH = 32  # neurons that see the time alone; as wide as the layers, they would be half of a training step


def frequencies(lowest: float, highest: float, count: int) -> Tensor:
    """(count,) frequencies in radians per unit, spaced evenly in their logarithm."""
    return torch.linspace(math.log(lowest), math.log(highest), count, dtype=torch.float64).exp().float()


def waves(x: Tensor, omega: Tensor) -> Tensor:
    """(n, d) → (n, 2·d·len(omega)): sines and cosines of every coordinate (Tancik et al. 2020, eq. 5)."""
    angles = (x.unsqueeze(-1) * omega).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with the first weights that PyTorch would give it, but drawn from a generator of our own."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    for weights in layer.parameters():
        nn.init.uniform_(weights, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


class DiffusionGenerator(DenoisingModule):
    """A residual network that says which noise ε is in a noised point.

    Its layers predict a target, v unless told otherwise, and its answer is ε = skip · x_t + scale · net(x_t, t), with
    the two numbers of the target at t; see `targets`. For v that is √(1−ᾱ) x_t + √ᾱ · net. The first term is the best
    guess of someone who knows nothing of the data but their scale; the network adds what it has learnt. Where hardly
    anything of the data is left, its part vanishes with √ᾱ, and with it the harm that its error could do (the last step
    of a sigmoid schedule multiplies errors by 31.6). With data of unit variance it is also what Karras et al. 2022
    precondition their network to (their F is −v). The velocity's part vanishes, too, and that of ε has no skip. The
    scale of x is large where there is little noise: train it with weights of its own, see `weights`.

    Points enter as themselves and as waves of many frequencies, without which a small network cannot draw a coastline
    (Tancik et al. 2020). If they fade, each enters as its mean over the noise that a point has at t: a wave that is
    much shorter than the noise tells nothing, and is 0 (Barron et al. 2021, section 3.1). Time enters as the logarithm
    of the signal-to-noise ratio, which means the same under every schedule (Kingma et al. 2021). A class enters beside
    the time, as a learnt vector that is added to the first layer of what the time becomes; no class is the vector 0.

    Args:
        beta_start, beta_end, timesteps: a linear schedule, as in Ho et al. 2020 …
        schedule: … or any other schedule instead.
        width: neurons in each layer.
        depth: residual layers.
        input_frequencies, max_frequency: how many waves, and the highest, in radians per unit of the normalised data.
        fading: whether the waves fade where they are shorter than the noise.
        target: what the layers predict, one of "epsilon", "x", "v", "velocity".
        classes: the names of the classes that it can be told, as `data.classes` has them; see `conditional`.
        seed: the weights' first values. (The last layer begins at 0.) They are the same with classes and without.

    Raises:
        ValueError: if both a schedule and betas are given, a size is not positive, there is no such target, or the
            classes are no names, each another one.
    """

    omega: Tensor
    time_waves: Tensor
    skip: Tensor
    scale: Tensor
    fading: Tensor | None
    told: Tensor

    def __init__(
        self,
        beta_start: float | None = None,
        beta_end: float | None = None,
        timesteps: int | None = None,
        *,
        schedule: Schedule | None = None,
        width: int = 64,
        depth: int = 3,
        input_frequencies: int = 16,
        max_frequency: float = 32.0,
        fading: bool = False,
        target: str = "v",
        classes: Sequence[str] = (),
        seed: int = SEED,
    ) -> None:
        given = {"beta_start": beta_start, "beta_end": beta_end, "timesteps": timesteps}
        given = {name: value for name, value in given.items() if value is not None}
        if schedule is None:
            schedule = linear(**given)  # type: ignore[arg-type]
        elif given:
            raise ValueError(f"give either a schedule or {', '.join(given)}, not both")
        sizes = {"width": width, "depth": depth, "input_frequencies": input_frequencies, "max_frequency": max_frequency}
        for name, size in sizes.items():
            fits, what = (is_number, "number") if name == "max_frequency" else (is_whole, "whole number")
            if not fits(size) or size <= 0:
                raise ValueError(f"{name} must be a {what} greater than 0, not {size!r}")
        width, depth, input_frequencies = map(int, (width, depth, input_frequencies))  # from NumPy's, too
        if not is_whole(seed, least=0) or seed >= 2**63:
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1, not {seed!r}")
        if target not in LEARNT:
            raise ValueError(f"target must be one of {', '.join(LEARNT)}; got {target!r}")
        super().__init__(schedule)
        self.classes = check_classes(classes)
        self.config: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "input_frequencies": input_frequencies,
            "max_frequency": float(max_frequency),
            "fading": bool(fading),
            "target": target,
            "classes": [*self.classes],
            "seed": int(seed),
            "schedule": schedule.config,
        }

        generator = torch.Generator().manual_seed(int(seed))
        self.embed_time = _linear(2 * TIME_FREQUENCIES, TIME_WIDTH, generator)
        self.time_to_layers = _linear(TIME_WIDTH, (depth + 1) * width, generator)
        self.enter = _linear(2 + 4 * input_frequencies, width, generator)
        self.layers = nn.ModuleList(_linear(width, width, generator) for _ in range(depth))
        self.leave = _linear(width, 2, generator)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.embed_class: nn.Linear | None = None
        if count := len(self.classes):
            self.embed_class = nn.utils.skip_init(nn.Linear, count, TIME_WIDTH, bias=False)
            nn.init.uniform_(self.embed_class.weight, -1, 1, generator=generator)  # of the inputs a single one is not 0

        # What depends on the schedule alone stands in tables, one row a timestep; it is not saved with the weights.
        log_snr = schedule.snr.log().unsqueeze(1) / 2
        omega = frequencies(0.5, max_frequency, input_frequencies)
        # E sin(ω(x + σz)) = exp(−ω²σ²/2) sin(ωx) for a standard normal z, and so for the cosine
        means = torch.exp(-omega.square() * (1 - schedule.alphas_cumprod).unsqueeze(1) / 2).repeat(1, 4)
        means = torch.cat([torch.ones_like(means[:, :2]), means], dim=1)  # the point itself does not fade
        # what rounding would lose anyway is 0: numbers near float32's smallest make some processors twice as slow
        means = means.where(means > torch.finfo(torch.float32).eps, 0.0).float()
        skip, scale = skip_and_scale(target, schedule.alphas_cumprod)
        tables = {
            "omega": omega,
            "fading": means if fading else None,
            "time_waves": waves(log_snr, frequencies(0.1, 4.0, TIME_FREQUENCIES).double()).float(),
            "skip": skip.float().unsqueeze(1),
            "scale": scale.float().unsqueeze(1),
            "told": torch.eye(len(self.classes) + 1)[:, :-1],  # a row for each class; the last, `NO_CLASS`, is 0
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a fresh model of the same build from its `config`.

        Raises:
            ValueError: if there is no such model.
        """
        try:
            return cls(**{**config, "schedule": from_config(config["schedule"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no model is made by {config!r:.300} ({error})") from error

    def shifts(self, t: Tensor, label: Tensor | None) -> tuple[Tensor, ...]:
        """What the time and the class add in each layer: (1, width) or (n, width), the first for the one that enters.

        Args:
            t: (1,) or (n,) int64.
            label: (1,) or (n,) int64, places in `classes` or `NO_CLASS`; None is no class for all.
        """
        time = self.embed_time(self.time_waves[t])
        if label is not None and self.embed_class is not None:
            time = time + self.embed_class(self.told[label])  # by a product, whose gradient is the same bits every time
        shifts: Tensor = self.time_to_layers(silu(time))
        return shifts.chunk(len(self.layers) + 1, dim=1)

    def predict(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The noise, as documented there; `label` as for `shifts`."""
        first, *rest = self.shifts(t, label)
        seen = torch.cat([x_t, waves(x_t, self.omega)], dim=1)
        if self.fading is not None:
            seen = seen * self.fading[t]
        h = silu(self.enter(seen) + first)
        for layer, shift in zip(self.layers, rest, strict=True):
            h = h + silu(layer(h) + shift)
        learnt: Tensor = self.leave(h)
        return self.skip[t] * x_t + self.scale[t] * learnt

    def along(self, timesteps: Sequence[int], label: int = NO_CLASS) -> Callable[[int], Answer]:
        """The same answers along known timesteps, for one class or none, much faster; see `denoiser.along`.

        A subclass that answers in a way of its own, or a network whose layers were exchanged or watched, is asked by
        `epsilon`, because the fast way knows only how this class answers.
        """
        if self._answers_as_written():
            return Along(self, timesteps, label).block
        return one_by_one(self if label == NO_CLASS else Given(self, self.classes[label]), timesteps)

    def _answers_as_written(self) -> bool:
        own = {"forward", "epsilon", "predict", "__call__"}
        layers = [self.embed_time, self.time_to_layers, self.enter, *self.layers, self.leave]
        layers += [self.embed_class] if self.classes else []
        return (
            all(getattr(type(self), name) is getattr(DiffusionGenerator, name) for name in own)
            and own.isdisjoint(vars(self))
            and all(type(layer) is nn.Linear for layer in layers)
            and not any(module._forward_hooks or module._forward_pre_hooks for module in self.modules())
        )
