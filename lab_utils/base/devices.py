"""Where tensors are worked on: on the processor, or on a graphics card, which does the same but for rounding."""

from __future__ import annotations

from collections.abc import Callable

import torch

# kind → whether this machine has one; "auto" takes the first that is there
KINDS: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}
CHOICES = ("cpu", "cuda", "mps", "auto")  # what a command may be asked for
SINGLE = {"mps"}  # kinds that have no float64
ONE_THREAD = {"mps"}  # kinds that PyTorch lets one thread use at a time


class DeviceError(ValueError):
    """A device that isn't there: the message says what came, which ones this machine has, and what to do."""


def device_named(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: "cpu", the processor; "cuda" or "mps", a graphics card of NVIDIA's or AMD's, or of Apple's; or "auto",
            the first of cuda, mps and cpu that is there. Of several cards of NVIDIA's it is the current one.

    Raises:
        DeviceError: there is no such device, or this machine has none.
    """
    there = [kind for kind, has in KINDS.items() if has()]
    if name == "auto":
        return torch.device(there[0])
    if name not in there:
        raise DeviceError(
            f"device must be one of {', '.join(CHOICES)}, and one that is there: this machine, with its PyTorch, has "
            f'{" and ".join(there)}; got {name!r}. "auto" takes the fastest that is there'
        )
    return torch.device(name)


def for_float64(device: torch.device) -> torch.device:
    """Where float64 is worked out for tensors on `device`: there, or on the processor if it has none, as mps."""
    return torch.device("cpu") if device.type in SINGLE else device
