"""The report: notebooks are really run, and nothing is lost when something goes wrong."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_pages import Page, save

from lab_utils.base.files import write_whole_folder
from lab_utils.report import __main__ as making
from lab_utils.report import live, printing
from lab_utils.report import run as running
from lab_utils.report.pages import Run

HERE = 'import os\nprint("threads", os.environ["OMP_NUM_THREADS"], os.path.basename(os.getcwd()))'
NOISY = """import sys, ipywidgets
from tqdm import tqdm
from tqdm.auto import tqdm as auto
display(ipywidgets.IntSlider())
display(object())
for _ in tqdm(range(3)): pass
for _ in auto(range(3)): pass
print("a warning with a path", file=sys.stderr)
6 * 7
"""


def run(folder, *arguments):
    out = folder.parent / "report"
    code = making.main(["--notebooks", str(folder), "--out", str(out), *arguments])
    return code, out


def without_running(paths, *rest):
    """As `run_notebooks`, where it doesn't matter what is in the notebooks."""
    yield from (Run(path, new_notebook()) for path in paths)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of five notebooks, of which one is good and each of the others breaks in its own way."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    save(folder / "01_good.ipynb", "# Good", HERE)
    save(folder / "02_bad.ipynb", "# Fails", "1 / 0", "print('never printed')")
    save(folder / "03_slow.ipynb", "import time", "time.sleep(60)")
    save(folder / "04_dead.ipynb", "import os; os._exit(3)")
    (folder / "05_broken.ipynb").write_text("{")
    notebook = nbformat.read(folder / "02_bad.ipynb", as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="stale output")]
    nbformat.write(notebook, folder / "02_bad.ipynb")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out = run(folder, "--timeout", "4", "--threads", "2")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "notebooks are left alone"
    return code, out


def test_exit_code_is_1_when_a_notebook_fails(made):
    assert made[0] == 1


def test_index_tells_what_ran_and_what_failed(made):
    index = Page(made[1] / "index.html")
    assert "4 of 5 notebooks failed." in index.text
    assert re.search(r"01_good Good ok \d+\.\d", index.text)
    assert re.search(r"03_slow 03_slow failed [4-9]\.\d", index.text)
    assert "Threads 2 in each kernel" in index.text


def test_notebooks_run_in_their_folder_with_the_threads_asked_for(made):
    assert "threads 2 notebooks" in Page(made[1] / "01_good.html").text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("02_bad.html", "ZeroDivisionError Traceback (most recent call last)"),
        ("03_slow.html", "Time-out: the cell ran for more than 4 seconds"),
        ("04_dead.html", "Kernel died"),
        ("05_broken.html", "Notebook does not appear to be JSON"),
    ],
)
def test_failures_are_shown(made, page, said):
    page = Page(made[1] / page)
    assert "This notebook failed." in page.text
    assert said in page.text
    assert "\x1b[" not in page.text
    assert "stale output" not in page.text


@pytest.fixture
def folder(tmp_path):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    return notebooks


def test_only_takes_numbers_and_names(folder, capsys):
    for name in ("01_one", "02_two", "03_three"):
        save(folder / f"{name}.ipynb", "# A question")
    assert [path.stem for path in making.choose(folder, ["03", "01_one.ipynb"])] == ["01_one", "03_three"]
    assert len(making.choose(folder, [])) == 3
    with pytest.raises(SystemExit) as end:
        run(folder, "--only", "7")
    assert end.value.code == 2
    assert "no notebook '7'; there are: 01_one, 02_two, 03_three" in capsys.readouterr().err
    with pytest.raises(printing.ReportError, match="no notebooks in"):
        making.choose(folder / "nowhere", [])


def test_help_shows_the_options(capsys):
    with pytest.raises(SystemExit) as end:
        making.main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in ("--out", "--only", "--timeout", "--threads", "--notebooks", "--save", "--columns", "report-own"):
        assert option in said


def test_foreign_folders_are_refused(folder, tmp_path, capsys):
    save(folder / "01_one.ipynb", "# A question")
    out = tmp_path / "report"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit):
        run(folder)
    assert "was not made by this command" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    shutil.rmtree(out)
    out.write_text("a file")
    with pytest.raises(SystemExit):
        run(folder)
    assert out.read_text() == "a file"


def test_report_replaces_a_report(folder, tmp_path, monkeypatch):
    save(folder / "01_one.ipynb", "# One")
    (tmp_path / "report").mkdir()  # empty, so it may be taken
    monkeypatch.setattr(making, "run_notebooks", without_running)
    assert run(folder) == (0, tmp_path / "report")
    save(folder / "02_two.ipynb", "# Two")
    assert run(folder)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "report"}
    assert (tmp_path / "report" / "02_two.html").exists()
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o755


