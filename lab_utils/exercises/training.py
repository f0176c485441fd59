"""The tasks of notebook 3: the loss, one epoch of the loop, and what of the loss can go away."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.diffusion.schedules import Schedule
from lab_utils.exercises.questions import NO_VARIANCE, Network, StandIn, check_time, draw, generator, number, short
from lab_utils.exercises.task import Task


def _noised(x: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    kept = alphas_cumprod[t].unsqueeze(1)
    return kept.sqrt() * x + (1 - kept).sqrt() * noise


def _loss(network: Network, x: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (network(_noised(x, t, noise, alphas_cumprod), t) - noise).square().mean()


loss = Task(
    "the loss of a batch",
    _loss,
    lambda: [(StandIn(), draw(30, 2), torch.arange(30) % 18 + 1, draw(30, 2, seed=1), short().alphas_cumprod)],
    {
        "sum for mean: a sum grows with the batch, and with it the steps of the optimiser.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).square().sum()
        ),
        "summed over the two coordinates, and the mean over the points only: twice the loss that the lab "
        "reports.": lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) - z).square().sum(dim=1).mean(),
        "the wrong sign: the network's answer and the noise are added; it is their difference that should be "
        "small.": lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) + z).square().mean(),
        "the network is asked for the noise, and its answer is compared with the data.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - x).square().mean()
        ),
        "the network is asked for the noise, and its answer is compared with the noised points.": (
            lambda f, x, t, z, a: (f(_noised(x, t, z, a), t) - _noised(x, t, z, a)).square().mean()
        ),
        "half of the mean: the ½ of the formula has made a mean of the sum over two coordinates already.": (
            lambda f, x, t, z, a: _loss(f, x, t, z, a) / 2
        ),
        "the errors are not squared: that is the mean of their absolute values.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).abs().mean()
        ),
        "that is the root of it; the loss is the mean square itself.": lambda f, x, t, z, a: _loss(
            f, x, t, z, a
        ).sqrt(),
        "the mean is squared, in which errors of both signs cancel: square first.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).mean().square()
        ),
        "the network sees the data themselves, not the noised points.": lambda f, x, t, z, a: (
            (f(x, t) - z).square().mean()
        ),
        "the roots are missing where the points are noised.": lambda f, x, t, z, a: (
            (f(a[t].unsqueeze(1) * x + (1 - a[t]).unsqueeze(1) * z, t) - z).square().mean()
        ),
        "√ᾱ and √(1 − ᾱ) have changed places where the points are noised.": lambda f, x, t, z, a: _loss(
            f, x, t, z, 1 - a
        ),
        "the data don't shrink where the points are noised: √ᾱ is missing.": lambda f, x, t, z, a: (
            (f(x + (1 - a[t]).sqrt().unsqueeze(1) * z, t) - z).square().mean()
        ),
        "the index is off by one: the network is told t + 1, and the points were noised to t.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t + 1) - z).square().mean()
        ),
        "the index is off by one: the network is told t − 1, and the points were noised to t.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t - 1) - z).square().mean()
        ),
        "the index is off by one: t − 1 for t, where the points are noised and for the network.": (
            lambda f, x, t, z, a: _loss(f, x, t - 1, z, a)
        ),
        "the index is off by one: the points are noised to t − 1, and the network is told t.": lambda f, x, t, z, a: (
            (f(_noised(x, t - 1, z, a), t) - z).square().mean()
        ),
        "the index is off by one: the points are noised to t + 1, and the network is told t.": lambda f, x, t, z, a: (
            (f(_noised(x, t + 1, z, a), t) - z).square().mean()
        ),
        "all points have the first one's timestep; each has its own.": lambda f, x, t, z, a: _loss(
            f, x, t[:1].expand(len(t)), z, a
        ),
    },
    tolerance=1e-5,
)


# --- one epoch of the loop

DECAY = 0.995  # of the moving average
BATCH = 500
START = 0.3  # the one weight, of the network and of the average, before the epoch


def _seen(x_t: Tensor, t: Tensor) -> Tensor:
    """(n, 2): what the watched network sees. It hangs on the points and on the timesteps, and so does the loss."""
    return (x_t / 1000 + t.reshape(-1, 1)).sin()


class Watched(nn.Module):
    """A network with one weight that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(number(START))
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(n, 2) points and (), (1,) or (n,) int64 timesteps → (n, 2)."""
        check_time(t, len(x_t))
        self.asked.append((x_t.detach().double(), t.expand(len(x_t))))
        return self.weight * _seen(x_t, t)


class WatchedOptimiser(torch.optim.SGD):
    """Plain steps against the gradient; it keeps the gradients that it was given, and the weights before and after."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network.parameters(), lr=0.5)
        self.steps: list[tuple[float, float, float]] = []

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        (weight,) = self.param_groups[0]["params"]
        before, gradient = weight.item(), 0.0 if weight.grad is None else weight.grad.item()
        super().step(closure)
        self.steps.append((before, gradient, weight.item()))


