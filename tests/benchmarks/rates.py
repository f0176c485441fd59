"""Points and steps a second, beside what the machine's own matrix products would allow; and memory.

The products are those that a contender's own code does: they are recorded as it runs, and done again, alone, with the
same matrices. What the ratio lacks to 1 is spent on everything else.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.contender import Contender
from benchmarks.peers import CONTENDERS
from lab_utils import THREADS
from lab_utils.base.files import PROJECT
from lab_utils.points.dataset import dataset

Row = dict[str, Any]
Product = tuple[Tensor, Tensor, Tensor]  # two factors, and room for what they make

TRAIN_SECONDS = 0.5  # of training, and of products, in each measurement
STEPS = {5000: 100, 40_000: 20}  # points, and how many of a sampler's steps are timed
WAYS = [k / 20 for k in range(20)]  # where on a sampler's way its products are looked at
CORES = os.cpu_count() or 1


class _Recorder(TorchDispatchMode):
    """Keeps the factors of every matrix product, below autograd, so those of the backward pass as well."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = function._overloadpacket.__name__
        if name in ("mm", "addmm"):
            self.factors.append(arguments[-2:])
        elif name == "linear":  # in inference mode it isn't taken apart
            self.factors.append((arguments[0], arguments[1].t()))
        return function(*arguments, **(keywords or {}))


def products(work: Callable[[], object]) -> list[Product]:
    """The matrix products that `work` does: their factors as they are, and room for the results."""
    with _Recorder() as recorder:
        work()
    return [(a, b, torch.empty(len(a), b.shape[1])) for a, b in recorder.factors]


def multiply_adds(found: list[Product]) -> int:
    """How many multiplications (with an addition each) these products take."""
    return sum(a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in found)


def repeats_per_second(found: list[Product], seconds: float = TRAIN_SECONDS) -> float:
    """How often a second one thread can do all these products."""
    started, done = time.perf_counter(), 0
    with torch.no_grad():
        while (spent := time.perf_counter() - started) < seconds:
            for a, b, room in found:
                torch.mm(a, b, out=room)
            done += 1
    return done / spent


@torch.no_grad()
def products_along(ask: Callable[[float], Tensor]) -> tuple[float, float]:
    """Seconds that all products of one evaluation take one thread, and their multiplications: means over the way.

    One evaluation at a time, for the matrices of many would not fit into the cache, where a sampler finds them.
    """
    seconds = adds = 0.0
    for way in WAYS:
        found = products(partial(ask, way))
        seconds += 1 / repeats_per_second(found, TRAIN_SECONDS / len(WAYS))
        adds += multiply_adds(found)
    return seconds / len(WAYS), adds / len(WAYS)


def training(contender: Contender) -> Row:
    """Training points a second, and as many as the products alone would allow, on one thread."""
    contender.turn()
    seconds, points = contender.seconds, contender.points
    contender.train_until(seconds + TRAIN_SECONDS)
    rate = (contender.points - points) / (contender.seconds - seconds)
    used: list[int] = []
    alone = products(lambda: used.append(contender.turn()))
    return {"threads": 1, "rate": rate, "products": used[0] * repeats_per_second(alone)}


def sampling(contender: Contender, n: int, threads: int) -> Row:
    """Point-steps a second: points times evaluations of the network over seconds; and what the products would allow.

    Args:
        contender: trained or not, which makes no difference to its speed.
        n: points.
        threads: of torch, in each of the contender's own workers.
    """
    sampler = max(contender.samplers, key=contender.samplers.__getitem__)
    most = contender.samplers[sampler] // contender.evaluations
    steps = min(STEPS[n], most)
    torch.set_num_threads(threads)
    try:
        started = time.perf_counter()
        contender.sample(n, sampler=sampler, steps=steps)
        rate = n * steps * contender.evaluations / (time.perf_counter() - started)
        block = min(n, contender.block or n)
        with torch.no_grad():
            asked = [contender.ask(block) for _ in range(contender.workers)]
        with ThreadPoolExecutor(contender.workers) as pool:
            alone = [*pool.map(products_along, asked)]
    finally:
        torch.set_num_threads(THREADS)
    return {
        "threads": threads * contender.workers,
        "rate": rate,
        "products": sum(block / seconds for seconds, _ in alone),
        "adds": alone[0][1] / block,
    }


def measure(kinds: Mapping[str, type[Contender]], rounds: int) -> Iterator[Row]:
    """Training and sampling of every contender, in a random order in each round, after a first one that doesn't count.

    All may use all cores while they sample. The lab does so by itself, block beside block; the others are measured
    with one thread of torch and with as many as there are cores, and the better one counts.
    """
    train = dataset("cities").train
    contenders = {name: kind(train) for name, kind in kinds.items()}
    choice = random.Random(0)
    for number in range(rounds + 1):
        for name in choice.sample([*contenders], len(contenders)):
            contender = contenders[name]
            rows = [{"what": "training", "n": contender.settings.get("batch_size", 0), **training(contender)}]
            for n in STEPS:
                for threads in {1, CORES} if contender.workers == 1 else {THREADS}:
                    rows.append({"what": "sampling", "n": n, **sampling(contender, n, threads)})
            yield from ({"round": number, "contender": name, **row} for row in rows if number)


def memory(name: str, n: int) -> Row:
    """The most memory that a fresh process held before it sampled `n` points with a contender, and with that, in MB."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rates", name, str(n)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT / "tests"), *sys.path])},
        capture_output=True, text=True, check=True, cwd=PROJECT,
    )  # fmt: skip
    return {"contender": name, "n": n, **json.loads(done.stdout.splitlines()[-1])}


def high_water() -> float:
    """The most memory that this process has held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts what the parent held when this process was begun
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    import resource  # here, because Windows has none

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def main(name: str, n: int) -> None:
    """Sample in this process, and print how much memory that took."""
    contender = CONTENDERS[name](dataset("cities").train)
    contender.sample(10, steps=3)
    before = high_water()
    contender.sample(n, steps=3)
    print(json.dumps({"before": before, "peak": high_water()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
