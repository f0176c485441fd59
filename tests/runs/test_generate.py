"""The file's points are those of `sample`, to the bit, whoever makes them and however often they are interrupted."""

import os
import signal
import subprocess
import sys
import time

import dask
import pytest
import torch
from clusters import threads
from point_files import read_points
from small_runs import network

from lab_utils.diffusion import given, guided, sampling
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, ddim, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.sampling import BLOCK, sample
from lab_utils.diffusion.schedules import sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.points.dataset import Units, dataset
from lab_utils.runs import engine, generate
from lab_utils.runs.chunks import Chunks, ChunksError
from lab_utils.runs.fit import fit
from lab_utils.runs.generate import main

UNITS = Units(torch.tensor([12.3, -45.6], dtype=torch.float64), 1 / 3)
N = 9 * BLOCK + 100  # five chunks of two blocks, the last of one whole and one small


def random_model(seed=0):
    """A small network whose answer depends on all of its weights, unlike an untrained one's."""
    model = network(schedule=sigmoid(timesteps=20)).requires_grad_(False)
    model.leave.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return model


MODEL = random_model()
QUICK = dpm_solver(MODEL.schedule, 3)
POINTS = UNITS.restore(sample(MODEL, N, seed=7, sampler=QUICK))


def make(out, n=N, **changes):
    named = {"units": UNITS, "seed": 7, "sampler": QUICK, "progress": False, **changes}
    generate.generate(named.pop("model", MODEL), n, out, **named)


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Small chunks, and a cache of the test's own."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(generate, "CHUNK", 2)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "points.npy"


@pytest.fixture
def drawn(monkeypatch):
    """The first blocks of the chunks that are drawn in this process, as they are finished."""
    blocks = []

    def counted(*arguments, **named):
        points = sample(*arguments, **named)
        blocks.append(named["first_block"])
        return points

    monkeypatch.setattr(generate, "sample", counted)
    return blocks


def break_after(monkeypatch, chunks, error):
    """From the chunk after so many on, keeping one raises `error`."""
    save, saved = Chunks.save, []

    def breaking(self, number, points):
        if len(saved) == chunks:
            raise error
        saved.append(number)
        save(self, number, points)

    monkeypatch.setattr(Chunks, "save", breaking)


def interrupted(monkeypatch, out, kept=2, error=None, **changes):
    """Be stopped after so many more chunks, with a disk that is full unless another error is given."""
    error = error or OSError("full")
    with monkeypatch.context() as patch:
        break_after(patch, kept, error)
        with pytest.raises(type(error), match=r" of 5 chunks are in .*; the same call goes on with the rest") as end:
            make(out, **changes)
    assert not out.exists()
    return end.value.__notes__[-1]


# --- the same points


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_the_file_has_the_points_of_sample(out, suffix):
    make(out.with_suffix(suffix))
    assert torch.equal(read_points(out.with_suffix(suffix)), POINTS)
    assert [path.name for path in out.parent.iterdir()] == [f"points{suffix}"]


def test_without_a_sampler_the_usual_one_is_taken(out):
    make(out, 100, sampler=None)
    assert torch.equal(
        read_points(out), UNITS.restore(sample(MODEL, 100, seed=7, sampler=sde_dpm_solver(MODEL.schedule, 20)))
    )


@pytest.mark.parametrize(("workers", "chunk"), [(1, 2), (3, 2), (2, 1), (2, 100)])
def test_the_same_bytes_whatever_the_number_of_threads_and_the_size_of_chunks(out, monkeypatch, workers, chunk):
    make(out)
    monkeypatch.setattr(sampling, "WORKERS", workers)
    monkeypatch.setattr(generate, "CHUNK", chunk)
    make(out.with_name("again.npy"))
    assert out.with_name("again.npy").read_bytes() == out.read_bytes()


def test_one_bar_counts_all_points_from_where_they_stand(out, monkeypatch, capsys):
    interrupted(monkeypatch, out)
    make(out, progress=True)
    said = capsys.readouterr().err
    assert "4.10k/9.32k" in said.split("\r")[1]
    assert "9.32k/9.32k" in said
    assert "writing points.npy" in said


# --- on a cluster


@pytest.fixture(scope="module")
def cluster():
    """A client of three workers, each a process."""
    with engine.connect(workers=3) as client:
        yield client


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_a_cluster_of_processes_makes_the_same_bytes(out, suffix, cluster, drawn):
    here, there = out.with_suffix(suffix), out.with_name(f"there{suffix}")
    make(here)
    drawn.clear()
    make(there, scheduler=cluster.scheduler.address)
    assert there.read_bytes() == here.read_bytes()
    assert not drawn, "made by the workers"


