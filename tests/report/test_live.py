"""The page on which the networks sample in the browser: it opens as a file, without a network, for everybody."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lab_utils.base.files import PROJECT
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, dpm_solver, sde_dpm_solver, usual
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.exact import GaussianMixture, Grid, gridded
from lab_utils.measure.mass import energy_distance
from lab_utils.measure.neighbours import blur, strays
from lab_utils.points.dataset import dataset
from lab_utils.report import live, pages, readings
from lab_utils.runs.fit import fit
from lab_utils.runs.kept import keep
from lab_utils.study import sampler_study, sweeps
from lab_utils.widgets import LiveExplorer
from lab_utils.widgets.live import ENGINE, EXPLORER, PARTS
from lab_utils.widgets.payload import POINTS, Choice, Live, Reading

MOST = 3_000_000  # bytes of the page
MEASURED = {"blur": "1.02 [0.98, 1.06]", "strays": "1.5", "energy distance": "1.3"}


def network(schedule, seed=0, **build):
    """A network that has learnt something, though not much: it pulls points inward."""
    made = DiffusionGenerator(schedule=schedule, seed=seed, **build)
    with torch.no_grad():
        made.leave.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(seed))
    return made.eval().requires_grad_(False)


def plain_laws(name, seed):
    """A wide Gaussian for each continent, in the place of kernel estimates."""
    data = dataset(name, label="continent", seed=seed)
    grid = Grid((-5.0, 5.0, -3.0, 3.0), (50, 30))
    mixtures = (GaussianMixture(data.given(label).train.mean(dim=0, keepdim=True), 0.1) for label in data.classes)
    laws = (gridded(mixture.log_prob, grid) for mixture in mixtures)
    return SimpleNamespace(parts=dict(zip(data.classes, laws, strict=True)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report with the page in it, with networks of the real ones' sizes, and no study."""
    out = tmp_path_factory.mktemp("report")
    wide = {"width": 128, "input_frequencies": 32, "max_frequency": 256.0, "fading": True}
    towns = dataset("cities")
    found = [
        live.Trained(f"original, {epoch} epochs", network(schedule, epoch), towns, {}, epoch)
        for epoch in live.EPOCHS
        for schedule in (sigmoid(), linear())
    ]
    found.append(live.Trained("better", network(sigmoid(), **wide), dataset("cities", seed=0), live.BETTER, 500))
    said = Reading(MEASURED, "five trainings.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "trained", lambda: (found, ["the <lost> one"]))
        patch.setattr(live, "_readings", lambda _: [(Choice("better", "sigmoid", "DDIM", 20), said)])
        patch.setattr(live, "kept_network", lambda name, fresh: fresh.eval())
        patch.setattr(live.guidance_truth, "laws", plain_laws)
        assert live.write_live(out)
    page = (out / "live.html").read_text(encoding="utf-8")
    assert page.count("const SECONDS = 30;") == 1
    patient = page.replace("const SECONDS = 30;", "const SECONDS = 600;")  # a busy machine trains slowly
    (out / "live.html").write_text(patient, encoding="utf-8")
    cells = [new_code_cell("explorer", id="c0", outputs=[new_output("display_data", {pages.WIDGET: {}})])]
    pages.write_pages(out, [pages.Run(out / "04_it.ipynb", new_notebook(cells=cells))], {})
    return out


class Shown:
    """The page in the browser."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors, self.asked = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(Path(path).as_uri())

    def says(self, text, seconds=60):
        status = self.page.locator("#live").get_by_role("status").filter(has_text=text)
        status.wait_for(timeout=1000 * seconds)
        return status.text_content()

    def picture(self):
        return self.page.locator("#live canvas").evaluate("(canvas) => canvas.toDataURL()")

    def close(self):
        self.context.close()


@pytest.fixture
def show(browser, folder):
    opened = []

    def open_page(**options):
        opened.append(Shown(browser, folder / "live.html", **options))
        return opened[-1]

    yield open_page
    for one in opened:
        assert one.errors == []
        one.close()


def test_the_page_opens_as_a_file_and_asks_nobody(folder, show):
    assert (folder / "live.html").stat().st_size < MOST
    shown = show(offline=True)
    assert "finished" in shown.says("after all 20 steps")
    assert [url.partition(":")[0] for url in shown.asked if not url.startswith(("data:", "blob:"))] == ["file"]
    assert shown.page.get_by_text("the <lost> one").count() == 1


def test_everything_can_be_done_by_keyboard(show):
    shown = show()
    page = shown.page
    shown.says("Noise 1, after all 20 steps")
    first = shown.picture()
    page.keyboard.press("Tab")
    for _ in range(3):  # past the link to the text and to the index, to the first button
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "New noise":
            break
    page.keyboard.press("Enter")
    shown.says("Noise 2 is on its way")
    shown.says("Noise 2, after all 20 steps")
    assert shown.picture() != first
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Play"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert "pure noise" in shown.says("before the first of 20 steps")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shown.says("after 2 of 20 steps")
    assert page.get_by_role("slider", name="Steps done").get_attribute("aria-valuetext") == "2 of 20 steps done"
    model = page.get_by_label("Model")
    model.focus()
    page.keyboard.press("ArrowUp")
    assert model.input_value() == "original, 2000 epochs"
    assert "Noise 2" in shown.says("after 2 of 20 steps"), "the same noise, at the same place"
    follow = page.get_by_label("Follow point")
    follow.fill("17")
    assert "Point 17 is at longitude" in shown.says("Point 17")
    before = shown.picture()
    page.get_by_label(re.compile(r"Show \d+ real points")).press("Space")
    assert shown.picture() != before


def test_play_stops_and_goes_on(show):
    shown = show()
    button = shown.page.get_by_role("button", name=re.compile("Play|Pause"))
    shown.says("after all 20 steps")
    button.click()
    button.filter(has_text="Pause").wait_for()
    shown.page.wait_for_timeout(700)
    button.click()
    text = shown.says(re.compile(r"after \d+ of 20 steps|before the first"))
    button.click()
    assert shown.says("after all 20 steps") != text


def test_a_click_follows_the_nearest_point(show):
    shown = show()
    shown.says("after all 20 steps")
    canvas = shown.page.locator("#live canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.4 * box["width"], "y": 0.5 * box["height"]})
    follow = shown.page.get_by_label("Follow point")
    assert follow.input_value() != "1"
    said = shown.says(f"Point {follow.input_value()} is at")
    x, y = (
        float(number.replace("−", "-")) for number in re.search(r"longitude (\S+)°, latitude (\S+)°", said).groups()
    )
    left, right, bottom, top = live.EXTENT
    assert abs(x - (left + 0.4 * (right - left))) < 40
    assert abs(y - (top + 0.5 * (bottom - top))) < 40


def test_numbers_stand_beside_what_is_chosen(show):
    shown = show()
    page = shown.page
    shown.says("after all 20 steps")
    table = page.locator("#live").get_by_role("table")
    assert page.get_by_text("Nothing was measured for this choice.").count() == 1
    page.get_by_label("Solver").select_option("DDIM")
    shown.says("after all 20 steps")
    rows = [row.locator("td").all_text_contents() for row in table.locator("tbody tr").all()]
    assert [row[1] for row in rows] == [*MEASURED.values()]
    real = [[float(end) for end in row[2].split(" to ")] for row in rows]
    assert all(low <= 1 <= high for low, high in real)
    assert all(float(row[0]) > 0 for row in rows)
    assert page.get_by_text("Measured: five trainings.").count() == 1


def test_the_page_reads_its_points_as_the_lab_does(browser, show):
    """The points on the map, asked for in the page, and measured in Python."""
    data = dataset("cities")
    payload = Live({"mine": [network(sigmoid())]}, data).payload()
    points = data.train[:POINTS] * 1.01
    page = browser.new_page()
    page.add_script_tag(content=ENGINE + PARTS + EXPLORER)
    ask = """([x, real]) => reading(Float32Array.from(x), { ...real, behind: engine().singles(real.points) })"""
    found = page.evaluate(ask, [points.flatten().tolist(), payload["real"]])
    page.close()
    behind, *others = live.Benchmark(data.held_out).real_sets()
    others = torch.cat(others)
    assert found["times"]["blur"] == pytest.approx(blur(points, behind) / blur(others, behind), rel=1e-3)
    assert found["stray"] == round(POINTS * strays(points, behind))
    assert found["times"]["strays"] == pytest.approx(strays(points, behind) / strays(others, behind), rel=1e-3)
    real = [energy_distance(part, behind) for part in others.split(POINTS) if len(part) == POINTS]
    expected = energy_distance(points, behind) / (sum(real) / len(real))
    assert found["times"]["energy distance"] == pytest.approx(expected, rel=1e-2)


def test_what_was_not_trained_cannot_be_chosen(show):
    shown = show()
    page = shown.page
    kind = page.get_by_label("Schedule")
    assert kind.locator("option").all_text_contents() == ["sigmoid", "linear (not trained)"]
    page.get_by_label("Model").select_option("original, 500 epochs")
    kind.select_option("linear")
    page.get_by_label("Model").select_option("better")
    assert kind.input_value() == "sigmoid"
    page.get_by_label("Solver").select_option("DDPM")
    assert page.get_by_role("combobox", name="Steps", exact=True).locator("option").all_text_contents() == ["1000"]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(show, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    shown = show(color_scheme=scheme, viewport={"width": width, "height": 850}, bypass_csp=True)
    shown.says("after all 20 steps")
    found = Axe().run(shown.page).response["violations"]
    print([(one["id"], [n["html"][:200] for n in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")])
    assert {one["id"] for one in found if one["impact"] in ("serious", "critical")} == set()
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert "A map of 2000 points" in shown.page.locator("#live").get_by_role("img").get_attribute("aria-label")


def test_who_wants_no_movement_sees_the_end_at_once(show):
    shown = show(reduced_motion="reduce")
    shown.says("Noise 1, after all 20 steps")
    began = time.monotonic()
    shown.page.get_by_role("button", name="New noise").click()
    shown.says("Noise 2, after all 20 steps")
    took = float(re.search(r"took (\S+) s", shown.page.get_by_text("Your browser took").text_content())[1])
    assert took < 30, "on a busy machine"
    assert time.monotonic() - began < took + 10


def test_it_goes_without_workers(folder, browser, tmp_path):
    """Where the browser forbids them the page works by itself."""
    page = tmp_path / "live.html"
    page.write_text((folder / "live.html").read_text(encoding="utf-8").replace("; worker-src blob:", ""))
    shown = Shown(browser, page)
    assert "finished" in shown.says("after all 20 steps")
    shown.close()


def test_the_first_page_and_the_notebooks_lead_there(folder):
    for name in ("index.html", "04_it.html"):
        assert 'href="live.html"' in (folder / name).read_text(encoding="utf-8"), name


def test_a_notebook_shows_the_same_explorer(browser, folder):
    """What JupyterLab is given, without JupyterLab: the module's `render` with a model that has the same payload."""
    data = dataset("moons", train=500)
    explorer = LiveExplorer({"mine": [network(sigmoid())]}, data)
    page = browser.new_page()
    page.set_content(f"<style>{LiveExplorer._css}</style><div id='cell'></div>")
    page.evaluate(
        """async ([module, payload]) => {
          const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
          const { default: widget } = await import(address);
          window.away = widget.render({ model: { get: () => payload }, el: document.getElementById("cell") });
        }""",
        [LiveExplorer._esm, explorer.payload],
    )
    page.get_by_role("status").filter(has_text="after all 20 steps").wait_for(timeout=60_000)
    assert not page.get_by_label("Model").is_visible(), "there is one only"
    assert page.get_by_role("columnheader").all_text_contents() == ["these points", "real points"], (
        "nothing was measured"
    )
    page.evaluate("window.away()")
    assert page.locator("#cell *").count() == 0
    page.close()


# --- ask for a continent


def test_who_asks_for_a_continent_sees_its_points_and_both_laws(show):
    shown = show(offline=True)
    guide = shown.page.locator("#guide")
    guide.scroll_into_view_if_needed()
    says = guide.get_by_role("status").filter(has_text="energy distance")
    says.filter(has_text="1000 points of Africa, w = 2.0").wait_for(timeout=120_000)
    guide.get_by_label("Continent").select_option("Oceania")
    guide.get_by_role("slider").press("Home")
    says.filter(has_text="1000 points of Oceania, w = 0.0").wait_for(timeout=120_000)
    assert guide.locator("canvas").count() == 2


def test_without_notebook_9_the_page_says_what_is_missing(tmp_path, monkeypatch):
    """Or with a network of another build under its name."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    assert live._guide() == ""
    keep("notebook 9", network(sigmoid()))
    assert live._guide() == ""
    towns = dataset("cities")
    found = [live.Trained("small", network(sigmoid()), towns, {}, 1)]
    monkeypatch.setattr(live, "trained", lambda: (found, []))
    monkeypatch.setattr(live, "_readings", lambda _: [])
    assert live.write_live(tmp_path)
    page = (tmp_path / "live.html").read_text(encoding="utf-8")
    assert "the network that knows continents" in page
    assert "Ask for a continent" not in page


def test_the_network_of_notebook_9_is_the_one_that_the_page_looks_for():
    cells = nbformat.read(PROJECT / "notebooks" / "09_guidance.ipynb", as_version=4).cells
    (source,) = [cell.source for cell in cells if 'keep("notebook 9"' in cell.source]
    names = {"build": None, "Recipe": lambda **_: None, "AFRICA": "", "given": lambda *_: None}
    asked = []
    names |= {
        "sigmoid": sigmoid,
        "towns": dataset("cities", label="continent"),
        "DiffusionGenerator": DiffusionGenerator,
    }
    names |= {
        "fit": lambda network, *_: SimpleNamespace(model=lambda: network),
        "keep": lambda *kept: asked.append(kept),
    }
    exec(source, names)
    ((name, made),) = asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "kept_network", lambda name, fresh: asked.append((name, fresh)))
        assert live._guide() == ""
    assert asked[1][0] == name
    assert asked[1][1].config == made.config


# --- draw your own


def drawn(shown, text, seconds=300):
    """What the field says, once it says this."""
    status = shown.page.locator("#draw").get_by_role("status").filter(has_text=text)
    status.wait_for(timeout=1000 * seconds)
    return status.text_content()


def learns(shown, seconds=300):
    """Wait until a training has got somewhere, stop it, and give its sentence with the numbers in it."""
    field = shown.page.locator("#draw")
    points, end = field.get_by_role("img", name=re.compile("points from the network")), time.monotonic() + seconds
    while time.monotonic() < end:
        found = re.search(r"fell from (\S+) to (\S+),.*Blur is", points.get_attribute("aria-label"))
        if found and float(found[2]) < float(found[1]):
            break
        shown.page.wait_for_timeout(200)
    field.get_by_role("button", name="Stop").press("Enter")
    said = drawn(shown, "The training stands still. After")
    steps, before, after = re.search(r"After (\d+) steps the excess fell from (\S+) to (\S+),", said).groups()
    assert int(steps) > 0
    assert float(after) < float(before)
    return said


def test_who_draws_sees_the_excess_fall(show):
    shown = show(offline=True)
    page, field = shown.page, shown.page.locator("#draw")
    train = field.get_by_role("button", name="Train")
    assert train.is_disabled()
    canvas = field.get_by_role("img", name="The field to draw in")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for height in (0.3, 0.7):
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + height * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + height * box["height"], steps=5)
        page.mouse.up()
    drawn(shown, "2 lines are drawn")
    train.click()
    said = learns(shown)
    cells = [row.locator("td").all_text_contents() for row in field.locator("tbody tr").all()]
    assert cells[0][0] in said
    assert cells[0][1] == "best denoiser: 0"
    for mine, real in cells[1:]:
        assert float(mine.removesuffix(" × real")) > 0
        low, high = map(float, real.removeprefix("real points: ").split(" to "))
        assert low <= 1 <= high
    steps = int(re.search(r"After (\d+) steps", said)[1])
    field.get_by_role("button", name="Go on").click()
    drawn(shown, "The network trains")
    assert int(re.search(r"After (\d+) steps", learns(shown))[1]) > steps
    field.get_by_role("button", name="Clear").click()
    drawn(shown, "Draw in the field")
    assert train.is_disabled()


def test_one_can_draw_by_keyboard(show):
    shown = show()
    field = shown.page.locator("#draw")
    ready = field.get_by_label("Ready drawing")
    ready.focus()
    ready.press("ArrowDown")
    drawn(shown, "1 line is drawn")
    field.get_by_role("button", name="Train").press("Enter")
    learns(shown)
    field.get_by_role("button", name="Start anew").press("Enter")
    drawn(shown, "The network trains")
    learns(shown)


def test_a_drawing_is_learnt_without_workers(folder, browser, tmp_path):
    page = tmp_path / "live.html"
    page.write_text((folder / "live.html").read_text(encoding="utf-8").replace("; worker-src blob:", ""))
    shown = Shown(browser, page)
    shown.page.get_by_label("Ready drawing").select_option("the letter A")
    shown.page.get_by_role("button", name="Train").click()
    learns(shown)
    shown.close()


# --- which networks, and what was measured of them


def test_without_any_network_there_is_no_page(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    found, missing = live.trained()
    assert found == []
    assert len(missing) == 9
    assert not live.write_live(tmp_path)
    assert not (tmp_path / "live.html").exists()


def test_a_network_that_a_notebook_trained_is_found_with_its_weights_rounded(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(live, "EPOCHS", (1, 2))
    recipe = Recipe(epochs=2, checkpoints=(1, 2))
    job_of = live.job_of
    monkeypatch.setattr(live, "job_of", lambda network, data, _=None: job_of(network, data, recipe))
    run = fit(DiffusionGenerator(schedule=linear()), dataset("cities"), recipe, progress=False)
    found, missing = live.trained()
    assert [(one.name, one.network.schedule.name, one.epoch) for one in found] == [
        ("original, 1 epochs", "linear", 1),
        ("original, 2 epochs", "linear", 2),
    ]
    assert missing == ["original, 1 epochs, sigmoid", "original, 2 epochs, sigmoid", "better recipe, 500 epochs"]
    assert torch.equal(found[1].network.leave.weight, run.model(2).leave.weight.half().float())


def test_no_network_is_held_against_its_own_points():
    one, other = dataset("cities"), dataset("cities", seed=0)
    left = live._unseen(one, [one, other])
    assert {*map(tuple, left.held_out.tolist())}.isdisjoint(map(tuple, other.train.tolist()))
    assert 20_000 < len(left.held_out) < len(one.held_out)


def study_rows(**changed):
    rows = [
        {"data": "cities", **sweeps.BASE, "seed": seed, "epoch": epoch, "blur": 1.0 + seed, "strays": 2.0, **changed}
        for seed in (0, 1, 2)
        for epoch in (200, 2000)
    ]
    return pd.DataFrame(rows).assign(**{"energy distance": 3.0})


def sampler_rows(denoiser):
    row = {"data": "cities", "denoiser": denoiser, "sampler": "DPM-Solver++(2M)", "steps": 20}
    rows = [{**row, "seed": seed, "blur": 5.0, "strays": 1.0, "energy distance": 4.0 + seed} for seed in (0, 1, 2)]
    return pd.DataFrame(rows)


def test_the_tables_say_what_they_say_and_nothing_else():
    schedule = sigmoid()
    study, samplers = study_rows(), sampler_rows("original")
    asked = {"study": study, "samplers": samplers, "change": {}}
    few = readings.from_tables(**asked, epoch=2000, solver="DPM-Solver++(2M)", sampler=dpm_solver(schedule, 20))
    assert few.numbers["energy distance"].startswith("5 [")
    assert "3 trainings" in few.source
    assert "samplers.csv" in few.source
    many = readings.from_tables(**asked, epoch=200, solver="SDE-DPM-Solver++(2M)", sampler=usual(schedule))
    assert many.numbers["blur"].startswith("2 [")
    assert "study.csv" in many.source
    for epoch, solver, sampler in (
        (200, "DPM-Solver++(2M)", dpm_solver(schedule, 20)),  # the second table has the end of the training only
        (2000, "DPM-Solver++(2M)", dpm_solver(schedule, 10)),
        (2000, "SDE-DPM-Solver++(2M)", sde_dpm_solver(schedule, 20)),
        (2000, "DDPM", ancestral(schedule)),
        (500, "SDE-DPM-Solver++(2M)", usual(schedule)),
    ):
        assert readings.from_tables(**asked, epoch=epoch, solver=solver, sampler=sampler) is None
    linearly = {**asked, "change": {"schedule": "linear"}}
    short = dpm_solver(linear(), 20)
    assert readings.from_tables(**linearly, epoch=2000, solver="DPM-Solver++(2M)", sampler=short) is None
    better = {**asked, "change": live.BETTER, "samplers": sampler_rows("better")}
    assert readings.from_tables(**better, epoch=500, solver="DPM-Solver++(2M)", sampler=short) is not None
    for table in (study_rows(strays=float("nan")), study_rows().drop(columns="strays"), pd.DataFrame()):
        told = {**asked, "study": table, "samplers": table}
        assert readings.from_tables(**told, epoch=2000, solver="SDE-DPM-Solver++(2M)", sampler=usual(schedule)) is None


def test_the_tables_that_are_there_can_be_asked():
    """Whatever the study has measured so far, it is an answer or none."""
    study, samplers = live._table(sweeps.TABLE), live._table(sampler_study.TABLE)
    assert len(study)
    assert len(samplers)
    for change, epoch in (({}, 2000), ({"schedule": "linear"}, 200), (live.BETTER, 500)):
        found = readings.from_tables(study, samplers, change, epoch, "SDE-DPM-Solver++(2M)", usual(sigmoid()))
        assert found is None or {*found.numbers} == {*MEASURED}


def test_what_the_tables_lack_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    data = dataset("moons", train=500)
    benchmark = live.Benchmark(data.held_out)
    model, sampler = network(sigmoid()), dpm_solver(sigmoid(), 2)
    found = readings.measured(model, data, benchmark, sampler)
    assert {*found.numbers} == {*MEASURED}
    assert "one sample of 5000 points" in found.source
    monkeypatch.setattr(readings, "sample", None)
    assert readings.measured(model, data, benchmark, sampler) == found
    with pytest.raises(TypeError):
        readings.measured(model, data, benchmark, dpm_solver(sigmoid(), 3))


def test_of_a_network_that_learnt_other_towns_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "measured", lambda *_: Reading(MEASURED, "One sample."))
    monkeypatch.setattr(live, "SOLVERS", {"DDIM": live.SOLVERS["DDIM"]})
    course, other = dataset("cities"), dataset("cities", seed=0)
    networks = [live.Trained(name, network(sigmoid()), data, {}, 1) for name, data in (("a", course), ("b", other))]
    said = {choice.model: reading.source for choice, reading in live._readings(networks)}
    assert said == {"a": "One sample.", "b": f"One sample. {live.ELSEWHERE}"}


def test_an_explorer_has_room_for_data_of_any_size():
    data = dataset("moons", train=500)
    payload = Live({"mine": [network(sigmoid())]}, data).payload()
    left, right, bottom, top = payload["extent"]
    points = data.units.restore(data.held_out)
    assert left < points[:, 0].min() < points[:, 0].max() < right
    assert bottom < points[:, 1].min() < points[:, 1].max() < top
