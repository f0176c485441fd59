"""A real set measures about 1 × real, and what is worse than real measures more.

The classifier takes longer than all other distances together. So where the number of real sets doesn't matter there
are five, not ten, and what several tests compare with is worked out once.
"""

import math
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import binom

from lab_utils.measure import benchmark as module
from lab_utils.measure import matrices
from lab_utils.measure.benchmark import MOST, Benchmark, Measure
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.intervals import interval, rank
from lab_utils.measure.neighbours import copies


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


TRAIN = normal(800, 77)
ALL = DISTANCES | {"copies": copies(TRAIN)}

HELD_OUT = normal(3000)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))


# --- the real sets


def test_the_real_sets_are_disjoint_parts_of_the_held_out_points_in_a_random_order():
    sets = Benchmark(HELD_OUT).real_sets(700)
    assert [len(points) for points in sets] == [700] * 4
    drawn = [tuple(point) for points in sets for point in points.tolist()]
    assert len(set(drawn)) == 2800
    assert set(drawn) <= set(map(tuple, HELD_OUT.tolist()))
    assert drawn[:700] != [tuple(point) for point in HELD_OUT[:700].tolist()]
    again, other = Benchmark(HELD_OUT).real_sets(700), Benchmark(HELD_OUT, seed=1).real_sets(700)
    assert torch.equal(torch.stack(sets), torch.stack(again))
    assert not torch.equal(torch.stack(sets), torch.stack(other))


@pytest.mark.parametrize(("size", "sets"), [(1500, 2), (1000, 3), (300, MOST), (7, MOST)])
def test_there_are_as_many_real_sets_as_the_points_allow_and_ten_at_most(size, sets):
    assert len(Benchmark(HELD_OUT).real_sets(size)) == sets


def test_the_usual_size_is_5000_or_what_leaves_five_real_sets():
    assert Benchmark(HELD_OUT).size == 600
    assert Benchmark(HELD_OUT.repeat(10, 1)).size == 5000
    assert len(Benchmark(HELD_OUT).real_sets()) == 5
    assert Benchmark(HELD_OUT[:3]).size == 1


# --- the numbers


def among(distance, sets):
    """The distances of each set from each other one; where it is the same the other way round, the first one counts."""
    skip = {(i, j) for i in range(len(sets)) for j in range(len(sets)) if i == j or (distance.symmetric and i > j)}
    found = [[0.0 if (i, j) in skip else distance(a, b) for j, b in enumerate(sets)] for i, a in enumerate(sets)]
    return np.array(found) + np.array(found).T if distance.symmetric else np.array(found)


@cache
def all_between_real(name):
    return among(ALL[name], Benchmark(HELD_OUT, TRAIN).real_sets(300)[:10])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("generated", [1, 2, 5])
def test_a_measure_is_made_of_the_single_distances(name, generated):
    """Means of distances to real sets and between these; interval and rank are those of `intervals`."""
    benchmark, distance = Benchmark(HELD_OUT, TRAIN), ALL[name]
    reals, between = benchmark.real_sets(300)[:10], all_between_real(name)
    sets = [(1 + 0.1 * i) * normal(300, 8 + i) for i in range(generated)]
    to_real = np.array([[distance(points, real) for real in reals] for points in sets])
    measure = benchmark.measure(name, *sets)
    assert measure.value == pytest.approx(to_real.mean())
    assert measure.real == pytest.approx(between.sum() / 90)
    assert measure.multiple == pytest.approx(to_real.mean() / (between.sum() / 90))
    assert benchmark.multiple(name, *sets) == measure.multiple
    assert benchmark.between_real(name, 300) == pytest.approx(between)
    points = 300 * generated if distance.share else None
    if generated >= 4:
        assert measure.interval == pytest.approx(interval(to_real, between, points=points))
        assert measure.varies == "5 generated sets, 10 real sets"
    elif name == "classifier":  # a few points less may change all that it says
        assert measure.varies == ("not the generated set" if generated == 1 else "2 generated sets") + ", 10 real sets"
    else:
        order = torch.randperm(300, generator=torch.Generator().manual_seed(0))  # blocks are random
        rest = [[p[torch.cat([order[: 30 * i], order[30 * (i + 1) :]])] for i in range(10)] for p in sets]
        blocks = np.array([[[distance(points, real) for real in reals] for points in of_set] for of_set in rest])
        assert measure.interval == pytest.approx(interval(to_real, between, blocks, points=points))
        assert measure.varies == f"the points of {generated} generated set{'s' * (generated > 1)}, 10 real sets"
    if distance.symmetric:
        from_real = to_real.T
    else:
        from_real = np.array([[distance(real, points) for points in sets] for real in reals])
    every = np.block([[among(distance, sets), to_real], [from_real, between]])
    assert measure.rank == rank(every, generated, higher_is_better=distance.higher_is_better)
    assert measure.higher_is_better == (name in {"precision", "coverage"})
    if name == "classifier":
        right = round(300 * to_real.diagonal().sum())
        assert measure.p_value == pytest.approx(binom.sf(right - 1, 300 * generated, 0.5))
    else:
        assert measure.p_value is None


