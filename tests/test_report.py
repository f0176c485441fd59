"""The report: what it holds, that it opens without a network, and that nothing is lost when something goes wrong."""

import base64
import html.parser
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lab_utils import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

TEXT = r"""# How fast? $\bar\alpha_t$

See [the other](02_bad.ipynb#cell-c1), <em>really</em>. With $\epsilon \sim \mathcal N(0, I)$ and \\(x^2\\):

$$\mathbb E\left[\|\epsilon_\theta\|^2\right] = \sum_{i=1}^N \frac{w_i}{\sqrt{1-\bar\alpha_t}}$$

$$\begin{aligned} a &= \exp(-b) \\ c &= \begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases} \end{aligned}$$

\begin{align*} \lVert x \rVert &= 1 \end{align*}

$\frac$ is not a formula.
"""
FIGURES = r"""import sys
import pandas as pd
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from lab_utils.display import show_animation, show_figure, show_table
figure = Figure(figsize=(9, 3))
line, = figure.subplots().plot([0, 1], [0, 1])
show_figure(figure, "Figure 4", r"Look at $\bar\alpha_t$: **0.5** of <script>alert(1)</script>.", 'A "line" <script>')
show_figure(figure, "Figure 10", "Ten.", "The same")
show_figure(figure, "The <map>", "Another.", "The same")
show_figure(figure, "The map", "And another.", "The same")
show_table(pd.DataFrame({"<script>": [1.25]}), "Table 1", "Distances.")
player = FuncAnimation(figure, lambda i: line.set_ydata([0, i]), frames=2)
show_animation(player, "Animation 1", "Points fly.", 'Points that "fly"')
"""
OTHERS = """import os, sys, threading
import ipywidgets
from tqdm import tqdm
from tqdm.auto import tqdm as auto
display(ipywidgets.IntSlider())
for _ in tqdm(range(3)): pass
for _ in auto(range(3)): pass
print("a warning with a path", file=sys.stderr)
print("threads", os.environ["OMP_NUM_THREADS"], os.path.basename(os.getcwd()), "z" * 300)
display({"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}, raw=True)
display({"image/jpeg": "/9j/"}, raw=True)
display({"image/png": "PICTURE"}, raw=True)
display({"text/latex": r"$\\tilde\\beta_t$"}, raw=True)
display({"text/markdown": "*said* <b>"}, raw=True)
display({"application/json": {}}, raw=True)
6 * 7
"""
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def save(path, *sources):
    """A notebook of code cells (and Markdown, where a source begins with #), with the ids c0, c1, ..."""
    cells = [(new_markdown_cell if source.startswith("#") else new_code_cell)(source) for source in sources]
    for number, cell in enumerate(cells):
        cell.id = f"c{number}"
    nbformat.write(new_notebook(cells=cells), path)


