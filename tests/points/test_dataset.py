"""Units that lead back, and clean splits."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import cKDTree

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA, sha256
from lab_utils.points.dataset import SPLIT, Dataset, Units, dataset
from lab_utils.points.reading import load
from lab_utils.points.shapes import draw
from lab_utils.points.validation import validate


@pytest.fixture
def write(tmp_path):
    """Write bytes to a CSV file and give its path."""

    def _write(content: bytes) -> Path:
        path = tmp_path / "points.csv"
        path.write_bytes(content)
        return path

    return _write


# --- units

# Whole numbers of a thousandth: a spread of numbers whose rounding errors are known.
POINTS = hnp.arrays(np.int64, st.tuples(st.integers(2, 40), st.just(2)), elements=st.integers(-(10**9), 10**9)).map(
    lambda whole: torch.from_numpy(whole / 1000.0)
)


@settings(deadline=None)  # a busy machine is no failure
@given(POINTS)
def test_units_give_mean_0_and_total_variance_2_and_lead_back(points):
    if (points == points[0]).all():
        with pytest.raises(PointsError, match="are the same"):
            Units.of(points)
        return
    units = Units.of(points)
    normalised = units.normalise(points)
    assert normalised.dtype == torch.float32
    size = 1 + normalised.abs().max().item() + (units.shift / units.scale).abs().max().item() * 1e-9
    assert normalised.double().mean(0).abs().max() < 1e-6 * size
    assert abs(normalised.double().var(0, correction=0).sum().item() - 2) < 1e-5
    restored = units.restore(normalised)
    assert restored.dtype == torch.float64
    # Half a unit in the last place of float32, in the data's own units, and float64's rounding of the shift.
    bound = units.scale * size * 2**-23 + points.abs().max() * 2**-50
    assert (restored - points).abs().max() <= bound


def test_one_scale_for_both_axes_keeps_proportions():
    """A rectangle of 6 by 2 stays three times as wide as high: its corners have variances 9 and 1, so scale √5."""
    corners = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 2.0], [6.0, 2.0]])
    units = Units.of(corners)
    assert units.shift.tolist() == [3, 1]
    assert units.shift.dtype == torch.float64
    assert units.scale == pytest.approx(math.sqrt(5), rel=1e-15)
    width, height = (units.normalise(corners).amax(0) - units.normalise(corners).amin(0)).tolist()
    assert width / height == pytest.approx(3, rel=1e-6)


def test_points_on_a_line_have_units():
    units = Units.of(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    assert units.scale == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(0, 2), "2 points or more .* got 0"),
        (torch.zeros(1, 2), "2 points or more .* got 1"),
        (torch.zeros(9, 2), "all 9 points are the same"),
        (torch.full((7, 2), 0.1, dtype=torch.float64), "all 7 points are the same"),  # their mean is not quite 0.1
        (torch.tensor([[0.0, 0.0], [1e-200, 0.0]], dtype=torch.float64), "are the same"),  # the square is 0
        (torch.tensor([[1e200, 0.0], [-1e200, 0.0]], dtype=torch.float64), r"variance is not finite.*1e\+200"),
        (torch.tensor([[1e308, 0.0], [1e308, 1.0]], dtype=torch.float64), "variance is not finite"),
        (torch.tensor([[1e293, 0.0], [-1.7976931e308, 0.0]], dtype=torch.float64), "variance is not finite"),
        (torch.tensor([[math.nan, 0.0], [1.0, 1.0]]), "variance is not finite: they hold NaN"),
        (torch.tensor([[1, 2], [3, 4]]), "float tensor"),
    ],
)
def test_points_without_a_scale_are_refused(points, message):
    with pytest.raises(PointsError, match=message):
        Units.of(points)


def test_units_check_what_they_are_given():
    units = Units.of(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    for change in (units.normalise, units.restore):
        with pytest.raises(PointsError, match="shape"):
            change(torch.zeros(3))


# --- data sets


@pytest.mark.parametrize("seed", [0, 1])
def test_train_and_held_out_share_no_point_and_are_together_the_whole_set(seed):
    cities = load("cities")
    split = dataset(train=5000, seed=seed)
    assert split.name == "cities"
    assert split.train.shape == (5000, 2)
    assert split.train.dtype == split.held_out.dtype == torch.float32
    both = torch.cat([split.train, split.held_out])
    whole = split.units.normalise(cities)
    assert torch.equal(both.unique(dim=0), whole.unique(dim=0))
    assert len(both) == len(cities) == len(both.unique(dim=0))  # no two towns meet, not even in float32


def test_the_split_is_random_but_fixed_by_its_seed():
    a, b, c = dataset(seed=0), dataset(seed=0), dataset(seed=1)
    assert torch.equal(a.train, b.train)
    assert a.checksum == b.checksum != c.checksum
    assert a.checksum == sha256(a.train.numpy().tobytes() + a.held_out.numpy().tobytes())
    # The file is sorted by country, more or less; a split that kept its order would have another mean.
    assert (a.train.mean(0) - a.held_out.mean(0)).abs().max() < 5 / math.sqrt(5000)


def test_a_shape_is_drawn_with_at_least_thirty_thousand_points_held_out():
    small, large = dataset("eight_gaussians", train=100), dataset("gaussian", train=40_000)
    assert (len(small.train), len(small.held_out)) == (100, 30_000)
    assert (len(large.train), len(large.held_out)) == (40_000, 40_000)
    restored = small.units.restore(torch.cat([small.train, small.held_out]))
    drawn = draw("eight_gaussians", 30_100, seed=SPLIT)
    torch.testing.assert_close(restored.sum(0), drawn.sum(0), rtol=0, atol=0.05)


@pytest.mark.parametrize(("n", "train", "held_out"), [(2, 1, 1), (7, 3, 4), (19, 9, 10), (20, 10, 10), (21, 10, 11)])
def test_a_small_set_is_split_in_halves(n, train, held_out):
    split = Dataset.of(draw("gaussian", n, seed=0), "few", train=10)
    assert (len(split.train), len(split.held_out)) == (train, held_out)


def test_a_file_called_like_a_shape_is_reached_by_a_path(tmp_path, monkeypatch):
    (tmp_path / "moons").write_text("1,2\n3,4\n")
    monkeypatch.chdir(tmp_path)
    assert len(dataset(Path("moons"), train=1).held_out) == 1
    assert len(dataset("./moons", train=1).held_out) == 1
    assert len(dataset("moons", train=1).held_out) == 30_000


@pytest.mark.parametrize("source", ["moons", "cities"])
@pytest.mark.parametrize("train", [0, -1])
def test_training_on_no_points_is_refused(source, train):
    with pytest.raises(PointsError, match=f"train must be 1 or more; got {train}"):
        dataset(source, train=train)


def test_a_file_of_one_point_is_no_data_set(write):
    with pytest.raises(PointsError, match="2 points or more"):
        dataset(write(b"1,2\n"))


# --- what users bring


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_give_the_same_as_tensors(dtype):
    array = draw("moons", 50, seed=1).numpy().astype(dtype)
    points = torch.from_numpy(array)
    units = Units.of(array)
    assert (units.shift.tolist(), units.scale) == (Units.of(points).shift.tolist(), Units.of(points).scale)
    assert torch.equal(units.normalise(array), units.normalise(points))
    assert torch.equal(units.restore(array), units.restore(points))
    assert Dataset.of(array, "moons").checksum == Dataset.of(points, "moons").checksum
    assert validate(array) == validate(points)


def test_a_path_in_any_spelling_is_the_same_data_set_and_so_the_same_training(tmp_path, monkeypatch):
    (tmp_path / "pts.csv").write_text("1,2\n3,4\n5,7\n")
    monkeypatch.chdir(tmp_path)
    spellings = ("pts.csv", "./pts.csv", f"../{tmp_path.name}/pts.csv", str(tmp_path / "pts.csv"), Path("pts.csv"))
    found = {(data.name, data.checksum) for data in map(dataset, spellings)}
    assert len(found) == 1
    assert found.pop()[0] == "pts.csv"


def test_two_files_of_one_name_are_told_apart_by_their_checksums(tmp_path):
    for folder, row in (("a", "5,7"), ("b", "5,8")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pts.csv").write_text(f"1,2\n3,4\n{row}\n")
    a, b = (dataset(tmp_path / folder / "pts.csv") for folder in "ab")
    assert a.name == b.name
    assert a.checksum != b.checksum


# --- labels


@given(n=st.integers(2, 60), classes=st.integers(1, 4), train=st.integers(1, 70), seed=st.integers(0, 9))
def test_labels_stay_with_their_points_through_the_split(n, classes, train, seed):
    points = torch.arange(2.0 * n, dtype=torch.float64).reshape(n, 2)  # the row of each can be told from it
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    data = Dataset.of(points, "some", train=train, seed=seed, labels=labels, classes=[*"abcd"[:classes]])
    for part, found in ((data.train, data.train_labels), (data.held_out, data.held_out_labels)):
        rows = (data.units.restore(part)[:, 0] / 2).round().long()
        assert torch.equal(found, labels[rows])
        assert found.dtype == torch.int64
    assert data.classes == tuple("abcd"[:classes])
    bare = Dataset.of(points, "some", train=train, seed=seed)
    assert torch.equal(data.train, bare.train)
    assert (bare.train_labels, bare.held_out_labels, bare.classes) == (None, None, ())


def test_labels_have_a_checksum_of_their_own_and_leave_that_of_the_points_alone():
    """So a training that asks for no labels has the same key with them and without."""
    points = draw("moons", 6, seed=0)
    given = [
        (None, ()),
        ([0, 1, 0, 1, 0, 1], ("a", "b")),
        ([1, 0, 0, 1, 0, 1], ("a", "b")),
        ([0, 1, 0, 1, 0, 1], ("a", "c")),
        ([0, 0, 0, 0, 0, 0], ("a", "b")),
    ]
    made = [
        Dataset.of(points, "some", labels=labels and np.array(labels), classes=classes) for labels, classes in given
    ]
    assert len({data.labels_checksum for data in made}) == len(given)
    assert made[0].labels_checksum == ""
    assert len({data.checksum for data in made}) == 1


def test_the_points_of_a_labelled_data_set_are_those_without_labels():
    for source, label in (("cities", "continent"), ("spiral", "part")):
        labelled, bare = dataset(source, label=label, train=300), dataset(source, train=300)
        assert torch.equal(labelled.train, bare.train)
        assert torch.equal(labelled.held_out, bare.held_out)
        assert (labelled.checksum, bare.labels_checksum) == (bare.checksum, "")


def test_each_town_keeps_its_continent_through_the_split():
    """Read with pandas, beside the lab's reader; a pair of coordinates is there once."""
    data = dataset("cities", label="continent")
    table = pd.read_csv(DATA / "cities.csv")
    known = {(x, y): name for x, y, name in table.itertuples(index=False)}
    assert len(known) == len(data.train) + len(data.held_out)
    for points, labels in ((data.train, data.train_labels), (data.held_out, data.held_out_labels)):
        own = data.units.restore(points).mul(1e5).round().div(1e5)
        nearest = cKDTree(table[["longitude", "latitude"]].to_numpy()).query(own.numpy())[1]
        assert [data.classes[code] for code in labels] == table["continent"].iloc[nearest].tolist()


