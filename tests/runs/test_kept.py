"""A network that is kept is found again, bit for bit, and another one is not taken for it."""

import pytest
import torch

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.runs import keep, kept_network


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))


def network(seed=0, schedule=None, width=8):
    return DiffusionGenerator(schedule=schedule or sigmoid(), width=width, seed=seed)


def test_what_was_kept_is_found_and_can_be_sampled_from():
    keep("notebook 3", network(seed=5))
    found = kept_network("notebook 3", network(seed=5))
    for name, weights in network(seed=5).state_dict().items():
        assert torch.equal(found.state_dict()[name], weights)
    assert not any(weights.requires_grad for weights in found.parameters())


def test_nothing_was_kept():
    assert kept_network("notebook 3", network()) is None


def test_the_last_one_counts():
    first, second = network(), network()
    with torch.no_grad():
        second.leave.bias += 1
    keep("mine", first)
    keep("mine", second)
    assert torch.equal(kept_network("mine", network()).leave.bias, second.leave.bias)


@pytest.mark.parametrize("other", [network(width=16), network(schedule=linear())])
def test_a_network_of_another_build_is_refused_by_name(other):
    keep("mine", network())
    with pytest.raises(ValueError, match="belongs to something else"):
        kept_network("mine", other)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 61])
def test_a_name_that_is_no_file_is_refused(name):
    with pytest.raises(ValueError, match="a name has letters, digits and spaces"):
        keep(name, network())
