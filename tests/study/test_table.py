"""The file of runs: values come back as they went in, writers lose nothing, and what is no such file is left alone."""

import csv
import math
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.study.running import _run, run_table
from lab_utils.study.table import FACTS, TableError, add_run, check_inputs, read, read_table, run_key


def rows(configuration):
    """What a run of this configuration puts into the file: one row with the result 1."""
    return _run(lambda _: [{"row": 1}], configuration, [*configuration])


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))  # the locks stand there
    return tmp_path / "folder" / "results.csv"


PRINTABLE = st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "))
COLUMNS = [
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.booleans(),
    PRINTABLE.map("ä{}".format),  # text that is no number and not True
]


@st.composite
def tables(draw):
    """Configurations of several columns, each of one type, some with empty places."""
    name = PRINTABLE.filter(lambda name: name not in ("", "run", "row", *FACTS))
    names = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    values = [draw(st.sampled_from(COLUMNS)) for _ in names]
    holes = [draw(st.booleans()) for _ in names]
    row = [value | st.none() if hole else value for value, hole in zip(values, holes, strict=True)]
    rows = draw(st.lists(st.tuples(*row), min_size=1, max_size=6))
    return names, [dict(zip(names, cells, strict=True)) for cells in rows]


@given(tables())
def test_values_come_back_from_the_file(tmp_path_factory, drawn):
    names, table = drawn
    path = tmp_path_factory.mktemp("values") / "results.csv"
    for row in table:
        add_run(path, names, run_key(row), rows(row))
    drawn_rows = {run_key(row): row for row in table}
    back = read_table(path)
    assert sorted(back["run"]) == sorted(drawn_rows)
    for record in back.to_dict("records"):
        expected = drawn_rows[record["run"]]
        found = {name: record[name] for name in names}
        assert run_key(found) == record["run"]
        for name in names:
            if expected[name] is not None:
                assert found[name] == expected[name]
                if back[name].notna().all():
                    assert type(found[name]) is type(expected[name])
    check_inputs(path, read(path), names)


@given(st.dictionaries(PRINTABLE.filter(bool), st.none() | st.booleans() | st.integers() | st.floats() | PRINTABLE))
def test_a_key_knows_values_and_nothing_else(configuration):
    configuration = {f"{name}.": value for name, value in configuration.items()}
    key = run_key(configuration)
    assert re.fullmatch("[0-9a-f]{16}", key)
    assert run_key(dict(reversed(configuration.items()))) == key
    assert run_key(configuration | {"new": None}) == run_key(configuration | {"new": np.nan}) == key
    assert run_key(configuration | {"new": 1}) == run_key(configuration | {"new": np.float32(1)}) != key
    assert len({run_key(configuration | {"new": value}) for value in (1, "1", True, 1.5)}) == 4


def test_many_writers_lose_nothing(path):
    def add(number):
        row = {"number": number}
        add_run(path, ["number"], run_key(row), rows(row))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, [*range(40), *range(40)]))
    assert read_table(path)["number"].tolist() == [*range(40)]


# --- files that are none


HEADER = b"run,a,lab,python,torch,processor,seconds,x\n"
LINE = b"0123456789abcdef,1,0.1,3.11,2.13,CPU,0.5,7\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "can't be read as a table"),
        (b"\xff\xfe", "can't be read as a table: 'utf-8'"),
        (HEADER + b'"open', "can't be read as a table: unexpected end"),
        (b"\n", "has the columns"),
        (b"name,age\nMax,3\n", "has the columns name, age; expected: run, the configuration's, lab, python"),
        (HEADER.replace(b",torch", b""), "has the columns run, a, lab, python, processor"),
        (HEADER.replace(b",x", b",a"), "has the columns"),
        (HEADER.replace(b"run", b"key"), "has the columns key"),
        (HEADER + LINE + b"\n" + LINE, "line 3: 0 cells under 8 columns"),
        (HEADER + LINE + LINE[:30], "line 3: 5 cells under 8 columns"),
        (HEADER + LINE + LINE[:-1], "line 3: the line is cut off"),
        (HEADER + LINE + b"1.2E+15" + LINE[16:], "line 3: '1.2E\\+15' in column run is no run's key"),
    ],
)
def test_a_damaged_file_is_left_as_it_is(path, content, said):
    path.parent.mkdir()
    path.write_bytes(content)
    one = {"a": 1}
    adding = partial(add_run, path, ["a"], run_key(one), rows(one))
    for act in (partial(run_table, rows, [one], path), adding, partial(read_table, path)):
        with pytest.raises(TableError, match=f"results.csv.*{said}.*name another file"):
            act()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([["1", "2"], ["3", "4,5"], ["6", "7"]], "line 3: '4,5' in column x is no number, and 2 other cells there are"),
        (
            [["1", "2"], ["", "3"], ["l", ""], ["0", "nan"]],
            "line 4: 'l' in column a is no number, and 2 other cells there",
        ),
        ([["1", "2"], ["2", "NaN"], ["3", "4"]], "line 3: 'NaN' in column x is no number"),
        ([["1", "2"], ["2", "1e5"], ["3", "- 4"]], "line 4: '- 4' in column x is no number"),
    ],
)
def test_text_among_numbers_is_found_with_its_line_and_column(path, cells, said):
    """It made the whole column text, and whoever took a mean of it was told something else, somewhere else."""
    path.parent.mkdir()
    write_cells(path, cells)
    with pytest.raises(
        TableError, match=re.escape(f"{path}, {said}") + ".*It is left as it is; mend it or move it away"
    ):
        read_table(path)


def test_a_column_of_text_may_have_numbers_in_it(path):
    path.parent.mkdir()
    write_cells(path, [["sigmoid", "1"], ["7", ""], ["NA", "-inf"], ["8", "1e-7"]])
    table = read_table(path)
    assert table["a"].tolist() == ["sigmoid", "7", "NA", "8"]
    assert table["x"].dropna().tolist() == [1, -math.inf, 1e-7]


def write_cells(path, cells):
    """A file with these cells under the columns a, of the configuration, and x, a result."""
    header, line = HEADER.decode().strip().split(","), LINE.decode().strip().split(",")
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for number, (a, x) in enumerate(cells):
            filled = dict(zip(header, line, strict=True)) | {"run": f"{number:016x}", "a": a, "x": x}
            writer.writerow(filled.values())


def test_a_good_file_is_read(path):
    path.parent.mkdir()
    path.write_bytes(HEADER + LINE)
    assert read_table(path).to_dict("records")[0]["run"] == "0123456789abcdef"
    with pytest.raises(FileNotFoundError):
        read_table(path.with_name("none.csv"))
