"""Feedback on the exercises: is an answer right, and if it isn't, which of the classic mistakes was made?

Each task has a solution, and the mistakes that are known to be made in it: wrong solutions, each with what there is to
say about it. The student's function and the solution are asked the same questions. Where the answers differ, the
mistake that gives the student's numbers is named. So it is recognised however the code that made it is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lab_utils.optimal import BestDenoiser
from lab_utils.schedules import Schedule, linear, sigmoid

Function = Callable[..., Any]
Question = tuple[Any, ...]


class NotYet(AssertionError):  # noqa: N818 (it is no error of the program's)
    """A task is not solved yet; the message says what to look at. A notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"✗ {self}"]


@dataclass(frozen=True)
class Task:
    """A task of a notebook. Call it with the student's function; it prints that all is well, or raises `NotYet`.

    Attributes:
        name: what is to be written.
        solution: what it should do.
        questions: gives the arguments that both are called with, anew for each, so that nobody can spoil them.
        mistakes: what to say → the wrong solution that it is said of.
        seen: what of an answer is compared: all of it, or its moments where it is random.
        tolerance: how far two answers to the same question may be apart, as a share of the larger.
        well: what to say of a right answer.
    """

    name: str
    solution: Function
    questions: Callable[[], Sequence[Question]]
    mistakes: dict[str, Function] = field(default_factory=dict)
    seen: Callable[[Any], Any] = lambda answer: answer
    tolerance: float = 1e-6
    well: str = "right"

    def __call__(self, function: Function) -> None:
        """Check the student's function.

        Raises:
            NotYet: it isn't right; the message says what is wrong with it, as far as that can be told.
        """
        asked = [self._ask(function, question) for question in self.questions()]
        right = [self.solution(*question) for question in self.questions()]
        for number, (given, wanted) in enumerate(zip(asked, right, strict=True)):
            self._check_form(given, wanted, self.questions()[number])
        if self._same(asked, right):
            print(f"✓ {self.name}: {self.well}")
            return
        for says, wrong in self.mistakes.items():
            if self._same(asked, [wrong(*question) for question in self.questions()]):
                raise NotYet(f"{self.name}: {says}")
        raise NotYet(self._difference(asked, right))

    def _ask(self, function: Function, question: Question) -> Any:
        try:
            return function(*question)
        except NotImplementedError:
            raise NotYet(f"{self.name}: not solved yet. Replace the line that raises NotImplementedError.") from None
        except Exception as error:
            raise NotYet(f"{self.name}: it stopped with {type(error).__name__}: {error}") from error

    def _check_form(self, given: Any, wanted: Any, question: Question) -> None:
        if isinstance(wanted, tuple):
            if not isinstance(given, tuple) or len(given) != len(wanted):
                raise NotYet(f"{self.name}: it should return {len(wanted)} things, separated by commas; got {_kind(given)}")
            for one, other in zip(given, wanted, strict=True):
                self._check_form(one, other, question)
        elif given is None:
            raise NotYet(f"{self.name}: it returned nothing. Does its last line begin with `return`?")
        elif isinstance(wanted, Tensor):
            if not isinstance(given, Tensor):
                raise NotYet(f"{self.name}: it should return a tensor; got {_kind(given)}")
            if given.shape != wanted.shape:
                raise NotYet(
                    f"{self.name}: the answer has the shape {tuple(given.shape)}, and should have {tuple(wanted.shape)}"
                )
            if given.dtype != wanted.dtype:
                raise NotYet(f"{self.name}: the answer is {given.dtype}, and should be {wanted.dtype}. {_DTYPES}")
        elif not isinstance(given, float | int) and not (isinstance(given, Tensor) and given.numel() == 1):
            raise NotYet(f"{self.name}: it should return a number; got {_kind(given)}")

    def _same(self, answers: Sequence[Any], others: Sequence[Any]) -> bool:
        return all(
            _close(self.seen(answer), self.seen(other), self.tolerance)
            for answer, other in zip(answers, others, strict=True)
        )

    def _difference(self, asked: Sequence[Any], right: Sequence[Any]) -> str:
        """Where the first answer is wrong, and by how much."""
        for given, wanted in zip(asked, right, strict=True):
            given, wanted = _numbers(self.seen(given)), _numbers(self.seen(wanted))
            apart = (given - wanted).abs()
            if not _close(given, wanted, self.tolerance):
                worst = int(apart.nan_to_num(math.inf).argmax())
                return (
                    f"{self.name}: not yet. The number {worst + 1} of {len(apart)} is {float(given[worst]):.6g}, and "
                    f"should be {float(wanted[worst]):.6g}; {float((apart > 1e-9).float().mean()):.0%} of them differ"
                )
        return f"{self.name}: not yet"


