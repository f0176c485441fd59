"""The page about measured points: it stands alone, and what it shows has its number and its control."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lab_utils.measure.compare import compare
from lab_utils.measure.neighbours import stray_mask
from lab_utils.report import measured


def cloud(n, seed):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 2)))


@pytest.fixture(scope="module")
def points():
    """Generated points, a twentieth of them far out, and real ones."""
    mine = cloud(400, 1)
    mine[:20] += torch.tensor([9.0, 0.0])
    return mine, cloud(2000, 2)


@pytest.fixture(scope="module")
def page(points):
    standing = pd.DataFrame({"blur": [1.0, 2.0]}, index=["yours", "<others>"])
    found = compare(*points, names=["blur", "strays"])
    names, labels = ("a <b>.csv", "real.csv"), ("longitude", "latitude")
    return measured.page(found, *points, names=names, labels=labels, standing=standing, said=["It stands high."])


def test_nothing_is_fetched_and_the_names_of_files_are_text(page):
    """`tests/test_browser.py` opens pages; here it is enough that there is nothing to fetch."""
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "default-src 'none'" in page
    assert "a &lt;b&gt;.csv beside real.csv" in page
    assert "&lt;others&gt;" in page
    assert "<b>.csv" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_page(page, browser, scheme, tmp_path):
    """By keyboard and with a screen reader: axe finds nothing serious; on a telephone nothing is wider than it."""
    from axe_playwright_python.sync_playwright import Axe

    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    tab = browser.new_page(color_scheme=scheme, viewport={"width": 360, "height": 800})
    tab.goto((tmp_path / "page.html").as_uri())
    found = [violation for violation in Axe().run(tab).response["violations"] if violation["impact"] != "minor"]
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    tab.close()
    assert [violation["id"] for violation in found] == []
    assert wide <= 0


def test_it_has_the_table_the_verdict_the_notes_and_the_standing(page, points):
    found = compare(*points, names=["blur", "strays"])
    text = re.sub(r"&#39;", "'", page)
    assert all(said in text for said in [found.verdict, *found.notes, "It stands high."])
    assert all(f"<td>{cell}</td>" in page for cell in found.table().to_numpy().ravel())


def test_every_picture_is_one_and_has_a_text_for_who_cannot_see_it(page):
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">\n<figcaption><b>', page)
    assert len(pictures) == page.count("<img") == 2
    for encoded, _ in pictures:
        assert min(Image.open(io.BytesIO(base64.b64decode(encoded))).size) > 400


def test_strays_are_counted_beside_as_many_other_real_points(points):
    mine, real = points
    caption = measured._strays(mine, real, measured._extent(real), ("x", "y")).caption
    share = 100 * stray_mask(mine, real[400:800]).mean()
    other = 100 * stray_mask(real[:400], real[400:800]).mean()
    assert f"Of the generated points {share:.3g} % are strays, of the other real ones {other:.3g} %" in caption
    assert share >= 5 > 2 > other


def test_cells_are_counted_for_as_many_points_and_the_control_reads_about_1():
    """Pearson's χ² divided by the number of cells: about 1 where nothing differs, more where something does."""
    real = cloud(8000, 2)
    extent = measured._extent(real)
    for mine, low, high in ((cloud(4000, 1), 0.6, 1.5), (1.6 * cloud(4000, 1), 2, 50)):
        caption = measured._differences(mine, real, extent, ("x", "y")).caption
        assert "4000 generated points beside as many real ones" in caption
        found = re.search(
            r"For the generated points it is ([\d.]+) in (\d+) cells, for the other real ones ([\d.]+) in", caption
        )
        mean, cells, control = map(float, found.groups())
        assert low < mean < high
        assert 0.6 < control < 1.5
        assert cells > 50


@pytest.mark.parametrize(
    ("points", "longest"),
    [
        (cloud(500, 1) * torch.tensor([1.0, 100.0]), 1),  # as high as long
        (cloud(500, 1) * torch.tensor([100.0, 1.0]), 4),
        (torch.stack([torch.arange(500.0), torch.zeros(500)], dim=1).double(), 4),
        (cloud(500, 1), 1.5),
    ],
)
def test_a_map_is_no_thin_strip_and_shows_all_but_single_points(points, longest):
    left, right, bottom, top = measured._extent(points)
    assert 1 - 1e-9 <= (right - left) / (top - bottom) <= longest + 1e-9
    x, y = points.T
    assert ((x > left) & (x < right) & (y > bottom) & (y < top)).double().mean() > 0.99


def test_one_far_point_does_not_decide_what_the_map_shows():
    points = cloud(5000, 1)
    points[0] = 1e6
    assert max(map(abs, measured._extent(points))) < 10


@pytest.mark.parametrize(
    "points",
    [
        torch.stack([torch.arange(60.0), torch.zeros(60)], dim=1).double(),
        torch.from_numpy(np.random.default_rng(0).integers(0, 3, (60, 2)).astype(float)),
    ],
)
def test_few_points_on_a_line_or_a_grid_have_a_page(points):
    found = compare(points[:24], points, names=["blur", "strays"])
    assert found.verdict.replace("'", "&#39;") in measured.page(found, points[:24], points)
