"""The guidance explorer: its laws, its points and its numbers are Python's, and everybody can use it."""

import json
import re
from dataclasses import replace

import pytest
import torch
from test_live_engine import way_in_python

from lab_utils.diffusion import DiffusionGenerator, Recipe, Trainer, given, guided, sigmoid
from lab_utils.exact import GaussianMixture, Grid, gridded, histogram, jensen_shannon, mixed, powered, real_reads
from lab_utils.measure.mass import energy_distance
from lab_utils.points import Dataset, dataset
from lab_utils.widgets import GuidanceExplorer, payload
from lab_utils.widgets.guidance import GUIDANCE, POINTS, WAYS, guidance_payload, guidance_script
from lab_utils.widgets.live import ENGINE, PARTS

CENTRES = {"left": (-1.2, 0.0), "right": (1.2, 0.0), "upper": (0.0, 1.0)}  # of classes that overlap
SHARES = (0.5, 0.3, 0.2)
STD, N = 0.5, 3000


def classed():
    """Points of three classes, of which there are not equally many."""
    counts = [round(share * N) for share in SHARES]
    drawn = [
        GaussianMixture(torch.tensor([centre]), STD**2).sample(count, seed)
        for seed, (centre, count) in enumerate(zip(CENTRES.values(), counts, strict=True))
    ]
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    return Dataset.of(torch.cat(drawn), "three", train=N // 2, labels=labels, classes=(*CENTRES,))


DATA = classed()
GRID = Grid.around(torch.cat([DATA.train, DATA.held_out]), 0.1, margin=1.0)


def law(centre):
    means = (torch.tensor([centre], dtype=torch.float64) - DATA.units.shift) / DATA.units.scale
    return gridded(GaussianMixture(means, (STD / DATA.units.scale) ** 2).log_prob, GRID)


LAWS = {label: law(centre) for label, centre in CENTRES.items()}
COUNTED = (DATA.train_labels.bincount() / len(DATA.train)).tolist()
WHOLE = mixed([*LAWS.values()], COUNTED)


@pytest.fixture(scope="module")
def network():
    """A small network that has learnt a little, as a browser has it."""
    model = DiffusionGenerator(schedule=sigmoid(), width=24, classes=DATA.classes)
    trainer = Trainer(model, DATA.train, Recipe(epochs=40, batch_size=250), labels=DATA.train_labels)
    for _ in trainer:
        pass
    return payload.rounded(trainer.averaged)


@pytest.fixture(scope="module")
def told(network):
    return guidance_payload(network, DATA, LAWS, kind="side", labels=("east / km", "north / km"))


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=f"{ENGINE}\n{PARTS}\n{GUIDANCE}")
    yield page
    page.close()


# --- the laws


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", DATA.classes)
def test_the_page_powers_the_laws_as_the_lab_does(page, told, label, weight):
    ask = """([payload, c, w]) => {
      const laws = lawsOn(payload, engine());
      return [[...laws.part(c)], [...laws.powered(c, w)]];
    }"""
    part, law = page.evaluate(ask, [told, DATA.classes.index(label), weight])
    for found, expected in ((part, LAWS[label]), (law, powered(WHOLE, LAWS[label], weight))):
        mass = expected.mass.flatten()
        assert (torch.tensor(found, dtype=torch.float64) - mass).abs().max() < 0.02 * mass.max()  # half precision
        assert sum(found) == pytest.approx(1, abs=1e-9)


def test_of_which_class_a_point_is_says_the_likeliest(page, told):
    x = 2 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))  # some lie outside of the grid
    joint = [
        law.log_mass.flatten() + torch.tensor(share).log() for law, share in zip(LAWS.values(), COUNTED, strict=True)
    ]
    likeliest = torch.stack(joint).argmax(dim=0)
    ask = """([payload, x, c]) => {
      const laws = lawsOn(payload, engine());
      return [laws.share(Float32Array.from(x), c), laws.shareOf(laws.part(c), c)];
    }"""
    for number, law in enumerate(LAWS.values()):
        points, mass = page.evaluate(ask, [told, x.flatten().tolist(), number])
        assert points == pytest.approx(float((likeliest[GRID.places(x)] == number).double().mean()), abs=2e-3)
        assert mass == pytest.approx(float(law.mass.flatten()[likeliest == number].sum()), abs=2e-3)


def test_draws_of_a_law_are_of_that_law(page, told):
    ask = """([payload, n]) => {
      const laws = lawsOn(payload, engine());
      return [...laws.draw(laws.powered(0, 3), n, engine().random(1, 0))];
    }"""
    n = 20_000
    points = torch.tensor(page.evaluate(ask, [told, n])).reshape(-1, 2)
    expected = powered(WHOLE, LAWS["left"], 3.0)
    assert jensen_shannon(histogram(points, GRID), expected) < 1.3 * real_reads(jensen_shannon, expected, n, draws=5)
    within = (points[:, 0].double() - GRID.extent[0]) / GRID.sides[0] % 1
    assert within.histc(10, 0, 1).min() > 0.08 * n, "anywhere in a cell"


