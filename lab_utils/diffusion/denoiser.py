"""The contract of everything that denoises: a trained network, the best denoiser, somebody else's module.

A denoiser has a `schedule`, and answers `epsilon(x_t, t)`: which noise is in these points? It promises:

- (n, 2) points and (), (1,) or (n,) int64 timesteps give (n, 2), for any n, in the precision of the points, and where
  the points are: on the processor, or on another device;
- each point's answer is independent of the other points, and the same question gets the same answer;
- several threads may ask at once.

It may also answer faster on a way whose timesteps are known beforehand: `along(timesteps)`, see `along`. It may say
with which `coupling` of points and noises it was trained, where they weren't independent; see `couplings`. And it may
come to another device: `to(device)`, see `on`. Whatever takes a denoiser in this lab takes anything that keeps this
contract, and asks for nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lab_utils.base.arguments import check_points
from lab_utils.base.devices import for_float64
from lab_utils.diffusion.couplings import COUPLINGS, coupling_of
from lab_utils.diffusion.schedules import Schedule, check_timesteps
from lab_utils.diffusion.targets import TARGETS, to_epsilon

Answer = Callable[[Tensor, int], Tensor]  # (n, 2) x_t and the number of its timestep on the way → (n, 2) noise
WRAP = "wrap a module of your own: denoiser(module, schedule, predicts=…)"


class Denoiser(Protocol):
    """What can be sampled from and measured; the module's text says what it promises."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose noise it predicts."""
        ...

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in `x_t`: (n, 2) floats and (), (1,) or (n,) int64 → (n, 2)."""
        ...


def check_denoiser(denoiser: Any) -> None:
    """Raise a `TypeError` unless it has a schedule and can be asked for the noise; its answers are not looked at."""
    what = type(denoiser).__name__
    if callable(getattr(denoiser, "model", None)):
        raise TypeError(f"{what} is no denoiser, but it has models: take one of them, `.model()`")
    if not isinstance(getattr(denoiser, "schedule", None), Schedule):
        raise TypeError(f"{what} is no denoiser: it has no `schedule` (a Schedule); {WRAP}")
    if not callable(getattr(denoiser, "epsilon", None)):
        raise TypeError(f"{what} is no denoiser: it has no method `epsilon(x_t, t)`; {WRAP}")


@torch.no_grad()
def check_answers(denoiser: Denoiser) -> None:
    """Ask a denoiser a few questions, and raise a `ValueError` that says which promise its answers break."""
    what = type(getattr(denoiser, "module", denoiser)).__name__  # of what somebody wrapped, its own name
    last = denoiser.schedule.timesteps - 1
    x_t = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, last, last // 2, last // 3, last // 4, last])

    def ask(x: Tensor, t: Tensor) -> Tensor:
        given = denoiser.epsilon(x, t)
        question = f"{tuple(x.shape)} {x.dtype} points and t of shape {tuple(t.shape)}"
        if not isinstance(given, Tensor) or given.shape != x.shape or given.dtype != x.dtype:
            got = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(f"{what} must answer {question} with {tuple(x.shape)} {x.dtype}; it gave {got}")
        return given

    together = ask(x_t, t)
    if not together.isfinite().all():
        raise ValueError(f"{what} gives answers that are not finite: {int((~together.isfinite()).sum())} of 12 numbers")
    if not torch.equal(together, ask(x_t, t)):
        raise ValueError(
            f"{what} gives two answers to the same question; does it change x_t in place? If it has dropout, call its "
            "method eval() first (in `__init__`, where `fit` builds it)"
        )
    _compare(what, together[:2], ask(x_t[:2], t[:2]))
    ask(x_t.double(), t)
    for shape in ((), (1,)):
        ask(x_t, t[1].reshape(shape))
    _compare(what, together[:1], ask(x_t[:1], t[:1]))


def _compare(what: str, many: Tensor, few: Tensor) -> None:
    if not torch.allclose(many, few, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"{what} answers a point differently when it is asked with others ({many[0].tolist()}) and with fewer "
            f"({few[0].tolist()}); each answer must depend on its own point only. If it normalises over the batch, "
            "call its method eval() first (in `__init__`, where `fit` builds it)"
        )


def one_by_one(denoiser: Denoiser, timesteps: Sequence[int]) -> Callable[[int], Answer]:
    """A denoiser on a known way, asked by `epsilon` at each of the timesteps; see `along`."""
    each = torch.tensor(timesteps).split(1)
    return lambda n: lambda x_t, k: denoiser.epsilon(x_t, each[k].to(x_t.device))


def along(denoiser: Denoiser, timesteps: Sequence[int]) -> Callable[[int], Answer]:
    """A denoiser on its way along known timesteps, all points at the same one.

    Returns:
        For a block of n points: what gives the noise in (n, 2) x_t at the timestep number k of the way. It is made by
        the denoiser's own `along(timesteps)`, where it has one, and says what `epsilon` says, but for rounding.
    """
    own: Callable[[Sequence[int]], Callable[[int], Answer]] | None = getattr(denoiser, "along", None)
    return one_by_one(denoiser, timesteps) if own is None else own(timesteps)


class _AskedHere:
    """A denoiser that can't be moved, for points on another device: it is asked on the processor."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.schedule, self.coupling = denoiser, denoiser.schedule, coupling_of(denoiser)

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.denoiser.epsilon(x_t.cpu(), t.cpu()).to(x_t)

    def along(self, timesteps: Sequence[int]) -> Callable[[int], Answer]:
        way = along(self.denoiser, timesteps)

        def block(n: int) -> Answer:
            answer = way(n)
            return lambda x_t, k: answer(x_t.cpu(), k).to(x_t)

        return block