def _spread_out(n: int) -> Tensor:
    """(n, 2) points so far from each other that each is known again under its noise."""
    return 1000.0 * torch.arange(1, n + 1).double().unsqueeze(1) * torch.tensor([1.0, -0.7]).double()


def _followed(weights: Iterable[float], decay: float = DECAY) -> float:
    """Where an average stands that has moved towards these weights, one after the other."""
    at = START
    for weight in weights:
        at = decay * at + (1 - decay) * weight
    return at


def _unlike(one: float, other: float) -> float:
    """1 if two numbers differ by more than rounding."""
    return float(not math.isclose(one, other, rel_tol=1e-6))


def _what_was_done(answer: float, question: tuple[Any, ...]) -> dict[str, float]:
    """Of an epoch: which points were used with which timesteps and noises, which steps were taken, the average.

    None of it hangs on the draws, so that a mistake is known by it. What comes later is left out where nothing can be
    said of it.
    """
    network, average, optimiser, x, schedule, _ = question
    if not network.asked:
        return {"the share of the points that are used once": 0.0}
    x_t, t = (torch.cat(parts) for parts in zip(*network.asked, strict=True))
    kept = schedule.alphas_cumprod[t].unsqueeze(1)
    which = (x_t[:, 0] / kept[:, 0].sqrt() / 1000).round().long() - 1
    known = which.clamp(0, len(x) - 1)
    noise = (x_t - kept.sqrt() * x[known]) / (1 - kept).sqrt()
    drawn = noise.round(decimals=6)  # without the traces of rounding, by which equal draws differ
    centred = noise - noise.mean(dim=0)
    tails = float(centred.pow(4).mean() / centred.square().mean().square().clamp(min=NO_VARIANCE))
    moving = sum(before != after for before, _, after in optimiser.steps)
    done = {
        "the share of the points that are used once": float((torch.bincount(known) == 1).sum()) / len(x),
        "the number of the optimiser's steps": float(len(optimiser.steps)),
        "whether the points come in a new order (1: yes)": float(not torch.equal(which[:BATCH], torch.arange(BATCH))),
        "whether the points of a batch have timesteps of their own (1: yes)": float(len(t[:BATCH].unique()) > 1),
        "the smallest timestep": float(t.min()),
        "the largest timestep": float(t.max()),
        "whether each point has its own noise (1: yes)": float(len(drawn[:, 0].unique()) > 0.9 * len(drawn)),
        "whether each coordinate has its own noise (1: yes)": float(not torch.equal(drawn[:, 0], drawn[:, 1])),
        "whether the noise has the tails of a normal one (1: yes)": float(tails > 2.4),  # 3 is normal, 1.8 uniform
        "the variance of the noise, to the nearest half": round(2 * float(noise.var())) / 2,
        "the number of steps that move the weights": float(moving),
    }
    if not moving:
        return done
    losses, own = [], []
    first = 0
    for asked, (before, _, _) in zip(network.asked, optimiser.steps, strict=False):
        seen = _seen(*asked)
        wanted = noise[first : first + len(seen)]
        first += len(seen)
        losses.append(float((before * seen - wanted).square().mean()))
        own.append(float((2 * (before * seen - wanted) * seen).mean()))
    starts, gradients, ends = zip(*optimiser.steps, strict=True)
    moved, told = average.weight.item(), float(answer)
    others = {
        "moves": START,
        "is more than the newest weights": ends[-1],
        "moves after each step": _followed(ends[-1:]),
        "keeps 0.995 of itself": _followed(ends, 1 - DECAY),
        "takes the weights as they are after the step": _followed(starts),
    }
    return done | {
        "whether a step takes the gradient of its own batch alone (1: yes)": _unlike(gradients[-1], sum(own)),
        "the gradient in the last step, over that of its batch's loss": gradients[-1] / own[-1],
        **{f"whether the average {does} (1: yes)": _unlike(moved, other) for does, other in others.items()},
        "how far the average has moved, over how far it should": (moved - START) / (_followed(ends) - START),
        "whether the loss is that of all batches (1: yes)": _unlike(told, losses[-1]),
        "the mean loss, over that of the batches": told / (sum(losses) / len(losses)),
    }


