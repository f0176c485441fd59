"""What an argument may be, where Python and PyTorch are generous.

To them True is a whole number, NaN a number, and one row as good as a table, which they then repeat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class PointsError(ValueError):
    """Points that can't be used: the message says what came, what was expected and what to do."""


def is_whole(value: Any, least: float = -math.inf) -> TypeGuard[int]:
    """Whether it is a whole number, Python's or NumPy's, and at least so large."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number, Python's or NumPy's."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_points(points: Tensor, name: str = "points") -> None:
    """Raise `PointsError` unless `points` is a floating-point tensor of shape (n, 2); values are not looked at."""
    if not isinstance(points, Tensor):
        raise PointsError(f"{name} must be a float tensor of shape (n, 2); got {type(points).__name__}")
    if points.ndim != 2 or points.shape[1] != 2 or not points.is_floating_point():
        got = f"{points.dtype} of shape {tuple(points.shape)}"
        raise PointsError(f"{name} must be a float tensor of shape (n, 2); got {got}")


def as_points(points: Tensor | NDArray[Any], name: str = "points") -> Tensor:
    """What a user has as points, a tensor or a NumPy array of shape (n, 2), as a tensor of the same precision.

    A tensor comes back as it is. An array is copied, so the two share no memory. What a masked array hides is NaN.

    Args:
        points: (n, 2), of any float type that PyTorch has; values are not looked at.
        name: what the message calls them.

    Raises:
        PointsError: they are of another type or shape.
    """
    if isinstance(points, np.ndarray):
        try:
            native = points.dtype.newbyteorder("=")  # PyTorch has no other order of bytes
            points = torch.from_numpy(np.array(np.ma.filled(points, np.nan), dtype=native))
        except TypeError as error:  # text, objects, whole numbers with a mask: nothing that PyTorch could hold
            got = f"an array of {points.dtype}, shape {points.shape}"
            raise PointsError(f"{name} must be a float tensor of shape (n, 2), or such an array; got {got}") from error
    check_points(points, name)
    return points


def check_as_many(points: Tensor, others: Tensor, name: str, other: str) -> None:
    """Raise `PointsError` unless both are points, and as many: PyTorch would repeat a single one."""
    check_points(points, name)
    check_points(others, other)
    if len(points) != len(others):
        raise PointsError(f"{other} must be as many as the {name}, {len(points)}; there are {len(others)}")


def check_finite(points: Tensor, name: str = "points") -> None:
    """Raise `PointsError` unless `points` are finite, (n, 2) float32 or float64, and n is at least 1."""
    check_points(points, name)
    if not len(points):
        raise PointsError(f"{name} points: none given, at least one is needed")
    if points.dtype not in {torch.float32, torch.float64}:
        raise PointsError(f"{name} points must be float32 or float64, not {points.dtype}; write points.float()")
    if not torch.isfinite(points).all():
        raise PointsError(f"{name} points must be finite; {int((~torch.isfinite(points)).any(1).sum())} are not")


def check_classes(classes: Any) -> tuple[str, ...]:
    """The names of classes as a tuple.

    Raises:
        ValueError: they are no names, or one stands there twice.
    """
    several = isinstance(classes, Iterable) and not isinstance(classes, str)
    names = tuple(classes) if several else (None,)
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"classes must be names, such as ('Africa', 'Asia'); got {classes!r:.200}")
    if len({*names}) < len(names):
        raise ValueError(f"each class must have a name of its own; got {', '.join(names)}")
    return names


def class_number(label: str, classes: Sequence[str]) -> int:
    """The place of a class in `classes`, counted from 0.

    Raises:
        ValueError: there is none of that name; the message has those that there are.
    """
    if label not in classes:
        raise PointsError(f"there is no class {label!r}; there are {', '.join(classes) or 'none'}")
    return [*classes].index(label)


def check_labels(labels: Any, count: int, classes: int) -> Tensor:
    """Labels, one for each point, as (n,) int64.

    Args:
        labels: (n,) whole numbers, a tensor or an array: each the place of a class, counted from 0.
        count: how many points there are.
        classes: how many classes there are.

    Raises:
        PointsError: they are of another shape or type, or there are no such classes.
    """
    whole = np.asarray(labels)
    if whole.shape != (count,) or whole.dtype.kind not in "iu":
        got = f"{whole.dtype} of shape {whole.shape}"
        raise PointsError(f"labels must be whole numbers, one for each of the {count} points; got {got}")
    if whole.min() < 0 or whole.max() >= classes:
        got = f"from {whole.min()} to {whole.max()}"
        raise PointsError(f"labels must be places in the {classes} classes, counted from 0; got {got}")
    return torch.from_numpy(whole.astype(np.int64))
