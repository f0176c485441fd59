"""A network that one notebook has trained and another one needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from lab_utils.base.files import cache_folder
from lab_utils.base.tensors import load_tensors, save_tensors
from lab_utils.diffusion.denoiser import DenoisingModule

Network = TypeVar("Network", bound=DenoisingModule)


def _place(name: str) -> Path:
    """Where the network of that name stands.

    Raises:
        ValueError: the name can't be a file's.
    """
    if not re.fullmatch(r"[\w ]{1,60}", name):
        raise ValueError(f"a name has letters, digits and spaces, 60 at most; got {name!r:.80}")
    return cache_folder() / "kept" / f"{name}.safetensors"


def _about(network: DenoisingModule) -> dict[str, Any]:
    return {"class": type(network).__name__, "config": getattr(network, "config", None)}


def keep(name: str, network: DenoisingModule) -> None:
    """Keep a network's weights under a name, in the place of whatever was kept under it.

    Raises:
        ValueError: the name can't be a file's.
        OSError: they can't be written.
    """
    path = _place(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {part: tensor.detach().cpu().contiguous() for part, tensor in network.state_dict().items()}
    save_tensors(path, weights, _about(network))


def kept_network(name: str, network: Network) -> Network | None:
    """The network with the weights that were kept under that name, ready to sample from; None if there are none.

    Args:
        name: as for `keep`.
        network: one of the same build; it gets the weights.

    Raises:
        ValueError: the name can't be a file's, the file is damaged, or it belongs to a network of another build.
    """
    try:
        weights = load_tensors(_place(name), _about(network))
    except FileNotFoundError:
        return None
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
