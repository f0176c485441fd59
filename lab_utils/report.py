"""Run every notebook for real and write the report: `python -m lab_utils.report`.

This runs the notebooks and puts the new report in the old one's place when it is whole; `lab_utils.pages` writes
what stands in it. The notebooks themselves stay as they are, unless `--save` asks for their stored outputs to be
renewed.
"""

# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
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

from lab_utils import THREADS
from lab_utils.files import DATA_VARIABLE, PROJECT, FolderError, in_a_line, write_whole, write_whole_folder
from lab_utils.pages import PRINT, WIDGET, Run, facts, write_pages

OWN = "06"  # the notebook about points of one's own
ADDRESS = re.compile(r"(?<=object) at 0x[0-9a-f]+(?=>)")  # of a widget, in its plain text
MARKER = ".ddpm-lab-report"  # a folder with this file in it is a report, and may be replaced by the next one


class ReportError(ValueError):
    """What was asked for can't be done; the message says why, and what could be done instead."""


# --- Running -----------------------------------------------------------------------------------------------------


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
        kernel = {"env": {**os.environ, "OMP_NUM_THREADS": str(threads)}, "stderr": subprocess.DEVNULL}
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


# --- The command -------------------------------------------------------------------------------------------------


def choose(folder: Path, only: Sequence[str]) -> list[Path]:
    """The notebooks of `folder` in the order of their names, or those of them that `only` names by number or name.

    Raises:
        ReportError: there is no notebook, or none of a name in `only`; the message lists what there is.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise ReportError(f"no notebooks in {folder}")
    chosen = set()
    for wanted in only:
        fits = {path for path in notebooks if wanted.removesuffix(".ipynb") in (path.stem, path.stem.split("_")[0])}
        if not fits:
            raise ReportError(f"no notebook {wanted!r}; there are: {', '.join(path.stem for path in notebooks)}")
        chosen |= fits
    return [path for path in notebooks if path in chosen or not only]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description = "Run the notebooks and write the report, a folder of pages that opens without a network."
    parser = argparse.ArgumentParser(prog="python -m lab_utils.report", description=description)

    out, notebooks = (Path(os.path.relpath(PROJECT / name)) for name in ("report", "notebooks"))
    default = " (default: %(default)s)"
    add = parser.add_argument
    add("--out", type=Path, default=out, metavar="FOLDER", help="where the report goes" + default)
    add("--only", nargs="+", default=[], metavar="NOTEBOOK", help="only these notebooks, by number or name")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help=f"a report about these points (CSV, PNG or JPEG): runs {OWN}, unless --only",
    )
    add("--timeout", type=int, default=1800, metavar="SECONDS", help="the most for one cell; 0: no limit" + default)
    add("--threads", type=int, default=THREADS, metavar="N", help="threads of each kernel" + default)
    add("--notebooks", type=Path, default=notebooks, metavar="FOLDER", help="where the notebooks are" + default)
    add("--pdf", action="store_true", help="also print the report, as report.pdf in it; needs Chromium or Chrome")
    add("--save", action="store_true", help="also write the outputs back into the notebooks, in canonical form")
    return parser


def _data(path: Path | None) -> dict[str, str]:
    """Let the notebooks find the points of the file at `path`, and say for the report what it is about.

    Raises:
        ReportError: no model can be trained on that.
    """
    if path is None:
        return {}
    from lab_utils.arguments import PointsError
    from lab_utils.pictures import own_points  # here, for they are slow to import
    from lab_utils.validation import validate

    try:
        card = validate(own_points(path))
    except PointsError as error:
        raise ReportError(str(error)) from error
    os.environ[DATA_VARIABLE] = str(path.resolve())
    return {"Data": f"{path.name}, {card.points} points"}


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def browser() -> str:
    """The program that prints pages: Chromium or one of its kin, or what $CHROMIUM names.

    Raises:
        ReportError: there is none.
    """
    for name in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if name and (found := shutil.which(name)):
            return found
    raise ReportError(
        "a PDF is printed by Chromium or Chrome, and none was found; install one, or let CHROMIUM name it"
    )


def print_pdf(page: Path, pdf: Path) -> None:
    """Print the page as a PDF.

    Raises:
        ReportError: there is no browser, or it did not print.
    """
    with write_whole(pdf) as part, tempfile.TemporaryDirectory() as profile:
        # no sandbox, for root has none (in a container, say); the page is our own, and fetches nothing
        flags = ["--headless", "--disable-gpu", "--no-sandbox", "--no-first-run", "--disable-background-networking"]
        flags += [
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
        ]
        command = [browser(), *flags, f"--print-to-pdf={part}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode or not part.exists():
            raise ReportError(f"{command[0]} did not print {page.name}: {done.stderr.strip()[-500:]}")


def _save(run: Run, before: bytes) -> None:
    """Store the outputs of `run` in its notebook, unless somebody has worked on the file since it was read."""
    if run.path.read_bytes() != before:
        tqdm.write(f"{run.path.stem}: changed on disk while it ran, so its outputs are not saved")
        return
    with write_whole(run.path) as part:
        part.write_text(canonical(run.notebook), encoding="utf-8")
        part.chmod(run.path.stat().st_mode)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; 0 when every notebook ran, 1 when one or the disk failed, 130 when interrupted."""
    command = parser()
    options = command.parse_args(arguments)
    if options.save and options.data:
        command.error("--save stores what the notebooks show of the lab's own data; leave out --data or --save")
    out, runs = options.out.resolve(), []
    try:
        if options.pdf:
            browser()  # whoever has none should hear of it before the notebooks run
        only = options.only or ([OWN] if options.data else [])
        notebooks = choose(options.notebooks.resolve(), only)
        about = _data(options.data) | facts(
            options.threads
        )  # before the notebooks run: saving them would change the commit
        with write_whole_folder(out, MARKER) as folder:
            for number, path in enumerate(notebooks, 1):
                before = path.read_bytes()
                run = run_notebook(path, options.timeout, options.threads, f"[{number}/{len(notebooks)}] {path.stem}")
                runs.append(run)
                tqdm.write(f"{path.stem:<32}{'FAILED' if run.error else 'ok':<8}{run.seconds:8.1f} s  {run.error}")
                if options.save and not run.error:
                    _save(run, before)
            write_pages(folder, runs, about)
            if options.pdf:
                print_pdf(folder / PRINT, folder / "report.pdf")
            for page in out.glob("bench.*"):  # of `make bench`: an hour's work, which isn't made anew here
                shutil.copy2(page, folder)
    except (ReportError, FolderError) as error:
        command.error(f"{error}")
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. " + (f"The last report is still in {options.out}." if out.exists() else "No report."))
        return 130
    print(f"Report: {options.out / 'index.html'}")
    return 1 if any(run.error for run in runs) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end cleans up just as Ctrl-C does
    sys.exit(main())
