"""Which notebook has which tasks, and what its later cells call: the student's function, or the lab's."""

from lab_utils.exercises.floors import best_epsilon, copied_share, excess, excess_in_nats
from lab_utils.exercises.flow import coupled, flow_sampling, velocity
from lab_utils.exercises.guidance import guided_estimate, guided_noise, left_out, shuffled
from lab_utils.exercises.network import silent_loss, time_matters, waves
from lab_utils.exercises.noising import alphas_and_betas, q_sample, q_step, wasted
from lab_utils.exercises.own_points import chances, multiple, normalised, places
from lab_utils.exercises.reverse import (
    ddim_step,
    posterior_mean,
    posterior_variance,
    reverse_mean,
    sampling_loop,
    which_mistake,
)
from lab_utils.exercises.task import Function, Task
from lab_utils.exercises.training import avoidable, loss, one_epoch

# notebook → its tasks, in their order there
TASKS: dict[str, tuple[Task, ...]] = {
    "01": (q_step, q_sample, wasted, alphas_and_betas),
    "02": (waves, time_matters, best_epsilon, silent_loss),
    "03": (loss, one_epoch, avoidable),
    "04": (posterior_mean, posterior_variance, reverse_mean, sampling_loop, which_mistake, ddim_step),
    "05": (excess, excess_in_nats),
    "06": (copied_share,),
    "07": (chances, places, normalised, multiple),
    "08": (velocity, flow_sampling, coupled),
    "09": (shuffled, left_out, guided_noise, guided_estimate),
}
# as a notebook calls the function → its task, and the number that the task has there: 3.2
NUMBERED = {
    name: (task, f"{int(notebook)}.{place}")
    for name, task in globals().items()
    for notebook, tasks in TASKS.items()
    for place, one in enumerate(tasks, 1)
    if one is task
}


def yours_or_ours(function: Function) -> Function:
    """What a later cell calls: the student's function; or while that is a stub the solution, and a sentence says so.

    A function that is written but wrong stays the student's: its check has said what is wrong with it.

    Raises:
        ValueError: no task has a function of that name.
    """
    if function.__name__ not in NUMBERED:
        known = ", ".join(NUMBERED)
        raise ValueError(f"no task has a function that is called {function.__name__!r}; the exercises have {known}")
    task, number = NUMBERED[function.__name__]
    stub = task.unsolved(function)
    if stub is None:
        return function
    missing = "is not solved yet" if stub == function.__name__ else f"calls `{stub}`, which is not solved yet"
    print(f"{number} {missing}, so the lab's own solution is used here.")
    return task.solution
