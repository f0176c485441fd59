"""A device is found by its name, and what isn't there is refused with what is."""

import pytest
import torch

from lab_utils.base import devices
from lab_utils.base.devices import CHOICES, DeviceError, device_named, for_float64


def has(monkeypatch, *kinds):
    """A machine that has these."""
    monkeypatch.setattr(devices, "KINDS", {kind: lambda kind=kind: kind in kinds for kind in devices.KINDS})


@pytest.mark.parametrize(
    ("there", "best"),
    [({"cpu"}, "cpu"), ({"cpu", "mps"}, "mps"), ({"cpu", "cuda"}, "cuda"), ({"cpu", "cuda", "mps"}, "cuda")],
)
def test_auto_is_the_first_card_that_is_there_or_the_processor(monkeypatch, there, best):
    has(monkeypatch, *there)
    assert device_named("auto") == torch.device(best)
    assert all(device_named(kind) == torch.device(kind) for kind in there)


def test_what_this_machine_has_is_what_pytorch_says():
    assert device_named("cpu") == torch.device("cpu")
    assert torch.zeros(1, device=device_named("auto")).device.type == device_named("auto").type


@pytest.mark.parametrize("name", ["cuda", "gpu", "cuda:1", None, torch.device("cuda")])
def test_what_is_not_there_is_refused_with_what_came_what_there_is_and_what_to_do(monkeypatch, name):
    has(monkeypatch, "cpu", "mps")
    with pytest.raises(DeviceError) as error:
        device_named(name)
    for said in (", ".join(CHOICES), "has mps and cpu;", f"got {name!r}", '"auto" takes'):
        assert said in str(error.value)


@pytest.mark.parametrize(("kind", "exact"), [("cpu", "cpu"), ("cuda", "cuda"), ("mps", "cpu")])
def test_float64_is_worked_out_on_the_processor_where_a_device_has_none(kind, exact):
    assert for_float64(torch.device(kind)) == torch.device(exact)
