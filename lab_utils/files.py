"""Where the lab's files live, and the one way in which it writes them: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT / "data"


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
