"""The command behind `make bench`: one run, one page, one JSON with every raw number.

The JSON and the page are written anew after each part, so a run that is interrupted can be read, and the same command
goes on with it. Ends with 1 when the lab is slower than it promises for two cores, be it beside whomever.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import page, peers, race, rates, sizes
from benchmarks.verdicts import verdicts
from lab_utils import THREADS, WORKERS
from lab_utils.base.files import PROJECT, write_whole
from lab_utils.report.__main__ import MARKER
from lab_utils.report.pages import facts
from lab_utils.study.running import code_version

Result = dict[str, Any]

DATA = ("cities", "spiral")
PARTS = ("rates", "race", "sizes")
LIBRARIES = ("diffusers", "smalldiffusion", "accelerate")


def empty(options: argparse.Namespace, absent: dict[str, str]) -> Result:
    """What a run knows before it has measured anything."""
    kinds = {name: kind for name, kind in peers.CONTENDERS.items() if name not in absent}
    chosen = {name: value for name, value in vars(options).items() if name not in ("out", "again")}
    return {
        "finished": False,
        "code": [code_version(part) for part in (race.race, rates.measure, sizes.measure)],  # not of the page
        "data": options.data,
        "options": chosen,
        "facts": facts() | {"Threads": f"{THREADS} to train, {WORKERS} workers to sample", "Peers": _versions()},
        "settings": {name: kind.defaults for name, kind in kinds.items()},
        "missing": absent,
        "training_points": {},
        **{part: [] for part in ("rates", "memory", "tuning", "race", "samplers", "sizes")},
    }


def begun(options: argparse.Namespace, absent: dict[str, str]) -> Result:
    """What a run with the same options, code and machine had measured when it was interrupted; or nothing yet."""
    new, path = empty(options, absent), options.out / "bench.json"
    if not path.is_file():
        return new
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["finished"] or _identity(found) != _identity(json.loads(json.dumps(new))):
        return new
    print(f"Goes on with {path}: {len(_races(found))} of {len(options.data) * options.seeds} races are there.")
    return found


def _identity(result: Result) -> Result:
    """What must be the same, for numbers of two runs to be one run's."""
    facts = {name: value for name, value in result["facts"].items() if name not in ("Made", "Commit")}
    return {name: result.get(name) for name in ("code", "options", "settings", "missing")} | facts


def _races(result: Result) -> set[tuple[str, int]]:
    """The races that are whole: those that have the samplers, too."""
    return {(row["data"], row["seed"]) for row in result["samplers"]}


def _versions() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return ", ".join(found)


def save(result: Result, out: Path) -> None:
    """Write the page and the JSON."""
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()  # else `make report` would take the folder for somebody's own, and refuse it
    for name, text in [
        ("bench.json", json.dumps(result, indent=1, allow_nan=False)),
        ("bench.html", page.render(result)),
    ]:
        with write_whole(out / name) as part:
            part.write_text(text, encoding="utf-8")


def collect(rows: Iterable[Result], into: list[Result], label: str, **more: Any) -> None:
    """Add rows as they come, and say how many there are."""
    for row in tqdm(rows, desc=label, disable=None, unit=" rows", leave=False):
        into.append(more | row)


def measure_rates(result: Result, absent: dict[str, str], rounds: int) -> None:
    """Rates of all who are here, and the memory of each in a process of its own."""
    kinds = {name: kind for name, kind in peers.CONTENDERS.items() if name not in absent}
    collect(rates.measure(kinds, rounds), result["rates"], "rates")
    collect((rates.memory(name, n) for name in kinds for n in rates.STEPS), result["memory"], "memory")


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
    kinds = race.racers(peers.CONTENDERS, absent)
    contenders = race.entrants(kinds, tuned[name], jury.data.train, seed)
    more = {"data": name, "seed": seed}
    label = f"race on {name}, seed {seed}"
    collect(race.race(contenders, jury, result["options"]["budget"], seed), result["race"], label, **more)
    for contender, one in contenders.items():
        rows = race.compare_samplers(one, jury, result["options"]["budget"], seed)
        collect(rows, result["samplers"], "samplers", contender=contender, usual=one.usual, **more)


def run(options: argparse.Namespace) -> Result:
    """Measure everything that was asked for."""
    absent = peers.missing()
    for name, reason in absent.items():
        print(f"{name} missing: {reason}")
    result = begun(options, absent)
    for name in options.data:
        jury = race.judge(name, race.RACE_DRAW)
        result["training_points"][name] = jury.multiples(jury.data.train[: race.SIZE])
    if "rates" in options.parts and not result["memory"]:  # which is measured last
        measure_rates(result, absent, options.rounds)
        save(result, options.out)
    if "race" in options.parts:
        tuned = {}
        for name in options.data:
            tuned[name] = tune(result, absent, name, options.tuning)
            save(result, options.out)
        for seed, name in race.order(options.data, options.seeds):
            if (name, seed) not in _races(result):
                run_race(result, absent, tuned, name, seed)
                save(result, options.out)
    if "sizes" in options.parts:
        _sizes(result)
    result["finished"] = True
    save(result, options.out)
    return result


def _sizes(result: Result) -> None:
    reason = sizes.missing()
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
    add("--budget", type=float, default=30.0, help="seconds that each contender trains in a race, at most" + default)
    add("--tuning", type=float, default=8.0, help="seconds for each setting that is tried; 0: no tuning" + default)
    add("--seeds", type=int, default=5, help="races on each data set" + default)
    add("--rounds", type=int, default=5, help="how often rates are measured" + default)
    add("--data", nargs="+", default=[*DATA], help="data sets to race on" + default)
    add("--parts", nargs="+", choices=PARTS, default=[*PARTS], help="what to measure" + default)
    add("--out", type=Path, default=PROJECT / "report", metavar="FOLDER", help="where the page goes (default: report)")
    add("--again", action="store_true", help="only write the page anew, from the JSON that is there")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when the lab is as fast as it promises for two cores, 1 when not, 130 when interrupted."""
    options, started = parser().parse_args(arguments), time.monotonic()
    try:
        if options.again:
            result = json.loads((options.out / "bench.json").read_text(encoding="utf-8"))
            save(result, options.out)
        else:
            result = run(options)
    except KeyboardInterrupt:
        print(f"\nInterrupted. What was measured is in {options.out / 'bench.html'}")
        return 130
    found = verdicts(result)
    for verdict in found:
        print(f"{ {True: 'yes', False: 'NO', None: '?'}[verdict.holds]:<4}{verdict.promise}: {verdict.measured}")
    print(f"{(time.monotonic() - started) / 60:.0f} minutes. Page: {options.out / 'bench.html'}")
    return 1 if any(verdict.must and not verdict.holds for verdict in found) else 0


if __name__ == "__main__":
    sys.exit(main())