_DTYPES = (
    "A schedule is computed in float64: over a thousand steps float32 loses the digits that the last ones live on."
)


def _kind(given: Any) -> str:
    return f"a {type(given).__name__}"


def _numbers(answer: Any) -> Tensor:
    if isinstance(answer, tuple):
        return torch.cat([_numbers(part) for part in answer])
    return torch.as_tensor(answer).detach().double().reshape(-1)


def _close(a: Any, b: Any, tolerance: float) -> bool:
    a, b = _numbers(a), _numbers(b)
    if a.shape != b.shape or not torch.isfinite(a).all():
        return False
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-12) if len(a) else 1.0
    # each number against itself, so that small ones count as well; and against all, where a sum has cancelled
    return bool(((a - b).abs() <= tolerance * torch.maximum(a.abs(), b.abs()) + 1e-3 * tolerance * scale).all())


# --- what the questions are made of


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _moments(points: Tensor) -> Tensor:
    """Mean, variance and fourth moment along each axis, the last as a share of the variance's square: 3 if normal."""
    centred = points - points.mean(dim=0)
    variance = centred.square().mean(dim=0)
    return torch.cat([points.mean(dim=0), variance, centred.pow(4).mean(dim=0) / variance.square()])


SHORT = linear(timesteps=20, beta_start=0.05, beta_end=0.4)  # few steps, and each of them tells
MANY = 200_000  # copies of one point: enough to tell one kind of noise from another


def _network(x_t: Tensor, t: Tensor) -> Tensor:
    """Something that answers like a network, differently at each point and timestep."""
    time = torch.as_tensor(t).reshape(-1, 1)
    return (1.3 * x_t + 0.1 * time).sin() + 0.2 * x_t


# --- notebook 1


def _alphas_and_betas(alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    before = torch.cat([torch.ones(1, dtype=alphas_cumprod.dtype), alphas_cumprod[:-1]])
    alphas = alphas_cumprod / before
    return alphas, 1 - alphas


def _with_alphas(alphas: Tensor) -> tuple[Tensor, Tensor]:
    return alphas, 1 - alphas


alphas_and_betas = Task(
    "α and β from ᾱ",
    _alphas_and_betas,
    lambda: [(schedule.alphas_cumprod,) for schedule in (SHORT, sigmoid())],
    {
        "the first α is 1, so the first β is 0, and the first step adds no noise. Before the first step ᾱ is 1, so the "
        "first α is ᾱ[0] itself.": lambda a: _with_alphas(torch.cat([torch.ones(1).double(), a[1:] / a[:-1]])),
        "the index is off by one: α[t] belongs to the step that leads to ᾱ[t], so it is ᾱ[t] / ᾱ[t−1], and the step "
        "without a neighbour is the first one, not the last.": lambda a: _with_alphas(
            torch.cat([a[1:] / a[:-1], a[-1:] / a[-2:-1]])
        ),
        "the index is off by one: the ratios begin one step too late, and something was put at the end to fill up. What "
        "is missing is the first α, which is ᾱ[0] / 1.": lambda a: _with_alphas(
            torch.cat([a[1:] / a[:-1], torch.ones(1).double()])
        ),
        "the fraction is upside down: ᾱ falls, so ᾱ[t−1] / ᾱ[t] is more than 1, and β would be negative.": lambda a: (
            _with_alphas(1 / _alphas_and_betas(a)[0])
        ),
        "α and β have changed places: α is near 1, β near 0. Return α first.": lambda a: _alphas_and_betas(a)[::-1],
        "computed in float32. β is what is left of 1 after α is taken away: of float32's seven digits that leaves two "
        "or three. Stay in float64.": lambda a: tuple(part.double() for part in _alphas_and_betas(a.float())),
    },
    well="also where β is as small as 0.00003",
    tolerance=1e-9,
)


def _q_step(x: Tensor, beta: float, generator: torch.Generator) -> Tensor:
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=generator)


