"""A Dask cluster that is quick to start, for tests of what runs on one."""

import logging

from dask.distributed import LocalCluster


def threads(workers):
    """A cluster whose workers are threads of this process: quick to start."""
    quiet = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    return LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, protocol="tcp", **quiet)
