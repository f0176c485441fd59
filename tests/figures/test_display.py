"""Figures, animations and tables carry what the report's index needs, and fetch nothing."""

import base64
import html.parser
import io
import re

import numpy as np
import pandas as pd
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.animation import FuncAnimation, writers
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from lab_utils.figures import display as module
from lab_utils.figures.display import (
    quick_png,
    save_animation,
    show_animation,
    show_claims,
    show_figure,
    show_finding,
    show_table,
)

ALT = """A "curve" that's < 1 & falls <script>alert('x')</script>"""


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook would receive: a list of (data, metadata), in order."""
    received = []

    def display(data, *, raw, metadata):
        assert raw
        received.append((data, metadata))

    monkeypatch.setattr(module, "display", display)
    return received


def figure():
    made = Figure(figsize=(2, 1), dpi=50)
    made.subplots().plot([0, 1], [0, 1])
    return made


def animation(end=1.0, frames=3):
    made = Figure(figsize=(2, 1), dpi=50)
    (line,) = made.subplots().plot([0, 1], [0, 1])
    return FuncAnimation(made, lambda i: line.set_ydata([0, end * i / frames]), frames=frames)


class Tags(html.parser.HTMLParser):
    """All tags of a page with their attributes, and all pieces of text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())


def caption_of(outputs):
    (data, metadata) = outputs[-1]
    assert metadata["lab"]["kind"] == "caption"
    return data["text/markdown"]


def test_a_figure_is_a_picture_and_a_caption_with_its_number(outputs):
    show_figure(figure(), "Figure 2", r"$\bar\alpha$ falls *early*.", ALT)
    (data, metadata), (caption, label) = outputs
    assert metadata == {
        "lab": {"kind": "figure", "name": "Figure 2", "caption": r"$\bar\alpha$ falls *early*.", "alt": ALT}
    }
    assert data["text/plain"] == "Figure 2"
    picture = imread(io.BytesIO(base64.b64decode(data["image/png"], validate=True)), format="png")
    assert picture.ndim == 3
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 2  # something is drawn
    assert label == {"lab": {"kind": "caption", "name": "Figure 2"}}
    assert caption == {
        "text/markdown": r"**Figure 2.** $\bar\alpha$ falls *early*.",
        "text/plain": r"Figure 2. $\bar\alpha$ falls *early*.",
    }


def test_the_same_figure_gives_the_same_bytes(outputs):
    """So a notebook that is run again does not change in the repository."""
    for _ in range(2):
        show_figure(figure(), "Figure 1", "One.", "A line")
    assert outputs[0] == outputs[2]


def test_an_animation_is_a_labelled_player(outputs):
    show_animation(animation(), "Animation 1", "Points fly.", ALT)
    (data, metadata), _ = outputs
    assert metadata == {"lab": {"kind": "animation", "name": "Animation 1", "caption": "Points fly.", "alt": ALT}}
    assert data["text/plain"] == "Animation 1"
    assert caption_of(outputs) == "**Animation 1.** Points fly."
    tags = Tags(data["text/html"]).tags
    assert tags[0] == ("div", {"role": "group", "aria-label": "Animation 1"})  # parsed back, it is what was given
    assert ALT not in data["text/html"]
    assert "alert(" not in data["text/html"].replace("alert(&#x27;x&#x27;)", "")


def test_the_player_fetches_nothing_and_has_a_sign_on_every_button(outputs):
    show_animation(animation(), "Animation 1", "Points fly.", "Points")
    text = outputs[0][0]["text/html"]
    tags = Tags(text).tags
    names = {tag for tag, _ in tags}
    assert "link" not in names
    assert "i" not in names
    fetched = [attrs[key] for _, attrs in tags for key in ("src", "href", "data") if attrs.get(key)]
    assert [address for address in fetched if not address.startswith(("data:", "#"))] == []
    assert re.findall(r"https?://|@import|url\(", text) == []
    assert text.count("data:image/png;base64,") == 3  # one for each frame
    buttons = re.findall(r"<button[^>]*>(.*?)</button>", text, flags=re.DOTALL)
    assert [sign.strip() for sign in buttons] == list(module._BUTTONS.values())


def test_the_same_animation_gives_the_same_bytes_and_another_has_another_name(outputs):
    for made in (animation(), animation(), animation(end=0.5)):
        show_animation(made, "Animation 1", "Points fly.", "Points")
    one, two, other = (outputs[i][0]["text/html"] for i in (0, 2, 4))
    assert one == two
    (name,), (another,) = (set(re.findall(r'id="_anim_img(\w+)"', text)) for text in (one, other))
    assert name != another  # both players can stand on one page
    assert re.fullmatch(r"[0-9a-f]{16}", name)
    assert f"anim{name}" in one


