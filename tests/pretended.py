"""A device that is none: its tensors lie in the processor's memory, and PyTorch takes them for those of another device.

So a machine without a graphics card finds what was not taken there, or not brought back: as on a card, no operation
takes tensors from here and there, but for a copy and for single numbers; a tensor from there is no NumPy array; and a
view of one is changed with it. `PLACE` is the device's name. If `SINGLE` is true it has no float64, as Apple's cards
have none. How fast a device is nobody learns from this one.
"""

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

PLACE = "pretended"
SINGLE = False


class _Uncounted(_DummyBackendModule):
    """What PyTorch asks of the device where it asks all devices that it has: there is none."""

    def device_count(self):
        return 0


_setup_privateuseone_for_python_backend(PLACE, _Uncounted())  # PyTorch's place for a device that it doesn't know
_ATEN = torch.ops.aten
seen = []  # the name of each operation that was done there


class There(torch.Tensor):
    """A tensor there; what it holds is `here`."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here):
        if SINGLE and here.dtype == torch.float64:
            raise TypeError(f"the device {PLACE} has no float64")
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset(), "dtype": here.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, here.shape, device=torch.device(PLACE, 0), **layout)

    def __init__(self, here):
        self.here = here

    @property
    def data(self):
        """As of any tensor: the same numbers, without a history; and others can be put in their place."""
        return self.detach()

    @data.setter
    def data(self, other):
        self.here = other.here

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        parts = operation.decompose(*args, **kwargs)  # of what inference mode hands over whole, as `to`
        return _done_there(operation, args, kwargs) if parts is NotImplemented else parts


@torch.inference_mode(False)  # a tensor from there is an ordinary one, whatever the mode in which it was made
def _done_there(operation, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = {id(tensor.here): tensor for tensor in tensors if isinstance(tensor, There)}
    strangers = [tensor for tensor in tensors if not isinstance(tensor, There) and tensor.dim()]
    if strangers and operation is not _ATEN.copy_.default:
        raise RuntimeError(f"{operation} takes tensors on the device {PLACE} and on the processor")
    seen.append(str(operation))
    target = kwargs.get("device")
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda leaf: leaf.here if isinstance(leaf, There) else leaf, (args, kwargs))
    given = operation(*args, **kwargs)
    if operation is _ATEN.copy_.default and id(given) not in there:  # from there to the processor
        return given
    if operation is _ATEN._to_copy.default and target is not None and torch.device(target).type != PLACE:
        return given

    def taken(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return there[id(leaf)] if id(leaf) in there else There(leaf)  # what was changed in place is the same again

    return tree_map(taken, given)


def _new(operation):
    @torch.inference_mode(False)
    def made(*args, device=None, pin_memory=None, **kwargs):
        return There(operation(*args, device="cpu", **kwargs))

    return made


_made_there = torch.library.Library("aten", "IMPL")  # what is made there; kept, because it would take its makers along
_made_there.impl("empty.memory_format", _new(_ATEN.empty.memory_format), "PrivateUse1")
_made_there.impl("empty_strided", _new(_ATEN.empty_strided.default), "PrivateUse1")


def _copy_from(source, target, non_blocking=False):
    """What `torch.tensor(…, device=…)` ends with."""
    held = [tensor.here if isinstance(tensor, There) else tensor for tensor in (target, source)]
    held[0].copy_(held[1])
    return target


_made_there.impl("_copy_from", _copy_from, "PrivateUse1")
