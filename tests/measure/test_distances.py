"""Distances are what their formulas say: closed forms, and SciPy's, POT's and scikit-learn's own answers."""

import math
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import binom, rice, wasserstein_distance
from scipy.stats import energy_distance as scipy_energy_distance
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from lab_utils.measure import mass
from lab_utils.measure.classifier import classifier
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.mass import DIRECTIONS, W2_MOST, energy_distance, mean_distance, mmd, sliced_w1, w2
from lab_utils.measure.neighbours import COVERAGE_K, blur, copies, coverage, precision, rms, strays

SINGLES = torch.float32, torch.float64


def normal(n, seed=0, dtype=torch.float32):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


ALL = DISTANCES | {"copies": copies(normal(900, 99))}
TRANSPORTS = {"energy distance": energy_distance, "sliced W1": sliced_w1, "W2": w2}  # they scale with the points
SIZES = [(1, 1), (1, 7), (256, 257), (600, 300), (700, 700)]  # up to some beyond the size of a block
SOME = [(6, 6), (6, 40), (41, 7), (600, 300), (700, 700)]  # for those that need a few points


def shuffled(x, seed=1):
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


# --- all of them


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_set_is_at_distance_0_from_itself_and_from_itself_in_another_order(name):
    x = normal(700)
    assert TRANSPORTS[name](x, x) == pytest.approx(0, abs=1e-12)
    assert TRANSPORTS[name](x, shuffled(x)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blur", 0),
        ("RMS", 0),
        ("strays", 0),
        ("MMD", 0),
        ("precision", 1),
        ("coverage", 1),
        ("classifier", 0.5),
        ("copies", 0),
    ],
)
def test_what_a_set_reads_against_itself(name, value):
    x = normal(700)
    assert ALL[name](x, x) == pytest.approx(value, abs=1e-12)
    if name != "classifier":  # in another order, what one half of it learns is wrong for the other
        assert ALL[name](x, shuffled(x)) == pytest.approx(value, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(2, 60),
    st.floats(0, 2 * math.pi),
    st.lists(st.floats(0, 5), min_size=2, max_size=4, unique_by=lambda size: round(size, 2)),
)
def test_transports_are_symmetric_not_negative_scale_and_grow_with_a_shift(seed, n, angle, sizes):
    """A set against its own copy, shifted: the further along one direction, the larger, from 0 on."""
    x = normal(n, seed, torch.float64)
    other = 2 * normal(n + 3, seed + 1, torch.float64)
    direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    for distance in TRANSPORTS.values():
        values = [distance(x, x + size * direction) for size in sorted(sizes)]
        assert all(low < high for low, high in pairwise(values))
        assert values[0] >= -1e-12
        assert distance(x, other) == pytest.approx(distance(other, x), rel=1e-9)
        assert distance(x, other) >= 0
        assert distance(3 * x, 3 * other) == pytest.approx(3 * distance(x, other), rel=1e-6, abs=1e-9)
    assert mmd(x, other) == pytest.approx(mmd(other, x), rel=1e-9, abs=1e-12)
    assert sliced_w1(x, other) <= w2(x, other) + 1e-12  # W1 ≤ W2, and no direction sees more than the plane


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(6, 60), st.integers(6, 60), st.floats(0, 4))
def test_shares_lie_between_0_and_1_and_no_order_of_the_points_changes_them(seed, n, m, shift):
    x, y = normal(n, seed) + shift, normal(m, seed + 1)
    for name in ("strays", "precision", "coverage", "copies"):
        share = ALL[name](x, y)
        assert 0 <= share <= 1
        assert ALL[name](shuffled(x), shuffled(y)) == share


@pytest.mark.parametrize(("name", "distance"), ALL.items())
def test_the_two_sets_may_differ_in_precision_and_may_come_from_a_network(name, distance):
    x, y = 0.1 + normal(400, 1), normal(300, 2)
    expected = distance(x, y)
    for mixed in ((x.double(), y), (x, y.double()), (x.double(), y.double())):
        assert distance(*mixed) == pytest.approx(expected, rel=2e-5, abs=1e-6), name
    assert distance(x.clone().requires_grad_(), y.clone().requires_grad_()) == expected