def test_a_player_that_matplotlib_makes_another_way_is_noticed():
    class Strange:
        def to_jshtml(self, default_mode):
            return "<p>no picture</p>"

    with pytest.raises(AssertionError, match="no picture"):
        module._player(Strange(), ALT)


def test_a_table_is_html_and_text_with_its_number(outputs):
    table = pd.DataFrame({"epochs": [200, 2000], "<b>": ["2.9 × floor", "1.9 × floor"]})
    show_table(table, "Table 1", "Sharper & sharper.")
    (data, metadata), _ = outputs
    assert metadata == {"lab": {"kind": "table", "name": "Table 1", "caption": "Sharper & sharper."}}
    page = Tags(data["text/html"])
    assert page.text == ["epochs", "<b>", "0", "200", "2.9 × floor", "1", "2000", "1.9 × floor"]
    assert "b" not in {tag for tag, _ in page.tags}
    assert data["text/plain"] == table.to_string()
    assert caption_of(outputs) == "**Table 1.** Sharper & sharper."


def test_claims_are_a_table_in_which_the_rest_unfolds_and_rows_for_the_report(outputs):
    columns = ["verdict", "decides", "more", "see"]
    index = pd.Index(["It is <so>."], name="The report says")
    claims = pd.DataFrame([["true", "2 < 3", "One line.\nAnother & last.", "Figure 1"]], index, columns)
    show_claims(claims, "Claims", "What is claimed.")
    (data, metadata), _ = outputs
    row = {"claim": "It is <so>.", **claims.iloc[0]}
    label = {"kind": "claims", "name": "Claims", "caption": "What is claimed.", "rows": [row]}
    assert metadata == {"lab": label}
    page = Tags(data["text/html"])
    shown = ["It is <so>.", "true", "2 < 3", "more", "One line.", "Another & last.", "Figure 1"]
    assert page.text == ["verdict", "the number that decides", "see", *shown]
    assert "so" not in {tag for tag, _ in page.tags}
    assert "last" not in data["text/plain"]
    assert caption_of(outputs) == "**Claims.** What is claimed."


def test_a_finding_is_a_sentence_that_names_its_figure(outputs):
    show_finding("**2 × real** is little.", "Finding 1", "A map")
    ((data, metadata),) = outputs
    assert data == {
        "text/markdown": "**Finding 1.** **2 × real** is little. (See “A map”.)",
        "text/plain": "Finding 1. 2 × real is little. (See “A map”.)",
    }
    label = {"kind": "finding", "name": "Finding 1", "caption": "**2 × real** is little.", "figure": "A map"}
    assert metadata == {"lab": label}


def test_ipython_publishes_it_as_it_is(monkeypatch):
    """Through IPython's own display, as in a kernel: data and metadata arrive under their own types."""
    shell = InteractiveShell.instance()
    try:
        monkeypatch.setattr(shell, "display_pub", CapturingDisplayPublisher())
        show_figure(figure(), "Figure 4", "Four.", "A line")
        picture, caption = shell.display_pub.outputs
    finally:
        InteractiveShell.clear_instance()
    assert set(picture["data"]) == {"image/png", "text/plain"}
    assert picture["metadata"]["lab"]["name"] == "Figure 4"
    assert caption["data"]["text/markdown"] == "**Figure 4.** Four."


def test_a_gif_has_all_frames_and_goes_on_for_ever(tmp_path):
    path = save_animation(animation(frames=4), tmp_path / "way.GIF")
    assert [file.name for file in tmp_path.iterdir()] == ["way.GIF"]
    with Image.open(path) as gif:
        assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", 4, 0)


def test_an_mp4_is_written_where_ffmpeg_is(tmp_path):
    if not writers.is_available("ffmpeg"):
        pytest.skip("no ffmpeg on this machine")
    assert b"ftyp" in save_animation(animation(), tmp_path / "way.mp4").read_bytes()[:16]


def test_an_mp4_without_ffmpeg_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "is_available", lambda name: False)
    with pytest.raises(ValueError, match=r"needs the program ffmpeg.*install it, or save as \.gif"):
        save_animation(animation(), tmp_path / "way.mp4")
    assert not [*tmp_path.iterdir()]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.gif or \.mp4; got 'way\.avi'"):
        save_animation(animation(), "way.avi")


def test_an_animation_that_breaks_leaves_what_was_there(tmp_path):
    path = save_animation(animation(), tmp_path / "way.gif")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        save_animation(FuncAnimation(figure(), lambda i: 1 / (1 - i), frames=3), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["way.gif"]


def test_a_quick_picture_is_the_figure():
    drawn = Image.open(io.BytesIO(quick_png(figure())))
    assert (drawn.format, drawn.size) == ("PNG", (100, 50))
