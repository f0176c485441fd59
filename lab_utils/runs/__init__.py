"""Trainings and samples on disk, on many cores, on many machines.

`generate` is a command as well as a function, and so it is imported from its module, `lab_utils.runs.generate`.
"""

from lab_utils.runs.fit import Run, fit, fit_all, job_of
from lab_utils.runs.jobs import Job
from lab_utils.runs.kept import keep, kept_network

__all__ = ["Job", "Run", "fit", "fit_all", "job_of", "keep", "kept_network"]