def test_the_energy_distance_is_the_lab_s_over_what_draws_read_on_average(page):
    """1 on average for draws of the law itself, however many there are of both kinds."""
    law = GaussianMixture(torch.tensor([[0.0, 0.0]]), 1.0)
    ask = "([x, y]) => timesRead(Float32Array.from(x), Float32Array.from(y))"

    def times(x, y):
        return page.evaluate(ask, [x.float().flatten().tolist(), y.float().flatten().tolist()])

    x, y = law.sample(200, 1) + 0.3, law.sample(500, 2)
    apart = torch.cdist(y, y).sum() / (500 * 499)
    assert times(x, y) == pytest.approx(energy_distance(x, y) / float(apart * (1 / 200 + 1 / 500)), rel=1e-3)
    own = [times(law.sample(100, seed), law.sample(300, 1000 + seed)) for seed in range(200)]
    assert sum(own) / len(own) == pytest.approx(1, abs=0.12)


# --- the explorer, in a notebook


class Shown:
    """The explorer as JupyterLab shows it, without JupyterLab: the module's `render`."""

    def __init__(self, browser, explorer, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_content(
            f"<!doctype html><html lang=en><title>it</title><style>{explorer._css}</style><main id=cell></main>"
        )
        self.page.evaluate(
            """async ([module, payload]) => {
              const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
              const { default: widget } = await import(address);
              window.away = widget.render({ model: { get: () => payload }, el: document.getElementById("cell") });
            }""",
            [explorer._esm, explorer.payload],
        )

    def says(self, text):
        status = self.page.get_by_role("status").filter(has_text=text)
        status.filter(has_text="energy distance").wait_for(timeout=120_000)
        return status.text_content()

    def pictures(self):
        return [canvas.evaluate("(canvas) => canvas.toDataURL()") for canvas in self.page.locator("canvas").all()]


@pytest.fixture
def show(browser, network):
    explorer = GuidanceExplorer(network, DATA, LAWS, kind="side", labels=("east / km", "north / km"))
    assert repr(explorer) == "GuidanceExplorer(left, right, upper)"
    opened = []

    def open_page(**options):
        opened.append(Shown(browser, explorer, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        assert one.errors == []
        one.context.close()


def numbers(said):
    """(share in the class, × p(x|c), × the powered law) of a sentence."""
    share, part, law = re.search(r"noise \d+\. (\S+) % of.* is (\S+) times.*powered law (\S+) times", said).groups()
    return float(share) / 100, float(part), float(law)


@pytest.mark.parametrize("way", WAYS)
def test_its_points_and_its_numbers_are_python_s(page, show, network, told, way):
    """The noise comes from the page, and all else is worked out again in Python."""
    shown = show()
    shown.says("w = 2.0")
    shown.page.get_by_role("combobox", name="Side").select_option("right")
    shown.page.get_by_label("Noise in the steps").select_option(label=way)
    shown.page.get_by_role("slider").fill("3")
    share, part, law = numbers(shown.says("1000 points of right, w = 3.0, noise 1."))
    make, steps = WAYS[way]
    sampler = make(network.schedule, steps)
    ask = """([n, draws]) => {
      const kit = engine();
      const blocks = kit.blocksOf(n).map(([number, size]) => ({ fill: kit.normals(1, number), size }));
      return Array.from({ length: draws }, () =>
        blocks.flatMap(({ fill, size }) => [...fill(new Float32Array(2 * size))]));
    }"""
    stochastic = sampler.coefficients[:, 2] != 0
    drawn = torch.tensor(page.evaluate(ask, [POINTS, 1 + int(stochastic.sum())])).reshape(-1, POINTS, 2)
    noise = torch.zeros(1 + steps, POINTS, 2)
    noise[0], noise[1:][stochastic] = drawn[0], drawn[1:]
    x = way_in_python(guided(given(network, "right"), network, 3.0), sampler, noise)
    likeliest = torch.stack(
        [law.log_mass.flatten() + torch.tensor(one).log() for law, one in zip(LAWS.values(), COUNTED, strict=True)]
    ).argmax(dim=0)
    assert share == pytest.approx(float((likeliest[GRID.places(x)] == 1).double().mean()), abs=3e-3)
    for read, which in ((part, LAWS["right"]), (law, powered(WHOLE, LAWS["right"], 3.0))):
        y = which.sample(POINTS, 1)  # other draws than the page's
        apart = float(torch.cdist(y, y).sum()) / (len(y) * (len(y) - 1))
        expected = energy_distance(x, y.float()) / (apart * (1 / POINTS + 1 / len(y)))
        assert read == pytest.approx(expected, rel=0.2, abs=1)


def test_at_w_1_both_laws_are_one_and_at_w_0_the_points_are_of_all_classes(show):
    shown = show()
    shown.page.get_by_role("slider").fill("1")
    one, part, law = numbers(shown.says("w = 1.0"))
    assert part == law
    shown.page.get_by_role("slider").fill("0")
    all_classes, part, law = numbers(shown.says("w = 0.0"))
    assert all_classes < one
    assert part > 5 * law


def test_everything_can_be_done_by_keyboard(show):
    shown = show()
    page = shown.page
    first = shown.says("1000 points of left, w = 2.0, noise 1.")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    shown.says("1000 points of right, w = 2.0, noise 1.")
    before = shown.pictures()
    page.keyboard.press("ArrowUp")
    assert shown.says("1000 points of left, w = 2.0, noise 1.") == first, "the same noise, the same points"
    assert all(one != other for one, other in zip(shown.pictures(), before, strict=True))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown.says("noise 2.")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    shown.says("w = 2.1, noise 2.")
    assert page.get_by_role("slider", name="w").get_attribute("aria-valuetext") == "2.1"
    before = shown.pictures()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.get_by_label("Show the whole map").is_checked()
    assert shown.pictures() != before


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(show, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    shown = show(color_scheme=scheme, viewport={"width": width, "height": 850}, bypass_csp=True)
    said = shown.says("w = 2.0")
    found = Axe().run(shown.page).response["violations"]
    colours = {"color-contrast"} if scheme == "dark" else set()  # here the page's own colours are missing
    assert {one["id"] for one in found if one["impact"] in ("serious", "critical")} - colours == set()
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    names = [picture.get_attribute("aria-label") for picture in shown.page.get_by_role("img").all()]
    assert ["p(x | left)" in name and said in name for name in names] == [True, True]
    assert ["normalised" in name for name in names] == [False, True]


def test_the_words_beside_the_picture_say_what_chance_does(show):
    shown = show()
    shown.says("w = 2.0")
    note = shown.page.get_by_text("Draws of p(x | c) read 1 on average").text_content()
    low, high = map(float, re.search(r"read (\S+) to (\S+)\.$", note).groups())
    assert 0.2 < low < 1 < high < 4
    rows = [row.locator("td").all_text_contents() for row in shown.page.locator("tbody tr").all()]
    assert [len(row) for row in rows] == [3, 3]


def test_points_that_the_maps_do_not_show_are_counted(show, told):
    shown = show()
    shown.page.get_by_role("combobox", name="Side").select_option("upper")
    shown.page.get_by_role("slider").fill("0")
    said = shown.says("1000 points of upper, w = 0.0")
    assert 0 < int(re.search(r"(\d+) of them lie outside of these maps\.$", said)[1]) < POINTS
    shown.page.get_by_label("Show the whole map").check()
    whole = shown.says("1000 points of upper, w = 0.0")
    assert "outside" not in whole or int(re.search(r"(\d+) of them lie", whole)[1]) < 20
    assert numbers(whole) == numbers(said)


def test_it_goes_away_and_leaves_nothing(show):
    shown = show()
    shown.says("w = 2.0")
    shown.page.evaluate("window.away()")
    assert shown.page.locator("#cell *").count() == 0


# --- what it is made of


def test_a_page_gets_the_same_program_and_no_name_ends_it(told):
    text = guidance_script({**told, "classes": ["</script>"]})
    assert GUIDANCE in text
    assert "</script>" not in text
    assert text.endswith(");\n")
    assert len(json.dumps(told)) < 200_000


def test_classes_must_be_the_same_everywhere(network):
    plain = DiffusionGenerator(schedule=sigmoid())
    turned = dict(reversed(LAWS.items()))
    unlabelled = replace(DATA, train_labels=None, held_out_labels=None, classes=())
    for asked in ((plain, DATA, LAWS), (network, DATA, turned), (network, unlabelled, LAWS), (plain, unlabelled, {})):
        with pytest.raises(ValueError, match="must have the same classes, one or more"):
            GuidanceExplorer(*asked)


def test_laws_on_several_grids_are_refused(network):
    with pytest.raises(ValueError, match="all laws must stand on one grid; they stand on 2"):
        GuidanceExplorer(
            network,
            DATA,
            LAWS | {"left": LAWS["left"].coarser(1), "right": gridded(lambda x: -(x[:, 0] ** 2), GRID.finer(2))},
        )


def test_a_network_that_a_browser_does_not_know_is_refused():
    other = DiffusionGenerator(schedule=sigmoid(), target="velocity", classes=DATA.classes)
    with pytest.raises(ValueError, match="predicts v, and this one predicts velocity"):
        GuidanceExplorer(other, DATA, LAWS)
    with pytest.raises(ValueError, match="predicts v, and this one predicts velocity"):
        payload.Live(
            {"mine": [DiffusionGenerator(schedule=sigmoid(), target="velocity")]}, dataset("moons", train=500)
        ).payload()
