"""What one hears of flow matching and of targets, and what the table of `target_study` says of it.

Readings are compared seed by seed. Both trainings then have the same points, so the draw of the points does not count.
Two numbers decide: of a network, its excess in nats; of a sample, how far it is *outside of real*: how many times its
worst measure reads what the worst real set reads in that measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lab_utils.diffusion.schedules import KINDS
from lab_utils.study.results import Interval, Results
from lab_utils.study.sweeps import data_and_draws
from lab_utils.study.target_study import (
    BASE,
    FLOW_MATCHING,
    MEASURES,
    ONE_LOSS,
    OPTIMAL_TRANSPORT,
    SAMPLERS,
    TRAIN,
    outside,
    outside_of_real,
)
from lab_utils.study.verdicts import agreed, described

Change = Mapping[str, Any]

DATA = {"cities": "towns", "checkerboard": "checkerboard"}
FEW = (10, 20)  # evaluations that sentences about few steps are held against
FIRST: Change = {"sampler": "Euler", "evaluations": 5}  # the row that each checkpoint has, for what is of the network
HELPS = {"helps": "true", "harms": "false"}
CHOICES, NEEDED = "Which choice matters", "Evaluations needed"  # the figure and the table where one sees it


def by(sampler: str, evaluations: int) -> Change:
    """A way to sample, as a change that `Results` takes."""
    return {"sampler": sampler, "evaluations": evaluations}


def nats(results: Results, change: Change, to: Change, data: str, epoch: int | None = None) -> Interval:
    """How many times the excess in nats of `to` that of `change` is, over seeds. Errors as for `Results.ratio`."""
    return results.ratio("nats", {**change, **FIRST}, {**to, **FIRST}, data=data, epoch=epoch)


def outside_by_way(
    results: Results, change: Change, data: str, samplers: Sequence[str] = (*SAMPLERS,)
) -> pd.Series[float]:
    """(evaluations, sampler) → how far outside of real the last models' samples are, in the median over seeds.

    Raises:
        ValueError: the table has no such trainings.
    """
    rows = results.rows(change, data)
    rows = rows[rows["sampler"].isin(samplers) & (rows["epoch"] == rows["epoch"].max())]
    if rows.empty:
        raise ValueError(f"the table has no samples by {', '.join(samplers)} on {data} with {dict(change)}")
    found: pd.Series[float] = rows.groupby(["evaluations", "sampler"])["outside"].median()
    return found


def needed(
    results: Results, change: Change, data: str, samplers: Sequence[str] = (*SAMPLERS,), *, limit: float = 1.0
) -> tuple[float, str]:
    """The fewest evaluations with which every measure is inside of real, in the median over seeds; and the sampler.

    `limit` is the largest reading that counts as inside; `truth_reads` says what real sets read.

    Returns:
        Infinity, and the sampler that comes nearest, if there is no such way.

    Raises:
        ValueError: the table has no such trainings.
    """
    readings = outside_by_way(results, change, data, samplers)
    inside = readings[readings <= limit]
    if inside.empty:
        return math.inf, str(readings.groupby("sampler").min().idxmin())
    least = inside.index.get_level_values("evaluations").min()
    return float(least), str(inside.xs(least, level="evaluations").idxmin())


def truth_reads(data: str, seed: int) -> dict[str, float]:
    """What `outside` reads of real points: of real sets held against the others, and of the training points.

    The training points are those of the seed's own draw, so they say how good a model can be that only copies them.
    """
    points, benchmark = data_and_draws(data, TRAIN, seed)
    real = outside_of_real(benchmark)
    copied = {measure: benchmark.multiple(measure, points.train) for measure in MEASURES}
    return {
        "a usual real set": float(np.median(real)),
        "the worst real set": max(real),
        "the training points": outside(benchmark, copied),
    }


def _told(ratios: Mapping[str, Interval]) -> str:
    """Ratios, each under its name, with its interval and what it says."""
    return "; ".join(f"{name} × {ratio} ({described(ratio)})" for name, ratio in ratios.items())


def _decides(ratios: Mapping[str, Interval]) -> str:
    return "; ".join(f"× {ratio} on the {DATA[data]}" for data, ratio in ratios.items())


def _verdict(ratios: Mapping[str, Interval]) -> str:
    """Whether it is true that a change helps, with each data set's own word where they don't agree."""
    words = {DATA[data]: described(ratio) for data, ratio in ratios.items()}
    return agreed({name: HELPS.get(word, word) for name, word in words.items()})


def _cases(cases: Mapping[str, Mapping[str, Interval]]) -> tuple[str, str]:
    """The verdict of all cases, or each case with its own; and the numbers that decide, case by case."""
    verdict = agreed({case: _verdict(ratios) for case, ratios in cases.items()}, ". ")
    return verdict, ". ".join(f"{case}: {_decides(ratios)}" for case, ratios in cases.items())


def fewer_steps(results: Results) -> tuple[str, str, str]:
    """Whether flow matching needs fewer steps: Euler steps beside the usual solver of the sigmoid."""
    least, usual = FEW[0], "DPM-Solver++(2M)"
    ratios = {
        data: results.ratio("outside", {**FLOW_MATCHING, **by("Euler", least)}, by(usual, least), data=data)
        for data in DATA
    }
    lines = []
    for data, name in DATA.items():
        pairs: dict[str, tuple[Change, Change]] = {}
        for count in FEW:
            pairs[f"{count} evaluations, Euler beside Euler"] = (
                {**FLOW_MATCHING, **by("Euler", count)},
                by("Euler", count),
            )
            pairs[f"{count}, its own network by {usual} beside Euler"] = (
                {**FLOW_MATCHING, **by(usual, count)},
                {**FLOW_MATCHING, **by("Euler", count)},
            )
        beside = {title: results.ratio("outside", *pair, data=data) for title, pair in pairs.items()}
        lines.append(f"{name.capitalize()}: {_told(beside)}.")
    return (
        _verdict(ratios),
        f"outside of real, {least} Euler steps beside {least} of {usual}: {_decides(ratios)}",
        "\n".join(lines),
    )


def velocity_is_faster(results: Results) -> tuple[str, str, str]:
    """Whether the velocity trains faster than ε: with either one's own loss, and the target alone differs."""
    early = int(results.table["epoch"].min())
    with_loss: dict[str, tuple[Change, Change]] = {
        "With the loss of u": (FLOW_MATCHING, {**FLOW_MATCHING, "target": "epsilon"}),
        "With the loss of ε": ({"target": "velocity"}, {"target": "epsilon"}),
    }
    cases = {
        case: {data: nats(results, velocity, epsilon, data, early) for data in DATA}
        for case, (velocity, epsilon) in with_loss.items()
    }
    lines = []
    for data, name in DATA.items():
        late = {case.lower(): nats(results, *pair, data) for case, pair in with_loss.items()}
        late["velocity beside v"] = nats(results, FLOW_MATCHING, {**FLOW_MATCHING, "target": "v"}, data)
        lines.append(f"{name.capitalize()}, after all epochs {_told(late)}.")
    verdict, decides = _cases(cases)
    return verdict, f"excess in nats after {early} epochs. {decides}", "\n".join(lines)