def test_a_worker_that_dies_costs_nothing_but_time(out, monkeypatch, cluster):
    save, killed = Chunks.save, []

    def deadly(self, number, points):
        save(self, number, points)
        if not killed:
            killed.append(min(cluster.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Chunks, "save", deadly)
    make(out, scheduler=cluster.scheduler.address)
    assert killed
    assert torch.equal(read_points(out), POINTS)


def test_what_a_cluster_left_goes_on_here_and_the_other_way_round(out, monkeypatch, cluster, drawn):
    there = cluster.scheduler.address
    for scheduler, kept, total in ((there, 1, 1), (None, 2, 3), (there, 1, 4)):
        assert interrupted(monkeypatch, out, kept, scheduler=scheduler).startswith(f"{total} of 5")
    make(out)
    assert torch.equal(read_points(out), POINTS)
    assert len(drawn) == 3 + 1, "of the first three made here the last was not kept"


def test_workers_of_another_version_are_refused(out, monkeypatch, cluster):
    monkeypatch.setattr(generate, "_versions", lambda: {"torch": "1.0", "code": "old"})
    with pytest.raises(ChunksError, match=r"a worker has .*, and this process .*1\.0.*; install the same on both"):
        make(out, scheduler=cluster.scheduler.address)
    assert not out.exists()


def test_a_scheduler_that_goes_away_is_an_error_that_says_what_is_kept(out, monkeypatch, drawn):
    save = Chunks.save
    quick = dask.config.set({"distributed.comm.timeouts.connect": "2s"})  # 30 unless told so
    with quick, threads(1) as ending:

        def closing(self, number, points):
            save(self, number, points)
            ending.close()

        monkeypatch.setattr(Chunks, "save", closing)
        with pytest.raises(ConnectionError, match=r"no connection to the cluster at tcp://[\s\S]*1 of 5 chunks are in"):
            make(out, scheduler=ending.scheduler_address)
    drawn.clear()
    monkeypatch.setattr(Chunks, "save", save)
    make(out)
    assert drawn == [2, 4, 6, 8]
    assert torch.equal(read_points(out), POINTS)


# --- interrupted


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("any")])
def test_what_is_interrupted_goes_on_with_the_missing_chunks(out, monkeypatch, drawn, error):
    assert interrupted(monkeypatch, out, 2, error).startswith(f"2 of 5 chunks are in {out}.parts")
    drawn.clear()
    (out.parent / "points.npy.parts" / "000000.safetensors").write_bytes(b"cut off")
    make(out)
    assert drawn == [0, 4, 6, 8]
    assert torch.equal(read_points(out), POINTS)


def test_an_interruption_while_the_file_is_put_together_costs_no_point(out, monkeypatch, drawn):
    with monkeypatch.context() as patch:
        patch.setattr(Units, "restore", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match="5 of 5 chunks"):
            make(out)
    assert not out.exists()
    drawn.clear()
    make(out)
    assert drawn == []
    assert torch.equal(read_points(out), POINTS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 8}, "seed 7, not 8"),
        ({"n": N + 1}, f"points {N}, not {N + 1}"),
        ({"model": random_model(1)}, "model DiffusionGenerator, sigmoid, .*, not DiffusionGenerator, sigmoid, "),
        ({"sampler": ddim(MODEL.schedule, 3)}, r"sampler DPM-Solver.*, 3 steps, .*, not DDIM, η = 0, 3 steps"),
        ({"sampler": dpm_solver(MODEL.schedule, 4)}, "sampler .* 3 steps, .* 4 steps, "),
        ({"units": Units(UNITS.shift, 1.0)}, r"units \[12.3, -45.6, 0.33\d*\], not \[12.3, -45.6, 1.0\]"),
    ],
)
def test_a_job_is_all_that_the_points_depend_on(out, monkeypatch, changes, said):
    interrupted(monkeypatch, out)
    with pytest.raises(ChunksError, match=f"is that of other points: {said}"):
        make(out, **changes)
    make(out)
    assert torch.equal(read_points(out), POINTS)


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_a_seed_that_is_none_is_refused_before_anything_is_drawn(out, drawn, seed):
    with pytest.raises(ChunksError, match=f"the seed must be a whole number of 0 or more, not {seed!r}"):
        make(out, seed=seed)
    assert drawn == []


def test_code_and_torch_are_part_of_the_job(out, monkeypatch):
    interrupted(monkeypatch, out)
    monkeypatch.setattr(torch, "__version__", "1.0")
    monkeypatch.setattr(generate, "code_checksum", lambda *_: "0" * 64)
    with pytest.raises(ChunksError, match=r"torch .*, not 1\.0; code [0-9a-f]{16}, not 0{16}\."):
        make(out)


# --- in bounded memory

