"""What the numbers of a run say of the lab's promises, and every row in which a peer is ahead."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

import numpy as np

from benchmarks.peers import LabAsItComes, LabOfThatSize
from benchmarks.race import EVERY, MEASURES, RACED, TARGETS
from benchmarks.summaries import (
    LAB,
    Result,
    Row,
    Summary,
    at_the_end,
    best_peer,
    beyond,
    evaluations,
    interval,
    names,
    number,
    rates,
    ratio_bounds,
    reading,
    seconds,
    times,
    where,
)
from lab_utils.measure.standings import more_is_better

GOAL = 2.0  # the target that the promises speak of, as a multiple of real
FASTER = {False: 10, True: 4}  # than the best peer as it is, and than the best tuned one
SAMPLING_FASTER, SHARE_OF_PRODUCTS = 6, 0.7
TRAINING_RATE, SAMPLING_RATE = 100_000, 1_000_000  # points, and point-steps, a second on two cores
MEMORY_GROWS, TIME_GROWS = 1.2, (0.9, 1.1)  # the most from 10⁵ points on; the exponent between which time grows as n


@dataclass(frozen=True)
class Verdict:
    """A promise, what was measured of it, and whether it holds: None where that can't be told.

    Attributes:
        must: whether the command fails when it doesn't hold.
    """

    promise: str
    measured: str
    holds: bool | None
    must: bool = False


# --- the race


def bound(low: float, high: float) -> str:
    """A ratio that is known only to lie between two bounds, as text."""
    if low == high:
        return f"{low:.1f}"
    return "unknown" if not low and math.isinf(high) else f"≥ {low:.1f}" if low else f"≤ {high:.1f}"


def race_verdicts(result: Result) -> Iterator[Verdict]:
    """How many times fewer seconds the lab needs, seed by seed."""
    for data, measure, tuned in product(result["data"], RACED, FASTER):
        promise = f"{data}: seconds to {GOAL:g} × real in {measure}, {FASTER[tuned]} times fewer than "
        promise += "the best tuned peer" if tuned else "the best peer as it is"
        peer = best_peer(result, data, measure, GOAL, tuned=tuned)
        lab = times(result, data, LAB, measure, GOAL)
        if peer is None or not lab:
            yield Verdict(promise, "not measured", None)
            continue
        theirs = times(result, data, peer, measure, GOAL)
        both = [ratio_bounds(lab[seed], theirs[seed]) for seed in lab if seed in theirs]
        low, high = (Summary.of(side) for side in zip(*both, strict=True))
        holds = True if low.middle >= FASTER[tuned] else False if high.middle < FASTER[tuned] else None
        spread = f"[{bound(low.low, high.low)}, {bound(low.high, high.high)}]"
        yield Verdict(promise, f"{bound(low.middle, high.middle)} {spread} × ({peer})", holds)


def sampler_verdicts(result: Result) -> Iterator[Verdict]:
    """Whether the few evaluations that the lab's network is used with are as good as all.

    They are not worse by more than the seeds differ: their median is no worse than the worst of all steps' readings.
    """
    rows = where(result["samplers"], contender=LAB)
    for data, measure in product(result["data"], (*MEASURES, EVERY)):
        of_data = where(rows, data=data)
        most = max((row["evaluations"] for row in of_data), default=0)
        count = next((row["evaluations"] for row in of_data if row["sampler"] == row["usual"]), 0)
        promise = f"{data}: the usual {count} evaluations no worse than {most} by {measure}"
        few = at_the_end(result, data, LAB, measure)
        if few is None or count == most:
            yield Verdict(promise, "not measured", None)
            continue
        all_steps = Summary.of(reading(row, measure) for row in where(of_data, evaluations=most))
        said = f"{count}: {interval(few)}; {most}: {interval(all_steps)}"
        worse = few.middle < all_steps.low if more_is_better(measure) else few.middle > all_steps.high
        yield Verdict(promise, said, not worse)


# --- rates and sizes


def rate_verdicts(result: Result) -> Iterator[Verdict]:
    """The promises about speed."""
    for n in sorted({row["n"] for row in where(result["rates"], what="sampling")}):
        lab, theirs = (rates(result, name, "sampling", n) for name in (LabOfThatSize.name, "diffusers"))
        promise = f"{n} points: {SAMPLING_FASTER} times diffusers' point-steps a second, with a network of that size"
        if lab and theirs:
            ratio = Summary.of(a["rate"] / b["rate"] for a, b in zip(lab, theirs, strict=False))
            yield Verdict(promise, f"{interval(ratio)} ×", ratio.middle >= SAMPLING_FASTER)
        else:
            yield Verdict(promise, "not measured", None)
        if lab:
            share = Summary.of(row["rate"] / row["products"] for row in lab)
            promise = f"{n} points: {SHARE_OF_PRODUCTS} of the rate that the matrix products alone allow"
            yield Verdict(promise, interval(share), share.middle >= SHARE_OF_PRODUCTS)
    promises = [("training", None, TRAINING_RATE, "points"), ("sampling", 5000, SAMPLING_RATE, "point-steps")]
    for what, n, promised, unit in promises:
        rows = rates(result, LabAsItComes.name, what, n)
        if rows:
            found = Summary.of(row["rate"] for row in rows)
            promise = f"the lab as it comes, {what}: {promised:,} {unit} a second on two cores"
            yield Verdict(promise, f"{interval(found)} a second", found.middle >= promised, must=True)


def size_verdicts(result: Result) -> Iterator[Verdict]:
    """Whether time grows as the number of points, and memory not at all.

    What the fewest points take is the start, which doesn't count; nor do numbers in which it is most of the time.
    """
    rows = [row for row in result["sizes"] if row["n"] >= 10**5]
    counts = sorted({row["n"] for row in rows})
    if len(counts) < 2:
        yield Verdict("time for n points grows as n, memory does not grow", result["missing"].get("sizes", ""), None)
        return
    middle = {name: [median(row[name] for row in where(rows, n=n)) for n in counts] for name in ("seconds", "peak")}
    start = median(row["seconds"] for row in where(result["sizes"], n=min(row["n"] for row in result["sizes"])))
    beyond = [max(1e-3, found - start) for found in middle["seconds"]]
    exponent = float(np.polyfit(np.log(counts), np.log(beyond), 1)[0])
    span = f"{counts[0]:.0e} to {counts[-1]:.0e} points"
    yield Verdict(
        f"time beyond the start grows as n, {span}",
        f"as n to the {exponent:.2f}",
        TIME_GROWS[0] <= exponent <= TIME_GROWS[1],
    )
    growth = max(middle["peak"]) / middle["peak"][0]
    yield Verdict(f"memory does not grow, {span}", f"{growth:.2f} ×", growth <= MEMORY_GROWS)


def verdicts(result: Result) -> list[Verdict]:
    """All of them, the ratios first."""
    parts = (race_verdicts, rate_verdicts, sampler_verdicts, size_verdicts)
    return [verdict for part in parts for verdict in part(result)]


def ahead(result: Result) -> list[str]:
    """Every row in which a peer is ahead of the lab, as a sentence."""
    found = []
    for data, measure, target in product(result["data"], RACED, TARGETS):
        lab = times(result, data, LAB, measure, target)
        for name in names(where(result["race"], data=data)) if lab else []:
            theirs = seconds(times(result, data, name, measure, target)).middle
            if theirs < seconds(lab).middle:
                said = f"{number(theirs)} s, the lab {number(seconds(lab).middle)} s"
                found.append(f"{name} is first to {target:g} × real in {measure} on {data}: {said}")
    for data, measure in product(result["data"], (EVERY, *MEASURES)):
        ours = at_the_end(result, data, LAB, measure)
        for name in names(where(result["samplers"], data=data)) if ours else []:
            theirs = at_the_end(result, data, name, measure)
            if beyond(theirs, ours, measure):
                said = f"{interval(theirs)} × real, the lab {interval(ours)}"
                found.append(f"{name} is ahead after the whole time in {measure} on {data}: {said}")
    for data, target in product(result["data"], TARGETS):
        counts = {name: evaluations(result, data, name, target) for name in names(where(result["samplers"], data=data))}
        for name, count in counts.items():
            if count < counts.get(LAB, 0):
                said = f"{number(count)}, the lab {number(counts[LAB])}"
                found.append(f"{name} needs fewer evaluations to {target:g} × real in every measure on {data}: {said}")
    for what, n in [("training", None), *(("sampling", n) for n in sorted({row["n"] for row in result["memory"]}))]:
        middle = {name: _rate(result, name, what, n) for name in names(result["rates"])}
        for name, rate in middle.items():
            if not name.startswith(LAB) and rate > middle.get(LAB, math.inf):
                found.append(f"{name} has the higher rate of {what}" + (f" of {n} points" if n else ""))
    return found + _less_memory(result["memory"])


def _rate(result: Result, name: str, what: str, n: int | None) -> float:
    return median([row["rate"] for row in rates(result, name, what, n)] or [0.0])


def _less_memory(rows: Sequence[Row]) -> list[str]:
    lab = {row["n"]: row["peak"] for row in where(rows, contender=LAB)}
    less = [row for row in rows if not row["contender"].startswith(LAB) and row["peak"] < lab.get(row["n"], 0)]
    return [f"{row['contender']} holds less memory for {row['n']} points" for row in less]
