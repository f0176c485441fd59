"""Where the lab's files live, and the one way in which it writes them: whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock
from platformdirs import user_cache_path

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (_PACKAGE / "data").is_dir()  # as a wheel, which holds the data; in a checkout they stand beside the code
PROJECT = Path.cwd() if INSTALLED else _PACKAGE.parent  # where the report and the like go, unless told otherwise
DATA = (_PACKAGE if INSTALLED else PROJECT) / "data"
CACHE_VARIABLE = "DDPM_LAB_CACHE"  # of the environment: the folder of what can be computed again
DATA_VARIABLE = "DDPM_LAB_DATA"  # of the environment: the file that the report is to be about
DATA_OPTIONS_VARIABLE = "DDPM_LAB_DATA_OPTIONS"  # of the environment: which of its columns, label, gaps; JSON


def cache_folder() -> Path:
    """The folder of what can be computed again: `$DDPM_LAB_CACHE`, or `.cache` in the project.

    A relative one starts at the project, so that a notebook, which runs in its own folder, finds the same. A lab that
    pip has installed takes the user's folder of caches, because other packages are beside it.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if INSTALLED and not named:
        return user_cache_path("ddpm-lab", appauthor=False)
    return PROJECT / (named or ".cache")


def in_a_line(error: BaseException) -> str:
    """What went wrong, with its notes, for who should not need to read a traceback."""
    nameless = "Interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
    return "; ".join([str(error) or nameless, *getattr(error, "__notes__", [])])


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """An `OSError` from the block names `path`; a note says what is left of it and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:  # a disk that is full while we write doesn't say where
            error.filename = str(path)
        if not hasattr(error, "__notes__"):
            remedy = "Make room, or see to it that its folder can be written"
            if path.is_relative_to(cache_folder()):
                remedy += f"; or let {CACHE_VARIABLE} name another folder"
            error.add_note(f"{path} was not written, and what stood there is as it was. {remedy}")
        raise


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link that leads in a circle",
}  # what may stand where a file is to be written, and must stay there


def target(path: Path) -> Path:
    """Where a file at `path` is to be written: there; or, if that is a link, where it leads.

    Raises:
        OSError: something else than a file stands there, which a file would take the place of.
    """
    end = _followed(path)
    try:
        kind = _KINDS.get(stat.S_IFMT(end.lstat().st_mode))
    except OSError:  # there is nothing, or nothing that can be seen, as whoever writes will be told
        return end
    if kind:
        raise OSError(f"{path} is {kind}, and stays what it is; name a file, or a new one")
    return end


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def check_writable(path: Path) -> None:
    """Find out before hours of work whether `write_whole` can write a file at `path`; nothing stays behind.

    Raises:
        OSError: it can't; as `write_whole`.
    """
    path = target(path)
    with _told(path):
        folder = next(folder for folder in path.parents if folder.exists())  # those below it can be made, then
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            error.filename = str(folder)  # it would name a file that nobody knows
            raise


def put(part: Path, path: Path) -> None:
    """Let the file at `part`, on the same disk, become `path`, in a way that a power failure can't undo later.

    So its content is on the disk before it gets its name: else the new name could have nothing behind it. And the name
    is on the disk before this returns: else the old file could be back, and what was removed since would be lost.
    """
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    with suppress(OSError):  # Windows opens no folder, and not every file system can do this; the file is whole anyway
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, the file written there becomes `path`.

    When the block raises, the temporary file is removed and whatever stood at `path` before still stands there. So it
    does when the process is killed, but then the temporary file stays (see `clear_parts`). A link stays a link: the
    file that it leads to is written.

    Raises:
        OSError: it can't be written; the message names the file, and a note says what is left and what to do. Or
            something else than a file stands there (see `target`), and the block has not begun.
    """
    path = target(Path(path))
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with _told(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            put(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def clear_parts(folder: Path, name: str = "") -> None:
    """Remove what killed processes left half-written in `folder`, of one file or all. Only for who has their lock."""
    for part in folder.glob(f".{glob.escape(name) or '*'}.*.part"):
        part.unlink(missing_ok=True)


class FolderError(ValueError):
    """A folder is not what it was taken for, so it is left alone; the message says what could be done instead."""


@contextmanager
def write_whole_folder(path: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder beside `path`, which takes the place of the one at `path` when the block ends well.

    When the block raises, the new folder goes away and the old one stays. A folder that was written here has in it an
    empty file with the name `marker`; only such a one is replaced. Unlike a file (see `put`), a folder can lose some of
    its files to a power failure soon after: what stands in one can be made again. A link stays a link: the folder that
    it leads to is replaced.

    Raises:
        FolderError: `path` is no folder, or one with something in it and without `marker`.
    """
    path = _followed(path)
    new, old = (path.with_name(f".{path.name}.{name}") for name in ("part", "old"))
    with alone_at([path]), _told(path):
        if old.exists() and not path.exists():  # a crash between the two renames below
            old.rename(path)
        if path.exists() and not (path / marker).exists() and not (path.is_dir() and not any(path.iterdir())):
            raise FolderError(f"{path} was not made by this command, so it is left alone; name a new or empty folder")
        for left in (new, old):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            (new / marker).touch()
            if path.exists():
                path.rename(old)
            new.rename(path)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(old, ignore_errors=True)


def lock(path: str | Path, timeout: float = -1) -> FileLock:
    """The lock of the file at `path`, for a `with` block: of all processes of this user, one has it at a time.

    It stands in the cache, not beside the file, which may lie among files that git keeps. Whoever comes second waits,
    or after `timeout` seconds gets a `TimeoutError`.
    """
    file = cache_folder() / "locks" / f"{sha256(os.fsencode(Path(path).resolve()))[:16]}.lock"
    with _told(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return FileLock(file, timeout=timeout)


@contextmanager
def alone_at(paths: Iterable[Path]) -> Iterator[None]:
    """Wait until no other process is at any of these files or folders; until the block ends, none is."""
    with ExitStack() as stack:
        for path in sorted({*paths}):  # in this order everywhere, so that no two wait for each other
            try:
                stack.enter_context(lock(path, timeout=0))
            except TimeoutError:
                print(f"Another process is at {path}; waiting for it.", file=sys.stderr)
                stack.enter_context(lock(path))
        yield


def sha256(content: bytes) -> str:
    """The SHA-256 checksum of `content`, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def processor() -> str:
    """The name of this machine's processor, for the facts that stand beside a measurement."""
    with suppress(OSError):  # only Linux has this file, and only there `platform` knows no name
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
