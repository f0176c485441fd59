"""Two languages of one path: what the page draws and says is what the lab works out, by slider, keyboard and click."""

import base64
import re

import numpy as np
import pytest
import torch

from lab_utils.diffusion import from_epsilon, places
from lab_utils.diffusion.schedules import flow
from lab_utils.exact import BestDenoiser, GaussianMixture, exact_squares
from lab_utils.points import dataset
from lab_utils.widgets import PathExplorer, paths
from lab_utils.widgets.live import ENGINE, PARTS

BOARD = dataset("checkerboard")
TRUTH = exact_squares(BOARD)
SEES = "Place s on the straight path, from the data to the noise"


class Shown:
    """What JupyterLab is given, without JupyterLab: the module's `render`, with two maps of 400 pixels."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(viewport={"width": 850, "height": 700}, **options)
        self.page = self.context.new_page()
        explorer = PathExplorer(BOARD.train, TRUTH)
        assert repr(explorer) == "PathExplorer()"
        self.page.set_content(f"<style>{PathExplorer._css}</style><main id='cell'></main>")
        self.page.evaluate(
            """async ([module, payload]) => {
              const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
              const { default: widget } = await import(address);
              window.away = widget.render({ model: { get: () => payload }, el: document.getElementById("cell") });
            }""",
            [PathExplorer._esm, explorer.payload],
        )
        self.slider = self.page.get_by_role("slider", name=SEES)

    def says(self, text):
        status = self.page.get_by_role("status").filter(has_text=text)
        status.wait_for(timeout=30_000)
        return status.text_content().replace("−", "-")

    def pictures(self):
        return [
            canvas.evaluate("(canvas) => canvas.toDataURL()") for canvas in self.page.locator("canvas.live-map").all()
        ]


@pytest.fixture
def show(browser):
    opened = []

    def open_page(**options):
        opened.append(Shown(browser, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()


# --- what the browser gets


def numbers(text, dtype):
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype).astype(np.float64))


@pytest.mark.parametrize(
    "truth", [TRUTH, BOARD.train, GaussianMixture(torch.zeros(1, 2), 1.0)], ids=lambda t: type(t).__name__
)
def test_the_guesses_are_those_of_the_velocity(truth):
    """z − s u, from the velocity at the nodes of the grid, whatever the truth is."""
    sent, schedule = paths.paths_payload(BOARD.train, truth), flow(paths.STEPS)
    assert sent["places"][0] == 0
    assert sent["places"][1:] == places(schedule).tolist()
    assert len(numbers(sent["points"], "<f4")) == 2 * paths.SHOWN
    grid = torch.tensor(sent["grid"], dtype=torch.float64)
    z, exact = torch.cartesian_prod(grid, grid), BestDenoiser(truth, schedule)
    found = numbers(sent["guesses"], "<f2").reshape(paths.STEPS, len(z), 2)
    for t in (0, 20, paths.STEPS - 1):
        kept, s = schedule.alphas_cumprod[[t]], places(schedule)[t]
        x_t = (kept.sqrt() + (1 - kept).sqrt()) * z
        u = from_epsilon("velocity", exact.epsilon(x_t, torch.tensor(t)), x_t, kept)
        torch.testing.assert_close(found[t], z - s * u, rtol=1e-3, atol=1e-3)


def test_points_that_are_none_are_refused():
    with pytest.raises(ValueError, match="explorer's points: none given"):
        paths.paths_payload(torch.zeros(0, 2), TRUTH)


def test_both_languages_are_of_the_same_points(browser):
    page = browser.new_page()
    page.add_script_tag(content=ENGINE + PARTS + paths.PATHS)
    schedule = flow(1000)
    for t in (0, 300, 999):
        s, kept = float(places(schedule)[t]), float(schedule.alphas_cumprod[t])
        found = page.evaluate("(s) => scalesAt(s)", s)
        assert found["left"] == pytest.approx([kept**0.5, (1 - kept) ** 0.5])
        assert found["right"] == pytest.approx([1 - s, s])
        assert found["ratio"] == pytest.approx(kept**0.5 + (1 - kept) ** 0.5)
    page.close()


# --- what one sees and hears


def test_the_slider_goes_from_the_data_to_the_noise_by_keyboard(show):
    shown = show()
    assert shown.says("s = 0.50").startswith("s = 0.50, ᾱ = 0.5. Left, x_t is 0.707 x + 0.707 ε")
    middle = shown.pictures()
    shown.slider.focus()
    shown.page.keyboard.press("ArrowRight")
    shown.says("s = 0.52")
    assert shown.slider.get_attribute("aria-valuetext") == "s = 0.52"
    assert all(now != then for now, then in zip(shown.pictures(), middle, strict=True))
    shown.page.keyboard.press("Home")
    said = shown.says("s = 0.00, ᾱ = 1. Left, x_t is 1 x + 0 ε")
    left, right = re.search(r"Pair 1 is at (\(.+?\)) on the left and at (\(.+?\)) on the right", said).groups()
    x, y = (float(f"{number:.3g}") for number in BOARD.train[0].tolist())
    assert left == right == f"({x:g}, {y:g})"
    shown.page.get_by_label("Follow pair").fill("")
    shown.says(re.compile(r"the one on the right\.$"))
    same = shown.pictures()
    assert same[0] == same[1], "without noise the two languages say the same"
    shown.slider.press("End")
    assert "each point on the left is 1.01 times" in shown.says("s = 0.99").lower()


def test_the_variances_are_those_of_theory(show):
    shown = show()
    for key, s in (("ArrowLeft", 0.48), ("PageUp", None), ("End", 0.99)):
        shown.slider.press(key)
        said = shown.says(f"s = {s:.2f}" if s else "s = 0.")
        found = re.search(r"cloud is (\S+), by theory (\S+)\. Right, .* variance is (\S+), by theory (\S+)\. ", said)
        left, one, right, theory = map(float, found.groups())
        assert one == 1
        assert left == pytest.approx(one, rel=0.06)  # of 1500 points
        assert right == pytest.approx(theory, rel=0.06)
        if s:
            assert theory == pytest.approx((1 - s) ** 2 + s**2, rel=0.01)


def test_a_pair_is_followed_by_number_and_by_click_and_its_two_places_differ_by_the_factor(show):
    shown = show()
    follow = shown.page.get_by_label("Follow pair")
    before = shown.pictures()
    follow.fill("17")
    said = shown.says("Pair 17 is at")
    assert shown.pictures() != before
    places_ = [[float(one) for one in spot.split(", ")] for spot in re.findall(r"at \((.+?)\)", said)]
    factor = float(re.search(r"is (\S+) times the one on the right", said)[1])
    assert places_[0] == pytest.approx([factor * one for one in places_[1]], rel=0.02, abs=0.02)
    canvas = shown.page.get_by_role("img", name="Flow matching")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.6 * box["width"], "y": 0.4 * box["height"]})
    said = shown.says(re.compile(r"Pair (?!17 )\d+ is"))
    right = [float(one) for one in re.findall(r"at \((.+?)\)", said)[1].split(", ")]
    assert right == pytest.approx([0.2 * 3.4, 0.2 * 3.4], abs=0.15)
    follow.fill("")
    assert "Pair" not in shown.says(re.compile(r"the one on the right\.$"))


def test_arrows_can_be_left_out_and_noise_drawn_again(show):
    shown = show()
    shown.says("s = 0.50")
    name = "Diffusion, 1500 points: x_t is 0.707 x + 0.707 ε"
    assert "Arrows lead towards" in shown.page.get_by_role("img", name=name).get_attribute("aria-label")
    first = shown.pictures()
    shown.page.get_by_label("Exact arrows").press("Space")
    shown.page.wait_for_timeout(300)
    assert shown.pictures() != first
    assert "Arrows" not in shown.page.get_by_role("img", name=name).get_attribute("aria-label")
    shown.page.get_by_label("Exact arrows").press("Space")
    shown.page.wait_for_timeout(300)
    assert shown.pictures() == first
    shown.page.get_by_role("button", name="Other noise").click()
    shown.page.wait_for_timeout(300)
    assert shown.pictures() != first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it_and_it_goes_away_whole(show, scheme):
    from axe_playwright_python.sync_playwright import Axe

    shown = show(color_scheme=scheme)
    shown.says("s = 0.50")
    found = Axe().run(shown.page).response["violations"]
    assert {one["id"] for one in found if one["impact"] in ("serious", "critical")} <= {
        "document-title",
        "html-has-lang",
    }
    shown.page.evaluate("window.away()")
    assert shown.page.locator("#cell *").count() == 0