MEMORY = """
import resource, sys
from pathlib import Path
from test_generate import MODEL, UNITS
from lab_utils.runs.generate import generate
from lab_utils.diffusion.samplers import ddim

sampler = ddim(MODEL.schedule, 2)
for n in (100_000, 1_500_000):
    for suffix in (".npy", ".csv", ".parquet"):
        out = Path(sys.argv[1]) / f"points{n}{suffix}"
        generate(MODEL, n, out, units=UNITS, sampler=sampler, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_points(tmp_path):
    """The points of the larger files take 24 MB, and 12 as they are sampled; the process may grow by less than that."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    few, many = (int(line) * (1 if sys.platform == "darwin" else 1024) for line in said.split())
    assert many - few < 8e6
    assert (tmp_path / "points1500000.npy").stat().st_size == 128 + 16 * 1_500_000


# --- the command


def command(out, *more, points=300_000):
    """A training of a second, and steps that are soon made."""
    quick = ["--data", "gaussian", "--epochs", "1", "--sampler", "dpm", "--steps", "4"]
    return ["--points", str(points), "--out", str(out), "--seed", "3", *quick, *more]


def by_hand(n):
    """The same points without the command."""
    data, schedule = dataset("gaussian"), sigmoid()
    run = fit(DiffusionGenerator(schedule=schedule), data, Recipe(epochs=1, checkpoints=(1,)), progress=False)
    return data.units.restore(sample(run.model(1), n, seed=3, sampler=dpm_solver(schedule, 4)))


def test_a_killed_command_goes_on(out, monkeypatch, drawn):
    monkeypatch.setattr(generate, "CHUNK", 64)  # as in the process
    arguments = command(out, "--quiet", points=600_000)
    process = subprocess.Popen([sys.executable, "-m", "lab_utils.runs.generate", *arguments])
    folder, deadline = out.parent / "points.npy.parts", time.monotonic() + 300  # a busy machine is slow, not wrong
    try:
        while len([*folder.glob("00*.safetensors")]) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = len([*folder.glob("00*.safetensors")])
    assert 2 <= kept < 10
    assert not out.exists()
    assert main(arguments) == 0
    assert len(drawn) == 10 - kept
    assert torch.equal(read_points(out), by_hand(600_000))
    assert [path.name for path in out.parent.iterdir()] == ["points.npy"]


