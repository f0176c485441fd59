"""Feedback on the exercises: is an answer right, and if it isn't, which of the classic mistakes was made?

Each task has a solution, and the mistakes that are known to be made in it: wrong solutions, each with what there is to
say about it. The student's function and the solution are asked the same questions. Where the answers differ, the
mistake that gives the student's numbers is named. So it is recognised however the code that made it is written.

Some mistakes are the same in every task, and their numbers may look right. `Task` asks for them itself: an argument
that is changed in place, noise that doesn't come from the generator or is shared, a loss that can't be trained.
"""

from __future__ import annotations

import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Function = Callable[..., Any]
Question = tuple[Any, ...]

MOST_CORRELATED = 0.05  # two coordinates' noise: far more than chance gives to thousands of points
LEAST_DISTINCT = 0.9  # of the points' noise: float32 repeats some numbers by chance, but not a tenth of them


class NotYet(AssertionError):  # noqa: N818 (it is no error of the program's)
    """A task is not solved yet; the message says what to look at. A notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"✗ {self}"]


@dataclass(frozen=True)
class Task:
    """A task of a notebook. Call it with the student's function; it prints that all is well, or raises `NotYet`.

    Attributes:
        name: what is to be written.
        solution: what it should do; its parameters have the names that the students' function has.
        questions: gives the arguments that both are called with, anew for each, so that nobody can spoil them.
        mistakes: what to say → the wrong solution that it is said of.
        seen: what of an answer is compared: all of it, or its moments, each with its name, where it is random.
        observed: of a function that works on its arguments and returns a number: what it has done, each with its name,
            worked out of that number and the arguments afterwards. It is compared in the place of the answer. Causes
            stand before what follows from them, because a mistake is known by the first thing that is not as it
            should be. None of it hangs on how the random numbers were drawn, which is the student's choice.
        parts: what the things are called that a right answer consists of, if it is a tuple.
        labels: whether the last thing, or the only one, says of which class each point is.
        tolerance: how far two answers to the same question may be apart, as a share of the larger.
        well: what to say of a right answer.
    """

    name: str
    solution: Function
    questions: Callable[[], Sequence[Question]]
    mistakes: dict[str, Function] = field(default_factory=dict)
    seen: Callable[[Any], Any] = lambda answer: answer
    observed: Callable[[Any, Question], Mapping[str, float]] | None = None
    parts: tuple[str, ...] = ()
    labels: bool = False
    tolerance: float = 1e-6
    well: str = "right"

    def __call__(self, function: Function) -> None:
        """Check the student's function.

        Raises:
            NotYet: it isn't right; the message says what is wrong with it, as far as that can be told.
        """
        questions, the_same = self.questions(), self.questions()
        given = [self._done(self._ask(function, question), question) for question in questions]
        right = [self._done(self.solution(*question), question) for question in the_same]
        if self.observed is None:
            for question, untouched in zip(questions, the_same, strict=True):
                self._check_arguments(question, untouched)
        if self._same(given, right):
            self._check_labels(given[0])
            self._check_chance(function)
            for pair in zip(zip(given, questions, strict=True), zip(right, the_same, strict=True), strict=True):
                self._check_gradient(*pair)
            print(f"✓ {self.name}: {self.well}")
            return
        shown = self._shown(given, right)
        for says, wrong in self.mistakes.items():
            made = [self._done(wrong(*question), question) for question in self.questions()]
            if self._same(shown, self._shown(made, right)):
                raise self._not_yet(says)
        if self.observed is None:
            for answer, wanted in zip(given, right, strict=True):
                self._check_form(answer, wanted)
            if all(bool(_numbers(answer).isfinite().all()) for answer in given):
                self._check_chance(function)
                self._check_constant(given, right)
        raise self._not_yet(self._difference(shown, right))

    def unsolved(self, function: Function) -> str | None:
        """The name of the function that is still a stub: the student's, or one that it calls. None if there is none."""
        try:
            function(*self.questions()[0])
        except Exception as error:  # another error is a mistake, and to name it is the check's work
            return _stub(error)
        return None

    def mistake(self, start: str) -> Function:
        """The known mistake whose message begins with `start`, to be made on purpose.

        Raises:
            ValueError: none does, or several do.
        """
        found = [wrong for says, wrong in self.mistakes.items() if says.startswith(start)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} mistakes of {self.name!r} begin with {start!r}; one should")
        return found[0]

    def _not_yet(self, says: str) -> NotYet:
        return NotYet(f"{self.name}: {says}")

    def _done(self, answer: Any, question: Question) -> Any:
        """The answer to that question, or what was done to its arguments."""
        if self.observed is None:
            return answer
        self._check_form(answer, 0.0)
        return self.observed(answer, question)

    def _ask(self, function: Function, question: Question) -> Any:
        try:
            return function(*question)
        except NotYet:
            raise
        except Exception as error:
            stub = _stub(error)
            if stub is None:
                says = f"it stopped with {type(error).__name__}: {error}{_advice(str(error))}"
            elif stub == getattr(function, "__name__", stub):
                says = "not solved yet. Replace the line that raises NotImplementedError."
            else:
                says = f"it calls `{stub}`, and that is not solved yet."
            raise self._not_yet(says) from (None if stub else error)

    def _named(self, question: Question) -> Iterator[tuple[str, Any]]:
        return zip(inspect.signature(self.solution).parameters, question, strict=True)

    def _check_arguments(self, question: Question, untouched: Question) -> None:
        for (name, argument), other in zip(self._named(question), untouched, strict=True):
            if not _unchanged(argument, other):
                raise self._not_yet(
                    f"it changes its argument {name} in place, and whoever called it loses what was there. "
                    "`x += y`, `x[0] = y` and `x.add_(y)` change the tensor itself, and `x = x + y` makes a new one. "
                    f"Or begin with `{name} = {name}.clone()`."
                )

    def _check_form(self, given: Any, wanted: Any) -> None:
        if says := _misformed(given, wanted):
            raise self._not_yet(says)

    def _check_labels(self, given: Any) -> None:
        last = given[-1] if isinstance(given, tuple | list) else given
        if self.labels and last.is_floating_point():
            raise self._not_yet(_WHOLE.format(last.dtype))

    def _check_chance(self, function: Function) -> None:
        """The same arguments give the same answer; and of noise, nothing is shared that has to be drawn anew."""
        questions = self.questions()
        given = [self._ask(function, question) for question in questions]
        again = [self._ask(function, question) for question in self.questions()]
        random = any(isinstance(argument, torch.Generator) for argument in questions[0])
        if not all(_close(one, other, self.tolerance) for one, other in zip(given, again, strict=True)):
            raise self._not_yet(_OTHER_GENERATOR if random else _OWN_NOISE)
        if not random:
            return
        # The generator has moved on, so a second call with it draws other noise. Whatever is no noise cancels.
        moved_on = tuple(
            used if isinstance(used, torch.Generator) else new
            for used, new in zip(questions[0], self.questions()[0], strict=True)
        )
        other = self._ask(function, moved_on)
        if self.observed is not None:
            if _close(given[0], other, self.tolerance):
                raise self._not_yet(_SAME_CALLS)
            return
        noise = (given[0] - other).detach()
        if float((noise == 0).double().mean(dim=0).max()) > 1 - LEAST_DISTINCT:
            raise self._not_yet(_SAME_CALLS)
        if min(len(column.unique()) for column in noise.T) < LEAST_DISTINCT * len(noise):
            raise self._not_yet(_SAME_POINTS)
        if abs(float(torch.corrcoef(noise.T)[0, 1])) > MOST_CORRELATED:
            raise self._not_yet(_SAME_COORDINATES)

    def _check_constant(self, given: Sequence[Any], right: Sequence[Any]) -> None:
        """Several questions have several answers. A number that was written down is right for one of them at most."""
        if len(given) > 1 and _is_number(right[0]) and all(_close(given[0], one, self.tolerance) for one in given):
            asked = ", ".join(f"`{name}`" for name, _ in self._named(self.questions()[0]))
            raise self._not_yet(
                f"it gives {_said(_numbers(given[0])[0])} whatever it is asked. The check asks several questions, "
                f"which have different answers: work yours out of {asked}."
            )

    def _check_gradient(self, given: tuple[Any, Question], right: tuple[Any, Question]) -> None:
        """Where the solution can be trained, so can the answer: its gradient is the solution's."""
        if not _trainable(right[0]):
            return
        try:
            trained = _close(_gradient(*given), _gradient(*right), self.tolerance)
        except RuntimeError as error:
            raise self._not_yet(f"its gradient can't be taken, and the training loop takes it: {error}") from error
        if not trained:
            raise self._not_yet(_UNTRAINABLE)

    def _same(self, answers: Sequence[Any], others: Sequence[Any]) -> bool:
        return all(
            not _misformed(answer, other) and _close(self.seen(answer), self.seen(other), self.tolerance)
            for answer, other in zip(answers, others, strict=True)
        )

    def _shown(self, answers: Sequence[Any], right: Sequence[Any]) -> Sequence[Any]:
        """By what a mistake is known: the answers; or of what was done, the first thing that is not as it should be."""
        if self.observed is None:
            return answers
        return [
            next(({name: done[name]} for name in due if not _close(done[name], due[name], self.tolerance)), {})
            for done, due in zip(answers, right, strict=True)
        ]

    def _difference(self, given: Sequence[Any], right: Sequence[Any]) -> str:
        """Where the first wrong answer is most wrong, and by how much."""
        if self.observed is not None:
            right = [{name: due[name] for name in done} for done, due in zip(given, right, strict=True)]
        question, answer, wanted = next(
            (question, self.seen(one), self.seen(other))
            for question, one, other in zip(self.questions(), given, right, strict=True)
            if not self._same([one], [other])
        )
        numbers, due, off = _numbers(answer), _numbers(wanted), _off(answer, wanted, self.tolerance)
        apart = (numbers - due).abs().nan_to_num(math.inf)
        worst = int(torch.where(off, apart, -1.0).argmax())
        if not question:  # then there is one right answer, and to say it would give it away
            return f"not yet. It is not {_said(numbers[worst])}."
        settings = [f"{name} = {float(value):.6g}" for name, value in self._named(question) if _is_number(value)]
        says = f"with {', '.join(settings)}, " if settings else ""
        says += f"{_place(wanted, worst, self.parts)} is {_said(numbers[worst])}, and should be {_said(due[worst])}"
        if len(off) > 1:
            says += f"; {100 * float(off.double().mean()):.0f} % of the {len(off)} numbers differ"
        return f"not yet. {says[0].upper()}{says[1:]}"


