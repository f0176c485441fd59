"""A file made in chunks has every bit of its points, and whatever stands in the way is left as it is."""

import json
import os
from pathlib import Path

import pytest
import torch
from point_files import read_points

from lab_utils.base.files import lock
from lab_utils.points.dataset import Units
from lab_utils.runs.chunks import FORMATS, Chunks, ChunksError, check

UNITS = Units(torch.tensor([12.3, -45.6], dtype=torch.float64), 1 / 3)
# also what is written in unusual ways: whole numbers, very large and very small ones
POINTS = torch.cat([torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([[1e-30, 3e9]])])
ABOUT = {"seed": 1, "units": [0.1, 1e-17]}


class StopError(Exception):
    missing: list[int]


def fill(chunks, numbers=None):
    for number in chunks.missing() if numbers is None else numbers:
        chunks.save(number, POINTS[number * chunks.most :][: chunks.size(number)])


def stop(chunks, numbers):
    """Keep these chunks and be stopped; the error tells what was missing before."""
    with chunks.open(ABOUT):
        error = StopError()
        error.missing = list(chunks.missing())
        fill(chunks, numbers)
        raise error


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))  # the locks stand there
    (tmp_path / "out").mkdir()


@pytest.fixture
def chunks(tmp_path):
    """Six chunks, the last of one point."""
    return Chunks(tmp_path / "out" / "points.npy", 21, 4)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("most", [4, 7, 21, 100])
