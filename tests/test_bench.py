"""The benchmark's own arithmetic, and that each contender learns and samples. No speed is tested here."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from benchmarks import (
    bench,
    contender,
    edm,
    flow_matching,
    page,
    peers,
    race,
    rates,
    sizes,
    stored,
    summaries,
    verdicts,
)

from lab_utils.base.files import lock
from lab_utils.points.dataset import Dataset
from lab_utils.report.__main__ import MARKER

MEAN, STD = torch.tensor([0.5, -0.3]), torch.tensor([1.2, 0.7])
# rates for a few seconds of training, and samplers that are quick
SETTINGS = {
    "lab": {"width": 32, "learning_rate": 4e-3, "ema_decay": 0.99, "timesteps": "uniform", "batch_size": 100},
    "diffusers": {},
    "smalldiffusion": {"batch_size": 256},
    "EDM recipe": {},
    "flow matching": {"width": 32, "batch_size": 256, "learning_rate": 3e-3},
}
QUICK = {"lab": 0, "diffusers": 1, "smalldiffusion": 0, "EDM recipe": 3, "flow matching": 0}  # which of its samplers


@pytest.fixture(autouse=True)
def leave_the_global_generator_alone():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def kind_of(name):
    kind = peers.CONTENDERS[name]
    try:
        kind.load()
    except Exception as error:
        pytest.skip(f"{name} can't be imported: {error}")
    return kind


def gaussian(n=1000):
    return MEAN + STD * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


# --- contenders


@pytest.mark.parametrize("name", SETTINGS)
def test_a_contender_learns_a_gaussian_and_gives_it_back(name):
    one = kind_of(name)(gaussian(), 0, **SETTINGS[name])
    losses = []
    while one.points < 60_000:
        one.turn()
        losses.append(float(one.loss))
    tenth = len(losses) // 10
    assert sum(losses[-tenth:]) < 0.95 * sum(losses[:tenth])
    sampler = [*one.samplers][QUICK[name]]
    x = one.sample(1000, 1, sampler)
    assert x.shape == (1000, 2)
    assert x.dtype == torch.float32
    assert not x.requires_grad
    # medians and quartiles, for a young network may leave a few points far outside
    low, middle, high = x.quantile(torch.tensor([0.25, 0.5, 0.75]), dim=0)
    torch.testing.assert_close(middle, MEAN, atol=0.35, rtol=0)
    torch.testing.assert_close((high - low) / 1.349, STD, atol=0.35, rtol=0)
    assert all(one.ask(7)(way).shape == (7, 2) for way in (0, 0.99))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_clock_of_a_contender_stands_while_it_does_not_train(name):
    one = kind_of(name)(gaussian(300), 0)
    one.turn()
    seconds, points = one.seconds, one.points
    one.sample(5, steps=2)
    assert (one.seconds, one.points) == (seconds, points)
    one.train_until(seconds)
    assert one.points == points
    one.train_until(seconds + 1e-6)
    assert one.points > points


def test_the_clock_of_a_contender_counts_the_processors_time_alone():
    def waiting():
        time.sleep(0.2)
        yield 50

    one = peers.EDM(gaussian(50), 0)
    one._turns = waiting()
    assert one.turn() == 50
    assert one.seconds < 0.1, "while it waits, another program may compute"


def test_the_residual_network_is_3_times_128_with_128_sinusoids_an_input():
    network = contender.ResidualNetwork()
    layers = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    assert sorted(layers) == [(2, 128), (128, 128), (128, 128), (128, 128), (128, 384)]
    waves = contender.sinusoids(torch.tensor([0.0, 0.1]), 128, 25.0)
    assert waves.shape == (2, 128)
    torch.testing.assert_close(waves[1, [0, 64]], torch.tensor([math.sin(2.5), math.cos(2.5)]))
    torch.testing.assert_close(waves[0], torch.cat([torch.zeros(64), torch.ones(64)]))


def test_a_package_that_is_missing_is_named_with_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    found = peers.missing()
    assert found["diffusers"].startswith("ModuleNotFoundError: import of diffusers halted")
    assert "EDM recipe" not in found
    kinds = race.racers(peers.CONTENDERS, found)
    assert peers.Diffusers not in kinds
    assert peers.Lab in kinds
    assert peers.LabAsItComes not in kinds


# --- EDM


@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_what_enters_edms_network_and_what_it_is_to_answer_have_unit_variance(sigma):
    c_skip, c_out, c_in, c_noise = edm.preconditioning(torch.tensor(sigma, dtype=torch.float64))
    data = edm.SIGMA_DATA**2  # the variance of the data, and of what is added to them: σ²
    assert c_in**2 * (data + sigma**2) == pytest.approx(1)
    # the answer is (y − c_skip (y + n)) / c_out
    assert ((1 - c_skip) ** 2 * data + c_skip**2 * sigma**2) / c_out**2 == pytest.approx(1)
    assert edm.loss_weight(torch.tensor(sigma)) * c_out**2 == pytest.approx(1)
    assert c_noise == pytest.approx(math.log(sigma) / 4)


def test_edm_leaves_points_without_noise_as_they_are():
    x = gaussian(50)
    torch.testing.assert_close(edm.Denoiser()(x, torch.full((1, 1), 1e-7)), x)


def test_edms_noise_levels_run_from_80_to_0002_and_end_at_0():
    levels = edm.sigmas(18)
    assert len(levels) == 19
    assert levels[[0, 17, 18]].tolist() == pytest.approx([80, 0.002, 0])
    assert (levels.diff() < 0).all()
    assert levels[1:3].tolist() == pytest.approx([57.586, 40.786], abs=1e-3)  # eq. 5 with ρ = 7


def test_heun_is_of_second_order_and_asks_twice_a_step_but_once_in_the_last():
    data, asked = torch.tensor(0.3), []  # the standard deviation: the best denoiser is x s² / (s² + σ²)

    def best(x, sigma):
        asked.append(float(sigma))
        return x * data**2 / (data**2 + sigma**2)

    x = torch.tensor([[80.0, -40.0]])
    exact = x * data / (data**2 + 80**2).sqrt()  # the path keeps x in step with √(s² + σ²)
    errors = [float((edm.heun(best, x, edm.sigmas(steps)) / exact - 1).abs().max()) for steps in (18, 36, 72)]
    assert len(asked) == 35 + 71 + 143
    assert errors[0] < 0.1
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3


def test_without_churn_heun_is_deterministic_and_with_churn_it_keeps_the_variance(monkeypatch):
    """Of Gaussian data, with the best denoiser: the noise that is added is what a longer step takes away."""
    data = 0.5

    def best(x, sigma):
        return x * data**2 / (data**2 + sigma**2)

    start = 80 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    plain, again = (edm.heun(best, start, edm.sigmas(512)) for _ in range(2))
    torch.testing.assert_close(plain, again, atol=0, rtol=0)
    torch.manual_seed(0)
    monkeypatch.setattr(edm, "S_NOISE", 1.0)  # theirs is a little more, to make up for what networks lose
    churned = edm.heun(best, start, edm.sigmas(512), churn=edm.S_CHURN)
    assert float(plain.std()) == pytest.approx(data, rel=0.01)
    assert float(churned.std()) == pytest.approx(data, rel=0.01)
    assert float((churned * plain).mean()) < 0.5 * data**2  # they have left where they came from


# --- flow matching


def test_the_network_of_flow_matching_is_four_layers_of_512_and_what_enters_is_three_numbers():
    network = flow_matching.Velocity(flow_matching.FlowMatching.defaults["width"])
    layers = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    assert layers == [(512, 3), (512, 512), (512, 512), (512, 512), (2, 512)]
    x = gaussian(5)
    one = network(x, torch.full((1, 1), 0.3))
    torch.testing.assert_close(one, network(x, torch.full((5, 1), 0.3)))
    assert not torch.allclose(one, network(x, torch.full((1, 1), 0.4)), atol=1e-4), "time matters"


@pytest.mark.parametrize("method", flow_matching.METHODS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_constant_velocity_of_1_to_the_right_moves_by_that_from_noise_to_data(method, steps):
    x = gaussian(20)
    moved = flow_matching.METHODS[method](lambda x, t: torch.tensor([1.0, 0.0]), x, torch.linspace(0, 1, steps + 1))
    torch.testing.assert_close(moved, x + torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(("method", "order"), [("Euler", 1), ("midpoint", 2)])
def test_flow_matchings_steps_are_of_their_order_on_a_gaussian(method, order):
    """Of data with the standard deviation 1/2; on the path it is √((1−t)² + t²/4), and points keep in step with it."""

    def best(x, t):
        return x * (t / 4 - (1 - t)) / ((1 - t) ** 2 + t**2 / 4)

    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    errors = [
        float((flow_matching.METHODS[method](best, x, torch.linspace(0, 1, n + 1).double()) / (x / 2) - 1).abs().max())
        for n in (20, 40, 80)
    ]
    assert errors[0] < 0.1
    for coarse, fine in pairwise(errors):
        assert 0.9 * 2**order < coarse / fine < 2.6 * 2**order


def test_each_sampler_of_flow_matching_asks_as_often_as_it_says():
    one, asked = flow_matching.FlowMatching(gaussian(10), 0, width=8), []
    one.network.register_forward_hook(lambda *_: asked.append(1))
    for sampler, evaluations in one.samplers.items():
        asked.clear()
        one.sample(2, sampler=sampler)
        assert len(asked) == evaluations, sampler
    longest = max(one.samplers, key=one.samplers.__getitem__)
    asked.clear()
    one.sample(2, sampler=longest, steps=3)
    assert len(asked) == 3 * one.evaluations


def test_a_peer_is_tuned_over_what_it_lets_one_choose():
    tried = race.grid(flow_matching.FlowMatching)
    assert tried[0] == flow_matching.FlowMatching.defaults
    assert {row["width"] for row in tried} == {512, 64}
    assert len(tried) == 2 * len(race.grid(peers.EDM)) == 12
    assert {*race.grid(peers.EDM)[0]} == {"learning_rate", "batch_size"}


# --- the race


def looks(*multiples, measure="energy distance"):
    return [{"seconds": 2.0**k, measure: multiple} for k, multiple in enumerate(multiples)]


@pytest.mark.parametrize(
    ("multiples", "target", "found"),
    [
        ((9, 3.9, 1.2), 4, (2, True)),
        ((9, 3.9, 4.5, 5), 4, (2, True)),  # the first time counts
        ((4,), 4, (1, True)),
        ((9, None, 1), 2, (4, True)),  # points that are not finite are no success
        ((9, 5, 4.1), 4, (4, False)),
        ((), 4, (0, False)),
    ],
)
def test_time_to_a_target(multiples, target, found):
    assert race.time_to(looks(*multiples), "energy distance", target) == found


def test_checkpoints_rise_to_the_budget():
    assert race.checkpoints(4) == pytest.approx([0.5 * math.sqrt(2) ** k for k in range(7)])
    assert race.checkpoints(30)[-2:] == pytest.approx([0.5 * math.sqrt(2) ** 11, 30])
    assert race.checkpoints(0.3) == [0.3]


class Runner:
    """A contender whose quality is that of a table: the multiple after so many seconds."""

    workers = 2

    def __init__(self, curve, evaluations=1):
        self.curve, self.seconds, self.points = curve, 0.0, 0
        self.usual, self.samplers = "any", {"any": evaluations}

    def train_until(self, seconds):
        self.seconds = seconds

    def sample(self, n, seed, sampler):
        return torch.full((n, 2), self.curve(self.seconds))


class Jury:
    def multiples(self, points):
        return dict.fromkeys((*race.MEASURES, race.EVERY), float(points[0, 0]))


def test_in_a_race_all_are_looked_at_at_all_checkpoints_until_they_are_done():
    runners = {
        "good": Runner(lambda s: 6 / s),
        "bad": Runner(lambda s: 9.0),
        "rare": Runner(lambda s: 9.0, evaluations=1000),
    }
    rows = [*race.race(runners, Jury(), 8, seed=0)]
    when = {name: [row["checkpoint"] for row in rows if row["contender"] == name] for name in runners}
    assert when["bad"] == race.checkpoints(8)
    assert when["good"] == pytest.approx(race.checkpoints(4))  # 1.5 is reached there
    assert when["rare"] == pytest.approx([0.5, 2, 8])
    assert [*race.race(runners, Jury(), 8, seed=0)] == rows
    first = {next(race.race(runners, Jury(), 0.5, seed=seed))["contender"] for seed in range(20)}
    assert first == {"good", "bad", "rare"}


def test_every_race_comes_once_and_all_data_sets_before_the_next_seed():
    assert race.order(("a", "b"), 2) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_all_cores_give_as_many_points_and_no_point_twice():
    one = peers.EDM(gaussian(100), 0)
    one.usual, one.samplers = "Heun, 2 steps", {"Heun, 2 steps": 3}
    x = race.points_of(one, 1)
    assert x.shape == (race.SIZE, 2)
    assert len(x.unique(dim=0)) == race.SIZE
    assert not x.requires_grad


def test_tuning_tries_its_grid_and_puts_the_best_first(monkeypatch):
    quality = {1e-3: (5.0, 1.0), 3e-3: (2.04, 1.9), 1e-2: (2.01, 1.8)}

    class Peer(Runner):
        defaults = {"learning_rate": 1e-3, "batch_size": 100}  # noqa: RUF012
        choices = {}  # noqa: RUF012
        name = "peer"

        def __init__(self, train, seed=0, usual="any", learning_rate=1e-3, batch_size=100):
            super().__init__(lambda s: learning_rate)
            self.batch_size = batch_size

    class Judge:
        data = Dataset("", gaussian(10), gaussian(10), None, "")

        def multiples(self, points):
            rate = min(quality, key=lambda rate: abs(rate - float(points[0, 0])))
            return dict(zip((race.EVERY, "blur"), quality[rate], strict=True))

    rows = race.tune(Peer, Judge(), 3.0)
    assert len(rows) == 6
    assert {(row["learning_rate"], row["batch_size"]) for row in rows} == {
        (rate, batch) for rate in (1e-3, 3e-3, 1e-2) for batch in (100, 400)
    }
    assert rows[0]["learning_rate"] == 1e-2  # as good in the worst measure to two digits, and sharper
    tuned = {"learning_rate": 1e-2, "batch_size": 100, "usual": "any"}
    assert [*race.entrants([Peer], {"peer": tuned}, gaussian(10), 0)] == ["peer", "peer, tuned"]
    assert [*race.entrants([Peer], {"peer": {**Peer.defaults, "usual": "any"}}, gaussian(10), 0)] == ["peer"]


def test_a_jury_reads_the_worst_of_all_measures_and_none_of_points_that_are_not_finite():
    jury = race.judge("gaussian", race.TUNING_DRAW)
    read = jury.multiples(jury.data.train[:1000])
    assert {*read} == {*race.MEASURES, race.EVERY}
    distances = [value for name, value in read.items() if name not in ("precision", "coverage", race.EVERY)]
    assert read[race.EVERY] == max(*distances, 1 / read["precision"], 1 / read["coverage"])
    assert jury.multiples(torch.full((1000, 2), math.nan)) == dict.fromkeys((*race.MEASURES, race.EVERY))


def test_each_way_to_sample_is_measured_after_the_whole_budget():
    one = Runner(lambda s: s)
    (row,) = race.compare_samplers(one, Jury(), 30.0, seed=0)
    assert (row["sampler"], row["evaluations"], row["seconds"], row["blur"]) == ("any", 1, 30.0, 30.0)


# --- rates and sizes


def test_the_products_of_a_network_are_found_forward_and_backward():
    layer = torch.nn.Linear(3, 4)
    x = torch.randn(5, 3, requires_grad=True)
    found = rates.products(lambda: layer(x).sum().backward())
    # forward, for the input and for the weights: as many multiplications in each
    assert rates.multiply_adds(found) == 3 * 5 * 3 * 4
    with torch.inference_mode():
        assert rates.multiply_adds(rates.products(lambda: layer(x))) == 5 * 3 * 4
    assert rates.repeats_per_second(found, 0.01) > 0


def test_a_command_is_timed_and_its_memory_is_its_own():
    pytest.importorskip("resource")
    found = sizes.measured([sys.executable, "-c", "import time; x = b'x' * 150_000_000; time.sleep(0.1)"])
    assert found["seconds"] > 0.1
    assert 150 < found["peak"] < 250
    with pytest.raises(RuntimeError, match="ended with 3: oh"):
        sizes.measured([sys.executable, "-c", "import sys; print('oh', file=sys.stderr); sys.exit(3)"])


# --- verdicts and the page


def made_up(lab=4.0, peer=50.0, reached=True, peers_too=True):
    """A run in which the lab takes `lab` seconds to all targets and a peer `peer`, if it gets there."""

    def curve(name, seconds, good):
        multiples = {name: 1.2 if good else None if name == "blur" else 7.0 for name in (*race.MEASURES, race.EVERY)}
        row = {"data": "cities", "contender": name, "checkpoint": seconds, "points": 1, **multiples}
        return [{**row, "seed": seed, "seconds": seconds * (1 + seed / 10)} for seed in range(5)]

    def rate(name, what, n, value, threads=1):
        return [{"round": k, "contender": name, "what": what, "n": n, "threads": threads, "rate": value + k,
                 "products": 1.25 * value, "adds": 66_000} for k in (1, 2, 3)]  # fmt: skip

    names = ["lab", "diffusers", "diffusers, tuned"] if peers_too else ["lab"]
    samplers = [
        {"data": "cities", "seed": seed, "contender": name, "sampler": f"{k} steps", "evaluations": k, "seconds": 60.0,
         "usual": "50 steps", **dict.fromkeys((*race.MEASURES, race.EVERY), quality + seed / 100 + 1 / k),
         "precision": 0.9, "coverage": 0.9}
        for name, quality in [("lab", 1.2), ("diffusers", 1.9)] if peers_too or name == "lab"
        for seed in range(5) for k in (10, 50, 1000)
    ]  # fmt: skip
    return {
        "finished": True,
        "data": ["cities"],
        "options": {"budget": 60.0, "seeds": 5, "rounds": 3, "tuning": 5.0},
        "facts": {"Processor": "abacus"},
        "settings": {"lab": {"width": 128}},
        "missing": {} if peers_too else {"diffusers": "ModuleNotFoundError: <none>"},
        "training_points": {"cities": dict.fromkeys((*race.MEASURES, race.EVERY), 1.0)},
        "race": [row for name in names for row in curve(name, *((lab, True) if name == "lab" else (peer, reached)))],
        "samplers": samplers,
        "tuning": [{"data": "cities", "contender": "diffusers", "learning_rate": 1e-3, "batch_size": 256,
                    "sampler": "50 steps", "seconds": 5.0,
                    **dict.fromkeys((*race.MEASURES, race.EVERY), 2.0), "blur": None}],
        "rates": [
            *(row for name in ("lab", "lab, 3 × 128") for row in rate(name, "sampling", 5000, 1.6e6, 2)),
            *rate("lab, as it comes", "training", 500, 2e5), *rate("lab, as it comes", "sampling", 5000, 9e5, 2),
            *rate("diffusers", "sampling", 5000, 1e5), *rate("diffusers", "sampling", 5000, 2e5, 2),
        ],
        "memory": [{"contender": "lab", "n": 5000, "before": 300.0, "peak": 310.0},
                   {"contender": "diffusers", "n": 5000, "before": 280.0, "peak": 305.0}],
        "sizes": [{"round": 1, "n": 10**k, "seconds": 2 + 10 ** (k - 5), "peak": 400.0} for k in range(3, 8)],
    }  # fmt: skip


def said(result, start):
    (found,) = [verdict for verdict in verdicts.verdicts(result) if verdict.promise.startswith(start)]
    return found


RACE = "cities: seconds to 2 × real in energy distance, "


@pytest.mark.parametrize(
    ("run", "text", "ten", "four"),
    [
        ({"lab": 4.0, "peer": 50.0}, "12.5 [12.5, 12.5]", True, True),
        ({"lab": 4.0, "peer": 20.0}, "5.0 [5.0, 5.0]", False, True),
        ({"lab": 4.0, "peer": 60.0, "reached": False}, "≥ 15.0 [≥ 15.0, ≥ 15.0]", True, True),
        ({"lab": 20.0, "peer": 60.0, "reached": False}, "≥ 3.0 [≥ 3.0, ≥ 3.0]", None, None),
    ],
)
def test_ratios_of_seconds(run, text, ten, four):
    result = made_up(**run)
    untuned, tuned = said(result, RACE + "10"), said(result, RACE + "4")
    assert untuned.measured == f"{text} × (diffusers)"
    assert tuned.measured == f"{text} × (diffusers, tuned)"
    assert (untuned.holds, tuned.holds) == (ten, four)


def test_a_peer_that_was_tuned_on_other_data_counts_here_as_it_is():
    """Its settings were the best here, so they are its tuned ones, and there is no second row of it."""
    result = made_up()
    here = [row for row in result["race"] if not row["contender"].endswith("tuned")]
    result["race"] = here + [{**row, "data": "spiral"} for row in result["race"]]
    assert said(result, RACE + "4").measured == "12.5 [12.5, 12.5] × (diffusers)"


def test_without_tuning_there_is_no_tuned_peer():
    result = {**made_up(), "tuning": []}
    assert said(result, RACE + "4").holds is None
    assert said(result, RACE + "10").holds


def test_bounds_of_a_ratio():
    assert summaries.ratio_bounds((2, True), (10, True)) == (5, 5)
    assert summaries.ratio_bounds((2, True), (10, False)) == (5, math.inf)
    assert summaries.ratio_bounds((2, False), (10, True)) == (0, 5)
    assert summaries.ratio_bounds((2, False), (10, False)) == (0, math.inf)
    assert verdicts.bound(0, 5) == "≤ 5.0"
    assert verdicts.bound(0, math.inf) == "unknown"


def test_other_verdicts():
    result = made_up()
    assert said(result, "5000 points: 6").measured.startswith("8 [")  # beside the better choice of threads
    assert said(result, "5000 points: 6").holds
    assert said(result, "5000 points: 0.7").holds
    assert said(result, "cities: the usual 50 evaluations no worse than 1000 by blur").holds
    for row in result["samplers"]:
        row["blur"] += row["evaluations"] == 50
    found = said(result, "cities: the usual 50 evaluations no worse than 1000 by blur")
    assert (found.measured, found.holds) == ("50: 2.24 [2.22, 2.26]; 1000: 1.22 [1.2, 1.24]", False)
    promise = said(result, "the lab as it comes, sampling")
    assert (promise.holds, promise.must) == (False, True)
    assert said(result, "the lab as it comes, training").holds
    assert said(result, "memory does not grow").holds
    assert said(result, "time beyond the start grows as n").measured == "as n to the 1.00"
    for row in result["sizes"]:
        row.update(seconds=row["n"] ** 1.3, peak=row["n"])
    assert not said(result, "time beyond the start grows as n").holds
    assert not said(result, "memory does not grow").holds
    assert summaries.coverage(5) == pytest.approx(0.9375)


def test_a_row_in_which_a_peer_is_ahead_is_listed():
    assert verdicts.ahead(made_up()) == ["diffusers holds less memory for 5000 points"]
    found = verdicts.ahead(made_up(lab=60.0, peer=3.0))
    assert "diffusers, tuned is first to 1.5 × real in blur on cities: 3.6 s, the lab 72 s" in found
    assert len(found) == 1 + 3 * 2 * 3  # less memory; two rows of a peer in three races to three targets


def test_a_peer_that_is_better_after_the_whole_time_is_listed_if_the_intervals_do_not_meet():
    run = made_up()
    for row in run["samplers"]:
        if row["contender"] == "diffusers":
            row["strays"] -= 0.72  # 1.2 to 1.24, and the lab's 1.22 to 1.26
        else:
            row["coverage"] = 0.8  # of which more is better
    found = verdicts.ahead(run)[:-1]
    assert found == ["diffusers is ahead after the whole time in coverage on cities: 0.9 × real, the lab 0.8"]
    for row in run["samplers"]:
        row["strays"] -= 0.06 * (row["contender"] == "diffusers")
    assert any("ahead after the whole time in strays" in sentence for sentence in verdicts.ahead(run))


def test_a_peer_whose_points_are_not_finite_is_ahead_in_nothing():
    run = made_up()
    for row in run["samplers"]:
        if row["contender"] == "diffusers":
            row.update(dict.fromkeys((*race.MEASURES, race.EVERY)))
    assert verdicts.ahead(run) == ["diffusers holds less memory for 5000 points"]
    assert summaries.evaluations(run, "cities", "diffusers", 2.0) == math.inf


def test_the_fewest_evaluations_are_those_at_which_the_worst_measure_is_there_in_the_median():
    run = made_up()
    assert summaries.evaluations(run, "cities", "lab", 2.0) == 10
    assert summaries.evaluations(run, "cities", "lab", 1.25) == 50
    assert summaries.evaluations(run, "cities", "diffusers", 2.0) == 50
    assert summaries.evaluations(run, "cities", "diffusers", 1.5) == math.inf
    assert summaries.evaluations(run, "cities", "nobody", 9.0) == math.inf


def test_the_page_holds_the_verdicts_and_who_is_missing():
    text = page.render(made_up())
    assert "12.5 [12.5, 12.5] × (diffusers)" in text
    assert "Missing" not in text
    assert "not finished" not in text
    assert 'src="http' not in text
    assert "&gt; 60" in page.render(made_up(peer=60.0, reached=False))
    text = page.render({**made_up(peers_too=False), "finished": False})
    assert "<b>diffusers</b> missing: ModuleNotFoundError: &lt;none&gt;" in text
    assert "not measured" in text
    assert "not finished" in text


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"cities": 5}, "Medians over 5 seeds (of rates: 3 rounds); in brackets, the smallest and the largest: an "
         "interval that holds the true median with a chance of 94 %."),
        ({"cities": 5, "spiral": 2}, "Medians over 2 to 5 seeds (of rates: 3 rounds); in brackets, the smallest and "
         "the largest: an interval that holds the true median with a chance of 50 % or more."),
        ({"cities": 1}, "Medians over 1 seeds (of rates: 3 rounds); in brackets, the smallest and the largest."),
        ({}, "Medians over 0 seeds (of rates: 3 rounds); in brackets, the smallest and the largest."),
    ],
)  # fmt: skip
def test_the_page_counts_the_seeds_that_have_raced_and_not_those_that_were_asked_for(seeds, said):
    """A run may have had more seeds on one data set than on another, or be interrupted."""
    run = made_up()
    rows = [row for row in run["samplers"] if row["seed"] == 0]
    run["samplers"] = [{**row, "data": data, "seed": k} for data, n in seeds.items() for k in range(n) for row in rows]
    assert f"{said}" in page.render(run)


def asked(out, *options):
    return bench.parser().parse_args(["--out", str(out), *options])


def a_look(**more):
    return dict.fromkeys((*race.MEASURES, race.EVERY), 1.0) | more


def half_a_run(out, *options, **changes):
    """The JSON of a run that has raced on the cities with one seed."""
    result = stored.empty(asked(out, *options), peers.missing())
    result["training_points"] = {name: a_look() for name in result["data"]}
    row = {"data": "cities", "seed": 0, "contender": "lab", "seconds": 1.0}
    result["race"] = [a_look(**row, checkpoint=1.0)]
    result["samplers"] = [a_look(**row, sampler="any", usual="any", evaluations=9)]
    return result | changes


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Races that take no time: those that were run, as (data, seed), in order."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))  # the locks stand there
    found = []

    class Judge(Jury):
        def __init__(self, name):
            self.name, self.data = name, SimpleNamespace(train=gaussian(50))

    def one_race(contenders, jury, budget, seed):
        if (jury.name, seed) in found.stop:
            found.stop.clear()
            raise KeyboardInterrupt
        found.append((jury.name, seed))
        yield a_look(contender="lab", checkpoint=1.0, seconds=1.0, points=1)

    def one_sampler(one, jury, budget, seed):
        yield a_look(sampler="any", evaluations=9, seconds=1.0)

    class Found(list):
        stop = set()  # noqa: RUF012

    found = Found()
    monkeypatch.setattr(race, "judge", lambda name, draw: Judge(name))
    monkeypatch.setattr(race, "race", one_race)
    monkeypatch.setattr(race, "compare_samplers", one_sampler)
    return found


def races(out, *options, data=("cities",), seeds=3):
    return ["--parts", "race", "--tuning", "0", "--seeds", str(seeds), "--data", *data, "--out", str(out), *options]


def test_a_page_of_nothing_yet_can_be_written(tmp_path):
    result = stored.empty(asked(tmp_path, "--data", "cities"), {"diffusers": "not here"})
    result["training_points"]["cities"] = a_look()
    stored.save(result, tmp_path)
    assert "diffusers" not in result["settings"]
    assert stored.read(tmp_path / "bench.json")["missing"] == {"diffusers": "not here"}
    assert "This run is not finished" in (tmp_path / "bench.html").read_text()


def test_a_run_that_was_interrupted_goes_on_with_what_it_has(tmp_path, made, capsys):
    made.stop.add(("cities", 1))
    assert bench.main(races(tmp_path)) == 130
    assert f"Interrupted. What was measured is in {tmp_path / 'bench.html'}" in capsys.readouterr().out
    assert not stored.read(tmp_path / "bench.json")["finished"]
    bench.main(races(tmp_path))
    assert made == [("cities", 0), ("cities", 1), ("cities", 2)]
    assert "1 of 3 races are there" in capsys.readouterr().out
    result = stored.read(tmp_path / "bench.json")
    assert result["finished"]
    assert [row["seed"] for row in result["race"]] == [0, 1, 2]
    assert result["options"]["tuning"] == 0


def test_what_is_there_is_kept_and_what_is_missing_is_added(tmp_path, made, capsys):
    """Hours of races are not lost because somebody asks for one data set more; nor measured twice."""
    bench.main(races(tmp_path))
    bench.main(races(tmp_path))
    assert "3 of 3 races are there" in capsys.readouterr().out
    assert len(made) == 3, "nothing was missing"
    bench.main(races(tmp_path, data=["moons", "cities"], seeds=2))
    assert made[3:] == [("moons", 0), ("moons", 1)]
    assert "2 of 4 races are there" in capsys.readouterr().out
    bench.main(races(tmp_path, data=["moons"], seeds=3))
    assert made[5:] == [("moons", 2)]
    result = stored.read(tmp_path / "bench.json")
    assert result["finished"]
    assert result["data"] == ["cities", "moons"] == [*result["training_points"]]
    assert Counter((row["data"], row["seed"]) for row in result["race"]) == Counter(made)
    assert "Medians over 3 seeds" in (tmp_path / "bench.html").read_text()
    assert sorted(path.name for path in tmp_path.glob("bench*")) == ["bench.html", "bench.json"]


def test_rates_memory_and_sizes_are_added_to_races_and_rounds_to_rounds(tmp_path, made, monkeypatch):
    asked_for = []

    def rounds(kinds, n):
        asked_for.append(n)
        yield from (
            {
                "round": k + 1,
                "contender": "lab",
                "what": "training",
                "n": 5,
                "threads": 1,
                "rate": 9.0,
                "products": 10.0,
            }
            for k in range(n)
        )

    def sizes_of(counts=sizes.COUNTS):
        asked_for.append("sizes")
        yield {"n": 1000, "seconds": 1.0, "peak": 300.0}
        if broken:
            raise RuntimeError("no room")

    memory = {"before": 1.0, "peak": 2.0}
    monkeypatch.setattr(rates, "measure", rounds)
    monkeypatch.setattr(
        rates, "memory", lambda name, n: asked_for.append(name) or {"contender": name, "n": n, **memory}
    )
    monkeypatch.setattr(sizes, "measure", sizes_of)
    monkeypatch.setattr(sizes, "missing", lambda: "")
    bench.main(races(tmp_path))
    more = ["--parts", "rates", "sizes", "--tuning", "0", "--data", "cities", "--out", str(tmp_path)]
    broken = True
    bench.main([*more, "--rounds", "2"])
    first = stored.read(tmp_path / "bench.json")
    assert first["missing"]["sizes"] == "no room"
    assert len(first["sizes"]) == 1, "what could be measured"
    broken = False
    bench.main([*more, "--rounds", "5"])
    bench.main([*more, "--rounds", "3"])
    result = stored.read(tmp_path / "bench.json")
    assert [step for step in asked_for if step not in peers.CONTENDERS] == [2, "sizes", 3, "sizes"]
    assert [row["round"] for row in result["rates"]] == [1, 2, 3, 4, 5]
    assert {row["contender"] for row in result["memory"]} == peers.CONTENDERS.keys() - peers.missing().keys()
    assert len(result["memory"]) == len({(row["contender"], row["n"]) for row in result["memory"]})
    assert len(result["sizes"]) == 1
    assert "sizes" not in result["missing"]
    assert len(made) == len(result["samplers"]) / len({row["contender"] for row in result["samplers"]}) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"options": {"budget": 7.0, "tuning": 8.0}}, "other budget"),
        ({"code": ["0.1.0+12345678"] * 3}, "other code"),
        ({"facts": {"Processor": "abacus"}}, "other processor"),
        ({"missing": {"nobody": "not here"}}, "other missing"),
    ],
)
def test_another_run_begins_anew_and_keeps_the_one_that_stands_there(tmp_path, capsys, change, why):
    """An hour's work was overwritten by a command with another option."""
    old, options = half_a_run(tmp_path, "--data", "cities", **change), asked(tmp_path, "--data", "cities")
    for name, text in (("bench.json", json.dumps(old)), ("bench.html", "its page"), ("bench.1.html", "older")):
        (tmp_path / name).write_text(text)
    new = stored.begun(options, peers.missing())
    assert new["race"] == new["samplers"] == []
    assert f"bench.json is of another run ({'other ' if 'facts' not in change else ''}" in capsys.readouterr().out
    assert why in stored.differences(old, new)
    assert json.loads((tmp_path / "bench.json").read_text()) == old, "nothing is new yet"
    new["training_points"] = {"cities": a_look()}
    for _ in range(2):
        stored.save(new, tmp_path)
    assert f"another run, which is kept, with its page, as {tmp_path / 'bench.2.json'}\n" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.2.json").read_text()) == old
    assert (tmp_path / "bench.2.html").read_text() == "its page"
    assert (tmp_path / "bench.1.html").read_text() == "older"
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["bench.2.json", "bench.json"]