@pytest.mark.parametrize("distance", ALL.values(), ids=ALL)
def test_a_distance_gives_the_same_bits_each_time_and_changes_no_points(distance):
    x, y = 1.1 * normal(300, 1), normal(300, 2)
    before = x.clone(), y.clone()
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert distance(x, y) == distance(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


@pytest.mark.parametrize("distance", ALL.values(), ids=ALL)
def test_a_distance_can_be_sent_to_another_process(distance):
    x, y = normal(60, 1), normal(60, 2)
    sent = pickle.loads(pickle.dumps(distance))
    assert sent(x, y) == distance(x, y)


BAD = [
    (torch.zeros(0, 2), "none given, at least one is needed"),
    (torch.tensor([[0.0, math.nan], [1.0, 1.0]]), "must be finite; 1 are not"),
    (torch.tensor([[math.inf, math.nan], [1.0, -math.inf]]), "must be finite; 2 are not"),
    (torch.zeros(9, 2, dtype=torch.float16), "must be float32 or float64, not torch.float16"),
    (torch.zeros(5, 3), r"shape \(5, 3\)"),
    (torch.zeros(5), r"shape \(5,\)"),
    (torch.zeros(5, 2, dtype=torch.int64), "torch.int64"),
    (np.zeros((5, 2)), "got ndarray"),
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("points", "reason"), BAD)
def test_points_that_have_no_distance_are_refused_by_their_name(name, points, reason):
    with pytest.raises(ValueError, match=f"generated.* {reason}"):
        ALL[name](points, normal(9))
    with pytest.raises(ValueError, match=f"real.* {reason}"):
        ALL[name](normal(9), points)


@pytest.mark.parametrize(("name", "distance"), ALL.items())
def test_the_fewest_points_that_it_takes_are_enough_and_one_less_is_refused(name, distance):
    least = distance.least
    assert math.isfinite(distance(normal(least, 1), normal(least, 2)))
    assert distance.fits(least)
    assert not distance.fits(least - 1)
    if least > 1:
        with pytest.raises(ValueError, match=f"real points: {least - 1} given, at least {least} are needed"):
            distance(normal(least), normal(least - 1))


# --- energy distance


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("dtype", SINGLES)
def test_the_mean_distance_is_the_mean_of_scipys_matrix(n, m, dtype):
    x, y = normal(n, 1, dtype), normal(m, 2, dtype)
    exact = cdist(x.double(), y.double()).mean()
    assert mean_distance(x, y) == pytest.approx(exact, rel=1e-12 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_the_energy_distance_is_its_formula(n, m):
    x, y = normal(n, 1), 0.5 + 1.3 * normal(m, 2)
    a, b = x.double(), y.double()
    exact = 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()
    assert energy_distance(x, y) == pytest.approx(exact, abs=3e-6)


def test_on_a_line_the_energy_distance_is_scipys():
    """In one dimension SciPy gives the root of it, from the distribution functions: 2 ∫ (F − G)²."""
    x, y = normal(300, 1, torch.float64), 0.3 + normal(200, 2, torch.float64)
    x[:, 1], y[:, 1] = 4.0, 4.0
    assert energy_distance(x, y) == pytest.approx(scipy_energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-9)


def test_what_two_single_points_read():
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    assert energy_distance(x, y) == 10
    assert blur(x, y) == w2(x, y) == 5
    assert sliced_w1(x, y) == pytest.approx(5 * 2 / math.pi, rel=1e-3)


def test_the_energy_distance_of_two_gaussians_is_its_closed_form():
    """For N(0, I) and N((s, 0), I), X − Y is N((s, 0), 2 I) and its length has Rice's distribution."""
    n, s = 4000, 1.5
    x, y = normal(n, 1), normal(n, 2) + torch.tensor([s, 0.0])
    root = math.sqrt(2)
    exact = 2 * rice(s / root, scale=root).mean() - 2 * rice(0, scale=root).mean()
    # a point's share in each mean varies by less than 1, so the distance of n and n points by less than 2/√n
    assert abs(energy_distance(x, y) - exact) < 5 * 2 / math.sqrt(n)
    assert exact > 0.5


# --- MMD

BANDWIDTHS = [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16]


@pytest.mark.parametrize(("n", "m"), SOME)
@pytest.mark.parametrize("dtype", SINGLES)
def test_the_mmd_is_its_formula_with_scikit_learns_kernels(n, m, dtype):
    x, y = normal(n, 1, dtype), 0.2 + normal(m, 2, dtype)
    a, b = x.double().numpy(), y.double().numpy()
    xx, yy, xy = (sum(rbf_kernel(*pair, gamma=0.5 / s**2) for s in BANDWIDTHS) for pair in ((a, a), (b, b), (a, b)))
    exact = xx.mean() + yy.mean() - 2 * xy.mean()
    assert mmd(x, y) == pytest.approx(exact, abs=1e-12 if dtype == torch.float64 else 1e-6)
    assert mmd(x, y) >= 0


def gaussian_mmd(shift):
    """Of N(0, I) and N(shift, I): E k(X, Y) is a Gaussian integral, σ²/(σ²+2) exp(−|shift|²/2(σ²+2)) in the plane."""
    return sum(2 * s**2 / (s**2 + 2) * (1 - math.exp(-(shift**2) / (2 * (s**2 + 2)))) for s in BANDWIDTHS)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_mmd_of_few_points_is_the_closed_form_and_what_their_own_kernels_add(shift):
    """k(x, x) is 5, for five bandwidths, where the mean over two points is E k: each set adds (5 − E k)/n."""
    offset = torch.tensor([shift, 0.0])
    values = [mmd(normal(12, 2 * seed), normal(9, 2 * seed + 1) + offset) for seed in range(1500)]
    own = len(BANDWIDTHS) - sum(s**2 / (s**2 + 2) for s in BANDWIDTHS)
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values) - gaussian_mmd(shift) - own / 12 - own / 9) < 4 * error


