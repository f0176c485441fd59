"""The tested code behind the notebooks: a diffusion model in the plane, explained and measured.

Each folder is a room, and a room imports only from those above it in `ROOMS` (`tests/test_house.py` checks that).
"""

import os
import sys

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

# The networks here are so small that a second thread gains little on an idle machine and costs a lot on a busy
# one, where every operation waits for the slower thread. So one thread is the lab's choice, made once, here;
# who sets OMP_NUM_THREADS chooses otherwise. (Sampling uses the other cores: one block of points each.)
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
if "torch" in sys.modules:  # imported before us, so it has not seen the variable
    sys.modules["torch"].set_num_threads(THREADS)
WORKERS = max(1, (os.cpu_count() or 1) // THREADS)

SEED = 0  # every notebook starts its random numbers here; nothing sets a global seed
METADATA_KEY = "lab"  # of a notebook's output: under it stands the label by which the report finds it
