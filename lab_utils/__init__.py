"""The tested code behind the notebooks: a diffusion model in the plane, explained and measured.

The modules stand on floors; each imports only from floors below its own (`tests/test_house.py` checks that).
"""

import os
import sys

# The networks here are so small that a second thread gains little on an idle machine and costs a lot on a busy
# one, where every operation waits for the slower thread. So one thread is the lab's choice, made once, here;
# who sets OMP_NUM_THREADS chooses otherwise. (Sampling uses the other cores: one block of points each.)
THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))
if "torch" in sys.modules:  # imported before us, so it has not seen the variable
    sys.modules["torch"].set_num_threads(THREADS)
WORKERS = max(1, (os.cpu_count() or 1) // THREADS)

SEED = 0  # every notebook starts its random numbers here; nothing sets a global seed
