"""Distances are what their formulas say, and a real draw measures about one floor."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance as scipy_energy_distance
from scipy.stats import rice
from sklearn.neighbors import NearestNeighbors

from lab_utils import metrics
from lab_utils.metrics import DISTANCES, Benchmark, Measure, energy_distance, mean_distance, sharpness


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def energy(x, y):
    """The energy distance from three whole matrices of distances."""
    return 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()


SIZES = [(1, 1), (1, 7), (256, 257), (600, 300)]  # around and beyond the size of a block


# --- the distances


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_distance_is_the_mean_of_scipys_matrix(n, m, dtype):
    x, y = normal(n, 1, dtype), normal(m, 2, dtype)
    exact = cdist(x.double(), y.double()).mean()
    assert mean_distance(x, y) == pytest.approx(exact, rel=1e-12 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_the_energy_distance_is_its_formula(n, m):
    x, y = normal(n, 1), 0.5 + 1.3 * normal(m, 2)
    assert energy_distance(x, y) == pytest.approx(energy(x.double(), y.double()), abs=3e-6)


def test_on_a_line_the_energy_distance_is_scipys():
    """In one dimension SciPy gives the root of it, from the distribution functions: 2 ∫ (F − G)²."""
    x, y = normal(300, 1, torch.float64), 0.3 + normal(200, 2, torch.float64)
    x[:, 1], y[:, 1] = 4.0, 4.0
    assert energy_distance(x, y) == pytest.approx(scipy_energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-9)


def test_two_single_points_are_at_twice_their_distance():
    assert energy_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])) == 10
    assert sharpness(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])) == 5


def test_the_energy_distance_of_two_gaussians_is_its_closed_form():
    """For N(0, I) and N((s, 0), I), X − Y is N((s, 0), 2 I) and its length has Rice's distribution."""
    n, s = 4000, 1.5
    x, y = normal(n, 1), normal(n, 2) + torch.tensor([s, 0.0])
    root = math.sqrt(2)
    exact = 2 * rice(s / root, scale=root).mean() - 2 * rice(0, scale=root).mean()
    # a point's share in each mean varies by less than 1, so the distance of n and n points by less than 2/√n
    assert abs(energy_distance(x, y) - exact) < 5 * 2 / math.sqrt(n)
    assert exact > 0.5


