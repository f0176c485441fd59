"""The one call: any points, in any units and of any number, measured and told in sentences that their numbers carry."""

import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from soak import often

from lab_utils.base.arguments import PointsError
from lab_utils.measure import telling
from lab_utils.measure.benchmark import Benchmark, Measure
from lab_utils.measure.compare import CLASSIFIER_LEAST, FEWEST, LARGE, W2_DEAR, compare
from lab_utils.measure.comparison import LENGTHS, Comparison
from lab_utils.measure.distances import DISTANCES
from lab_utils.points.dataset import Units

FAST = ["energy distance", "blur", "RMS", "strays", "sliced W1", "precision", "coverage"]
RNG = np.random.default_rng


def cloud(n, seed=0):
    return RNG(seed).standard_normal((n, 2))


def line(n, seed=0):
    t = RNG(seed).random(n)
    return np.stack([t, 2 * t + 1], axis=1)


def grid(n, seed=0):
    return RNG(seed).integers(0, 10, (n, 2))


# --- what is measured


def test_it_is_the_benchmark_of_sets_that_the_real_points_normalise():
    """One generated set: its order has no part in it, but for the blocks of the interval. So values can be foretold."""
    mine, real = cloud(60, 1), 3 * cloud(300, 2) + 7
    found = compare(mine, real, names=["blur", "energy distance"])
    assert (found.size, found.sets, found.given) == (60, (1, 5), (60, 300))
    units = Units.of(real)
    sets = Benchmark(units.normalise(real)).real_sets(60)
    for name in ("blur", "energy distance"):  # other sets of the same points: the same but for chance
        mean = np.mean([DISTANCES[name](units.normalise(mine), points) for points in sets])
        assert found.measures[name].value == pytest.approx(mean, rel=0.2)
        assert found.value(name) == pytest.approx(found.measures[name].value * units.scale)


@pytest.mark.parametrize(
    ("n", "m", "size", "sets"),
    [
        (24, 24, 4, (6, 6)),
        (50, 1000, 50, (1, 10)),
        (1000, 100, 20, (10, 5)),
        (600, 600, 120, (5, 5)),
        (100, 100_000, 100, (1, 10)),
        (30_000, 30_000, 5000, (5, 5)),  # six would fit, but sets of more than a thousand points are dear
    ],
)
def test_any_two_sizes_are_cut_into_sets_of_one_size(n, m, size, sets):
    found = compare(cloud(n, 1), cloud(m, 2), names=["blur"])
    assert (found.size, found.sets) == (size, sets)
    said = f"Sets have {size} points: {sets[0]} of the generated ones ({sets[0] * size} of {n} points)"
    assert f"{said} and {sets[1]} of the real ones ({sets[1] * size} of {m})." in str(found)


def test_the_unit_changes_lengths_only():
    mine, real = cloud(100, 1) * 1.2, cloud(500, 2)
    here, there = compare(mine, real, names=FAST), compare(mine * 40 - 9, real * 40 - 9, names=FAST)
    for name in FAST:
        assert there.measures[name].multiple == pytest.approx(here.measures[name].multiple, rel=1e-3)
        assert there.value(name) == pytest.approx(here.value(name) * (40 if name in LENGTHS else 1), rel=1e-3)
    assert here.worse == there.worse


@pytest.mark.parametrize(
    "kind",
    [
        np.float32,
        lambda points: torch.tensor(points),
        lambda points: torch.tensor(points, dtype=torch.float32, requires_grad=True),
        lambda points: pd.DataFrame(points, columns=["lon", "lat"]),
        lambda points: points.tolist(),
    ],
)
def test_any_kind_of_points_reads_the_same(kind):
    mine, real = cloud(40, 1), cloud(200, 2)
    found, same = compare(kind(mine), kind(real), names=["blur"]), compare(mine, real, names=["blur"])
    assert found.value("blur") == pytest.approx(same.value("blur"), rel=1e-4)


