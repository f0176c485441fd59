"""Student copies: nothing of a solution in them, all that is needed around it, and back again to full marks."""

import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lab_utils import exercises
from lab_utils.base.files import PROJECT
from lab_utils.exercises import TASKS, student
from lab_utils.report.beside import run_notebooks

SOLVED = '''def double(x):
    """Twice as much."""
    ### BEGIN SOLUTION
    twice = 2 * x
    return twice
    ### END SOLUTION'''
OPEN = '''def double(x):
    """Twice as much."""
    # YOUR CODE HERE
    raise NotImplementedError()'''


def grading(name, **settings):
    metadata = {
        "schema_version": 3,
        "grade_id": name,
        "grade": False,
        "solution": False,
        "locked": False,
        "task": False,
    }
    return {"nbgrader": metadata | settings}


FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["solution", "mine"]}


def exercise():
    solved = new_code_cell(SOLVED, metadata=grading("double", solution=True) | FOLDED)
    check = new_code_cell("assert double(2) == 4", metadata=grading("check", grade=True, locked=True, points=1))
    check.outputs = [nbformat.v4.new_output("stream", text="✓ 4")]
    other = new_code_cell("print(1)", execution_count=3)
    other.outputs = [nbformat.v4.new_output("stream", text="1\n")]
    cells = [new_markdown_cell("# Question"), solved, check, other]
    for cell in cells[1:]:
        cell.execution_count = 1
    return new_notebook(cells=cells)


# --- one notebook


def test_a_solution_becomes_a_stub_with_its_indentation():
    assert student.without_solutions(SOLVED) == OPEN
    assert student.without_solutions(f"{SOLVED}\n\n\n{SOLVED}") == f"{OPEN}\n\n\n{OPEN}"
    assert student.without_solutions("print(1)") == "print(1)"


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n### BEGIN SOLUTION\ny = 2",
        "x = 1\n### END SOLUTION",
        "x = 1\n### END SOLUTION\n### BEGIN SOLUTION",
        "x = 1\n### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION",
    ],
)
def test_a_mark_without_its_partner_is_found(source):
    with pytest.raises(student.StudentError, match=r"SOLUTION' stands alone in the cell that begins 'x = 1'"):
        student.without_solutions(source)


def test_the_copy_has_no_solution_and_no_output_of_one():
    notebook = exercise()
    before = nbformat.writes(notebook)
    copy = student.student_copy(notebook)
    assert nbformat.writes(notebook) == before, "the solved one stays as it is"
    _, stub, check, other = copy.cells
    assert (stub.source, stub.outputs, stub.execution_count) == (OPEN, [], None)
    assert "jupyter" not in stub.metadata, "the cell to write in is not folded"
    assert stub.metadata.tags == ["mine"], "nor is it called a solution"
    assert (check.source, check.outputs, check.execution_count) == ("assert double(2) == 4", [], None)
    assert other.outputs[0].text == "1\n", "what is no exercise stays as it ran"


# --- the folder and the zip


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    out = tmp_path_factory.mktemp("course") / "student"
    return student.write_copies(out)


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_zip_holds_the_folder(handed_out, tmp_path):
    folder, archive = handed_out
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ddpm-lab"]
    assert everything(tmp_path / "ddpm-lab") == everything(folder)


def test_code_and_data_are_in_place(handed_out):
    files = everything(handed_out[0])
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "data/cities.csv", "lab_utils/exercises/task.py"):
        assert files[name] == (PROJECT / name).read_bytes()
    assert files["README.md"] == (PROJECT / "lab_utils" / "exercises" / "student.md").read_bytes()
    notebooks = {name for name in files if name.endswith(".ipynb")}
    assert notebooks == {f"notebooks/{path.name}" for path in (PROJECT / "notebooks").glob("*.ipynb")}
    assert not [name for name in files if "__pycache__" in name or "tests" in name.split("/")]


def test_each_link_of_a_copy_leads_somewhere(handed_out):
    found = set()
    for path in (handed_out[0] / "notebooks").iterdir():
        texts = [path.read_text(encoding="utf-8")]
        if path.suffix == ".ipynb":
            texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        for link in re.findall(r"\]\(([^)\s]+)|(?:src|href)=\"([^\"]+)", "\n".join(texts)):
            target = "".join(link).partition("#")[0]
            if target and "://" not in target:
                assert (path.parent / target).is_file(), f"{path.name} has a link to {target}"
                found.add(target)
    assert {"glossary.md", "02_model_shape_check.ipynb"} <= found


def test_no_solution_is_handed_out(handed_out):
    for path in (handed_out[0] / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "SOLUTION" not in text
        nbformat.validate(json.loads(text))
        cells = nbformat.read(path, as_version=4).cells
        assert not any(
            "✓" in str(cell.get("outputs", "")) for cell in cells if "check" in cell.metadata.get("tags", [])
        )


def test_the_copies_are_made_anew_unless_somebody_has_worked_on_them(tmp_path, capsys):
    folder = tmp_path / "solved"
    folder.mkdir()
    nbformat.write(exercise(), folder / "01_one.ipynb")
    out, archive = student.write_copies(tmp_path / "copies", folder)
    student.write_copies(out, folder)
    mine = out / "notebooks" / "01_one.ipynb"
    mine.write_text("hours of work")
    with pytest.raises(
        student.StudentError, match=r"somebody has worked on notebooks/01_one.ipynb in .*move that folder"
    ):
        student.write_copies(out, folder)
    assert mine.read_text() == "hours of work"
    assert archive.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies", "copies.zip", "solved"]


def test_what_fails_leaves_the_last_copies_as_they_are(tmp_path):
    folder = tmp_path / "solved"
    folder.mkdir()
    nbformat.write(exercise(), folder / "01_one.ipynb")
    out, archive = student.write_copies(tmp_path / "copies", folder)
    before = everything(out), archive.read_bytes()
    broken = exercise()
    broken.cells[1].source = "### BEGIN SOLUTION"
    nbformat.write(broken, folder / "02_two.ipynb")
    with pytest.raises(student.StudentError):
        student.write_copies(out, folder)
    assert (everything(out), archive.read_bytes()) == before


def test_what_cannot_be_made_is_told(tmp_path, capsys):
    with pytest.raises(student.StudentError, match="no notebooks in"):
        student.write_copies(tmp_path / "copies", tmp_path)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit) as end:
        student.main(["--out", str(thesis)])
    assert end.value.code == 2
    assert "was not made by this command" in capsys.readouterr().err
    assert everything(thesis) == {"thesis.txt": b"years of work"}