def test_the_mmd_of_two_gaussians_is_its_closed_form_and_grows_with_the_shift():
    x, y = normal(2000, 1), normal(2000, 2)
    values = [mmd(x, y + torch.tensor([shift, 0.0])) for shift in (0.5, 1.0, 2.0)]
    assert values == pytest.approx([gaussian_mmd(shift) for shift in (0.5, 1.0, 2.0)], rel=0.1, abs=0.015)
    assert values == sorted(values)


# --- Wasserstein distances


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("dtype", SINGLES)
def test_the_sliced_distance_is_the_mean_of_scipys_over_the_directions(n, m, dtype):
    x, y = normal(n, 1, dtype), 0.3 + 1.2 * normal(m, 2, dtype)
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    along = np.stack([np.cos(angles), np.sin(angles)])
    a, b = x.double().numpy() @ along, y.double().numpy() @ along
    exact = np.mean([wasserstein_distance(u, v) for u, v in zip(a.T, b.T, strict=True)])
    assert sliced_w1(x, y) == pytest.approx(exact, rel=1e-10 if dtype == torch.float64 else 1e-5)
    if n * m > 1:  # POT wants the directions in columns too; its weights are uniform
        pots = ot.sliced_wasserstein_distance(x.double().numpy(), y.double().numpy(), projections=along, p=1)
        assert sliced_w1(x, y) == pytest.approx(pots, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.floats(0, math.pi), st.floats(0.1, 3))
def test_a_shift_reads_two_over_pi_of_its_length_in_the_sliced_distance_whatever_its_direction(angle, size):
    x = normal(50, 1, torch.float64)
    shift = size * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert sliced_w1(x, x + shift) == pytest.approx(2 / math.pi * size, rel=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(-3, 3), st.floats(-3, 3))
