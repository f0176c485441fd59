"""Tensors on disk: safetensors files, which hold nothing that could run, with a checksum and word of what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lab_utils.base.files import sha256, write_whole


class DamagedError(ValueError):
    """A file is not, or not any more, what was written there; the message names it and says why."""


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """A checksum of names, types, shapes and every bit of the values."""
    return sha256(save(dict(tensors)))


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors to a file, whole or not at all; the same tensors give the same bytes.

    Args:
        path: of the file, which is replaced if it is there.
        tensors: name → tensor, on the CPU.
        about: what they belong to, as JSON can tell it.
    """
    # one entry only: safetensors would write several in any order, and the bytes would differ
    label = json.dumps({"about": about, "sha256": _checksum(tensors)})
    content = save(dict(tensors), {"lab": label})
    with write_whole(path) as part:
        part.write_bytes(content)


def load_tensors(path: Path, about: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that `save_tensors` wrote, with the same `about`.

    Raises:
        DamagedError: not all bits are what was written, or it was written about something else.
        OSError: the file can't be opened.
    """
    try:
        with safe_open(path, "pt") as file:
            label = json.loads((file.metadata() or {}).get("lab", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, ValueError) as error:
        raise DamagedError(f"{path} is damaged ({error})") from error
    if not isinstance(label, dict) or label.get("sha256") != _checksum(tensors):
        raise DamagedError(f"{path} is damaged (its checksum is another)")
    if label.get("about") != about:
        raise DamagedError(f"{path} belongs to something else: {json.dumps(label.get('about'))[:300]}")
    return tensors
