"""What is loaded is what was saved, to the bit, or it is refused: nothing in a file can run, or be half there."""

import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from small_runs import same

from lab_utils.base.tensors import DamagedError, load_tensors, save_tensors

TENSORS = {"losses": torch.tensor([0.1, 1 / 3]), "generator": torch.arange(3, dtype=torch.uint8), "one": torch.ones(())}
ABOUT = {"epoch": 3, "model": {"width": 8, "seed": None}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state.safetensors"
    save_tensors(path, TENSORS, ABOUT)
    return path


def test_what_was_saved_is_loaded_and_the_same_gives_the_same_bytes(path, tmp_path):
    assert same(load_tensors(path, ABOUT), TENSORS)
    save_tensors(tmp_path / "again", dict(reversed(TENSORS.items())), ABOUT)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert same(load(path.read_bytes()), TENSORS)  # it is a file like any other of its kind


def test_every_single_flipped_bit_and_every_cut_is_found(path):
    whole = path.read_bytes()
    for position in range(8 * len(whole)):
        content = bytearray(whole)
        content[position // 8] ^= 1 << position % 8
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"state\.safetensors (is damaged|belongs to something else)"):
            load_tensors(path, ABOUT)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=r"state\.safetensors is damaged"):
            load_tensors(path, ABOUT)


@given(
    content=st.binary(max_size=200)
    | st.builds(
        lambda header, body: len(header).to_bytes(8, "little") + header + body,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["__metadata__", "lab", "dtype", "shape", "data_offsets", "a"]), inner, max_size=4
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=20),
    )
    | st.dictionaries(st.sampled_from(["lab", "x"]), st.text(max_size=50), min_size=1).map(lambda m: save(TENSORS, m))
)
def test_whatever_else_is_in_the_file_is_refused_in_one_way(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="fuzzed is damaged"):
        load_tensors(path, ABOUT)


def test_a_pickle_is_refused_and_does_not_run(path, tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for write in (pickle.dump, torch.save):
        with path.open("wb") as file:
            write({"losses": Bad()}, file)
        with pytest.raises(DamagedError, match="is damaged"):
            load_tensors(path, ABOUT)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("about", [{}, {"epoch": 4, "model": {"width": 8, "seed": None}}, {**ABOUT, "more": 1}])
def test_what_belongs_to_something_else_is_refused(path, about):
    with pytest.raises(DamagedError, match=r'belongs to something else: \{"epoch": 3, "model": \{"width": 8'):
        load_tensors(path, about)


def test_a_file_that_is_not_there_is_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "nowhere", ABOUT)