def _move(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move the weights of the average by that share of the way to the network's."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, share)


def _epoch(
    network: Any,
    average: Any,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    order: Callable[[Tensor], Tensor] = lambda order: order,
    batch: int = BATCH,
    times: Callable[[Tensor], Tensor] = lambda t: t,
    noises: Callable[[Tensor], Tensor] = lambda noise: noise,
    backward: Callable[[Tensor], Tensor] = lambda loss: loss,
    does: str = "zero_grad backward step average",
    decay: float = DECAY,
    averaged: Callable[[int], bool] = lambda _: True,
    told: Callable[[list[Tensor]], Tensor] = lambda losses: torch.stack(losses).mean(),
) -> float:
    """One epoch as it should be; the last arguments make mistakes."""
    losses: list[Tensor] = []
    for chosen in order(torch.randperm(len(x), generator=generator)).split(batch):
        t = times(torch.randint(0, schedule.timesteps, (len(chosen),), generator=generator))
        noise = noises(torch.randn(len(chosen), 2, generator=generator, dtype=x.dtype))
        found = _loss(network, x[chosen], t, noise, schedule.alphas_cumprod)
        losses.append(found.detach())
        calls: dict[str, Callable[[], Any]] = {
            "zero_grad": optimiser.zero_grad,
            "backward": backward(found).backward,
            "step": optimiser.step,
            "average": partial(_move, average, network, 1 - decay if averaged(len(losses)) else 0.0),
        }
        for name in does.split():
            calls[name]()
    return float(told(losses))


def _whole_epoch(
    network: Network,
    average: Any,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> float:
    return _epoch(network, average, optimiser, x, schedule, generator)


def _question() -> tuple[Any, ...]:
    network = Watched()
    return network, Watched(), WatchedOptimiser(network), _spread_out(3 * BATCH), short(), generator()


def _wrong(**how: Any) -> Callable[..., float]:
    return lambda *question: _epoch(*question, **how)


one_epoch = Task(
    "one epoch of the loop",
    _whole_epoch,
    lambda: [_question()],
    {
        "the gradients are not cleared for each batch, so a step takes those of all batches before once more. Call "
        "`optimiser.zero_grad()` before each `backward()`.": _wrong(does="backward step average"),
        "the weights never move, because the gradients are cleared before the step could take them, or never worked "
        "out: `zero_grad`, `backward`, `step`, in this order.": _wrong(does="backward zero_grad step average"),
        "the first step moves nothing, because `step` comes before `backward`: each step takes the gradients of the "
        "batch before. `zero_grad`, `backward`, `step`, in this order.": _wrong(does="step zero_grad backward average"),
        "all points of a batch have the same timestep; draw one for each.": _wrong(times=lambda t: 0 * t + t[0]),
        "the timestep 0 never comes: `randint` begins at its first number, and t counts from 0.": _wrong(
            times=lambda t: t.clamp(min=1)
        ),
        "the last timestep never comes: `randint` stops before its second number, which is T.": _wrong(
            times=lambda t: t.clamp(max=18)
        ),
        "the points come in the same order in each epoch: shuffle them with `torch.randperm`.": _wrong(
            order=lambda order: torch.arange(len(order))
        ),
        "one batch alone: an epoch uses every point. Does `return` stand inside the loop?": _wrong(
            order=lambda order: order[:BATCH]
        ),
        "one step for the whole epoch; there should be one for each batch of 500 points.": _wrong(batch=3 * BATCH),
        "the average is never moved.": _wrong(averaged=lambda _: False),
        "the average is moved once, at the end of the epoch; it should be after each step.": _wrong(
            averaged=lambda done: done == 3
        ),
        "the average is the newest weights: it should keep 0.995 of itself and take 0.005 of them.": _wrong(decay=0.0),
        "the average takes 0.995 of the new weights and keeps 0.005 of itself: the two shares have changed "
        "places.": _wrong(decay=1 - DECAY),
        "the average is moved before the step, so it lags one step behind; move it after `step()`.": _wrong(
            does="zero_grad backward average step"
        ),
        "it returns the loss of the last batch, and should return the mean over the batches.": _wrong(
            told=lambda losses: losses[-1]
        ),
        "it returns the sum of the losses, and should return their mean over the batches.": _wrong(
            told=lambda losses: torch.stack(losses).sum()
        ),
        "the loss is divided by the number of batches before `backward()`, so each step is too short.": _wrong(
            backward=lambda loss: loss / 3
        ),
        "the noise is uniform: take torch.randn.": _wrong(noises=lambda noise: (noise / math.sqrt(2)).erf()),
        "all points of a batch share one noise; draw one for each.": _wrong(noises=lambda noise: 0 * noise + noise[:1]),
        "the two coordinates of a point share one noise; draw one for each.": _wrong(
            noises=lambda noise: 0 * noise + noise[:, :1]
        ),
    },
    well="each point once, with its own timestep and noise; a step and a move of the average for each batch",
    observed=_what_was_done,
    tolerance=1e-5,
)


def _avoidable(loss: float, floor: float) -> float:
    return (loss - floor) / loss


avoidable = Task(
    "the share of the loss that training can take away",
    _avoidable,
    lambda: [(0.4, 0.3), (0.371, 0.365)],
    {
        "that is the share that can't go away.": lambda loss, floor: floor / loss,
        "that is the excess itself; as a share of the loss it is divided by the loss.": lambda loss, floor: (
            loss - floor
        ),
        "divided by the floor; a share of the loss is divided by the loss.": lambda loss, floor: (loss - floor) / floor,
        "the loss over its floor is a multiple; a share lies between 0 and 1.": lambda loss, floor: loss / floor,
        "the wrong sign: the loss lies above its floor.": lambda loss, floor: (floor - loss) / loss,
        "that is per cent; a share lies between 0 and 1.": lambda loss, floor: 100 * (loss - floor) / loss,
        "a bracket is missing: only the floor is divided by the loss.": lambda loss, floor: loss - floor / loss,
    },
    tolerance=1e-4,
)
