"""A disk that is full or can't be written: a clear error, what stood there stands, and with room it goes on.

On real disks, small ones that the tests mount; only root may do that, so others skip these tests.
"""

import os
import subprocess

import pytest
from clusters import threads
from point_files import read_points
from small_runs import DATA, RECIPE, network
from soak import often
from test_generate import MODEL, QUICK, UNITS, N
from test_pages import save
from test_running import TABLE, results, without_seconds

from lab_utils.base.files import in_a_line
from lab_utils.exercises import student
from lab_utils.report.__main__ import main as make_report
from lab_utils.runs import generate, jobs
from lab_utils.runs.fit import fit
from lab_utils.study.running import run_table

SIZE = 32_000_000  # bytes; student copies need most


class Disk:
    def __init__(self, path):
        self.path = path

    def mount(self, *options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={SIZE}", *options)), "ddpm-lab-test", self.path]
        return subprocess.run(command, capture_output=True, text=True)

    def fill(self, left):
        """Let so many bytes be left, in whole pages of 4096."""
        (self.path / "ballast").unlink(missing_ok=True)
        state = os.statvfs(self.path)
        (self.path / "ballast").write_bytes(bytes(state.f_bavail * state.f_frsize - left))

    def empty(self):
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path / "disk")
    disk.path.mkdir()
    try:
        done = disk.mount()
    except FileNotFoundError:
        pytest.skip("there is no command to mount a small disk with")
    if done.returncode:
        pytest.skip(f"only root may mount a small disk: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk.path], check=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "SAVE_EVERY", 5)
    monkeypatch.setattr(generate, "CHUNK", 2)


@pytest.fixture(scope="module")
def address():
    with threads(2) as cluster:
        yield cluster.scheduler_address


# Each makes something in a folder and gives what was made, to be compared; what goes wrong is raised, or said.


def train(folder, monkeypatch, **_):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(folder / "cache"))
    run = fit(network(), DATA, RECIPE, progress=False)
    return {path.name: path.read_bytes() for path in run.folder.iterdir()}


def points(folder, suffix=".npy", **_):
    out = folder / f"points{suffix}"
    generate.generate(MODEL, N, out, units=UNITS, seed=7, sampler=QUICK, progress=False)
    made = read_points(out)
    out.unlink()
    return made.tolist()


def parquet(folder, **_):
    return points(folder, ".parquet")


def csv(folder, **_):
    return points(folder, ".csv")


def table(folder, address, **_):
    path = folder / "results.csv"
    if not path.exists():
        run_table(results, TABLE[:2], path, scheduler=address, progress=False)
    run_table(results, TABLE, path, scheduler=address, progress=False)
    return without_seconds(path)


def saying(command, arguments, capsys):
    """What a command did; its error, if it ended with one, is an `OSError` again."""
    code = command(arguments)
    said = capsys.readouterr().err
    assert (code != 0) == ("not written" in said), said
    if code:
        raise OSError(said)


def page(folder, capsys, **_):
    notebooks = folder.parent / "notebooks"
    notebooks.mkdir(exist_ok=True)
    save(notebooks / "01_one.ipynb", "# One", "print(6 * 7)")
    saying(make_report, ["--notebooks", str(notebooks), "--out", str(folder / "report")], capsys)
    return sorted(path.name for path in (folder / "report").iterdir())


def copies(folder, capsys, **_):
    saying(student.main, ["--out", str(folder / "student")], capsys)
    return [(path.name, path.read_bytes()) for path in sorted((folder / "student").rglob("*")) if path.is_file()]


MAKERS = [train, points, csv, parquet, table, page, copies]


def visible(folder):
    """The files that one would take for results, with their contents."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "ballast")
    return {path: path.read_bytes() for path in found if path.suffix != ".lock"}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_on_a_full_disk_nothing_half_written_stays_and_with_room_it_goes_on(
    make, disk, tmp_path, address, monkeypatch, capsys
):
    what = {"address": address, "monkeypatch": monkeypatch, "capsys": capsys}
    (tmp_path / "roomy").mkdir()
    expected = make(tmp_path / "roomy", **what)
    failed = 0
    for pages in often((0, 1, 4, 30), range(60)):
        disk.fill(4096 * pages)
        try:
            made = make(disk.path, **what)
        except (OSError, ValueError) as error:
            said = in_a_line(error)
            assert "No space left on device" in said
            assert str(disk.path) in said
            assert "Make room" in said or "chunks are in" in said
            failed += 1
        else:
            assert made == expected
        assert [path for path in disk.path.rglob("*.part*") if path.suffix == ".part"] == []
        assert [path for path in disk.path.iterdir() if path.name.startswith(".")] == []
    assert failed >= 2
    disk.empty()
    assert make(disk.path, **what) == expected


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_on_a_disk_that_cannot_be_written_what_stands_there_stands(make, disk, tmp_path, address, monkeypatch, capsys):
    what = {"address": address, "monkeypatch": monkeypatch, "capsys": capsys}
    if make is table:
        run_table(results, TABLE[:2], disk.path / "results.csv", scheduler=address, progress=False)
    elif make is not train:
        make(disk.path, **what)
    before = visible(disk.path)
    assert disk.mount("remount", "ro").returncode == 0
    with pytest.raises((OSError, ValueError)) as caught:
        make(disk.path, **what)
    said = in_a_line(caught.value)
    assert "Read-only file system" in said
    assert str(disk.path) in said
    assert "see to it that its folder can be written" in said or "name another" in said
    assert make is not train or "let DDPM_LAB_CACHE name another folder" in said
    assert visible(disk.path) == before
    assert disk.mount("remount", "rw").returncode == 0
    make(disk.path, **what)