def test_the_command_says_where_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert student.main(["--out", "copies"]) == 0
    assert capsys.readouterr().out == "Student copies: copies\nTo hand out:    copies.zip\n"


# --- the lab's own notebooks


NUMBERS = sorted(TASKS)


def solved(number):
    (path,) = (PROJECT / "notebooks").glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def graded(notebook, **settings):
    """The exercise cells of a notebook whose nbgrader settings are these."""
    return [cell for cell in notebook.cells if settings.items() <= cell.metadata.get("nbgrader", {}).items()]


@pytest.mark.parametrize("number", NUMBERS)
def test_each_task_has_its_text_its_hint_its_cell_and_its_check(number):
    cells = solved(number).cells
    places = [place for place, cell in enumerate(cells) if cell.metadata.get("nbgrader", {}).get("grade")]
    asked = [re.fullmatch(r"exercises\.(\w+)\(\1\)", cells[place].source)[1] for place in places]
    assert [getattr(exercises, name) for name in asked] == list(TASKS[number]), "in this order"
    for count, (place, name) in enumerate(zip(places, asked, strict=True), 1):
        text, answer = cells[place - 2], cells[place - 1]
        assert text.source.startswith(f"### Your turn {int(number)}.{count}: ")
        assert "<details><summary>A hint</summary>" in text.source
        assert answer.source.startswith(f"def {name}(")
        assert answer.metadata.nbgrader.solution
        assert answer.metadata.jupyter.source_hidden, "the solution is folded"
        assert student.without_solutions(answer.source) != answer.source


@pytest.mark.parametrize("number", NUMBERS)
def test_a_copy_runs_to_its_first_task_and_says_so_kindly(handed_out, number, tmp_path):
    (path,) = (handed_out[0] / "notebooks").glob(f"{number}_*.ipynb")
    (run,) = run_notebooks([path], timeout=900, threads=1)
    first = TASKS[number][0]
    assert run.error == f"NotYet: {first.name}: not solved yet. Replace the line that raises NotImplementedError."
    (shown,) = [
        output for cell in run.notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"
    ]
    assert shown.traceback == [f"✗ {first.name}: not solved yet. Replace the line that raises NotImplementedError."]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_copy_with_the_solutions_put_back_is_the_solved_notebook(number):
    """That one passes everything, as its own test shows."""
    notebook = solved(number)
    copy = student.student_copy(notebook)
    for cell, answer in zip(graded(copy, solution=True), graded(notebook, solution=True), strict=True):
        cell.source = answer.source
    assert [cell.source for cell in copy.cells] == [cell.source for cell in notebook.cells]


# --- nbgrader


def all_exercises():
    """One notebook of all exercises and what they import, for nbgrader to run."""
    exercises = [cell for number in NUMBERS for cell in solved(number).cells if "nbgrader" in cell.metadata]
    notebook = solved(NUMBERS[0])
    needed = "import torch\nfrom lab_utils import exercises\nfrom lab_utils.diffusion import optimal_pairs"
    notebook.cells = [new_code_cell(needed), *exercises]
    return notebook


@pytest.mark.parametrize("number", NUMBERS)
def test_nbgrader_clears_solutions_as_we_do(number):
    from nbgrader.preprocessors import ClearSolutions

    cleared, _ = ClearSolutions().preprocess(solved(number), {})
    ours = student.student_copy(solved(number))
    assert [cell.source for cell in cleared.cells] == [cell.source for cell in ours.cells]


def test_nbgrader_gives_full_marks_to_the_solved_and_none_to_the_unsolved(tmp_path, monkeypatch):
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    programs = Path(sys.executable).parent  # where nbgrader finds those that it calls
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.course_id = "ddpm"
    source = tmp_path / "source" / "lab"
    source.mkdir(parents=True)
    nbformat.write(all_exercises(), source / "all.ipynb")
    api = NbGraderAPI(config=config)
    made = api.generate_assignment("lab")
    assert made["success"], made
    released = tmp_path / "release" / "lab"
    for name, folder in (("solved", source), ("unsolved", released)):
        shutil.copytree(folder, tmp_path / "submitted" / name / "lab")
        done = api.autograde("lab", name)
        assert done["success"], done
    with api.gradebook as book:  # each one that the API gives is closed when nobody holds it, and its marks go with it
        found = {name: book.find_submission("lab", name) for name in ("solved", "unsolved")}
        marks = {name: (one.score, one.max_score) for name, one in found.items()}
    full = sum(map(len, TASKS.values()))
    assert marks["solved"] == (full, full)
    assert marks["unsolved"] == (0, full)
