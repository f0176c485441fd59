"""The doctor reads what the design cites, and says what is wrong with a schedule and nothing else."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import (
    Schedule,
    cosine,
    linear,
    sigmoid,
)

HEALTHY = sigmoid(-10.0, 8.0, reading="raw")  # the one kind of these here in which the doctor finds nothing
ALL = {
    "linear": linear(),
    "cosine": cosine(),
    "sigmoid, clipped": sigmoid(),
    "sigmoid, raw": sigmoid(reading="raw"),
    "short": sigmoid(timesteps=7),
    "one step": linear(0.3, 0.3, 1),
    "custom": Schedule(torch.tensor([0.1, 0.2, 0.15], dtype=torch.float64)),
}


@pytest.fixture(params=list(ALL))
def schedule(request):
    return ALL[request.param]


# --- the numbers that the design and the notebooks cite


@pytest.mark.parametrize(
    ("schedule", "first", "last", "passes", "wasted", "amplification"),
    [
        (linear(), 0.9999, 4.04e-5, [260, 476, 674, 826], 0.327, 1.0102),
        (sigmoid(), 0.999932, 6.8e-8, [500, 714, 909, 987], 0.092, 31.6),
        (sigmoid(reading="raw"), 0.9933, 0.0067, [501, 721, 960, None], 0.041, None),
    ],
    ids=["linear", "clipped", "raw"],
)
def test_the_doctor_reads_the_numbers_of_the_design(schedule, first, last, passes, wasted, amplification):
    found = diagnose(schedule)
    assert (found.name, found.timesteps) == (schedule.config["kind"], 1000)
    assert found.first == pytest.approx(first, abs=1e-6 if first > 0.9999 else 5e-5)
    assert found.last == pytest.approx(last, rel=0.01)
    assert list(found.passes) == [0.5, 0.1, 0.01, 0.001]
    assert list(found.passes.values()) == passes
    assert found.wasted == pytest.approx(wasted, abs=1e-12)
    if amplification is not None:
        assert found.amplification == pytest.approx(amplification, rel=1e-3)


def test_a_clipped_sigmoid_ends_with_one_and_a_half_and_a_third():
    """It reaches 0 linearly, so of k steps' distance the last takes all, the one before a half, then a third …"""
    last = sigmoid().betas.flip(0)[:4]
    assert last[0] == 0.999
    np.testing.assert_allclose(last[1:], [1 / 2, 1 / 3, 1 / 4], rtol=0.02)


def test_the_raw_sigmoid_leaves_eight_percent_and_jumps():
    found = diagnose(sigmoid(reading="raw"))
    assert found.left == pytest.approx(0.082, abs=5e-4)
    assert math.sqrt(1 - found.first) == pytest.approx(0.082, abs=5e-4)


# --- the doctor


def test_the_doctors_fields_are_what_they_say(schedule):
    found = diagnose(schedule)
    curve = np.cumprod(1 - schedule.betas.numpy())
    assert found.timesteps == len(curve)
    assert (found.first, found.last) == (pytest.approx(curve[0]), pytest.approx(curve[-1]))
    for level, step in found.passes.items():  # step − 1 is the index of the first ᾱ below the level
        below = [index for index, value in enumerate(curve) if value < level]
        assert step == (below[0] + 1 if below else None)
    assert found.wasted == pytest.approx(np.mean(curve < 0.01))
    assert found.snr == pytest.approx((curve[0] / (1 - curve[0]), curve[-1] / (1 - curve[-1])), rel=1e-9)
    assert found.left == pytest.approx(math.sqrt(curve[-1]))
    assert found.amplification == pytest.approx(max(1 / np.sqrt(1 - schedule.betas.numpy())))