_DTYPES = (
    "A schedule is computed in float64: over a thousand steps float32 loses the digits that the last ones live on."
)
_WHOLE = "labels are whole numbers, because they say which class it is, and these are {}. `.long()` makes them whole."
_OTHER_GENERATOR = (
    "random numbers don't come from the generator that it is given: with that in the same state as before, they are "
    "others. Hand it to each function that draws, as in `torch.randn(…, generator=generator)`."
)
_OWN_NOISE = (
    "called twice with the same arguments it gives two answers, because it draws random numbers of its own. It needs "
    "none but those that it is given."
)
_SAME_CALLS = (
    "each call draws the same random numbers, because a generator is made or seeded inside the function. Take the one "
    "that is given, as it is: it goes on by itself."
)
_SAME_POINTS = (
    "points share their noise: one draw serves for several, and each needs its own. Draw noise of the shape of the "
    "points."
)
_SAME_COORDINATES = (
    "the two coordinates share their noise: they are correlated, and each needs a draw of its own. Draw noise of the "
    "shape of the points, (n, 2)."
)
_WITH_GRADIENT = (
    "the number still carries its gradient, and with it all that it was worked out of. `.item()` of a tensor gives the "
    "plain number."
)
_UNTRAINABLE = (
    "the number is right, but it can't be trained: its gradient doesn't reach the network, or a part of it doesn't. "
    "Leave out `.detach()`, `.item()`, `float(…)` and `torch.no_grad()`."
)


