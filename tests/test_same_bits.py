"""The same seed gives the same bits, however often, in whatever order and on however many threads.

On another kind of processor sums are taken in another order, and the last digits differ. How far that goes is tested by
telling PyTorch, oneDNN and MKL to do without the newer instructions of this one.
"""

import json
import os
import subprocess
import sys

import pytest
import torch

SCRIPT = """
import json, sys
import torch
from lab_utils.files import sha256
from lab_utils.metrics import Benchmark
from lab_utils.model import DiffusionGenerator
from lab_utils.points import dataset
from lab_utils.sampling import sample
from lab_utils.samplers import dpm_solver
from lab_utils.schedules import linear, sigmoid
from lab_utils.training import Recipe, Trainer

def train(schedule):
    recipe = Recipe(epochs=5, checkpoints=(), warmup=20)
    trainer = Trainer(DiffusionGenerator(schedule=schedule), data.train, recipe)
    list(trainer)
    return trainer

data = dataset("cities")
order = (sigmoid, linear) if "backwards" not in sys.argv else (linear, sigmoid)
trainers = {make.__name__: train(make()) for make in order}
trainer = trainers["sigmoid"]
model = trainer.averaged
whole = sample(model, 2500)
quick = sample(model, 5000, sampler=dpm_solver(model.schedule, 20))
bench = Benchmark(data.held_out, data.train, size=1000, references=2)
measured = {name: bench.measure(name, quick[:1000]).multiple for name in ("energy distance", "sharpness")}
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


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [([], {}), (["backwards"], {}), ([], {"OMP_NUM_THREADS": "2"}), (["backwards"], {"OMP_NUM_THREADS": "3"})],
    ids=["again", "in another order", "two threads", "three threads and another order"],
)
def test_the_same_bits(usual, arguments, environment):
    again = made(*arguments, **environment)
    assert again["sums"] == usual["sums"]
    assert again["measured"] == usual["measured"]


OLDER = {
    "no AVX-512": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "no AVX": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
    },
}


@pytest.mark.parametrize("environment", OLDER.values(), ids=OLDER)
def test_with_other_instructions_only_the_last_digits_differ(usual, environment):
    """So little that no number that a notebook prints is another; and with the same ones, the same bits again."""
    other = made(**environment)
    apart = {
        name: float((torch.tensor(other["values"][name]) - torch.tensor(values)).abs().max())
        for name, values in usual["values"].items()
    }
    print(usual["isa"], other["isa"], apart, usual["measured"], other["measured"])
    assert made(**environment)["sums"] == other["sums"]
