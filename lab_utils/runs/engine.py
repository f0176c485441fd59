"""Calls on every core, or on many machines: Dask's clusters, as the lab uses them."""

# mypy: allow-untyped-calls
# (Dask has types, but not everywhere)

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from lab_utils import THREADS, WORKERS
from lab_utils.base.arguments import is_whole

if TYPE_CHECKING:  # Dask takes a while to import, so those import it who start or ask workers
    from dask.distributed import Client, Future


HERE = "127.0.0.1"  # the local cluster can be reached from this machine only
PATIENCE = 300  # seconds without any worker, after which none is expected any more


Key = TypeVar("Key")
T = TypeVar("T")


@contextmanager
def connect(scheduler: str | None = None, workers: int = WORKERS) -> Iterator[Client]:
    """A connection to the scheduler at an address, or to a cluster of worker processes that ends with the block.

    Raises:
        ValueError: there is no scheduler, and `workers` is no whole number of 1 or more.
    """
    if not scheduler and not is_whole(workers, least=1):  # of no workers Dask makes a cluster, too
        raise ValueError(f"workers must be a whole number of 1 or more, not {workers!r}; leave it out for one a core")
    import dask
    from dask.distributed import Client, LocalCluster

    if scheduler:
        with Client(scheduler) as client:
            yield client
        return
    environment = {"OMP_NUM_THREADS": str(THREADS), "DASK_LOGGING__DISTRIBUTED": "critical"}
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,  # of the workers
        "distributed.scheduler.allowed-failures": 3,  # a run that has killed four workers has failed
        # a killed worker is started again, however long that takes here; by default Dask gives it up after 15 s
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with (
        TemporaryDirectory(prefix="ddpm-lab-", ignore_cleanup_errors=True) as folder,
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=HERE,
            dashboard_address=f"{HERE}:0",  # there is no dashboard, but Dask listens there all the same
            memory_limit=None,  # no limit of Dask's own, at which it would kill the worker
            local_directory=folder,
            silence_logs=logging.CRITICAL,  # what goes wrong with a run is told by us, once
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def as_finished(client: Client, calls: Iterable[tuple[Key, Callable[[], T]]]) -> Iterator[tuple[Key, Future[T]]]:
    """Run `calls`, one on each of the workers' threads at a time; give each call's key and future as it ends.

    Dask would take all of them at once, but then a call that kills its workers would take down with it whatever else
    waited there, and so many would need memory. It tries the call of a killed worker again by itself.

    Raises:
        ConnectionError: there was no worker for `PATIENCE` seconds: none came, or Dask did not replace one that died.
    """
    from dask.distributed import wait

    waiting = iter(calls)
    running: dict[Future[T], Key] = {}
    seen = time.monotonic()
    while True:
        threads = sum(client.nthreads().values())  # workers may join later
        if threads:
            seen = time.monotonic()
        elif time.monotonic() - seen > PATIENCE:
            raise ConnectionError(f"there was no worker for {PATIENCE} s")
        for key, call in islice(waiting, max(0, max(1, threads) - len(running))):
            running[client.submit(call, pure=False)] = key
        if not running:
            return
        with suppress(TimeoutError):
            wait([*running], timeout=1, return_when="FIRST_COMPLETED")
        for future in [future for future in running if future.done()]:
            yield running.pop(future), future


def why(error: Exception) -> str:
    """What became of a call that failed, in a line."""
    from dask.distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "every worker that ran it was killed"
    return f"{type(error).__name__}: {error}"
