"""The tested code behind the notebooks: a diffusion model in the plane, explained and measured.

Each folder is a room, and a room imports only from those above it in `ROOMS` (`tests/test_house.py` checks that).
"""

import os
import sys
import warnings

ROOMS = {
    "base": "what an argument may be; files whole or not at all, locks; tensors on disk",
    "points": "points: drawn, read from files and pictures, checked, normalised, split",
    "diffusion": "the model itself: schedules, denoisers, the network, training, sampling",
    "exact": "what is known exactly: mixtures, kernel estimates, the best denoiser, the posterior",
    "measure": "how good is it: distances, losses, likelihood, checks of a model",
    "runs": "trainings and samples on disk, on many cores, on many machines",
    "study": "what was asked over many trainings, and the verdicts",
    "exercises": "what is right, and which mistake was made; student copies",
    "figures": "every figure and table, in one style",
    "widgets": "what moves: the explorers, and a training to watch",
    "report": "running every notebook, the report's pages, printing",
}


def _threads() -> int:
    """How many threads PyTorch has here: the number in OMP_NUM_THREADS, or 1.

    The networks here are so small that a second thread gains little on an idle machine and costs a lot on a busy one,
    where every operation waits for the slower thread. So one thread is the lab's choice, made once, here; who sets
    OMP_NUM_THREADS chooses otherwise. (Sampling uses the other cores: one block of points each.)
    """
    value = os.environ.get("OMP_NUM_THREADS", "")
    first = value.split(",")[0].strip()  # "4,2" is OpenMP's way to say 4, and 2 in each of those
    threads = int(first) if first.isdecimal() else 0
    if threads == 0:
        if value.strip():
            warnings.warn(f"OMP_NUM_THREADS is {value!r}, which is no number of threads; the lab takes 1", stacklevel=3)
        threads = 1
        os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch reads it, too, and so do the processes that the lab starts
    return threads


def _cores() -> int:
    """How many cores this process may use, which may be fewer than there are: `taskset` and clusters set limits."""
    if hasattr(os, "sched_getaffinity"):  # where there is none, a process may use all of them
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = _threads()
if "torch" in sys.modules:  # imported before us, so it has not seen the variable
    sys.modules["torch"].set_num_threads(THREADS)
WORKERS = max(1, _cores() // THREADS)

SEED = 0  # every notebook starts its random numbers here; nothing sets a global seed
METADATA_KEY = "lab"  # of a notebook's output: under it stands the label by which the report finds it
