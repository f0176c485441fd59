"""The lab as pip installs it, away from its own folder: data, templates and commands are there, and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from lab_utils.base.files import PROJECT

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "lab_utils", "data")  # what a wheel is made of
HIDDEN = shutil.ignore_patterns("__pycache__", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because building leaves a folder behind."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "lab").mkdir()
    for source in (PROJECT / name for name in SOURCES):
        if source.is_dir():
            shutil.copytree(source, folder / "lab" / source.name, ignore=HIDDEN)
        else:
            shutil.copy2(source, folder / "lab")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, folder / "lab"], check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A Python of its own with the wheel in it. What the lab needs it finds where these tests do, but not the lab."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    paths = {name: str(folder) for name in ("base", "platbase")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    program = Path(sysconfig.get_path("scripts", "venv", vars=paths)) / Path(sys.executable).name
    options = ["--no-deps", "--no-index", "--quiet", "--target", packages]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    # a path in such a file is searched last, and the .pth files in there, by which this checkout is found, do not count
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "lent.pth").write_text("".join(f"{path}\n" for path in sorted(lent)), encoding="utf-8")
    return program


@pytest.fixture
def call(python, tmp_path):
    """Runs that Python somewhere else, for a user who has nothing yet; gives what it said."""
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "caches")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DDPM_LAB", "COV"))}
    (tmp_path / "elsewhere").mkdir()

    def run(*arguments, code=0, **environment):
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path / "elsewhere", env={**kept, **home, **environment},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def test_a_wheel_holds_all_code_and_data_and_what_the_pages_and_the_copies_are_made_of(wheel):
    held = {*zipfile.ZipFile(wheel).namelist()}
    wanted = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "lab_utils").rglob("*") if path.is_file()}
    wanted |= {
        f"lab_utils/data/{name}" for name in ("cities.csv", "study.csv", "samplers.csv", "standings.csv", "sketch.png")
    }
    assert {name for name in wanted if "/__pycache__/" not in name and "/." not in name} <= held
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"lab_utils", "ddpm_lab"}, "no tests, no docs"


USE = """
from pathlib import Path
import lab_utils
from lab_utils.base.files import DATA
from lab_utils.diffusion import DiffusionGenerator, Recipe, sample, sigmoid
from lab_utils.points import dataset
from lab_utils.points.pictures import EXAMPLE
from lab_utils.runs.fit import fit
from lab_utils.study.sweeps import TABLE

cities = dataset("cities")
run = fit(DiffusionGenerator(schedule=sigmoid()), cities, Recipe(epochs=10, checkpoints=(10,)), progress=False)
print(len(cities.train), EXAMPLE.exists(), TABLE.exists(), tuple(sample(run.model(10), 50).shape))
print(Path(lab_utils.__file__).parent)
print(run.folder)
"""


def test_from_elsewhere_the_towns_are_found_trained_on_and_sampled_and_the_cache_is_the_users(call, python, tmp_path):
    known, package, folder = call("-c", USE).splitlines()
    assert known == "5000 True True (50, 2)"
    assert Path(package).is_relative_to(python.parents[1])
    if sys.platform.startswith("linux"):
        assert Path(folder).is_relative_to(tmp_path / "home" / "caches" / "ddpm-lab")
    assert not Path(folder).is_relative_to(python.parents[1])
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    *_, named = call("-c", USE, DDPM_LAB_CACHE=str(tmp_path / "mine")).splitlines()
    assert Path(named).is_relative_to(tmp_path / "mine")


def test_what_a_command_makes_goes_where_it_was_called(call, tmp_path):
    said = " ".join(call("-m", "lab_utils.report", "--help").split())
    assert "--without-solutions" in said
    assert "(default: notebooks)" in said
    assert str(tmp_path / "elsewhere" / "data") in "".join(call("-m", "lab_utils.study", "--help").split())
    assert "--notebooks says where they are" in call("-m", "lab_utils.report", code=2)


def test_a_report_of_notebooks_of_ones_own_is_made_there_with_the_cache_that_the_caller_has(call, tmp_path):
    import nbformat

    lines = "from lab_utils.base.files import cache_folder\nprint(cache_folder())"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(lines)])
    (tmp_path / "elsewhere" / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "elsewhere" / "notebooks" / "01_mine.ipynb")
    call("-m", "lab_utils.report", DDPM_LAB_CACHE="near")
    page = (tmp_path / "elsewhere" / "report" / "01_mine.html").read_text(encoding="utf-8")
    assert str(tmp_path / "elsewhere" / "near") in page
    assert "unknown" in (tmp_path / "elsewhere" / "report" / "index.html").read_text(encoding="utf-8")  # the commit


def test_student_copies_are_made_in_a_checkout_only(call, tmp_path):
    said = call("-m", "lab_utils.exercises.student", code=2)
    assert "made in a clone of its repository" in said
    assert [*(tmp_path / "elsewhere").iterdir()] == []


# --- how many threads and processes

SAY = "import lab_utils, os, torch; print(lab_utils.THREADS, lab_utils.WORKERS, torch.get_num_threads())"


def importing(code, *before, **environment):
    done = subprocess.run(
        [*before, sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("value", "threads", "warns"),
    [("1", 1, False), ("4,2", 4, False), (" 2 , 1", 2, False), ("", 1, False), (" ", 1, False)]
    + [(value, 1, True) for value in ("0", "-1", "many", "1.5", ",2")],
)
def test_any_omp_num_threads_can_be_imported_with_and_what_is_no_number_is_told(value, threads, warns):
    done = importing("import lab_utils; print(lab_utils.THREADS, lab_utils.WORKERS)", OMP_NUM_THREADS=value)
    found, workers = map(int, done.stdout.split())
    assert found == threads
    assert workers >= 1
    assert (f"OMP_NUM_THREADS is {value!r}, which is no number of threads; the lab takes 1" in done.stderr) == warns


@pytest.mark.parametrize("first", ["lab_utils", "torch"])
def test_where_omp_num_threads_is_no_number_pytorch_takes_the_same_one_as_the_lab(first):
    done = importing(f"import {first}; {SAY}", OMP_NUM_THREADS="0")
    assert done.stdout.split()[0::2] == ["1", "1"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="here a process can't be kept to some of the cores")
def test_there_are_as_many_workers_as_cores_that_the_process_may_use():
    one = min(os.sched_getaffinity(0))
    done = importing(f"import os; os.sched_setaffinity(0, {{{one}}}); {SAY}", OMP_NUM_THREADS="1")
    assert done.stdout.split()[:2] == ["1", "1"]
    free = importing(SAY, OMP_NUM_THREADS="1")
    assert int(free.stdout.split()[1]) == len(os.sched_getaffinity(0))


# --- what running the lab leaves


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_clean_takes_away_all_that_git_is_told_to_ignore_of_the_labs_own_and_nothing_else(tmp_path):
    ours = (".venv", ".cache", "report", "report-own", "student", "student.zip", "mutants", "build")
    others = ("notebooks", "data", "mine.csv")
    shutil.copy2(PROJECT / "Makefile", tmp_path)
    for name in (*ours, *others):
        (tmp_path / name).mkdir() if "." not in name[1:] else (tmp_path / name).touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", *others}
