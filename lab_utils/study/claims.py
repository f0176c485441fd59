"""What the report of 2023 states, held against what was measured.

Every verdict is worked out: from the study's table, from the schedules, or from networks that are asked. None is
written down beforehand. A change helps, or harms, when the 95 % interval of its effect over the seeds excludes none at
all; where no difference is seen, the verdict says which would have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.study.broken import shape_shows_that_a_model_is_right
from lab_utils.study.results import Interval, Results
from lab_utils.study.sweeps import BETTER, DECAY, MORE_STEPS, WIDER
from lab_utils.study.verdicts import agreed, described

HELPS = {"helps": "true", "harms": "false"}  # of a claim that something helps; other words stand as they are
DATA = {"cities": "towns", "spiral": "spiral"}
LITTLE = 0.05  # what falls by less has fallen a little
LATER = {"epoch": 2000, "to_epoch": 200}

Change = Mapping[str, Any]


def _effect(results: Results, measure: str, change: Change, to: Change, data: str, **epochs: int) -> tuple[str, str]:
    """What a change does to a multiple of real: in words, and in numbers.

    Real points read 1, so nothing is gained below, and nothing is lost up to there.
    """
    ratio = results.ratio(measure, change, to, data=data, **epochs)
    before = results.mean(measure, to, data=data, epoch=epochs.get("to_epoch"))
    after = results.mean(measure, change, data=data, epoch=epochs.get("epoch"))
    word = described(ratio)
    if word == "helps" and before.low <= 1:
        word = "real already before"
    if word == "harms" and after.low <= 1:
        word = "real still after"
    return word, f"{before.mean:.3g} → {after.mean:.3g} × real: × {ratio} ({word})"


def _decides(results: Results, change: Change, to: Change, measure: str = "blur", **epochs: int) -> str:
    """The effect of a change on one measure, as the one number that decides, on both data sets."""
    towns, spiral = (results.ratio(measure, change, to, data=data, **epochs) for data in DATA)
    times = "×\N{NO-BREAK SPACE}"
    return f"{measure} {times}{towns} on the towns; {times}{spiral} on the spiral, the control"


def _compare(results: Results, change: Change, to: Change, measure: str = "blur", **epochs: int) -> str:
    """The effect of a change on one measure, in numbers and words: a line for each data set."""
    parts = [f"{name}, {_effect(results, measure, change, to, data, **epochs)[1]}" for data, name in DATA.items()]
    return "\n".join(f"{measure.capitalize()}, {part}." for part in parts)


def _helps(results: Results, change: Change, to: Change) -> tuple[str, str]:
    """Whether it is true that a change helps, by the blur: verdict, and the number that decides."""
    words = {name: _effect(results, "blur", change, to, data)[0] for data, name in DATA.items()}
    return agreed({name: HELPS.get(word, word) for name, word in words.items()}), _decides(results, change, to)


def _too_early() -> tuple[str, str, str]:
    """Whether the doctor finds that ᾱ reaches 0 too early, of the linear schedule and not of the sigmoid."""
    found = [diagnose(schedule) for schedule in (linear(), sigmoid())]
    late, control = (any("too early" in finding for finding in diagnosis.findings) for diagnosis in found)
    return (
        "false" if not late else "true of the sigmoid, too" if control else "true",
        f"{found[0].wasted:.1%} of its steps have ᾱ < 0.01; of the sigmoid's, the control, {found[1].wasted:.1%}",
        f"ᾱ is below a half from step {found[0].passes[0.5]} of {found[0].timesteps} on, the sigmoid's from step "
        f"{found[1].passes[0.5]} on.",
    )


def _smoothness(results: Results, epoch: int = 200) -> tuple[str, str, str]:
    """Whether a training step has less aim with the linear schedule: verdict, what decides, and the rest."""
    line, verdicts, differences, parts = {"schedule": "linear"}, {}, [], []
    for data, name in DATA.items():
        more = results.difference("gradient signal", line, data=data, epoch=epoch)
        word = described(more, none=0, more_is_better=True)
        verdicts[name] = {"harms": "true", "helps": "false"}.get(word, word)
        means = [results.mean("gradient signal", change, data=data, epoch=epoch) for change in (line, {})]
        differences.append(str(more))
        parts.append(f"{name.capitalize()}: {means[0]} against {means[1]}.")
    towns, spiral = differences
    return (
        agreed(verdicts),
        f"aim over chance, linear minus sigmoid: {towns} on the towns; {spiral} on the spiral, the control",
        "\n".join([f"Aim over chance in a training step after {epoch} epochs, linear against sigmoid:", *parts]),
    )


def _early_to_late(results: Results, measure: str, data: str) -> Interval:
    """What the original's recipe gains from 200 to 2000 epochs."""
    return results.ratio(measure, {}, {}, data=data, **LATER)