def run(folder, *arguments):
    out = folder.parent / "report"
    code = report.main(["--notebooks", str(folder), "--out", str(out), *arguments])
    return code, out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of five notebooks, of which one is good and each of the others breaks in its own way."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    (folder / "dot.png").write_bytes(DOT)
    others = OTHERS.replace("PICTURE", base64.b64encode(DOT).decode())
    save(folder / "01_good.ipynb", TEXT + "\n![A dot](dot.png)", FIGURES, others)
    notebook = nbformat.read(folder / "01_good.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_raw_cell("raw <b>", id="c3"))
    nbformat.write(notebook, folder / "01_good.ipynb")
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


class Page(html.parser.HTMLParser):
    """What a page has: its tags with their attributes, its ids, its text outside of scripts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.said = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        self.text = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.lasttag not in ("script", "style"):
            self.said.append(data)

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]


def test_exit_code_is_1_when_a_notebook_fails(made):
    assert made[0] == 1


def test_index_holds_gallery_tables_status_and_facts(made):
    index = Page(made[1] / "index.html")
    assert index.all("img", "src") == [
        f"figures/{name}.png" for name in ("figure-04", "figure-10", "the-map", "the-map-2")
    ]
    assert index.all("img", "alt")[0] == 'A "line" <script>'
    assert "Not in this run: Figure 1, Figure 2, Figure 3, Figure 5" in index.text
    assert "1.25" in index.text
    assert "Table 1. Distances." in index.text
    assert "Animation 1. Points fly." in index.text
    assert "4 of 5 notebooks failed." in index.text
    assert re.search(r"01_good How fast\? .* ok \d+\.\d", index.text)
    assert re.search(r"03_slow 03_slow failed [4-9]\.\d", index.text)
    for fact in ("Versions Python 3", "torch 2", "Processor", "Threads 2 in each kernel", "Seed 0", "Commit"):
        assert fact in index.text


def test_links_lead_somewhere(made):
    pages = {path.name: Page(path) for path in made[1].glob("*.html")}
    for name, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), name
        for address in page.all("a", "href"):
            target, _, anchor = address.partition("#")
            assert not anchor or anchor in pages[target or name].ids, (name, address)
    assert "02_bad.html#cell-c1" in pages["01_good.html"].all("a", "href")
    assert "01_good.html#figure-04" in pages["index.html"].all("a", "href")
    for picture in pages["index.html"].all("img", "src"):
        assert (made[1] / picture).read_bytes().startswith(b"\x89PNG")


def test_page_shows_every_kind_of_output(made):
    path = made[1] / "01_good.html"
    page, source = Page(path), path.read_text(encoding="utf-8")
    assert "threads 2 notebooks zzz" in page.text
    assert page.text.count("Interactive in JupyterLab") == 1, "the slider, not the progress bar"
    assert "it/s" not in page.text
    assert "a warning with a path" in page.text
    assert "said <b>" in page.text
    assert "42" in page.text
    assert "raw <b>" not in page.text
    assert page.text.count("Points fly.") == 2, "in the code and below the player, but not once more as Markdown"
    assert {"data:image/png", "data:image/jpeg"} <= {picture.partition(";")[0] for picture in page.all("img", "src")}
    assert 'A "line" <script>' in page.all("img", "alt")
    assert "<svg" in source
    assert "<em>really</em>" in source


def test_names_and_captions_are_text(made):
    for name in ("index.html", "01_good.html"):
        page = Page(made[1] / name)
        assert "<script>alert(1)</script>" in page.text
        assert "The <map>." in page.text
        assert "alert(1)" not in "".join(re.findall(r"<script.*?</script>", (made[1] / name).read_text(), re.DOTALL))


def test_formulas_are_mathml(made):
    source = (made[1] / "01_good.html").read_text(encoding="utf-8")
    assert source.count("<math") == 8
    for part in ("&#x1D4A9;", "&#x1D53C;", "&#x0223C;", "<msqrt>", "<munderover>", '<mover accent="true">', "<mtable"):
        assert part in source
    assert "<code>\\frac</code>" in source
    assert "\\begin" not in Page(made[1] / "01_good.html").text


def test_nothing_is_fetched(made):
    for path in made[1].glob("*.html"):
        page, source = Page(path), path.read_text(encoding="utf-8")
        loads = [address for tag in ("img", "script", "iframe") for address in page.all(tag, "src")]
        loads += page.all("link", "href")
        assert not [address for address in loads if address.startswith(("http:", "https:", "//"))]
        assert not re.search(r"@import|url\(", source)
        assert "default-src 'none'" in source


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


PROBE = """<!DOCTYPE html><body><script>
const report = {};
function open(name) {
  const frame = document.createElement("iframe");
  frame.style = "width: 390px; height: 800px; border: 0";
  frame.onload = () => setTimeout(() => {
    const page = frame.contentDocument;
    const images = [...page.images];
    const button = page.querySelector('button[title="Next frame"]');
    const player = page.querySelector(".animation img");
    const first = player && player.src;
    if (button) button.click();
    report[name] = {
      broken: images.filter(image => !image.naturalWidth).map(image => image.src.slice(0, 60)),
      images: images.length,
      width: page.documentElement.scrollWidth,
      roots: [...page.querySelectorAll("math msqrt")].map(root => root.getBoundingClientRect().height),
      turned: Boolean(player) && player.src !== first,
      icon: button && button.textContent.trim(),
      loaded: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    };
    if (Object.keys(report).length === 2) {
      const said = document.createElement("pre");
      said.id = "said"; said.textContent = encodeURIComponent(JSON.stringify(report)); document.body.append(said);
    }
  }, 500);
  frame.src = name;
  document.body.append(frame);
}
open("index.html"); open("01_good.html");
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_opens_in_a_browser_without_a_network(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made[1], folder)
    # An invalid JPEG and a 1x1 PNG serve the other tests; here every picture must be one.
    page = folder / "01_good.html"
    page.write_text(re.sub(r'<img src="data:image/jpeg[^>]*>', "", page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "probe.html").write_text(PROBE)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [CHROMIUM, *options, (folder / "probe.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    said = re.search(r'<pre id="said">(.*?)</pre>', shown)
    assert said, shown[-2000:]
    found = json.loads(urllib.parse.unquote(said[1]))
    index, page = found["index.html"], found["01_good.html"]
    assert (index["images"], index["broken"]) == (4, [])
    assert (page["images"], page["broken"]) == (7, [])
    assert index["width"] <= 390, "no page is wider than a phone"
    assert page["width"] <= 390
    assert min(page["roots"]) > 10, "square roots are drawn"
    assert page["turned"], "the player turns to the next frame"
    assert page["icon"] == "›"
    assert not [address for address in index["loaded"] + page["loaded"] if address.startswith("http")]


@pytest.fixture
def folder(tmp_path):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    return notebooks


def test_only_takes_numbers_and_names(folder, capsys):
    for name in ("01_one", "02_two", "03_three"):
        save(folder / f"{name}.ipynb", "# A question")
    assert [path.stem for path in report.choose(folder, ["03", "01_one.ipynb"])] == ["01_one", "03_three"]
    assert len(report.choose(folder, [])) == 3
    with pytest.raises(SystemExit) as end:
        run(folder, "--only", "7")
    assert end.value.code == 2
    assert "no notebook '7'; there are: 01_one, 02_two, 03_three" in capsys.readouterr().err
    with pytest.raises(report.ReportError, match="no notebooks in"):
        report.choose(folder / "nowhere", [])


def test_help_shows_the_options(capsys):
    with pytest.raises(SystemExit) as end:
        report.main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in ("--out", "--only", "--timeout", "--threads", "--notebooks", "--save"):
        assert option in said


def test_foreign_folders_are_refused(folder, tmp_path, capsys):
    save(folder / "01_one.ipynb", "# A question")
    out = tmp_path / "report"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit):
        run(folder)
    assert "is not a report" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    shutil.rmtree(out)
    out.write_text("a file")
    with pytest.raises(SystemExit):
        run(folder)
    assert out.read_text() == "a file"


def test_report_replaces_a_report(folder, tmp_path, monkeypatch):
    save(folder / "01_one.ipynb", "# One")
    (tmp_path / "report").mkdir()  # empty, so it may be taken
    monkeypatch.setattr(report, "run_notebook", lambda path, *rest: report.Run(path, new_notebook()))
    assert run(folder) == (0, tmp_path / "report")
    save(folder / "02_two.ipynb", "# Two")
    assert run(folder)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "report"}
    assert (tmp_path / "report" / "02_two.html").exists()
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o755


def test_a_crash_between_the_renames_loses_nothing(tmp_path, monkeypatch):
    out, old = tmp_path / "report", tmp_path / ".report.old"
    with report.whole_report(out) as new:
        (new / "index.html").write_text("first")
    out.rename(old)  # as if the power had failed there
    with pytest.raises(RuntimeError), report.whole_report(out):
        raise RuntimeError
    assert (out / "index.html").read_text() == "first"

    rename = Path.rename

    def failing(path, target):
        if path.name.startswith(".report.") and path != old:
            raise OSError("disk on fire")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk on fire"), report.whole_report(out):
        pass
    assert (out / "index.html").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_keyboard_interrupt_leaves_the_last_report(folder, tmp_path, monkeypatch, capsys):
    save(folder / "01_one.ipynb", "# One")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run_notebook", interrupted)
    assert run(folder)[0] == 130
    assert capsys.readouterr().out == "\nInterrupted. No report.\n"
    with report.whole_report(tmp_path / "report") as new:
        (new / "index.html").write_text("whole")
    assert run(folder)[0] == 130
    assert "The last report is still in" in capsys.readouterr().out
    assert (tmp_path / "report" / "index.html").read_text() == "whole"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_kernel_and_leaves_the_last_report(folder, tmp_path, sign):
    with report.whole_report(tmp_path / "report") as new:
        (new / "index.html").write_text("whole")
    note = tmp_path / "note"
    save(folder / "01_long.ipynb", f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(90)")
    command = [sys.executable, "-m", "lab_utils.report", "--notebooks", folder, "--out", tmp_path / "report"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
    save(folder / "01_one.ipynb", "# One", "print(1)", "", OTHERS.replace("PICTURE", ""))
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
    with report._progress("[1/6] 01_noise_schedules", 3) as bar:
        bar.update()
        time.sleep(1.3)
    assert "[1/6] 01_noise_schedules" in screen.getvalue()
    assert "cell 1 of 3 done, 00:01" in screen.getvalue()


def test_facts_without_git_or_processor_name(monkeypatch):
    monkeypatch.setattr(report, "version", lambda name: "1.0")
    monkeypatch.setattr(Path, "read_text", lambda *_: "nothing known")
    monkeypatch.setenv("PATH", "")
    about = report.facts(3)
    assert about["Commit"] == "unknown"
    assert about["Threads"] == "3 in each kernel"
    assert about["Processor"]
