"""Student copies: the notebooks without their solutions, with all that they need, and one zip to hand out.

`python -m lab_utils.exercises.student` (or `make student`) writes both. In a notebook a solution stands between two
lines `### BEGIN SOLUTION` and `### END SOLUTION`, as nbgrader spells them, so that nbgrader's own commands work on the
notebooks as well.
"""

# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lab_utils.base.files import INSTALLED, PROJECT, FolderError, in_a_line, sha256, write_whole, write_whole_folder
from lab_utils.exercises.results import defined, shows

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_SOLUTION = re.compile(rf"^(?P<indent>[ \t]*){BEGIN}\n.*?^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL)
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # as nbgrader writes it

MARKER = ".ddpm-lab-student"  # a folder with this file in it holds student copies
HANDED_OUT = ".handed-out"  # a checksum of each notebook there, as it was handed out
BESIDE = ("*.md", "*.png", "*.jpg", "*.svg")  # what notebooks link to: texts and pictures in their folder
PARTS = ("LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "environment.yml", "lab_utils", "data")
README = Path(__file__).with_name("student.md")
NOTEBOOKS = PROJECT / "notebooks"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


class StudentError(ValueError):
    """The copies can't be made; the message says why, and what could be done."""


def without_solutions(source: str) -> str:
    """The source of a cell with a stub in the place of each solution.

    Raises:
        StudentError: if a solution begins and doesn't end, or ends without a beginning.
    """

    def stub(match: re.Match[str]) -> str:
        return "\n".join(match["indent"] + line for line in STUB.splitlines())

    text = _SOLUTION.sub(stub, source)
    for marker in (BEGIN, END):
        if marker in text:
            raise StudentError(f"a line {marker!r} stands alone in the cell that begins {source.splitlines()[0]!r}")
    return text


def student_copy(notebook: NotebookNode) -> NotebookNode:
    """A copy of a solved notebook: stubs for solutions, in cells that are open, and no output that shows a result."""
    copy: NotebookNode = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type != "code":
            continue
        source = without_solutions(cell.source)
        if source != cell.source:
            cell.metadata.pop("jupyter", None)  # a solution is folded; a cell to write in is not
            cell.metadata.tags = [tag for tag in cell.metadata.get("tags", []) if tag != "solution"]
        if source != cell.source or cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source, cell.outputs, cell.execution_count = source, [], None
    return copy


def without_results(notebook: NotebookNode) -> NotebookNode:
    """A copy of a solved notebook in which no output shows what the solutions gave, as if a student had got that."""
    copy: NotebookNode = nbformat.from_dict(notebook)
    theirs: set[str] = set()
    for cell in copy.cells:
        if cell.cell_type == "code":
            shown = shows(cell.source, theirs)
            if without_solutions(cell.source) != cell.source:
                theirs |= defined(cell.source)
            elif shown:
                cell.outputs, cell.execution_count = [], None
    return copy


def _changed(folder: Path) -> list[str]:
    """The notebooks in a folder of student copies that somebody has worked on since."""
    record = folder / HANDED_OUT
    known = (
        dict(line.split("  ") for line in record.read_text(encoding="utf-8").splitlines()) if record.exists() else {}
    )
    return [
        name for name, checksum in known.items() if (folder / name).exists() and checksum != _checksum(folder / name)
    ]


def _checksum(path: Path) -> str:
    return sha256(path.read_bytes())


def write_copies(out: Path, notebooks: Path = NOTEBOOKS) -> tuple[Path, Path]:
    """Write the student copies into the folder `out`, and beside it one zip of them.

    Returns:
        The folder and the zip.

    Raises:
        StudentError: a notebook's marks are wrong; or somebody has worked on the copies that are in `out`; or this is
            no checkout of the lab.
        FolderError: there is something else at `out`.
    """
    if INSTALLED:
        raise StudentError("the copies hold the lab itself, so they are made in a clone of its repository, not here")
    if changed := _changed(out):
        raise StudentError(f"somebody has worked on {', '.join(changed)} in {out}; move that folder away first")
    paths = sorted(notebooks.glob("*.ipynb"))
    if not paths:
        raise StudentError(f"no notebooks in {notebooks}")
    with write_whole_folder(out, MARKER) as folder:
        (folder / "notebooks").mkdir()
        for path in paths:
            copy = student_copy(without_results(nbformat.read(path, as_version=4)))
            (folder / "notebooks" / path.name).write_text(nbformat.writes(copy) + "\n", encoding="utf-8")
        for path in (path for kind in BESIDE for path in notebooks.glob(kind)):
            shutil.copy2(path, folder / "notebooks")
        for part in (PROJECT / name for name in PARTS):
            if part.is_dir():
                shutil.copytree(part, folder / part.name, ignore=LEFT_OUT)
            else:
                shutil.copy2(part, folder)
        shutil.copy2(README, folder / "README.md")
        made = (f"notebooks/{path.name}" for path in paths)
        lines = (f"{name}  {_checksum(folder / name)}\n" for name in made)
        (folder / HANDED_OUT).write_text("".join(lines), encoding="utf-8")
    archive = out.with_name(f"{out.name}.zip")
    with write_whole(archive) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            packed.write(path, Path("ddpm-lab") / path.relative_to(out))
    return out, archive


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the copies; 0 when they are there, 1 when the disk failed."""
    description = "Write student copies: the notebooks without their solutions, the code and the data, and one zip."
    command = argparse.ArgumentParser(prog="python -m lab_utils.exercises.student", description=description)
    out = Path(os.path.relpath(PROJECT / "student"))
    help_ = "where they go; the zip lies beside it (default: %(default)s)"
    command.add_argument("--out", type=Path, default=out, metavar="FOLDER", help=help_)
    options = command.parse_args(arguments)
    try:
        folder, archive = write_copies(options.out.resolve())
    except (StudentError, FolderError) as error:
        command.error(str(error))
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    print(f"Student copies: {os.path.relpath(folder)}\nTo hand out:    {os.path.relpath(archive)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
