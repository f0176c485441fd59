"""A training on disk is never lost, never done twice, and never taken for another."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_runs import DATA, RECIPE, gaussian, network, same

from lab_utils.base import code
from lab_utils.base.files import cache_folder, lock
from lab_utils.diffusion import given, sample
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import Schedule, linear, sigmoid
from lab_utils.diffusion.training import Trainer
from lab_utils.points.dataset import Dataset
from lab_utils.points.shapes import draw
from lab_utils.runs import jobs
from lab_utils.runs.fit import fit, fit_all, run_config

runs = importlib.import_module("lab_utils.runs.fit")  # the room exports the function of that name


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and a state saved often enough to be met."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "SAVE_EVERY", 5)
    return tmp_path / "cache"


@pytest.fixture
def interrupt(monkeypatch):
    """Raise KeyboardInterrupt in the middle of the epoch that follows after so many whole ones."""
    errors = Trainer._errors

    def _interrupt(after):
        def interrupted(self, batch, far):
            if self.epoch == after and len(batch) < self.recipe.batch_size:  # the last batch of the epoch
                raise KeyboardInterrupt
            return errors(self, batch, far)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_errors", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fit(network(), DATA, RECIPE, progress=False)

    return _interrupt


def files(folder):
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


# --- a run on disk


def test_checkpoints_are_the_averaged_weights_of_their_epochs(cache):
    run = fit(network(), DATA, RECIPE, progress=False)
    trainer = Trainer(network(), DATA.train, RECIPE)
    for _ in trainer:
        if trainer.epoch in RECIPE.checkpoints:
            model = run.model(trainer.epoch)
            assert same(model.state_dict(), trainer.averaged.state_dict())
            assert model.config == trainer.network.config
            assert not model.training
            assert not any(weight.requires_grad for weight in model.parameters())
    assert run.losses.tolist() == trainer.losses
    assert run.losses.dtype == torch.float64
    assert run.folder.is_relative_to(cache)


def test_weights_lie_in_safetensors_with_the_configuration_in_and_beside_them():
    run = fit(network(), DATA, RECIPE, progress=False)
    assert set(files(run.folder)) == {
        "config.json",
        "state.safetensors",
        *(f"epoch-{epoch:04d}.safetensors" for epoch in RECIPE.checkpoints),
    }
    beside = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert beside == run.config
    assert beside["recipe"]["epochs"] == 23
    assert beside["data"] == {"name": "gaussian", "points": 100, "checksum": DATA.checksum}
    assert DiffusionGenerator.from_config(beside["model"]).config == network().config
    with safe_open(run.folder / "epoch-0010.safetensors", "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["lab"])["about"] == {"epoch": 10, **beside}


def test_an_epoch_that_was_not_kept_is_refused_and_the_kept_ones_named():
    run = fit(network(), DATA, RECIPE, progress=False)
    with pytest.raises(ValueError, match="epoch 5 was not kept; the checkpoints are 4, 10, 17, 23"):
        run.model(5)


@pytest.mark.parametrize("stops", [(0,), (3,), (4,), (5,), (11,), (22,), (2, 7, 7, 18)])
def test_an_interrupted_training_ends_with_the_same_bits(stops, interrupt, cache, monkeypatch):
    """Stopped in the middle of an epoch: before the first checkpoint, on and between saved states, and repeatedly."""
    whole = fit(network(), DATA, RECIPE, progress=False)
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    for stop in stops:
        interrupt(stop)
        assert [name for name in files(cache) if ".part" in name] == []
    run = fit(network(), DATA, RECIPE, progress=False)
    assert torch.equal(run.losses, whole.losses)
    assert run.folder.name == whole.folder.name
    assert run.folder != whole.folder
    found = files(run.folder)
    assert found.keys() == files(whole.folder).keys()
    for name, path in found.items():
        assert path.read_bytes() == (whole.folder / name).read_bytes(), name


def test_several_trained_at_once_are_the_same_bits_as_each_alone(cache, monkeypatch):
    kinds = {"one": network(), "other": network(linear(timesteps=50))}
    alone = {name: fit(kind, DATA, RECIPE, progress=False) for name, kind in kinds.items()}
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "together"))
    together = fit_all(kinds, DATA, RECIPE, progress=False)
    assert list(together) == ["one", "other"]
    for name, run in together.items():
        assert run.folder != alone[name].folder
        assert torch.equal(run.losses, alone[name].losses)
        for epoch in RECIPE.checkpoints:
            weights = f"epoch-{epoch:04d}.safetensors"
            assert (run.folder / weights).read_bytes() == (alone[name].folder / weights).read_bytes()


def test_when_one_of_several_fails_the_others_stop_and_go_on_later():
    """The first weights of the one cannot be written: a folder stands where their file should."""
    good, bad = network(), network(linear(timesteps=50))
    long = replace(RECIPE, epochs=20_000)
    failing = runs._place(run_config(bad, DATA, long)) / "epoch-0004.safetensors"
    (failing / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="epoch-0004"):
        fit_all({"good": good, "bad": bad}, DATA, long, progress=False)
    state = runs._place(run_config(good, DATA, long)) / "state.safetensors"
    assert not state.exists() or len(load_file(state)["losses"]) < long.epochs
    found = fit_all({"good": good, "bad": bad}, DATA, RECIPE, progress=False)
    assert all(len(run.losses) == RECIPE.epochs for run in found.values())


SEVERAL = """
import sys
sys.path.insert(0, sys.argv[1])
from small_runs import DATA, RECIPE, network
from dataclasses import replace
from lab_utils.runs.fit import fit_all
from lab_utils.diffusion.schedules import linear
if __name__ == "__main__":
    kinds = {"one": network(), "other": network(linear(timesteps=50))}
    fit_all(kinds, DATA, replace(RECIPE, epochs=200_000))
