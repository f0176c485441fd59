"""Guidance is what its formula says, at the levels of noise that it is asked for, whatever it is made of."""

import math
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from small_runs import DATA, RECIPE, SCHEDULE, network

from lab_utils.diffusion import Trainer, ancestral, denoiser, dpm_solver, given, guided, heun, linear, sample
from lab_utils.diffusion.denoiser import along, check_answers, one_by_one
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.measure import answers, log_likelihood, noise
from lab_utils.runs import fit

CLASSES = ("left", "right")
LEVELS = SCHEDULE.snr.rsqrt()


def points(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def awake(**arguments):
    """A network whose last layer is not 0, as if it had learnt something."""
    model = network(classes=CLASSES, **arguments)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    return model.requires_grad_(False)


class Counted:
    """Another denoiser, and how many points it was asked about."""

    def __init__(self, inner):
        self.inner, self.asked, self.schedule = inner, 0, inner.schedule

    def epsilon(self, x_t, t):
        self.asked += len(x_t)
        return self.inner.epsilon(x_t, t)


MODEL = awake()
TWO = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.2)
# what is guided, and from where: a class from all, a good model from a worse one, and what is known exactly
PAIRS = {
    "classifier-free": (given(MODEL, "left"), MODEL),
    "a worse version": (MODEL, awake(width=5, seed=3)),
    "a worse version, told the same class": (given(MODEL, "right"), given(awake(seed=3), "right")),
    "two targets": (given(awake(target="velocity"), "left"), awake(target="epsilon", fading=True)),
    "best denoisers": (BestDenoiser(GaussianMixture(TWO.means[:1], 0.2), SCHEDULE), BestDenoiser(TWO, SCHEDULE)),
    "a network and somebody else's": (given(MODEL, "left"), denoiser(lambda x, t: 0.3 * x, SCHEDULE)),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


# --- the formula


@settings(max_examples=30)
@examples(weight=st.floats(-3, 8), seed=st.integers(0, 99), n=st.integers(0, 20), name=st.sampled_from([*PAIRS]))
def test_it_is_the_base_and_w_times_what_the_aim_has_beyond(weight, seed, n, name):
    aim, base = PAIRS[name]
    x, t = points(n, seed).double(), torch.randint(0, 50, (n,), generator=torch.Generator().manual_seed(seed))
    expected = (1 - weight) * base.epsilon(x, t) + weight * aim.epsilon(x, t)
    torch.testing.assert_close(guided(aim, base, weight).epsilon(x, t), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight", [0, 1])
@pytest.mark.parametrize("t", [torch.tensor(7), torch.tensor([7]), torch.arange(30)], ids=str)
def test_without_guidance_it_is_the_one_or_the_other_to_the_bit_and_asks_the_other_nothing(pair, weight, t):
    pair = [*map(Counted, pair)]
    asked, idle = pair[1 - weight], pair[weight]
    one = guided(*pair, weight)
    assert torch.equal(one.epsilon(points(30), t), asked.inner.epsilon(points(30), t))
    assert (asked.asked, idle.asked) == (30, 0)


@pytest.mark.parametrize("weight", [0, 1])
@pytest.mark.parametrize("sampler", [ancestral(SCHEDULE), dpm_solver(SCHEDULE, 6), heun(SCHEDULE, 4)], ids=str)
def test_without_guidance_samples_are_those_of_the_one_or_the_other_to_the_bit(pair, weight, sampler):
    alone = sample(pair[1 - weight], 40, sampler=sampler)
    assert torch.equal(sample(guided(*pair, weight), 40, sampler=sampler), alone)


def test_with_guidance_each_is_asked_once():
    aim, base = map(Counted, PAIRS["classifier-free"])
    sample(guided(aim, base, 3.0), 40, sampler=dpm_solver(SCHEDULE, 6))
    assert aim.asked == base.asked == 6 * 40


# --- an interval of noise levels


def test_within_an_interval_it_is_guided_and_elsewhere_the_aim_to_the_bit():
    """Low is outside and high inside, as in Kynkäänniemi et al. 2024; a level is √((1−ᾱ)/ᾱ)."""
    aim, base = PAIRS["classifier-free"]
    kept = SCHEDULE.alphas_cumprod
    low, high = (float(((1 - kept[t]) / kept[t]).sqrt()) for t in (10, 30))
    levels = LEVELS.tolist()
    assert (low, high) == pytest.approx((levels[10], levels[30]))
    limited, whole = guided(aim, base, 2.5, interval=(levels[10], levels[30])), guided(aim, base, 2.5)
    inside = [t for t in range(50) if not torch.equal(limited.epsilon(points(9), torch.tensor(t)), ask(aim, t))]
    assert inside == [*range(11, 31)]
    for t in inside:
        assert torch.equal(limited.epsilon(points(9), torch.tensor(t)), ask(whole, t))


def ask(denoiser, t):
    return denoiser.epsilon(points(9), torch.tensor(t))


def test_outside_of_the_interval_the_base_is_not_asked():
    aim, base = map(Counted, PAIRS["classifier-free"])
    sampler = ancestral(SCHEDULE)
    sample(guided(aim, base, 2.0, interval=(LEVELS[9], LEVELS[19])), 8, sampler=sampler)
    assert (aim.asked, base.asked) == (50 * 8, 10 * 8)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("interval", [None, (0.3, 2.0), (0.0, 0.5), (1.0, math.inf)])
def test_on_timesteps_of_all_kinds_it_answers_as_on_one(pair, weight, interval):
    """A loss asks at many timesteps at once, some of them in the interval and some not."""
    both = guided(*pair, weight, interval=interval)
    x, t = points(50), torch.arange(50)
    one_each = torch.cat([both.epsilon(x[k : k + 1], t[k]) for k in range(50)])
    torch.testing.assert_close(both.epsilon(x, t), one_each, rtol=1e-4, atol=1e-5)
    low, high = interval or (0.0, math.inf)
    alone = (low >= LEVELS) | (high < LEVELS)
    assert torch.equal(both.epsilon(x, t)[alone], pair[0].epsilon(x, t)[alone])


@pytest.mark.parametrize("weight", [-1.0, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("interval", [None, (0.3, 2.0), (5.0, 5.1)])
def test_the_fast_way_is_that_of_both_and_answers_as_the_slow_one(pair, weight, interval):
    if interval == (5.0, 5.1):
        interval = (float(LEVELS[30]), float(LEVELS[31]))  # a single timestep, which the way may not have
    both, timesteps = guided(*pair, weight, interval=interval), [49, 40, 31, 20, 8, 0]
    fast, slow = along(both, timesteps)(25), one_by_one(both, timesteps)(25)
    for k in (*range(6), 2):
        torch.testing.assert_close(fast(points(25, k), k), slow(points(25, k), k), rtol=1e-4, atol=2e-5)


# --- what it is made of and who takes it


def test_guidance_of_guidance_is_guidance():
    """The aim may itself be guided: with weights v and w, ε_∅ + vw (ε_c − ε_∅) where both have one base."""
    aim, base = PAIRS["classifier-free"]
    twice, once = guided(guided(aim, base, 1.5), base, 2.0), guided(aim, base, 3.0)
    for t in (0, 20, 49):
        torch.testing.assert_close(ask(twice, t), ask(once, t), rtol=1e-4, atol=1e-5)
    fast = along(twice, [20])(9)(points(9), 0)  # the aim's own fast way has a fast way in it
    torch.testing.assert_close(fast, ask(once, 20), rtol=1e-4, atol=1e-5)


def test_it_is_measured_sampled_and_sent_like_any_denoiser(pair):
    both = guided(*pair, 2.0)
    check_answers(both)
    assert log_likelihood(both, points(5), nodes=20).shape == (5,)
    noised = noise(DATA.train, SCHEDULE, draws=60)
    assert torch.equal(answers(both, noised), both.epsilon(noised.x_t, noised.t))
    if not hasattr(pair[1], "module"):  # a function that was written in a call can't be sent
        assert torch.equal(sample(pickle.loads(pickle.dumps(both)), 5), sample(both, 5))


def test_autoguidance_takes_a_worse_version_of_fewer_epochs_or_of_fewer_neurons(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    run, small = (fit(network(width=width), DATA, RECIPE, progress=False) for width in (8, 3))
    for worse in (run.model(4), small.model()):
        both = guided(run.model(), worse, 2.0)
        expected = 2 * ask(run.model(), 20) - ask(worse, 20)
        torch.testing.assert_close(ask(both, 20), expected, rtol=1e-5, atol=1e-5)
        assert sample(both, 20, sampler=heun(SCHEDULE, 4)).isfinite().all()
        assert not torch.equal(ask(both, 20), ask(run.model(), 20))


def test_of_a_pair_that_was_trained_coupled_no_floors_are_told():
    recipe = replace(RECIPE, coupling="optimal transport")
    labels = torch.arange(100) % 2
    coupled = Trainer(awake().requires_grad_(True), DATA.train, recipe, labels).averaged
    for both in (guided(given(coupled, "left"), coupled, 2.0), guided(MODEL, coupled, 2.0), guided(coupled, MODEL, 2)):
        assert both.coupling == "optimal transport"
        with pytest.raises(ValueError, match="those of independent pairs"):
            answers(both, noise(DATA.train, SCHEDULE, draws=10))
        with pytest.raises(ValueError, match="a sampler that adds noise"):
            sample(both, 3, sampler=ancestral(SCHEDULE))
    assert guided(given(MODEL, "left"), MODEL, 2.0).coupling == "independent"


OTHER = awake(schedule=linear(timesteps=50))
ASK = partial(guided, given(MODEL, "left"), MODEL)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: guided(MODEL, object(), 2.0), "object is no denoiser"),
        (lambda: guided(None, MODEL, 2.0), "NoneType is no denoiser"),
        (
            lambda: guided(MODEL, awake(schedule=linear(timesteps=50)), 2.0),
            "one schedule; the aim has sigmoid .* linear",
        ),
        (lambda: ASK(math.nan), "the weight must be a finite number: 0 for the base, 1 for the aim; got nan"),
        (lambda: ASK(math.inf), "the weight must be a finite number"),
        (lambda: ASK("3"), "the weight must be a finite number: .* got '3'"),
        (lambda: ASK(2.0, interval=(2.0, 1.0)), r"an interval is \(low, high\), .*; got \(2.0, 1.0\)"),
        (lambda: ASK(2.0, interval=(1.0, 1.0)), r"an interval is \(low, high\)"),
        (lambda: ASK(2.0, interval=(-1.0, 1.0)), r"an interval is \(low, high\)"),
        (lambda: ASK(2.0, interval=(math.nan, 1.0)), r"an interval is \(low, high\)"),
        (lambda: ASK(2.0, interval=(1e9, math.inf)), r"they run from 0.0\d+ to \d+; got"),
        (lambda: ASK(2.0, interval=(1e-9, 2e-9)), "noise levels .* of which the schedule has some"),
        (lambda: along(ASK(2.0), [50]), "0 … 49"),
        (lambda: along(ASK(2.0), [-1]), "0 … 49"),
        (lambda: ASK(2.0).epsilon(points(3), torch.tensor(50)), "0 … 49"),
        (lambda: ASK(2.0).epsilon(points(3), torch.tensor(-1)), "0 … 49"),
    ],
)
def test_what_cannot_be_guided_is_refused(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()