def test_whole_numbers_are_points():
    mine, real = grid(100, 1), grid(500, 2)
    same = compare(mine.astype(float), real.astype(float), names=["energy distance"])
    for whole in (mine, torch.from_numpy(mine), mine.astype(np.int16)):
        assert compare(whole, real, names=["energy distance"]).to_dict() == same.to_dict()


def test_a_sorted_file_reads_as_a_shuffled_one():
    """Cut as it stands, a sorted sample of the truth would have sets that are nothing like it."""
    mine, real = cloud(500, 1), cloud(500, 2)
    found = compare(mine[np.argsort(mine[:, 0])], real[np.argsort(real[:, 0])], names=["energy distance"])
    assert found.sets == (5, 5)
    assert 0.3 < found.measures["energy distance"].multiple < 3


def test_the_same_arguments_give_the_same_numbers_and_leave_the_points_alone():
    mine, real = cloud(100, 1), cloud(300, 2)
    before = mine.copy(), real.copy()
    one, other = (compare(mine, real, names=FAST).to_json() for _ in range(2))
    assert one == other != compare(mine, real, names=FAST, seed=1).to_json()
    assert np.array_equal(mine, before[0])
    assert np.array_equal(real, before[1])


def test_training_points_add_copies():
    seen, real = cloud(300, 1), cloud(300, 2)
    found = compare(seen[:60], real, train=seen, names=["copies"])
    assert found.value("copies") == 1  # each lies on a training point
    assert found.value("copies", real=True) == pytest.approx(300 / 360, abs=0.06)
    assert found.worse == ["copies"]
    fresh = compare(cloud(60, 3), real, train=seen, names=["copies"])
    assert fresh.worse == fresh.better == []


# --- what is left out


def test_what_so_few_points_do_not_allow_is_left_out_by_name_with_the_reason():
    found = compare(cloud(24, 1), cloud(25, 2))
    assert found.size == 5
    assert {*found.measures} == {*DISTANCES} - {"precision", "coverage", "classifier"}
    assert "coverage was left out: it needs sets of 6 points; these have 5." in str(found)
    assert "precision was left out: in sets of 5 points the nearest five are a large part; it needs 25." in str(found)
    assert "coverage" not in compare(cloud(100, 1), cloud(100, 2), names=["blur", "coverage"]).measures
    assert f"classifier was left out: sets of 5 points are too few to learn from; it needs {CLASSIFIER_LEAST}." in str(
        found
    )
    assert "copies was left out: it needs the training points." in str(found)
    with pytest.raises(ValueError, match="copies are told by the training points: give them"):
        compare(cloud(24, 1), cloud(25, 2), names=["copies"])


def test_w2_of_large_sets_is_taken_if_it_is_asked_for(monkeypatch):
    taken = []
    monkeypatch.setattr(Benchmark, "measure_all", lambda *_, names: taken.append(names) or {})
    mine, real = cloud(W2_DEAR, 1), cloud(5 * W2_DEAR, 2)
    assert (
        compare(mine, real).left_out["W2"] == f"it takes long between sets of {W2_DEAR} points; ask for it by its name"
    )
    compare(mine[:-1], real)
    compare(mine, real, names=["W2", "blur"])
    assert taken == [[name for name in DISTANCES if name != "W2"], [*DISTANCES], ["W2", "blur"]]
    assert W2_DEAR <= LARGE


@pytest.mark.parametrize(
    ("mine", "real", "said"),
    [
        (cloud(FEWEST - 1), cloud(99), "generated points: 23 given; comparing takes 24 or more"),
        (cloud(99), cloud(23), "real points: 23 given; comparing takes 24 or more"),
        (cloud(99)[:, :1], cloud(99), r"generated must be a float tensor of shape \(n, 2\).* got .*\(99, 1\)"),
        (cloud(99) > 0, cloud(99), "generated must be a float tensor"),
        (cloud(99), cloud(99).astype(str), "real must be a float tensor"),
        (np.where(np.arange(99)[:, None] == 4, np.nan, cloud(99)), cloud(99), "1 of 99 generated .* row 4, counted fr"),
        (
            cloud(99),
            np.where(np.arange(99)[:, None] > 96, np.inf, cloud(99)),
            "2 of 99 real points are NaN or infinite",
        ),
        (cloud(99), np.ones((99, 2)), "all 99 points are the same"),
    ],
)
def test_bad_points_are_refused_with_their_number(mine, real, said):
    with pytest.raises(PointsError, match=said):
        compare(mine, real)