def test_the_command_itself_makes_the_same_on_a_cluster(out, cluster):
    """As `__main__`, whose functions the workers can't import."""
    arguments = command(out, "--scheduler", cluster.scheduler.address, points=100_000)
    done = subprocess.run([sys.executable, "-m", "lab_utils.runs.generate", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "100k/100k" in done.stderr
    assert torch.equal(read_points(out), by_hand(100_000))


def test_an_interrupted_command_says_what_is_kept(out, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        break_after(patch, 2, KeyboardInterrupt())
        assert main(command(out, points=N)) == 130
    assert (
        f"Interrupted; 2 of 5 chunks are in {out}.parts; the same call goes on with the rest\n"
        in capsys.readouterr().err
    )
    assert main(command(out, "--quiet", points=N)) == 0
    assert capsys.readouterr() == ("", "")
    assert torch.equal(read_points(out), by_hand(N))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device; 1 of 5 chunks are in"),
        (ConnectionError("no connection"), "no connection; 1 of 5 chunks are in"),
    ],
)
def test_a_disk_or_cluster_that_fails_is_said_in_a_line(out, monkeypatch, capsys, error, said):
    break_after(monkeypatch, 1, error)
    assert main(command(out, "--quiet", points=N)) == 1
    line = capsys.readouterr().err
    assert line.startswith(said)
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--points", "0"], "argument --points: expected a whole number of 1 or more, not '0'"),
        (["--points", "many"], "argument --points: expected a whole number of 1 or more, not 'many'"),
        (["--out", "points.txt"], "points.txt must end in .npy, .csv, .parquet"),
        (["--out", "nowhere/points.npy"], "can't write into the folder nowhere"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 to 18446744073709551615, not '-1'"),
        (["--sampler", "ddpm", "--steps", "5"], "--steps goes with --sampler sde, dpm or ddim; ddpm takes all 1000"),
        (["--sampler", "sde", "--steps", "1"], "whole number of 2 or more, up to 1000, not 1"),
        (["--epochs", "0"], "argument --epochs: expected a whole number of 1 or more, not '0'"),
        (["--steps", "0"], "argument --steps: expected a whole number of 1 or more, not '0'"),
        (["--scheduler", "nonsense"], "argument --scheduler: expected the address of a Dask scheduler, such as tcp://"),
        (["--data", "my.csv", "--columns", ""], "my.csv"),
        (["--data", "nowhere.csv"], "can't read 'nowhere.csv'"),
        (
            ["--data", "cities", "--label", "Afrika"],
            "there is no class 'Afrika'; there are Africa, Asia, Europe, North America, Oceania, South America",
        ),
        (["--data", "spiral", "--label", "arm"], "there is no class 'arm'; there are first arm, second arm"),
        (["--data", "gaussian", "--label", "part"], "'gaussian' has no parts; moons, checkerboard, eight_gaussians"),
        (
            ["--data", "my.csv", "--label", "port"],
            "--label port needs --classes, the column of my.csv with the classes",
        ),
        (["--data", "my.csv", "--classes", "kind"], "--classes goes with --label, which says of which class"),
        (
            ["--data", "spiral", "--label", "first arm", "--classes", "kind"],
            "'spiral' is a shape, which has no columns",
        ),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(out, monkeypatch, capsys, options, said):
    monkeypatch.setattr(generate, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(SystemExit) as end:
        main([*command(out), *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        ([], sde_dpm_solver(sigmoid(), 50)),
        (["--steps", "9"], sde_dpm_solver(sigmoid(), 9)),
        (["--sampler", "ddpm"], ancestral(sigmoid())),
        (["--sampler", "ddim"], ddim(sigmoid(), 200)),
        (["--sampler", "dpm"], dpm_solver(sigmoid(), 20)),
        (["--sampler", "dpm", "--steps", "9"], dpm_solver(sigmoid(), 9)),
    ],
)
def test_the_command_takes_the_model_of_the_readme(out, monkeypatch, options, sampler):
    """The same network, data and recipe, so a model that a notebook has trained is found; and the sampler asked for."""
    calls = []

    class Run:
        def model(self):
            return "the last model"

    monkeypatch.setattr(generate, "fit", lambda *arguments, **named: calls.append((arguments, named)) or Run())
    monkeypatch.setattr(generate, "generate", lambda *arguments, **named: calls.append((arguments, named)))
    assert main(["--points", "5", "--out", str(out), *options]) == 0
    ((network, data, recipe), _), ((model, n, path), named) = calls
    assert network.config == DiffusionGenerator(schedule=sigmoid()).config
    assert data.checksum == dataset("cities").checksum
    assert recipe == Recipe()
    assert (model, n, path, named["seed"], named["scheduler"]) == ("the last model", 5, out, 0, None)
    assert torch.equal(named["units"].shift, data.units.shift)
    assert named["sampler"].name == sampler.name
    assert torch.equal(named["sampler"].coefficients, sampler.coefficients)


def test_the_command_writes_points_of_one_class(out):
    """Of a shape, whose parts are its classes, and of a table, in which a column is named."""
    schedule, recipe = sigmoid(), Recipe(epochs=1)
    data = dataset("eight_gaussians", label="part")
    assert main(command(out, "--quiet", "--data", "eight_gaussians", "--label", "135°", points=40)) == 0
    model = fit(DiffusionGenerator(schedule=schedule, classes=data.classes), data, recipe, progress=False).model()
    expected = sample(given(model, "135°"), 40, seed=3, sampler=dpm_solver(schedule, 4))
    assert torch.equal(read_points(out), data.units.restore(expected))
    table = out.with_name("table.csv")
    rows = [f"{k},{k % 7},{'port' if k % 3 else 'town'}" for k in range(60)]
    table.write_text("\n".join(["x,y,kind", *rows]))
    options = ["--data", str(table), "--classes", "kind", "--label", "port"]
    assert main(command(out.with_suffix(".csv"), "--quiet", *options, points=40)) == 0
    data = dataset(table, label="kind")
    model = fit(DiffusionGenerator(schedule=schedule, classes=("port", "town")), data, recipe, progress=False).model()
    expected = sample(given(model, "port"), 40, seed=3, sampler=dpm_solver(schedule, 4))
    assert torch.equal(read_points(out.with_suffix(".csv")), data.units.restore(expected))


def test_a_file_of_one_class_does_not_go_on_with_the_chunks_of_another(out, monkeypatch):
    told = network(schedule=sigmoid(timesteps=20), classes=("a", "b")).requires_grad_(False)
    told.leave.weight.normal_(generator=torch.Generator().manual_seed(0))
    guided_points = {"units": UNITS, "sampler": QUICK}
    interrupted(monkeypatch, out, model=given(told, "a"), **guided_points)
    for other in (given(told, "b"), told, guided(given(told, "a"), told, 2.0)):
        with pytest.raises(ChunksError, match="is that of other points: model"):
            make(out, model=other, **guided_points)
    make(out, model=given(told, "a"), **guided_points)
    expected = sample(given(told, "a"), N, seed=7, sampler=QUICK)
    assert torch.equal(read_points(out), UNITS.restore(expected))