"""


def test_a_script_without_its_guard_is_told_of_it(tmp_path, cache):
    """Its processes import it, and would wait for their parent for ever."""
    script = tmp_path / "several.py"
    script.write_text(SEVERAL.replace('__name__ == "__main__"', "True"), encoding="utf-8")
    command = [sys.executable, str(script), str(Path(__file__).parents[1])]
    ended = subprocess.run(command, stderr=subprocess.PIPE, timeout=120, text=True, check=False)
    assert ended.returncode == 1
    assert 'put the call under `if __name__ == "__main__":`' in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_train_end_with_the_one_that_asked(end, tmp_path, cache):
    """Interrupted or killed in the middle, it leaves nobody who goes on training, and files that can be read."""
    script = tmp_path / "several.py"
    script.write_text(SEVERAL, encoding="utf-8")
    command = [sys.executable, str(script), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while len([*cache.rglob("state.safetensors")]) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(end)
        said = process.stderr.read()  # to its end: until no process is left that could write there
    assert process.returncode == -end
    stands = sorted(len(load_file(state)["losses"]) for state in cache.rglob("state.safetensors"))
    assert all(100 <= epochs < 200_000 for epochs in stands)
    if end == signal.SIGINT:
        assert b"KeyboardInterrupt" in said
        told = re.findall(r"(?:one|other) after (\d+) of 200000 epochs", said.decode())
        assert sorted(map(int, told)) == stands


def test_an_interrupted_training_goes_on_and_does_not_begin_again(interrupt, monkeypatch):
    interrupt(18)
    epochs = []
    train = Trainer._train_one_epoch
    monkeypatch.setattr(Trainer, "_train_one_epoch", lambda self: (epochs.append(self.epoch), train(self))[1])
    fit(network(), DATA, RECIPE, progress=False)
    assert epochs == list(range(15, 23))  # the last saved state was that of epoch 15


def test_the_second_call_does_not_train_and_gives_the_same(monkeypatch):
    first = fit(network(), DATA, RECIPE, progress=False)
    before = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files(first.folder).items()}

    def never(self):
        raise AssertionError("this was trained before")

    monkeypatch.setattr(Trainer, "_train_one_epoch", never)
    second = fit(network(), gaussian(), RECIPE, progress=False)  # the data made again, too
    assert second.folder == first.folder
    assert second.config == first.config
    assert torch.equal(second.losses, first.losses)
    assert same(second.model(23).state_dict(), first.model(23).state_dict())
    after = {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in files(second.folder).items()}
    assert after == before
    with pytest.raises(AssertionError, match="trained before"):
        fit(network(), DATA, replace(RECIPE, seed=1), progress=False)


def test_what_a_model_learnt_before_does_not_get_into_the_cache():
    """The key does not know of it, so another's training with the same key would be given this one's weights."""
    learnt = network()
    list(islice(Trainer(learnt, DATA.train, RECIPE), 3))
    before = {name: value.clone() for name, value in learnt.state_dict().items()}
    run = fit(learnt, DATA, RECIPE, progress=False)
    fresh = Trainer(network(), DATA.train, RECIPE)
    assert run.losses.tolist() == list(fresh)
    assert same(run.model(23).state_dict(), fresh.averaged.state_dict())
    assert same(learnt.state_dict(), before)  # and the model itself is left as it was


CUSTOM = Schedule([0.1, 0.2, 0.4])
OTHERS = {
    "epochs": (network(), DATA, replace(RECIPE, epochs=24)),
    "batch size": (network(), DATA, replace(RECIPE, batch_size=31)),
    "learning rate": (network(), DATA, replace(RECIPE, learning_rate=4.1e-3)),
    "warm-up": (network(), DATA, replace(RECIPE, warmup=6)),
    "decay": (network(), DATA, replace(RECIPE, ema_decay=0.9)),
    "checkpoints": (network(), DATA, replace(RECIPE, checkpoints=(4, 10, 17))),
    "seed": (network(), DATA, replace(RECIPE, seed=1)),
    "width": (network(width=9), DATA, RECIPE),
    "weights": (network(seed=1), DATA, RECIPE),
    "schedule": (network(sigmoid(timesteps=51)), DATA, RECIPE),
    "schedule's kind": (network(linear(timesteps=50)), DATA, RECIPE),
    "own betas": (network(CUSTOM), DATA, RECIPE),
    "other betas": (network(Schedule([0.1, 0.2, 0.5])), DATA, RECIPE),
    "data": (network(), gaussian(seed=1), RECIPE),
    "one point": (
        network(),
        Dataset.of(draw("gaussian", 200, 0) + torch.eye(200, 2), "gaussian", train=100),
        RECIPE,
    ),
}


def test_any_other_model_recipe_or_data_is_another_training():
    """No two of them, nor the usual one, share a configuration."""
    configs = [run_config(*arguments) for arguments in [(network(), DATA, RECIPE), *OTHERS.values()]]
    texts = {json.dumps(config, sort_keys=True) for config in configs}
    assert len(texts) == len(OTHERS) + 1
    assert run_config(network(), gaussian(), replace(RECIPE)) == configs[0]


@pytest.mark.parametrize("change", ["seed", "data", "schedule's kind"])
def test_another_training_lies_in_another_folder(change):
    short = {"epochs": 1, "checkpoints": (1,)}
    model, data, recipe = OTHERS[change]
    folders = {
        fit(m, d, replace(r, **short), progress=False).folder
        for m, d, r in ((network(), DATA, RECIPE), (model, data, recipe))
    }
    assert len(folders) == 2
    assert len(list((cache_folder() / "runs").iterdir())) == 2


@pytest.mark.parametrize("module", ["schedules", "network", "training", "tail"])
def test_changed_code_is_another_training(module, tmp_path, monkeypatch):
    before = run_config(network(), DATA, RECIPE)
    owner, path = f"lab_utils.diffusion.{module}", code._path
    changed = tmp_path / "changed.py"
    monkeypatch.setattr(code, "_path", lambda name: changed if name == owner else path(name))
    source = path(owner).read_text(encoding="utf-8")
    changed.write_text(f"{source}# a remark\n", encoding="utf-8")
    assert run_config(network(), DATA, RECIPE) == before
    changed.write_text(f"{source}MORE = 1\n", encoding="utf-8")
    after = run_config(network(), DATA, RECIPE)
    assert after["code"] != before["code"]
    assert {**after, "code": 0} == {**before, "code": 0}


def test_another_version_of_torch_is_another_training(monkeypatch):
    before = run_config(network(), DATA, RECIPE)
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert run_config(network(), DATA, RECIPE) != before


def test_a_schedule_of_ones_own_can_be_trained_and_found_again():
    run = fit(network(CUSTOM), DATA, RECIPE, progress=False)
    assert torch.equal(run.model(4).schedule.betas, CUSTOM.betas)
    assert fit(network(CUSTOM), DATA, RECIPE, progress=False).folder == run.folder


# --- progress


def test_a_progress_bar_shows_epochs_and_the_loss_and_begins_where_the_run_stopped(interrupt, capsys):
    interrupt(12)
    run = fit(network(), DATA, RECIPE)
    said = capsys.readouterr().err
    assert "training sigmoid" in said
    assert "10/23" in said
    assert "23/23" in said
    assert f"sigmoid={run.losses[-1]:.3f}" in said


def test_no_progress_is_shown_where_none_is_wanted_or_none_is_left(capsys):
    fit(network(), DATA, RECIPE, progress=False)
    fit(network(), DATA, RECIPE)
    assert capsys.readouterr().err == ""


def test_the_usual_recipe_is_what_fit_takes_when_none_is_given(monkeypatch):
    """Without training 2000 epochs: each epoch is a stub."""
    monkeypatch.setattr(jobs, "SAVE_EVERY", 2000)
    monkeypatch.setattr(Trainer, "_train_one_epoch", lambda self: 0.5)
    run = fit(network(), DATA, progress=False)
    assert len(run.losses) == 2000
    assert run.config["recipe"]["checkpoints"] == [200, 500, 1000, 2000]


# --- two at once


def test_two_that_want_the_same_run_train_it_once_and_the_second_says_that_it_waits(capsys, monkeypatch):
    trained, begun, go_on = [], threading.Event(), threading.Event()
    epoch = Trainer._train_one_epoch

    def slow(self):
        trained.append(self.epoch)
        begun.set()
        go_on.wait(30)
        return epoch(self)

    monkeypatch.setattr(Trainer, "_train_one_epoch", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fit, network(), DATA, RECIPE, progress=False)
        begun.wait(30)
        second = pool.submit(fit, network(), DATA, RECIPE, progress=False)
        while "waiting for it" not in (said := capsys.readouterr().err) and not second.done():
            time.sleep(0.01)
        go_on.set()
        assert same(first.result().losses, second.result().losses)
    assert first.result().folder.name in said
    assert trained == [*range(23)]


def test_whoever_was_killed_keeps_nobody_waiting(cache):
    run = fit(network(), DATA, RECIPE, progress=False)
    code = (
        "import sys, time; from lab_utils.base.files import lock\n"
        "with lock(sys.argv[1]): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(TimeoutError):
            lock(run.folder, timeout=0).acquire()
        process.kill()
    assert same(fit(network(), DATA, RECIPE, progress=False).losses, run.losses)


# --- with labels

LABELLED = Dataset.of(
    draw("gaussian", 200, 0), "gaussian", train=100, labels=torch.arange(200) % 2, classes=("even", "odd")
)


def told(classes=("even", "odd")):
    return network(classes=classes)


def test_labels_are_in_the_key_only_where_a_training_asks_for_them():
    """So a network without classes is found again, whether its points come with labels or without."""
    assert run_config(network(), LABELLED, RECIPE) == run_config(network(), DATA, RECIPE)
    other = replace(LABELLED, train_labels=1 - LABELLED.train_labels)
    names = replace(LABELLED, classes=("odd", "even"))
    configs = [
        run_config(network(), DATA, RECIPE),
        run_config(told(), LABELLED, RECIPE),
        run_config(told(), other, RECIPE),
        run_config(told(names.classes), names, RECIPE),
        run_config(told(), LABELLED, replace(RECIPE, label_dropout=0.2)),
    ]
    assert len({json.dumps(config, sort_keys=True) for config in configs}) == len(configs)
    assert "labels" not in configs[0]


def test_a_training_with_labels_is_the_trainers_and_is_found_again():
    run = fit(told(), LABELLED, RECIPE, progress=False)
    trainer = Trainer(told(), LABELLED.train, RECIPE, LABELLED.train_labels)
    assert run.losses.tolist() == [*trainer]
    model = run.model()
    assert same(model.state_dict(), trainer.averaged.state_dict())
    assert model.classes == ("even", "odd")
    assert torch.equal(sample(given(model, "odd"), 9), sample(given(trainer.averaged, "odd"), 9))
    assert fit(told(), LABELLED, RECIPE, progress=False).folder == run.folder


KILLED = """
import sys
from test_fit import LABELLED, RECIPE, fit, jobs, told
jobs.SAVE_EVERY = 5
save = jobs.Job._save
def slow(self, trainer):
    save(self, trainer)
    print(trainer.epoch, flush=True)
    if trainer.epoch == int(sys.argv[1]):
        sys.stdin.read()
