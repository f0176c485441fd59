"""Whatever happens to a training, nothing is lost that was saved, and it ends with the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jupyter_client.manager import start_new_kernel
from safetensors.torch import load_file
from small_runs import DATA, RECIPE, network, same
from soak import often

from lab_utils.base.tensors import DamagedError
from lab_utils.diffusion.schedules import linear
from lab_utils.diffusion.training import Trainer
from lab_utils.runs import jobs
from lab_utils.runs.fit import fit, fit_all, job_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "SAVE_EVERY", 5)
    return tmp_path / "cache"


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- killed

KILLS, ROUNDS = often(20, 500), often(3, 50)
SETTING = """
import os, random, signal, stat, sys, threading, time
from dataclasses import replace
from pathlib import Path
from tqdm import tqdm
sys.path.insert(0, {tests!r})
from small_runs import DATA, RECIPE, network
from lab_utils.runs import jobs
from lab_utils.runs.fit import fit
jobs.SAVE_EVERY = 2
LONG = replace(RECIPE, epochs=500, checkpoints=(100, 250, 400, 500))

# tqdm's lock is one for all forked processes: who is killed while holding it would hold up the others
tqdm.monitor_interval = 0
tqdm.set_lock(threading.RLock())

def train(folder):
    os.environ["DDPM_LAB_CACHE"] = str(Path(folder).resolve())
    return fit(network(), DATA, LONG, progress=False).folder

def content(folder):
    return {{path.name: path.read_bytes() for path in folder.iterdir()}}

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid

def killed(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

start = time.monotonic()
whole = train("whole")
seconds = time.monotonic() - start
"""
AT_ANY_MOMENT = """
rng, kills, writing = random.Random(0), 0, 0
while kills < {kills}:
    pid = child(lambda: train("killed"))
    time.sleep(rng.uniform(0, seconds / 20))
    os.kill(pid, signal.SIGKILL)
    if not killed(pid):  # it was done before
        for path in Path("killed").rglob("*.safetensors"):
            path.unlink()  # once more from the start, to get to that number
        continue
    kills += 1
    writing += any(Path("killed").rglob("*.part"))
run = train("killed")
assert content(run) == content(whole)
print(f"{{kills}} kills, {{writing}} of them while a file was being written")
"""
IN_THE_MIDDLE_OF_WRITING = """
def half(fsync, number):
    count = 0
    def _fsync(descriptor):
        nonlocal count
        count += stat.S_ISREG(os.fstat(descriptor).st_mode)  # after a file its folder is synced, too
        if count == number:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)
    return _fsync

def before_the_name(replace, number):
    count = 0
    def _replace(path, target):
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)
    return _replace

kills = 0
for number in (1, 2, 3, 7, 20, 41):
    for owner, name, breaking in ((os, "fsync", half), (Path, "replace", before_the_name)):
        def work():
            setattr(owner, name, breaking(getattr(owner, name), number))
            train("killed")
        assert killed(child(work))
        assert len([*Path("killed").rglob("*.part")]) == 1
        kills += 1
run = train("killed")
assert content(run) == content(whole)
print(f"{{kills}} kills")
"""
THREE_AT_ONCE = """
rng, kills = random.Random(1), 0
for number in range({rounds}):
    folder = f"shared {{number}}"
    processes = [child(lambda: train(folder)) for _ in range(3)]
    rng.shuffle(processes)
    for pid in processes[:2]:
        time.sleep(rng.uniform(0, seconds / 3))
        os.kill(pid, signal.SIGKILL)
        kills += killed(pid)
    assert os.waitstatus_to_exitcode(os.waitpid(processes[2], 0)[1]) == 0
    run = Path(folder) / whole.relative_to(Path("whole").resolve())
    assert content(run) == content(whole)
print(f"{{kills}} kills in {rounds} times three processes")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed")
@pytest.mark.parametrize(
    "story",
    [AT_ANY_MOMENT, IN_THE_MIDDLE_OF_WRITING, THREE_AT_ONCE],
    ids=["at any moment", "while writing", "two of three that want the same"],
)
def test_killed_again_and_again_it_ends_with_the_same_bits(story, tmp_path):
    script = (SETTING + story).format(tests=str(Path(__file__).parent), kills=KILLS, rounds=ROUNDS)
    environment = {**os.environ, "DDPM_LAB_CACHE": ""}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300 + 10 * KILLS
    )
    assert done.returncode == 0, done.stderr
    assert "kills" in done.stdout
    print(done.stdout)


# --- Ctrl-C

