"""Units that lead back, and clean splits."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lab_utils.base.arguments import PointsError
from lab_utils.base.files import sha256
from lab_utils.points.dataset import SPLIT, Dataset, Units, dataset
from lab_utils.points.reading import load
from lab_utils.points.shapes import (
    draw,
)


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
