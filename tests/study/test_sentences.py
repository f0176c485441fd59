"""Notebook 5's sentences hold of the stored table, and each breaks when the table says otherwise.

Its cells that need the stored table only have the tag "stored". They run here without their pictures, first with the
table as it is, then with one in which a few trainings came out otherwise.
"""

import ast
import json
from unittest.mock import MagicMock

import pytest

from lab_utils.base.files import PROJECT
from lab_utils.study.sweeps import BASE, DECAY, DETAIL, FINE, MORE_STEPS, TABLE, WIDER
from lab_utils.study.table import read_table, select

PATH = PROJECT / "notebooks" / "05_why_the_loss_hardly_falls.ipynb"
CELLS = [
    ("".join(cell["source"]), cell["metadata"].get("tags", []))
    for cell in json.loads(PATH.read_text(encoding="utf-8"))["cells"]
    if cell["cell_type"] == "code"
]
TAGGED = [source for source, tags in CELLS if "stored" in tags]


def imports():
    """The notebook's imports, without what its first cell does besides."""
    first = ast.parse(CELLS[0][0])
    return ast.Module([line for line in first.body if isinstance(line, ast.Import | ast.ImportFrom)], [])


@pytest.fixture(scope="module")
def imported():
    names = {}
    exec(compile(imports(), PATH.name, "exec"), names)
    return names


@pytest.fixture(scope="module")
def table():
    return read_table(TABLE)


def holds(imported, table):
    """Run the cells with a table, up to the first sentence that does not hold."""
    names = imported | {"read_table": lambda _: table, "copied_share": lambda multiple, n, m: (multiple - 1) * n / m}
    names |= dict.fromkeys(
        ("figures", "show_claims", "show_figure", "show_finding", "show_table", "print"), MagicMock()
    )
    for source in TAGGED:
        exec(compile(source, PATH.name, "exec"), names)


def test_what_the_notebook_says_is_what_the_stored_table_says(imported, table):
    assert len(TAGGED) > 15
    holds(imported, table)


def changed(table, column, factor, change, data="cities"):
    """The table, in which the trainings with these settings read otherwise in one column."""
    other = table.copy()
    rows = select(table, BASE | change | {"data": data}).index
    assert len(rows)
    other.loc[rows, column] *= factor
    return other


@pytest.mark.parametrize(
    ("column", "factor", "change", "data"),
    [
        ("blur", 1.01, {}, "cities"),
        ("blur", 0.9, {"schedule": "linear"}, "spiral"),
        ("loss", 1.1, {"schedule": "linear"}, "cities"),
        ("gradient signal", 40.0, {"schedule": "linear"}, "cities"),
        ("energy distance", 0.5, {}, "spiral"),
        ("coverage", 0.9, {}, "cities"),
        ("blur", 0.8, {"noises": 16, "epochs": 125}, "cities"),
        ("blur", 0.8, {"fixed_noises": 16}, "spiral"),
        ("blur", 0.95, DETAIL, "spiral"),
        ("excess", 0.8, DETAIL, "cities"),
        ("excess", 1.2, WIDER, "cities"),
        ("blur", 0.8, {"width": 256}, "cities"),
        ("blur", 1.06, {**DECAY, "width": 128}, "cities"),
        ("blur", 0.9, {"train": 20_000, "epochs": 500}, "cities"),
        ("copies", 1.2, {"train": 500, "epochs": 20_000}, "cities"),
        ("blur", 0.9, FINE, "cities"),
        ("blur", 1.05, MORE_STEPS, "cities"),
        ("log-likelihood", 1.1, {**WIDER, "epochs": 500}, "cities"),
        ("coverage", 1.03, WIDER, "cities"),
        ("classifier", 1.04, {**WIDER, "train": 20_000, "epochs": 500}, "cities"),
        ("copies", 1.03, {**WIDER, "train": 20_000, "epochs": 500}, "cities"),
    ],
)
def test_a_table_that_says_otherwise_breaks_a_sentence(imported, table, column, factor, change, data):
    with pytest.raises(AssertionError):
        holds(imported, changed(table, column, factor, change, data))


def test_a_training_that_failed_breaks_a_sentence(imported, table):
    """A mean over the others is not what the text speaks of."""
    other = table.copy()
    rows = select(table, BASE | DETAIL | {"data": "cities", "seed": 3}).index
    other.loc[rows, "blur"] = float("nan")
    with pytest.raises(AssertionError):
        holds(imported, other)
