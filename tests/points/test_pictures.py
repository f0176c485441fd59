"""Points from a picture lie where it is dark, as many as it is dark; bad pictures are refused with a reason."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA, DATA_OPTIONS_VARIABLE, DATA_VARIABLE
from lab_utils.points import pictures
from lab_utils.points.pictures import EXAMPLE, PEN, chosen_options, chosen_source, draw_dots, draw_picture, own_points


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)
    return path


@pytest.fixture
def half_dark(tmp_path):
    """8 × 4 white pixels, but a black one in row 1, column 2, and a grey one, half as dark, in row 2, column 5."""
    pixels = np.full((4, 8), 255)
    pixels[1, 2], pixels[2, 5] = 0, 127.5
    return save(tmp_path / "picture.png", pixels)


# --- where the points lie


def test_points_lie_in_the_dark_pixels_and_y_goes_up(half_dark):
    points = draw_picture(half_dark, 3000)
    assert (points.shape, points.dtype) == ((3000, 2), torch.float64)
    pixels = {tuple(pixel) for pixel in points.floor().int().tolist()}
    assert pixels == {(2, 2), (5, 1)}  # the rows 1 and 2 of 4, from below


def test_a_pixel_is_as_likely_as_it_is_dark(half_dark):
    black = float((draw_picture(half_dark, 30_000)[:, 0] < 4).double().mean())
    assert abs(black - 255 / (255 + 128)) < 4 * (2 / 9 / 30_000) ** 0.5  # four standard deviations


def test_within_its_pixel_a_point_lies_anywhere(half_dark):
    inside = draw_picture(half_dark, 30_000) % 1
    assert (inside.mean(dim=0) - 0.5).abs().max() < 4 * (1 / 12 / 30_000) ** 0.5
    assert (inside.var(dim=0) - 1 / 12).abs().max() < 0.002


def test_the_same_seed_gives_the_same_points(half_dark):
    assert torch.equal(draw_picture(half_dark, 50, seed=3), draw_picture(half_dark, 50, seed=3))
    assert not torch.equal(draw_picture(half_dark, 50, seed=3), draw_picture(half_dark, 50, seed=4))


def test_on_dark_paper_bright_pixels_are_the_mass(tmp_path):
    pixels = np.zeros((6, 6))
    pixels[2:4, 2:4] = 255
    points = draw_picture(save(tmp_path / "negative.png", pixels), 500)
    assert ((points >= 2) & (points < 4)).all()


def test_grey_paper_is_paper_and_its_grain_gets_no_points(tmp_path):
    pixels = np.random.default_rng(0).integers(200, 207, (40, 40))
    pixels[10:20, 10:20] = 20
    points = draw_picture(save(tmp_path / "scan.png", pixels), 4000)
    assert ((points[:, 0] >= 10) & (points[:, 0] < 20) & (points[:, 1] >= 20) & (points[:, 1] < 30)).all()


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.zeros((6, 6, 4))
    pixels[2:4, 2:4, 3] = 255  # black everywhere, and seen in the middle only
    points = draw_picture(save(tmp_path / "logo.png", pixels), 500)
    assert ((points >= 2) & (points < 4)).all()


def test_a_jpeg_in_colours_works(tmp_path):
    pixels = np.full((64, 64, 3), 255)
    pixels[16:32, 16:32] = (200, 0, 0)
    points = draw_picture(save(tmp_path / "red.jpg", pixels, quality=95), 2000)
    inside = (points[:, 0] > 15) & (points[:, 0] < 33) & (points[:, 1] > 31) & (points[:, 1] < 49)
    assert inside.double().mean() > 0.98


def test_a_large_picture_is_made_smaller_and_keeps_its_proportions(tmp_path):
    pixels = np.full((1500, 3000), 255)
    pixels[500:1000, 1000:2000] = 0
    points = draw_picture(save(tmp_path / "large.png", pixels), 5000)
    width, height = (points.max(dim=0).values - points.min(dim=0).values).tolist()
    assert width / height == pytest.approx(2, rel=0.02)
    assert points.max() < pictures.SIDE


# --- what cameras and scanners make

CASES = Path(__file__).with_name("cases")


def strokes(points):
    """The cells of a grid of 3 × 3 over the points, in which there are some: True or False, from above."""
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=3)
    return (counts[::-1] > 0).tolist()


def test_a_photo_is_turned_as_its_camera_was():
    """The pixels of the L stand upright, 60 × 40; the camera says that they are to be turned by a quarter."""
    points = draw_picture(CASES / "turned_photo.jpg", 5000)
    assert points[:, 0].max() < 40 < points[:, 1].max()
    assert strokes(points) == [[True, True, True], [True, False, False], [True, False, False]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(tmp_path, orientation):
    """Pillow's own table of what undoes an orientation is checked by the corner in which the ink ends up."""
    pixels = np.full((20, 30), 255)
    pixels[:6, :9] = 0  # top left as it is stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    points = draw_picture(save(tmp_path / "photo.png", pixels, exif=exif), 500)
    width, height = (20, 30) if orientation > 4 else (30, 20)
    left, top = bool(points[0, 0] < width / 2), bool(points[0, 1] > height / 2)
    row, column = {1: "TL", 2: "TR", 3: "BR", 4: "BL", 5: "TL", 6: "TR", 7: "BR", 8: "BL"}[orientation]  # from Exif 2.3
    assert (top, left) == (row == "T", column == "L")
    assert points[:, 0].max() <= width
    assert points[:, 1].max() <= height


def test_sixteen_bits_of_grey_are_read_as_eight_are(tmp_path):
    points = draw_picture(CASES / "grey16.png", 5000)
    assert strokes(points) == [[True, False, False], [True, False, False], [True, True, True]]
    grey = np.asarray(Image.open(CASES / "grey16.png"))
    assert grey.max() > 255
    assert torch.equal(draw_picture(save(tmp_path / "grey8.png", grey >> 8), 5000), points)