def test_a_run_of_other_data_parts_seeds_and_rounds_is_the_same_run(tmp_path):
    """And a whole number of seconds is the same as such a float, as somebody may write it who joins two runs."""
    old = half_a_run(tmp_path, "--data", "cities", "--parts", "race", "--seeds", "2", "--rounds", "3")
    old["options"]["budget"] = int(old["options"]["budget"])
    (tmp_path / "bench.json").write_text(
        json.dumps(old | {"finished": True, "missing": {**old["missing"], "sizes": "?"}})
    )
    found = stored.begun(asked(tmp_path, "--data", "moons", "--seeds", "9"), peers.missing())
    assert found["samplers"] == old["samplers"]
    assert found["data"] == ["cities", "moons"]
    assert not found["finished"]


def test_a_json_that_was_damaged_while_the_run_went_on_is_not_overwritten_either(tmp_path):
    result = half_a_run(tmp_path, "--data", "cities")
    stored.save(result, tmp_path)
    (tmp_path / "bench.json").write_text("notes")
    stored.save(result, tmp_path)
    assert (tmp_path / "bench.1.json").read_text() == "notes"
    assert stored.read(tmp_path / "bench.json")["race"] == result["race"]


def without(name):
    return lambda run: run.pop(name)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("{", "Expecting property name"),
        (b"\xff", "can't decode byte 0xff"),
        ("[1, 2]", "it has no names"),
        ("{}", "it has no proper finished, data, rates"),
        (without("tuning"), "it has no proper tuning"),
        (lambda run: run.update(race=None), "it has no proper race"),
        (lambda run: run["options"].pop("budget"), "the option budget is no number"),
        (lambda run: run["options"].update(tuning=math.nan), "the option tuning is no number"),
        (lambda run: run["race"].append("a row"), "row 2 of race has no proper data, seed"),
        (lambda run: run["race"][0].pop("blur"), "row 1 of race has no proper blur"),
        (lambda run: run["race"][0].update(blur="sharp"), "row 1 of race has no proper blur"),
        (lambda run: run["samplers"][0].update(contender=5), "row 1 of samplers has no proper contender"),
        (lambda run: run["samplers"][0].update(seed=None), "row 1 of samplers has no proper seed"),
        (lambda run: run["sizes"].append({"n": 5, "seconds": 1}), "row 1 of sizes has no proper peak"),
        (lambda run: run["training_points"].clear(), "what the training points of cities read is not there"),
        (lambda run: run["race"][0].update(data="moons"), "what the training points of moons read is not there"),
        (lambda run: run["data"].append(7), "what the training points of 7 read is not there"),
    ],
)
@pytest.mark.parametrize("options", [["--again"], ["--parts", "race"]])
def test_a_damaged_json_is_a_sentence_and_stays_as_it_is(tmp_path, made, capsys, damage, said, options):
    path = tmp_path / "bench.json"
    if callable(damage):
        run = half_a_run(tmp_path, "--data", "cities")
        damage(run)
        damage = json.dumps(run)
    path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    before = path.read_bytes()
    assert bench.main(["--out", str(tmp_path), "--data", "cities", *options]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"{path} can't be read as a run of the benchmark: ")
    assert said in line
    assert line.endswith("mend it or move it away, or name another folder with --out\n")
    assert line.count("\n") == 1
    assert path.read_bytes() == before
    assert made == []