def test_the_benchmark_stays_when_the_report_is_made_anew(folder, tmp_path, monkeypatch):
    save(folder / "01_one.ipynb", "# One")
    monkeypatch.setattr(making, "run_notebooks", without_running)
    run(folder)
    (tmp_path / "report" / "bench.html").write_text("measured")
    (tmp_path / "report" / "old.html").touch()
    run(folder)
    assert not (tmp_path / "report" / "old.html").exists()
    assert (tmp_path / "report" / "bench.html").read_text() == "measured"


def test_keyboard_interrupt_leaves_the_last_report(folder, tmp_path, monkeypatch, capsys):
    save(folder / "01_one.ipynb", "# One")

    def interrupted(*arguments):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "run_notebooks", interrupted)
    assert run(folder)[0] == 130
    assert capsys.readouterr().out == "\nInterrupted. No report.\n"
    with write_whole_folder(tmp_path / "report", making.MARKER) as new:
        (new / "index.html").write_text("whole")
    assert run(folder)[0] == 130
    assert "The last report is still in" in capsys.readouterr().out
    assert (tmp_path / "report" / "index.html").read_text() == "whole"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_kernel_and_leaves_the_last_report(folder, tmp_path, sign):
    with write_whole_folder(tmp_path / "report", making.MARKER) as new:
        (new / "index.html").write_text("whole")
    note = tmp_path / "note"
    save(folder / "01_long.ipynb", f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(90)")
    command = [sys.executable, "-m", "lab_utils.report", "--notebooks", folder, "--out", tmp_path / "report"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 40
    while not (note.exists() and note.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sign)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.strip().startswith("Interrupted. The last report is still in")
    assert len(said.strip().splitlines()) == 1
    assert (tmp_path / "report" / "index.html").read_text() == "whole"
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "report", "note"}
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_save_writes_canonical_notebooks(folder, capsys):
    save(folder / "01_one.ipynb", "# One", "print(1)", "", NOISY)
    save(folder / "02_bad.ipynb", "1 / 0")
    bad = (folder / "02_bad.ipynb").read_bytes()
    assert run(folder, "--save")[0] == 1
    first = (folder / "01_one.ipynb").read_bytes()
    assert run(folder, "--save", "--only", "01")[0] == 0
    assert (folder / "01_one.ipynb").read_bytes() == first, "the same bytes again"
    assert (folder / "02_bad.ipynb").read_bytes() == bad, "a failed notebook is never saved"
    notebook = json.loads(first)
    nbformat.validate(notebook)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell["id"] for cell in notebook["cells"]] == ["c0", "c1", "c2", "c3"]
    assert [cell.get("execution_count") for cell in notebook["cells"]] == [None, 1, None, 2]
    assert b'"name": "stderr"' not in first
    assert b"widget-view" not in first
    assert b"IntSlider(value=0)" in first
    assert b"<object>" in first
    assert first.endswith(b"}\n")


def test_save_spares_a_notebook_that_was_edited_meanwhile(folder, capsys):
    mine = folder / "01_one.ipynb"
    save(mine, f"from pathlib import Path\nPath({str(mine)!r}).write_text('edited by hand');")
    assert run(folder, "--save")[0] == 0
    assert mine.read_text() == "edited by hand"
    assert "changed on disk while it ran" in capsys.readouterr().out


def test_the_bar_ticks_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with running._progress("[1/6] 01_noise_schedules", 3) as bar:
        bar.update()
        time.sleep(1.3)
    assert "[1/6] 01_noise_schedules" in screen.getvalue()
    assert "cell 1 of 3 done, 00:01" in screen.getvalue()
    assert screen.getvalue().endswith("\r"), "the next line begins at its left"


# --- about one's own points, and on paper


def test_a_report_about_a_file_runs_the_notebook_for_that(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_DATA", "")  # so that what is set here goes away again
    save(folder / "01_one.ipynb", "# One")
    save(folder / "07_own.ipynb", "import os\nprint(open(os.environ['DDPM_LAB_DATA']).read())")
    data = tmp_path / "<script>.csv"
    data.write_text("x,y\n" + "".join(f"{i},{i * i}\n" for i in range(40)))
    code, out = run(folder, "--data", str(data))
    assert code == 0
    assert not (out / "01_one.html").exists()
    assert "39,1521" in Page(out / "07_own.html").text
    index = Page(out / "index.html")
    assert "This report is about <script>.csv, 40 points." in index.text
    assert "Data <script>.csv, 40 points" in index.text
    assert "Not in this run" not in index.text


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("x,y\n1,2\n", [], "it takes 2 points or more"),
        ("a\nb", [], "has 1 column"),
        ("1,nan\n1,2", [], "missing, NaN or infinite"),
        ("time,x,y\n1,2,3\n", [], "COLUMNS=time,x"),
        ("time,x,y\n1,2,3\n", ["--columns", "x,z"], "has no column 'z'; it has 'time', 'x', 'y'"),
        ("x,y\n1,2\n", ["--columns", "x"], "columns must be two names or numbers"),
        ("x,y\n1,2\n", ["--columns", ""], "columns must be two names or numbers"),
        ("x,y\n1,2\n", ["--label", "kind"], "has no column 'kind'"),
    ],
)
def test_a_file_that_no_model_can_learn_is_refused_before_anything_runs(
    folder, tmp_path, capsys, content, options, says
):
    save(folder / "07_own.ipynb", "# Own")
    (tmp_path / "my.csv").write_text(content)
    code, out = run(folder, "--data", str(tmp_path / "my.csv"), *options)
    assert code == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1, "the error stands alone, not below a page of usage"
    assert not out.exists()