q_step = Task(
    "one noising step",
    _q_step,
    lambda: [(torch.tensor([[2.0, -1.0]]).double().repeat(MANY, 1), beta, _generator()) for beta in (0.3, 0.1)],
    {
        "β for √β: β is the variance of the noise, and what noise is multiplied by is its root.": lambda x, b, g: (
            math.sqrt(1 - b) * x + b * torch.randn(x.shape, generator=g)
        ),
        "the point is multiplied by 1 − β, and should be by √(1 − β): else its variance and that of the noise don't add "
        "up to 1.": lambda x, b, g: (1 - b) * x + math.sqrt(b) * torch.randn(x.shape, generator=g),
        "the point doesn't shrink. Without √(1 − β) the variance would grow with every step.": lambda x, b, g: (
            x + math.sqrt(b) * torch.randn(x.shape, generator=g)
        ),
        "uniform for normal noise: torch.rand lies in 0 … 1; torch.randn is the normal one.": lambda x, b, g: (
            math.sqrt(1 - b) * x + math.sqrt(b) * torch.rand(x.shape, generator=g)
        ),
        "uniform for normal noise: the mean is 0, as it should be, but the noise has no tails; take "
        "torch.randn.": lambda x, b, g: (
            math.sqrt(1 - b) * x + math.sqrt(b) * (2 * torch.rand(x.shape, generator=g) - 1)
        ),
    },
    seen=_moments,
    tolerance=0.02,
    well="mean, variance and tails of 200 000 points are right",
)


def _q_sample(x_0: Tensor, t: int, alphas_cumprod: Tensor, generator: torch.Generator) -> Tensor:
    kept = float(alphas_cumprod[t])
    return math.sqrt(kept) * x_0 + math.sqrt(1 - kept) * torch.randn(x_0.shape, generator=generator)


q_sample = Task(
    "all noising steps at once",
    _q_sample,
    lambda: [
        (torch.tensor([[2.0, -1.0]]).double().repeat(MANY, 1), t, SHORT.alphas_cumprod, _generator()) for t in (3, 9)
    ],
    {
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance; points are multiplied by their "
        "roots.": lambda x, t, a, g: a[t] * x + (1 - a[t]) * torch.randn(x.shape, generator=g),
        "the noise is multiplied by 1 − ᾱ, and should be by its root.": lambda x, t, a, g: (
            a[t].sqrt() * x + (1 - a[t]) * torch.randn(x.shape, generator=g)
        ),
        "the noise is multiplied by 1 − √ᾱ, and should be by √(1 − ᾱ): it is the squares that add up to "
        "1.": lambda x, t, a, g: a[t].sqrt() * x + (1 - a[t].sqrt()) * torch.randn(x.shape, generator=g),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t − 1].": lambda x, t, a, g: (
            _q_sample(x, t - 1, a, g)
        ),
        "the index is off by one: after the step number t, ᾱ is alphas_cumprod[t], not [t + 1].": lambda x, t, a, g: (
            _q_sample(x, t + 1, a, g)
        ),
        "√ᾱ and √(1 − ᾱ) have changed places: the data keep ᾱ of the variance.": lambda x, t, a, g: (
            (1 - a[t]).sqrt() * x + a[t].sqrt() * torch.randn(x.shape, generator=g)
        ),
        "uniform for normal noise: torch.rand lies in 0 … 1; torch.randn is the normal one.": lambda x, t, a, g: (
            a[t].sqrt() * x + (1 - a[t]).sqrt() * torch.rand(x.shape, generator=g)
        ),
    },
    seen=_moments,
    tolerance=0.02,
    well="mean, variance and tails of 200 000 points are right",
)


def _wasted(alphas_cumprod: Tensor) -> float:
    return float((alphas_cumprod < 0.01).double().mean())


wasted = Task(
    "the share of wasted steps",
    _wasted,
    lambda: [(schedule.alphas_cumprod,) for schedule in (linear(), sigmoid())],
    {
        "that is their number; divide it by that of all steps.": lambda a: float((a < 0.01).sum()),
        "that is per cent; a share lies between 0 and 1.": lambda a: 100 * _wasted(a),
        "that is the share of the others, those with ᾱ above 0.01.": lambda a: 1 - _wasted(a),
        "that is the first of them, as a share of the way: the wasted ones are those after it.": lambda a: float(
            int((a < 0.01).nonzero()[0]) / len(a)
        ),
    },
    well="32.7 % of the linear schedule's, 9.2 % of the sigmoid's",
)