def transport_is_better(results: Results) -> tuple[str, str, str]:
    """Whether optimal transport within the batches makes better samples than independent pairs do."""

    def beside(count: int, data: str) -> Interval:
        way = by("Euler", count)
        return results.ratio("outside", {**OPTIMAL_TRANSPORT, **way}, {**FLOW_MATCHING, **way}, data=data)

    cases = {f"With {count} Euler steps": {data: beside(count, data) for data in DATA} for count in (5, 100)}
    lines = []
    for data, name in DATA.items():
        between = _told({f"{count} Euler steps": beside(count, data) for count in FEW})
        bend = results.ratio("straightness", {**OPTIMAL_TRANSPORT, **FIRST}, {**FLOW_MATCHING, **FIRST}, data=data)
        lines.append(f"{name.capitalize()}: {between}. Straightness × {bend}.")
    verdict, decides = _cases(cases)
    return verdict, f"outside of real. {decides}", "\n".join(lines)


def only_a_weighting(results: Results) -> tuple[str, str, str]:
    """Whether flow matching is only a weighting: as far as its schedule goes, and as far as its target goes.

    Of the schedule it is true if one loss under four schedules changes less than four losses under one schedule do: no
    schedule's interval reaches as far from 1 as the loss that changes least. Of the target it is false if the velocity
    has another excess than v has with the same schedule and loss.
    """
    beside_sigmoid: dict[str, Interval] = {}
    beside_v = {data: nats(results, FLOW_MATCHING, {**FLOW_MATCHING, "target": "v"}, data) for data in DATA}
    of_schedule, of_target, lines = {}, {}, []
    for data, name in DATA.items():
        schedules = {
            kind: nats(results, {**ONE_LOSS, "schedule": kind}, {**ONE_LOSS, "schedule": "sigmoid"}, data)
            for kind in KINDS
            if kind != "sigmoid"
        }
        beside_sigmoid[data] = schedules["flow"]
        losses = {
            "that of u, logit-normal s,": nats(results, {**BASE, **ONE_LOSS}, {}, data),
            "that for detail": nats(results, {"timesteps": "detail"}, {}, data),
            "that of even log-SNR": nats(results, {"timesteps": "log-SNR"}, {}, data),
        }
        whole = nats(results, FLOW_MATCHING, {}, data)
        least = min(abs(math.log(ratio.mean)) for ratio in losses.values())
        most = max(max(abs(math.log(ratio.low)), abs(math.log(ratio.high))) for ratio in schedules.values())
        of_schedule[name] = "not known" if math.isnan(least + most) else "true" if most < least else "false"
        of_target[name] = "false" if beside_v[data].excludes(1) else described(beside_v[data])
        lines.append(
            f"{name.capitalize()}, the same loss under another schedule than the sigmoid: "
            + "; ".join(f"{kind} × {ratio}" for kind, ratio in schedules.items())
            + ". The sigmoid schedule with another loss than that of evenly drawn ε: "
            + "; ".join(f"{loss} × {ratio}" for loss, ratio in losses.items())
            + f". Flow matching beside the sigmoid with target v and evenly drawn ε: × {whole}."
        )
    decides = (
        f"excess in nats. The flow schedule beside the sigmoid with one loss: {_decides(beside_sigmoid)}. "
        f"Target u beside v: {_decides(beside_v)}"
    )
    return f"Its schedule: {agreed(of_schedule)}. Its target: {agreed(of_target)}", decides, "\n".join(lines)


def heard(results: Results) -> pd.DataFrame:
    """The sentences, one a row, as text, for `show_claims`: the verdict, what decides, more, and where one sees it.

    Args:
        results: of the table of targets, with `target_study.BASE` as its base.

    Ratios are geometric means over seeds with 95 % intervals; below 1 the first of the two is better.

    Raises:
        ValueError: the table lacks trainings that a sentence needs.
    """
    rows = [
        ("Flow matching needs fewer steps.", *fewer_steps(results), NEEDED),
        ("Velocity trains faster than ε.", *velocity_is_faster(results), CHOICES),
        ("Optimal transport makes better samples.", *transport_is_better(results), NEEDED),
        ("It is only a weighting.", *only_a_weighting(results), CHOICES),
    ]
    return pd.DataFrame(rows, columns=["One hears", "verdict", "decides", "more", "see"]).set_index("One hears")