# --- what is refused


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.png", b"no picture", "is no picture in PNG or JPEG"),
        ("empty.png", b"", "is no picture in PNG or JPEG"),
        (
            "web.gif",
            b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
            "is no picture in PNG or JPEG",
        ),
    ],
)
def test_what_is_no_such_picture_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PointsError, match=says):
        draw_picture(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(PointsError, match="can't read"):
        draw_picture(tmp_path / "nowhere.png")
    with pytest.raises(PointsError, match="can't read"):
        draw_picture(tmp_path)


def test_a_picture_of_one_colour_has_no_points(tmp_path):
    with pytest.raises(PointsError, match="is of one brightness everywhere"):
        draw_picture(save(tmp_path / "white.png", np.full((9, 9), 255)))


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path):
    path = save(tmp_path / "bomb.png", np.zeros((8000, 8000)))  # a few kB on disk
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PointsError, match="has 8000 × 8000 pixels; a picture may have 50,000,000 in all"):
            draw_picture(path)


def test_a_file_that_is_too_large_is_not_even_opened(half_dark, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(PointsError, match="MB; at most 0 are read"):
        draw_picture(half_dark)


@given(cut=st.integers(1, 400), flip=st.integers(0, 10_000))
def test_a_damaged_picture_is_refused_or_read_but_never_crashes(tmp_path_factory, cut, flip):
    folder = tmp_path_factory.mktemp("damaged")
    whole = bytearray(EXAMPLE.read_bytes())
    whole[flip % len(whole)] ^= 1 << flip % 8
    (folder / "damaged.png").write_bytes(whole[: -(cut % 300)] if cut % 2 else whole)
    try:
        points = draw_picture(folder / "damaged.png", 10)
    except PointsError as error:
        said = str(error)
    else:
        assert points.shape == (10, 2)
        said = "damaged.png"
    assert "damaged.png" in said


@pytest.mark.parametrize("n", [0, -3])
def test_a_number_below_1_is_refused(half_dark, n):
    for call in (lambda: draw_picture(half_dark, n), lambda: draw_dots([{"x": 1, "y": 1}], n)):
        with pytest.raises(PointsError, match=f"n must be 1 or more; got {n}"):
            call()


# --- drawings, and files by their endings


def test_dots_leave_ink_in_discs():
    points = draw_dots([{"x": 100.0, "y": 50.0, "color": "black", "batch": 0}], 20_000)
    assert (points.shape, points.dtype) == ((20_000, 2), torch.float64)
    away = points - torch.tensor([100.0, 50.0])
    assert away.norm(dim=1).max() <= PEN / 2
    assert away.mean(dim=0).abs().max() < 0.08
    assert float((away.norm(dim=1) < PEN / 2 * 0.5**0.5).double().mean()) == pytest.approx(0.5, abs=0.015)


def test_all_dots_get_points():
    dots = [{"x": 20.0 * k, "y": 10.0} for k in range(10)]
    counts = torch.bincount((draw_dots(dots, 5000)[:, 0] / 20).round().int())
    assert counts.min() > 350
    assert len(counts) == 10


def test_no_dots_are_told_as_such():
    with pytest.raises(PointsError, match="nothing is drawn yet; draw in the field above"):
        draw_dots([])


def test_the_ending_says_what_a_file_is(tmp_path, half_dark):
    (tmp_path / "points.csv").write_text("x,y\n1,2\n3,4\n")
    assert own_points(tmp_path / "points.csv").points.tolist() == [[1, 2], [3, 4]]
    assert torch.equal(own_points(half_dark, 70).points, draw_picture(half_dark, 70))
    jpeg = save(tmp_path / "LOGO.JPG", np.pad(np.zeros((8, 8)), 8, constant_values=255))
    assert own_points(jpeg, 9).points.shape == (9, 2)


def test_a_file_called_like_a_shape_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cities").write_text("1,2\n3,4\n")
    assert own_points("cities").points.tolist() == [[1, 2], [3, 4]]


def test_columns_and_label_of_a_table_come_through_and_a_picture_has_none(half_dark):
    table = own_points(CASES / "labels.csv", columns=("depth", "bill"), label="species", missing="drop")
    assert (table.columns, table.classes) == (("depth", "bill"), ("a", "b"))
    for choice in ({"columns": ("x", "y")}, {"label": "x"}):
        with pytest.raises(PointsError, match="is a picture, which has no columns; leave out columns and label"):
            own_points(half_dark, **choice)


def test_the_report_says_which_columns_are_meant(monkeypatch):
    monkeypatch.delenv(DATA_OPTIONS_VARIABLE, raising=False)
    assert chosen_options() == {}
    monkeypatch.setenv(DATA_OPTIONS_VARIABLE, '{"columns": ["depth", "2"], "label": "species", "missing": "drop"}')
    with pytest.raises(PointsError, match="must be different columns"):
        own_points(CASES / "labels.csv", **chosen_options())


def test_the_report_says_which_file_is_meant(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert chosen_source() == EXAMPLE
    monkeypatch.setenv(DATA_VARIABLE, "my.csv")
    assert str(chosen_source()) == "my.csv"


def test_the_example_is_what_its_script_draws():
    made = runpy.run_path(str(DATA / "make_sketch.py"))["sketch"]()
    stored = Image.open(EXAMPLE)
    assert np.abs(np.asarray(made, dtype=int) - np.asarray(stored, dtype=int)).max() <= 2  # Pillow versions may round
    assert len(own_points(EXAMPLE).points) == 20_000
