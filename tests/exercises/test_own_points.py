"""Notebook 7 about points of one's own: whatever they are, its cells run, and what it says of them is so.

The cells run here as they stand, in one namespace, but with a small network and the points as a file, and without the
animation. `tests/long` runs the whole notebook.
"""

import contextlib
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from odd_points import KINDS, ring

from lab_utils.base.files import DATA_OPTIONS_VARIABLE, DATA_VARIABLE, PROJECT
from lab_utils.measure import compare

NOTEBOOK = PROJECT / "notebooks" / "07_your_own_points.ipynb"
FEWER = {"width=128": "width=8", "noises=max(1, 5000 // len(data.train))": "noises=1"}
LEFT_OUT = ("own-35", "own-36")  # the animation
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the notebook about (n, 2) points: what its cells leave behind."""

    def about(points):
        np.savetxt(tmp_path / "mine.csv", points, delimiter=",", header="east,north", comments="")
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "mine.csv"))
        monkeypatch.delenv(DATA_OPTIONS_VARIABLE, raising=False)
        monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
        names = {}
        for cell in CELLS:
            source = "".join(cell["source"])
            for much, little in FEWER.items():
                source = source.replace(much, little)
            if cell["id"] not in LEFT_OUT:
                with contextlib.redirect_stdout(io.StringIO()):  # whole pictures, as text
                    exec(compile(source, cell["id"], "exec"), names)
        return names

    return about


def test_what_is_made_smaller_here_stands_in_the_notebook():
    whole = "".join(line for cell in CELLS for line in cell["source"])
    assert all(whole.count(much) == 1 for much in FEWER)
    assert {*LEFT_OUT} < {cell["id"] for cell in CELLS}


def test_fewer_points_than_can_be_measured_are_refused_before_the_training(run):
    with pytest.raises(AssertionError, match="give 48 or more"):
        run(ring(47))


@pytest.mark.parametrize(("points", "warning"), KINDS.values(), ids=KINDS)
def test_the_notebook_runs_about_any_points_and_says_what_it_read_of_them(run, points, warning):
    names = run(points)
    last, told = names["last"], names["told"]
    assert not names["boat"]
    assert any(warning in sentence for sentence in names["warned"])
    assert {*names["warned"]} < {*told}  # the card's verdict stands where the numbers are
    assert last.sets[1] == 5
    assert {*last.measures} == {*names["MEASURES"]} - {*last.left_out}
    assert all(any(f"{name} was left out" in sentence for sentence in told) for name in last.left_out)
    assert last.verdict in told[0]
    assert f"{len(points)} points, of which the network saw {len(points) // 2}" in told[0]
    real = names["real"]
    assert torch.allclose(real.double(), names["data"].units.restore(names["data"].held_out))
    assert ("so some are copies" in " ".join(told)) == ("copies" in last.worse)


REAL = ring(3000)
MADE = {  # generated points → what must be said of them, and what must not
    "other real ones": (ring(2000, seed=2), "so no copying is seen", "so some are copies"),
    "the training points": (np.concatenate([ring(1500, seed=1)] * 2)[:2000], "so some are copies", "no copying"),
    "real ones, moved": (ring(2000, seed=2) + np.array([1.0, 0.0]), "Worst: ", "No difference from real"),
}


@pytest.mark.parametrize(("made", "says", "not_so"), MADE.values(), ids=MADE)
def test_what_was_found_follows_from_the_numbers(made, says, not_so):
    """The last cell, after measures of points of which the truth is known."""
    last = compare(made, REAL, train=ring(1500, seed=1), names=("energy distance", "blur", "strays", "copies"))
    names = {"found": {"250 epochs": last}, "last": last, "name": "mine", "points": REAL, "warned": []}
    names |= {"data": SimpleNamespace(train=ring(1500)), "Markdown": str, "display": lambda text: None}
    (cell,) = (cell for cell in CELLS if cell["id"] == "own-38")
    exec("".join(cell["source"]), names)
    told = " ".join(names["told"])
    assert says in told
    assert not_so not in told
    assert f"{last.value('blur'):.3g}" in told
