"""README and docs say what is there: their code runs, their commands are understood, their links and names exist.

Every block of Python is run as it stands, a page's blocks one after the other. If a block of text follows, it is what
the block of Python prints or what a check says. Commands are parsed by the program that they call, and not run.
"""

import argparse
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache

import pytest

from lab_utils.base.files import CACHE_VARIABLE, PROJECT
from lab_utils.exercises import TASKS, NotYet

PAGES = [PROJECT / "README.md", PROJECT / "data" / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())

# Programs of others, which are not called here. With these arguments they were tried by hand, but for conda, as
# docs/install.md says; pip and nbgrader have tests of their own, and pytest is running.
OTHERS = {"conda", "jupyter", "pip", "pytest", "dask", "nbgrader", "sha256sum", "source", "mkdir", "cp", "cd"}


def blocks(page, language):
    """(code, the text block that follows at once or None) of each fenced block in that language."""
    fence = rf"^```{language}\n(.*?)^```\n(?:\n?```text\n(.*?)^```$)?"
    return re.findall(fence, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def prose(page):
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# --- code


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda path: path.name)
def test_the_blocks_of_python_run_one_after_the_other_and_say_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for code, wanted in blocks(page, "python"):
        capsys.readouterr()
        try:
            exec(compile(code, page.name, "exec"), names)
            said = capsys.readouterr().out
        except NotYet as error:
            said = "".join(f"{line}\n" for line in error._render_traceback_())
            assert wanted, f"{page.name} doesn't show what is wrong: {said}"
        if wanted:
            assert said == wanted
    if page.name == "README.md":
        (promised,) = re.findall(r"is about `([\d.]+) × real`", prose(page))
        (multiple,) = re.findall(r"^blur +\S+ +\S+ +(\S+)", said, re.MULTILINE)
        assert float(multiple) == pytest.approx(float(promised), rel=0.1)


def test_the_readme_counts_exercises_and_mistakes_rightly():
    tasks = [task for tasks in TASKS.values() for task in tasks]
    readme = PAGES[0].read_text(encoding="utf-8")
    assert f"there are {len(tasks)} exercises" in readme
    assert "know more than three hundred mistakes" in readme
    assert sum(len(task.mistakes) for task in tasks) > 300


# --- commands


def commands(page):
    """The commands of a page as lists of words: those in blocks of bash, and those in the text that begin alike."""
    lines = [line for block, _ in blocks(page, "bash") for line in block.splitlines()]
    named = re.findall(r"`([^`\n]+)`", prose(page))
    lines += [name for name in named if re.match(r"make |python -m |\.venv/bin/python ", name)]
    for line in lines:
        for part in line.split(" && "):
            if words := shlex.split(part, comments=True):
                yield words


def wrong_commands(listed):
    """What is wrong with commands that are given as lists of words."""
    found = []
    for words in listed:
        program = [word for word in words if not re.match(r"[A-Z_]+=", word)]  # without what is set for it
        if program[0] == "make":
            found += wrong_make(words[1:])
        elif program[0] in ("python", ".venv/bin/python") and program[1] == "-m":
            found += wrong_arguments(program[2], program[3:])
        elif program[0] not in OTHERS:
            found.append(f"nobody tries {' '.join(words)}")
    return found


def wrong_make(words):
    """A target or a variable that the Makefile doesn't know, or options that its command doesn't take."""
    makefile = "\n".join((PROJECT / name).read_text(encoding="utf-8") for name in ("Makefile", "tests/commands.mk"))
    for word in words:
        name, sign, _ = word.partition("=")
        target = re.escape(name.replace(".venv", "$(VENV)"))
        known = rf"\$\({name}\)|call said,{name}," if sign else rf"^{target}:"
        if not re.search(known, makefile, re.MULTILINE):
            return [f"make {' '.join(words)}: the Makefile knows no {name}"]
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    say = ["make", "--dry-run", "--always-make", "--no-print-directory", *words]
    said = subprocess.run(say, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    run = [shlex.split(line) for line in re.findall(r"(?<=/python -m )(?:lab_utils|benchmarks).*", said)]
    return [sentence for module, *arguments in run for sentence in wrong_arguments(module, arguments)]


class ParsedError(Exception):
    """The arguments are right; there is no need to do what they ask for."""


@cache
def program(module):
    """The `main` of a module or a package."""
    if importlib.util.find_spec(module).submodule_search_locations:
        module += ".__main__"
    return importlib.import_module(module).main


def wrong_arguments(module, arguments):
    """What the parser of `python -m module` says of the arguments."""
    parse, heard = argparse.ArgumentParser.parse_args, []

    def parse_and_stop(parser, arguments):
        parse(parser, arguments)
        raise ParsedError

    def note(parser, message):
        heard.append(message)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(argparse.ArgumentParser, "error", note)
        patch.setattr(sys, "stdout", None)
        with pytest.raises((ParsedError, SystemExit)):  # the second one after --help
            program(module)(arguments)
    return [f"python -m {module} {' '.join(arguments)}: {message}" for message in heard]


@every_page
def test_every_command_is_understood(page):
    assert wrong_commands(commands(page)) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("make cake", "the Makefile knows no cake"),
        ("make report CHEESE=1", "knows no CHEESE"),
        ('make report ARGS="--only 01 --cheese"', "unrecognized arguments: --cheese"),
        ("make report DATA=my.csv MISSING=cheese", "invalid choice: 'cheese'"),
        (".venv/bin/python -m lab_utils.runs.generate --points 10", "required: --out"),
        ("python -m lab_utils.report --pages 3", "unrecognized arguments: --pages 3"),
        ("rake cheese", "nobody tries rake cheese"),
    ],
)
def test_a_command_that_is_not_understood_is_found(command, said):
    (found,) = wrong_commands([shlex.split(command)])
    assert said in found


# --- names and links


def anchors(page):
    """The headings of a page, as links call them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_every_name_in_the_text_exists(page):
    """Files and folders of the project, and dotted names of `lab_utils`."""
    named = re.findall(r"`([^`\n]+)`", prose(page))
    files = [name for name in named if re.fullmatch(r"(lab_utils|tests|docs|data|notebooks|\.\w+)/[\w./]*", name)]
    assert [name for name in files if not (PROJECT / name).exists()] == []
    for name in (name for name in named if re.fullmatch(r"lab_utils(\.\w+)+", name)):
        module, _, attribute = name.rpartition(".")
        owner = importlib.import_module(module)
        assert hasattr(owner, attribute) or importlib.util.find_spec(name), name


def test_every_test_that_the_table_of_faults_names_exists():
    page = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\|([^|]*)\|$", page, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([\w/]+)`", row) if "test_" in name}
    assert len(names) > 10
    assert [name for name in names if not (PROJECT / "tests" / f"{name}.py").exists()] == []


def test_the_page_on_architecture_names_every_module_once_under_its_room():
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+\.\w+)` \| .+ \|$", page, re.MULTILINE)
    paths = (path.relative_to(PROJECT / "lab_utils") for path in (PROJECT / "lab_utils").glob("*/*.py"))
    assert sorted(listed) == sorted(f"{path.parent}.{path.stem}" for path in paths if path.stem != "__init__")
    rooms = re.findall(r"^\| \*\*(\w+)\*\* \|", page, re.MULTILINE)
    assert list(dict.fromkeys(name.split(".")[0] for name in listed)) == rooms


def test_the_readme_is_read_in_a_minute_or_two():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 110
