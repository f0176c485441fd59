"""Several notebooks at a time: which may begin, which begins first, and how all of them end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from lab_utils import METADATA_KEY, THREADS
from lab_utils.report.pages import Run
from lab_utils.report.run import run_notebook

MOST = 4  # kernels, on however many cores: each has its own PyTorch in memory, half a gigabyte or more


def usual(threads: int, cores: int) -> int:
    """How many notebooks run at a time unless told: one on each core, or on each `threads` of them, and `MOST` at most.

    A kernel that waits or is on one core alone leaves the others to its neighbours. More kernels than cores only wait.
    """
    return max(1, min(MOST, cores // max(1, threads)))


def after(path: Path) -> set[str]:
    """The names of the notebooks that should be done before the one at `path` begins: it uses what they have trained.

    They stand in its metadata, as `{"lab": {"after": ["03_training"]}}`; what can't be read there is not there.
    """
    try:
        return {*json.loads(path.read_bytes())["metadata"][METADATA_KEY]["after"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own. At the end of the block its tasks are cancelled, and end as they must.

    There no Ctrl-C comes into the middle of a task; and here another loop may be running, Jupyter's for instance.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def stay() -> None:
        over = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(stay()))
        loop, over = begun.result()
        try:
            yield loop
        finally:
            loop.call_soon_threadsafe(over.set)


def run_notebooks(
    paths: Sequence[Path], beside: int = 1, timeout: int = 1800, threads: int = THREADS
) -> Generator[Run]:
    """Run the notebooks, up to `beside` at a time, and give each when it is done, in whatever order that is.

    One at a time, they begin in the order given. Several at a time, those begin first for which most others wait. A
    notebook waits for those that `after` names, if they are among `paths`; whether they fail makes no difference. When
    the generator is closed, or interrupted, all kernels end.

    Args:
        paths: of the notebooks, each once.
        beside: how many may run at the same time.
        timeout: the most for one cell, in seconds; 0: no limit.
        threads: of each kernel.
    """
    needs = {path: after(path) & {other.stem for other in paths if other != path} for path in paths}
    waiting = [*paths]
    if beside > 1:
        waiting.sort(key=lambda path: -sum(path.stem in needs[other] for other in paths))
    running: dict[Future[Run], Path] = {}
    with _loop() as loop:
        while waiting or running:
            undone = {path.stem for path in (*waiting, *running.values())}
            ready = [path for path in waiting if not needs[path] & undone]
            if not ready and not running:  # each waits for another
                ready = waiting
            for path in ready[: beside - len(running)]:
                waiting.remove(path)
                label = f"[{paths.index(path) + 1}/{len(paths)}] {path.stem}"
                running[asyncio.run_coroutine_threadsafe(run_notebook(path, timeout, threads, label), loop)] = path
            finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)  # so that Ctrl-C comes through
            for future in finished:
                del running[future]
                yield future.result()