# --- notebook 2


def _waves(x: Tensor, omega: Tensor) -> Tensor:
    angles = (x.unsqueeze(-1) * omega).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


waves = Task(
    "coordinates as waves",
    _waves,
    lambda: [(_draw(7, 2), torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64))],
    {
        "cosines first: put the sines before them.": lambda x, w: _waves(x, w).roll(x.shape[1] * len(w), dims=1),
        "divided by ω: it is a frequency, not a wavelength.": lambda x, w: _waves(x, 1 / w),
        "ω in turns: it is in radians per unit already, without 2π.": lambda x, w: _waves(x, 2 * math.pi * w),
        "the order is another: first all waves of the first coordinate, then those of the second.": lambda x, w: (
            torch.cat([f((x.unsqueeze(1) * w.unsqueeze(1)).flatten(1)) for f in (torch.sin, torch.cos)], dim=1)
        ),
    },
)


def _time_matters(model: Function, x: Tensor, timesteps: int) -> float:
    return float((model(x, torch.tensor([timesteps - 1])) - model(x, torch.tensor([0]))).abs().max())


def _timeless(x: Tensor, t: Tensor) -> Tensor:
    return _network(x, torch.tensor([3]))


time_matters = Task(
    "does time matter?",
    _time_matters,
    lambda: [(_network, _draw(20, 2), 10), (_timeless, _draw(20, 2), 10)],
    {
        "differences of both signs cancel in a mean: take their absolute values, and the largest of them.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).mean())
        ),
        "the largest difference, but without its sign taken away: one of −5 is a difference, too.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).max())
        ),
        "that is the mean difference; one point that knows the time would be lost in it. Take the largest.": (
            lambda m, x, n: float((m(x, torch.tensor([n - 1])) - m(x, torch.tensor([0]))).abs().mean())
        ),
        "the last timestep is T − 1; T itself is one too far.": (
            lambda m, x, n: float((m(x, torch.tensor([n])) - m(x, torch.tensor([0]))).abs().max())
        ),
    },
    well="a network that doesn't know the time is found out",
)


def _silent_loss() -> float:
    return 1.0


silent_loss = Task(
    "the loss of a network that always answers 0",
    _silent_loss,
    lambda: [()],
    {
        "it would be 0 if the noise were 0. The error is the noise itself, squared: what is the mean of the square of a "
        "standard normal number?": lambda: 0.0,
        "that is the sum over both coordinates; the loss is their mean.": lambda: 2.0,
        "a half is what a fresh network reads, which answers √(1 − ᾱ) x, not 0.": lambda: 0.5,
    },
    well="the noise's own variance",
    tolerance=1e-3,
)


# --- notebook 3


def _noised(x_0: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    kept = alphas_cumprod[t].unsqueeze(1)
    return kept.sqrt() * x_0 + (1 - kept).sqrt() * noise


def _loss(network: Function, x_0: Tensor, t: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (network(_noised(x_0, t, noise, alphas_cumprod), t) - noise).square().mean()


loss = Task(
    "the loss of a batch",
    _loss,
    lambda: [(_network, _draw(30, 2), torch.arange(30) % 19, _draw(30, 2, seed=1), SHORT.alphas_cumprod)],
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
        "the errors are not squared: that is the mean of their absolute values.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t) - z).abs().mean()
        ),
        "the network sees the data themselves, not the noised points.": lambda f, x, t, z, a: (
            (f(x, t) - z).square().mean()
        ),
        "the roots are missing where the points are noised.": lambda f, x, t, z, a: (
            (f(a[t].unsqueeze(1) * x + (1 - a[t]).unsqueeze(1) * z, t) - z).square().mean()
        ),
        "the index is off by one: the network is told t + 1, and the points were noised to t.": lambda f, x, t, z, a: (
            (f(_noised(x, t, z, a), t + 1) - z).square().mean()
        ),
        "all points have the first one's timestep; each has its own.": lambda f, x, t, z, a: _loss(
            f, x, t[:1].expand(len(t)), z, a
        ),
    },
    tolerance=1e-5,
)