@pytest.mark.parametrize("name", ["linear", "sigmoid, raw", "one step", "custom"])
def test_the_gap_is_the_mean_kl_divergence_of_unit_variance_data(name):
    """Integrated numerically over x_T along an axis, averaged over x_0 = ±1, and twice for the two axes."""
    schedule = ALL[name]
    found = diagnose(schedule)
    mean, std = math.sqrt(found.last), math.sqrt(1 - found.last)

    def kl(x_0):
        ours, pure = norm(mean * x_0, std), norm()
        total, _ = quad(lambda x: ours.pdf(x) * (ours.logpdf(x) - pure.logpdf(x)), -12, 12, epsabs=1e-13, limit=200)
        return total

    assert found.gap == pytest.approx(2 * (kl(1.0) + kl(-1.0)) / 2, rel=1e-6, abs=1e-10)


def test_a_level_that_is_met_exactly_is_not_passed_yet():
    assert diagnose(Schedule([0.5, 0.5])).passes[0.5] == 2


NEVER, JUMP, EARLY, EXTREME = (
    "never reaches noise",
    "first step adds noise",
    "reaches 0 too early",
    "multiplies by 1/√α",
)


@pytest.mark.parametrize(
    ("schedule", "sentences"),
    [
        (linear(), [(EARLY, "32.7%")]),
        (sigmoid(), [(EXTREME, "31.6")]),
        (cosine(), [(EXTREME, "31.6")]),
        (sigmoid(reading="raw"), [(NEVER, "8.2%"), (JUMP, "σ = 0.08")]),
        (linear(0.3, 0.3, 1), [(NEVER, "83.7%"), (JUMP, "σ = 0.55")]),
        (sigmoid(timesteps=2), [(NEVER, "2.2%"), (JUMP, "σ = 0.71"), (EARLY, "50.0%"), (EXTREME, "31.6")]),
        (HEALTHY, []),
    ],
    ids=["linear", "clipped", "cosine", "raw", "one step", "two steps", "healthy"],
)
def test_the_verdict_says_what_is_wrong_with_its_number_and_nothing_else(schedule, sentences):
    found = diagnose(schedule)
    assert len(found.findings) == len(sentences)
    for said, (words, number) in zip(found.findings, sentences, strict=True):
        assert words in said
        assert number in said
    if sentences:
        assert found.verdict == " ".join(found.findings)
    else:
        assert found.verdict.startswith("Healthy")


def test_each_finding_is_a_whole_sentence():
    assert diagnose(sigmoid(timesteps=2)).findings == [
        "It never reaches noise: √ᾱ_T = 2.2% of every point is still there when sampling starts from N(0, I), which "
        "knows nothing of it.",
        "Its first step adds noise of σ = 0.71 at once, and blurs what is finer than that.",
        "It reaches 0 too early: 50.0% of its steps have ᾱ < 0.01, where almost nothing of the data is left.",
        "One reverse step multiplies by 1/√α = 31.6: a network must be exact there, or its output must be built so "
        "that its error does not matter.",
    ]


@pytest.mark.parametrize(
    ("number", "limit", "words"), [("left", 0.02, NEVER), ("wasted", 0.2, EARLY), ("amplification", 10.0, EXTREME)]
)
def test_what_is_just_at_a_limit_is_healthy_and_above_it_not(number, limit, words):
    healthy = diagnose(HEALTHY)
    assert replace(healthy, **{number: limit}).findings == []
    (said,) = replace(healthy, **{number: 1.01 * limit}).findings
    assert words in said


def test_the_report_in_words_holds_every_row_and_the_verdict():
    found = diagnose(sigmoid(reading="raw"))
    head, *lines, verdict = str(found).splitlines()
    assert head == "sigmoid, T = 1000"
    assert verdict == found.verdict
    assert [line.split("  ")[0] for line in lines] == list(found.rows())
    assert [line.split("  ")[-1].strip() for line in lines] == list(found.rows().values())
    assert found.rows() == {
        "ᾱ, first step → last": "0.993307 → 0.0067",
        "ᾱ < 0.5 from step": "501 of 1000",
        "ᾱ < 0.1 from step": "721 of 1000",
        "ᾱ < 0.01 from step": "960 of 1000",
        "ᾱ < 0.001 from step": "never",
        "steps with ᾱ < 0.01": "4.1%",
        "SNR, first → last": "148 → 0.0067",
        "gap to N(0, I) at T": "0.0067 nats",
        "largest 1/√α": "1",
    }