def _loss_fell_a_little(results: Results) -> tuple[str, str, str]:
    verdicts, parts = {}, []
    for data, name in DATA.items():
        loss, excess = (_early_to_late(results, measure, data) for measure in ("loss", "excess"))
        share = float((results.values("floor", data=data) / results.values("loss", data=data)).mean())
        little = loss.low > 1 - LITTLE
        verdicts[name] = "true" if little else "false" if loss.high < 1 - LITTLE else f"not known: × {loss}"
        if little and share > 1 - LITTLE:
            verdicts[name] += ", and it could hardly fall more"
        parts.append(f"{name.capitalize()}: {share:.1%} of the loss is the floor; the rest is × {excess}.")
    return (
        agreed(verdicts),
        _decides(results, {}, {}, "loss", **LATER),
        "\n".join(["From 200 to 2000 epochs:", *parts]),
    )


def _samples_improved(results: Results) -> tuple[str, str, str]:
    verdicts = {}
    for data, name in DATA.items():
        word, _ = _effect(results, "blur", {}, {}, data, **LATER)
        true = "true" if _early_to_late(results, "blur", data).high < 1 - LITTLE else "a little"
        verdicts[name] = {"helps": true, "harms": "false"}.get(word, word)
    measured = (_compare(results, {}, {}, measure, **LATER) for measure in ("blur", "energy distance"))
    return (
        agreed(verdicts),
        _decides(results, {}, {}, "blur", **LATER),
        "\n".join(["From 200 to 2000 epochs:", *measured]),
    )


def claims_table(results: Results) -> pd.DataFrame:
    """The claims of the report of 2023, one a row, as text.

    The columns are the verdict; the one number that decides, with its interval and its control; more, which is the rest
    that was measured; and the name of the figure or the table in which one sees it. Ratios are geometric means over
    seeds with 95 % intervals; below 1, the change makes the samples better.
    """
    original: dict[str, Any] = {}
    linear_one, short = {"schedule": "linear"}, {**BETTER, "epochs": 500}
    few, many = {"noises": 16, "epochs": 125}, {"noises": 4, "epochs": 500}
    fixed, fixed_16 = {"fixed_noises": 1}, {"fixed_noises": 16}
    wide, deep, wide_and_falling = {"width": 128}, {"depth": 6}, {**DECAY, "width": 128}
    log_snr = {"timesteps": "log-SNR"}

    def helps(change: Change, to: Change, called: str, *more: str) -> tuple[str, str, str]:
        return *_helps(results, change, to), "\n".join([f"{called}:", _compare(results, change, to), *more])

    rows = [
        ("The linear ᾱ reaches 0 too early.", *_too_early(), "Figure 2"),
        ("That makes the learning less smooth.", *_smoothness(results), "Linear against sigmoid"),
        (
            "The sigmoid schedule helps.",
            *helps(
                original,
                linear_one,
                "Sigmoid instead of linear",
                _compare(results, original, linear_one, "energy distance"),
            ),
            "Linear against sigmoid",
        ),
        (
            "That the output has the input's shape shows that the model is right.",
            *shape_shows_that_a_model_is_right(),
            "What a shape check cannot see",
        ),
        ("The loss fell only a little.", *_loss_fell_a_little(results), "Excess over the floor"),
        (
            "The quality of the samples improved markedly all the same.",
            *_samples_improved(results),
            "Quality against epochs",
        ),
        (
            "Perhaps the data were noised in too few ways.",
            *helps(
                few,
                original,
                "16 noises a point and epoch, at as many steps",
                "4 noises:",
                _compare(results, many, original),
            ),
            "Ways of noising",
        ),
        (
            "The noise was different each time, so the model learned slowly.",
            *helps(
                fixed,
                original,
                "One fixed noise for each point",
                "16 fixed ones:",
                _compare(results, fixed_16, original),
            ),
            "Ways of noising",
        ),
        (
            "A network of larger capacity might help.",
            *helps(
                wide, original, "Width 128 instead of 64", "Depth 6 instead of 3:", _compare(results, deep, original)
            ),
            "Size of the network",
        ),
        (
            "(Not in the report of 2023:) a larger one helps where the learning rate falls.",
            *helps(
                wide_and_falling,
                DECAY,
                "Width 128 instead of 64, with a rate that falls",
                "The same with the better recipe:",
                _compare(results, WIDER, MORE_STEPS),
            ),
            "Size of the network",
        ),
        (
            "(Not in the report of 2023:) the timesteps were drawn in the wrong way.",
            *helps(log_snr, original, "Evenly in log-SNR instead of t"),
            "Ways of drawing t",
        ),
        (
            "(Not in the report of 2023:) a better recipe does more in 500 epochs than the original's in 2000.",
            *helps(short, original, "The better recipe after 500 epochs, the original's after 2000"),
            "Europe by two recipes",
        ),
    ]
    return pd.DataFrame(rows, columns=["The report of 2023 says", "verdict", "decides", "more", "see"]).set_index(
        "The report of 2023 says"
    )