def _ema(average: Tensor, weights: Tensor, decay: float) -> Tensor:
    return decay * average + (1 - decay) * weights


ema = Task(
    "the moving average of the weights",
    _ema,
    lambda: [(_draw(5), _draw(5, seed=1), 0.9), (_draw(5), _draw(5, seed=1), 0.999)],
    {
        "the two have changed places: the average should keep `decay` of itself, and take little of the new "
        "weights.": lambda a, w, d: _ema(w, a, d),
        "it adds the new weights to what is left of the average; their share is 1 − decay.": lambda a, w, d: d * a + w,
        "the decay is not used: that is the mean of the two.": lambda a, w, d: (a + w) / 2,
    },
)


def _avoidable(loss: float, floor: float) -> float:
    return (loss - floor) / loss


avoidable = Task(
    "the share of the loss that training can take away",
    _avoidable,
    lambda: [(0.4, 0.3), (0.371, 0.365)],
    {
        "that is the share that can't go away.": lambda loss, floor: floor / loss,
        "that is the excess itself; as a share of the loss it is divided by the loss.": lambda loss, floor: loss - floor,
        "divided by the floor; a share of the loss is divided by the loss.": lambda loss, floor: (loss - floor) / floor,
        "the wrong sign: the loss lies above its floor.": lambda loss, floor: (floor - loss) / loss,
        "that is per cent; a share lies between 0 and 1.": lambda loss, floor: 100 * (loss - floor) / loss,
    },
)


# --- notebook 4


def _reverse_mean(x_t: Tensor, epsilon: Tensor, t: int, betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    return (x_t - betas[t] / (1 - alphas_cumprod[t]).sqrt() * epsilon) / (1 - betas[t]).sqrt()


reverse_mean = Task(
    "one step back, without the noise",
    _reverse_mean,
    lambda: [(_draw(9, 2), _draw(9, 2, seed=1), t, SHORT.betas, SHORT.alphas_cumprod) for t in (0, 7, 19)],
    {
        "the wrong sign: the noise that was found is taken out, not put in.": lambda x, e, t, b, a: (
            _reverse_mean(x, -e, t, b, a)
        ),
        "β for √(1 − ᾱ): the root is missing under the fraction.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]) * e) / (1 - b[t]).sqrt()
        ),
        "√β for β: here β itself is over the fraction.": lambda x, e, t, b, a: (
            (x - b[t].sqrt() / (1 - a[t]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
        "divided by √ᾱ: that jumps to the data in one go. One step back divides by √α.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / a[t].sqrt()
        ),
        "all noise is taken out at once: that is the estimate of the data. One step takes β / √(1 − ᾱ) of "
        "it.": lambda x, e, t, b, a: (x - (1 - a[t]).sqrt() * e) / a[t].sqrt(),
        "multiplied by √α: the way there shrank the points by it, so the way back divides.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) * (1 - b[t]).sqrt()
        ),
        "divided by α; it is its root that the points were multiplied by.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t]).sqrt() * e) / (1 - b[t])
        ),
        "the index is off by one: ᾱ of the step before, where that of the step itself belongs.": lambda x, e, t, b, a: (
            (x - b[t] / (1 - a[t - 1]).sqrt() * e) / (1 - b[t]).sqrt()
        ),
    },
    tolerance=1e-5,
)


def _posterior_variance(betas: Tensor, alphas_cumprod: Tensor) -> Tensor:
    before = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return betas * (1 - before) / (1 - alphas_cumprod)


posterior_variance = Task(
    "the variance of the reverse step",
    _posterior_variance,
    lambda: [(schedule.betas, schedule.alphas_cumprod) for schedule in (SHORT, sigmoid())],
    {
        "mixed up: the fraction is upside down. 1 − ᾱ of the step before is the smaller one and stands "
        "above.": lambda b, a: torch.cat([torch.full((1,), math.inf).double(), b[1:] * (1 - a[1:]) / (1 - a[:-1])]),
        "mixed up: that is β, the variance of the step there. The posterior's is smaller.": lambda b, a: b.clone(),
        "the index is off by one: above stands ᾱ of the step before t, not of the step after it.": lambda b, a: (
            b * (1 - torch.cat([a[1:], a[-1:]])) / (1 - a)
        ),
        "that is the root, the standard deviation.": lambda b, a: _posterior_variance(b, a).sqrt(),
        "the first is β, and should be 0: before the first step ᾱ is 1, so there is nothing uncertain "
        "left.": lambda b, a: torch.cat([b[:1], _posterior_variance(b, a)[1:]]),
        "1 − ᾱ is missing below.": lambda b, a: _posterior_variance(b, a) * (1 - a),
    },
    well="0 at t = 0, and never more than β",
    tolerance=1e-9,
)


