"""Sentences that one hears of guidance, held against what was measured.

Each verdict is worked out of the table. "True" and "false" stand where the 95 % interval over seeds carries them, and
else the verdict says what is not known, or which difference would have been seen. Only what is worse than real can
become better: a blur below that of real points is no gain.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pandas as pd

from lab_utils.study.guidance_results import ACCURACY, Change, Way, change, reads_real, values
from lab_utils.study.guidance_study import AUTO, BEYOND, BOTH, EXACT, FREE, OF_NETWORKS, WITH_NOISE
from lab_utils.study.guidance_truth import MEASURES, MIXTURE
from lab_utils.study.results import Interval
from lab_utils.study.verdicts import agreed, described

Verdict = tuple[str, str, str]  # the verdict, what decides, and more

LAWS, TRADE_OFF = "Two laws that guided samples may follow", "What guidance gives and takes"  # where one sees it
QUALITY, DIVERSITY = (ACCURACY, "blur", "strays"), "coverage"
STEPS = (1.0, 2.0, 3.0, 5.0)  # more and more guidance
USUAL = 2.0  # the weight that decides of autoguidance; Karras et al. 2024 find about as much the best
LITTLE = 0.05  # × real: what loses less keeps
MOST = 0.5  # of what there was: who takes less does not take it away
CALLED = {WITH_NOISE: "with noise"}  # the other sampler is without


def _several(words: dict[str, str]) -> str:
    return "; ".join(f"{name}: {word}" for name, word in words.items())


def samples_the_sharpened_posterior(table: pd.DataFrame) -> Verdict:
    """Whether exact denoisers, guided, give points of the powered law p(x)^(1−w) p(x|c)^w.

    They don't if the points are farther from it than the unguided ones are from p(x|c), where the sampler errs alone.
    All weights are asked, so the intervals are as wide as it takes for all to hold at once.
    """
    verdicts, lines, decides = {}, [], ""
    for sampler in BOTH:
        name, farther = CALLED.get(sampler, "without noise"), {}
        for weight in BEYOND:
            way = Way(FREE, weight, EXACT, sampler, MIXTURE)
            to_powered, to_class = (values(table, way, f"JS to {law}") for law in ("powered", "class"))
            control = values(table, way.at(1.0), "JS to class")
            farther[weight] = Interval.of(to_powered - control, len(BEYOND))
            nearer = Interval.of(to_class - to_powered, len(BEYOND))
            which = "the powered law" if nearer.low > 0 else "p(x|c)" if nearer.high < 0 else "neither that is seen"
            text = (
                f"w = {weight:g}, {name}: {Interval.of(to_powered)} nats from the powered law, {Interval.of(to_class)} "
                f"from p(x|c), beyond what points of each read; nearer to {which}"
            )
            lines.append(f"{text}.")
            if (sampler, weight) == (WITH_NOISE, 3.0):
                decides = f"{text}; unguided, the control, {Interval.of(control)}"
        no = [f"{weight:g}" for weight, one in farther.items() if one.low > 0]
        if len(no) == len(farther):
            verdicts[name] = "false"
        elif no:
            verdicts[name] = f"false for w = {', '.join(no)}; not refuted for the others"
        else:
            verdicts[name] = described(farther[max(farther)], none=0)
    return agreed(verdicts), decides, "\n".join(["Divergence of Jensen and Shannon:", *lines])


def _along(table: pd.DataFrame, way: Way, measure: str) -> tuple[str, str]:
    """What more and more guidance does to a measure: in words, and step by step."""
    steps = [
        change(table, way.at(after), measure, to=way.at(before), comparisons=len(STEPS) - 1)
        for before, after in pairwise(STEPS)
    ]
    told = {"helps": "better", "harms": "worse", "not known": "not known"}
    seen = [told[step.word] for step in steps if step.word in told]
    words = [word for number, word in enumerate(seen) if seen[number - 1 : number] != [word]]
    line = ", ".join(f"to w = {after:g}: {step}" for after, step in zip(STEPS[1:], steps, strict=True))
    return ("not known" if "not known" in words else ", then ".join(words) or "no difference seen"), line


def more_quality_and_less_diversity(table: pd.DataFrame, denoiser: str = "original") -> Verdict:
    """Whether more classifier-free guidance makes better points that cover less of the class's towns.

    Better are points of the right class (accuracy), sharper ones (blur), and fewer strays. A step of the weight makes a
    measure better or worse if its interval says so; the three steps are told at once.
    """
    way = Way(FREE, denoiser=denoiser)
    words, lines = {}, []
    for measure in (*QUALITY, DIVERSITY):
        words[measure], line = _along(table, way, measure)
        lines.append(f"{measure.capitalize()}, {line}.")
    quality, diversity = {words[measure] for measure in QUALITY}, words[DIVERSITY]
    if "not known" in words.values():
        verdict = f"not known: {_several(words)}"
    elif quality == {"better"} and diversity == "worse":
        verdict = "true"
    elif not any("better" in word for word in quality) and "worse" not in diversity:
        verdict = "no difference seen" if {*words.values()} == {"no difference seen"} else f"false: {_several(words)}"
    else:
        verdict = f"in part: {_several(words)}"
    lost = change(table, way.at(3.0), DIVERSITY)
    gained = change(table, way.at(3.0), "blur")
    return verdict, f"from w = 1 to 3, coverage {lost}; blur {gained}", "\n".join(lines)


def autoguidance_keeps_diversity(table: pd.DataFrame, denoiser: str = "original") -> Verdict:
    """Whether the coverage, × real, falls by less than `LITTLE` under autoguidance; classifier-free is the control."""
    auto, free = Way(AUTO, USUAL, denoiser), Way(FREE, USUAL, denoiser)
    before = values(table, auto.at(1.0), DIVERSITY)
    lost = Interval.of(before - values(table, auto, DIVERSITY))
    if lost.high < LITTLE:
        verdict = f"true: it loses less than {LITTLE:g}"
    elif lost.low > LITTLE:
        verdict = "false"
    else:
        verdict = f"not known: {lost}"
    control = Interval.of(before - values(table, free, DIVERSITY))
    lines = [f"{way}: {change(table, way, DIVERSITY)}." for one in (auto, free) for way in map(one.at, BEYOND)]
    decides = f"with w = {USUAL:g} coverage loses {lost} × real; classifier-free guidance, the control, loses {control}"
    return verdict, decides, "\n".join(["Coverage:", *lines])


def autoguidance_takes_the_strays_away(table: pd.DataFrame, denoiser: str = "original") -> Verdict:
    """Whether autoguidance leaves as few strays as real points have, and what that costs in coverage.

    They are away if most of those beyond real are gone, and those that are left can't be told from real.
    """
    way = Way(AUTO, USUAL, denoiser)
    strays, coverage = change(table, way, "strays"), change(table, way, DIVERSITY)
    gone = -strays.more.high >= MOST * (strays.before.mean - 1)
    verdict = "false" if strays.word == "harms" else strays.text
    if strays.word == "helps":
        verdict = "true" if gone and reads_real(strays.after, "strays") else "they become fewer, and are not away"
    lines = [
        f"{one}: strays {change(table, one, 'strays')}; coverage {change(table, one, DIVERSITY)}."
        for one in map(way.at, BEYOND)
    ]
    return verdict, f"with w = {USUAL:g} strays {strays}; coverage {coverage}", "\n".join(lines)


def _or_none(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def candidates(denoiser: str) -> list[Way]:
    """All ways to guide a network that the study has tried on the towns with noise, the unguided one left out."""
    return [
        Way(guidance, weight, denoiser)
        for (name, guidance), (weights, _) in OF_NETWORKS.items()
        for weight in weights
        if name == denoiser and weight != 1
    ]


def some_weight_beats_the_unguided_model(table: pd.DataFrame, denoiser: str = "original") -> Verdict:
    """Whether any way to guide is better than none in some measure, and seen to be worse in no other one.

    The best of many is told. So what helps is judged with an interval wide enough for all comparisons at once, and what
    harms with that of one comparison.
    """
    ways, asked = candidates(denoiser), (ACCURACY, *MEASURES)
    helped: dict[Way, dict[str, Change]] = {}
    harmed: dict[Way, list[str]] = {}
    unknown = False
    for way in ways:
        single = {measure: change(table, way, measure) for measure in asked}
        strict = {measure: change(table, way, measure, comparisons=len(ways) * len(asked)) for measure in asked}
        helped[way] = {measure: one for measure, one in strict.items() if one.word == "helps"}
        harmed[way] = [measure for measure, one in single.items() if one.word in {"harms", "not known"}]
        unknown = unknown or any(one.word == "not known" for one in single.values())
    winners = [way for way in ways if helped[way] and not harmed[way]]
    at_a_price = [way for way in ways if helped[way] and harmed[way]]
    best = max(winners or at_a_price or ways, key=lambda way: len(helped[way]))
    told = "; ".join(f"{measure} {one}" for measure, one in helped[best].items()) or "better in none"
    if winners:
        verdict = f"true: {best}"
    elif unknown:
        verdict = "not known: samples of some ways are missing"
    else:
        verdict = "only at a price" if at_a_price else "none is seen"
    lines = [f"{way}: better in {_or_none(helped[way])}; worse in {_or_none(harmed[way])}." for way in ways]
    return verdict, f"{best}: {told}; worse in {_or_none(harmed[best])}", "\n".join(lines)


def guidance_claims_table(table: pd.DataFrame) -> pd.DataFrame:
    """The sentences, one a row, as text, for `show_claims`: the verdict, what decides, more, and where one sees it.

    Raises:
        ValueError: the table lacks runs; the message says which.
    """
    rows = [
        ("Guidance samples the sharpened posterior.", *samples_the_sharpened_posterior(table), LAWS),
        ("More guidance: better quality, less diversity.", *more_quality_and_less_diversity(table), TRADE_OFF),
        ("Autoguidance keeps diversity.", *autoguidance_keeps_diversity(table), TRADE_OFF),
        ("Autoguidance takes the strays away.", *autoguidance_takes_the_strays_away(table), TRADE_OFF),
        ("Some weight beats the unguided model.", *some_weight_beats_the_unguided_model(table), TRADE_OFF),
        (
            "Some weight beats the unguided model, if that one is trained by the better recipe.",
            *some_weight_beats_the_unguided_model(table, "better"),
            TRADE_OFF,
        ),
    ]
    return pd.DataFrame(rows, columns=["One hears", "verdict", "decides", "more", "see"]).set_index("One hears")
