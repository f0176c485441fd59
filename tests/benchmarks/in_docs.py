"""The race as docs/benchmarks.md tells it: its tables follow from the rows that are kept beside it.

    python -m benchmarks.in_docs FOLDER …    keep the races of these runs of `make bench`, and write the tables anew

Of a run that was asked for some data sets only, the others' races may stand in another folder. Only whole races count.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import stored
from benchmarks.race import EVERY, MEASURES, TARGETS
from benchmarks.summaries import (
    LAB,
    TUNED,
    Result,
    Summary,
    at_the_end,
    best_peer,
    beyond,
    evaluations,
    interval,
    names,
    number,
    reading,
    seconds,
    times,
    where,
)
from lab_utils.base.files import PROJECT, write_whole
from lab_utils.measure.standings import more_is_better, times_real

PAGE = PROJECT / "docs" / "benchmarks.md"
KEPT = {"race": PAGE.with_name("race.csv"), "samplers": PAGE.with_name("race_samplers.csv")}
CALLED = {
    "cities": "towns",
    "spiral": "spiral",
    "checkerboard": "checkerboard",
    "moons": "moons",
    "thin_roll": "roll without noise",
}
USUAL, WITHOUT, ALL = "SDE-DPM-Solver++(2M)", "DPM-Solver++(2M)", "DDPM, 1000 steps"
SHOWN = ("energy distance", "blur", "strays")
BUDGET = 30.0  # seconds of training in the races that are kept
DIGITS = 4
TRUTH = "training points"  # they have rows like a contender's, so that each table can say what real points read
SINGLE = ("energy distance", "blur")  # measures that are raced for alone, too


# --- the rows


def keep(runs: Iterable[Result]) -> None:
    """Keep the rows of all whole races.

    Raises:
        stored.BenchError: the runs are no parts of one run, or have other seconds of training than the page says.
    """
    runs = [*runs]
    for run in runs:
        if others := stored.differences(runs[0], run):
            raise stored.BenchError(f"these folders have different runs ({', '.join(others)}); name parts of one run")
        if run["options"]["budget"] != BUDGET:
            raise stored.BenchError(f"the page tells of {BUDGET:g} seconds of training, and this run has others")
    for part, path in KEPT.items():
        rows = [row for run in runs for row in run[part] if (row["data"], row["seed"]) in stored.raced(run)]
        rows += [_of_truth(run, name) for run in runs for name in run["data"] if part == "samplers"]
        columns = [name for name in stored.ROWS[part] if name != EVERY]
        found = pd.DataFrame(rows)[columns].drop_duplicates(["data", "seed", *columns[2:4]])
        order = [[*CALLED].index(name) for name in found["data"]]
        found = found.assign(order=order).sort_values(["order", "seed"], kind="stable").drop(columns="order")
        with write_whole(path) as written:
            found.to_csv(written, index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")


def _of_truth(run: Result, data: str) -> Mapping[str, object]:
    row = {"data": data, "seed": 0, "contender": TRUTH, "sampler": TRUTH, "usual": TRUTH, "evaluations": 0}
    return {**row, **run["training_points"][data]}


def kept() -> Result:
    """The rows, as a run that `summaries` reads."""
    parts: dict[str, list[Mapping[str, object]]] = {}
    for part, path in KEPT.items():
        table = pd.read_csv(path)
        worst = table[[*MEASURES]].apply(lambda row: max(times_real(name, row[name]) for name in MEASURES), axis=1)
        found = table.assign(**{EVERY: worst.where(table[[*MEASURES]].notna().all(axis=1))}).astype(object)
        parts[part] = found.where(found.notna(), None).to_dict("records")
    data = [name for name in CALLED if where(parts["samplers"], data=name)]
    return {**parts, "data": data, "tuning": [{"data": name} for name in data]}


# --- the tables


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _peers(result: Result, data: str, *, tuned: bool) -> list[str]:
    """The peers as they come, or tuned; whom tuning left as it was counts as both."""
    there = [name for name in names(where(result["samplers"], data=data)) if name not in (LAB, TRUTH)]
    if tuned:
        return [name for name in there if name + TUNED not in there]
    return [name for name in there if not name.endswith(TUNED)]


def _best_at_the_end(result: Result, data: str, measure: str, peers: Sequence[str]) -> tuple[str, Summary]:
    sign = -1 if more_is_better(measure) else 1
    found = {name: at_the_end(result, data, name, measure) for name in peers}
    name = min(found, key=lambda name: sign * found[name].middle)
    return name, found[name]


def after_the_time(result: Result) -> str:
    """× real in the worst of all measures, after the whole time: the lab, and the best of the peers."""
    rows = []
    for data in result["data"]:
        row = [CALLED[data], str(len({one["seed"] for one in where(result["race"], data=data)}))]
        row += [interval(at_the_end(result, data, name, EVERY)) for name in (TRUTH, LAB)]
        for tuned in (False, True):
            name, found = _best_at_the_end(result, data, EVERY, _peers(result, data, tuned=tuned))
            row.append(f"{interval(found)} ({name.removesuffix(TUNED)})")
        rows.append(row)
    return _markdown(["data", "seeds", TRUTH, "lab", "best peer as it comes", "best tuned peer"], rows)


def until_there(result: Result) -> str:
    """Seconds of training until every measure is at a target, and evaluations that the network then needs."""
    rows = []
    for data in result["data"]:
        for target in TARGETS:
            peer = best_peer(result, data, EVERY, target, tuned=True)
            row = [CALLED[data], f"{target:g} × real"]
            row += [_until(result, data, name, EVERY, target) for name in (LAB, peer)]
            row.append(_count(evaluations(result, data, LAB, target)))
            counts = {name: evaluations(result, data, name, target) for name in _peers(result, data, tuned=True)}
            best = min(counts, key=counts.get)
            row.append(_count(counts[best], best.removesuffix(TUNED)))
            rows.append(row)
    heads = ["data", "every measure at", "seconds: lab", "best tuned peer", "evaluations: lab", "best tuned peer"]
    return _markdown(heads, rows)


def _until(result: Result, data: str, name: str, measure: str, target: float) -> str:
    found = interval(seconds(times(result, data, name, measure, target))).replace("∞", f"> {BUDGET:g}")
    return found if name == LAB else f"{found} ({name.removesuffix(TUNED)})"


def alone(result: Result) -> str:
    """Seconds of training until one measure is at twice real."""
    rows = []
    for data in result["data"]:
        for measure in SINGLE:
            row = [CALLED[data], measure]
            best = [best_peer(result, data, measure, 2.0, tuned=tuned) for tuned in (False, True)]
            rows.append([*row, *(_until(result, data, name, measure, 2.0) for name in (LAB, *best))])
    return _markdown(["data", "measure", "lab", "best peer as it comes", "best tuned peer"], rows)


def _count(count: float, who: str = "") -> str:
    if count == float("inf"):
        return "–"
    return number(count) + (f" ({who})" if who else "")


def ahead(result: Result) -> str:
    """The measures in which a peer is ahead beyond the lab's interval after the whole time: the best such peer."""
    rows = []
    for data in result["data"]:
        for measure in (EVERY, *MEASURES):
            ours = at_the_end(result, data, LAB, measure)
            name, theirs = _best_at_the_end(result, data, measure, _peers(result, data, tuned=True))
            if beyond(theirs, ours, measure):
                rows.append([CALLED[data], measure, name.removesuffix(TUNED), interval(theirs), interval(ours)])
    return _markdown(["data", "measure", "tuned peer", "its × real", "the lab's × real"], rows)


