"""What notebooks 5, 6, 8 and 9 say holds of the stored tables, and each sentence breaks when the table says otherwise.

Their cells that need the stored table only have the tag "stored". They run here without their pictures, first with the
table as it is, then with one in which a few trainings came out otherwise.
"""

import ast
import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from lab_utils.base.files import PROJECT
from lab_utils.study import guidance_study, target_study
from lab_utils.study.guidance_study import AUTO, EXACT, FREE, LATE
from lab_utils.study.sweeps import BASE, BETTER, DECAY, DETAIL, FINE, MORE_STEPS, TABLE
from lab_utils.study.table import read_table, select
from lab_utils.study.target_claims import by
from lab_utils.study.target_study import FLOW_MATCHING, ONE_LOSS, OPTIMAL_TRANSPORT

NAMES = (
    "05_why_the_loss_hardly_falls",
    "06_what_makes_samples_better",
    "08_flow_matching",
    "09_guidance",
)
CELLS = {
    name: [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    for name in NAMES
}
TAGGED = {name: [source for source, tags in cells if "stored" in tags] for name, cells in CELLS.items()}


def imports(name):
    """The notebook's imports, without what its cells do besides."""
    lines = [line for source, _ in CELLS[name] for line in ast.parse(source).body]
    return ast.Module([line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)], [])


@pytest.fixture(scope="module")
def imported():
    """Notebook → the names that it imports."""
    found = {name: {} for name in NAMES}
    for name, names in found.items():
        exec(compile(imports(name), name, "exec"), names)
    return found


@pytest.fixture(scope="module")
def table():
    return read_table(TABLE)


@pytest.fixture(scope="module")
def guided():
    return read_table(guidance_study.TABLE)


@pytest.fixture(scope="module")
def targets():
    return read_table(target_study.TABLE)


def copied_share(multiple, train, held_out):
    """The student's function of notebook 6, right."""
    return (multiple - 1) * train / held_out


def holds(imported, tables, notebooks=NAMES):
    """Run the cells of some notebooks with these tables, path → table, up to the first sentence that does not hold."""
    for name in notebooks:
        sources = TAGGED[name]
        read = {"read_table": lambda path: tables[path] if path in tables else read_table(path)}
        study = SimpleNamespace(**vars(imported[name]["study"]) | read)
        names = imported[name] | {"study": study, "copied_share": copied_share}
        names |= dict.fromkeys(
            ("figures", "show_claims", "show_figure", "show_finding", "show_table", "print"), MagicMock()
        )
        for source in sources:
            exec(compile(source, name, "exec"), names)


def test_what_the_notebooks_say_is_what_the_stored_table_says(imported, table):
    assert [len(TAGGED[name]) for name in NAMES[:2]] > [2, 15]
    assert all(TAGGED.values())
    holds(imported, {TABLE: table})


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
        ("strays", 0.5, {}, "spiral"),
        ("RMS", 1.02, {"schedule": "linear"}, "cities"),
        ("strays", 0.5, DETAIL, "cities"),
        ("nats", 0.9, BETTER, "cities"),
        ("blur", 1.02, {"timesteps": "log-SNR"}, "spiral"),
        ("coverage", 0.9, {}, "cities"),
        ("blur", 0.8, {"noises": 16, "epochs": 125}, "cities"),
        ("blur", 0.8, {"fixed_noises": 16}, "spiral"),
        ("blur", 0.95, DETAIL, "spiral"),
        ("excess", 0.8, DETAIL, "cities"),
        ("excess", 1.2, BETTER, "cities"),
        ("blur", 0.8, {"width": 256}, "cities"),
        ("blur", 1.06, {**DECAY, "width": 128}, "cities"),
        ("blur", 0.9, {"train": 20_000, "epochs": 500}, "cities"),
        ("copies", 1.2, {"train": 500, "epochs": 20_000}, "cities"),
        ("blur", 0.9, FINE, "cities"),
        ("blur", 1.05, MORE_STEPS, "cities"),
        ("log-likelihood", 1.1, {**BETTER, "epochs": 500}, "cities"),
        ("coverage", 1.03, BETTER, "cities"),
        ("classifier", 1.04, {**BETTER, "train": 20_000, "epochs": 500}, "cities"),
        ("copies", 1.03, {**BETTER, "train": 20_000, "epochs": 500}, "cities"),
    ],
)
def test_a_table_that_says_otherwise_breaks_a_sentence(imported, table, column, factor, change, data):
    with pytest.raises(AssertionError):
        holds(imported, {TABLE: changed(table, column, factor, change, data)}, NAMES[:2])


def test_a_training_that_failed_breaks_a_sentence(imported, table):
    """A mean over the others is not what the text speaks of."""
    other = table.copy()
    rows = select(table, BASE | DETAIL | {"data": "cities", "seed": 3}).index
    other.loc[rows, "blur"] = float("nan")
    with pytest.raises(AssertionError):
        holds(imported, {TABLE: other}, NAMES[:2])


@pytest.mark.parametrize(
    ("column", "factor", "denoiser", "guidance", "weight"),
    [
        ("JS to powered", 0.1, EXACT, FREE, 3.0),
        ("accuracy", 0.99, "original", FREE, 2.0),
        ("strays", 2.0, "original", FREE, 5.0),
        ("energy distance", 0.5, "original", FREE, 2.0),
        ("coverage", 1.05, "original", FREE, 2.0),
        ("energy distance", 2.0, "original", LATE, 2.0),
        ("blur", 1.05, "original", AUTO, 2.0),
        ("strays", 0.3, "original", AUTO, 2.0),
    ],
)
def test_guidance_that_does_something_else_breaks_a_sentence(
    imported, guided, column, factor, denoiser, guidance, weight
):
    other = guided.copy()
    rows = select(other, {"denoiser": denoiser, "guidance": guidance, "weight": weight}).index
    assert len(rows)
    other.loc[rows, column] *= factor
    with pytest.raises(AssertionError):
        holds(imported, {guidance_study.TABLE: other}, ["09_guidance"])


@pytest.mark.parametrize(
    ("column", "factor", "change", "data"),
    [
        ("nats", 1.1, {"timesteps": "detail"}, "cities"),
        ("nats", 1.03, {**ONE_LOSS, "schedule": "linear"}, "cities"),
        ("nats", 0.9, ONE_LOSS, "checkerboard"),
        ("nats", 0.2, {**FLOW_MATCHING, "target": "epsilon"}, "cities"),
        ("nats", 0.8, {"target": "velocity"}, "checkerboard"),
        ("nats", 0.5, {"target": "x"}, "cities"),
        ("outside", 0.2, {**FLOW_MATCHING, **by("Euler", 10)}, "cities"),
        ("outside", 0.01, {"target": "epsilon", **by("Euler", 10)}, "checkerboard"),
        ("outside", 8.0, {**OPTIMAL_TRANSPORT, **by("Euler", 5)}, "cities"),
        ("outside", 0.3, {**OPTIMAL_TRANSPORT, **by("Euler", 100)}, "checkerboard"),
        ("strays", 0.5, {**OPTIMAL_TRANSPORT, **by("Euler", 100)}, "checkerboard"),
        ("outside", 0.5, {"timesteps": "detail"}, "checkerboard"),
    ],
)
def test_targets_that_do_something_else_break_a_sentence(imported, targets, column, factor, change, data):
    other = targets.copy()
    rows = select(other, target_study.BASE | change | {"data": data}).index
    assert len(rows)
    other.loc[rows, column] *= factor
    with pytest.raises(AssertionError):
        holds(imported, {target_study.TABLE: other}, ["08_flow_matching"])
