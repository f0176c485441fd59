"""Arrays and Parquet tables give their points, to the bit; damaged ones are refused, and nothing in them is run."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.base.arguments import PointsError
from lab_utils.points import tables
from lab_utils.points.dataset import dataset
from lab_utils.points.reading import load, read_table

ROWS = np.array([[1.5, -2.0], [3.0, 4e5], [0.1, 7.0]])


# --- NumPy's arrays


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "f2", "i4", ">i8", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_numbers_is_points(tmp_path, dtype, order):
    with np.errstate(over="ignore"):
        rows = np.abs(ROWS[[0, 2]]).astype(dtype, order=order)
    np.save(tmp_path / "points.npy", rows)
    points = load(tmp_path / "points.npy")
    assert (points.dtype, points.is_contiguous()) == (torch.float64, True)
    assert points.tolist() == rows.tolist()


def test_columns_of_a_wider_array_are_chosen_by_number(tmp_path):
    np.save(tmp_path / "wide.npy", np.arange(12).reshape(3, 4))
    table = read_table(tmp_path / "wide.npy", columns=(2, 0), label=3)
    assert table.points.tolist() == [[2, 0], [6, 4], [10, 8]]
    assert (table.columns, table.classes, table.labels.tolist()) == (("x", "y"), ("3", "7", "11"), [0, 1, 2])
    with pytest.raises(PointsError, match=r"has 4 columns; .*there are 0, 1, 2, 3\. Choose: .*columns=\(0, 1\)"):
        load(tmp_path / "wide.npy")


def test_an_array_can_be_made_a_data_set(tmp_path):
    np.save(tmp_path / "points.npy", ROWS)
    assert len(dataset(tmp_path / "points.npy", train=1).held_out) == 2


class Trap:
    def __reduce__(self):
        return pytest.fail, ("it was run",)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"an array of float64, shape \(4,\); expected numbers, shape \(n, 2\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), r"has no points; its array is of shape \(0, 2\)"),
        (np.zeros((3, 0)), "has 0 columns; expected two or more with numbers, but there are 0: none"),
        (np.zeros((3, 1)), "has 1 column; expected two or more with numbers, but there are 1: 0"),
        (np.zeros((3, 2), dtype=bool), "an array of bool"),
        (np.zeros((3, 2), dtype=complex), "an array of complex128"),
        (np.array([["1", "2"]]), "an array of <U1"),
        (np.zeros(3, dtype=[("x", float), ("y", float)]), "expected numbers"),
        (np.array([[1.0, np.nan]]), "1 of 2 values missing, NaN or infinite, the first in row 1"),
        (np.array([[1.0, np.inf]]), "1 of 2 values missing, NaN or infinite, the first in row 1"),
        (np.array([[Trap(), 1.0]]), "is no array of numbers in NumPy's format .*Python objects"),
    ],
)
def test_other_arrays_are_refused_and_objects_are_never_unpickled(tmp_path, array, message):
    np.save(tmp_path / "points.npy", array, allow_pickle=True)
    with pytest.raises(PointsError, match=message):
        load(tmp_path / "points.npy")


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\x03\x04", pickle.dumps(Trap()), b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("ending", [".npy", ".parquet", ".NPY", ".Parquet"])
def test_what_only_ends_like_a_table_is_refused(tmp_path, content, ending):
    path = tmp_path / f"points{ending}"
    path.write_bytes(content)
    with pytest.raises(PointsError, match=r"is no array of numbers|can't be read as Parquet"):
        load(path)


# --- Parquet


def test_a_parquet_table_is_read_by_names_or_as_it_is(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["x", "y"])
    frame.to_parquet(tmp_path / "points.parquet")
    assert load(tmp_path / "points.parquet").tolist() == ROWS.tolist()
    frame.assign(kind=["b", "a", "b"], town="Bonn").to_parquet(tmp_path / "more.parquet")
    table = read_table(tmp_path / "more.parquet", columns=("y", "x"), label="kind")
    assert table.points.tolist() == ROWS[:, ::-1].tolist()
    assert (table.columns, table.classes, table.labels.tolist()) == (("y", "x"), ("a", "b"), [1, 0, 1])
    with pytest.raises(PointsError, match=r"has 4 columns; .*With numbers there are 'x', 'y'\."):
        load(tmp_path / "more.parquet")


def test_what_pandas_keeps_as_an_index_is_no_column(tmp_path):
    pd.DataFrame(ROWS, columns=["lat", "lon"]).iloc[[2, 0]].to_parquet(tmp_path / "some.parquet")
    assert load(tmp_path / "some.parquet").tolist() == ROWS[[2, 0], ::-1].tolist()


def test_a_folder_that_looks_like_a_partition_adds_no_column(tmp_path):
    path = tmp_path / "year=2020" / "points.parquet"
    path.parent.mkdir()
    pd.DataFrame(ROWS, columns=["x", "y"]).to_parquet(path)
    assert load(path).tolist() == ROWS.tolist()


def test_gaps_whole_numbers_and_decimals_of_parquet_are_numbers_like_others(tmp_path):
    columns = {
        "x": pa.array([1, None, 2**60 + 1], pa.int64()),
        "y": pa.array(["1.50", "2.00", "-3.25"]).cast(pa.decimal128(8, 2)),
        "kind": pa.array(["a", None, "b"]).dictionary_encode(),
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
        "sure": pa.array([True, False, True]),
    }
    path = tmp_path / "points.parquet"
    pq.write_table(pa.table(columns), path)
    table = read_table(path, columns=("x", "y"), label="kind", missing="drop")
    assert table.points.tolist() == [[1, 1.5], [2**60, -3.25]]
    assert (table.classes, table.labels.tolist()) == (("a", "b"), [0, 1])
    with pytest.raises(PointsError, match="1 of 6 values missing, NaN or infinite, the first in row 2"):
        load(path, columns=("x", "y"))
    for name, kind in (("when", "timestamp"), ("sure", "bool"), ("kind", "dictionary")):
        with pytest.raises(PointsError, match=f"the column '{name}' is of type {kind}.*; expected numbers"):
            load(path, columns=("y", name))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (pa.table({"a": ["1"], "b": ["2"], "c": ["3"]}), {}, "has 3 columns; expected two or more with numbers, .* 0"),
        (pa.table({"a": ["1"], "b": ["2"]}), {}, "the column 'a' is of type string; expected numbers"),
        (pa.table({"x": [1.0]}), {}, "has 1 column; expected two or more"),
        (pa.table({}), {}, "has 0 columns"),
        (pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}), {}, "has columns but no points"),
        (pa.table([[1.0], [2.0]], names=["x", "x"]), {}, "has several columns 'x'; give each a name of its own"),
        (pa.table([[1.0], [2.0]], names=["x", "x"]), {"columns": ("x", "x")}, "take one by its number: 0 or 1"),
    ],
)
def test_a_parquet_table_without_points_says_what_it_has(tmp_path, table, options, message):
    pq.write_table(table, tmp_path / "points.parquet")
    with pytest.raises(PointsError, match=message):
        load(tmp_path / "points.parquet", **options)


def test_a_small_file_that_stands_for_too_many_rows_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    pq.write_table(pa.table({"x": np.zeros(1001), "y": np.zeros(1001)}), tmp_path / "points.parquet")
    monkeypatch.setattr(tables, "MOST_ROWS", 1000)
    with pytest.raises(PointsError, match="has 1001 rows; at most 1000 are read: take a part"):
        load(tmp_path / "points.parquet")


@pytest.mark.parametrize("ending", [".csv", ".npy", ".parquet"])
def test_a_missing_file_and_a_folder_are_told_as_such_whatever_their_ending(tmp_path, ending):
    with pytest.raises(PointsError, match=r"No such file or directory.*path of a CSV file, \.npy or \.parquet"):
        load(tmp_path / f"nowhere{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(PointsError, match=r"[Ii]s a directory|Permission denied"):
        load(tmp_path / f"folder{ending}")


@given(
    rows=st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=1, max_size=9),
    ending=st.sampled_from(["csv", "npy", "parquet"]),
)
def test_every_format_gives_back_what_was_written_to_the_bit(tmp_path_factory, rows, ending):
    path, frame = tmp_path_factory.mktemp("formats") / f"points.{ending}", pd.DataFrame(rows, columns=["x", "y"])
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "npy":
        np.save(path, frame.to_numpy())
    else:
        frame.to_parquet(path)
    assert load(path).tolist() == [[*row] for row in rows]