jobs.Job._save = slow
fit(told(), LABELLED, RECIPE, progress=False)
"""


@pytest.mark.parametrize("epoch", [3, 12])
def test_a_training_with_labels_that_was_killed_ends_with_the_same_bits(epoch, cache, monkeypatch):
    whole = fit(told(), LABELLED, RECIPE, progress=False)
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{here.parent}", prepend=os.pathsep)
    command = [sys.executable, "-c", KILLED, str(epoch)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(epoch)][-1] == f"{epoch}\n"
        process.kill()
    run = fit(told(), LABELLED, RECIPE, progress=False)
    assert run.folder != whole.folder
    assert run.folder.name == whole.folder.name
    found = files(run.folder)
    assert found.keys() == files(whole.folder).keys()
    assert all(path.read_bytes() == (whole.folder / name).read_bytes() for name, path in found.items())


@pytest.mark.parametrize(
    ("classes", "data", "says"),
    [
        (("even", "odd"), DATA, "knows the classes even, odd, and the points of 'gaussian' have none; build it with"),
        (("odd", "even"), LABELLED, "knows the classes odd, even, and the points of 'gaussian' have even, odd"),
    ],
)
def test_classes_that_are_not_the_datas_are_refused(classes, data, says):
    with pytest.raises(ValueError, match=says):
        fit(told(classes), data, RECIPE, progress=False)
