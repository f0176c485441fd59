"""The command behind `make bench`: one run, one page, one JSON with every raw number.

The JSON and the page are written anew after each part, so a run that is interrupted can be read, and the same command
goes on with it; with other data sets, more seeds or another part it adds what is missing. A run that is finished is
not measured again: another folder, or moving bench.json away, begins a new one. Ends with 1 when the lab is slower than
it promises for two cores, be it beside whomever.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import peers, race, rates, sizes
from benchmarks.stored import NAME, PAGE, PARTS, BenchError, Result, begun, raced, read, save, write_page
from benchmarks.verdicts import verdicts
from lab_utils.base import options as kinds
from lab_utils.base.files import PROJECT, check_writable, in_a_line, lock
from lab_utils.points.shapes import SHAPES

DATA = ("cities", "spiral")


def collect(rows: Iterable[Result], into: list[Result], label: str, **more: Any) -> None:
    """Add rows as they come, and say how many there are."""
    for row in tqdm(rows, desc=label, disable=None, unit=" rows", leave=False):
        into.append(more | row)


def measure_rates(result: Result, absent: dict[str, str], rounds: int) -> None:
    """Rates of all who are here, in the rounds that are missing."""
    present = {name: kind for name, kind in peers.CONTENDERS.items() if name not in absent}
    there = max((row["round"] for row in result["rates"]), default=0)
    if there < rounds:
        rows = rates.measure(present, rounds - there)
        collect(({**row, "round": there + row["round"]} for row in rows), result["rates"], "rates")


def measure_memory(result: Result, absent: dict[str, str]) -> None:
    """The memory of all who are here, unless it is known, in a process each."""
    if not result["memory"]:
        present = [name for name in peers.CONTENDERS if name not in absent]
        collect((rates.memory(name, n) for name in present for n in rates.STEPS), result["memory"], "memory")


def tune(result: Result, absent: dict[str, str], name: str, seconds: float) -> dict[str, dict[str, Any]]:
    """Tune the peers on the data `name`, unless they are: peer → its best settings. In no time there is no tuning."""
    best = {}
    for kind in race.racers({kind.name: kind for kind in peers.PEERS}, absent) if seconds else []:
        more = {"data": name, "contender": kind.name}
        rows = [row for row in result["tuning"] if more.items() <= row.items()]  # the best first
        if not rows:
            rows = race.tune(kind, race.judge(name, race.TUNING_DRAW), seconds)
            collect(rows, result["tuning"], "tuning", **more)
        best[kind.name] = {key: rows[0][key] for key in race.grid(kind)[0]}
        best[kind.name]["usual"] = rows[0]["sampler"]
    return best


def run_race(result: Result, absent: dict[str, str], tuned: dict[str, Any], name: str, seed: int) -> None:
    """One race, and what each sampler makes of the networks when all have had the same time."""
    jury = race.judge(name, race.RACE_DRAW)
    present = race.racers(peers.CONTENDERS, absent)
    contenders = race.entrants(present, tuned[name], jury.data.train, seed)
    more = {"data": name, "seed": seed}
    label = f"race on {name}, seed {seed}"
    collect(race.race(contenders, jury, result["options"]["budget"], seed), result["race"], label, **more)
    for contender, one in contenders.items():
        rows = race.compare_samplers(one, jury, result["options"]["budget"], seed)
        collect(rows, result["samplers"], "samplers", contender=contender, usual=one.usual, **more)


def run(options: argparse.Namespace) -> Result:
    """Measure what was asked for and is missing.

    Raises:
        BenchError: what stands in the folder can't be read, or another process measures into it.
    """
    try:
        held = lock(options.out / NAME, timeout=0).acquire()
    except TimeoutError as error:
        remedy = "wait for it, or name another folder with --out"
        raise BenchError(f"another process measures into {options.out}; {remedy}") from error
    with held:
        return _run(options)


def _run(options: argparse.Namespace) -> Result:
    absent = peers.missing()
    for name, reason in absent.items():
        print(f"{name} missing: {reason}")
    result = begun(options, absent)
    for name in options.data:
        if name not in result["training_points"]:
            jury = race.judge(name, race.RACE_DRAW)
            result["training_points"][name] = jury.multiples(jury.data.train[: race.SIZE])
    if "rates" in options.parts:
        measure_rates(result, absent, options.rounds)
        save(result, options.out)
        measure_memory(result, absent)
        save(result, options.out)
    if "race" in options.parts:
        tuned = {}
        for name in options.data:
            tuned[name] = tune(result, absent, name, options.tuning)
            save(result, options.out)
        for seed, name in race.order(options.data, options.seeds):
            if (name, seed) not in raced(result):
                run_race(result, absent, tuned, name, seed)
                save(result, options.out)
    if "sizes" in options.parts and ("sizes" in result["missing"] or not result["sizes"]):
        measure_sizes(result)
    result["finished"] = True
    save(result, options.out)
    return result


def measure_sizes(result: Result) -> None:
    """Time and memory against the number of points; or the reason why not all of it could be measured."""
    reason = sizes.missing()
    result["sizes"], result["missing"] = [], {k: why for k, why in result["missing"].items() if k != "sizes"}
    try:
        if not reason:
            collect(sizes.measure(), result["sizes"], "sizes")
    except RuntimeError as error:
        reason = str(error)
    if reason:
        result["missing"] = {**result["missing"], "sizes": reason}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.bench", description="Set the lab beside its peers.")
    add, default = found.add_argument, " (default: %(default)s)"
    add("--budget", type=kinds.seconds, default=30.0, help="seconds that each contender trains, at most" + default)
    tuning = "seconds for each setting that is tried; 0: no tuning"
    add("--tuning", type=kinds.seconds_or_zero, default=8.0, help=tuning + default)
    add("--seeds", type=kinds.count, default=5, help="races on each data set" + default)
    add("--rounds", type=kinds.count, default=5, help="how often rates are measured" + default)
    names = ["cities", *SHAPES]
    add("--data", nargs="+", choices=names, default=[*DATA], help="data sets to race on, of %(choices)s" + default)
    add("--parts", nargs="+", choices=PARTS, default=[*PARTS], help="what to measure" + default)
    add("--out", type=Path, default=PROJECT / "report", metavar="FOLDER", help="where the page goes (default: report)")
    add("--again", action="store_true", help="only write the page anew, from the JSON that is there")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 when the lab is as fast as it promises for two cores, 1 when not or when there could be no run, 130 when
        interrupted.
    """
    options, started = parser().parse_args(arguments), time.monotonic()
    try:
        check_writable(options.out / PAGE)
        if options.again:
            result = read(options.out / NAME)
            write_page(result, options.out)
        else:
            result = run(options)
    except KeyboardInterrupt:
        there = (options.out / PAGE).exists()
        print(
            f"\nInterrupted. {f'What was measured is in {options.out / PAGE}' if there else 'Nothing is measured yet'}"
        )
        return 130
    except (BenchError, OSError) as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    found = verdicts(result)
    for verdict in found:
        print(f"{ {True: 'yes', False: 'NO', None: '?'}[verdict.holds]:<4}{verdict.promise}: {verdict.measured}")
    print(f"{(time.monotonic() - started) / 60:.0f} minutes. Page: {options.out / PAGE}")
    return 1 if any(verdict.must and not verdict.holds for verdict in found) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end keeps what Ctrl-C keeps
    sys.exit(main())
