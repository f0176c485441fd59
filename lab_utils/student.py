"""Student copies: the notebooks without their solutions, with all that they need, ready to hand out as one zip.

`python -m lab_utils.student` (or `make student`) writes the folder and the zip. In a notebook a solution stands between
two lines `### BEGIN SOLUTION` and `### END SOLUTION`, as nbgrader spells them, and nbgrader's own commands work on the
notebooks as well.
"""

# mypy: allow-untyped-calls
# (nbformat has types, but not everywhere)

from __future__ import annotations

import argparse
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lab_utils.files import PROJECT, write_whole

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SOLUTION = re.compile(rf"^(?P<indent>[ \t]*){BEGIN}\n.*?^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL)
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # as nbgrader writes it

PARTS = ("README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "environment.yml", "lab_utils", "data")
LEFT_OUT = ("__pycache__", "*.pyc")


class StudentError(ValueError):
    """The copies can't be made; the message says why, and what could be done."""


def cleared(source: str) -> str:
    """The source of a cell with a stub in the place of each solution.

    Raises:
        StudentError: if a solution begins and doesn't end, or ends without a beginning.
    """

    def stub(match: re.Match[str]) -> str:
        return "\n".join(match["indent"] + line for line in STUB.splitlines())

    text = SOLUTION.sub(stub, source)
    for marker in (BEGIN, END):
        if marker in text:
            raise StudentError(f"a line {marker!r} stands alone in the cell that begins {source.splitlines()[0]!r}")
    return text


def student_copy(notebook: NotebookNode) -> NotebookNode:
    """A copy of a solved notebook for students: no solutions, and no outputs that show what they give."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type != "code":
            continue
        source = cleared(cell.source)
        graded = cell.metadata.get("nbgrader", {})
        if source != cell.source or graded.get("grade"):
            cell.source, cell.outputs, cell.execution_count = source, [], None
    return copy
