# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)
"""The command behind `make report`: `python -m lab_utils.report`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbformat.v4 import new_notebook
from tqdm import tqdm

from lab_utils import THREADS, WORKERS
from lab_utils.base import options as kinds
from lab_utils.base.files import (
    DATA_OPTIONS_VARIABLE,
    DATA_VARIABLE,
    PROJECT,
    FolderError,
    in_a_line,
    write_whole,
    write_whole_folder,
)
from lab_utils.report.beside import run_notebooks, usual
from lab_utils.report.pages import PRINT, Run, facts, write_pages
from lab_utils.report.printing import ReportError, browser, print_pdf
from lab_utils.report.run import canonical

OWN = "07"  # the notebook about points of one's own
MARKER = ".ddpm-lab-report"  # a folder with this file in it is a report, and may be replaced by the next one


class DataError(ReportError):
    """No model can be trained on the points that the report is to be about."""


def choose(folder: Path, only: Sequence[str]) -> list[Path]:
    """The notebooks of `folder` in the order of their names, or those of them that `only` names by number or name.

    Raises:
        ReportError: there is no notebook, or none of a name in `only`; the message lists what there is.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise ReportError(f"no notebooks in {folder}; --notebooks says where they are")
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

    notebooks = Path(os.path.relpath(PROJECT / "notebooks"))
    default = " (default: %(default)s)"
    add = parser.add_argument
    where = "where the report goes (default: report in the project, and report-own with --data)"
    add("--out", type=Path, metavar="FOLDER", help=where)
    add("--only", nargs="+", default=[], metavar="NOTEBOOK", help="only these notebooks, by number or name")
    add(
        "--data",
        type=Path,
        metavar="FILE",
        help=f"a report about these points (CSV, .npy, Parquet, PNG or JPEG): runs {OWN}, unless --only",
    )
    which = "which columns of the table are x and y, by name or by number from 0; for instance lon,lat"
    add("--columns", type=kinds.names, metavar="X,Y", help=which)
    add("--label", metavar="COLUMN", help="which column of the table has the classes of the points, by name or number")
    add("--missing", choices=("raise", "drop"), help="drop: leave out rows of the table that lack a value")
    most = "the most for one cell; 0: no limit"
    add("--timeout", type=kinds.count_or_zero, default=1800, metavar="SECONDS", help=most + default)
    add("--threads", type=kinds.count, default=THREADS, metavar="N", help="threads of each kernel" + default)
    add("--beside", type=kinds.count, metavar="N", help="notebooks at a time (default: as the cores allow, 4 at most)")
    add("--notebooks", type=Path, default=notebooks, metavar="FOLDER", help="where the notebooks are" + default)
    add("--pdf", action="store_true", help="also print the report, as report.pdf in it; needs Chromium or Chrome")
    add("--without-solutions", action="store_true", help="leave out the exercises' solutions, for handing out")
    add("--save", action="store_true", help="also write the outputs back into the notebooks, in canonical form")
    return parser


def _data(path: Path | None, options: dict[str, Any]) -> dict[str, str]:
    """Let the notebooks find the points of the file at `path`, and say for the report what it is about.

    Raises:
        DataError: no model can be trained on that.
    """
    if path is None:
        return {}
    from lab_utils.base.arguments import PointsError
    from lab_utils.points.pictures import own_points
    from lab_utils.points.validation import validate

    try:
        card = validate(own_points(path, **options).points)
    except PointsError as error:
        raise DataError(str(error)) from error
    os.environ |= {DATA_VARIABLE: str(path.resolve()), DATA_OPTIONS_VARIABLE: json.dumps(options)}
    return {"Data": f"{path.name}, {card.points} points"}


def _without_solutions(run: Run) -> Run:
    """`run` as its page may be handed out: what the student copies leave out is not there either."""
    from lab_utils.exercises.student import StudentError, student_copy

    try:
        return replace(run, notebook=student_copy(run.notebook))
    except StudentError as error:  # a page without anything on it gives nothing away
        return replace(run, notebook=new_notebook(), error=str(error), failed_cell="")


