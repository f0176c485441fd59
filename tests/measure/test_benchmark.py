"""A real draw measures about one floor, and what is worse than real measures more."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import binom

from lab_utils.measure import benchmark as metrics
from lab_utils.measure import distances
from lab_utils.measure.benchmark import Benchmark, Measure
from lab_utils.measure.distances import DISTANCES, copies


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


TRAIN = normal(800, 77)
ALL = DISTANCES | {"copies": copies(TRAIN)}

HELD_OUT = normal(3000)


def test_the_pairs_are_disjoint_sets_of_held_out_points_and_differ():
    benchmark = Benchmark(HELD_OUT, size=700, draws=6)
    assert len(benchmark.pairs()) == 6
    known = set(map(tuple, HELD_OUT.tolist()))
    seen = set()
    for reference, rival in benchmark.pairs():
        assert reference.shape == rival.shape == (700, 2)
        one, two = set(map(tuple, reference.tolist())), set(map(tuple, rival.tolist()))
        assert len(one) == len(two) == 700
        assert not one & two
        assert one | two <= known
        seen.add(frozenset(one))
    assert len(seen) == 6


def test_all_held_out_points_can_be_used():
    (pair,) = Benchmark(HELD_OUT, size=1500, draws=1).pairs()
    assert sorted(torch.cat(pair).tolist()) == sorted(HELD_OUT.tolist())


@pytest.mark.parametrize("name", ALL)
def test_the_numbers_of_a_measure_are_medians_and_percentiles_of_single_distances(name):
    """The floor of the magnitude, over all pairs, or the first eight; the generated sets against the first three."""
    benchmark = Benchmark(HELD_OUT, TRAIN, size=200, draws=10, references=3)
    generated = [normal(200, 8), 1.1 * normal(200, 9)]
    floors = [ALL[name](rival, reference) for reference, rival in benchmark.pairs()[: 8 if name == "W2" else 10]]
    values = [ALL[name](points, reference) for points in generated for reference, _ in benchmark.pairs()[:3]]
    assert benchmark.floors(name) == pytest.approx(floors, rel=1e-9)
    measure = benchmark.measure(name, *generated)
    assert measure.floor == pytest.approx(np.median(np.abs(floors)))
    assert measure.value == pytest.approx(np.median(values))
    assert measure.multiple == pytest.approx(np.median(values) / measure.floor)
    assert measure.floor_range == pytest.approx(np.percentile(floors, [2.5, 97.5]))
    assert measure.interval == pytest.approx(np.percentile(values, [2.5, 97.5]) / measure.floor)
    assert measure.higher_is_better == (name in {"precision", "coverage"})
    if name == "classifier":
        assert measure.p_value == pytest.approx(binom.sf(math.floor(200 * np.median(values)) - 1, 200, 0.5))
    else:
        assert measure.p_value is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("energy distance", 0.4, 2.5),
        ("blur", 0.9, 1.1),
        ("sliced W1", 0.6, 1.7),
        ("W2", 0.8, 1.25),
        ("MMD", -4, 4),
    ],
)
def test_a_real_draw_measures_about_one_floor_and_a_wrong_one_more(name, low, high):
    """The floor of the energy distance itself spreads by some 40 %, that of blur by a few percent."""
    size = 500 if name == "W2" else 1000
    benchmark = Benchmark(normal(12_000), size=size, draws=10)
    real, wide, wider = (
        benchmark.measure(name, *(factor * normal(size, seed) for seed in range(11, 16))) for factor in (1, 1.5, 2.5)
    )
    assert low < real.multiple < high
    assert real.interval[0] < 1 < real.interval[1]
    assert real.interval[1] < wide.multiple < wider.multiple
    assert wide.multiple > 1.3


@pytest.mark.parametrize("name", ["precision", "coverage"])
def test_where_higher_is_better_a_real_draw_measures_about_one_and_a_wrong_one_less(name):
    benchmark = Benchmark(normal(12_000), size=1000, draws=10)
    real = benchmark.measure(name, *(normal(1000, seed) for seed in range(11, 16)))
    wide, wider = (benchmark.measure(name, factor * normal(1000, 11)) for factor in (1.7, 4))
    assert 0.97 < real.multiple < 1.03
    assert wider.multiple < wide.multiple < real.interval[0]


def test_copies_measure_twice_what_fresh_points_do_where_there_is_as_much_to_copy():
    train = normal(1000, 5)
    benchmark = Benchmark(HELD_OUT, train, size=1000)
    copied, fresh = benchmark.measure("copies", train), benchmark.measure("copies", normal(1000, 6))
    assert copied.value == 1
    assert copied.multiple == pytest.approx(2, abs=0.1)
    assert fresh.multiple == pytest.approx(1, abs=0.1)


def test_the_classifier_comes_with_a_p_value_that_is_small_only_for_what_is_not_real():
    benchmark = Benchmark(normal(12_000), size=1000, draws=3)
    assert benchmark.measure("classifier", normal(1000, 11)).p_value > 0.05
    assert benchmark.measure("classifier", 1.5 * normal(1000, 11)).p_value < 1e-4


def test_a_shifted_set_measures_more_and_the_further_the_more():
    benchmark = Benchmark(normal(6000), size=1000, draws=5)
    generated = normal(1000, 11)
    multiples = [benchmark.measure("energy distance", generated + shift).multiple for shift in (0.0, 0.2, 0.5, 2.0)]
    assert multiples == sorted(multiples)
    assert multiples[1] > 5


def test_the_same_seed_gives_the_same_numbers_whatever_the_workers_and_another_seed_others(monkeypatch):
    results = []
    for seed, workers in ((0, 1), (0, 3), (1, 3)):
        monkeypatch.setattr(metrics, "WORKERS", workers)
        benchmark = Benchmark(HELD_OUT, TRAIN, size=150, draws=3, seed=seed)
        results.append(benchmark.measure_all(normal(150, 5)))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_floors_are_worked_out_once(monkeypatch):
    benchmark = Benchmark(HELD_OUT, size=50, draws=3)
    floors = benchmark.floors("blur")
    calls = []
    between = distances.mean_distance
    monkeypatch.setattr(distances, "mean_distance", lambda x, y: (calls.append(1), between(x, y))[1])
    benchmark.floors("energy distance")
    first = len(calls)
    assert first > 0
    assert benchmark.floors("energy distance") == benchmark.floors("energy distance")
    assert len(calls) == first
    assert benchmark.floors("blur") == floors


@pytest.mark.parametrize(
    ("held_out", "arguments", "reason"),
    [
        (HELD_OUT, {"size": 1501}, "of 1501 points need 3002 held-out points; there are 3000: use a .* most 1500$"),
        (HELD_OUT[1:], {"size": 1500}, "of 1500 points need 3000 held-out points; there are 2999: use a .* most 1499$"),
        (57 * HELD_OUT, {}, "not in normalised units: along an axis they spread by 5[5-9].*units.normalise"),
        (HELD_OUT / 9, {}, "not in normalised units"),
        (HELD_OUT, {"size": 0}, "1 or more; got 0, 20 and 5"),
        (HELD_OUT, {"size": 10, "draws": 0}, "1 or more; got 10, 0 and 5"),
        (HELD_OUT, {"size": 10, "references": 0}, "1 or more; got 10, 20 and 0"),
        (HELD_OUT.T, {"size": 1}, r"held_out must .* shape \(2, 3000\)"),
        (torch.full((9, 2), math.nan), {"size": 2}, "held_out points must be finite; 9 are not"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(held_out, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Benchmark(held_out, **arguments)


def test_the_usual_size_is_5000_or_half_of_the_points():
    assert Benchmark(HELD_OUT).size == 1500
    assert Benchmark(HELD_OUT.repeat(4, 1)).size == 5000


@pytest.mark.parametrize("name", ALL)
def test_a_set_of_any_size_has_the_floor_of_its_own_size(name):
    """Rivals as large as the set are held against the same references."""
    benchmark = Benchmark(HELD_OUT, TRAIN, size=200, draws=4, references=2)
    for size in (60, 200, 350):
        pairs = benchmark.pairs(size)
        assert [(len(reference), len(rival)) for reference, rival in pairs] == [(200, size)] * 4
        floors = [ALL[name](rival, reference) for reference, rival in pairs]
        assert benchmark.floors(name, size) == pytest.approx(floors, rel=1e-9)
        measure = benchmark.measure(name, normal(size, 5))
        values = [ALL[name](normal(size, 5), reference) for reference, _ in pairs[:2]]
        assert measure.value == pytest.approx(np.median(values))
        assert measure.floor == pytest.approx(np.median(np.abs(floors)))


def test_arrays_are_measured_as_tensors_are():
    arrays = Benchmark(HELD_OUT.numpy(), TRAIN.numpy(), size=100, draws=3)
    tensors = Benchmark(HELD_OUT, TRAIN, size=100, draws=3)
    points = normal(100, 5)
    assert arrays.measure_all(points.numpy()) == tensors.measure_all(points)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("generated", "reason"),
    [
        ([normal(2951)], "of 3000 held-out points 50 are the reference, and 2950 are left .*Give at most 2950"),
        ([normal(50), normal(49)], r"of several sizes have no floor in common; got sets of \[49, 50\]"),
        ([], "at least one set"),
        ([torch.full((50, 2), math.nan)], "generated points must be finite; 50 are not"),
        ([torch.zeros(50, 3)], r"generated must .* shape \(50, 3\)"),
        ([torch.zeros(50, 2).half()], "generated points must be float32 or float64"),
    ],
)
def test_a_set_that_has_no_measure_is_refused(name, generated, reason):
    with pytest.raises(ValueError, match=reason):
        Benchmark(HELD_OUT, TRAIN, size=50, draws=2).measure(name, *generated)


def test_an_unknown_distance_is_refused_and_the_known_ones_named():
    benchmark = Benchmark(HELD_OUT, size=50, draws=2)
    for call in (lambda: benchmark.floors("FID"), lambda: benchmark.measure("FID", normal(50))):
        with pytest.raises(ValueError, match=r"no distance 'FID'; choose one of energy distance, .*, classifier$"):
            call()
    hint = r"; copies need the training points, as Benchmark\(held_out, train\)$"
    with pytest.raises(ValueError, match="no distance 'copies'; .*classifier" + hint):
        benchmark.measure("copies", normal(50))


def test_training_points_make_copies_known_and_bad_ones_are_refused():
    assert Benchmark(HELD_OUT, size=50).names == tuple(Benchmark(HELD_OUT, size=50).known) == tuple(DISTANCES)
    assert Benchmark(HELD_OUT, TRAIN, size=50).names == (*DISTANCES, "copies")
    with pytest.raises(ValueError, match="training points must be finite"):
        Benchmark(HELD_OUT, torch.full((9, 2), math.nan), size=50)


def test_all_distances_or_those_that_are_named_come_in_one_call():
    benchmark = Benchmark(HELD_OUT, TRAIN, size=60, draws=2)
    sets = normal(60, 3), normal(60, 4)
    measures = benchmark.measure_all(*sets)
    assert tuple(measures) == benchmark.names == (*DISTANCES, "copies")
    assert all(measure == benchmark.measure(name, *sets) for name, measure in measures.items())
    some = benchmark.measure_all(*sets, names=["MMD", "blur"])
    assert some == {name: measures[name] for name in ("MMD", "blur")}
    with pytest.raises(ValueError, match=r"^nothing to measure: give at least one set of generated points$"):
        benchmark.measure_all()


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (1, {"energy distance", "blur", "sliced W1", "W2", "copies"}),
        (5, {*ALL} - {"coverage"}),
        (10_001, {*ALL} - {"W2"}),
    ],
)
def test_sets_of_a_size_that_a_distance_cannot_take_are_measured_by_the_others(size, names):
    benchmark = Benchmark(normal(2 * size), TRAIN, size=size, draws=2)
    assert set(benchmark.names) == names
    for name in {*ALL} - names:
        with pytest.raises(ValueError, match=f"{name}: held-out points: {size} given, at (least|most)"):
            benchmark.floors(name)


def test_sets_of_either_precision_are_measured_against_either():
    same = Benchmark(HELD_OUT, TRAIN, size=80, draws=1).measure_all(normal(80, 3))
    for held_out, train, points in (
        (HELD_OUT, TRAIN, normal(80, 3).double()),
        (HELD_OUT.double(), TRAIN, normal(80, 3)),
        (HELD_OUT, TRAIN.double(), normal(80, 3)),
    ):
        for name, measure in Benchmark(held_out, train, size=80, draws=1).measure_all(points).items():
            assert measure.value == pytest.approx(same[name].value, rel=1e-4, abs=1e-5)
            assert measure.floor == pytest.approx(same[name].floor, rel=1e-4, abs=1e-5)


def test_a_floor_of_0_gives_no_number_but_no_error_either():
    """Where most points are the same few places, real draws lie on real draws."""
    benchmark = Benchmark(normal(4).repeat(100, 1), size=50, draws=3)
    with warnings.catch_warnings(action="error"):
        away, upon = (
            benchmark.measure("blur", normal(50, 9)),
            benchmark.measure("blur", normal(4).repeat(13, 1)[:50]),
        )
    assert away.floor == upon.floor == 0
    assert away.multiple == math.inf
    assert math.isnan(upon.multiple)


def test_a_benchmark_can_be_sent_to_another_process():
    benchmark = Benchmark(HELD_OUT, TRAIN, size=60, draws=1)
    expected = benchmark.measure_all(normal(60, 3))
    assert pickle.loads(pickle.dumps(benchmark)).measure_all(normal(60, 3)) == expected


def test_a_measure_prints_its_multiple_with_its_interval_and_its_p_value():
    numbers = 0.03, 0.02, (0.01, 0.04), 1.5, (1.214, 2.0)
    assert str(Measure(*numbers)) == "1.50 × floor [1.21, 2.00]"
    assert str(Measure(*numbers, p_value=0.0123)) == "1.50 × floor [1.21, 2.00], p = 0.012"
    assert str(Measure(*numbers, higher_is_better=True)) == "1.50 × real [1.21, 2.00]"
