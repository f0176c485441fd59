"""Run a table of configurations on every core, or on many machines, and keep one tidy CSV file of the results.

`run_table` knows nothing of what it runs: it is given a function and the configurations, one call for each. Dask
carries the calls to worker processes; only the process that called `run_table` writes the file, whole and under a
lock, after each run that ends well. So whatever stops, what is finished stands in the file, and the same call goes on
with the rest. A script needs `if __name__ == "__main__":` around that call, because the workers import the script.

The file has one line for each row that a run gave. Its columns are, in this order:

    run                                     the run's key, a checksum of its configuration
    (the configuration's columns)           what the function was called with
    lab, python, torch, processor, seconds  where it ran and how long it took, the same in all rows of a run
    (the results' columns)                  what the function gave

Lines are sorted by the configuration's columns, numbers as numbers, so which run ended first leaves no trace.

Which runs are there already is told by the key alone. It is made of the configuration's names and values in whatever
order; 1 and 1.0 are the same, and a value of None, NaN or "" is the same as no such column. So a column that joins
the configuration later leaves the old runs valid wherever it is None. The key says nothing of the function: when the
function changes, name another file, or give the configurations a column with its version.
"""

# mypy: allow-untyped-calls
# (Dask has types, but not everywhere)

from __future__ import annotations

import csv
import json
import logging
import math
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import pandas as pd
from dask.distributed import CancelledError, Client, Future, KilledWorker, LocalCluster, wait
from filelock import FileLock
from tqdm import tqdm

from lab_utils import THREADS, WORKERS
from lab_utils.files import cache_folder, processor, sha256, write_whole

FACTS = ("lab", "python", "torch", "processor", "seconds")  # the columns that the engine adds to every row
HERE = "127.0.0.1"  # the local cluster can be reached from this machine only

Configuration = Mapping[str, Any]  # column → bool, int, float, str or None; NumPy's scalars too
Function = Callable[[dict[str, Any]], list[dict[str, Any]]]
Rows = list[dict[str, str]]  # of one run: column → cell


class TableError(ValueError):
    """The configurations, the file or the results aren't what they should be; the message says which and where."""


class RunsFailedError(RuntimeError):
    """Some runs failed, and all others are in the file. `failed` is what went wrong: run's key → exception."""

    def __init__(self, message: str, failed: dict[str, Exception]) -> None:
        super().__init__(message)
        self.failed = failed


# --- Values, cells and keys --------------------------------------------------------------------------------------


def _plain(name: str, value: Any) -> bool | int | float | str | None:
    """`value` as one of Python's own scalars, with None for whatever is nothing.

    Raises:
        TableError: it is something else, or text that would not fit in one line.
    """
    value = value.item() if hasattr(value, "item") else value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, bool | int | float | str) or not str(value).isprintable():
        raise TableError(f"{name!r} must be a number, True, False, None or a line of text, not {value!r}")
    return value


def _cell(name: str, value: Any) -> str:
    plain = _plain(name, value)
    return "" if plain is None else str(plain)


def run_key(configuration: Configuration) -> str:
    """The key of the run with this configuration: 16 hexadecimal digits (the module's text says what it is made of).

    Raises:
        TableError: a column has no name, has the name of one of the engine's own, or a value that is no scalar.
    """
    values = {}
    for name, value in configuration.items():
        if not isinstance(name, str) or not name.isprintable() or name in ("", "run", *FACTS):
            raise TableError(f"{name!r} can't be a column of the configuration")
        plain = _plain(name, value)
        if plain is not None:
            values[name] = int(plain) if isinstance(plain, float) and plain.is_integer() else plain
    return sha256(json.dumps(values, sort_keys=True).encode())[:16]


# --- The file ----------------------------------------------------------------------------------------------------


@dataclass
class _Table:
    """A file's content, every cell as its text, so that nothing changes on the way through."""

    inputs: list[str] = field(default_factory=list)  # the configuration's columns
    outputs: list[str] = field(default_factory=list)  # the results' columns
    runs: dict[str, Rows] = field(default_factory=dict)  # run's key → its rows


