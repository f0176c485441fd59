"""Time and memory against the number of points, from 10³ to 10⁷: `python -m lab_utils.runs.generate`, a process each.

This file is all that knows how that command is called.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab_utils.base.files import PROJECT

Row = dict[str, Any]

COUNTS = tuple(10**k for k in range(3, 8))
MODULE = "lab_utils.runs.generate"

# Runs the command that follows it, and prints how long that took and the most memory that it held, in MB. A process of
# its own, small and fresh, for the system gives the maximum over all children that a process has had, and a child
# begins with what its parent holds.
WRAPPER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
seconds = time.perf_counter() - started
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
print(json.dumps({"seconds": seconds, "peak": most}))
sys.exit(code)
"""


def command(n: int, out: Path) -> list[str]:
    """The command that generates `n` points of the cities, with 20 steps of DPM-Solver++(2M), into the file `out`."""
    solver = ["--sampler", "dpm", "--steps", "20"]
    return [sys.executable, "-m", MODULE, "--points", str(n), "--out", str(out), "--quiet", *solver]


def missing() -> str:
    """Why the command can't be run; nothing, if it can."""
    try:
        import resource  # noqa: F401  # Windows has none
    except ImportError:
        return "this system doesn't tell how much memory a process has used"
    return "" if importlib.util.find_spec(MODULE) else f"there is no {MODULE}"


def measured(arguments: Sequence[str]) -> Row:
    """The seconds and the peak memory (MB) of a command.

    Raises:
        RuntimeError: if it fails, with the end of what it said.
    """
    done = subprocess.run([sys.executable, "-c", WRAPPER, *arguments], capture_output=True, text=True, cwd=PROJECT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[1:])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(counts: Sequence[int] = COUNTS, rounds: int = 1) -> Iterator[Row]:
    """One row for each number of points and round. Once more, first, which doesn't count: the model may be trained."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for n in counts if number else counts[:1]:
                row = measured(command(n, Path(folder) / f"{number}-{n}.npy"))
                if number:
                    yield {"round": number, "n": n, **row}
