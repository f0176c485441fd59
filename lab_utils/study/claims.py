"""What the original report states, held against what was measured.

Every verdict is worked out from the study's table; none is written down beforehand. A change helps, or harms, when the
95 % interval of its effect over the seeds excludes none at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.study.results import Interval, Results
from lab_utils.study.sweeps import BETTER, DECAY, MORE_STEPS

HELPS = {"helps": "true", "harms": "false", "no difference seen": "not seen"}  # of a claim that something helps
DATA = {"cities": "towns", "spiral": "spiral"}


def effect(ratio: Interval) -> str:
    """In a word, what a change does to a measure of which less is better."""
    if ratio.excludes(1):
        return "helps" if ratio.mean < 1 else "harms"
    return "no difference seen"


def _compare(results: Results, change: Mapping[str, Any], to: Mapping[str, Any], measure: str = "blur") -> str:
    """The effect of a change on one measure on both data sets, in words and numbers."""
    parts = []
    for data, name in DATA.items():
        ratio = results.ratio(measure, change, to, data=data)
        parts.append(f"{name}: × {ratio} ({effect(ratio)})")
    return f"{measure}, " + "; ".join(parts)


def _verdict(results: Results, change: Mapping[str, Any], to: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """The word for the change's effect on the blur."""
    return _agreed(words[effect(results.ratio("blur", change, to, data=data))] for data in DATA)


def _agreed(verdicts: Iterable[str]) -> str:
    """One verdict of all data sets, or each its own where they don't agree."""
    by_data = dict(zip(DATA.values(), verdicts, strict=True))
    first, *others = set(by_data.values())
    return "; ".join(f"{name}: {verdict}" for name, verdict in by_data.items()) if others else first


def _smoothness(results: Results, epoch: int = 200) -> tuple[str, str]:
    """Whether a training step has less aim with the linear schedule: verdict and numbers."""
    verdicts, parts = [], []
    for data, name in DATA.items():
        line, curve = (
            results.values("gradient signal", {"schedule": kind}, data=data, epoch=epoch)
            for kind in ("linear", "sigmoid")
        )
        less = Interval.of(line - curve)
        verdicts.append("not seen" if not less.excludes(0) else "true" if less.mean < 0 else "false")
        parts.append(f"{name}: {Interval.of(line)} against {Interval.of(curve)}")
    return _agreed(verdicts), (
        f"Aim over chance in a training step after {epoch} epochs, linear against sigmoid, {'; '.join(parts)}."
    )


def claims_table(results: Results) -> pd.DataFrame:
    """The claims of the original report: what it says, the verdict, the numbers, and where one sees it.

    Ratios are geometric means over seeds with 95 % intervals; below 1, the change makes the samples better.
    """
    wasted = {s.name: diagnose(s).wasted for s in (linear(), sigmoid())}
    base: dict[str, Any] = {}
    loss = results.ratio("loss", base, epoch=2000, to_epoch=200)
    excess = results.ratio("excess", base, epoch=2000, to_epoch=200)
    share = results.values("floor") / results.values("loss")
    sharper = results.ratio("blur", base, epoch=2000, to_epoch=200)
    mass = results.ratio("energy distance", base, epoch=2000, to_epoch=200)
    wide = {**DECAY, "width": 128}
    short = {**BETTER, "epochs": 500}
    line, few, many = {"schedule": "linear"}, {"noises": 16, "epochs": 125}, {"noises": 4, "epochs": 500}
    smoother, aims = _smoothness(results)
    rows = [
        (
            "The linear ᾱ reaches 0 too early.",
            "true",
            f"{wasted['linear']:.1%} of its steps have ᾱ < 0.01; of the sigmoid's {wasted['sigmoid']:.1%}.",
            "Figures 2 and 3",
        ),
        (
            "That makes the learning less smooth.",
            smoother,
            aims,
            "Linear against sigmoid",
        ),
        (
            "The sigmoid schedule helps.",
            _verdict(results, base, line, HELPS),
            f"Sigmoid over linear: {_compare(results, base, line)}; "
            f"{_compare(results, base, line, 'energy distance')}.",
            "Linear against sigmoid",
        ),
        (
            "That the output has the input's shape shows that the model is right.",
            "false",
            "Five broken networks pass that check; each is found by another one.",
            "Notebook 2",
        ),
        (
            "The loss fell only a little.",
            "true, and it could not fall more" if float(share.mean()) > 0.9 else "true",
            f"From 200 to 2000 epochs × {loss}. Of the loss, {float(share.mean()):.1%} is the floor; the rest fell "
            f"× {excess}.",
            "Figure 4; Excess over the floor",
        ),
        (
            "The quality of the samples improved markedly all the same.",
            "true" if sharper.high < 1 else "not seen",
            f"From 200 to 2000 epochs: blur × {sharper} ({effect(sharper)}); energy distance × {mass} "
            f"({effect(mass)}).",
            "Figures 9 to 12",
        ),
        (
            "Perhaps the data were noised in too few ways.",
            _verdict(results, few, base, HELPS),
            f"16 noises a point and epoch at as many steps: {_compare(results, few, base)}; 4 noises: "
            f"{_compare(results, many, base)}.",
            "Ways of noising",
        ),
        (
            "The noise was different each time, so the model learned slowly.",
            _verdict(results, {"fixed_noises": 1}, base, HELPS),
            f"One fixed noise for each point: {_compare(results, {'fixed_noises': 1}, base)}; 16 fixed ones: "
            f"{_compare(results, {'fixed_noises': 16}, base)}.",
            "Ways of noising",
        ),
        (
            "A network of larger capacity might help.",
            _verdict(results, wide, DECAY, HELPS),
            f"Width 128 instead of 64, with a rate that falls: {_compare(results, wide, DECAY)}; with the original's "
            f"rate: {_compare(results, {'width': 128}, base)}; with the better recipe: "
            f"{_compare(results, BETTER, MORE_STEPS)}. Depth 6 instead of 3: {_compare(results, {'depth': 6}, base)}.",
            "Size of the network",
        ),
        (
            "(Not in the report:) the timesteps were drawn in the wrong way.",
            _verdict(results, {"timesteps": "log-SNR"}, base, HELPS),
            f"Evenly in log-SNR instead of t: {_compare(results, {'timesteps': 'log-SNR'}, base)}.",
            "Ways of drawing t",
        ),
        (
            "(Not in the report:) a better recipe does more in 500 epochs than the original's in 2000.",
            _verdict(results, short, base, HELPS),
            f"Better recipe after 500 epochs over the original's after 2000: {_compare(results, short, base)}.",
            "Europe by two recipes",
        ),
    ]
    return pd.DataFrame(rows, columns=["The report says", "verdict", "measured", "see"]).set_index("The report says")