def _read(path: Path) -> _Table:
    """What stands in the file at `path`; nothing where there is none.

    Raises:
        TableError: it is no table of the engine's, or damaged; the message says where and what to do.
    """
    if not path.exists():
        return _Table()
    remedy = "It is left as it is; mend it or move it away, or name another file"
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines(), strict=True)
    except (ValueError, csv.Error) as error:
        raise TableError(f"{path} can't be read as a table: {error}. {remedy}") from error
    first = header.index(FACTS[0]) if FACTS[0] in header else 0
    last = first + len(FACTS)
    if header[:1] != ["run"] or header[first:last] != [*FACTS] or len(set(header)) < len(header):
        raise TableError(
            f"{path} has the columns {', '.join(header)}; expected: run, the configuration's, {', '.join(FACTS)}, "
            f"the results'. {remedy}"
        )
    table = _Table(header[1:first], header[last:])
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise TableError(f"{path}, line {number}: {len(cells)} cells under {len(header)} columns. {remedy}")
        if not re.fullmatch("[0-9a-f]{16}", cells[0]):
            raise TableError(f"{path}, line {number}: {cells[0]!r} in column run is no run's key. {remedy}")
        table.runs.setdefault(cells[0], []).append(dict(zip(header, cells, strict=True)))
    if not text.endswith("\n"):
        raise TableError(f"{path}, line {len(lines) + 1}: the line is cut off. {remedy}")
    return table


def _check(path: Path, table: _Table, inputs: list[str]) -> None:
    """Refuse to add runs with the configuration's columns `inputs` to a table of another kind."""
    for name in table.inputs:
        if name not in inputs:
            raise TableError(
                f"{path} has the column {name!r}, which the configurations lack (theirs are {', '.join(inputs)}); "
                f"name another file, or give them {name}=None"
            )
    for name in inputs:
        if name in table.outputs:
            raise TableError(f"{path} has {name!r} as a result, so it can't be in a configuration; name another file")


def _rank(cell: str) -> tuple[int, float, str]:
    """Where `cell` stands in its column: numbers, then text, then nothing."""
    with suppress(ValueError):
        number = float(cell)
        if not math.isnan(number):
            return 0, number, cell
    return (1 if cell else 2), 0.0, cell


def _add(path: Path, inputs: list[str], key: str, rows: Rows) -> None:
    """Put the rows of the run `key` into the file at `path`, together with whatever another process put there."""
    locks = cache_folder() / "locks"  # not beside the file, which may lie among files that git keeps
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{sha256(str(path.resolve()).encode())[:16]}.lock"):
        table = _read(path)
        table.runs.setdefault(key, rows)
        inputs = list(dict.fromkeys([*table.inputs, *inputs]))
        known = ("run", *inputs, *FACTS)
        outputs = dict.fromkeys([*table.outputs, *(name for row in rows for name in row if name not in known)])
        with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*known, *outputs], restval="", lineterminator="\n")
            writer.writeheader()
            for run in sorted(table.runs.values(), key=lambda run: [_rank(run[0].get(name, "")) for name in inputs]):
                writer.writerows(run)


def read_table(path: str | Path) -> pd.DataFrame:
    """The file that `run_table` wrote, one row for each of its lines.

    A column of whole numbers has integers, one of other numbers has floats (to the last bit from pandas 3.1 on), one
    of True and False has booleans, and any other has text. An empty cell is NaN; with one, whole numbers are floats.

    Raises:
        TableError: the file is damaged, or is no such table.
        FileNotFoundError: there is none.
    """
    _read(Path(path))
    # The key "0000000000000012" is no number, and the text "NA" is text.
    return pd.read_csv(path, dtype={"run": str}, keep_default_na=False, na_values=[""], low_memory=False)


# --- Running -----------------------------------------------------------------------------------------------------