@given(n=st.integers(4, 60), seed=st.integers(0, 9))
def test_the_points_of_one_class_are_all_of_its_points_and_no_others(n, seed):
    labels = torch.arange(n) % 2
    points = torch.stack([torch.arange(n) + 0.5, labels], dim=1).double()
    data = Dataset.of(points, "some", seed=seed, labels=labels, classes=("even", "odd"))
    parts = [data.given(name) for name in data.classes if (data.train_labels == data.classes.index(name)).any()]
    for part in parts:
        assert part.units is data.units
        (name,) = part.classes
        for points in (part.train, part.held_out):
            own = data.units.restore(points)
            assert (own[:, 1].round() == data.classes.index(name)).all()
        assert part.train_labels.tolist() == [0] * len(part.train)
        assert part.held_out_labels.tolist() == [0] * len(part.held_out)
    if len(parts) == 2:
        assert sum(len(part.train) for part in parts) == len(data.train)
        assert sum(len(part.held_out) for part in parts) == len(data.held_out)
        assert len({data.checksum, *(part.checksum for part in parts)}) == 3
    else:
        (absent,) = {*data.classes} - {name for part in parts for name in part.classes}
        with pytest.raises(PointsError, match=f"no training point is of class '{absent}'; take more"):
            data.given(absent)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dataset("moons", label="part").given("Asia"), "no class 'Asia'; there are upper, lower"),
        (lambda: dataset("moons").given("upper"), "the points of 'moons' have no labels; name what has them"),
        (lambda: dataset("gaussian", label="part"), "'gaussian' has no parts; moons, checkerboard, eight_gaussians"),
        (
            lambda: dataset("cities", label="country"),
            "no column 'country'; it has 'longitude', 'latitude', 'continent'",
        ),
    ],
)
def test_a_class_that_is_not_there_is_refused_with_those_that_are(call, message):
    with pytest.raises(PointsError, match=message):
        call()


