"""The pages: what they hold, that they open without a network, and that text stays text."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image, ImageChops

from lab_utils.base.files import PROJECT
from lab_utils.report import front, pages
from lab_utils.report.__main__ import main
from lab_utils.report.beside import run_notebooks

TEXT = r"""# How fast? $\bar\alpha_t$

See [the other](02_bad.ipynb#cell-c1), <em>really</em>, and [the terms](glossary.md).
With $\epsilon \sim \mathcal N(0, I)$ and \\(x^2\\):

$$\mathbb E\left[\|\epsilon_\theta\|^2\right] = \sum_{i=1}^N \frac{w_i}{\sqrt{1-\bar\alpha_t}}$$

$$\begin{aligned} a &= \exp(-b) \\ c &= \begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases} \end{aligned}$$

\begin{align*} \lVert x \rVert &= 1 \end{align*}

$\frac$ is not a formula.
"""
FIGURES = r"""import sys
import pandas as pd
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from lab_utils.figures.display import show_animation, show_claims, show_figure, show_finding, show_table
figure = Figure(figsize=(9, 3))
line, = figure.subplots().plot([0, 1], [0, 1])
show_figure(figure, "Figure 4", r"Look at $\bar\alpha_t$: **0.5** of <script>alert(1)</script>.", 'A "line" <script>')
show_figure(figure, "Figure 10", "Ten.", "The same")
show_figure(figure, "The <map>", "Another.", "The same")
show_figure(figure, "The map", "And another.", "The same")
show_table(pd.DataFrame({"<script>": [1.25]}), "Table 1", "Distances.")
claims = pd.DataFrame(
    [["true", "2 < 3 <b>", "First line.\nSecond line.", "Figure 4"], ["false", "7", "Nothing.", "Nowhere"]],
    pd.Index(["Claim <one>", "Claim two"], name="The report says"), ["verdict", "decides", "more", "see"])
show_claims(claims, "Claims", "What is claimed.")
show_finding(r"**2.5 × real** is the blur & <b>.", "Finding 2", "The map")
show_finding("**1 %** is little.", "Finding 1", "Tall")
show_finding("**3 %** has no picture.", "Finding 3", "Not there")
show_figure(Figure(figsize=(3, 9)), "Tall", "High.", "A tower")
player = FuncAnimation(figure, lambda i: line.set_ydata([0, i]), frames=2)
show_animation(player, "Animation 1", "Points fly.", 'Points that "fly"')
"""
OTHERS = """import sys
import ipywidgets
from tqdm import tqdm
from tqdm.auto import tqdm as auto
display(ipywidgets.IntSlider())
for _ in tqdm(range(3)): pass
for _ in auto(range(3)): pass
print("a warning with a path", file=sys.stderr)
print("z" * 300)
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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pages of two notebooks: one with every kind of output, and one that failed."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    (folder / "dot.png").write_bytes(DOT)
    (folder / "glossary.md").write_text("# Terms\n\n## Noise\n\n| $\\epsilon$ | noise |\n|---|---|\n| <b> | szum |\n")
    others = OTHERS.replace("PICTURE", base64.b64encode(DOT).decode())
    save(folder / "01_good.ipynb", TEXT + "\n![A dot](dot.png)", FIGURES, others)
    (good,) = run_notebooks([folder / "01_good.ipynb"], timeout=60, threads=1)
    assert not good.error
    good.notebook.cells.append(new_raw_cell("raw <b>", id="c3"))
    traceback = new_output("error", ename="ValueError", evalue="x < 1", traceback=["\x1b[31mValueError\x1b[0m: x < 1"])
    cells = [new_markdown_cell("# Fails", id="c0"), new_code_cell("f(0)", id="c1", outputs=[traceback])]
    bad = pages.Run(folder / "02_bad.ipynb", new_notebook(cells=cells), 1.25, "ValueError: x < 1", "cell-c1")
    out = folder.parent / "report"
    out.mkdir()
    pages.write_pages(out, [good, bad], pages.facts(2))
    return out


def test_the_first_page_has_its_parts_in_order(made):
    """What moves, then findings, the numbered figures, claims, and only then the rest."""
    index = Page(made / "index.html")
    moving = ["animation-01.gif", "animation-01.png"]
    seen = ["tall.png", "the-map.2.png", "figure-04.png", "figure-10.png", "the-map.png", "the-map.2.png", "tall.png"]
    assert index.all("img", "src") == [f"figures/{name}" for name in (*moving, *seen)]
    assert all(index.all("img", "alt"))
    assert index.all("img", "alt")[4] == 'A "line" <script>'
    parts = ["findings", "figures", "figure-04", "figure-10", "claims", "notebooks", "further", "results", "about"]
    assert [name for name in index.ids if name in parts] == parts