@pytest.mark.parametrize(
    "name", [name for name in ALL if name not in {"precision", "coverage", "copies", "classifier"}]
)
def test_a_real_set_measures_about_1_and_a_wrong_one_more(name):
    size = 500
    benchmark = Benchmark(normal(5000))
    real, wide, wider = (
        benchmark.measure(name, *(factor * normal(size, seed) for seed in range(11, 16))) for factor in (1, 1.5, 2.5)
    )
    assert real.interval[0] < 1 < real.interval[1]
    assert 0.3 < real.multiple < 3
    assert real.rank > 0.05
    assert real.multiple < wide.multiple < wider.multiple
    assert wider.rank == pytest.approx(1 / 1000)  # of 3003 labellings of fifteen sets a thousand are drawn


@pytest.mark.parametrize("name", ["precision", "coverage"])
def test_where_higher_is_better_a_real_set_measures_about_1_and_a_wrong_one_less(name):
    benchmark = Benchmark(normal(5000))
    real = benchmark.measure(name, *(normal(500, seed) for seed in range(11, 16)))
    wide, wider = (benchmark.measure(name, *(f * normal(500, s) for s in range(11, 16))) for f in (1.7, 4))
    assert 0.97 < real.multiple < 1.03
    assert wider.multiple < wide.multiple < real.interval[0]
    assert wider.rank < 0.01 < real.rank


def test_copies_measure_twice_what_fresh_points_do_where_there_is_as_much_to_copy():
    train = normal(1000, 5)
    benchmark = Benchmark(normal(5000), train)
    copied, fresh = benchmark.measure("copies", train), benchmark.measure("copies", normal(1000, 6))
    assert copied.value == 1
    assert copied.multiple == pytest.approx(2, abs=0.1)
    assert fresh.multiple == pytest.approx(1, abs=0.1)


def test_the_classifier_comes_with_a_p_value_that_is_small_only_for_what_is_not_real():
    benchmark = Benchmark(normal(3000))
    assert benchmark.measure("classifier", normal(1000, 11)).p_value > 0.05
    assert benchmark.measure("classifier", 1.5 * normal(1000, 11)).p_value < 1e-4


def test_a_shifted_set_measures_more_and_the_further_the_more():
    benchmark, generated = Benchmark(normal(6000)), normal(1000, 11)
    multiples = [benchmark.multiple("energy distance", generated + shift) for shift in (0.0, 0.2, 0.5, 2.0)]
    assert multiples == sorted(multiples)
    assert multiples[1] > 5


def test_single_far_points_show_in_strays_and_rms_and_not_in_the_median():
    far = normal(1000, 11)
    far[:10] += 20
    measures = Benchmark(normal(6000)).measure_all(far, names=["blur", "RMS", "strays"])
    assert measures["blur"].interval[0] < 1 < measures["blur"].interval[1]
    assert measures["strays"].multiple > 5
    assert measures["strays"].interval[0] > 1
    assert measures["RMS"].multiple > 10


def test_no_strays_among_a_thousand_points_may_be_three_in_a_thousand():
    measure = Benchmark(normal(6000)).measure("strays", 0.5 * normal(1000, 11))
    assert measure.value == measure.multiple == 0
    assert measure.interval == (0, pytest.approx(3 / 1000 / measure.real))


# --- the same numbers, once


def test_the_same_seed_gives_the_same_numbers_whatever_the_workers_and_another_seed_others(monkeypatch):
    results = []
    for seed, workers in ((0, 1), (0, 3), (1, 3)):
        monkeypatch.setattr(matrices, "WORKERS", workers)
        results.append(Benchmark(HELD_OUT[:750], TRAIN, seed=seed).measure_all(normal(150, 5)))
    assert results[0] == results[1]
    assert results[0] != results[2]


