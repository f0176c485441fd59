"""Run every notebook for real and write the report: `python -m lab_utils.report`.

The report is a folder that opens without a network: `index.html`, one page per notebook, and the figures as files.
Figures, animations and tables are found by the label that `lab_utils.display` puts on them. The notebooks
themselves stay as they are, unless `--save` asks for their stored outputs to be renewed.
"""

# mypy: allow-untyped-calls
# (nbformat and nbconvert have types, but not everywhere)

from __future__ import annotations

import argparse
import base64
import contextlib
import copy
import itertools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from latex2mathml.converter import convert
from markupsafe import Markup
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from tqdm import tqdm

from lab_utils import SEED, THREADS
from lab_utils.display import METADATA_KEY
from lab_utils.files import PROJECT, write_whole

MARKER = ".ddpm-lab-report"  # a folder with this file in it is a report, and may be replaced by the next one
FIGURES = 12  # as many as the original report has
WIDGET = "application/vnd.jupyter.widget-view+json"


class ReportError(ValueError):
    """What was asked for can't be done; the message says why, and what could be done instead."""


# --- Running -----------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One notebook that was run: what came out, how long it took and, if something broke, what and in which cell."""

    path: Path
    notebook: NotebookNode
    seconds: float = 0.0
    error: str = ""
    failed_cell: str = ""

    @property
    def page(self) -> str:
        """The name of its page in the report."""
        return f"{self.path.stem}.html"

    @property
    def title(self) -> str:
        """Its first heading, or its file's name when it has none."""
        text = "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")
        heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
        return heading[1].strip() if heading else self.path.stem


class _ThisEnvironment(KernelSpecManager):
    """Finds the kernel of the Python that runs this, whatever kernels are installed elsewhere under the same name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


@contextlib.contextmanager
def _progress(label: str, cells: int) -> Iterator[tqdm[Any]]:
    """A bar with notebook, cell and a clock that goes on during a long cell; nothing when nobody watches a terminal."""
    stop = threading.Event()
    shape = "{desc} |{bar:20}| cell {n_fmt} of {total_fmt} done, {elapsed}"
    with tqdm(total=cells, desc=label, leave=False, disable=None, bar_format=shape) as bar:

        def tick() -> None:
            while not stop.wait(1.0):
                bar.refresh()

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield bar
        finally:
            stop.set()
            clock.join()


def run_notebook(path: Path, timeout: int, threads: int, label: str = "") -> Run:
    """Run the notebook at `path` in its own folder, up to its end or to the first cell that fails.

    A cell that raises or takes longer than `timeout` seconds, a kernel that dies, a file that is no notebook: each
    becomes `error` of the `Run`, with the traceback among the outputs. Only `KeyboardInterrupt` comes through.
    """
    started = time.monotonic()
    run, cell = Run(path, nbformat.v4.new_notebook()), None
    try:
        run.notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in run.notebook.cells if cell.cell_type == "code"]
        for stale in code:
            stale.update(outputs=[], execution_count=None)
        manager = AsyncKernelManager(kernel_spec_manager=_ThisEnvironment())
        folder = {"metadata": {"path": str(path.parent)}}
        client = NotebookClient(
            run.notebook, km=manager, timeout=timeout, resources=folder, coalesce_streams=True, record_timing=False
        )
        # The kernel's own stderr is its log; what cells write there arrives as their output.
        kernel = {"env": {**os.environ, "OMP_NUM_THREADS": str(threads)}, "stderr": subprocess.DEVNULL}
        with _progress(label or path.stem, len(code)) as bar, client.setup_kernel(cleanup_kc=True, **kernel):
            for index, cell in enumerate(run.notebook.cells):
                client.execute_cell(cell, index, execution_count=client.code_cells_executed + 1)
                bar.update(cell.cell_type == "code")
    except CellExecutionError as error:
        run.error = f"{error.ename}: {error.evalue}"  # the kernel has put the traceback among the outputs
    except Exception as error:  # whatever breaks one notebook, the others still run and the report is still written
        slow = isinstance(error, CellTimeoutError)
        run.error = f"Time-out: the cell ran for more than {timeout} seconds" if slow else f"{error or repr(error)}"
        if cell is None:
            cell = nbformat.v4.new_code_cell()
            run.notebook.cells.append(cell)
        cell.outputs.append(nbformat.v4.new_output("error", ename="Failed", evalue=run.error, traceback=[run.error]))
    if run.error:
        run.failed_cell = f"cell-{cell.id}" if cell else ""
    run.seconds = time.monotonic() - started
    return run


def canonical(notebook: NotebookNode) -> str:
    """The text of an executed notebook as the lab stores it: the same outputs give the same bytes, everywhere.

    Away go execution times, versions, widget state (its ids are random) and all of stderr (progress bars, and
    warnings with paths). A widget's plain text stays, which is what nbval compares.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    counts = itertools.count(1)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code" or cell.execution_count is None:
            continue
        cell.execution_count = next(counts)
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET, None)
            if "execution_count" in output:
                output.execution_count = cell.execution_count
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


