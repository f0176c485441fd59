"""Text is read as it was meant: its encoding, what splits its columns, its decimal mark; or it is refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.base.arguments import PointsError
from lab_utils.points.reading import load, read_table
from lab_utils.points.text_tables import TextTable


@pytest.fixture
def write(tmp_path):
    """Write a text in some encoding to a CSV file and give its path."""

    def _write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "points.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return _write


# --- encodings


@pytest.mark.parametrize(
    ("towns", "encoding"),
    [
        (["Łódź", "Kraków"], "cp1250"),
        (["Wisła", "Poznań"], "cp1250"),
        (["Ťahanovce", "Košice"], "cp1250"),  # cp1252 leaves its first byte undefined
        (["Düsseldorf", "Málaga"], "cp1252"),
        (["São Paulo", "Besançon"], "cp1252"),
        (["5 m³", "£5"], "cp1252"),  # "5 mł" and "Ł5" in cp1250
        (["Hermanusƒ", "Tromsø"], "cp1252"),  # cp1250 leaves the byte of ƒ undefined
    ],
)
def test_old_encodings_of_windows_are_told_apart_and_the_choice_is_said(write, capsys, towns, encoding):
    path = write("town,x,y\n" + "".join(f"{town},1.5,{row}\n" for row, town in enumerate(towns)), encoding)
    table = read_table(path, label="town")
    assert [table.classes[label] for label in table.labels] == towns
    assert table.points.tolist() == [[1.5, 0], [1.5, 1]]
    assert capsys.readouterr().err == f"{path} is not UTF-8; it is read as {encoding}.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_of_utf_8_nothing_is_said(write, capsys, encoding):
    table = read_table(write("gmina,szerokość geograficzna,długość geograficzna\nŁódź,51.8,19.5\n", encoding))
    assert (table.columns, table.points.tolist()) == (
        ("długość geograficzna", "szerokość geograficzna"),
        [[19.5, 51.8]],
    )
    assert "UTF-8" not in capsys.readouterr().err


def test_a_byte_far_behind_the_beginning_counts_as_well(write, capsys):
    path = write("town,x,y\n" + "Bonn,1,2\n" * 200_000 + "Köln,3,4\n", "cp1252")
    assert read_table(path, label="town").classes == ("Bonn", "Köln")
    assert "cp1252" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp1250"])
@given(rows=st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=9))
def test_all_encodings_give_the_same_numbers_to_the_last_bit(tmp_path_factory, encoding, rows):
    path = tmp_path_factory.mktemp("encodings") / "points.csv"
    text = "é,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in rows)
    path.write_bytes(text.encode(encoding))
    assert load(path).tolist() == [[*row] for row in rows]


# --- what splits columns, and decimals


@pytest.mark.parametrize(
    "text",
    [
        "lon; lat, deg\n21.5;52\n-9.5;38\n",
        "x, in m;y\n21,5;52\n-9,5;38\n",
        'x; in m,y\n"21,5",52\n"-9,5",38\n',  # quotes make a decimal comma of it
        '"x; y",z\n21.5,52\n-9.5,38\n',
        "a\tb, c; d\n21,5\t52\n-9,5\t38\n",
        "x;y\r\n21.5;52\r\n\r\n-9.5;38",
        "x;y\r21,5;52\r-9,5;38\r",
        '"x\n(m)";"y"\n21,5;52\n-9,5;38\n',
    ],
)
def test_the_numbers_say_what_the_decimal_mark_is_and_not_the_names(write, text):
    assert load(write(text)).tolist() == [[21.5, 52], [-9.5, 38]]


@given(
    mark=st.sampled_from(";\t"),
    decimal=st.sampled_from(".,"),
    rows=st.lists(st.tuples(*[st.integers(-(10**6), 10**6)] * 2), min_size=1, max_size=9),
    names=st.sampled_from(["", "x{}y", "a, b{}c, d", "a.1{}b.2", "1 km, 5.5{}y"]),
)
def test_any_separator_goes_with_any_decimal_mark(tmp_path_factory, mark, decimal, rows, names):
    path = tmp_path_factory.mktemp("marks") / "points.csv"
    lines = [mark.join(f"{value / 8:.3f}".replace(".", decimal) for value in row) for row in rows]
    path.write_text("\n".join([*([names.format(mark)] if names else []), *lines, ""]))
    assert load(path).tolist() == [[value / 8 for value in row] for row in rows]


def test_numbers_that_only_late_rows_have_with_a_comma_are_an_error_that_says_where(write):
    with pytest.raises(PointsError, match=r"row 20001 of the points has '1,5' in column 1 \('x'\); expected a number"):
        load(write("x;y\n" + "1;2\n" * 20_000 + "1,5;2\n"))


def test_a_row_that_is_too_long_is_no_row_even_if_its_first_columns_are_the_chosen_ones(write):
    with pytest.raises(PointsError, match=r"no table of 3 columns.*Expected 3 fields in line 3, saw 4"):
        load(write("x,y,town\n1,2,Bonn\n3,4,Paris, France\n"), columns=("x", "y"))


def test_names_for_fewer_columns_than_there_are_are_refused(write):
    with pytest.raises(PointsError, match="has 3 columns; expected 2, as in the line that it begins with: 'x,y'"):
        load(write("x,y\n1,2,3\n"))


def test_an_index_without_a_name_is_a_column_like_any_other(write):
    table = TextTable(write(",lon,lat\n0,1.5,2\n1,3,4\n"), "some.csv")
    assert table.names == ["", "lon", "lat"]
    assert table.numeric() == [0, 1, 2]


def test_columns_of_numbers_are_those_without_text_or_truth_values_and_with_something_in_them(write):
    table = TextTable(write("a,b,c,d,e\n1,x,True,,1.5\n2,3,False,,\n"), "some.csv")
    assert table.numeric() == [0, 4]


def test_a_chosen_column_of_text_is_named_with_what_stands_in_it(write):
    with pytest.raises(PointsError, match=r"row 1 of the points has 'Bonn' in column 1 \('town'\); expected a number"):
        load(write("town,x,y\nBonn,1,2\n"), columns=("town", "y"))


def test_wide_tables_in_pieces_are_put_together_in_their_order(write):
    path = write("n,x,kind,y\n" + "".join(f"{n},{n}.5,k{n % 3},{-n}\n" for n in range(250_001)))
    table = read_table(path, columns=("x", "y"), label="kind")
    n = torch.arange(250_001, dtype=torch.float64)
    assert torch.equal(table.points, torch.stack([n + 0.5, -n], dim=1))
    assert torch.equal(table.labels, torch.arange(250_001) % 3)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("0,1\n0.5,1.5\n2,3\n", [[0.5, 1.5], [2, 3]]),  # as pandas writes an array, without its index
        ("0,1\n5,6\n2,3\n", [[0, 1], [5, 6], [2, 3]]),  # whole numbers, which a first point may be
        ("0,1.0\n0.5,1.5\n2,3\n", [[0, 1], [0.5, 1.5], [2, 3]]),
    ],
)
def test_the_places_that_pandas_writes_above_columns_without_names_are_no_point(write, text, points):
    assert load(write(text)).tolist() == points


def test_so_are_those_beside_an_index(write):
    path = write(",0,1\n0,0.5,1.5\n1,2.5,3.5\n")
    assert load(path, columns=(1, 2)).tolist() == [[0.5, 1.5], [2.5, 3.5]]