@pytest.fixture
def worked_out(monkeypatch):
    """The pairs of sets of which a distance was worked out."""
    made, pairs = matrices.matrix, []

    def watched(distance, rows, columns):
        pairs.append((len(rows), len(columns)))
        return made(distance, rows, columns)

    monkeypatch.setattr(module, "matrix", watched)
    return pairs


def test_what_real_sets_read_is_worked_out_once_and_found_in_the_cache_by_the_next(worked_out, tmp_path):
    first = Benchmark(HELD_OUT, TRAIN)
    between = first.between_real("blur", 1000)
    assert worked_out == [(3, 3)]
    assert first.between_real("blur", 1000) is between
    assert np.array_equal(Benchmark(HELD_OUT, TRAIN).between_real("blur", 1000), between)
    assert len(worked_out) == 1
    assert len([*(tmp_path / "measure").iterdir()]) == 1
    copied = Benchmark(HELD_OUT, TRAIN).between_real("copies", 1000)
    others = (
        Benchmark(HELD_OUT, seed=1).between_real("blur", 1000),
        Benchmark(HELD_OUT + 0.001).between_real("blur", 1000),
        Benchmark(HELD_OUT).between_real("RMS", 1000),
        Benchmark(HELD_OUT, TRAIN + 1).between_real("copies", 1000),
        Benchmark(HELD_OUT).between_real("blur", 1200),
    )
    assert len(worked_out) == 7
    assert not any(np.array_equal(other, known) for other in others for known in (between, copied))
    first.between_real("blur", 999)
    Benchmark(HELD_OUT).between_real("blur", 999)
    assert len(worked_out) == 9, "small sets are not kept"


@pytest.mark.parametrize("content", ["", "[[0, 1], [1, 0]]", "no numbers", "[[0, NaN, 1], [1, 0, 1], [1, 1, 0]]"])
def test_a_damaged_file_of_the_cache_is_made_again(worked_out, tmp_path, content):
    between = Benchmark(HELD_OUT).between_real("blur", 1000)
    (file,) = (tmp_path / "measure").iterdir()
    file.write_text(content)
    assert np.array_equal(Benchmark(HELD_OUT).between_real("blur", 1000), between)
    assert len(worked_out) == 2
    assert Benchmark(HELD_OUT).between_real("blur", 1000).shape == (3, 3)
    assert len(worked_out) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(worked_out, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "file"))
    assert Benchmark(HELD_OUT).between_real("blur", 1000).shape == (3, 3)
    assert len(worked_out) == 1


# --- what can't be