def test_w2_of_a_shift_is_its_length_and_of_any_two_sets_scipys_assignment(seed, n, right, up):
    x = normal(n, seed, torch.float64)
    assert w2(x, shuffled(x) + torch.tensor([right, up], dtype=torch.float64)) == pytest.approx(
        math.hypot(right, up), abs=1e-7
    )
    y = 1 + 2 * normal(n, seed + 1, torch.float64)
    costs = cdist(x, y, "sqeuclidean")
    assert w2(x, y) == pytest.approx(math.sqrt(costs[linear_sum_assignment(costs)].mean()), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_w2_is_pots_without_the_centring_for_unequal_sizes_too(n, m):
    x, y = normal(n, 1), 3 + 1.4 * normal(m, 2)
    exact = ot.emd2([], [], cdist(x.double(), y.double(), "sqeuclidean"))
    assert w2(x, y) == pytest.approx(math.sqrt(exact), rel=1e-6)


def test_w2_of_two_gaussians_is_near_its_closed_form():
    """|difference of means|² + |difference of standard deviations|² (Peyré & Cuturi 2019, remark 2.31)."""
    x, y = normal(1500, 1), 2 * normal(1500, 2) + torch.tensor([3.0, 0.0])
    assert w2(x, y) == pytest.approx(math.sqrt(9 + 2), rel=0.03)


def test_w2_says_how_much_memory_too_many_points_would_need():
    many = torch.zeros(W2_MOST + 1, 2)
    with pytest.raises(ValueError, match=r"generated points: 10001 given, at most 10000 .* 0\.8 GB.*sliced W1"):
        w2(many, normal(5))
    with pytest.raises(ValueError, match=r"real points: 20002 given, .* 3\.2 GB"):
        w2(normal(5), many.repeat(2, 1))
    assert w2.fits(W2_MOST)
    assert not w2.fits(W2_MOST + 1)
    assert [name for name, distance in ALL.items() if math.isfinite(distance.dear)] == ["W2"]


# --- neighbours


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_blur_is_the_median_distance_to_scikit_learns_nearest_neighbour(n, m):
    generated, real = 1.2 * normal(n, 1), normal(m, 2)
    nearest, _ = NearestNeighbors(n_neighbors=1).fit(real.numpy()).kneighbors(generated.numpy())
    assert blur(generated, real) == pytest.approx(np.median(nearest), rel=1e-5)


def test_blur_is_from_the_generated_to_the_real_points_and_sees_no_mass():
    real = normal(500)
    heap = real[:1].repeat(500, 1)
    assert blur(heap, real) == 0
    assert blur(real, heap) > 0.5
    assert energy_distance(heap, real) > 0.5


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_rms_is_the_root_mean_square_of_scikit_learns_nearest_distances(n, m):
    generated, real = 1.2 * normal(n, 1), normal(m, 2)
    nearest, _ = NearestNeighbors(n_neighbors=1).fit(real.numpy()).kneighbors(generated.numpy())
    assert rms(generated, real) == pytest.approx(math.sqrt(np.mean(nearest**2)), rel=1e-5)


@pytest.mark.parametrize("m", [2, 30, 999, 1500])
def test_strays_are_farther_from_all_real_points_than_all_but_one_in_a_thousand_of_these(m):
    """By a whole matrix: of m real points the (m + 1) / 1000 farthest from the others may lie beyond, the first one
    where that is less than one. So with the chance of a new point to lie there, the share is what real points read."""
    real = normal(m, 2, torch.float64)
    to_others = np.sort(cdist(real, real) + np.where(np.eye(m), np.inf, 0), axis=1)[:, 0]
    beyond = np.sort(to_others)[::-1]
    place = max(1.0, (m + 1) / 1000)  # the order statistic from the top, between two of them in general
    whole = int(place)
    reach = beyond[whole - 1] + (place - whole) * (beyond[min(whole, m - 1)] - beyond[whole - 1])
    generated = 1.3 * normal(4000, 1, torch.float64)
    assert strays(generated, real) == np.mean(cdist(generated, real).min(axis=1) > reach)


def test_real_points_read_one_stray_in_a_thousand_and_single_far_points_are_counted():
    shares = [strays(normal(3000, 2 * s), normal(3000, 2 * s + 1)) for s in range(60)]
    assert np.mean(shares) == pytest.approx(0.001, abs=4 * np.std(shares) / math.sqrt(60))
    real, more = normal(3000, 1), normal(3000, 2)
    far = torch.cat([more[:2970], 9 + torch.arange(60.0).reshape(30, 2)])
    assert strays(far, real) == pytest.approx(strays(more, real) + 0.01, abs=0.001)
    assert blur(far, real) < 1.05 * blur(more, real), "the median does not see them"
    assert rms(far, real) > 10 * rms(more, real)


def balls(real, k):
    """(m,) distance from each point to its k-th neighbour, from a whole matrix."""
    return np.sort(cdist(real, real), axis=1)[:, k]


@pytest.mark.parametrize(("n", "m"), SOME)
@pytest.mark.parametrize("kind", ["apart", "heaps", "lattice"])
def test_precision_and_coverage_are_their_definitions_over_a_whole_matrix(n, m, kind):
    """On a lattice many points lie at the very edge of a ball, which belongs to it; in heaps many balls are points."""
    x, y = 1.5 * normal(n, 1, torch.float64), normal(m, 2, torch.float64)
    y[0] = 30  # far from all others, so its ball holds nearly everything
    if kind == "lattice":
        x, y = x.mul(4).round(), y.mul(4).round()
    if kind == "heaps":
        x, y = torch.cat([x, y])[torch.arange(n) % 9], y[torch.arange(m) // 5]
    distances = cdist(x, y)
    assert precision(x, y) == np.mean((distances <= balls(y, 3)).any(axis=1))
    assert coverage(x, y) == np.mean(distances.min(axis=0) <= balls(y, 5))


def test_precision_does_not_only_ask_the_nearest_real_point():
    """The nearest of five real points is in a crowd, with a ball too small; the ball of the lonely one is large."""
    real = torch.tensor([[0.0, 0.0], [0.01, 0.0], [0.0, 0.01], [0.01, 0.01], [3.0, 0.0]])
    assert precision(torch.tensor([[1.0, 0.0]]).repeat(4, 1), real) == 1
    assert precision(torch.tensor([[-1.0, 0.0]]).repeat(4, 1), real) == 0


def test_precision_sees_points_off_the_land_and_coverage_what_is_missing():
    real, more = normal(2000, 1), normal(2000, 2)
    off = torch.cat([more[:1500], 20 + normal(500, 3)])
    assert precision(off, real) == pytest.approx(0.75 * precision(more, real), abs=0.02)
    half = more[more[:, 0] > 0].repeat(2, 1)[: len(more)]
    assert precision(half, real) > 0.95
    assert coverage(half, real) < 0.6 * coverage(more, real)
    assert precision.higher_is_better
    assert coverage.higher_is_better


@pytest.mark.parametrize(("n", "m"), [(60, 60), (200, 60), (60, 200)])
def test_the_coverage_of_real_draws_is_its_closed_form_whatever_they_are_drawn_from(n, m):
    """A ball is empty when a point's five nearest of the other m−1+n are all real: all orders are equally likely."""
    ranks = range(1, COVERAGE_K + 1)
    exact = 1 - math.prod(m - i for i in ranks) / math.prod(n + m - i for i in ranks)
    for warp in (lambda x: x, torch.exp):
        values = [coverage(warp(normal(n, 2 * s)), warp(normal(m, 2 * s + 1))) for s in range(400)]
        assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / math.sqrt(len(values)))


@pytest.mark.parametrize(("training", "m"), [(50, 50), (150, 50), (50, 150)])
def test_fresh_points_are_copies_as_often_as_training_points_are_among_all(training, m):
    """Which of N training and m held-out points is the nearest is a matter of chance alone."""
    values = [copies(normal(training, 3 * s))(normal(40, 3 * s + 1), normal(m, 3 * s + 2)) for s in range(400)]
    exact = training / (training + m)
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / math.sqrt(len(values)))