def _save(run: Run) -> None:
    """Store the outputs of `run` in its notebook, unless somebody has worked on the file since it was read."""
    if run.path.read_bytes() != run.read:
        tqdm.write(f"{run.path.stem}: changed on disk while it ran, so its outputs are not saved")
        return
    with write_whole(run.path) as part:
        part.write_text(canonical(run.notebook), encoding="utf-8")
        part.chmod(run.path.stat().st_mode)


def _collect(finished: Iterable[Run], notebooks: Sequence[Path], save: bool, without_solutions: bool) -> list[Run]:
    """The runs in the order of the notebooks, as they go into the report, with a line for each, in the same order."""
    done: dict[Path, Run] = {}
    runs: list[Run] = []
    for run in finished:
        if save and not run.error:
            _save(run)
        done[run.path] = _without_solutions(run) if without_solutions else run
        for path in notebooks[len(runs) :]:
            if path not in done:
                break
            runs.append(done[path])
            said = f"{'FAILED' if done[path].error else 'ok':<8}{done[path].seconds:8.1f} s  {done[path].error}"
            tqdm.write(f"{path.stem:<32}{said}")
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; 0 when all went well, 1 when a notebook, PDF or disk failed, 2 when refused, 130 interrupted."""
    command = parser()
    options = command.parse_args(arguments)
    if options.save and options.data:
        command.error("--save stores what the notebooks show of the lab's own data; leave out --data or --save")
    said = {name: getattr(options, name) for name in ("columns", "label", "missing")}
    of_table = {name: value for name, value in said.items() if value is not None}
    if of_table and not options.data:
        command.error(f"--{next(iter(of_table))} is about the table that --data names; add --data")
    # A report on one's own points has a folder of its own, so that it doesn't take the place of the course's.
    options.out = options.out or Path(os.path.relpath(PROJECT / ("report-own" if options.data else "report")))
    out, runs, unprinted = options.out.resolve(), [], ""
    try:
        if options.pdf:
            browser()  # whoever has none should hear of it before the notebooks run
        only = options.only or ([OWN] if options.data else [])
        notebooks = choose(options.notebooks.resolve(), only)
        beside = options.beside or usual(options.threads, cores=WORKERS * THREADS)
        # before the notebooks run: saving them would change the commit
        about = _data(options.data, of_table) | facts(options.threads, min(beside, len(notebooks)))
        with write_whole_folder(out, MARKER) as folder:
            with closing(run_notebooks(notebooks, beside, options.timeout, options.threads)) as finished:
                runs = _collect(finished, notebooks, options.save, options.without_solutions)
            if not options.data and options.notebooks.resolve() == PROJECT / "notebooks":  # the networks are theirs
                from lab_utils.report.live import write_live

                write_live(folder)
            write_pages(folder, runs, about)
            if options.pdf:
                try:
                    print_pdf(folder / PRINT, folder / "report.pdf")
                except (ReportError, OSError) as error:  # the pages are whole without it
                    unprinted = in_a_line(error)
            for page in out.glob("bench.*"):  # of `make bench`: an hour's work, which isn't made anew here
                shutil.copy2(page, folder)
    except DataError as error:  # the command is right, so its usage would only hide what is said of the file
        print(error, file=sys.stderr)
        return 2
    except (ReportError, FolderError) as error:
        command.error(f"{error}")
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. " + (f"The last report is still in {options.out}." if out.exists() else "No report."))
        return 130
    print(f"Report: {options.out / 'index.html'}")
    if unprinted:
        print(f"It was not printed: {unprinted}", file=sys.stderr)
    return 1 if unprinted or any(run.error for run in runs) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end cleans up just as Ctrl-C does
    sys.exit(main())