def far(n, out, seed=0):
    """A cloud with one point far out."""
    return np.where(np.arange(n)[:, None] == 4, (out, -out), cloud(n, seed))


SQUEEZED = far(3000, 1e6)  # so that the others lie close together, and float64 is taken


@pytest.mark.parametrize(("out", "real"), [(1e19, cloud(99)), (1e39, cloud(99)), (1e300, SQUEEZED)])
@pytest.mark.parametrize("who", ["generated", "training"])
def test_points_too_far_out_for_the_numbers_that_measure_them_are_not_called_infinite(who, out, real):
    """Beyond 1e38 they were told to be finite, which they are. Below, the energy distance was NaN without a word."""
    given = {"generated": cloud(99, 1), "training": cloud(99, 2)} | {who: far(99, out)}
    with pytest.raises(PointsError) as caught:
        compare(given["generated"], real, train=given["training"])
    said = str(caught.value)
    assert said.startswith(f"1 of 99 {who} points are too far out to be measured, more than 1e+")
    assert f"the first is ({out:.3g}, {-out:.3g}) in row 4, counted from 0" in said
    assert f"too large for {'the trees of the classifier' if out == 1e300 else 'float32'}" in said


@pytest.mark.parametrize(("out", "real"), [(1e17, cloud(99)), (1e41, SQUEEZED)])
@pytest.mark.filterwarnings("error:overflow encountered in cast")
def test_what_is_just_near_enough_is_measured_by_every_measure(out, real):
    """So the bound at which points are refused is no smaller than the arithmetic asks for, and no larger."""
    found = compare(far(99, out), real, train=far(99, out, 2))
    assert {name: math.isnan(found.measures[name].value) for name in found.measures} == dict.fromkeys(
        found.measures, False
    )


def test_a_measure_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="no distance 'sharpness'; choose one of energy distance, blur"):
        compare(cloud(99), cloud(99, 1), names=["sharpness"])


# --- what is said


def test_it_seldom_finds_a_difference_where_there_is_none():
    """By chance 5 % are called other than real, at most, in whichever measure; a true 5 % fails one in 1000 times."""
    found = Counter()
    times = often(20, 300)
    for seed in range(times):
        one = compare(cloud(100, 2 * seed), cloud(500, 2 * seed + 1), names=FAST)
        found["worse"] += bool(one.worse)
        found["better"] += bool(one.better)
    assert found["worse"] + found["better"] <= 0.05 * times + 3 * math.sqrt(0.05 * 0.95 * times) + 0.5


def far_ones(n, seed, share):
    """Points of which a share lies where no real one is, around a circle far out; the others are real."""
    points, angle = cloud(n, seed), RNG(seed).random(round(share * n)) * 2 * math.pi
    points[: len(angle)] = 7 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points


def test_the_sentence_names_what_is_worst_with_what_real_points_read():
    """Three per cent of the points are where none should be: the median sees nothing, and strays tell it."""
    found = compare(far_ones(2000, 1, 0.03), cloud(10_000, 2), names=["blur", "strays", "precision"])
    share = found.value("strays")
    assert share == pytest.approx(0.03, abs=0.003)
    assert found.worse[0] == "strays"
    assert "blur" not in found.worse
    real, multiple = found.value("strays", real=True), found.measures["strays"].multiple
    assert found.verdict.startswith(f"Worst: strays, {100 * share:.3g} % where real points read {100 * real:.3g} %: ")
    assert f"{multiple:#.3g} × real [" in found.verdict
    assert "Worse than real, too: precision" in found.verdict


def test_where_nothing_differs_the_sentence_says_so():
    found = compare(cloud(300, 1), cloud(1500, 2), names=FAST)
    assert found.worse == found.better == found.unsure == []
    assert found.verdict.startswith("No difference from real is seen in 7 measures")
    farthest = max(FAST, key=found.badness)
    assert f"The worst reading is {farthest}, " in found.verdict


