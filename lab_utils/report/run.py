"""Run every notebook for real and write the report: `python -m lab_utils.report`.

This runs the notebooks and puts the new report in the old one's place when it is whole; `lab_utils.pages` writes
what stands in it. The notebooks themselves stay as they are, unless `--save` asks for their stored outputs to be
renewed.
"""

# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
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

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield bar
        finally:
            stop.set()
            clock.join()


def run_notebook(path: Path, timeout: int, threads: int, label: str = "") -> Run:
    """Run the notebook at `path` in its own folder, up to its end or to the first cell that fails.

    A cell that raises or takes longer than `timeout` seconds, a kernel that dies, a file that is no notebook: each
    becomes `error` of the `Run`, with the traceback among the outputs. Only `KeyboardInterrupt` comes through.
    """
    started = time.monotonic()
    run, cell = Run(path, nbformat.v4.new_notebook()), None
    try:
        run.notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in run.notebook.cells if cell.cell_type == "code"]
        for stale in code:
            stale.update(outputs=[], execution_count=None)
        manager = AsyncKernelManager(kernel_spec_manager=_ThisEnvironment())
        folder = {"metadata": {"path": str(path.parent)}}
        client = NotebookClient(
            run.notebook, km=manager, timeout=timeout, resources=folder, coalesce_streams=True, record_timing=False
        )
        # The kernel's own stderr is its log; what cells write there arrives as their output.
        environment = {"OMP_NUM_THREADS": str(threads), CACHE_VARIABLE: str(cache_folder())}
        kernel = {"env": {**os.environ, **environment}, "stderr": subprocess.DEVNULL}
        with _progress(label or path.stem, len(code)) as bar, client.setup_kernel(cleanup_kc=True, **kernel):
            for index, cell in enumerate(run.notebook.cells):
                client.execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
                bar.update(cell.cell_type == "code")
    except CellExecutionError as error:
        run.error = f"{error.ename}: {error.evalue}"  # the kernel has put the traceback among the outputs
    except Exception as error:  # whatever breaks one notebook, the others still run and the report is still written
        slow = isinstance(error, CellTimeoutError)
        run.error = f"Time-out: the cell ran for more than {timeout} seconds" if slow else f"{error or repr(error)}"
        if cell is None:
            cell = nbformat.v4.new_code_cell()
            run.notebook.cells.append(cell)
        cell.outputs.append(nbformat.v4.new_output("error", ename="Failed", evalue=run.error, traceback=[run.error]))
    if run.error:
        run.failed_cell = f"cell-{cell.id}" if cell else ""
    run.seconds = time.monotonic() - started
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