def test_copies_of_training_points_read_1_of_held_out_ones_0_and_ties_half():
    train, real = normal(300, 1), normal(200, 2)
    assert copies(train)(train, real) == 1
    assert copies(train)(train[:50] + 1e-5, real) == 1
    assert copies(train)(real, real) == 0
    assert copies(train)(normal(50, 3), train) == 0.5
    assert copies(train.double())(torch.cat([train[:30], real[:10]]), real) == 0.75


@pytest.mark.parametrize(("points", "reason"), BAD)
def test_training_points_that_cannot_be_are_refused(points, reason):
    with pytest.raises(ValueError, match=f"training.* {reason}"):
        copies(points)


# --- the classifier


def test_the_classifier_tells_apart_what_differs_and_guesses_where_nothing_does():
    x, y = normal(1000, 1), normal(1000, 2)
    assert classifier(x + 20, y) == 1
    assert 0.45 < classifier(x, y) < 0.55
    values = [classifier(x + shift, y) for shift in (0.3, 1.0, 3.0)]
    assert values == sorted(values)
    assert values[0] > 0.53
    assert classifier(x, y + torch.tensor([0.0, 1.0])) > 0.6


def test_the_classifier_is_no_better_for_seeing_more_of_one_set():
    assert 0.4 < classifier(normal(3000, 1), normal(300, 2)) < 0.6


