"""What a run of the benchmark has measured, on the disk: bench.json with every raw number, and the page beside it.

A run is told by its code, its machine, who takes part, and the seconds of training. Which data sets, how many seeds and
rounds, and which parts are asked for is not part of it: what is there is kept, and what is missing is added.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import page, peers, race, rates, sizes
from lab_utils import THREADS, WORKERS
from lab_utils.base.arguments import is_number
from lab_utils.base.files import write_whole
from lab_utils.report.__main__ import MARKER
from lab_utils.report.pages import facts
from lab_utils.study.running import code_version

Result = dict[str, Any]

NAME, PAGE = "bench.json", "bench.html"
PARTS = ("rates", "race", "sizes")
LIBRARIES = ("diffusers", "smalldiffusion", "accelerate")
SECONDS = ("budget", "tuning")  # the options that decide what a number means

# What the page asks of each list of rows. These columns are text, and all others numbers.
TEXT = ("data", "contender", "sampler", "usual", "what")
READ = (race.EVERY, *race.MEASURES)  # None where points, or a measure of them, were not finite
ROWS = {
    "rates": ("round", "contender", "what", "n", "threads", "rate", "products"),
    "memory": ("contender", "n", "before", "peak"),
    "tuning": ("data", "contender", "learning_rate", "batch_size", "sampler", *READ),
    "race": ("data", "seed", "contender", "checkpoint", "seconds", *READ),
    "samplers": ("data", "seed", "contender", "sampler", "usual", "evaluations", *READ),
    "sizes": ("n", "seconds", "peak"),
}
KINDS = {"finished": bool, "data": list, **dict.fromkeys(ROWS, list)}
KINDS |= dict.fromkeys(("options", "facts", "settings", "missing", "training_points"), dict)


class BenchError(ValueError):
    """A run that can't be read, gone on with or stored; the message says why, and what to do."""


# --- a run, and what it goes on with


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
        **{name: [] for name in ROWS},
    }


def begun(options: argparse.Namespace, absent: dict[str, str]) -> Result:
    """What the run that stands in the folder has measured, to go on with; or nothing yet, if it is another run.

    Raises:
        BenchError: what stands there can't be read.
    """
    new, path = empty(options, absent), options.out / NAME
    if not path.exists():
        return new
    found = read(path)
    if others := differences(found, new):
        print(f"{path} is of another run ({', '.join(others)}); this one begins anew.")
        return new
    asked = {(name, seed) for name in options.data for seed in range(options.seeds)}
    print(f"Goes on with {path}: {len(asked & raced(found))} of {len(asked)} races are there.")
    data = [*dict.fromkeys([*found["data"], *options.data])]
    return {**found, "finished": False, "data": data, "options": new["options"]}


def raced(result: Result) -> set[tuple[str, int]]:
    """The races that are whole, data and seed: those that have the samplers, too."""
    return {(row["data"], row["seed"]) for row in result["samplers"]}


def _identity(result: Result) -> Result:
    """What must be the same, for numbers of two runs to be one run's."""
    seconds = {name: result["options"].get(name) for name in SECONDS}
    missing = {name: reason for name, reason in result["missing"].items() if name != "sizes"}  # no contender
    facts = {name: value for name, value in result["facts"].items() if name not in ("Made", "Commit")}
    return {"code": result.get("code"), **seconds, "settings": result["settings"], "missing": missing, **facts}


def differences(one: Result, other: Result) -> list[str]:
    """In what the runs are different ones, such as "other code"; nothing, if they are the same run."""
    mine, theirs = (json.loads(json.dumps(_identity(run))) for run in (one, other))
    return [f"other {name.lower()}" for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]


def _versions() -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return ", ".join(found)


# --- reading and writing


def read(path: Path) -> Result:
    """The run in a JSON.

    Raises:
        BenchError: there is none, or it is damaged, or something else's.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchError(f"there is no {path}; run the benchmark first, or name its folder with --out") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if wrong := next(_wrong(result), ""):
        raise _damaged(path, wrong)
    return result


def _damaged(path: Path, why: str) -> BenchError:
    remedy = "It is left as it is; mend it or move it away, or name another folder with --out"
    return BenchError(f"{path} can't be read as a run of the benchmark: {why}. {remedy}")


def _wrong(result: Any) -> Iterable[str]:
    """What a page could not be made of, or a run not go on with."""
    if not isinstance(result, dict):
        yield "it has no names"
        return
    wrong = [name for name, kind in KINDS.items() if not isinstance(result.get(name), kind)]
    if wrong:
        yield f"it has no proper {', '.join(wrong)}"
        return
    for name, columns in ROWS.items():
        for number, row in enumerate(result[name], 1):
            if lacking := [column for column in columns if not isinstance(row, dict) or not _fits(row, column)]:
                yield f"row {number} of {name} has no proper {', '.join(lacking)}"
    yield from (f"the option {name} is no number" for name in SECONDS if not is_number(result["options"].get(name)))
    for data in {*map(str, result["data"]), *(row["data"] for row in result["race"] + result["samplers"])}:
        reads = result["training_points"].get(data)
        if data not in result["data"] or not isinstance(reads, dict) or not all(is_number(reads.get(m)) for m in READ):
            yield f"what the training points of {data} read is not there"


def _fits(row: Result, column: str) -> bool:
    value = row.get(column)
    if column in TEXT:
        return isinstance(value, str)
    return is_number(value) or (column in READ and column in row and value is None)


def save(result: Result, out: Path) -> None:
    """Write the JSON and the page. If another run's stand there, they get a number, and a line says so."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / NAME
    if not any(
        out.iterdir()
    ):  # `make report` may put its own in the place of a folder with this, so only of an own one
        (out / MARKER).touch()
    if path.exists() and not _same(path, result):
        print(f"{path} is of another run, which is kept, with its page, as {_set_aside(out)}")
    with write_whole(path) as part:
        part.write_text(json.dumps(result, indent=1, allow_nan=False), encoding="utf-8")
    write_page(result, out)


def _same(path: Path, result: Result) -> bool:
    try:
        return not differences(read(path), result)
    except BenchError:  # it was damaged since this run has begun: that isn't overwritten either
        return False


def _set_aside(out: Path) -> Path:
    """Give what stands in the folder the next free number: bench.json becomes bench.1.json, and the page with it."""
    taken = {path.name for path in out.iterdir()}
    number = next(k for k in count(1) if taken.isdisjoint({f"bench.{k}.json", f"bench.{k}.html"}))
    for name in (PAGE, NAME):
        if name in taken:
            (out / name).rename(out / name.replace(".", f".{number}.", 1))
    return out / f"bench.{number}.json"


def write_page(result: Result, out: Path) -> None:
    """Write the page alone."""
    with write_whole(out / PAGE) as part:
        part.write_text(page.render(result), encoding="utf-8")
