"""The benchmark's own arithmetic, and that each contender learns and samples. No speed is tested here."""

import json
import math
import sys
import time
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
    summaries,
    verdicts,
)

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


def test_a_page_of_nothing_yet_can_be_written(tmp_path):
    options = bench.parser().parse_args(["--out", str(tmp_path), "--data", "cities"])
    result = bench.empty(options, {"diffusers": "not here"})
    result["training_points"]["cities"] = dict.fromkeys((*race.MEASURES, race.EVERY), 1.0)
    bench.save(result, tmp_path)
    assert "diffusers" not in result["settings"]
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert stored["missing"] == {"diffusers": "not here"}
    assert (tmp_path / MARKER).exists()  # so `make report` may replace the folder
    assert "This run is not finished" in (tmp_path / "bench.html").read_text()


def test_a_run_that_was_interrupted_goes_on_with_what_it_has(tmp_path, monkeypatch, capsys):
    raced = []

    def one_race(contenders, jury, budget, seed):
        if len(raced) == 1 and seed == 1:
            raced.append("interrupted")
            raise KeyboardInterrupt
        raced.append(seed)
        row = {"contender": "lab", "checkpoint": 1.0, "seconds": 1.0, "points": 1}
        yield row | dict.fromkeys((*race.MEASURES, race.EVERY), 1.0)

    def one_sampler(one, jury, budget, seed):
        row = {"sampler": "any", "evaluations": 9, "seconds": 1.0}
        yield row | dict.fromkeys((*race.MEASURES, race.EVERY), 1.0)

    jury = Jury()
    jury.data = SimpleNamespace(train=gaussian(50))
    monkeypatch.setattr(race, "judge", lambda name, draw: jury)
    monkeypatch.setattr(race, "race", one_race)
    monkeypatch.setattr(race, "compare_samplers", one_sampler)
    command = ["--parts", "race", "--tuning", "0", "--seeds", "3", "--data", "cities", "--out", str(tmp_path)]
    assert bench.main(command) == 130
    bench.main(command)
    assert raced == [0, "interrupted", 1, 2]
    assert "1 of 3 races are there" in capsys.readouterr().out
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["finished"]
    assert [row["seed"] for row in result["race"]] == [0, 1, 2]
    bench.main(command)  # nothing was left to do, so this is another run
    assert raced[4:] == [0, 1, 2]


def test_a_run_with_other_options_begins_anew(tmp_path):
    options = bench.parser().parse_args(["--out", str(tmp_path), "--data", "cities"])
    result = bench.empty(options, {})
    result["samplers"] = [{"data": "cities", "seed": 0}]
    (tmp_path / "bench.json").write_text(json.dumps(result))
    assert bench.begun(options, {}) == json.loads(json.dumps(result))
    options.budget = 7.0
    assert bench.begun(options, {})["samplers"] == []


def test_the_command_says_what_it_found_and_fails_when_the_lab_is_slow(tmp_path, capsys):
    (tmp_path / "bench.json").write_text(json.dumps(made_up()))
    assert bench.main(["--again", "--out", str(tmp_path)]) == 1
    assert "NO  the lab as it comes, sampling" in capsys.readouterr().out
    quick = made_up()
    for row in quick["rates"]:
        row["rate"] *= 2
    (tmp_path / "bench.json").write_text(json.dumps(quick))
    assert bench.main(["--again", "--out", str(tmp_path)]) == 0
