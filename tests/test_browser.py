"""JupyterLab in a real browser: the notebooks run there, their sliders move the pictures, drawn points become data.

Of a notebook its last widget runs here, and the cells that it needs. The others keep the outputs that they are stored
with, which must show here without an error; that they come out of their cells, nbval sees.
"""

import os
import re
import shutil
import socket
import subprocess
import symtable
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from lab_utils.base.files import PROJECT, cache_folder

TOKEN = "of-this-test"
SHOTS = cache_folder() / "screenshots"  # to be looked at


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copies of the notebooks."""
    copies = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(PROJECT / "notebooks", copies, ignore=shutil.ignore_patterns(".*", "*.gif"))
    return copies


@pytest.fixture(scope="module")
def server(folder):
    """A JupyterLab of its own, on these copies: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser", f"--port={port}"]
    command += [
        f"--ServerApp.token={TOKEN}",
        "--ServerApp.port_retries=0",
        "--allow-root",
        f"--notebook-dir={folder}",
    ]
    own = folder.parent
    settings = {name: str(own / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    log = (own / "log").open("w")
    environment = {**os.environ, **settings, "DDPM_LAB_CACHE": str(cache_folder())}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (own / "log").read_text()
                assert time.monotonic() < deadline, (own / "log").read_text()
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def used(table):
    """The names that a cell takes from others, itself or in its functions, and those that it gives itself."""
    own = {name.get_name() for name in table.get_symbols() if name.is_global() or table.get_type() == "module"}
    return own.union(*(used(inner) for inner in table.get_children()))


def needed(cells, last):
    """The places of the code cell with `last` in it and of those before it that give what it uses, or one of them."""
    (end,) = [place for place, cell in enumerate(cells) if cell.cell_type == "code" and last in cell.source]
    wanted, found = set(), []
    for place in range(end, -1, -1):
        if cells[place].cell_type == "code":
            table = symtable.symtable(cells[place].source, "cell", "exec")
            given = {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}
            if place == end or given & wanted:
                found.append(place)
                wanted |= used(table)
    return found


def forget(path, last):
    """Take the outputs out of the cells that are needed for the one with `last` in it: they must be made here."""
    notebook = nbformat.read(path, as_version=4)
    places = needed(notebook.cells, last)
    for place in places:
        notebook.cells[place].update(outputs=[], execution_count=None)
    nbformat.write(notebook, path)
    return places


class Lab:
    """A notebook that is open in the browser."""

    def __init__(self, browser, address, name, places):
        self.places = places
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.name = name
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}/doc/tree/{name}?token={TOKEN}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_function(f"() => {KERNEL}?.status === 'idle' && {KERNEL}?.connectionStatus === 'connected'")
        self.page.wait_for_timeout(3000)

    def run(self, last, first="", seconds=900):
        """Run the needed cells from the one with `first` in it to the one with `last` in it, and wait for their end."""
        self.page.evaluate(
            f"""([first, last, places]) => {{
              const content = {NOTEBOOK}.content;
              const sources = [...content.model.cells].map(cell => cell.sharedModel.getSource());
              const [start, end] = [sources.findIndex(source => source.includes(first)),
                                    sources.findIndex(source => source.includes(last))];
              const run = async () => {{
                for (let index = start; index <= end; index++) {{
                  if (!places.includes(index)) continue;
                  content.activeCellIndex = index;
                  await window.jupyterapp.commands.execute('notebook:run-cell');
                }}
                return true;
              }};
              window.ended = run();
            }}""",
            [first, last, self.places],
        )
        self.page.wait_for_function(
            f"async () => await window.ended && {KERNEL}.status === 'idle'", timeout=1000 * seconds
        )
        self.page.wait_for_timeout(1000)

    def outputs(self):
        """Each output of the notebook, as it is in its model."""
        return self.page.evaluate(
            f"() => [...{NOTEBOOK}.content.model.cells].flatMap(cell => cell.outputs ? cell.outputs.toJSON() : [])"
        )

    def check(self):
        """No error, no warning, neither in an output nor above the notebook."""
        outputs = self.outputs()
        assert [output for output in outputs if output["output_type"] == "error"] == []
        streams = "".join(str(output.get("text", "")) for output in outputs if output.get("name") == "stderr")
        assert not re.search(r"warning|error|traceback", streams, re.IGNORECASE), streams
        assert self.page.locator(".jp-Dialog, .Toastify__toast--error, .Toastify__toast--warning").count() == 0
        assert self.page.locator("text=/Error displaying widget|Error creating widget|model not found/i").count() == 0
        assert self.errors == []

    def show(self, locator):
        locator.scroll_into_view_if_needed()
        self.page.wait_for_timeout(300)

    def shot(self, what):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{Path(self.name).stem[:2]} {what}.png")

    def slider(self, description):
        row = self.page.locator(".widget-slider", has_text=description)
        return row.locator(".noUi-handle")


NOTEBOOK = "window.jupyterapp.shell.currentWidget"
KERNEL = f"{NOTEBOOK}?.context?.sessionContext?.session?.kernel"


@pytest.fixture
def lab(browser, folder, server):
    opened = []

    def run(name, last):
        """The notebook, open; the cell with `last` in it has run, and those that it needs."""
        places = forget(folder / name, last)
        opened.append(Lab(browser, server, name, places))
        opened[-1].run(last)
        return opened[-1]

    yield run
    for one in opened:
        one.page.close()


def changed_by(lab, picture, action, seconds=10):
    """What the picture shows before the action, and another thing that it shows afterwards."""
    before = picture.get_attribute("src")
    action()
    deadline = time.monotonic() + seconds
    while picture.get_attribute("src") == before:
        assert time.monotonic() < deadline, "the picture stayed as it was"
        lab.page.wait_for_timeout(50)
    return before, picture.get_attribute("src")


def press(lab, handle, key="ArrowRight", times=1):
    handle.focus()
    for _ in range(times):
        lab.page.keyboard.press(key)


def pictures(lab, alt):
    return lab.page.locator(f'.jp-OutputArea img[alt*="{alt}"]')


def test_notebook_1_bends_the_schedule(lab):
    lab = lab("01_noise_schedules.ipynb", "schedule_explorer(")
    picture = pictures(lab, "ᾱ and the signal-to-noise ratio")
    lab.show(picture)
    lab.shot("before")
    for description in ("β, first step", "β, last step", "T"):
        changed_by(lab, picture, lambda name=description: press(lab, lab.slider(name).first, "ArrowLeft", 3))
    kind = lab.page.locator(".widget-dropdown select")
    changed_by(lab, picture, lambda: kind.select_option("sigmoid"))
    for description, key in (("sigmoid from", "ArrowRight"), ("sigmoid to", "ArrowLeft")):
        changed_by(lab, picture, lambda name=description, key=key: press(lab, lab.slider(name), key, 2))
    lab.shot("after")
    lab.check()


def test_notebook_4_lets_its_networks_sample(lab):
    lab = lab("04_sampling_and_comparison.ipynb", "LiveExplorer(")
    status = lab.page.get_by_role("status").filter(has_text="Noise")
    lab.show(lab.page.locator("canvas.live-map"))
    status.filter(has_text="steps").first.wait_for(timeout=120_000)
    lab.page.get_by_label("Model").select_option("2000 epochs")
    status.filter(has_text="after all").wait_for(timeout=120_000)
    lab.shot("live")
    lab.check()


LIVE = """from lab_utils.diffusion import DiffusionGenerator, sigmoid
from lab_utils.points import dataset
from lab_utils.widgets import LiveExplorer
LiveExplorer({"untrained": [DiffusionGenerator(schedule=sigmoid())]}, dataset("moons", train=500))"""


def test_networks_sample_in_the_notebook(lab, folder):
    """The explorer of the page `live.html`, by the same program."""
    cells = [nbformat.v4.new_code_cell(LIVE)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "90_live.ipynb")
    lab = lab("90_live.ipynb", "LiveExplorer(")
    status = lab.page.get_by_role("status").filter(has_text="Noise")
    lab.show(lab.page.locator("canvas.live-map"))
    status.filter(has_text="after all 20 steps").wait_for(timeout=60_000)
    press(lab, lab.page.get_by_role("slider", name="Steps done"), "ArrowLeft", 5)
    status.filter(has_text="after 15 of 20 steps").wait_for(timeout=10_000)
    lab.page.get_by_role("button", name="New noise").click()
    status.filter(has_text="Noise 2, after all").wait_for(timeout=60_000)
    lab.shot("live")
    (shown,) = [output for output in lab.outputs() if output["output_type"] == "execute_result"]
    assert "".join(shown["data"]["text/plain"]) == "LiveExplorer(untrained)"
    lab.check()


def test_notebook_8_slides_along_the_path(lab):
    lab = lab("08_flow_matching.ipynb", "PathExplorer(data")
    lab.show(lab.page.locator("canvas.live-map").first)
    status = lab.page.get_by_role("status").filter(has_text="ᾱ")
    status.filter(has_text="s = 0.50").wait_for(timeout=60_000)
    press(lab, lab.page.get_by_role("slider", name="Place s"), "ArrowLeft", 5)
    status.filter(has_text="s = 0.40").wait_for(timeout=10_000)
    lab.page.get_by_label("Follow pair").fill("17")
    status.filter(has_text="Pair 17 is at").wait_for(timeout=10_000)
    lab.shot("path")


def test_notebook_9_slides_the_guidance(lab):
    lab = lab("09_guidance.ipynb", "GuidanceExplorer(")
    status = lab.page.get_by_role("status").filter(has_text="energy distance")
    lab.show(lab.page.locator("canvas.live-law").first)
    status.filter(has_text="1000 points of Africa, w = 2.0, noise 1.").wait_for(timeout=120_000)
    press(lab, lab.page.get_by_role("slider", name="w", exact=True), "ArrowRight", 10)
    status.filter(has_text="1000 points of Africa, w = 3.0, noise 1.").wait_for(timeout=120_000)
    lab.page.get_by_label("Continent").select_option("Oceania")
    status.filter(has_text="1000 points of Oceania, w = 3.0, noise 1.").wait_for(timeout=120_000)
    lab.shot("guided")
    lab.check()


def test_notebook_7_draws_points_and_learns_them(lab):
    lab = lab("07_your_own_points.ipynb", "LiveTraining(network")
    page = lab.page
    lab.check()
    field = page.locator("svg.dd-scatter-svg")
    lab.show(field)
    box = field.bounding_box()
    for row in range(12):  # a dozen strokes
        y = box["y"] + box["height"] * (0.15 + 0.06 * row)
        page.mouse.move(box["x"] + box["width"] * 0.2, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=25)
        page.mouse.up()
    page.wait_for_timeout(500)
    lab.shot("drawn")
    assert field.locator("circle.drawn").count() > 200
    lab.run("LiveTraining(network", first="source = chosen_source()")
    said = "".join(str(output.get("text", "")) for output in lab.outputs())
    assert "20000 points from your drawing" in said
    start = page.locator("button[title=Start]")
    lab.show(start)
    start.click()
    page.wait_for_selector("text=/(training|done): epoch \\d+ of 250, loss/", timeout=60_000)
    live = pictures(lab, "Loss, excess and samples")
    changed_by(lab, live, lambda: None, seconds=60)
    page.locator("button[title=Stop]").click()
    page.wait_for_selector("text=/stopped: epoch \\d+ of 250/", timeout=30_000)
    lab.show(live)
    lab.shot("stopped")
    assert page.locator("button.widget-button", has_text="Go on").is_enabled()
    lab.check()