def few_steps(result: Result) -> str:
    """The lab's networks after the whole time, sampled in few steps with noise, in few without, and in all."""
    rows = []
    for data in result["data"]:
        for sampler in (f"{USUAL}, 20 steps", f"{USUAL}, 50 steps", f"{WITHOUT}, 20 steps", ALL):
            found = where(result["samplers"], data=data, contender=LAB, sampler=sampler)
            told = [interval(Summary.of(reading(row, name) for row in found)) for name in (EVERY, *SHOWN)]
            rows.append([CALLED[data], sampler, *told])
    return _markdown(["data", "sampler", EVERY, *SHOWN], rows)


TABLES = {
    "after the time": after_the_time,
    "until there": until_there,
    "alone": alone,
    "ahead": ahead,
    "few steps": few_steps,
}


def write(page: str, result: Result) -> str:
    """The page with each of its tables made anew: "<!-- race: name -->", the table, "<!-- end -->"."""
    for name, table in TABLES.items():
        between = re.compile(f"(<!-- race: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = between.subn(lambda found, table=table: f"{found[1]}{table(result)}\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"{PAGE} has {count} places for the table {name!r}, and it must have one")
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the rows, write the tables; 0, or 1 and a line that says why."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_docs", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="with a bench.json; none: only the tables"
    )
    options = parser.parse_args(arguments)
    try:
        if options.folders:
            keep([stored.read(folder / stored.NAME) for folder in options.folders])
    except stored.BenchError as error:
        print(error, file=sys.stderr)
        return 1
    page = write(PAGE.read_text(encoding="utf-8"), kept())
    with write_whole(PAGE) as part:
        part.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