def test_what_moves_is_a_file_that_ends_with_a_rest_and_has_a_still_picture(made):
    with (
        Image.open(made / "figures" / "animation-01.gif") as moving,
        Image.open(made / "figures" / "animation-01.png") as still,
    ):
        assert moving.n_frames == 2
        assert moving.info["loop"] == 0
        assert moving.info["duration"] == front.FRAME
        moving.seek(1)
        assert moving.info["duration"] == front.LAST
        assert moving.size == still.size
        difference = ImageChops.difference(moving.convert("RGB"), still.convert("RGB"))
        assert difference.getbbox() is None, "the still picture is the last one"


def test_a_finding_stands_beside_the_picture_that_it_names(made):
    index = Page(made / "index.html")
    source = (made / "index.html").read_text(encoding="utf-8")
    one, two, three = re.findall(r"<section.*?</section>", source, re.DOTALL)
    assert 'class="tall"' in one
    assert "<strong>1 %</strong> is little." in one
    assert 'href="01_good.html#tall"' in one
    assert "class=" not in two.partition(">")[0]
    assert "figures/the-map.2.png" in two, "the one of that name, not that of the same address"
    assert "2.5 × real is the blur & <b>." in index.text
    assert "<img" not in three
    assert 'href="01_good.html#finding-03"' in three
    page = Page(made / "01_good.html")
    assert "Finding 1. 1 % is little. (See “Tall”.)" in page.text
    assert page.ids.index("finding-02") < page.ids.index("finding-01"), "there it stands where it was found"