def test_a_file_has_every_bit_of_the_points_and_nothing_else_stays(tmp_path, suffix, most):
    chunks = Chunks(tmp_path / "out" / f"points{suffix}", 21, most)
    with chunks.open(ABOUT):
        fill(chunks)
        chunks.assemble(UNITS, progress=False)
    found = read_points(chunks.out)
    assert found.dtype == torch.float64
    assert torch.equal(found, UNITS.restore(POINTS))
    assert [path.name for path in chunks.out.parent.iterdir()] == [f"points{suffix}"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which file a number means")
@pytest.mark.parametrize("suffix", FORMATS)
def test_chunks_go_only_when_the_whole_file_and_its_name_are_on_the_disk(tmp_path, monkeypatch, suffix):
    chunks = Chunks(tmp_path / "out" / f"points{suffix}", 21, 4)
    synced = []

    def fsync(number):
        path = Path(f"/proc/self/fd/{number}").readlink()
        synced.append((path, path.is_file() and torch.equal(read_points(path), UNITS.restore(POINTS)), waiting()))

    def waiting():
        return sum(1 for number in chunks.numbers if (chunks.folder / f"{number:06d}.safetensors").exists())

    with chunks.open(ABOUT):
        fill(chunks)
        monkeypatch.setattr(os, "fsync", fsync)
        chunks.assemble(UNITS, progress=False)
    whole, name = synced
    assert whole == (chunks.folder / chunks.out.name, True, 6)
    assert name == (chunks.out.parent, False, 6)
    assert not chunks.folder.exists()


def test_what_is_there_and_whole_is_not_missing(chunks):
    assert [chunks.size(number) for number in chunks.numbers] == [4, 4, 4, 4, 4, 1]
    with pytest.raises(StopError, match=r"3 of 6 chunks are in .*points\.npy\.parts; the same call") as end:
        stop(chunks, [0, 2, 5])
    assert end.value.missing == [0, 1, 2, 3, 4, 5]
    (chunks.folder / "000002.safetensors").write_bytes(b"cut off")
    (chunks.folder / ".000003.safetensors.0123.part").write_bytes(b"what a killed process leaves")
    with pytest.raises(StopError) as end:
        stop(chunks, [])
    assert end.value.missing == [1, 2, 3, 4]


def test_a_chunk_that_is_lost_at_the_last_moment_is_made_the_next_time(chunks):
    with pytest.raises(StopError, match="6 of 6 chunks"):
        stop(chunks, chunks.numbers)
    (chunks.folder / "000001.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="5 of 6 chunks"), chunks.open(ABOUT):
        chunks.assemble(UNITS, progress=False)
    assert not chunks.out.exists()
    with chunks.open(ABOUT):
        fill(chunks)
        chunks.assemble(UNITS, progress=False)
    assert torch.equal(read_points(chunks.out), UNITS.restore(POINTS))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", 2, "seed 1, not 2. Name another file, or delete"),
        ("units", [0.1, 2e-17], r"units \[0.1, 1e-17\], not \[0.1, 2e-17\]"),
        ("new", "x", "new None, not x"),
    ],
)
def test_chunks_of_other_points_are_refused_and_kept(chunks, name, value, said):
    with pytest.raises(StopError):
        stop(chunks, [0])
    before = {path: path.read_bytes() for path in chunks.folder.iterdir()}
    with pytest.raises(ChunksError, match=said), chunks.open(ABOUT | {name: value}):
        pytest.fail("opened")
    for other, what in (
        (Chunks(chunks.out, 22, 4), "points 21, not 22"),
        (Chunks(chunks.out, 21, 5), "chunk 4, not 5"),
    ):
        with pytest.raises(ChunksError, match=what), other.open(ABOUT):
            pytest.fail("opened")
    assert {path: path.read_bytes() for path in chunks.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("holiday.jpg", "a beach", "is in the way, with something else in it"),
        ("job.json", '{"seed": ', "can't be read"),
        ("job.json", "[1]", "can't be read"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_kept(chunks, name, content, said):
    chunks.folder.mkdir()
    (chunks.folder / name).write_text(content)
    with pytest.raises(ChunksError, match=f"{said}.*Name another file, or delete that folder"), chunks.open(ABOUT):
        pytest.fail("opened")
    assert [path.read_text() for path in chunks.folder.iterdir()] == [content]


def test_a_process_killed_before_it_wrote_what_the_job_is_is_no_obstacle(chunks):
    chunks.folder.mkdir()
    (chunks.folder / ".job.json.0123.part").write_text('{"se')
    with pytest.raises(StopError):
        stop(chunks, [])
    assert json.loads((chunks.folder / "job.json").read_text()) == {"points": 21, "points of a chunk": 4, **ABOUT}


def test_two_processes_do_not_make_the_same_file(chunks):
    with lock(chunks.out):
        with pytest.raises(ChunksError, match=r"another process is making .*points\.npy"), chunks.open(ABOUT):
            pytest.fail("opened")
        assert not chunks.folder.exists()


@pytest.mark.parametrize(
    ("name", "n", "said"),
    [
        ("points.npy", 0, "the number of points must be a whole number of 1 or more, not 0"),
        ("points.npy", 1e6, "whole number of 1 or more, not 1000000.0"),
        ("points.txt", 5, r"points.txt must end in .npy, .csv, .parquet"),
        ("points", 5, "must end in"),
        ("old.npy", 5, "old.npy is there already; move it away, or name another file"),
        ("link.npy", 5, "link.npy is there already; move it away, or name another file"),
        ("nowhere/points.npy", 5, "can't write into the folder .*nowhere .No such file.*; name another"),
        ("old.npy/points.npy", 5, "can't write into the folder .*old.npy .Not a directory"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused_before_anything_is_done(tmp_path, name, n, said):
    (tmp_path / "out" / "old.npy").write_text("precious")
    (tmp_path / "out" / "link.npy").symlink_to(tmp_path / "not yet.npy")  # a file would take the place of the link
    with pytest.raises(ChunksError, match=said):
        check(tmp_path / "out" / name, n)
    with pytest.raises(ChunksError, match=said), Chunks(tmp_path / "out" / name, n, 4).open(ABOUT):
        pytest.fail("opened")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["link.npy", "old.npy"]
    assert (tmp_path / "out" / "old.npy").read_text() == "precious"
