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
        if given is None:
            raise NotYet(f"{self.name}: it returned nothing. Does its last line begin with `return`?")
        if isinstance(wanted, tuple):
            if not isinstance(given, tuple) or len(given) != len(wanted):
                raise NotYet(
                    f"{self.name}: it should return {len(wanted)} things, separated by commas; got {_kind(given)}"
                )
            for one, other in zip(given, wanted, strict=True):
                self._check_form(one, other, question)
        elif isinstance(wanted, Tensor):
            if not isinstance(given, Tensor):
                raise NotYet(f"{self.name}: it should return a tensor; got {_kind(given)}")
            if given.shape != wanted.shape:
                raise NotYet(
                    f"{self.name}: the answer has the shape {tuple(given.shape)}, and should have {tuple(wanted.shape)}"
                )
            if wanted.is_floating_point() and given.dtype != wanted.dtype:
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
    """Whether two answers are the same: each number, so that small ones count as well; or where a sum has cancelled."""
    a, b = _numbers(a), _numbers(b)
    if a.shape != b.shape:
        return False
    finite = torch.cat([a, b]).abs().nan_to_num(0, 0, 0)
    scale = float(finite.max()) if len(finite) else 0.0
    return torch.allclose(a, b, rtol=tolerance, atol=1e-3 * tolerance * scale, equal_nan=True)
