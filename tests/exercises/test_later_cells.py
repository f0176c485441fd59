"""Later cells of a notebook, in a student's copy: they run without an answer, and show nothing as the student's own."""

import ast
import json
import subprocess
from itertools import pairwise

import nbformat
import pytest
import torch

from lab_utils import exercises
from lab_utils.base.files import PROJECT
from lab_utils.exercises import TASKS, student, yours_or_ours
from lab_utils.exercises.results import defined, shows
from lab_utils.exercises.tasks import NUMBERED

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def written(name, body):
    """A function of that name, as a student's cell defines it."""
    names = {"torch": torch}
    exec(f"def {name}(*arguments):\n    {body}", names)
    return names[name]


def stub(name):
    return written(name, "raise NotImplementedError()")


# --- what such a cell calls


def test_each_function_has_its_task_and_its_number():
    assert len(NUMBERED) == sum(map(len, TASKS.values()))
    for name, (task, number) in NUMBERED.items():
        notebook, place = number.split(".")
        assert getattr(exercises, name) is task is TASKS[f"0{notebook}"][int(place) - 1]


@pytest.mark.parametrize("name", NUMBERED)
def test_while_a_function_is_a_stub_the_solution_takes_its_place_and_that_is_said(name, capsys):
    task, number = NUMBERED[name]
    assert yours_or_ours(stub(name)) is task.solution
    assert capsys.readouterr().out == f"{number} is not solved yet, so the lab's own solution is used here.\n"


@pytest.mark.parametrize("body", ["return 7.0", "return 1 / 0", "return torch.zeros(3).reshape(2)", "return None"])
@pytest.mark.parametrize("name", ["one_epoch", "best_epsilon", "silent_loss"])
def test_a_function_that_is_written_stays_the_students_right_or_wrong(name, body, capsys):
    mine = written(name, body)
    assert yours_or_ours(mine) is mine
    assert capsys.readouterr().out == ""


def test_a_function_that_calls_a_stub_is_replaced_and_the_stub_is_named(capsys):
    names = {"loss": stub("loss")}
    exec("def one_epoch(network, average, optimiser, x, schedule, generator):\n    return loss(network)", names)
    assert yours_or_ours(names["one_epoch"]) is exercises.one_epoch.solution
    assert capsys.readouterr().out == (
        "3.2 calls `loss`, which is not solved yet, so the lab's own solution is used here.\n"
    )


def test_a_function_of_no_task_is_refused():
    with pytest.raises(ValueError, match="no task has a function that is called 'sorted'"):
        yours_or_ours(sorted)


# --- the notebooks' cells


