"""The same seed gives the same bits, however often, in whatever order and on however many threads.

On another kind of processor sums are taken in another order, and the last digits differ. How far that goes is tested by
telling PyTorch, oneDNN and MKL to do without the newer instructions of this one.
"""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import torch
from soak import SOAK, often

from lab_utils.base.files import PROJECT

SCRIPT = """
import json, sys
import torch
from lab_utils.base.files import sha256
from lab_utils.measure.benchmark import Benchmark
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.points.dataset import dataset
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.samplers import dpm_solver
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.diffusion.training import Recipe, Trainer

def train(schedule):
    recipe = Recipe(epochs=3, checkpoints=(), warmup=20)
    trainer = Trainer(DiffusionGenerator(schedule=schedule), data.train, recipe)
    list(trainer)
    return trainer

data = dataset("cities")
order = (sigmoid, linear) if "backwards" not in sys.argv else (linear, sigmoid)
trainers = {make.__name__: train(make()) for make in order}
trainer = trainers["sigmoid"]
model = trainer.averaged
whole = sample(model, 1100)
quick = sample(model, 3000, sampler=dpm_solver(model.schedule, 20))
bench = Benchmark(data.held_out, data.train)
measured = {name: bench.multiple(name, quick[:1000]) for name in ("energy distance", "blur")}
content = {"weights": trainer.average.detach(), "losses": torch.tensor(trainer.losses), "whole": whole, "quick": quick}
print(json.dumps({
    "sums": {name: sha256(value.numpy().tobytes()) for name, value in content.items()},
    "values": {name: value.flatten()[:4000].tolist() for name, value in content.items()},
    "measured": measured,
    "isa": torch.backends.cpu.get_cpu_capability(),
}))
"""


def made(*arguments, **environment):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "MKL", "ATEN", "ONEDNN"))}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def usual():
    return made()


def apart(one, other):
    """How far the numbers are apart, at most, each kind in its own units; and the measures, in parts of themselves."""
    values = {
        name: float((torch.tensor(other["values"][name]) - torch.tensor(value)).abs().max())
        for name, value in one["values"].items()
    }
    measures = {name: abs(other["measured"][name] / value - 1) for name, value in one["measured"].items()}
    return values | measures


LAST_DIGITS = {
    "weights": 1e-5,
    "losses": 1e-6,
    "whole": 1e-3,
    "quick": 1e-3,
    "energy distance": 1e-3,
    "blur": 1e-3,
}


def only_last_digits(found):
    print(found)
    return all(found[name] < most for name, most in LAST_DIGITS.items())


def test_the_same_bits_whatever_was_done_before(usual):
    assert made()["sums"] == usual["sums"]
    again = made("backwards")
    assert again["sums"] == usual["sums"]
    assert again["measured"] == usual["measured"]


@pytest.mark.parametrize("threads", often([2], [2, 3, 4]))
def test_on_more_threads_at_most_the_last_digits_differ(usual, threads):
    """On two they are the same bits on all processors that were tried; `make soak` holds them to that."""
    other = made(OMP_NUM_THREADS=str(threads))
    assert only_last_digits(apart(usual, other))
    if SOAK and threads == 2:
        assert other["sums"] == usual["sums"]


OLDER = {
    "no AVX-512": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "no AVX": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
    },
}


@pytest.mark.parametrize("name", often(["no AVX"], [*OLDER]))
def test_with_other_instructions_only_the_last_digits_differ(usual, name):
    """After three epochs; over 2000 it adds up. And with the same instructions, the same bits again."""
    other = made(**OLDER[name])
    assert only_last_digits(apart(usual, other))
    assert made(**OLDER[name])["sums"] == other["sums"]


# --- the notebooks


def outputs(folder):
    """All that the notebooks of `folder` show, pictures too."""
    return {
        (path.stem, number): cell.outputs
        for path in sorted(folder.glob("*.ipynb"))
        for number, cell in enumerate(nbformat.read(path, 4).cells)
        if cell.cell_type == "code"
    }


def test_the_notebooks_show_the_same_in_a_row_again_and_each_alone_from_the_last_to_the_first(tmp_path):
    """Pictures to the byte: in a row with nothing trained before, again with all trained, and alone with nothing."""

    def run(name, cache, *only):
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(PROJECT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
        command = [sys.executable, "-m", "lab_utils.report", "--save", "--notebooks", str(folder)]
        command += ["--out", str(tmp_path / "report"), *(["--only", only[0]] if only else [])]
        environment = {**os.environ, "DDPM_LAB_CACHE": str(tmp_path / cache)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout)
        return outputs(folder)

    in_a_row = run("in a row", "first")
    assert len(in_a_row) > 60
    again = run("again", "first")
    assert [key for key in in_a_row if again[key] != in_a_row[key]] == []
    for number in ("09", "07", "06", "05", "04", "03", "02", "01"):
        alone = run("alone", "second", number)
    assert [key for key in in_a_row if alone[key] != in_a_row[key]] == []
