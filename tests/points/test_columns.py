"""The columns that are x and y are those that were meant: by choice, by their names, or because there are no others."""

from contextlib import redirect_stderr
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.base.arguments import PointsError
from lab_utils.points.columns import choose, find


class Sheet:
    """A table of numbers with these names and nothing in it."""

    def __init__(self, *names):
        self.names = names

    def numeric(self):
        return [*range(len(self.names))]


# --- by their names

LATITUDES = (
    *(
        "lat",
        "LAT",
        "Latitude",
        "latitude_deg",
        "lat (deg)",
        "Lat. [°N]",
        "decimalLatitude",
        "lat, deg",
        "GPS_Latitude",
    ),
    *("szerokość geograficzna", "Geographische Breite", "Breitengrad"),
)
LONGITUDES = (
    *(
        "lon",
        "LNG",
        "long",
        "Longitude",
        "longitude_deg",
        "lon (deg)",
        "Long. [°E]",
        "decimalLongitude",
        "lng, degrees",
    ),
    *("długość geograficzna", "Geographische Länge", "Längengrad"),
)
SPELLINGS = {"latitude": st.sampled_from(LATITUDES), "longitude": st.sampled_from(LONGITUDES)}


@given(
    **SPELLINGS,
    others=st.lists(st.sampled_from(["time", "ele", "x", "y", "", "flat", "along", "lat_error", "Länge"]), max_size=4),
    data=st.data(),
)
def test_longitude_is_x_in_any_spelling_and_order(latitude, longitude, others, data):
    names = data.draw(st.permutations([latitude, longitude, *others]))
    x, y = choose(None, None, Sheet(*names), "some.csv")
    assert (names[x], names[y]) == (longitude, latitude)


@given(**SPELLINGS)
def test_only_what_the_names_decided_is_said(latitude, longitude):
    with redirect_stderr(StringIO()) as said:
        assert choose(None, None, Sheet(longitude, latitude), "some.csv") == (0, 1)
        assert said.getvalue() == ""
        assert choose(None, None, Sheet(latitude, longitude), "some.csv") == (1, 0)
    assert said.getvalue() == f"some.csv: x is {longitude!r}, y is {latitude!r}, by their names.\n"


@pytest.mark.parametrize(
    "names", [("y", "x"), ("lat", "x"), ("Breite", "Länge"), ("latency", "longing"), ("lat", "latitude"), ("", "")]
)
def test_two_columns_of_other_names_are_taken_as_they_are(names, capsys):
    assert choose(None, None, Sheet(*names), "some.csv") == (0, 1)
    assert capsys.readouterr().err == ""


def test_two_columns_besides_the_label_are_taken_as_they_are():
    assert choose(None, 1, Sheet("a", "kind", "b"), "some.csv") == (0, 2)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("lat", "lon", "latitude", "longitude"), ("start lat", "lon", "c")])
def test_where_it_is_unclear_the_call_to_make_is_shown(names):
    with pytest.raises(PointsError, match=f"some.csv has {len(names)} columns; which two are x and y") as caught:
        choose(None, None, Sheet(*names), "some.csv")
    assert f"load('some.csv', columns={names[:2]!r})" in str(caught.value)
    assert "make report DATA=some.csv COLUMNS=" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "call", "command"),
    [
        (("my x", "y", "z"), "columns=('my x', 'y')", "COLUMNS='my x,y'"),
        (("x, cm", "y", "z"), "columns=(0, 1)", "COLUMNS=0,1"),
        (("x", "x", "z"), "columns=(0, 1)", "COLUMNS=0,1"),
        (("", "y", "z"), "columns=(0, 1)", "COLUMNS=0,1"),
    ],
)
def test_the_call_that_is_shown_works(names, call, command):
    table = Sheet(*names)
    with pytest.raises(PointsError) as caught:
        choose(None, None, table, "my points.csv")
    said = str(caught.value)
    assert f"load('my points.csv', {call})" in said
    assert said.endswith(f"make report DATA='my points.csv' {command}")
    columns = eval(call.removeprefix("columns="))
    assert choose(columns, None, table, "") == (0, 1)
    assert choose(command.removeprefix("COLUMNS=").strip("'").split(","), None, table, "") == (0, 1)


def test_of_a_thousand_columns_the_first_are_named():
    with pytest.raises(PointsError, match=r"'c29', …\. Choose") as caught:
        choose(None, None, Sheet(*(f"c{place}" for place in range(1000))), "wide.csv")
    assert "'c30'" not in str(caught.value)


# --- by choice


@given(st.permutations(["a", "b", "c d", "e, f"]), st.data())
def test_any_two_columns_can_be_chosen_by_name_number_or_text_of_a_number(names, data):
    x, y = data.draw(st.permutations(range(4)))[:2]
    for chosen in ((names[x], names[y]), (x, y), (str(x), str(y)), [names[x], y]):
        assert choose(chosen, None, Sheet(*names), "some.csv") == (x, y)


def test_a_name_goes_before_a_number():
    assert find("0", Sheet("1", "0"), "some.csv") == 1
    assert find(0, Sheet("1", "0"), "some.csv") == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("a", "z"), "some.csv has no column 'z'; it has 'a', 'b', 2, 'b'. Numbers run from 0 to 3"),
        ((0, 4), "has no column 4;"),
        ((-1, 0), "has no column -1;"),
        ((True, 0), "has no column True;"),
        ((0.0, 1), r"has no column 0\.0;"),
        (("", 0), "has no column '';"),
        (("A", 0), "has no column 'A';"),
        (("b", "a"), "has several columns 'b'; take one by its number: 1 or 3"),
        (("a", 0), r"x, y and the label must be different columns; got \('a', 0\)"),
        ((1, 2), "x, y and the label must be different columns"),
        ("ab", "columns must be two names or numbers, as in .*; got 'ab'"),
        (("a",), "columns must be two names or numbers"),
        ((0, 1, 2), "columns must be two names or numbers"),
        ((), "columns must be two names or numbers"),
    ],
)
def test_a_choice_that_is_none_is_refused_and_what_there_is_is_listed(columns, message):
    with pytest.raises(PointsError, match=message):
        choose(columns, 2, Sheet("a", "b", "", "b"), "some.csv")
