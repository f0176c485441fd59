"""A long day in one process: memory stays flat."""

import ctypes
import gc
import itertools
import sys

import psutil
import pytest
import torch
from small_runs import DATA, RECIPE, network
from soak import often
from test_explorers import explorers, find, picture_of
from test_pages import save

from lab_utils import figures
from lab_utils.base.tensors import load_tensors, save_tensors
from lab_utils.diffusion.training import Trainer
from lab_utils.figures.display import quick_png
from lab_utils.points.dataset import dataset
from lab_utils.report.__main__ import main as make_report

EVENTS, REPORTS = often(60, 1000), often(4, 10)
FLAT = 15_000_000  # bytes; a picture has 0.1 to 1 million, and one kept at each of the events would be many times this


def memory():
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free and only not given back yet does not count
    return psutil.Process().memory_info().rss


def grown(act, times):
    """How many bytes the process has more after the second half of so many calls of `act` than after the first."""
    for _ in range(times // 2):
        act()
    before = memory()
    for _ in range(times - times // 2):
        act()
    return memory() - before


@pytest.mark.parametrize("name", ["schedule", "steps", "walks", "posterior"])
def test_an_explorer_keeps_nothing_of_the_moves_before(name):
    explorer, description, values = explorers(dataset("moons"), (-3.0, 3.0, -2.0, 2.0))[name]
    control, value = find(explorer, description), itertools.cycle(values)
    seen = set()

    def move():
        control.value = next(value)
        seen.add(hash(picture_of(explorer).source))

    assert grown(move, EVENTS) < FLAT
    assert len(seen) == 2


def test_reports_one_after_the_other_leave_nothing_in_memory(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    drawing = "from matplotlib import pyplot\npyplot.plot([1, 2])\npyplot.show()"
    save(tmp_path / "notebooks" / "01_one.ipynb", "# One", "print('x' * 100_000)", drawing)
    arguments = ["--notebooks", str(tmp_path / "notebooks"), "--out", str(tmp_path / "report")]

    def again():
        assert make_report(arguments) == 0

    assert grown(again, REPORTS) < FLAT


def test_a_history_of_200_000_epochs_is_saved_loaded_and_drawn(tmp_path):
    """In a file of 8 bytes an epoch, and a picture that is as quick to draw as that of 2000 epochs."""
    trainer = Trainer(network(), DATA.train, RECIPE)
    next(iter(trainer))
    trainer.losses = torch.rand(200_000, generator=torch.Generator().manual_seed(0)).double().tolist()
    path = tmp_path / "state.safetensors"

    def save_and_draw():
        save_tensors(path, trainer.state_dict(), {})
        again = Trainer(network(), DATA.train, RECIPE)
        again.load_state_dict(load_tensors(path, {}))
        assert again.losses == trainer.losses
        points = torch.eye(2)
        assert quick_png(figures.training_view(again.losses, 0.5, {1: 0.1, 200_000: 0.01}, points, points))

    assert grown(save_and_draw, often(6, 30)) < FLAT
    assert path.stat().st_size < 8 * 200_000 + 20_000