def test_the_notebooks_findings_have_pictures_and_their_claims_have_places():
    labels = [
        output.metadata["lab"]
        for path in sorted((PROJECT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if "lab" in output.get("metadata", {})
    ]
    figures = {label["name"] for label in labels if label["kind"] == "figure"}
    findings = [label for label in labels if label["kind"] == "finding"]
    assert len(findings) == 3
    assert {label["figure"] for label in findings} <= figures
    seen = {row["see"] for label in labels if label["kind"] == "claims" for row in label["rows"]}
    assert seen <= {label["name"] for label in labels}


def test_claims_are_a_list_with_links_and_what_unfolds(made):
    index = Page(made / "index.html")
    (claims,) = re.findall(r'<ul class="claims">.*?</ul>', (made / "index.html").read_text(encoding="utf-8"), re.DOTALL)
    assert claims.count("<li>") == claims.count("<details>") == 2
    assert "<p>First line.\nSecond line.</p>" in claims
    assert 'See <a href="01_good.html#figure-04">Figure 4</a>' in claims
    assert "See Nowhere<" in claims, "what is not in this report has no link"
    assert "Claim <one> true 2 < 3 <b> more First line. Second line. See Figure 4" in index.text
    assert "Claims . What is claimed." in index.text


def test_a_report_without_findings_claims_and_movement_has_no_empty_parts(tmp_path):
    pages.write_pages(tmp_path, [pages.Run(tmp_path / "01.ipynb", new_notebook())], {})
    index = Page(tmp_path / "index.html")
    assert index.ids == ["text", "notebooks", "about"]
    assert index.all("img", "src") == []


def test_index_holds_tables_status_and_facts(made):
    index = Page(made / "index.html")
    assert "Not in this run: Figure 1, Figure 2, Figure 3, Figure 5" in index.text
    assert "1.25" in index.text
    assert "Table 1. Distances." in index.text
    assert "Animation 1. Points fly." in index.text
    assert "1 of 2 notebooks failed. 02_bad : ValueError: x < 1" in index.text
    assert re.search(r"01_good How fast\? .* ok \d+\.\d", index.text)
    assert "02_bad Fails failed 1.2 Together" in index.text
    for fact in ("Versions Python 3", "torch 2", "Processor", "Threads 2 in each kernel", "Seed 0", "Commit"):
        assert fact in index.text


def test_a_failed_page_shows_the_traceback(made):
    page = Page(made / "02_bad.html")
    assert "This notebook failed. ValueError: x < 1 See the cell." in page.text
    assert page.text.count("ValueError : x < 1") == 1, "the traceback, in colour"
    assert "\x1b[" not in page.text


def test_links_lead_somewhere(made):
    pages = {path.name: Page(path) for path in made.glob("*.html")}
    for name, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), name
        for address in page.all("a", "href"):
            target, _, anchor = address.partition("#")
            assert not anchor or anchor in pages[target or name].ids, (name, address)
    assert "02_bad.html#cell-c1" in pages["01_good.html"].all("a", "href")
    assert "01_good.html#figure-04" in pages["index.html"].all("a", "href")
    for picture in pages["index.html"].all("img", "src"):
        assert (made / picture).read_bytes().startswith((b"\x89PNG", b"GIF89a"))


def test_page_shows_every_kind_of_output(made):
    path = made / "01_good.html"
    page, source = Page(path), path.read_text(encoding="utf-8")
    assert "z" * 300 in page.text
    assert page.text.count("In the notebook there are controls here.") == 1, "the slider, not the progress bar"
    assert "The model, live" not in page.text, "there is no such page"
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
        page = Page(made / name)
        assert "<script>alert(1)</script>" in page.text
        assert "The <map>." in page.text
        assert "alert(1)" not in "".join(re.findall(r"<script.*?</script>", (made / name).read_text(), re.DOTALL))


NOSY = """# Nosy

![beside](beside.png) ![outside](../secret.png) ![outside](/secret.png) <img src="../secret.png">
![outside](sub/../../secret.png) [a file](file:///etc/passwd) <img src="file:///etc/passwd">
"""
SLY = """from IPython.display import display
name = "../../sly"
label = {"kind": "figure", "name": name, "caption": "", "alt": ""}
display({"image/png": "iVBORw0KGgo="}, raw=True, metadata={"lab": label})
"""


def test_nothing_outside_the_notebooks_folder_is_read_and_nothing_outside_the_report_is_written(tmp_path):
    """A notebook that somebody sends may name any path; the report, which is handed on, must not hold that file."""
    notebooks, secret = tmp_path / "notebooks", DOT + b"secret"
    notebooks.mkdir()
    (tmp_path / "secret.png").write_bytes(secret)
    (notebooks / "beside.png").write_bytes(DOT)
    save(notebooks / "01_nosy.ipynb", NOSY, SLY)
    assert main(["--notebooks", str(notebooks), "--out", str(tmp_path / "out" / "report")]) == 0
    page = (tmp_path / "out" / "report" / "01_nosy.html").read_text(encoding="utf-8")
    assert base64.b64encode(DOT).decode() in page
    assert base64.b64encode(secret).decode() not in page
    assert "root:" not in page
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report"]
    assert [path.name for path in (tmp_path / "out" / "report" / "figures").iterdir()] == ["sly.png"]


def test_formulas_are_mathml(made):
    source = (made / "01_good.html").read_text(encoding="utf-8")
    assert source.count("<math") == 8
    for part in ("&#x1D4A9;", "&#x1D53C;", "&#x0223C;", "<msqrt>", "<munderover>", '<mover accent="true">', "<mtable"):
        assert part in source
    assert "<code>\\frac</code>" in source
    assert "\\begin" not in Page(made / "01_good.html").text


def test_nothing_is_fetched(made):
    for path in made.glob("*.html"):
        page, source = Page(path), path.read_text(encoding="utf-8")
        loads = [address for tag in ("img", "script", "iframe") for address in page.all(tag, "src")]
        loads += page.all("link", "href")
        assert not [address for address in loads if address.startswith(("http:", "https:", "//"))]
        assert not re.search(r"@import|url\(", source)
        assert "default-src 'none'" in source


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


def test_opens_in_a_browser_without_a_network(made, tmp_path, chromium):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    # An invalid JPEG and a 1x1 PNG serve the other tests; here every picture must be one.
    page = folder / "01_good.html"
    page.write_text(re.sub(r'<img src="data:image/jpeg[^>]*>', "", page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "probe.html").write_text(PROBE)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [chromium, *options, (folder / "probe.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    said = re.search(r'<pre id="said">(.*?)</pre>', shown)
    assert said, shown[-2000:]
    found = json.loads(urllib.parse.unquote(said[1]))
    index, page = found["index.html"], found["01_good.html"]
    assert (index["images"], index["broken"]) == (9, [])
    assert (page["images"], page["broken"]) == (8, [])
    assert index["width"] <= 390, "no page is wider than a phone"
    assert page["width"] <= 390
    assert min(page["roots"]) > 10, "square roots are drawn"
    assert page["turned"], "the player turns to the next frame"
    assert page["icon"] == "›"
    assert not [address for address in index["loaded"] + page["loaded"] if address.startswith("http")]


def test_facts_without_git_or_processor_name(monkeypatch):
    monkeypatch.setattr(pages, "version", lambda name: "1.0")
    monkeypatch.setattr(Path, "read_text", lambda *_: "nothing known")
    monkeypatch.setenv("PATH", "")
    about = pages.facts(3)
    assert about["Commit"] == "unknown"
    assert about["Threads"] == "3 in each kernel"
    assert about["Processor"]


def test_code_is_folded_and_there(made):
    source = (made / "01_good.html").read_text(encoding="utf-8")
    assert source.count('<details class="code">') == 2
    assert "<summary>Code</summary>" in source
    assert "show_figure" in Page(made / "01_good.html").text
    failed = (made / "02_bad.html").read_text(encoding="utf-8")
    assert '<details class="code" open>' in failed, "the cell that failed is not folded"


def test_a_solution_is_called_one(tmp_path):
    cells = [new_code_cell("1", id="c0", metadata={"tags": ["solution"]}), new_code_cell("2", id="c1")]
    pages.write_pages(tmp_path, [pages.Run(tmp_path / "01.ipynb", new_notebook(cells=cells))], {})
    source = (tmp_path / "01.html").read_text(encoding="utf-8")
    assert re.findall("<summary>(.*)</summary>", source) == ["A solution", "Code"]


def test_a_page_has_a_table_of_its_sections(tmp_path):
    text = "# One\n\n## First $x$\n\n## Second\n\n### Not this\n"
    cells = [new_markdown_cell(text, id="c0"), new_markdown_cell("## Third", id="c1")]
    pages.write_pages(tmp_path, [pages.Run(tmp_path / "01.ipynb", new_notebook(cells=cells))], {})
    source = (tmp_path / "01.html").read_text(encoding="utf-8")
    contents = re.search('<nav class="contents".*?</nav>', source, re.DOTALL)[0]
    assert re.findall('<a href="#([^"]+)">', contents) == re.findall('<h2 id="([^"]+)"', source)
    assert "Third" in contents
    assert "Not this" not in contents
    assert "<math" in contents


def test_texts_beside_the_notebooks_become_pages(made):
    glossary = Page(made / "glossary.html")
    assert "szum" in glossary.text
    assert "<b>" in glossary.text, "HTML in a text is text"
    assert "<math" in (made / "glossary.html").read_text(encoding="utf-8")
    assert "glossary.html" in Page(made / "01_good.html").all("a", "href")
    assert "glossary.html" in Page(made / "index.html").all("a", "href")


def test_all_pages_stand_in_one_to_print(made):
    whole = Page(made / "print.html")
    for name in ("index.html", "01_good.html", "02_bad.html"):
        part = Page(made / name)
        assert name in whole.ids
        assert {f"{name}--{anchor}" for anchor in part.ids if anchor != "text"} - {
            f"{name}--{anchor}" for anchor in part.ids if anchor.startswith("_")
        } <= {*whole.ids}
    assert "#01_good.html--figure-04" in whole.all("a", "href")
    assert "#02_bad.html" in whole.all("a", "href")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "01_good.html", "02_bad.html", "glossary.html", "print.html"])
def test_everybody_can_use_the_pages(made, browser, name, scheme):
    """By keyboard and with a screen reader: axe finds nothing serious."""
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(color_scheme=scheme)
    page.goto((made / name).as_uri())
    found = Axe().run(page).response["violations"]
    page.close()
    serious = {
        one["id"]: [node["html"] for node in one["nodes"]] for one in found if one["impact"] in ("serious", "critical")
    }
    assert serious == {}


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_its_window(made, browser, width):
    for path in sorted(made.glob("*.html")):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        page.close()


def test_what_is_folded_opens_by_keyboard(made, browser):
    page = browser.new_page()
    page.goto((made / "01_good.html").as_uri())
    code = page.locator("details.code").first
    assert not code.locator("pre").is_visible()
    code.locator("summary").focus()
    page.keyboard.press("Enter")
    assert code.locator("pre").is_visible()
    page.keyboard.press("Home")
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop leads past the links"
    page.close()


def visible(page):
    """Which of the two pictures one sees, as the end of its address."""
    return [picture.get_attribute("src")[-3:] for picture in page.locator(".moving img").all() if picture.is_visible()]


def test_who_wants_no_movement_sees_the_still_picture(made, browser):
    """By a box that is reached by keyboard, by the system's setting, or on paper."""
    page = browser.new_page()
    page.goto((made / "index.html").as_uri())
    assert visible(page) == ["gif"]
    page.get_by_label("Stop the movement").press("Space")
    assert visible(page) == ["png"]
    page.get_by_label("Stop the movement").press("Space")
    page.emulate_media(media="print")
    assert visible(page) == ["png"]
    page.emulate_media(media="screen", reduced_motion="reduce")
    assert visible(page) == ["png"]
    assert not page.get_by_label("Stop the movement").is_visible()
    page.close()


def test_on_paper_a_claim_has_all_that_was_measured(made, browser):
    page = browser.new_page()
    page.goto((made / "index.html").as_uri())
    more = page.get_by_text("Second line.")
    assert not more.is_visible()
    page.emulate_media(media="print")
    assert more.bounding_box()["height"] > 0
    page.close()