def code(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def called_directly(cells):
    """Names of students' functions that a later cell calls as they are, so that it would stop at a stub."""
    theirs, found = set(), set()
    for cell in cells:
        if student.without_solutions(cell.source) != cell.source:
            theirs |= defined(cell.source)
        elif not cell.metadata.get("nbgrader", {}).get("grade"):
            calls = [node.func for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
            found |= {function.id for function in calls if isinstance(function, ast.Name) and function.id in theirs}
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_later_cell_stops_at_a_stub(path):
    assert called_directly(code(path)) == set()


def test_a_later_cell_that_would_stop_is_found():
    solved = nbformat.v4.new_code_cell("def loss(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION")
    direct, kind = (nbformat.v4.new_code_cell(f"print({source})") for source in ("loss(1)", "yours_or_ours(loss)(1)"))
    assert called_directly([solved, direct]) == {"loss"}
    assert called_directly([solved, kind]) == set()


def cell(number, part):
    """The source of the one cell of a notebook that has this part, as a student's copy has it."""
    (path,) = (PROJECT / "notebooks").glob(f"{number}_*.ipynb")
    copy = student.student_copy(nbformat.read(path, as_version=4))
    (found,) = [one.source for one in copy.cells if one.cell_type == "code" and part in one.source]
    return found


def test_in_a_copy_the_smallest_loss_is_worked_out_with_the_labs_best_denoiser(capsys):
    names = {"exercises": exercises}
    exec(cell("02", "from lab_utils.points import dataset"), names)
    exec(cell("02", "def best_epsilon("), names)
    exec(cell("02", "smallest = {}").replace("1000", "100"), names)
    said = capsys.readouterr().out
    first, second = said.splitlines()
    assert first == "2.3 is not solved yet, so the lab's own solution is used here."
    assert second.startswith("the smallest loss at t: {20: ")


def test_in_a_copy_the_simulation_is_compared_with_the_labs_posterior(capsys):
    names = {"exercises": exercises, "torch": torch}
    exec("from lab_utils.diffusion import linear", names)
    for part in ("def posterior_mean(", "def posterior_variance("):
        exec(cell("04", part), names)
    exec(cell("04", "simulated: mean").replace("4_000_000", "400_000"), names)
    assert capsys.readouterr().out.startswith("4.1 is not solved yet, so the lab's own solution is used here.\n4.2 is ")


LOSSES = {
    "falls": ([0.45] * 100 + [0.375] * 300, None),
    "doesn't fall": ([0.5] * 400, "the loss doesn't fall: check 3.2"),
    "too low": ([0.45] * 100 + [0.2] * 300, "the loss falls below its floor: check 3.1 and 3.2"),
    "low from the start": ([0.375] * 400, "a fresh network has 0.50, and the loss begins lower"),
}


@pytest.mark.parametrize(("losses", "says"), LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("own", [True, False])
def test_only_a_network_whose_loss_falls_and_that_the_student_trained_is_kept(losses, says, own):
    kept, mine = [], written("one_epoch", "return 0.5")
    names = {"own_losses": losses, "one_epoch": mine, "loop": mine if own else len, "average": "mine"}
    names["keep"] = lambda name, network: kept.append((name, network))
    source = cell("03", "keep(")
    if says:
        with pytest.raises(AssertionError, match=says):
            exec(source, names)
    else:
        exec(source, names)
    assert kept == ([("notebook 3", "mine")] if own and not says else [])


def test_the_mystery_is_a_row_of_the_table_with_other_noise():
    table = next(
        node.value
        for node in ast.parse(cell("04", "IN_THE_SAMPLER = {")).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "IN_THE_SAMPLER"
    )
    rows = [*ast.literal_eval(table).values()]
    assert len(rows) == 9
    question = exercises.sampling_loop.questions()[0]
    made = exercises.mystery(*question)
    epsilon, start_noise, noises, schedule = question
    right = int(exercises.which_mistake.solution())
    for row, start in enumerate(rows, 1):
        mistake = exercises.sampling_loop.mistake(start)
        assert not torch.allclose(made, mistake(*question)), "no row's points, to the digit"
        assert torch.allclose(made, mistake(epsilon, -start_noise, -noises, schedule)) == (row == right)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_task_says_which_parts_of_its_arguments_are_needed(path):
    """`schedule.betas`: who hasn't read the lab's code can't know what it is called."""
    cells = nbformat.read(path, as_version=4).cells
    for text, answer in pairwise(cells):
        if answer.metadata.get("nbgrader", {}).get("solution"):
            function = ast.parse(answer.source).body[0]
            names = {argument.arg for argument in function.args.args} & {"schedule"}
            parts = {
                f"`{node.value.id}.{node.attr}`"
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
            }
            known = "".join(cell.source for cell in cells[: cells.index(answer)])
            assert {part for part in parts if part not in known} == set(), text.source.splitlines()[0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_has_no_name_that_solutions_give_to_something_else(path):
    """A student who writes `kept = alphas_cumprod[t]` outside a function would lose an imported `kept`."""
    imported, given = set(), set()
    for one in code(path):
        tree = ast.parse(one.source)
        solved = student.without_solutions(one.source) != one.source
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= {name.asname or name.name for name in node.names}
            elif solved and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                given.add(node.id)
    assert imported & given == set()


# --- what they show


def test_what_is_made_with_a_name_of_theirs_is_theirs_until_the_name_is_given_to_something_else():
    theirs = {"loop"}
    assert not shows("import torch\nnoise = torch.randn(3)", theirs)
    assert shows("with torch.inference_mode():\n    own = loop(noise)\nN = 5", theirs)
    assert theirs == {"loop", "own"}
    assert shows("rows = {}\nfor row in range(3):\n    rows[row] = own + row", theirs)
    assert "rows" in theirs
    assert not shows("print(N)\nown = N\nrows = [own for own in range(N)]", theirs)
    assert theirs == {"loop"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x):\n    return loop(x)", True),
        ("def f(loop):\n    return loop(1)", False),
        ("[loop for loop in range(3)]", False),
        ("[loop(n) for n in range(3)]", True),
        ("if loop is None:\n    print(1)", True),
        ("%matplotlib inline", False),
    ],
)
def test_a_cell_uses_a_name_that_is_none_of_its_own(source, found):
    assert shows(source, {"loop"}) == found


SHOWN = {  # a part of the cell, and whether its output stays
    "02": [("smallest = {}", False), ('"always 0, predicted"', False), ("findings = {", True)],
    "03": [("own_losses = [", False), ('"Figure 4"', True)],
    "04": [
        ('"Your own towns"', False),
        ("simulated: mean", False),
        ('"The Mediterranean"', True),
    ],
    "05": [
        ('"What could go away"', False),
        ("by your function from 30 levels", False),
        ('"Excess over the floor"', True),
    ],
    "06": [('"Number of points"', False), ('"Size of the network"', True)],
    "07": [("energy distance by your function", False), ('"How good"', True)],
    "08": [
        ("ends = {kind: follow(", False),
        ('"Your own flow"', False),
        ('"Pairs of a batch"', False),
        ('"One step: the detail"', True),
    ],
    "09": [
        ("of the labels are left out, where", False),
        ("of all training towns", False),
        ('"Three laws that are taken for one"', False),
        ('"Where to clip"', False),
        ('"Towns of Africa"', True),
        ('"Away from the neighbours"', True),
        ('"Other ways of guidance"', True),
    ],
}


@pytest.mark.parametrize("number", SHOWN)
def test_a_copy_shows_no_result_of_the_solutions_as_the_students(number):
    (path,) = (PROJECT / "notebooks").glob(f"{number}_*.ipynb")
    solved = nbformat.read(path, as_version=4)
    copy = student.student_copy(student.without_results(solved))
    for part, stays in SHOWN[number]:
        (one,) = [cell for cell in copy.cells if cell.cell_type == "code" and part in cell.source]
        assert bool(one.outputs) == stays, part
    before = json.dumps(solved.cells, default=str)
    student.without_results(solved)
    assert json.dumps(solved.cells, default=str) == before, "the solved one stays as it is"


# --- the copy's commands and pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return student.write_copies(tmp_path_factory.mktemp("course") / "student")[0]


def test_a_copy_has_no_commands_that_need_the_tests(folder):
    makefile = (folder / "Makefile").read_text(encoding="utf-8")
    assert "/pytest" not in makefile
    assert "-include tests/commands.mk" in makefile
    for target in ("test", "bench", "mutants", "soak", "standings"):
        done = subprocess.run(["make", "--dry-run", target], cwd=folder, capture_output=True, text=True)
        assert f"No rule to make target '{target}'" in done.stderr
    for target in ("lab", "report", "clean"):
        subprocess.run(["make", "--dry-run", target], cwd=folder, capture_output=True, check=True)


def test_a_copy_speaks_of_no_page_that_it_has_not(folder):
    for path in [*(folder / "notebooks").glob("*.ipynb"), *folder.glob("*.md"), *(folder / "notebooks").glob("*.md")]:
        for word in path.read_text(encoding="utf-8").replace("`", " ").split():
            if word.startswith("docs/"):
                assert (folder / word).exists(), f"{path.name} speaks of {word}"
