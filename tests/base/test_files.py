"""Files are written whole or not at all, where the project says."""

import errno
import hashlib
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab_utils.base.files import (
    DATA,
    PROJECT,
    FolderError,
    cache_folder,
    check_writable,
    clear_parts,
    in_a_line,
    lock,
    processor,
    sha256,
    write_whole,
    write_whole_folder,
)


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_was_written_is_there_in_folders_that_were_not(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with write_whole(path) as part:
        part.write_text("whole")
        assert not path.exists()
        assert part.parent == path.parent  # on the same disk, so that moving it is one step
    assert path.read_text() == "whole"
    assert everything(tmp_path) == ["a", "a/b", "a/b/c.txt"]


def test_a_text_for_a_path_will_do_and_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("old and long")
    with write_whole(str(path)) as part:
        part.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_when_writing_fails_the_old_file_stands_and_nothing_else(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")

    def write():
        with write_whole(path) as part:
            part.write_text("hal")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["c.txt"]


def test_when_writing_fails_before_anything_was_written_that_error_is_the_one_raised(tmp_path):
    with pytest.raises(ValueError, match="the real reason"), write_whole(tmp_path / "c.txt"):
        raise ValueError("the real reason")
    assert everything(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "c.txt"):
        pass
    assert everything(tmp_path) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "c.txt"
    with write_whole(path) as one, write_whole(path) as two:
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one"  # the outer block ends last
    assert everything(tmp_path) == ["c.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    """Not the owner's alone, as temporary files often are: another user must be able to read the report."""
    before = os.umask(mask)
    try:
        with write_whole(tmp_path / "c.txt") as part:
            part.write_text("whole")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "c.txt").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("content", "digits"),
    [  # FIPS 180-2's examples
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ],
)
def test_the_checksum_is_sha256(content, digits):
    assert sha256(content) == digits == hashlib.sha256(content).hexdigest()


def test_the_cache_is_in_the_project_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("DDPM_LAB_CACHE", raising=False)
    assert cache_folder() == PROJECT / ".cache"
    monkeypatch.setenv("DDPM_LAB_CACHE", "")  # as good as not set; certainly not the current folder
    assert cache_folder() == PROJECT / ".cache"
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDPM_LAB_CACHE", "here")  # the same from wherever a notebook runs
    assert cache_folder() == PROJECT / "here"


def test_the_project_and_its_data_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (PROJECT / "pyproject.toml").is_file()
    assert (DATA / "cities.csv").is_file()


def test_the_processor_has_a_name_everywhere(monkeypatch):
    name = processor()
    assert name

    def missing(*arguments):
        raise OSError

    for read in (missing, lambda path: "no model"):
        monkeypatch.setattr(Path, "read_text", read)
        assert processor()


def test_one_at_a_time_has_the_lock_of_a_file_and_nothing_stands_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "c.txt"
    with lock(path):
        for same in (path, str(tmp_path / "data" / ".." / "data" / "c.txt")):
            with pytest.raises(TimeoutError), lock(same, timeout=0):
                pytest.fail("two have it")
        with lock(path.with_name("d.txt"), timeout=0):
            assert everything(tmp_path / "data") == []
    with lock(path, timeout=0):
        pass


# --- a full disk, and what a killed process leaves


def test_a_disk_that_is_full_names_the_file_and_what_to_do(tmp_path, monkeypatch):
    """Where the system itself names none: writing to an open file."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    for path, remedy in (
        (tmp_path / "c.txt", "can be written"),
        (tmp_path / "cache" / "c", "or let DDPM_LAB_CACHE name another folder"),
    ):
        with pytest.raises(OSError, match="No space left") as caught, write_whole(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        said = in_a_line(caught.value)
        assert said.startswith(f"[Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}: '{path}'; {path} was not written")
        assert said.endswith(remedy)


def test_an_error_in_a_line_has_its_notes():
    error = ValueError("wrong")
    error.add_note("a note")
    assert in_a_line(error) == "wrong; a note"
    assert in_a_line(KeyboardInterrupt()) == "Interrupted"
    assert in_a_line(MemoryError()) == "MemoryError"


def test_half_written_files_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    for name in (".c.txt.0123.part", ".d.txt.4567.part", "c.txt", "x.part"):
        (tmp_path / name).touch()
    clear_parts(tmp_path, "c.txt")
    assert everything(tmp_path) == [".d.txt.4567.part", "c.txt", "x.part"]
    clear_parts(tmp_path)
    assert everything(tmp_path) == ["c.txt", "x.part"]


def test_half_written_files_are_removed_whatever_the_name_of_the_file(tmp_path):
    for name in (".runs [1].csv.0123.part", ".runs 1.csv.0123.part"):  # for a pattern, [1] would be 1
        (tmp_path / name).touch()
    clear_parts(tmp_path, "runs [1].csv")
    assert everything(tmp_path) == [".runs 1.csv.0123.part"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which file a number means")
def test_a_file_and_then_its_new_name_are_on_the_disk_before_anybody_goes_on(tmp_path, monkeypatch):
    path, synced = tmp_path / "c.txt", []

    def fsync(number):
        synced.append((Path(f"/proc/self/fd/{number}").readlink(), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with write_whole(path) as part:
        part.write_text("whole")
    assert synced == [(part, False), (tmp_path, True)]


def test_where_a_folder_cannot_be_synced_the_file_is_written_all_the_same(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(errno.EACCES, "as on Windows")

    monkeypatch.setattr(os, "open", refused)
    with write_whole(tmp_path / "c.txt") as part:
        part.write_text("whole")
    assert everything(tmp_path) == ["c.txt"]


# --- what stands where a file is to be written

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of this kind are POSIX's")
POSSIBLE = [write_whole, check_writable]


def attempt(write, path):
    """Write there, or look whether one could."""
    if write is check_writable:
        check_writable(path)
    else:
        with write_whole(path) as part:
            part.write_text("new")


@posix
@pytest.mark.parametrize("write", POSSIBLE)
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_stays_a_pipe(tmp_path, write, linked):
    """A file took the place of whatever was named, be it /dev/null."""
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    before = pipe.stat()
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    with pytest.raises(OSError, match=f"{path.name} is a pipe, and stays what it is; name a file, or a new one"):
        attempt(write, path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert pipe.stat().st_ino == before.st_ino
    assert everything(tmp_path) == (["link", "pipe"] if linked else ["pipe"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (stat.S_IFCHR, "a device"),
        (stat.S_IFBLK, "a device"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFDIR, "a folder"),
    ],
)
@pytest.mark.parametrize("write", POSSIBLE)
def test_nothing_but_a_file_is_replaced_by_a_file(tmp_path, monkeypatch, write, kind, name):
    """The devices are made up: what a test would do to a real one by mistake, everybody would have to live with."""
    path = tmp_path / "full"
    path.write_text("never read")
    lstat = Path.lstat

    def made_up(self):
        found = lstat(self)
        return os.stat_result((kind | 0o666, *found[1:])) if self == path else found

    monkeypatch.setattr(Path, "lstat", made_up)
    with pytest.raises(OSError, match=f"full is {name}, and stays what it is"):
        attempt(write, path)
    assert path.read_text() == "never read"
    assert everything(tmp_path) == ["full"]


@pytest.mark.parametrize("write", POSSIBLE)
def test_a_folder_is_refused_before_the_block_and_not_after_hours_of_work(tmp_path, write):
    (tmp_path / "here").mkdir()
    with pytest.raises(OSError, match="here is a folder"):
        attempt(write, tmp_path / "here")


@posix
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("hops", [1, 2])
def test_a_link_stays_a_link_and_what_it_leads_to_is_written_whole(tmp_path, there, hops):
    """Such as a table that stands on another disk, of which the folder has a link only."""
    (tmp_path / "far").mkdir()
    end = path = tmp_path / "far" / "c.txt"
    if there:
        end.write_text("old")
    for hop in range(hops):
        link = tmp_path / f"link{hop}.txt"
        link.symlink_to(os.path.relpath(path, tmp_path))
        path = link

    def fail():
        with write_whole(path) as part:
            part.write_text("hal")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fail()
    assert end.exists() == there
    with write_whole(path) as part:
        assert part.parent == end.parent, "on the same disk, so that moving it is one step"
        part.write_text("new")
    assert path.is_symlink()
    assert end.read_text() == path.read_text() == "new"
    assert not end.is_symlink()
    assert everything(tmp_path / "far") == ["c.txt"]


@posix
@pytest.mark.parametrize("write", POSSIBLE)
def test_a_link_that_leads_in_a_circle_is_refused(tmp_path, write):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a is a link that leads in a circle"):
        attempt(write, tmp_path / "a")
    assert everything(tmp_path) == ["a", "b"]


def test_what_can_be_written_is_found_out_and_nothing_stays_behind(tmp_path, monkeypatch):
    old = tmp_path / "old.csv"
    old.write_text("old")
    for path in (old, tmp_path / "new.csv", tmp_path / "deep" / "deeper" / "new.csv"):
        check_writable(path)
    monkeypatch.chdir(tmp_path)
    check_writable(Path("new.csv"))
    assert everything(tmp_path) == ["old.csv"]
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "folder"), [("old.csv/new.csv", "old.csv"), ("old.csv/a/b/new.csv", "old.csv"), ("read only/new.csv", "")]
)
def test_a_place_that_cannot_be_written_is_named_with_what_to_do(tmp_path, monkeypatch, name, folder):
    """A file in the place of a folder; and a folder without permission, which an administrator has anyway."""
    (tmp_path / "old.csv").write_text("old")

    def refused(dir):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/tmp81wz")

    if not folder:
        monkeypatch.setattr("lab_utils.base.files.tempfile.TemporaryFile", refused)
    with pytest.raises(OSError, match="Not a directory" if folder else "Permission denied") as caught:
        check_writable(tmp_path / name)
    place = str(tmp_path / folder)
    assert f": '{place}'; {tmp_path / name} was not written" in in_a_line(caught.value)
    assert "see to it that its folder can be written" in in_a_line(caught.value)
    assert everything(tmp_path) == ["old.csv"]


# --- whole folders


@posix
def test_a_link_to_a_folder_stays_a_link_and_that_folder_is_replaced(tmp_path):
    far, link = tmp_path / "disk" / "report", tmp_path / "report"
    with write_whole_folder(far, ".mine") as new:
        (new / "old").touch()
    link.symlink_to(far)
    with write_whole_folder(link, ".mine") as new:
        (new / "new").touch()
    assert link.is_symlink()
    assert everything(tmp_path) == ["disk", "disk/report", "disk/report/.mine", "disk/report/new", "report"]


@posix
def test_what_is_no_folder_is_refused_before_a_folder_is_made(tmp_path):
    path = tmp_path / "report"
    os.mkfifo(path)
    with pytest.raises(FolderError, match="was not made by this command"), write_whole_folder(path, ".mine"):
        pytest.fail("not even begun")
    assert everything(tmp_path) == ["report"]


def test_two_that_make_the_same_folder_wait_for_each_other_and_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    path, order, begun = tmp_path / "report", [], threading.Event()

    def make(name):
        with write_whole_folder(path, ".mine") as new:
            begun.set()
            order.append(f"{name} begins")
            while name == "first" and "waiting for it" not in "".join(said):
                said.append(capsys.readouterr().err)
                time.sleep(0.01)
            (new / name).touch()
            order.append(f"{name} ends")

    said = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(make, "first")
        assert begun.wait(30)
        second = pool.submit(make, "second")
        first.result()
        second.result()
    assert f"Another process is at {path}; waiting for it." in "".join(said)
    assert order == ["first begins", "first ends", "second begins", "second ends"]
    assert [file.name for file in path.iterdir()] != ["first"]


def test_what_a_killed_process_left_of_a_folder_goes_with_the_next(tmp_path):
    left = tmp_path / ".report.part"
    left.mkdir()
    (left / "index.html").write_text("half of")
    (tmp_path / ".report.other").mkdir()  # not ours
    with write_whole_folder(tmp_path / "report", ".mine") as new:
        assert everything(new) == []
    assert everything(tmp_path) == [".report.other", "report", "report/.mine"]


def test_a_crash_between_the_renames_of_a_folder_loses_nothing(tmp_path, monkeypatch):
    out, old = tmp_path / "report", tmp_path / ".report.old"
    with write_whole_folder(out, ".mine") as new:
        (new / "index.html").write_text("first")
    out.rename(old)  # as if the power had failed there
    with pytest.raises(RuntimeError), write_whole_folder(out, ".mine"):
        raise RuntimeError
    assert (out / "index.html").read_text() == "first"

    rename = Path.rename

    def failing(path, target):
        if path.name.startswith(".report.") and path != old:
            raise OSError("disk on fire")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk on fire"), write_whole_folder(out, ".mine"):
        pass
    assert (out / "index.html").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, kind):
    path = tmp_path / "thesis"
    if kind == "file":
        path.write_text("years of work")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="thesis was not made by this command"), write_whole_folder(path, ".mine"):
        pytest.fail("not even begun")
    assert everything(tmp_path) == (["thesis"] if kind == "file" else ["thesis", "thesis/thesis.txt"])


def test_an_empty_folder_may_be_taken_and_the_own_one_replaced(tmp_path):
    path = tmp_path / "deep" / "copies"
    path.mkdir(parents=True)
    for name in ("first", "second"):
        with write_whole_folder(path, ".mine") as new:
            (new / name).touch()
    assert everything(tmp_path) == ["deep", "deep/copies", "deep/copies/.mine", "deep/copies/second"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_of_a_folder_are_those_of_any_new_folder(tmp_path, mask):
    before = os.umask(mask)
    try:
        with write_whole_folder(tmp_path / "copies", ".mine"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "copies").stat().st_mode) == 0o777 & ~mask