def test_the_notebook_reads_the_columns_that_the_command_names(folder, tmp_path, monkeypatch, capsys):
    for name in ("DDPM_LAB_DATA", "DDPM_LAB_DATA_OPTIONS"):
        monkeypatch.setenv(name, "")  # so that what is set here goes away again
    code = """from lab_utils.points import chosen_options, chosen_source, own_points
table = own_points(chosen_source(), **chosen_options())
print(table.columns, table.points[-1].tolist(), table.classes, len(table.points))"""
    save(folder / "07_own.ipynb", code)
    rows = "".join(f"{i},{i}.5,k{i % 2},{-i}\n" for i in range(40))
    (tmp_path / "my.csv").write_text('id,"x, in m",kind,y\n' + rows + "40,,k0,\n")
    options = ("--columns", '"x, in m",3', "--label", "kind", "--missing", "drop")
    code, out = run(folder, "--data", str(tmp_path / "my.csv"), *options)
    assert code == 0
    assert "('x, in m', 'y') [39.5, -39.0] ('k0', 'k1') 40" in Page(out / "07_own.html").text
    assert "1 of 41 rows lack a value and are left out" in capsys.readouterr().err


def test_columns_without_data_are_refused(folder, capsys):
    for option in ("--columns", "--label", "--missing"):
        with pytest.raises(SystemExit):
            run(folder, option, "drop")
        assert f"{option} is about the table that --data names; add --data" in capsys.readouterr().err


def test_a_report_about_a_file_leaves_the_course_s_report_alone(folder, tmp_path, monkeypatch):
    for name in ("DDPM_LAB_DATA", "DDPM_LAB_DATA_OPTIONS"):
        monkeypatch.setenv(name, "")
    save(folder / "07_own.ipynb", "# Own")
    (tmp_path / "my.csv").write_text("".join(f"{i},{i * i}\n" for i in range(40)))
    monkeypatch.setattr(making, "PROJECT", tmp_path)
    monkeypatch.setattr(making, "run_notebooks", without_running)
    monkeypatch.setattr(live, "write_live", lambda folder: (folder / "live.html").write_text("live"))
    assert making.main(["--notebooks", str(folder)]) == 0
    assert (tmp_path / "report" / "live.html").read_text() == "live"
    assert "live.html" in Page(tmp_path / "report" / "index.html").all("a", "href")
    course = (tmp_path / "report" / "index.html").read_bytes()
    assert making.main(["--notebooks", str(folder), "--data", str(tmp_path / "my.csv")]) == 0
    assert (tmp_path / "report" / "index.html").read_bytes() == course
    assert not (tmp_path / "report-own" / "live.html").exists(), "these are not the course's networks"
    assert "my.csv, 40 points" in Page(tmp_path / "report-own" / "index.html").text


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_report_passes_what_is_said_to_it_and_not_how_wide_the_terminal_is():
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "80", "LABEL": "ci", "MISSING": "yes"}

    def command(*variables):
        make = ["make", "--dry-run", "report", *variables]
        said = subprocess.run(make, cwd=making.PROJECT, env=environment, capture_output=True, text=True, check=True)
        return shlex.split(said.stdout.splitlines()[-1])[1:]

    assert command() == ["-m", "lab_utils.report"]
    assert command("DATA=my file.csv", "COLUMNS=x 1,y", "LABEL=kind", "MISSING=drop") == [
        *("-m", "lab_utils.report", "--data", "my file.csv"),
        *("--columns", "x 1,y", "--label", "kind", "--missing", "drop"),
    ]
    assert command("DATA=my.csv") == ["-m", "lab_utils.report", "--data", "my.csv"]


