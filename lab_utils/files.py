"""Where the lab's files live, and the one way in which it writes them: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from uuid import uuid4

from filelock import FileLock

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data"
DATA_VARIABLE = "DDPM_LAB_DATA"  # of the environment: the file that the report is to be about


def cache_folder() -> Path:
    """The folder of what can be computed again: `.cache` in the project, or `$DDPM_LAB_CACHE`.

    A relative one starts at the project, so that a notebook, which runs in its own folder, finds the same.
    """
    return PROJECT / (os.environ.get("DDPM_LAB_CACHE") or ".cache")


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, the file written there becomes `path`.

    When the block raises, the temporary file is removed and whatever stood at `path` before still stands there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


class FolderError(ValueError):
    """A folder is not what it was taken for, so it is left alone; the message says what could be done instead."""


@contextmanager
def write_whole_folder(path: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder beside `path`, which takes the place of the one at `path` when the block ends well.

    When the block raises, the new folder goes away and the old one stays. A folder that was written here has in it an
    empty file with the name `marker`; only such a one is replaced.

    Raises:
        FolderError: `path` is a file, or a folder with something in it and without `marker`.
    """
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():  # a crash between the two renames below
        old.rename(path)
    if path.exists() and not (path / marker).exists() and (path.is_file() or any(path.iterdir())):
        raise FolderError(f"{path} was not made by this command, so it is left alone; name a new or an empty folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield new
        (new / marker).touch()
        new.chmod(0o755)  # a temporary folder is its owner's alone; this one is for others to read
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
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
    locks = cache_folder() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return FileLock(locks / f"{sha256(str(Path(path).resolve()).encode())[:16]}.lock", timeout=timeout)


def sha256(content: bytes) -> str:
    """The SHA-256 checksum of `content`, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def code_checksum(*modules: ModuleType) -> str:
    """A checksum of the modules' source: when it changes, nothing old is taken for new."""
    return sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules))


def processor() -> str:
    """The name of this machine's processor, for the facts that stand beside a measurement."""
    with suppress(OSError):  # only Linux has this file, and only there `platform` knows no name
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()