def test_labels_of_a_file_come_with_its_data_set(write):
    rows = b"".join(b"%d,%d,%d\n" % (n, -n, n % 3) for n in range(20))
    data = dataset(write(rows), columns=(1, 0), label=2, train=8)
    assert (data.classes, len(data.train_labels), len(data.held_out_labels)) == (("0", "1", "2"), 8, 12)
    own = data.units.restore(data.held_out).round().long()
    assert torch.equal(own[:, 1] % 3, data.held_out_labels)
    assert torch.equal(own[:, 0], -own[:, 1])


def test_gaps_of_a_file_are_left_out_if_asked_for(write):
    data = dataset(write(b"1,2,x\n3,,x\n5,7,\n8,9,\n"), columns=("0", "1"), missing="drop")
    assert len(data.train) + len(data.held_out) == 3


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.zeros(3, dtype=int), ("a",), r"one for each of the 4 points; got int64 of shape \(3,\)"),
        (torch.zeros(4, 1, dtype=torch.int64), ("a",), r"got int64 of shape \(4, 1\)"),
        (torch.zeros(4), ("a",), r"labels must be whole numbers, .*; got float32 of shape \(4,\)"),
        (np.array(["a", "b", "a", "b"]), ("a", "b"), "labels must be whole numbers"),
        (np.zeros(4, dtype=bool), ("a",), "got bool"),
        (np.array([0, 1, 2, 0]), ("a", "b"), "places in the 2 classes, counted from 0; got from 0 to 2"),
        (np.array([0, 1, -1, 0]), ("a", "b"), "places in the 2 classes, counted from 0; got from -1 to 1"),
        (np.zeros(4, dtype=int), (), "places in the 0 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, classes, message):
    with pytest.raises(PointsError, match=message):
        Dataset.of(draw("moons", 4, seed=0), "some", labels=labels, classes=classes)


@pytest.mark.parametrize("choice", [{"columns": (0, 1)}, {"label": 0}])
def test_a_shape_has_no_columns_to_choose_from(choice):
    with pytest.raises(PointsError, match="'moons' is a shape, which has no columns; leave out columns, and label"):
        dataset("moons", **choice)


def test_the_towns_are_a_table_like_any_other():
    assert torch.equal(dataset("cities", columns=("longitude", "latitude")).train, dataset("cities").train)