_ADVICE = {  # a part of what PyTorch or Python says → what such an error comes from
    r"size of tensor a \((2\) .* b \(\d+|\d+\) .* b \(2)\)": (
        "A row of n numbers, one for each point, has to become a column, (n, 1), before it meets points, (n, 2)."
    ),
    r"must be Tensor, not (float|int)|'(float|int)' object has no attribute": (
        "PyTorch's functions take tensors, and this is a plain number of Python's: `torch.tensor(…)` makes it a tensor."
    ),
}


def _advice(says: str) -> str:
    return "".join(f". {advice}" for part, advice in _ADVICE.items() if re.search(part, says))


def _stub(error: Exception) -> str | None:
    """The name of the function whose stub raised this; None if it is another error.

    PyTorch raises a NotImplementedError, too, where it has no code for a type of numbers; but it says so.
    """
    if not isinstance(error, NotImplementedError) or error.args:
        return None
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code.co_name


def _misformed(given: Any, wanted: Any) -> str | None:
    """What is wrong with the form of an answer, whatever its numbers are; None if nothing is."""
    if isinstance(wanted, Mapping):  # what was done, or a part of it
        return None if list(given) == list(wanted) else "something else was done"
    if given is None:
        return "it returned nothing. Does its last line begin with `return`?"
    if isinstance(wanted, tuple):
        if not isinstance(given, tuple | list) or len(given) != len(wanted):
            return f"it should return {len(wanted)} things, separated by commas; got {_kind(given)}"
        return next(filter(None, map(_misformed, given, wanted)), None)
    if _is_number(wanted):
        if not _is_number(given):
            return f"it should return a number; got {_kind(given)}"
        return _WITH_GRADIENT if _trainable(given) and not _trainable(wanted) else None
    if not isinstance(given, Tensor):
        return f"it should return a tensor; got {_kind(given)}"
    if given.shape != wanted.shape:
        return f"the answer has the shape {tuple(given.shape)}, and should have {tuple(wanted.shape)}"
    if wanted.is_floating_point() and given.dtype != wanted.dtype:
        return f"the answer is {given.dtype}, and should be {wanted.dtype}. {_DTYPES}"
    return None


