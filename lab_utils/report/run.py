"""Run a notebook for real, in a kernel of its own, and the text in which the lab stores what came out.

The file of the notebook stays as it is, unless `--save` asks for its stored outputs to be renewed.
"""

# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from tqdm import tqdm

from lab_utils.base.files import CACHE_VARIABLE, cache_folder
from lab_utils.report.pages import WIDGET, Run

PATIENCE = (
    300  # seconds for a kernel to start, and for what a cell has said to arrive: a busy machine is slow, not wrong
)
ADDRESS = re.compile(r"(?<=object) at 0x[0-9a-f]+(?=>)")  # of a widget, in its plain text


class _ThisEnvironment(KernelSpecManager):
    """Finds the kernel of the Python that runs this, whatever kernels are installed elsewhere under the same name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


@contextlib.contextmanager
def _progress(label: str, cells: int) -> Iterator[tqdm[Any]]:
    """A bar with notebook, cell and a clock that goes on during a long cell; nothing when nobody watches a terminal."""
    stop = threading.Event()
    shape = "{desc} |{bar:20}| cell {n_fmt} of {total_fmt} done, {elapsed}"
    with tqdm(total=cells, desc=label, leave=False, disable=None, bar_format=shape) as bar:

        def tick() -> None:
            while not stop.wait(1.0):
                bar.refresh()

        watched, clock = not bar.disable, threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield bar
        finally:
            stop.set()
            clock.join()
    if watched:  # where this bar was below another one, tqdm has left the cursor where its text ended
        bar.fp.write("\r")


def _connection(folder: str) -> dict[str, str]:
    """How one speaks to a kernel: through sockets in its `folder`, which no other program has.

    A free port of the machine may be taken by another program before the kernel has it, and then the kernel dies. So
    ports are only for where the system has no such sockets, or where their names would be too long for it.
    """
    file = Path(folder, "kernel.json")
    sockets = os.name == "posix" and len(os.fsencode(file)) < 90
    return {"connection_file": str(file), "transport": "ipc" if sockets else "tcp"}


@contextlib.asynccontextmanager
async def _kernel(notebook: NotebookNode, path: Path, timeout: int, threads: int) -> AsyncIterator[NotebookClient]:
    """A kernel for `notebook`, in the folder of its file; it is gone when the block ends, however that is."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        manager = AsyncKernelManager(kernel_spec_manager=_ThisEnvironment(), **_connection(folder))
        client = NotebookClient(
            notebook, km=manager, timeout=timeout, startup_timeout=PATIENCE, iopub_timeout=PATIENCE,
            resources={"metadata": {"path": str(path.parent)}}, coalesce_streams=True, record_timing=False,
        )  # fmt: skip
        # The kernel's own stderr is its log; what cells write there arrives as their output.
        environment = {"OMP_NUM_THREADS": str(threads), CACHE_VARIABLE: str(cache_folder())}
        try:
            await client.async_start_new_kernel(env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
            await client.async_start_new_kernel_client()
            yield client
        finally:
            if client.kc:
                client.kc.stop_channels()
            if manager.has_kernel:
                await manager.shutdown_kernel()


async def run_notebook(path: Path, timeout: int, threads: int, label: str = "") -> Run:
    """Run the notebook at `path` in its own folder, up to its end or to the first cell that fails.

    A cell that raises or takes longer than `timeout` seconds, a kernel that dies, a file that is no notebook: each
    becomes `error` of the `Run`, with the traceback among the outputs. Only `CancelledError` comes through.
    """
    run, cell = Run(path, nbformat.v4.new_notebook(), began=time.monotonic()), None
    try:
        run.read = path.read_bytes()
        run.notebook = nbformat.reads(run.read.decode(), as_version=4)
        code = [cell for cell in run.notebook.cells if cell.cell_type == "code"]
        for stale in code:
            stale.update(outputs=[], execution_count=None)
        with _progress(label or path.stem, len(code)) as bar:
            async with _kernel(run.notebook, path, timeout, threads) as client:
                for index, cell in enumerate(run.notebook.cells):
                    await client.async_execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
                    bar.update(cell.cell_type == "code")
    except CellExecutionError as error:
        run.error = f"{error.ename}: {error.evalue}"  # the kernel has put the traceback among the outputs
    except Exception as error:  # whatever breaks one notebook, the others still run and the report is still written
        task = asyncio.current_task()
        if task and task.cancelling():  # nbclient takes the end of our waiting for the kernel's
            raise asyncio.CancelledError from error
        slow = isinstance(error, CellTimeoutError)
        run.error = f"Time-out: the cell ran for more than {timeout} seconds" if slow else f"{error or repr(error)}"
        if cell is None:
            cell = nbformat.v4.new_code_cell()
            run.notebook.cells.append(cell)
        cell.outputs.append(nbformat.v4.new_output("error", ename="Failed", evalue=run.error, traceback=[run.error]))
    if run.error:
        run.failed_cell = f"cell-{cell.id}" if cell else ""
    run.seconds = time.monotonic() - run.began
    return run


def canonical(notebook: NotebookNode) -> str:
    """The text of an executed notebook as the lab stores it: the same outputs give the same bytes, everywhere.

    Away go execution times, versions, widget state (its ids are random), addresses in memory and all of stderr
    (progress bars, and warnings with paths). A widget's plain text stays, which is what nbval compares.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    counts = itertools.count(1)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code" or cell.execution_count is None:
            continue
        cell.execution_count = next(counts)
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "text/plain" in data:
                data["text/plain"] = ADDRESS.sub("", data["text/plain"])
            if "execution_count" in output:
                output.execution_count = cell.execution_count
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"