def _run(function: Function, configuration: Configuration, inputs: list[str]) -> Rows:
    """Run one configuration, in a worker; give its rows as they will stand in the file.

    Raises:
        TableError: the function gave no rows, or what is no cell, or a column of a name that is taken.
    """
    start = time.perf_counter()
    results = function(dict(configuration))
    seconds = time.perf_counter() - start
    if not results:
        raise TableError("the function gave no rows")
    taken = {"run", *inputs, *FACTS} & {name for result in results for name in result}
    if taken:
        raise TableError(f"the function gave results under names that are taken: {', '.join(sorted(taken))}")
    about = {
        **{name: _cell(name, value) for name, value in configuration.items()},
        "run": run_key(configuration),
        "lab": version("ddpm-lab"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "processor": processor(),
        "seconds": f"{seconds:.3f}",
    }
    return [about | {name: _cell(name, value) for name, value in result.items()} for result in results]


@contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A connection to the scheduler at an address, or to a cluster of worker processes that ends with the block."""
    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    environment = {"OMP_NUM_THREADS": str(THREADS), "DASK_LOGGING__DISTRIBUTED": "critical"}
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,  # of the workers
        "distributed.scheduler.allowed-failures": 3,  # a run that has killed four workers has failed
    }
    with (
        TemporaryDirectory(prefix="ddpm-lab-", ignore_cleanup_errors=True) as folder,
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=HERE,
            dashboard_address=f"{HERE}:0",  # there is no dashboard, but Dask listens there all the same
            memory_limit=None,  # no limit of Dask's own, at which it would kill the worker
            local_directory=folder,
            silence_logs=logging.CRITICAL,  # what goes wrong with a run is told by us, once
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _as_finished(
    client: Client, function: Function, todo: Mapping[str, Configuration], inputs: list[str]
) -> Iterator[tuple[str, Future[Rows]]]:
    """Run `todo`, one run on each of the workers' threads at a time; give each run's key and future as it ends.

    Dask would take all of them at once, but then a run that kills its workers would take down with it whatever else
    waited there. It tries the run of a killed worker again by itself.
    """
    waiting = [*todo][::-1]
    running: dict[Future[Rows], str] = {}
    while waiting or running:
        threads = max(1, sum(client.nthreads().values()))  # workers may join later
        while waiting and len(running) < threads:
            key = waiting.pop()
            running[client.submit(_run, function, todo[key], inputs, pure=False)] = key
        with suppress(TimeoutError):
            wait([*running], timeout=1, return_when="FIRST_COMPLETED")
        for future in [future for future in running if future.done()]:
            yield running.pop(future), future


def _label(configuration: Configuration, names: Iterable[str]) -> str:
    return ", ".join(f"{name}={configuration[name]}" for name in names if name in configuration)


def _why(error: Exception) -> str:
    if isinstance(error, KilledWorker):
        return "every worker that ran it was killed"
    return f"{type(error).__name__}: {error}"


def run_table(
    function: Function,
    configurations: Iterable[Configuration],
    path: str | Path,
    *,
    scheduler: str | None = None,
    workers: int = WORKERS,
    progress: bool = True,
) -> pd.DataFrame:
    """Call `function` with each configuration that isn't in the file at `path` yet, and add what it gives there.

    Two processes may do that with the same file at the same time: neither loses a row, and a run that both have done
    stands there once. A configuration's column that the file lacks is added, empty in the old lines; so is a result's.

    Args:
        function: configuration → one or several rows of results, column → scalar. The workers must be able to import
            it, or Dask to send it.
        configurations: column → scalar, in the order in which they shall run; repeated ones run once.
        path: of the CSV file.
        scheduler: address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers have the lab installed;
            without one, this machine's cores do the work.
        workers: processes on this machine, each of which runs one configuration at a time.
        progress: whether to say how many are there already and to show a bar.

    Returns:
        The file's rows that belong to `configurations`, with types as `read_table` gives them.

    Raises:
        TableError: the configurations make no table, or the file is damaged or of another kind. Nothing has run.
        RunsFailedError: some runs failed, and the others are in the file. The next call tries them again.
        ConnectionError: there is no scheduler at that address, or it went away.
        KeyboardInterrupt: after it was said how many runs are in the file.
    """
    path = Path(path)
    table: dict[str, Configuration] = {}
    for configuration in configurations:
        table.setdefault(run_key(configuration), configuration)
    if not table:
        raise TableError("there are no configurations to run")
    inputs = list(dict.fromkeys(name for configuration in table.values() for name in configuration))
    stored = _read(path)
    _check(path, stored, inputs)
    todo = {key: configuration for key, configuration in table.items() if key not in stored.runs}
    done = len(table) - len(todo)
    if progress and done:
        tqdm.write(f"{done} of {len(table)} runs are in {path} already")
    varying = [name for name in inputs if len({str(row.get(name)) for row in table.values()}) > 1]
    failed: dict[str, Exception] = {}

    def standing(done: int) -> str:
        return f"{done} of {len(table)} runs are in {path}, and the same call goes on with the rest"

    try:
        if todo:
            with (
                _client(scheduler, workers) as client,
                tqdm(total=len(table), initial=done, unit="run", smoothing=0, disable=not progress) as bar,
            ):
                for key, future in _as_finished(client, function, todo, inputs):
                    try:
                        _add(path, inputs, key, future.result())
                        done += 1
                        bar.update()
                        bar.set_postfix_str(_label(table[key], varying))
                    except CancelledError:
                        raise
                    except Exception as error:
                        failed[key] = error
                        tqdm.write(f"FAILED: {_label(table[key], inputs)}: {_why(error)}")
    except (CancelledError, OSError) as error:  # a run's own OSError is among the failed
        raise ConnectionError(f"no connection to the scheduler; {standing(done)} ({error})") from error
    except KeyboardInterrupt:
        tqdm.write(f"Interrupted: {standing(done)}")
        raise
    if failed:
        names = "; ".join(f"{_label(table[key], inputs)}: {_why(error)}" for key, error in failed.items())
        raise RunsFailedError(f"{standing(done)}. Failed: {names}", failed) from next(iter(failed.values()))
    rows = read_table(path)
    return rows[rows["run"].isin([*table])].reset_index(drop=True)
