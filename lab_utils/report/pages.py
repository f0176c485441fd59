"""Write what the notebooks showed as pages: an index, one page per notebook, the figures as files.

The pages open without a network: formulas are MathML, styles and players stand in the page itself. Figures,
animations and tables are found by the label that `lab_utils.figures.display` puts on them.
"""

# mypy: allow-untyped-calls
# (nbconvert has types, but not everywhere)

from __future__ import annotations

import base64
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jinja2
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbformat import NotebookNode

from lab_utils import METADATA_KEY, SEED, THREADS
from lab_utils.base.files import INSTALLED, PROJECT, processor
from lab_utils.report.formulas import markdown
from lab_utils.report.front import claims, findings, write_moving_picture
from lab_utils.report.labels import labelled

FIGURES = 12  # as many as the original report has
PRINT = "print.html"  # all pages in one
LIVE = "live.html"  # where the networks run in the browser; `live` writes it
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Run:
    """One notebook that was run: what came out, how long it took and, if something broke, what and in which cell."""

    path: Path
    notebook: NotebookNode
    seconds: float = 0.0
    error: str = ""
    failed_cell: str = ""
    began: float = 0.0  # by a clock that only its differences are read of
    read: bytes = b""  # the file, as it was when it was read

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


def _inline(text: str) -> Markup:
    return Markup(re.sub(r"^<p>(.*)</p>\s*$", r"\1", str(markdown(text)), flags=re.DOTALL))


def _without_bars(text: str) -> str:
    """`text` of stderr without the lines of progress bars."""
    return "\n".join(line for line in text.splitlines() if not re.search(r"\d%\||\dit \[", line)).strip()


def environment() -> jinja2.Environment:
    """The templates of all pages, with what they are filled by."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("lab_utils.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    highlight = Highlight2HTML(pygments_lexer="ipython3")
    pages.filters |= {
        "markdown": markdown, "inline": _inline, "without_bars": _without_bars,
        "ansi": lambda text: Markup(ansi2html(text)),
        "highlight": lambda code: Markup(highlight(code).replace("<pre>", '<pre tabindex="0">')),
    }  # fmt: skip
    pages.globals |= {"KEY": METADATA_KEY, "WIDGET": WIDGET}
    return pages


def _contents(html: str) -> list[tuple[str, Markup]]:
    """The anchor and the text of each section's heading in a page."""
    headings = re.findall(r'<h2 id="([^"]+)">(.*?)(?:<a class="anchor-link".*?</a>)?</h2>', html, re.DOTALL)
    return [(anchor, Markup(text)) for anchor, text in headings]


def _in_one(name: str, html: str, pages: Sequence[str]) -> Markup:
    """A page's text for the page that holds them all: each name in it begins with the page's, and links follow."""
    html = re.sub(r'(?<= )id="(?!_)([^"]*)"', rf'id="{name}--\1"', html)
    html = re.sub(r'(?<= )href="#([^"]*)"', rf'href="#{name}--\1"', html)
    for page in pages:
        place = re.escape(page)
        html = re.sub(rf'(?<= )href="{place}#([^"]*)"', rf'href="#{page}--\1"', html)
        html = re.sub(rf'(?<= )href="{place}"', f'href="#{page}"', html)
    return Markup(html)


def _write_texts(folder: Path, runs: Sequence[Run], template: jinja2.Template) -> list[str]:
    """Write a page for each text beside the notebooks, and give the pages' names."""
    names = []
    for path in sorted({path for run in runs for path in run.path.parent.glob("*.md")}):
        text = path.read_text(encoding="utf-8")
        heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
        names.append(f"{path.stem}.html")
        page = template.render(title=heading[1] if heading else path.stem, text=markdown(text))
        (folder / names[-1]).write_text(page, encoding="utf-8")
    return names


def write_pages(folder: Path, runs: Sequence[Run], about: dict[str, str]) -> None:
    """Write the index, a page for each of `runs`, all of them in one to print, and the figures' files into `folder`.

    Where the page `LIVE` stands there already, they lead to it.
    """
    pages, items = environment(), labelled(runs)
    figures = sorted((item for item in items if item.kind == "figure"), key=lambda item: item.number or sys.maxsize)
    numbers = {figure.number for figure in figures} - {0}
    (folder / "figures").mkdir()
    for figure in figures:
        (folder / "figures" / f"{figure.anchor}.png").write_bytes(base64.b64decode(figure.output.data["image/png"]))
    animations = [item for item in items if item.kind == "animation"]
    moving = animations.pop(0) if animations else None  # the first one moves on the first page
    if moving:
        write_moving_picture(moving, folder / "figures")
    pages.globals["live"] = LIVE if (folder / LIVE).exists() else ""
    texts = _write_texts(folder, runs, pages.get_template("text.html.j2"))
    overview = pages.get_template("overview.html.j2").render(
        runs=runs,
        together=max(run.began + run.seconds for run in runs) - min(run.began for run in runs),
        figures=figures,
        missing=[n for n in range(1, FIGURES + 1) if n not in numbers] if numbers else [],
        moving=moving,
        animations=animations,
        findings=findings(items),
        claims=[(item, claims(item, items)) for item in items if item.kind == "claims"],
        tables=[item for item in items if item.kind == "table"],
        glossary="glossary.html" if "glossary.html" in texts else "",
        about=about,
    )
    index = pages.get_template("index.html.j2").render(overview=Markup(overview))
    (folder / "index.html").write_text(index, encoding="utf-8")
    parts = {"index.html": overview}
    for before, run, after in zip([None, *runs[:-1]], runs, [*runs[1:], None], strict=True):
        cells = parts[run.page] = pages.get_template("cells.html.j2").render(run=run)
        page = pages.get_template("notebook.html.j2").render(
            run=run, before=before, after=after, cells=Markup(cells), contents=_contents(cells)
        )
        (folder / run.page).write_text(page, encoding="utf-8")
    joined = [{"name": name, "html": _in_one(name, html, [*parts])} for name, html in parts.items()]
    (folder / PRINT).write_text(pages.get_template("print.html.j2").render(parts=joined), encoding="utf-8")


def facts(threads: int = THREADS, beside: int = 1) -> dict[str, str]:
    """What a number in the report may depend on: versions, processor, threads, seed, commit."""
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "ddpm-lab")
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return {
        "Versions": ", ".join(versions),
        "Processor": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Threads": f"{threads} in each kernel",
        "Kernels": f"{beside} at a time",
        "Seed": str(SEED),
        "Commit": _commit(),
        "Made": time.strftime("%Y-%m-%d %H:%M %Z"),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if INSTALLED:  # the folder that one works in may be somebody else's repository
        return "unknown"
    try:
        return git("rev-parse", "--short", "HEAD") + (" + changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