def place_of(module: nn.Module) -> torch.device:
    """Where a module works: where its weights are, or its tables; on the processor if it has none."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))


def on(denoiser: Denoiser, device: torch.device) -> Denoiser:
    """A denoiser that answers points on `device`, and works there if it can: itself, or a copy.

    A module is copied, and the copy goes there with all its weights and tables. What is no module goes there by its own
    `to(device)`, which gives a copy and leaves itself where it is. What has none is asked on the processor, and its
    points and answers go to and fro.
    """
    if isinstance(denoiser, nn.Module):
        return denoiser if place_of(denoiser).type == device.type else deepcopy(denoiser).to(device)
    own: Callable[[torch.device], Denoiser] | None = getattr(denoiser, "to", None)
    if own is not None:
        return own(device)
    return denoiser if device.type == "cpu" else _AskedHere(denoiser)


class DenoisingModule(nn.Module):
    """A module that keeps the contract as soon as it can `predict`: a base for networks of one's own.

    Args:
        schedule: the noise schedule.

    Attributes:
        coupling: of which pairs of points and noises it was trained, one of `couplings.COUPLINGS`; `Trainer` sets it.
        classes: the names of the classes that it can be told, if any; it then has `predict(x_t, t, label)`, and may
            have `along(timesteps, label)`; see `conditional`.
    """

    coupling: str = "independent"
    classes: tuple[str, ...] = ()

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        if not isinstance(schedule, Schedule):
            raise TypeError(f"{type(self).__name__} needs a Schedule, such as sigmoid(); got {schedule!r:.80}")
        self.schedule = schedule

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which it works: that of its weights."""
        return next((weight.dtype for weight in self.parameters() if weight.is_floating_point()), torch.float32)

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise, for right arguments where the module is: (n, 2) in its own precision, and (1,) or (n,) int64."""
        raise NotImplementedError(f"{type(self).__name__} must have a method `predict(x_t, t)`")

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in `x_t`.

        Args:
            x_t: (n, 2) floats, noised points in normalised units.
            t: (), (1,) or (n,) int64, timesteps in 0 … T−1.

        Returns:
            (n, 2), in the precision of `x_t`, and where `x_t` is.

        Raises:
            ValueError: for any other shape, type or timestep.
        """
        check_points(x_t, "x_t")
        check_timesteps(t, self.schedule.timesteps, len(x_t))
        there = place_of(self)
        return self.predict(x_t.to(there, self.dtype), t.reshape(-1).to(there)).to(x_t)

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The same as `forward`."""
        noise: Tensor = self(x_t, t)
        return noise


class _Wrapped(DenoisingModule):
    """A module that was written without knowing of this contract."""

    def __init__(self, module: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, predicts: str) -> None:
        super().__init__(schedule)
        self.module, self.predicts = module, predicts

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """As documented there; the module is given a timestep for each point."""
        answer = self.module(x_t, t.expand(len(x_t)))
        if not isinstance(answer, Tensor) or answer.shape != x_t.shape:
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise ValueError(
                f"{type(self.module).__name__} must answer x_t of shape {tuple(x_t.shape)}, and t of shape "
                f"({len(x_t)},), with {tuple(x_t.shape)}; it gave {got}"
            )
        exact = for_float64(x_t.device)
        alphas_cumprod = self.schedule.alphas_cumprod[t.cpu()].to(exact)
        return to_epsilon(self.predicts, answer.to(exact), x_t.to(exact), alphas_cumprod).to(x_t)


def denoiser(
    module: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    predicts: str = "epsilon",
    coupling: str = "independent",
) -> DenoisingModule:
    """Make a denoiser of somebody else's module, or of any function.

    Args:
        module: called with (n, 2) points, in the precision of its weights (float32 where it has none), and with (n,)
            int64 timesteps; gives (n, 2). It is used, not copied.
        schedule: the schedule that it was trained with.
        predicts: what it gives, one of `targets.TARGETS`.
        coupling: of which pairs of points and noises it was trained, one of `couplings.COUPLINGS`.

    Raises:
        ValueError: for another kind of prediction or coupling; or its answers have another shape, or depend on other
            points of the batch, or differ from one call to the next.
    """
    if isinstance(module, type) or not callable(module):
        raise TypeError(f"a denoiser is made of a module or a function, which is called; got {module!r:.80}")
    if not isinstance(schedule, Schedule):
        raise TypeError(f"a denoiser needs the Schedule that it was trained with, not {type(schedule).__name__}")
    if predicts not in TARGETS:
        raise ValueError(f"a network predicts one of {', '.join(TARGETS)}; got {predicts!r}")
    if coupling not in COUPLINGS:
        raise ValueError(f"a coupling is one of {', '.join(COUPLINGS)}; got {coupling!r}")
    wrapped = _Wrapped(module, schedule, predicts)
    wrapped.coupling = coupling
    check_answers(wrapped)
    return wrapped
