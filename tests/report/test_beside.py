"""Several notebooks at a time: the same comes out, nobody waits for ever, and at the end no kernel is left."""

import ast
import json
import os
import re
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_notebook
from test_pages import Page, save

from lab_utils.base.files import PROJECT
from lab_utils.report import __main__ as making
from lab_utils.report import beside as running
from lab_utils.report.run import canonical

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
BOTH = pytest.mark.parametrize("beside", [1, 2])
MEETING = """import time
from pathlib import Path
Path({mine!r}).touch()
deadline = time.monotonic() + {seconds}
while not Path({other!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.05)
print("met" if Path({other!r}).exists() else "alone")"""


@pytest.fixture
def folder(tmp_path):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    return notebooks


def waits_for(path, *names):
    """Write into the notebook at `path` that those others should be done before it begins."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["lab"] = {"after": [*names]}
    nbformat.write(notebook, path)
    return path


def order(log):
    return [line.split() for line in log.read_text().splitlines()]


def noting(folder, *names, lasts=0.0):
    """Notebooks with those names, each of which writes into a file when it begins and when it ends."""
    log = folder / "log"

    def line(word, name):
        return f"with open({str(log)!r}, 'a') as file: print({word!r}, {name!r}, file=file)"

    for name in names:
        save(folder / f"{name}.ipynb", line("begins", name), f"import time; time.sleep({lasts})", line("ends", name))
    return log, [folder / f"{name}.ipynb" for name in names]


@BOTH
def test_as_many_run_at_a_time_as_was_said(folder, beside):
    a, b = folder / "a", folder / "b"
    save(folder / "01_one.ipynb", MEETING.format(mine=str(a), other=str(b), seconds=120 if beside == 2 else 0))
    save(folder / "02_two.ipynb", MEETING.format(mine=str(b), other=str(a), seconds=120))
    runs = {run.path.stem: run for run in running.run_notebooks(sorted(folder.glob("*.ipynb")), beside)}
    assert [run.error for run in runs.values()] == ["", ""]
    said = {name: run.notebook.cells[0].outputs[0].text for name, run in runs.items()}
    assert said == {"01_one": "met\n" if beside == 2 else "alone\n", "02_two": "met\n"}


@BOTH
def test_no_more_run_at_a_time_than_was_said(folder, beside):
    log, paths = noting(folder, "01", "02", "03", "04", lasts=0.3)
    assert {run.path for run in running.run_notebooks(paths, beside)} == {*paths}
    now, most = 0, 0
    for word, _ in order(log):
        now += 1 if word == "begins" else -1
        most = max(most, now)
    assert most <= beside


def test_the_pages_and_what_is_stored_are_the_same_however_many_run_at_a_time(tmp_path, capsys):
    """Also where the first is done last, and one of them fails."""
    pages, stored, said = [], [], []
    for beside in ("1", "3"):
        folder = tmp_path / beside / "notebooks"
        folder.mkdir(parents=True)
        save(folder / "01_slow.ipynb", "# Slow", "import time; time.sleep(3); print('the first')")
        save(folder / "02_bad.ipynb", "# Bad", "1 / 0")
        save(folder / "03_quick.ipynb", "# Quick", "print('the third')")
        out = tmp_path / beside / "report"
        assert making.main(["--notebooks", str(folder), "--out", str(out), "--save", "--beside", beside]) == 1
        shown = {path.name: path.read_text() for path in out.glob("*.html")}
        # what may differ: how long it took, when it was, and how many ran at a time
        for text in (r'"number">\d+\.\d<', r"<dd>.* at a time", r"\d{4}-\d\d-\d\d \d\d:\d\d"):
            shown = {name: re.sub(text, "", page) for name, page in shown.items()}
        pages.append(shown)
        stored.append({path.name: path.read_bytes() for path in folder.iterdir()})
        said.append(re.sub(r" +\d+\.\d s", "", capsys.readouterr().out))
        assert f"Kernels {beside} at a time" in Page(out / "index.html").text
    assert pages[0] == pages[1]
    assert stored[0] == stored[1]
    lines = [line.split()[:2] for line in said[1].splitlines()]
    assert lines == [["01_slow", "ok"], ["02_bad", "FAILED"], ["03_quick", "ok"], ["Report:", lines[-1][1]]]
    assert "02_bad" in said[1]
    assert "ZeroDivisionError: division by zero" in said[1].splitlines()[1]
    assert said[0].splitlines()[:3] == said[1].splitlines()[:3]


def test_the_time_together_is_that_of_the_clock(folder, tmp_path):
    for name in ("01_one", "02_two"):
        save(folder / f"{name}.ipynb", "import time; time.sleep(3)")
    out = tmp_path / "report"
    assert making.main(["--notebooks", str(folder), "--out", str(out), "--beside", "2"]) == 0
    one, two, together = map(float, re.findall(r'<td class="number">([\d.]+)</td>', (out / "index.html").read_text()))
    assert max(one, two) - 0.1 <= together <= one + two - 2


@BOTH
def test_a_notebook_begins_when_those_that_it_needs_are_done(folder, beside):
    log, paths = noting(folder, "01", "02", "03", lasts=0.5)
    waits_for(paths[0], "03")
    waits_for(paths[1], "elsewhere", "02")  # one that isn't among them, and itself: for these nobody waits
    assert len([*running.run_notebooks(paths, beside)]) == 3
    events = order(log)
    assert events.index(["ends", "03"]) < events.index(["begins", "01"])


def test_a_notebook_that_fails_keeps_nobody_waiting(folder):
    save(folder / "01_bad.ipynb", "import os; os._exit(3)")
    path = waits_for(noting(folder, "02")[1][0], "01_bad")
    bad, good = running.run_notebooks([folder / "01_bad.ipynb", path], 2)
    assert (bad.path.stem, bad.error) == ("01_bad", "Kernel died")
    assert (good.path.stem, good.error) == ("02", "")


@BOTH
def test_notebooks_that_wait_for_each_other_run_all_the_same(folder, beside):
    _, paths = noting(folder, "01", "02")
    waits_for(paths[0], "02")
    waits_for(paths[1], "01")
    assert [run.error for run in running.run_notebooks(paths, beside)] == ["", ""]


def test_those_begin_first_for_which_others_wait_and_one_at_a_time_in_their_order(folder, monkeypatch):
    begun = []

    async def noted(path, timeout, threads, label):
        begun.append(label)
        return making.Run(path, new_notebook())

    monkeypatch.setattr(running, "run_notebook", noted)
    _, paths = noting(folder, "01", "02", "03", "04", "05")
    for path in paths[3:]:
        waits_for(path, "03")
    assert len([*running.run_notebooks(paths, 2)]) == 5
    assert begun == ["[3/5] 03", "[1/5] 01", "[2/5] 02", "[4/5] 04", "[5/5] 05"]
    begun.clear()
    assert [run.path for run in running.run_notebooks(paths)] == paths
    assert begun == ["[1/5] 01", "[2/5] 02", "[3/5] 03", "[4/5] 04", "[5/5] 05"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"metadata": {"lab": {"after": 3}}}', '{"metadata": {"lab": 1}}']
)
def test_what_is_no_notebook_waits_for_none(tmp_path, text):
    (tmp_path / "any.ipynb").write_text(text)
    assert running.after(tmp_path / "any.ipynb") == set()
    assert running.after(tmp_path / "nowhere.ipynb") == set()


@pytest.mark.parametrize(
    ("threads", "cores", "number"), [(1, 1, 1), (1, 2, 2), (2, 2, 1), (1, 64, 4), (4, 8, 2), (0, 1, 1), (8, 2, 1)]
)
def test_no_core_has_two_kernels_and_four_are_enough(threads, cores, number):
    assert running.usual(threads, cores) == number


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_less_than_one_at_a_time_is_refused(folder, capsys, number):
    save(folder / "01_one.ipynb", "# One")
    with pytest.raises(SystemExit) as end:
        making.main(["--notebooks", str(folder), "--out", str(folder.parent / "report"), f"--beside={number}"])
    assert end.value.code == 2
    assert f"--beside: expected a whole number of 1 or more, not '{number}'" in capsys.readouterr().err


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_whoever_stops_asking_leaves_no_kernel(folder):
    """So it is when Ctrl-C, or an error in the report, comes between: one has been given, two others are running."""
    save(folder / "01_quick.ipynb", "1")
    for name in ("02_long", "03_long"):
        note = f"import os, time\nopen({str(folder / name)!r}, 'w').write(str(os.getpid()))"
        save(folder / f"{name}.ipynb", note, "time.sleep(600)")
    began = time.monotonic()
    with closing(running.run_notebooks(sorted(folder.glob("*.ipynb")), 3)) as runs:
        assert next(runs).path.stem == "01_quick"
        notes = [folder / "02_long", folder / "03_long"]
        while not all(note.exists() and note.read_text() for note in notes):
            assert time.monotonic() < began + 300
            time.sleep(0.05)
        kernels = [int(note.read_text()) for note in notes]
        assert all(map(alive, kernels))
    assert not any(map(alive, kernels))
    assert threading.active_count() == len([t for t in threading.enumerate() if not t.name.startswith("ThreadPool")])


@pytest.mark.skipif(os.name != "posix", reason="only there kernels have sockets with names")
@pytest.mark.parametrize("deep", [False, True])
def test_a_kernel_takes_no_port_of_the_machine_where_there_are_sockets_with_names(folder, tmp_path, monkeypatch, deep):
    """Between the choice of a free port and its use another program may take it. Too long a name needs a port."""
    if deep:
        long = tmp_path / ("a" * 100)
        long.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(long))
    ask = "import json\nfrom ipykernel.connect import get_connection_file\nprint(open(get_connection_file()).read())"
    save(folder / "01_one.ipynb", ask)
    (run,) = running.run_notebooks([folder / "01_one.ipynb"])
    assert not run.error
    used = json.loads(run.notebook.cells[0].outputs[0].text)
    assert used["transport"] == ("tcp" if deep else "ipc")
    assert deep or not Path(used["ip"]).parent.exists(), "and the sockets are gone"


# --- the lab's own


def uses(path):
    """The trainings that the notebook at `path` names: those of all its calls of `keep` and `kept_network`."""
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    return {*re.findall(r"\bkeep\(\s*\"([^\"]+)\"", text)}, {*re.findall(r"\bkept_network\(\s*\"([^\"]+)\"", text)}


def test_who_asks_for_what_another_notebook_has_kept_waits_for_it():
    kept = {name: path.stem for path in NOTEBOOKS for name in uses(path)[0]}
    assert kept, "notebook 3 keeps the student's network"
    for path in NOTEBOOKS:
        for name in uses(path)[1]:
            assert kept[name] in running.after(path), path.stem


def trains_the_original(path):
    """Whether the notebook at `path` calls `fit` or `fit_all` without a recipe: that is the original's."""
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    fits = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("fit", "fit_all")]
    return any(len(call.args) < 3 and "recipe" not in [keyword.arg for keyword in call.keywords] for call in fits)


def test_who_trains_what_an_earlier_notebook_trains_waits_for_it():
    """Without that nobody trains twice, either; but one waits for the other's lock, and says so on its page."""
    first, *others = [path for path in NOTEBOOKS if trains_the_original(path)]
    assert first.stem == "03_training"
    assert len(others) >= 3
    assert all(first.stem in running.after(path) for path in others)


def test_whom_a_notebook_waits_for_is_there():
    assert {name for path in NOTEBOOKS for name in running.after(path)} <= {path.stem for path in NOTEBOOKS}


def test_what_a_notebook_waits_for_is_stored_with_it(folder):
    path = waits_for(noting(folder, "01")[1][0], "03_training")
    assert json.loads(canonical(nbformat.read(path, as_version=4)))["metadata"]["lab"] == {"after": ["03_training"]}