def _trainable(given: Any) -> bool:
    return isinstance(given, Tensor) and given.requires_grad


def _kind(given: Any) -> str:
    shape = f" of the shape {tuple(given.shape)}" if isinstance(given, Tensor) else ""
    return f"a {type(given).__name__}{shape}"


def _said(number: Tensor) -> str:
    return "NaN" if number.isnan() else f"{float(number):.6g}"


def _is_number(given: Any) -> bool:
    """Python's, NumPy's, or a tensor or array with one element."""
    return isinstance(given, Real) or (isinstance(given, Tensor | np.ndarray) and math.prod(given.shape) == 1)


def _unchanged(argument: Any, untouched: Any) -> bool:
    """Whether an argument is still what it was. Functions and generators have nothing that is looked at."""
    if isinstance(argument, Tensor):
        return torch.equal(argument, untouched)
    if isinstance(argument, list | tuple):
        return len(argument) == len(untouched) and all(map(_unchanged, argument, untouched))
    if isinstance(argument, Mapping):  # in one of the two a cached property may have been worked out
        return all(_unchanged(argument[key], untouched[key]) for key in argument.keys() & untouched.keys())
    return _unchanged(vars(argument), vars(untouched)) if hasattr(argument, "__dict__") else True


def _gradient(answer: Any, question: Question) -> Tensor:
    """Of the answer, by all weights of the networks that were asked about; 0 where there is none."""
    weights = [weight for one in question if isinstance(one, nn.Module) for weight in one.parameters()]
    if not _trainable(answer):
        return torch.zeros(sum(weight.numel() for weight in weights))
    found = torch.autograd.grad(answer, weights, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(weight) if slope is None else slope).reshape(-1)
            for weight, slope in zip(weights, found, strict=True)
        ]
    )


def _place(answer: Any, index: int, parts: Sequence[str] = ()) -> str:
    """What the number with this index is called, when all of an answer's numbers stand in a row."""
    if isinstance(answer, Mapping):
        return str(list(answer)[index])
    if isinstance(answer, tuple):
        for part, name in zip(answer, parts, strict=True):
            if index < len(_numbers(part)):
                return f"{_place(part, index)} of {name}"
            index -= len(_numbers(part))
    if _is_number(answer):
        return "it"
    axes = ("row", "column") if answer.dim() == 2 else ("number",)
    places = zip(axes, np.unravel_index(index, tuple(answer.shape)), strict=True)
    return ", ".join(f"{axis} {place}" for axis, place in places) + " (counted from 0)"


def _numbers(answer: Any) -> Tensor:
    """All numbers of an answer, in a row."""
    if isinstance(answer, Mapping):
        return _numbers(tuple(answer.values()))
    if isinstance(answer, tuple | list):
        return torch.cat([_numbers(part) for part in answer])
    return torch.as_tensor(answer).detach().double().reshape(-1)


def _off(answer: Any, wanted: Any, tolerance: float) -> Tensor:
    """Which numbers differ: each is compared for itself, so that small ones count; but a sum may cancel."""
    a, b = _numbers(answer), _numbers(wanted)
    scale = float(torch.cat([a, b]).abs().nan_to_num(0, 0, 0).max())
    return ~torch.isclose(a, b, rtol=tolerance, atol=1e-3 * tolerance * scale, equal_nan=True)


def _close(answer: Any, wanted: Any, tolerance: float) -> bool:
    """Whether two answers are the same: as many numbers, and none of them off."""
    return len(_numbers(answer)) == len(_numbers(wanted)) and not _off(answer, wanted, tolerance).any()