def test_its_p_value_is_the_tail_of_the_binomial_over_all_answers_and_true_to_its_word():
    for n, accuracies in ((10, [0.8]), (11, [7 / 12, 5 / 12]), (5000, [0.52]), (5000, [0.52, 0.49, 0.51])):
        tests = 2 * (n - n // 2)
        right = sum(round(accuracy * tests) for accuracy in accuracies)
        exact = binom.sf(right - 1, len(accuracies) * tests, 0.5)
        assert classifier.p_value(accuracies, n) == pytest.approx(exact)
    assert classifier.p_value([0.5], 5000) > 0.5
    assert classifier.p_value([0.0], 50) == 1
    values = [classifier(normal(60, 2 * s), normal(60, 2 * s + 1)) for s in range(60)]
    for pairs in (1, 3):  # of independent pairs, one p in ten is below 0.1 at most, but for chance
        chances = [classifier.p_value(values[i : i + pairs], 60) for i in range(0, 60, pairs)]
        assert sum(p < 0.1 for p in chances) <= binom.isf(0.001, len(chances), 0.1)
        assert sum(p < 0.5 for p in chances) >= binom.isf(0.999, len(chances), 0.35), "nor is it far too large"


# --- many points


@pytest.mark.parametrize("name", ["blur", "RMS", "strays", "sliced W1", "precision", "coverage", "copies"])
def test_forty_thousand_points_are_measured_in_seconds(name):
    assert 0 <= ALL[name](normal(40_000, 1), normal(40_000, 2)) <= 1


def test_means_over_pairs_hold_few_pairs_at_once(monkeypatch):
    """So their memory does not grow with the product of the sizes, of which the largest tensors tell."""
    largest = []
    blocks = mass._squares

    def watched(x, y):
        for block in blocks(x, y):
            largest.append(block.numel())
            yield block

    monkeypatch.setattr(mass, "_squares", watched)
    for distance in (energy_distance, mmd):
        distance(normal(100, 1), normal(2000, 2))
        distance(normal(2000, 1), normal(1500, 2))
    assert max(largest) <= 2**18
    assert len(largest) > 80


def test_the_memory_of_one_block_is_used_again_for_the_next():
    """Once it was not: what stayed alive between two blocks cut it up, and 40 000 points took eleven gigabytes."""
    pytest.importorskip("resource")  # not on Windows
    code = """
import resource, torch
from lab_utils.measure.mass import mean_distance, mmd
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few, many = torch.ones(1000, 2), torch.ones(40_000, 2)
mmd(few, few)
before = peak()
for n in (40_000, 35_000, 30_000, 25_000):  # which sizes cut the memory up is a matter of luck
    mean_distance(few, many[:n])
    mmd.between(few, 0.0, many[:n], 0.0)
print(peak() / before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(said) < 1.2
