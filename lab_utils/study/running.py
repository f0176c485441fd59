"""Run a table of configurations on every core, or on many machines, and keep one tidy CSV file of the results.

`run_table` knows nothing of what it runs: it is given a function and the configurations, one call for each. Dask
carries the calls to worker processes; only the process that called `run_table` writes the file, whole and under a
lock, after each run that ends well. So whatever stops, what is finished stands in the file, and the same call goes on
with the rest. The file's own rules are in `table`.

A script needs `if __name__ == "__main__":` around that call, because the workers import the script.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from lab_utils import WORKERS
from lab_utils.base.code import code_checksum, imported
from lab_utils.base.files import check_writable, in_a_line, processor
from lab_utils.runs.engine import as_finished, connect, why
from lab_utils.study.table import (
    FACTS,
    Configuration,
    Rows,
    TableError,
    add_run,
    cell,
    check_inputs,
    read,
    read_table,
    run_key,
)

Function = Callable[[dict[str, Any]], list[dict[str, Any]]]


class RunsFailedError(RuntimeError):
    """Some runs failed, and all others are in the file; the message names each, and says what went wrong."""


DECIDE = ("points", "diffusion", "exact", "measure")  # the rooms whose code decides what a run gives


def code_version(function: Function) -> str:
    """The lab's version, and a checksum of what decides what `function` gives.

    That is its own module and those that it imports, directly or by others, from its own package or from the rooms of
    `DECIDE`; without comments and docstrings.
    """
    module = function.__module__
    own = getattr(sys.modules.get(module), "__package__", None)
    rooms = tuple(f"lab_utils.{room}." for room in DECIDE)
    modules = imported(module, lambda name: name.startswith(rooms) or bool(own and name.startswith(f"{own}.")))
    return f"{version('ddpm-lab')}+{code_checksum(*modules)[:8]}"


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
        **{name: cell(name, value) for name, value in configuration.items()},
        "run": run_key(configuration),
        "lab": code_version(function),
        "python": platform.python_version(),
        "torch": version("torch"),
        "processor": processor(),
        "seconds": f"{seconds:.3f}",
    }
    return [about | {name: cell(name, value) for name, value in result.items()} for result in results]


def _label(configuration: Configuration, names: Iterable[str]) -> str:
    return ", ".join(f"{name}={configuration[name]}" for name in names if name in configuration)


def _check_writable(path: Path) -> None:
    try:
        check_writable(path)
    except OSError as error:  # else it would be taken for one of the cluster's
        raise TableError(in_a_line(error)) from error


def run_table(
    function: Function,
    configurations: Iterable[Configuration],
    path: str | Path,
    *,
    scheduler: str | None = None,
    workers: int = WORKERS,
    progress: bool = True,
    renew: bool = False,
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
        renew: whether to make those again that another version of the code made.

    Returns:
        The file's rows that belong to `configurations`, with types as `read_table` gives them.

    Raises:
        TableError: the configurations make no table, or the file is damaged or of another kind or can't be written,
            and nothing has run; or it can't be written any more, and the runs that were going on are lost.
        ValueError: `workers` is no whole number of 1 or more.
        RunsFailedError: some runs failed, and the others are in the file. The next call tries them again.
        ConnectionError: there is no scheduler at that address, or it went away, or no worker came for five minutes.
        KeyboardInterrupt: after it was said how many runs are in the file.
    """
    from dask.distributed import CancelledError

    path = Path(path)
    table: dict[str, Configuration] = {}
    for configuration in configurations:
        table.setdefault(run_key(configuration), configuration)
    if not table:
        raise TableError("there are no configurations to run")
    inputs = list(dict.fromkeys(name for configuration in table.values() for name in configuration))
    stored = read(path)
    check_inputs(path, stored, inputs)
    current = code_version(function)
    old = {key for key, made in stored.runs.items() if renew and made[0]["lab"] != current}
    todo = {key: configuration for key, configuration in table.items() if key not in stored.runs.keys() - old}
    done = len(table) - len(todo)
    if progress and done:
        tqdm.write(f"{done} of {len(table)} runs are in {path} already")
    varying = [name for name in inputs if len({str(row.get(name)) for row in table.values()}) > 1]
    failed: dict[str, Exception] = {}  # by what is told of it

    def standing(done: int) -> str:
        return f"{done} of {len(table)} runs are in {path}, and the same call goes on with the rest"

    try:
        if todo:
            _check_writable(path)
            with (
                connect(scheduler, workers) as client,
                tqdm(total=len(table), initial=done, unit="run", smoothing=0, disable=not progress) as bar,
            ):
                calls = ((key, partial(_run, function, row, inputs)) for key, row in todo.items())
                for key, future in as_finished(client, calls):
                    try:
                        made = future.result()
                    except CancelledError:
                        raise
                    except Exception as error:
                        what = f"{_label(table[key], inputs)}: {why(error)}"
                        failed[what] = error
                        tqdm.write(f"FAILED: {what}")
                        continue
                    add_run(path, inputs, key, made)
                    done += 1
                    bar.update()
                    bar.set_postfix_str(_label(table[key], varying))
    except (CancelledError, OSError) as error:  # a run's own OSError is among the failed
        raise ConnectionError(f"no connection to the cluster; {standing(done)} ({error})") from error
    except KeyboardInterrupt:
        tqdm.write(f"Interrupted: {standing(done)}")
        raise
    if failed:
        raise RunsFailedError(f"{standing(done)}. Failed: {'; '.join(failed)}") from next(iter(failed.values()))
    rows = read_table(path)
    return rows[rows["run"].isin([*table])].reset_index(drop=True)
