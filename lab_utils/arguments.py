"""What an argument may be, where Python itself is generous: to it, True is a whole number, and NaN a number."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_whole(value: Any, least: float = -math.inf) -> TypeGuard[int]:
    """Whether it is a whole number, and at least so large."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return (isinstance(value, float) and math.isfinite(value)) or is_whole(value)