@pytest.mark.parametrize("name", DISTANCES)
def test_a_set_is_at_distance_0_from_itself_and_from_itself_in_another_order(name):
    x = normal(700)
    assert DISTANCES[name](x, x) == 0
    order = torch.randperm(700, generator=torch.Generator().manual_seed(1))
    assert DISTANCES[name](x, x[order]) == pytest.approx(0, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.integers(2, 60),
    st.floats(0, 2 * math.pi),
    st.lists(st.floats(0, 5), min_size=2, max_size=4, unique_by=lambda size: round(size, 2)),
)
def test_the_energy_distance_is_symmetric_not_negative_and_grows_with_a_shift(seed, n, angle, sizes):
    """A set against its own copy, shifted: the further along one direction, the larger, from 0 on."""
    x = normal(n, seed, torch.float64)
    direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    distances = [energy_distance(x, x + size * direction) for size in sorted(sizes)]
    assert all(low < high for low, high in pairwise(distances))
    assert distances[0] >= -1e-12
    other = 2 * normal(n + 3, seed + 1, torch.float64)
    assert energy_distance(x, other) == pytest.approx(energy_distance(other, x), rel=1e-9)
    assert energy_distance(x, other) >= 0
    assert energy_distance(3 * x, 3 * other) == pytest.approx(3 * energy_distance(x, other), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_sharpness_is_the_median_distance_to_scikit_learns_nearest_neighbour(n, m):
    generated, real = 1.2 * normal(n, 1), normal(m, 2)
    nearest, _ = NearestNeighbors(n_neighbors=1).fit(real.numpy()).kneighbors(generated.numpy())
    assert sharpness(generated, real) == pytest.approx(np.median(nearest), rel=1e-5)


def test_sharpness_is_from_the_generated_to_the_real_points_and_sees_no_mass():
    real = normal(500)
    heap = real[:1].repeat(500, 1)
    assert sharpness(heap, real) == 0
    assert sharpness(real, heap) > 0.5
    assert energy_distance(heap, real) > 0.5


BAD = [
    (torch.zeros(0, 2), "none given, at least one is needed"),
    (torch.tensor([[0.0, math.nan], [1.0, 1.0]]), "must be finite; 1 are not"),
    (torch.tensor([[math.inf, math.nan], [1.0, -math.inf]]), "must be finite; 2 are not"),
    (torch.zeros(5, 3), r"shape \(5, 3\)"),
    (torch.zeros(5), r"shape \(5,\)"),
    (torch.zeros(5, 2, dtype=torch.int64), "torch.int64"),
]


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize(("points", "reason"), BAD)
def test_points_that_have_no_distance_are_refused_by_their_name(name, points, reason):
    with pytest.raises(ValueError, match=f"generated.* {reason}"):
        DISTANCES[name](points, normal(5))
    with pytest.raises(ValueError, match=f"real.* {reason}"):
        DISTANCES[name](normal(5), points)


# --- the benchmark

HELD_OUT = normal(3000)


def test_the_pairs_are_disjoint_sets_of_held_out_points_and_differ():
    benchmark = Benchmark(HELD_OUT, size=700, draws=6)
    assert len(benchmark.pairs) == 6
    known = set(map(tuple, HELD_OUT.tolist()))
    seen = set()
    for reference, rival in benchmark.pairs:
        assert reference.shape == rival.shape == (700, 2)
        one, two = set(map(tuple, reference.tolist())), set(map(tuple, rival.tolist()))
        assert len(one) == len(two) == 700
        assert not one & two
        assert one | two <= known
        seen.add(frozenset(one))
    assert len(seen) == 6


def test_all_held_out_points_can_be_used():
    (pair,) = Benchmark(HELD_OUT, size=1500, draws=1).pairs
    assert sorted(torch.cat(pair).tolist()) == sorted(HELD_OUT.tolist())


@pytest.mark.parametrize("name", DISTANCES)
def test_the_numbers_of_a_measure_are_medians_and_percentiles_of_single_distances(name):
    benchmark = Benchmark(HELD_OUT, size=200, draws=5)
    generated = [normal(200, 8), 1.1 * normal(200, 9)]
    floors = [DISTANCES[name](rival, reference) for reference, rival in benchmark.pairs]
    values = [DISTANCES[name](points, reference) for points in generated for reference, _ in benchmark.pairs]
    assert benchmark.floors(name) == pytest.approx(floors, rel=1e-9)
    measure = benchmark.measure(name, *generated)
    assert measure.floor == pytest.approx(np.median(floors))
    assert measure.value == pytest.approx(np.median(values))
    assert measure.multiple == pytest.approx(np.median(values) / np.median(floors))
    assert measure.floor_range == pytest.approx(np.percentile(floors, [2.5, 97.5]))
    assert measure.interval == pytest.approx(np.percentile(values, [2.5, 97.5]) / np.median(floors))


@pytest.mark.parametrize(("name", "low", "high"), [("energy distance", 0.4, 2.5), ("sharpness", 0.9, 1.1)])
def test_a_real_draw_measures_about_one_floor_and_a_wrong_one_more(name, low, high):
    """The floor of the energy distance itself spreads by some 40 %, that of sharpness by a few percent."""
    benchmark = Benchmark(normal(12_000), size=1000, draws=10)
    real = benchmark.measure(name, *(normal(1000, seed) for seed in range(11, 16)))
    wide = benchmark.measure(name, *(1.5 * normal(1000, seed) for seed in range(11, 16)))
    wider = benchmark.measure(name, *(2.5 * normal(1000, seed) for seed in range(11, 16)))
    assert low < real.multiple < high
    assert real.interval[0] < 1 < real.interval[1]
    assert real.interval[1] < wide.multiple < wider.multiple
    assert wide.multiple > 1.3


def test_a_shifted_set_measures_more_and_the_further_the_more():
    benchmark = Benchmark(normal(6000), size=1000, draws=5)
    generated = normal(1000, 11)
    multiples = [benchmark.measure("energy distance", generated + shift).multiple for shift in (0.0, 0.2, 0.5, 2.0)]
    assert multiples == sorted(multiples)
    assert multiples[1] > 5


def test_the_same_seed_gives_the_same_numbers_whatever_the_workers_and_another_seed_others(monkeypatch):
    results = []
    for seed, workers in ((0, 1), (0, 3), (1, 1)):
        monkeypatch.setattr(metrics, "WORKERS", workers)
        benchmark = Benchmark(HELD_OUT, size=150, draws=4, seed=seed)
        results.append([benchmark.measure(name, normal(150, 5)) for name in DISTANCES])
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_floors_are_worked_out_once(monkeypatch):
    benchmark = Benchmark(HELD_OUT, size=50, draws=3)
    floors = benchmark.floors("sharpness")
    calls = []
    between = metrics.mean_distance
    monkeypatch.setattr(metrics, "mean_distance", lambda x, y: (calls.append(1), between(x, y))[1])
    benchmark.floors("energy distance")
    first = len(calls)
    assert first > 0
    assert benchmark.floors("energy distance") == benchmark.floors("energy distance")
    assert len(calls) == first
    assert benchmark.floors("sharpness") == floors


@pytest.mark.parametrize(
    ("held_out", "arguments", "reason"),
    [
        (HELD_OUT, {"size": 1501}, "sets of 1501 points need 3002 held-out points; there are 3000: .* at most 1500"),
        (HELD_OUT, {}, "sets of 5000 points need 10000"),
        (HELD_OUT, {"size": 0}, "1 or more; got 0 and 10"),
        (HELD_OUT, {"size": 10, "draws": 0}, "1 or more; got 10 and 0"),
        (HELD_OUT.T, {"size": 1}, r"held_out must .* shape \(2, 3000\)"),
        (torch.full((9, 2), math.nan), {"size": 2}, "held_out points must be finite; 9 are not"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(held_out, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Benchmark(held_out, **arguments)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize(
    ("generated", "reason"),
    [
        ([normal(51)], "the floor was drawn for 50 points; got 51"),
        ([normal(50), normal(49)], "the floor was drawn for 50 points; got 49"),
        ([], "at least one set"),
        ([torch.full((50, 2), math.nan)], "generated points must be finite; 50 are not"),
        ([torch.zeros(50, 3)], r"generated must .* shape \(50, 3\)"),
    ],
)
def test_a_set_that_has_no_measure_is_refused(name, generated, reason):
    with pytest.raises(ValueError, match=reason):
        Benchmark(HELD_OUT, size=50, draws=2).measure(name, *generated)


def test_an_unknown_distance_is_refused_and_the_known_ones_named():
    benchmark = Benchmark(HELD_OUT, size=50, draws=2)
    for call in (lambda: benchmark.floors("W2"), lambda: benchmark.measure("W2", normal(50))):
        with pytest.raises(ValueError, match="no distance 'W2'; choose one of energy distance, sharpness"):
            call()


def test_a_measure_prints_its_multiple_with_its_interval():
    assert str(Measure(0.03, 0.02, (0.01, 0.04), 1.5, (1.214, 2.0))) == "1.50 × floor [1.21, 2.00]"