# --- Writing -----------------------------------------------------------------------------------------------------

# What latex2mathml leaves wrong for a browser: first in the TeX (an environment that it doesn't know, letters without
# braces), then in the MathML (a namespace that HTML doesn't need and headings trip over, a relation and functions set
# like variables, accents too high, bars of a norm that stretch one by one, a sign spaced like a difference).
_TEX = [
    (r"\\(begin|end)\{aligned\}", r"\\\1{align*}"),
    (r"\\(mathcal|mathbb|mathbf|mathrm|mathsf) *([A-Za-z0-9])", r"\\\1{\2}"),
]
_FUNCTIONS = "arg|cos|det|exp|inf|lim|ln|log|max|min|sin|softmax|sup|tan|tanh"
_ACCENTS = "&#x000AF;|&#x0007E;|&#x02192;"
_BEFORE_A_SIGN = r"\(|\[|&#x00028;|&#x0005B;|&#x0007B;|&#x0002C;|&#x0003D;"
_MATHML = [
    (' xmlns="[^"]*"', ""),
    ("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),
    (rf"<m([io])>\\?({_FUNCTIONS})</m\1>", r'<mo lspace="0.1em" rspace="0.13em" movablelimits="true">\2</mo>'),
    (
        rf'<mover>((?:(?!</?mover).)*?<mo )stretchy="\w+"(>(?:{_ACCENTS})</mo></mover>)',
        r'<mover accent="true">\1stretchy="false"\2',
    ),
    ("<mo>&#x02016;</mo>", '<mo stretchy="false" lspace="0" rspace="0">&#x02016;</mo>'),
    (rf"(<mo[^>]*>(?:{_BEFORE_A_SIGN})</mo>)<mo>&#x02212;</mo>", r'\1<mo form="prefix">&#x02212;</mo>'),
]


def formula(tex: str, display: str = "inline") -> str:
    """`tex` as MathML, which a browser shows by itself; as it stands, in a code element, when it isn't valid TeX."""
    try:
        for pattern, replacement in _TEX:
            tex = re.sub(pattern, replacement, tex)
        mathml = str(convert(tex, display=display))
        for pattern, replacement in _MATHML:
            mathml = re.sub(pattern, replacement, mathml)
    except Exception:  # latex2mathml has no common base class for its errors
        return f"<code>{Markup.escape(tex)}</code>"
    return mathml


class _Renderer(IPythonRenderer):
    """nbconvert's Markdown, with formulas as MathML and links from notebook to notebook that stay in the report."""

    def inline_math(self, body: str) -> str:
        return formula(body)

    def block_math(self, body: str) -> str:
        return f'<span class="formula">{formula(body, "block")}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def _html_embed_images(self, html: str) -> str:
        # nbconvert parses each piece of HTML by itself, which closes an opening tag on the spot.
        return str(super()._html_embed_images(html)) if "<img" in html else html

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return str(super().link(text, re.sub(r"^([\w.-]+)\.ipynb(?=#|$)", r"\1.html", url), title))


def markdown(text: str, cell: NotebookNode | None = None, folder: Path | None = None) -> Markup:
    """`text` as HTML. In a cell, HTML works and pictures of its `folder` are embedded; elsewhere HTML is just text."""
    if cell is None:
        renderer = _Renderer(escape=True, allow_harmful_protocols=False)
    else:
        attachments = cell.get("attachments", {})
        renderer = _Renderer(escape=False, embed_images=True, path=str(folder), attachments=attachments)
    return Markup(MarkdownWithMath(renderer=renderer).render(text))


def _inline(text: str) -> Markup:
    return Markup(re.sub(r"^<p>(.*)</p>\s*$", r"\1", str(markdown(text)), flags=re.DOTALL))


def _without_bars(text: str) -> str:
    """`text` of stderr without the lines of progress bars."""
    return "\n".join(line for line in text.splitlines() if not re.search(r"\d%\||\dit \[", line)).strip()


def _environment() -> jinja2.Environment:
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("lab_utils"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    highlight = Highlight2HTML(pygments_lexer="ipython3")
    pages.filters |= {
        "markdown": markdown, "inline": _inline, "without_bars": _without_bars,
        "ansi": lambda text: Markup(ansi2html(text)), "highlight": lambda code: Markup(highlight(code)),
    }  # fmt: skip
    pages.globals |= {"KEY": METADATA_KEY, "WIDGET": WIDGET}
    return pages


@dataclass
class Labelled:
    """A figure, an animation or a table that a notebook has shown, and its place in the report."""

    kind: str
    name: str
    caption: str
    alt: str
    page: str
    anchor: str
    output: NotebookNode

    @property
    def number(self) -> int:
        """4 for "Figure 4"; 0 for any other name."""
        numbered = re.fullmatch(r"Figure (\d+)", self.name)
        return int(numbered[1]) if numbered else 0


def _slug(name: str) -> str:
    """`name` for an address or a file: "Figure 4" becomes "figure-04", so that files sort as figures do."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return re.sub(r"\d+", lambda number: number[0].zfill(2), plain) or "unnamed"


def labelled(runs: Sequence[Run]) -> list[Labelled]:
    """Everything with a label, in the order of the notebooks; each gets an anchor of its own, kept in its label."""
    found: list[Labelled] = []
    for run in runs:
        for output in itertools.chain.from_iterable(cell.get("outputs", []) for cell in run.notebook.cells):
            label = output.get("metadata", {}).get(METADATA_KEY, {})
            if label.get("kind") in ("figure", "animation", "table"):
                taken = {item.anchor for item in found}
                names = itertools.chain([_slug(label.name)], (f"{_slug(label.name)}-{n}" for n in itertools.count(2)))
                label.anchor = next(name for name in names if name not in taken)
                texts = label.name, label.caption, label.get("alt", "")
                found.append(Labelled(label.kind, *texts, run.page, label.anchor, output))
    return found


def write_report(folder: Path, runs: Sequence[Run], about: dict[str, str]) -> None:
    """Write the index, a page for each of `runs` and the figures' files into `folder`."""
    pages, items = _environment(), labelled(runs)
    figures = sorted((item for item in items if item.kind == "figure"), key=lambda item: item.number or sys.maxsize)
    missing = [n for n in range(1, FIGURES + 1) if n not in {figure.number for figure in figures}]
    (folder / "figures").mkdir()
    for figure in figures:
        (folder / "figures" / f"{figure.anchor}.png").write_bytes(base64.b64decode(figure.output.data["image/png"]))
    index = pages.get_template("index.html.j2")
    others = [item for item in items if item.kind == "animation"]
    tables = [item for item in items if item.kind == "table"]
    text = index.render(runs=runs, figures=figures, missing=missing, animations=others, tables=tables, about=about)
    (folder / "index.html").write_text(text, encoding="utf-8")
    page = pages.get_template("notebook.html.j2")
    for before, run, after in zip([None, *runs[:-1]], runs, [*runs[1:], None], strict=True):
        (folder / run.page).write_text(page.render(run=run, before=before, after=after), encoding="utf-8")


def facts(threads: int = THREADS) -> dict[str, str]:
    """What a number in the report may depend on: versions, processor, threads, seed, commit."""
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "ddpm-lab")
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return {
        "Versions": ", ".join(versions),
        "Processor": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Threads": f"{threads} in each kernel",
        "Seed": str(SEED),
        "Commit": _commit(),
        "Made": time.strftime("%Y-%m-%d %H:%M %Z"),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):  # only Linux has this file, and only there `platform` knows no name
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" + changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# --- The command -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_report(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`, which takes the place of the report at `path` when the block ends well.

    When the block raises, the folder goes away and the last report stays.

    Raises:
        ReportError: `path` is a file, or a folder with something in it that isn't a report.
    """
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():  # a crash between the two renames below
        old.rename(path)
    if path.exists() and not (path / MARKER).exists() and (path.is_file() or any(path.iterdir())):
        raise ReportError(f"{path} is not a report, so it is left alone; name a new or an empty folder with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield new
        (new / MARKER).touch()
        new.chmod(0o755)  # a temporary folder is its owner's alone; a report is for others to read
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def choose(folder: Path, only: Sequence[str]) -> list[Path]:
    """The notebooks of `folder` in the order of their names, or those of them that `only` names by number or name.

    Raises:
        ReportError: there is no notebook, or none of a name in `only`; the message lists what there is.
    """
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise ReportError(f"no notebooks in {folder}")
    chosen = set()
    for wanted in only:
        fits = {path for path in notebooks if wanted.removesuffix(".ipynb") in (path.stem, path.stem.split("_")[0])}
        if not fits:
            raise ReportError(f"no notebook {wanted!r}; there are: {', '.join(path.stem for path in notebooks)}")
        chosen |= fits
    return [path for path in notebooks if path in chosen or not only]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description = "Run the notebooks and write the report, a folder of pages that opens without a network."
    parser = argparse.ArgumentParser(prog="python -m lab_utils.report", description=description)

    def option(name: str, help: str, **settings: Any) -> None:
        parser.add_argument(name, help=help, **settings)

    out, notebooks = (Path(os.path.relpath(PROJECT / name)) for name in ("report", "notebooks"))
    default = " (default: %(default)s)"
    option("--out", "where the report goes" + default, type=Path, default=out, metavar="FOLDER")
    option("--only", "only these notebooks, by number or name", nargs="+", default=[], metavar="NOTEBOOK")
    option("--timeout", "the most for one cell; 0: no limit" + default, type=int, default=1800, metavar="SECONDS")
    option("--threads", "threads of each kernel" + default, type=int, default=THREADS, metavar="N")
    option("--notebooks", "where the notebooks are" + default, type=Path, default=notebooks, metavar="FOLDER")
    option("--save", "also write the outputs back into the notebooks, in canonical form", action="store_true")
    return parser


def _save(run: Run, before: bytes) -> None:
    """Store the outputs of `run` in its notebook, unless somebody has worked on the file since it was read."""
    if run.path.read_bytes() != before:
        tqdm.write(f"{run.path.stem}: changed on disk while it ran, so its outputs are not saved")
        return
    with write_whole(run.path) as part:
        part.write_text(canonical(run.notebook), encoding="utf-8")
        part.chmod(run.path.stat().st_mode)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; 0 when every notebook ran, 1 when one failed, 130 when interrupted."""
    options = parser().parse_args(arguments)
    out, runs = options.out.resolve(), []
    try:
        notebooks = choose(options.notebooks.resolve(), options.only)
        about = facts(options.threads)  # before the notebooks run: saving them would change the commit
        with whole_report(out) as folder:
            for number, path in enumerate(notebooks, 1):
                before = path.read_bytes()
                run = run_notebook(path, options.timeout, options.threads, f"[{number}/{len(notebooks)}] {path.stem}")
                runs.append(run)
                tqdm.write(f"{path.stem:<32}{'FAILED' if run.error else 'ok':<8}{run.seconds:8.1f} s  {run.error}")
                if options.save and not run.error:
                    _save(run, before)
            write_report(folder, runs, about)
    except ReportError as error:
        parser().error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. " + (f"The last report is still in {options.out}." if out.exists() else "No report."))
        return 130
    print(f"Report: {options.out / 'index.html'}")
    return 1 if any(run.error for run in runs) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end cleans up just as Ctrl-C does
    sys.exit(main())