def test_a_row_of_points_that_are_not_finite_is_no_damage(tmp_path):
    run = half_a_run(tmp_path, "--data", "cities")
    run["race"].append({**run["race"][0], **dict.fromkeys((*race.MEASURES, race.EVERY)), "checkpoint": 2.0})
    stored.save(run, tmp_path)
    assert stored.read(tmp_path / "bench.json") == json.loads(json.dumps(run))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "-1"], "argument --budget: expected a number of seconds above 0, not '-1'"),
        (["--budget", "0"], "argument --budget: expected a number of seconds above 0, not '0'"),
        (["--budget", "nan"], "argument --budget: expected a number of seconds above 0, not 'nan'"),
        (["--tuning", "-0.5"], "argument --tuning: expected a number of seconds, 0 or more, not '-0.5'"),
        (["--tuning", "inf"], "argument --tuning: expected a number of seconds, 0 or more, not 'inf'"),
        (["--seeds", "0"], "argument --seeds: expected a whole number of 1 or more, not '0'"),
        (["--rounds", "0"], "argument --rounds: expected a whole number of 1 or more, not '0'"),
        (["--data", "nowhere"], "argument --data: invalid choice: 'nowhere' (choose from "),
        (["--parts", "all"], "argument --parts: invalid choice: 'all' (choose from "),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_measured(tmp_path, made, capsys, options, said):
    with pytest.raises(SystemExit) as end:
        bench.main([*races(tmp_path / "new"), *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert made == []
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_none_is_refused_before_anything_is_measured(tmp_path, made, capsys):
    (tmp_path / "file").write_text("mine")
    assert bench.main(races(tmp_path / "file")) == 1
    assert f"Not a directory: '{tmp_path / 'file'}'; " in capsys.readouterr().err
    assert bench.main(["--again", "--out", str(tmp_path / "new")]) == 1
    assert f"there is no {tmp_path / 'new' / 'bench.json'}; run the benchmark first" in capsys.readouterr().err
    assert made == []
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_two_runs_do_not_write_into_one_folder(tmp_path, made, capsys):
    with lock(tmp_path / "bench.json"):
        assert bench.main(races(tmp_path)) == 1
    assert f"another process measures into {tmp_path}; wait for it" in capsys.readouterr().err
    assert made == []


@pytest.mark.parametrize("there", [None, "nothing", "an older page", "somebody's thesis"])
def test_only_a_folder_of_its_own_gets_the_mark_by_which_a_report_may_replace_it(tmp_path, there):
    """`make report` replaces a folder with that mark as a whole, and what else stands in it is gone."""
    out = tmp_path / "out"
    if there:
        out.mkdir()
    if there == "an older page":
        (out / MARKER).touch()
    if there == "somebody's thesis":
        (out / "thesis.txt").write_text("years of work")
    for _ in range(2):
        stored.save(half_a_run(out, "--data", "cities"), out)
    assert (out / MARKER).exists() == (there != "somebody's thesis")
    assert (out / "bench.html").exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking")
def test_a_polite_end_is_an_interruption(tmp_path):
    """As Ctrl-C: what was measured is in the folder, a line says so, and nothing else does."""
    code = (
        "import runpy, sys, time, benchmarks.race\n"
        "def judge(*_):\n    print('measuring', flush=True)\n    time.sleep(120)\n"
        "benchmarks.race.judge = judge\n"
        f"sys.argv = ['bench', '--out', {str(tmp_path / 'out')!r}, '--parts', 'race']\n"
        "runpy.run_module('benchmarks.bench', run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DDPM_LAB_CACHE": str(tmp_path / "cache")}
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        lines = iter(process.stdout.readline, "")
        while "measuring" not in next(lines):
            pass
        process.send_signal(signal.SIGTERM)
        said = [*lines]
    assert process.returncode == 130, said
    assert [line for line in said if line.strip()] == ["Interrupted. Nothing is measured yet\n"]
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_found_and_fails_when_the_lab_is_slow(tmp_path, capsys):
    run = made_up()
    (tmp_path / "bench.json").write_text(json.dumps(run))
    assert bench.main(["--again", "--out", str(tmp_path)]) == 1
    assert "NO  the lab as it comes, sampling" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text()) == run, "only the page is written again"
    for row in run["rates"]:
        row["rate"] *= 2
    (tmp_path / "bench.json").write_text(json.dumps(run))
    assert bench.main(["--again", "--out", str(tmp_path)]) == 0