def _walk(
    epsilon: Function, x_T: Tensor, noises: Tensor, schedule: Schedule, *, last: int = 0, power: float = 0.5, late: int = 0
) -> Tensor:
    """Ancestral sampling with the variance β; the last three arguments make mistakes."""
    x = x_T
    for t in range(schedule.timesteps - 1, last - 1, -1):
        asked = torch.tensor([max(0, t - late)])
        x = _reverse_mean(x, epsilon(x, asked), t, schedule.betas, schedule.alphas_cumprod)
        if t:
            x = x + schedule.betas[t] ** power * noises[t]
    return x


def _sampled(epsilon: Function, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule)


def _noise_at_last(epsilon: Function, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    return _walk(epsilon, x_T, noises, schedule) + schedule.betas[0].sqrt() * noises[0]


def _forward_order(epsilon: Function, x_T: Tensor, noises: Tensor, schedule: Schedule) -> Tensor:
    x = x_T
    for t in range(schedule.timesteps):
        x = _reverse_mean(x, epsilon(x, torch.tensor([t])), t, schedule.betas, schedule.alphas_cumprod)
        x = x + schedule.betas[t].sqrt() * noises[t] if t else x
    return x


sampling_loop = Task(
    "all steps back",
    _sampled,
    lambda: [(BestDenoiser(_draw(12, 2, seed=5), SHORT).epsilon, _draw(9, 2), _draw(20, 9, 2, seed=1), SHORT)],
    {
        "noise is added at the last step as well. After t = 0 the points are finished, and the noise would stay in "
        "them.": _noise_at_last,
        "the index is off by one: the last step, t = 0, is missing; `range` stops before its second "
        "number.": lambda f, x, z, s: _walk(f, x, z, s, last=1),
        "β for √β: β is the variance, and noise is multiplied by its root.": lambda f, x, z, s: _walk(
            f, x, z, s, power=1.0
        ),
        "no noise is added at all: the points draw together too closely.": lambda f, x, z, s: _walk(
            f, x, 0 * z, s
        ),
        "the steps are taken forwards; the way back begins at t = T − 1.": _forward_order,
        "the index is off by one: the network is asked about t − 1 while the points are at t.": lambda f, x, z, s: (
            _walk(f, x, z, s, late=1)
        ),
    },
    tolerance=1e-5,
)


def _ddim_step(x_t: Tensor, epsilon: Tensor, now: float, after: float) -> Tensor:
    x_0 = (x_t - math.sqrt(1 - now) * epsilon) / math.sqrt(now)
    return math.sqrt(after) * x_0 + math.sqrt(1 - after) * epsilon


ddim_step = Task(
    "one step of DDIM without noise",
    _ddim_step,
    lambda: [(_draw(9, 2), _draw(9, 2, seed=1), 0.2, 0.5), (_draw(9, 2), _draw(9, 2, seed=1), 0.7, 0.95)],
    {
        "that is the estimate of the data; it still has to be noised to where the step ends.": lambda x, e, n, a: (
            _ddim_step(x, e, n, 1.0)
        ),
        "the wrong sign in the estimate of the data: x_t is √ᾱ x_0 plus noise, so the noise is taken "
        "away.": lambda x, e, n, a: (
            math.sqrt(a) * (x + math.sqrt(1 - n) * e) / math.sqrt(n) + math.sqrt(1 - a) * e
        ),
        "the two ᾱ have changed places.": lambda x, e, n, a: _ddim_step(x, e, a, n),
        "the roots are missing: ᾱ and 1 − ᾱ are shares of the variance.": lambda x, e, n, a: (
            a * (x - (1 - n) * e) / n + (1 - a) * e
        ),
        "the points are noised with the amount they had, not with what they should have after the "
        "step.": lambda x, e, n, a: math.sqrt(a) * (x - math.sqrt(1 - n) * e) / math.sqrt(n) + math.sqrt(1 - n) * e,
    },
    tolerance=1e-5,
)


# --- notebook 5


def _responsibilities(x_t: Tensor, points: Tensor, kept: float, factor: float = 0.5, root: bool = True) -> Tensor:
    centres = (math.sqrt(kept) if root else 1.0) * points
    squared = (x_t.unsqueeze(1) - centres).square().sum(dim=2)
    return torch.softmax(-factor * squared / (1 - kept), dim=1)


def _best_epsilon(x_t: Tensor, points: Tensor, kept: float) -> Tensor:
    return _from_weights(x_t, points, kept, _responsibilities(x_t, points, kept))


def _from_weights(x_t: Tensor, points: Tensor, kept: float, weights: Tensor) -> Tensor:
    return (x_t - math.sqrt(kept) * weights @ points) / math.sqrt(1 - kept)


best_epsilon = Task(
    "the best denoiser",
    _best_epsilon,
    lambda: [(_draw(9, 2), _draw(6, 2, seed=1), kept) for kept in (0.3, 0.8)],
    {
        "the wrong sign: the weights are largest for the points that are farthest.": lambda x, p, k: _from_weights(
            x, p, k, _responsibilities(x, p, k, factor=-0.5)
        ),
        "the factor 2 is missing: a Gaussian's exponent is the squared distance over twice the variance.": (
            lambda x, p, k: _from_weights(x, p, k, _responsibilities(x, p, k, factor=1.0))
        ),
        "the weights compare x_t with the points themselves; at that time they have shrunk to √ᾱ of where they "
        "were.": lambda x, p, k: _from_weights(x, p, k, _responsibilities(x, p, k, root=False)),
        "that takes the nearest point alone. Several may have become this x_t; the best answer is their "
        "mean.": lambda x, p, k: _from_weights(
            x, p, k, torch.nn.functional.one_hot(_responsibilities(x, p, k).argmax(dim=1), len(p)).to(p)
        ),
        "that is the mean of the data, the estimate of x_0; the noise is what is left of x_t without "
        "it.": lambda x, p, k: _responsibilities(x, p, k) @ p,
        "the weights sum to 1 over the noised points; they should over the data points: each x_t has one "
        "origin.": lambda x, p, k: _from_weights(
            x, p, k, torch.softmax(_responsibilities(x, p, k).log(), dim=0)
        ),
        "divided by 1 − ᾱ; the noise was multiplied by its root.": lambda x, p, k: (
            _best_epsilon(x, p, k) / math.sqrt(1 - k)
        ),
    },
    well="equal to the lab's own on points that you haven't seen",
    tolerance=1e-5,
)


def _excess(answers: Tensor, best: Tensor) -> Tensor:
    return (answers - best).square().mean()


excess = Task(
    "the excess over the floor",
    _excess,
    lambda: [(_draw(40, 2), _draw(40, 2, seed=1))],
    {
        "sum for mean.": lambda a, b: (a - b).square().sum(),
        "that is the sum over the coordinates and the mean over the points; the loss is the mean over "
        "both.": lambda a, b: (a - b).square().sum(dim=1).mean(),
        "not squared: that is the mean of the absolute differences.": lambda a, b: (a - b).abs().mean(),
        "that is the root of it.": lambda a, b: (a - b).square().mean().sqrt(),
    },
)


def _copied_share(multiple: float, train: int, held_out: int) -> float:
    return (multiple - 1) * train / held_out


copied_share = Task(
    "the copied share",
    _copied_share,
    lambda: [(1.16, 5000, 5000), (1.05, 20_000, 5000)],
    {
        "the fraction is upside down: with more training points the same multiple means more copies.": (
            lambda m, n, h: (m - 1) * h / n
        ),
        "1 is what real points read, so it has to be taken away first.": lambda m, n, h: m * n / h,
        "the number of training points is left out.": lambda m, n, h: m - 1,
        "the wrong sign.": lambda m, n, h: (1 - m) * n / h,
    },
)

TASKS: dict[str, Task] = {name: value for name, value in list(globals().items()) if isinstance(value, Task)}