def a_measure(multiple, low, high, **others):
    usual = {"value": multiple / 2, "real": 0.5, "varies": "5 real sets", "freedom": 13, "rank": 0.5}
    return Measure(**(usual | {"multiple": multiple, "interval": (low, high)} | others))


def a_comparison(**measures):
    return Comparison(measures, {}, "", (), 100, (1, 5), (100, 500), 2.0)


def test_an_interval_is_made_wider_where_there_are_more_measures():
    """With one, 95 % it stays, and its ends decide; with ten, the quantile of Student's t is that of 0.25 %."""
    just = a_measure(1.2, 1.001, 1.44)
    assert a_comparison(blur=just).worse == ["blur"]
    assert a_comparison(blur=just, **{name: a_measure(1, 0.9, 1.1) for name in ("RMS", "strays")}).worse == []
    wide, many = math.log(1.44 / 1.2), {f"{i}": a_measure(1, 0.9, 1.1) for i in range(9)}
    ratio = 3.3725 / 2.1604  # 13 degrees of freedom: five real sets and nine blocks, less one each; scipy.stats.t
    for multiple, worse in ((math.exp(ratio * wide * 1.001), ["blur"]), (math.exp(ratio * wide * 0.999), [])):
        ends = multiple * math.exp(-wide), multiple * math.exp(wide)
        assert a_comparison(blur=a_measure(multiple, *ends), **many).worse == worse


def test_less_is_worse_where_much_is_good_and_the_p_value_decides_where_there_is_one():
    low, high = a_measure(0.5, 0.4, 0.6), a_measure(2, 1.8, 2.2)
    good = {"higher_is_better": True}
    assert a_comparison(blur=low).better == a_comparison(blur=high).worse == ["blur"]
    found = a_comparison(coverage=a_measure(0.5, 0.4, 0.6, **good), precision=a_measure(2, 1.8, 2.2, **good))
    assert (found.worse, found.better) == (["coverage"], ["precision"])
    assert found.badness("coverage") == 2
    for p, worse in ((0.06, []), (0.04, ["classifier"])):
        assert a_comparison(classifier=a_measure(1.1, 1.05, 1.15, p_value=p)).worse == worse


def test_an_interval_that_says_nothing_is_called_unknown():
    for ends in ((0.0, math.inf), (1e-3, 1e5)):
        by_chance = a_comparison(RMS=a_measure(30, *ends))
        assert (by_chance.worse, by_chance.unsure) == ([], []), "half of all labellings read as bad"
        found = a_comparison(RMS=a_measure(30, *ends, rank=1 / 6))
        assert (found.worse, found.unsure) == ([], ["RMS"])
        assert "unknown" in str(found)
        assert "Worse than real, but no interval says how surely: RMS 30.0 × real." in found.verdict


@pytest.mark.parametrize("value", [0.00123, 0.992, 1.0, 29.44, 512.4, 999.7, 1304.0, 999_400.0, 3.2e8])
def test_numbers_are_told_to_three_digits(value):
    said = telling._three(value)
    assert float(said) == pytest.approx(value, rel=5e-3)
    assert ("e" in said) == (value > 1e6)


def test_shares_and_meanings_are_those_of_the_distances():
    assert {*telling.MEANINGS} == {*DISTANCES, "copies"}
    shares = {name for name, known in DISTANCES.items() if known.share}
    assert shares | {"copies"} == telling.SHARES
    assert {"MMD"} == {*DISTANCES} - telling.SHARES - LENGTHS  # it alone has no unit


def test_the_table_as_text_as_html_and_as_json_say_the_same():
    found = compare(far_ones(200, 1, 0.05), cloud(1000, 2), names=FAST)
    table = found.table()
    assert [*table.index] == FAST
    for text in (str(found), found._repr_html_()):
        assert all(cell in text for cell in table.to_numpy().ravel())
        assert found.verdict in text
    read = json.loads(found.to_json())
    assert read == found.to_dict()
    assert read["measures"]["blur"]["value"] == found.value("blur")
    assert read["worse"] == found.worse