@pytest.mark.parametrize(
    ("held_out", "reason"),
    [
        (HELD_OUT[:1], "two real sets of a point each need 2 held-out points; there are 1"),
        (57 * HELD_OUT, "not in normalised units: along an axis they spread by 5[5-9].*units.normalise"),
        (HELD_OUT / 9, "not in normalised units"),
        (HELD_OUT.T, r"held_out must .* shape \(2, 3000\)"),
        (torch.full((9, 2), math.nan), "held_out points must be finite; 9 are not"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(held_out, reason):
    with pytest.raises(ValueError, match=reason):
        Benchmark(held_out)


def test_arrays_are_measured_as_tensors_are():
    held_out, points = HELD_OUT[:500], normal(100, 5)
    arrays, tensors = Benchmark(held_out.numpy(), TRAIN.numpy()), Benchmark(held_out, TRAIN)
    assert arrays.measure_all(points.numpy()) == tensors.measure_all(points)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("generated", "reason"),
    [
        (
            [normal(1501)],
            "sets of 1501 points need .* 3002 held-out points; there are 3000. Give sets of 600 .* 1500 at",
        ),
        ([normal(50), normal(49)], r"must be of one size; got sets of \[49, 50\] points"),
        ([], "at least one set"),
        ([torch.full((50, 2), math.nan)], "generated points must be finite; 50 are not"),
        ([torch.zeros(50, 3)], r"generated must .* shape \(50, 3\)"),
        ([torch.zeros(50, 2).half()], "generated points must be float32 or float64"),
    ],
)
def test_a_set_that_has_no_measure_is_refused(name, generated, reason):
    for call in (Benchmark(HELD_OUT, TRAIN).measure, Benchmark(HELD_OUT, TRAIN).multiple):
        with pytest.raises(ValueError, match=reason):
            call(name, *generated)


def test_a_set_of_no_points_is_refused():
    with pytest.raises(ValueError, match="a set has 1 point or more; got a size of 0"):
        Benchmark(HELD_OUT).measure("blur", torch.zeros(0, 2))


def test_an_unknown_distance_is_refused_and_the_known_ones_named():
    benchmark = Benchmark(HELD_OUT)
    for call in (lambda: benchmark.between_real("FID"), lambda: benchmark.measure("FID", normal(50))):
        with pytest.raises(ValueError, match=r"no distance 'FID'; choose one of energy distance, .*, classifier$"):
            call()
    hint = r"; copies need the training points, as Benchmark\(held_out, train\)$"
    with pytest.raises(ValueError, match="no distance 'copies'; .*classifier" + hint):
        benchmark.measure("copies", normal(50))


def test_training_points_make_copies_known_and_bad_ones_are_refused():
    assert Benchmark(HELD_OUT).names(50) == tuple(Benchmark(HELD_OUT).known) == tuple(DISTANCES)
    assert Benchmark(HELD_OUT, TRAIN).names(50) == (*DISTANCES, "copies")
    with pytest.raises(ValueError, match="training points must be finite"):
        Benchmark(HELD_OUT, torch.full((9, 2), math.nan))


def test_all_distances_or_those_that_are_named_come_in_one_call():
    benchmark = Benchmark(HELD_OUT[:300], TRAIN)
    sets = normal(60, 3), normal(60, 4)
    measures = benchmark.measure_all(*sets)
    assert tuple(measures) == benchmark.names(60) == (*DISTANCES, "copies")
    assert all(measure == benchmark.measure(name, *sets) for name, measure in measures.items())
    some = benchmark.measure_all(*sets, names=["MMD", "blur"])
    assert some == {name: measures[name] for name in ("MMD", "blur")}
    with pytest.raises(ValueError, match=r"^nothing to measure: give at least one set of generated points$"):
        benchmark.measure_all()


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, {"energy distance", "blur", "RMS", "sliced W1", "W2", "MMD", "copies"}),
        (5, {*ALL} - {"coverage"}),
        (1501, {*ALL} - {"W2"}),
        (10_001, {*ALL} - {"W2"}),
    ],
)
def test_sets_of_a_size_that_a_distance_cannot_take_or_is_slow_for_are_measured_by_the_others(size, names):
    benchmark = Benchmark(normal(2 * size), TRAIN)
    assert set(benchmark.names(size)) == names
    for name in {*ALL} - names - ({"W2"} if size == 1501 else set()):
        with pytest.raises(ValueError, match=f"{name}: held-out points: {size} given, at (least|most)"):
            benchmark.between_real(name, size)


def test_sets_of_either_precision_are_measured_against_either():
    some = HELD_OUT[:400]
    same = Benchmark(some, TRAIN).measure_all(normal(80, 3))
    for held_out, train, points in (
        (some, TRAIN, normal(80, 3).double()),
        (some.double(), TRAIN, normal(80, 3)),
        (some, TRAIN.double(), normal(80, 3)),
    ):
        for name, measure in Benchmark(held_out, train).measure_all(points).items():
            assert measure.value == pytest.approx(same[name].value, rel=1e-4, abs=1e-5)
            assert measure.real == pytest.approx(same[name].real, rel=1e-4, abs=1e-5)


def test_where_real_reads_0_there_is_no_multiple_but_no_error_either():
    """Where most points are the same few places, real sets lie on real sets."""
    benchmark = Benchmark(normal(4).repeat(100, 1))
    with warnings.catch_warnings(action="error"):
        away, upon = (
            benchmark.measure("blur", normal(50, 9)),
            benchmark.measure("blur", normal(4).repeat(13, 1)[:50]),
        )
    assert away.real == upon.real == 0
    assert away.multiple == math.inf
    assert math.isnan(upon.multiple)
    assert all(math.isnan(end) for measure in (away, upon) for end in measure.interval)
    assert upon.rank == 1
    assert away.rank == pytest.approx(1 / 9)  # farther from each of eight real sets than they are from each other


def test_a_benchmark_can_be_sent_to_another_process():
    benchmark = Benchmark(HELD_OUT[:300], TRAIN)
    expected = benchmark.measure_all(normal(60, 3))
    assert pickle.loads(pickle.dumps(benchmark)).measure_all(normal(60, 3)) == expected


def test_a_measure_prints_its_multiple_with_its_interval_and_its_p_value():
    numbers = 0.03, 0.02, 1.5, (1.214, 2.0), "5 generated sets, 5 real sets", 8, 0.1
    assert str(Measure(*numbers)) == "1.50 × real [1.21, 2.00]"
    assert str(Measure(*numbers, p_value=0.0123)) == "1.50 × real [1.21, 2.00], p = 0.012"
