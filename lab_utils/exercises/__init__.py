"""Feedback on the exercises: is an answer right, and if it isn't, which of the classic mistakes was made?

>>> checks.q_step(q_step)     # in a notebook, after the function was written
✓ one noising step: mean, variance and tails of 200 000 points are right

Each notebook's tasks stand in a module of their own; `Task` does the asking.
"""

from lab_utils.exercises.floors import best_epsilon, copied_share, excess
from lab_utils.exercises.network import silent_loss, time_matters, waves
from lab_utils.exercises.noising import alphas_and_betas, q_sample, q_step, wasted
from lab_utils.exercises.own_points import chances, multiple, normalised, places
from lab_utils.exercises.reverse import ddim_step, posterior_variance, reverse_mean, sampling_loop
from lab_utils.exercises.straight import coupled, euler_step, straightened, velocity
from lab_utils.exercises.task import NotYet, Task
from lab_utils.exercises.training import avoidable, ema, loss

# notebook → its tasks, in their order there
TASKS: dict[str, tuple[Task, ...]] = {
    "01": (q_step, q_sample, wasted, alphas_and_betas),
    "02": (waves, time_matters, silent_loss),
    "03": (loss, ema, avoidable),
    "04": (reverse_mean, posterior_variance, sampling_loop, ddim_step),
    "05": (best_epsilon, excess, copied_share),
    "06": (chances, places, normalised, multiple),
    "08": (straightened, velocity, euler_step, coupled),
}

__all__ = [
    "TASKS",
    "NotYet",
    "Task",
    "alphas_and_betas",
    "avoidable",
    "best_epsilon",
    "chances",
    "copied_share",
    "coupled",
    "ddim_step",
    "ema",
    "euler_step",
    "excess",
    "loss",
    "multiple",
    "normalised",
    "places",
    "posterior_variance",
    "q_sample",
    "q_step",
    "reverse_mean",
    "sampling_loop",
    "silent_loss",
    "straightened",
    "time_matters",
    "velocity",
    "wasted",
    "waves",
]