# --- odd points


def told(found):
    """All that is said; nothing of it is a number that is none."""
    text = f"{found} {found._repr_html_()}"
    assert not {"nan", "inf", "NaN", "Infinity"} & {*text.replace("[", " ").replace(",", " ").split()}
    json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return text


def test_points_on_a_line_are_measured_and_those_beside_it_are_seen():
    assert told(compare(line(300, 1), line(1500, 2), names=FAST))
    found = compare(line(300, 1) + 0.01 * cloud(300, 3), line(1500, 2), names=FAST)
    told(found)
    assert {"blur", "RMS", "precision"} <= {*found.worse}


def test_on_a_grid_real_points_read_0_and_that_is_said():
    found = compare(grid(300, 1), grid(1500, 2), names=FAST)
    assert found.measures["blur"].real == 0
    assert found.worse == []
    assert "Real points read 0 in blur" in told(found)
    assert "The 1500 real points stand at 100 different places." in told(found)
    assert "are real points exactly" not in told(found)  # so are real ones among each other
    beside = compare(grid(300, 1) + 0.1, grid(1500, 2), names=FAST)
    assert "blur" in beside.worse
    assert f"blur, {beside.value('blur'):.3g} where real points read 0" in told(beside)
    assert json.loads(beside.to_json())["measures"]["blur"]["multiple"] is None


def test_few_places_are_measured_and_a_sample_that_fell_on_few_is_told():
    places = cloud(5)
    few = [places[RNG(seed).integers(0, 5, n)] for seed, n in ((1, 300), (2, 1500))]
    found = compare(*few, names=FAST)
    assert found.worse == []
    assert "Real points read 0 in blur, RMS, strays" in told(found)
    assert compare(*few, names=["blur"]).verdict == "These points read 0, as real ones do."
    collapsed = compare(few[0], cloud(1500, 3), names=FAST)
    assert "The 300 generated points stand at 5 different places." in told(collapsed)
    assert "coverage" in collapsed.worse


def test_one_far_point_is_told_whichever_side_it_is_on():
    mine, real = cloud(300, 1), cloud(1500, 2)
    mine[7] = real[3] = 1e6, 0
    good = cloud(1500, 4)
    found = compare(mine, good, names=FAST)
    assert "RMS" in found.unsure
    distance = np.linalg.norm(mine[7] - good, axis=1).min()
    assert f"The farthest generated point is {distance:.3g} from all real ones" in found.verdict
    assert "of 300 generated ones lie farther out" in told(found)
    spoilt = compare(cloud(300, 5), real, names=FAST)
    assert "The real points have 1 that are more than 10 times the scale" in told(spoilt)
    # what is beside the far point is still read to the last digits that there are, however small it is in its scale
    clean = compare(cloud(300, 5), np.delete(real, 3, 0), names=["blur"])
    assert spoilt.value("blur") == pytest.approx(clean.value("blur"), rel=0.05)


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (lambda points: points, False),
        (lambda points: points * 2 + 1, False),
        (lambda points: points * 50, True),
        (lambda points: points / 50, True),
        (lambda points: points + 20, True),
    ],
)
def test_other_units_are_suspected(mine, said):
    assert ("Are the units the same?" in told(compare(mine(cloud(100, 1)), cloud(500, 2), names=["blur"]))) == said


def test_copies_of_real_points_are_found_without_training_points():
    real = cloud(500, 1)
    found = compare(real, real, names=FAST)
    assert "100 % of the generated points are real points exactly" in told(found)
    assert "blur" in found.better
    half = compare(np.concatenate([real[:100], cloud(100, 2)]).astype(np.float32), real, names=["blur"])
    assert "50 % of the generated points are real points exactly" in told(half)  # also if they lost digits on the way
    assert "exactly" not in told(compare(cloud(200, 3), real, names=["blur"]))
    assert "40 % of the real points are training points exactly" in told(
        compare(cloud(200, 3), real, train=real[:200], names=["blur"])
    )
