"""Feedback on the exercises: is an answer right, and if it isn't, which of the classic mistakes was made?

>>> exercises.q_step(q_step)     # in a notebook, after the function was written
✓ one noising step: mean, variance and tails of 200 000 points are right

Each notebook's tasks stand in a module of their own; `Task` does the asking. What a later cell calls is
`yours_or_ours(q_step)`: the student's function, or the lab's solution while there is none.
"""

from lab_utils.exercises.floors import best_epsilon, copied_share, excess, excess_in_nats
from lab_utils.exercises.flow import coupled, flow_sampling, velocity
from lab_utils.exercises.guidance import guided_estimate, guided_noise, left_out, shuffled
from lab_utils.exercises.network import silent_loss, time_matters, waves
from lab_utils.exercises.noising import alphas_and_betas, q_sample, q_step, wasted
from lab_utils.exercises.own_points import chances, multiple, normalised, places
from lab_utils.exercises.reverse import (
    ddim_step,
    mystery,
    posterior_mean,
    posterior_variance,
    reverse_mean,
    sampling_loop,
    which_mistake,
)
from lab_utils.exercises.task import NotYet, Task
from lab_utils.exercises.tasks import TASKS, yours_or_ours
from lab_utils.exercises.training import avoidable, loss, one_epoch

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
    "excess",
    "excess_in_nats",
    "flow_sampling",
    "guided_estimate",
    "guided_noise",
    "left_out",
    "loss",
    "multiple",
    "mystery",
    "normalised",
    "one_epoch",
    "places",
    "posterior_mean",
    "posterior_variance",
    "q_sample",
    "q_step",
    "reverse_mean",
    "sampling_loop",
    "shuffled",
    "silent_loss",
    "time_matters",
    "velocity",
    "wasted",
    "waves",
    "which_mistake",
    "yours_or_ours",
]