IN_A_CELL = """
import sys
sys.path.insert(0, {tests!r})
from small_runs import DATA, RECIPE, network
from dataclasses import replace
from lab_utils.runs.fit import fit_all, job_of
from lab_utils.diffusion.schedules import linear
LONG = replace(RECIPE, epochs=200_000)
networks = {{name: network(linear(timesteps=50), seed=seed) for seed, name in enumerate({names})}}
"""
STAND = "print(*[job_of(network, DATA, LONG).open().epoch for network in networks.values()])"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent")
@pytest.mark.parametrize("names", often([["one"]], [["one"], ["one", "other"]]))
def test_an_interrupted_cell_keeps_what_was_trained_and_the_kernel_lives(names):
    manager, client = start_new_kernel()

    def cell(code, until=None):
        said, interrupts = [], []

        def heard(message):
            said.append(str(message["content"].get("text", "")))
            if until and until in "".join(said) and not interrupts:
                interrupts.append(manager.interrupt_kernel())

        reply = client.execute_interactive(code, output_hook=heard, timeout=120)
        return reply["content"], "".join(said)

    try:
        reply, said = cell(IN_A_CELL.format(tests=str(Path(__file__).parent), names=names))
        assert reply["status"] == "ok", said
        stands = []
        for _ in range(2):
            reply, said = cell("fit_all(networks, DATA, LONG)", until="epoch/s")
            assert reply["ename"] == "KeyboardInterrupt"
            assert "Interrupted and saved: " in said
            stands.append([int(epochs) for epochs in cell(STAND)[1].split()])
            for name, epochs in zip(names, stands[-1], strict=True):
                assert f"{name} after {epochs} of 200000 epochs" in said
        assert all(0 < first < second for first, second in zip(*stands, strict=True))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("stop", [0, 3, 22])
def test_ctrl_c_in_the_middle_of_an_epoch_keeps_that_epoch(stop, cache, monkeypatch, capsys):
    """And a training that goes on from there ends with the bits of one that nobody stopped."""
    whole = fit(network(), DATA, RECIPE, progress=False)
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    errors, interrupts = Trainer._errors, []

    def interrupted(self, batch, far):
        if self.epoch == stop and not interrupts:
            interrupts.append(self.epoch)
            jobs.signal.raise_signal(jobs.signal.SIGINT)
        return errors(self, batch, far)

    monkeypatch.setattr(Trainer, "_errors", interrupted)
    before = jobs.signal.getsignal(jobs.signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), DATA, RECIPE, progress=False)
    assert jobs.signal.getsignal(jobs.signal.SIGINT) is before
    assert job_of(network(), DATA, RECIPE).open().epoch == stop + 1
    said = f"Interrupted and saved: sigmoid after {stop + 1} of 23 epochs. The same call goes on from there."
    assert said in capsys.readouterr().err
    assert bytes_of(fit(network(), DATA, RECIPE, progress=False).folder) == bytes_of(whole.folder)


def test_a_second_ctrl_c_does_not_wait(monkeypatch):
    def twice(self, batch, far):
        jobs.signal.raise_signal(jobs.signal.SIGINT)
        jobs.signal.raise_signal(jobs.signal.SIGINT)
        raise AssertionError("not stopped")

    monkeypatch.setattr(Trainer, "_errors", twice)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), DATA, RECIPE, progress=False)


# --- damaged


def flip(content):
    middle = bytearray(content)
    middle[len(content) * 3 // 4] ^= 1
    return bytes(middle)


DAMAGE = {"empty": lambda _: b"", "cut": lambda content: content[:-5], "flipped": flip, "other": lambda _: b"not ours"}


@pytest.mark.parametrize("damage", [*DAMAGE, "lost", "another's"])
@pytest.mark.parametrize("name", ["state.safetensors", "epoch-0010.safetensors"])
def test_what_is_damaged_is_set_aside_and_trained_again_aloud(name, damage, capsys):
    run = fit(network(), DATA, RECIPE, progress=False)
    whole, path = bytes_of(run.folder), run.folder / name
    if damage == "lost":
        path.unlink()
    elif damage == "another's":
        path.write_bytes((fit(network(seed=1), DATA, RECIPE, progress=False).folder / name).read_bytes())
    else:
        path.write_bytes(DAMAGE[damage](whole[name]))
    left = bytes_of(run.folder)
    capsys.readouterr()
    again = fit(network(), DATA, RECIPE, progress=False)
    said = capsys.readouterr().err
    assert bytes_of(again.folder) == whole
    if (name, damage) == ("state.safetensors", "lost"):  # as if it had been killed before it saved any
        assert said == ""
        return
    aside = run.folder.with_name(f"{run.folder.name}.damaged")
    assert str(path) in said
    assert f"It is set aside, in {aside}, and trained again." in said
    assert bytes_of(aside) == left


def test_weights_that_are_damaged_while_a_notebook_is_open_are_named():
    run = fit(network(), DATA, RECIPE, progress=False)
    path = run.folder / "epoch-0010.safetensors"
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(DamagedError, match=r"epoch-0010\.safetensors is damaged"):
        run.model(10)
    assert same(run.model(4).state_dict(), load_file(run.folder / "epoch-0004.safetensors"))


def test_whose_state_was_lost_is_trained_again_beside_one_that_is_whole():
    """Only the one; and the other's file is not even touched."""
    networks = {"one": network(), "other": network(linear(timesteps=50))}
    runs = fit_all(networks, DATA, RECIPE, progress=False)
    path = runs["one"].folder / "state.safetensors"
    path.write_bytes(b"")
    before = {file: file.stat().st_mtime_ns for file in runs["other"].folder.iterdir()}
    again = fit_all(networks, DATA, RECIPE, progress=False)
    assert all(torch.equal(again[name].losses, runs[name].losses) for name in networks)
    assert {file: file.stat().st_mtime_ns for file in runs["other"].folder.iterdir()} == before