def test_outputs_about_other_data_are_not_stored(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(folder, "--data", "my.csv", "--save")
    assert "leave out --data or --save" in capsys.readouterr().err


def test_the_report_is_printed(folder, chromium):
    save(folder / "01_one.ipynb", "# One", "print('on paper')")
    code, out = run(folder, "--pdf")
    assert code == 0
    printed = (out / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 5000


def test_without_a_browser_nothing_is_run(folder, monkeypatch, capsys):
    save(folder / "01_one.ipynb", "# One")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(making, "run_notebooks", lambda *arguments: pytest.fail("not even begun"))
    with pytest.raises(SystemExit) as end:
        run(folder, "--pdf")
    assert end.value.code == 2
    assert "a PDF is printed by Chromium or Chrome, and none was found" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="a browser that is a shell script")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no display >&2\nexit 3", "did not print print.html: no display"),
        ("exit 0", "did not print print.html"),
        ("sleep 120\n:", "did not print print.html in 1 s"),  # and its child lives on, as Chromium's may
    ],
)
def test_the_pages_stay_where_the_browser_fails_or_comes_to_no_end(folder, tmp_path, monkeypatch, capsys, script, says):
    save(folder / "01_one.ipynb", "# One", "print('an hour of work')")
    fake = tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(fake))
    monkeypatch.setattr(printing, "PATIENCE", 1 if "sleep" in script else 60)
    started = time.monotonic()
    code, out = run(folder, "--pdf")
    assert time.monotonic() - started < 90
    assert code == 1
    said = capsys.readouterr()
    assert f"It was not printed: {fake}" in said.err
    assert says in said.err
    assert f"Report: {out / 'index.html'}" in said.out
    assert "an hour of work" in Page(out / "01_one.html").text
    assert "an hour of work" in Page(out / "print.html").text
    assert not [path for path in out.iterdir() if "pdf" in path.name]


def test_the_pages_stay_where_the_disk_has_no_room_for_the_pdf(folder, monkeypatch, capsys):
    save(folder / "01_one.ipynb", "# One")

    def full(page, pdf):
        raise OSError(28, "No space left on device", str(pdf))

    monkeypatch.setattr(making, "browser", lambda: "any")
    monkeypatch.setattr(making, "print_pdf", full)
    code, out = run(folder, "--pdf")
    assert code == 1
    assert "It was not printed: [Errno 28] No space left on device" in capsys.readouterr().err
    assert (out / "01_one.html").exists()


# --- to hand out


def exercise(answer="y = 2 * x", end="    ### END SOLUTION"):
    """A task with its solution and its check, and a figure that needs the solution."""
    solved = f"def double(x):\n    ### BEGIN SOLUTION\n    {answer}\n    return y\n{end}"
    cells = [new_markdown_cell("# Twice"), new_code_cell(solved, metadata={"tags": ["solution"]})]
    check = {"schema_version": 3, "grade_id": "a", "grade": True, "solution": False, "locked": True, "points": 1}
    cells.append(new_code_cell("print('checked', double(4))", metadata={"nbgrader": check | {"task": False}}))
    cells.append(new_code_cell("print('the figure shows', double(3))"))
    return new_notebook(cells=cells)


def test_without_solutions_no_page_has_one_and_all_that_they_make_is_there(folder, capsys):
    nbformat.write(exercise(), folder / "01_twice.ipynb")
    before = (folder / "01_twice.ipynb").read_bytes()
    code, out = run(folder, "--without-solutions")
    assert code == 0
    for name in ("01_twice.html", "print.html"):
        page = Page(out / name)
        assert "raise NotImplementedError" in page.text
        assert "YOUR CODE HERE" in page.text
        assert "the figure shows 6" in page.text, "the notebooks ran with the solutions"
        assert "checked 8" not in page.text
    for path in out.rglob("*.html"):
        assert not re.search("2 *[*] *x|return|solution", Page(path).text, re.IGNORECASE), path
    assert (folder / "01_twice.ipynb").read_bytes() == before
    run(folder)
    assert "return y" in Page(out / "01_twice.html").text, "the teacher's own has them"


def test_where_a_solutions_marks_are_wrong_nothing_of_that_notebook_is_handed_out(folder, capsys):
    nbformat.write(exercise(end="    # the mark is lost"), folder / "01_twice.ipynb")
    save(folder / "02_other.ipynb", "print('another')")
    code, out = run(folder, "--without-solutions")
    assert code == 1
    page = Page(out / "01_twice.html")
    assert "'### BEGIN SOLUTION' stands alone in the cell that begins 'def double(x):'" in page.text
    assert "return" not in page.text
    assert "another" in Page(out / "02_other.html").text


def test_what_is_saved_has_its_solutions_also_where_the_pages_have_none(folder):
    nbformat.write(exercise(), folder / "01_twice.ipynb")
    assert run(folder, "--without-solutions", "--save")[0] == 0
    assert "y = 2 * x" in (folder / "01_twice.ipynb").read_text()
