"""The checks of the exercises: right answers pass however they are written, and each classic mistake is named.

The table of mistakes is tried on itself: each wrong solution in it gets its own message, and no other's. But students
don't write what the table does, so the classic ones are also made here in a student's own way.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lab_utils import exercises
from lab_utils.exercises import TASKS, NotYet, Task

ALL = [pytest.param(task, id=f"{number}-{task.name}") for number, tasks in TASKS.items() for task in tasks]
MISTAKES = [
    pytest.param(task, says, wrong, id=f"{number}-{task.name}: {says[:40]}")
    for number, tasks in TASKS.items()
    for task in tasks
    for says, wrong in task.mistakes.items()
]


def said_of(task, answer):
    with pytest.raises(NotYet) as raised:
        task(answer)
    return str(raised.value)


# --- every task


def test_every_notebook_has_three_to_five_tasks():
    assert {number: 3 <= len(tasks) <= 5 for number, tasks in TASKS.items()} == dict.fromkeys(TASKS, True)
    named = [task for tasks in TASKS.values() for task in tasks]
    assert len({task.name for task in named}) == len(named)
    assert all(getattr(exercises, name) in [*named, Task, NotYet, TASKS] for name in exercises.__all__)


@pytest.mark.parametrize("task", ALL)
def test_the_solution_passes_and_says_so(task, capsys):
    task(task.solution)
    assert capsys.readouterr().out == f"✓ {task.name}: {task.well}\n"


@pytest.mark.parametrize(("task", "says", "wrong"), MISTAKES)
def test_each_mistake_gets_its_own_message(task, says, wrong):
    assert said_of(task, wrong) == f"{task.name}: {says}"


@pytest.mark.parametrize("task", ALL)
def test_a_stub_is_called_unsolved(task):
    def stub(*arguments):
        # YOUR CODE HERE
        raise NotImplementedError()

    assert said_of(task, stub) == (f"{task.name}: not solved yet. Replace the line that raises NotImplementedError.")


@pytest.mark.parametrize("task", ALL)
def test_nothing_returned_is_called_that(task):
    assert "it returned nothing" in said_of(task, lambda *arguments: None)


@pytest.mark.parametrize("task", ALL)
def test_an_error_in_the_answer_is_told_with_its_kind(task):
    assert said_of(task, lambda *arguments: 1 / 0) == (
        f"{task.name}: it stopped with ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize("task", ALL)
def test_a_mistake_that_nobody_knows_gets_numbers(task):
    def odd(*arguments):
        right = task.solution(*arguments)
        return tuple(part * 1.37 + 0.11 for part in right) if isinstance(right, tuple) else right * 1.37 + 0.11

    said = said_of(task, odd)
    assert "should be" in said
    assert all(says not in said for says in task.mistakes)


# --- what comes back, its form


def test_wrong_forms_are_told():
    task = exercises.q_step
    assert said_of(task, lambda x, b, g: x.numpy()) == "one noising step: it should return a tensor; got a ndarray"
    assert "has the shape (200000,), and should have (200000, 2)" in said_of(task, lambda x, b, g: x[:, 0])
    both = exercises.alphas_and_betas
    assert "it should return 2 things, separated by commas; got a Tensor" in said_of(both, lambda a: a)
    assert "it should return 2 things" in said_of(both, lambda a: (a, a, a))
    assert "the answer is torch.float32, and should be torch.float64. A schedule is computed in float64" in said_of(
        both, lambda a: (a.float(), 1 - a.float())
    )
    assert said_of(exercises.silent_loss, lambda: "one").endswith("it should return a number; got a str")


def test_a_number_may_come_as_a_tensor_or_from_numpy(capsys):
    exercises.wasted(lambda a: (a < 0.01).double().mean())
    exercises.wasted(lambda a: np.float64((a < 0.01).double().mean()))
    assert capsys.readouterr().out.count("✓") == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_never_right(bad):
    assert "should be" in said_of(exercises.q_step, lambda x, b, g: x * bad)
    assert "should be" in said_of(exercises.silent_loss, lambda: bad)


def test_an_answer_that_spoils_its_arguments_spoils_nothing_else(capsys):
    def spoils(points):
        points -= points.mean(dim=0)
        points /= points.square().mean().sqrt()
        return points

    exercises.normalised(spoils)
    exercises.normalised(exercises.normalised.solution)
    assert capsys.readouterr().out.count("✓") == 2


def test_a_notebook_shows_the_message_without_a_traceback():
    assert NotYet("all wrong")._render_traceback_() == ["✗ all wrong"]


# --- the classic mistakes, as a student would make them


def off_by_one_alphas(alphas_cumprod):
    alphas = torch.ones_like(alphas_cumprod)
    for t in range(len(alphas) - 1):
        alphas[t] = alphas_cumprod[t + 1] / alphas_cumprod[t]
    return alphas, 1 - alphas


def first_is_one(alphas_cumprod):
    alphas = [1.0]
    for t in range(1, len(alphas_cumprod)):
        alphas.append(float(alphas_cumprod[t] / alphas_cumprod[t - 1]))
    alphas = torch.tensor(alphas, dtype=torch.float64)
    return alphas, 1 - alphas


def float32_by_numpy(alphas_cumprod):
    kept = alphas_cumprod.numpy().astype(np.float32)
    alphas = kept / np.concatenate([[np.float32(1)], kept[:-1]])
    return torch.tensor(alphas, dtype=torch.float64), torch.tensor(1 - alphas, dtype=torch.float64)


def beta_for_its_root(x, beta, generator):
    noise = torch.zeros_like(x).normal_(generator=generator)
    return x * np.sqrt(1 - beta) + noise * beta


def uniform(x, beta, generator):
    return np.sqrt(1 - beta) * x + np.sqrt(beta) * torch.zeros_like(x).uniform_(generator=generator)


def uniform_around_0(x, beta, generator):
    noise = torch.zeros_like(x).uniform_(-1, 1, generator=generator)
    return np.sqrt(1 - beta) * x + np.sqrt(beta) * noise


def sum_for_mean(network, x_0, t, noise, alphas_cumprod):
    x_t = torch.stack(
        [a.sqrt() * x + (1 - a).sqrt() * z for a, x, z in zip(alphas_cumprod[t], x_0, noise, strict=True)]
    )
    return nn.MSELoss(reduction="sum")(network(x_t, t), noise)


def mean_over_points_only(network, x_0, t, noise, alphas_cumprod):
    kept = alphas_cumprod[t][:, None]
    return ((network(kept**0.5 * x_0 + (1 - kept) ** 0.5 * noise, t) - noise) ** 2).sum() / len(x_0)


def wrong_sign(x_t, epsilon, t, betas, alphas_cumprod):
    alpha = 1 - betas[t]
    return (x_t + (1 - alpha) / torch.sqrt(1 - alphas_cumprod[t]) * epsilon) / torch.sqrt(alpha)


def variance_mixed_up(betas, alphas_cumprod):
    return 1 - (1 - betas)


def variance_upside_down(betas, alphas_cumprod):
    before = torch.nn.functional.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
    return (1 - alphas_cumprod) / (1 - before) * betas


def loop(epsilon, x, noises, schedule, noise_from):
    for t in reversed(range(schedule.timesteps)):
        beta, kept = schedule.betas[t], schedule.alphas_cumprod[t]
        x = (x - beta * epsilon(x, torch.full((len(x),), t)) / (1 - kept) ** 0.5) / (1 - beta) ** 0.5
        if t >= noise_from:
            x += beta**0.5 * noises[t]
    return x


def noise_to_the_end(epsilon, x_T, noises, schedule):
    return loop(epsilon, x_T, noises, schedule, 0)


CLASSIC = [
    (exercises.alphas_and_betas, off_by_one_alphas, "the index is off by one"),
    (exercises.alphas_and_betas, first_is_one, "the first α is 1"),
    (exercises.alphas_and_betas, float32_by_numpy, "computed in float32"),
    (exercises.q_step, beta_for_its_root, "β for √β"),
    (exercises.q_step, uniform, "uniform for normal noise: torch.rand lies in 0 … 1"),
    (exercises.q_step, uniform_around_0, "uniform for normal noise: the mean is 0"),
    (exercises.loss, sum_for_mean, "sum for mean"),
    (exercises.loss, mean_over_points_only, "summed over the two coordinates"),
    (exercises.reverse_mean, wrong_sign, "the wrong sign"),
    (exercises.posterior_variance, variance_mixed_up, "mixed up: that is β"),
    (exercises.posterior_variance, variance_upside_down, "mixed up: the fraction is upside down"),
    (exercises.sampling_loop, noise_to_the_end, "noise is added at the last step"),
]


@pytest.mark.parametrize(("task", "answer", "says"), CLASSIC, ids=[answer.__name__ for _, answer, _ in CLASSIC])
def test_the_classic_mistakes_are_named(task, answer, says):
    assert said_of(task, answer).startswith(f"{task.name}: {says}")


def right_alphas(alphas_cumprod):
    alphas = alphas_cumprod.clone()
    alphas[1:] /= alphas_cumprod[:-1]
    return alphas, 1 - alphas


def right_step(x, beta, generator):
    return torch.normal(np.sqrt(1 - beta) * x, np.sqrt(beta), generator=generator)


def right_loop(epsilon, x_T, noises, schedule):
    return loop(epsilon, x_T, noises, schedule, 1)


def right_best(x_t, points, kept):
    """By the density of each point, one after the other, instead of a softmax."""
    answers = []
    for x in x_t:
        weights = torch.stack([torch.exp(-((x - kept**0.5 * p) ** 2).sum() / (2 - 2 * kept)) for p in points])
        answers.append((x - kept**0.5 * (weights[:, None] * points).sum(0) / weights.sum()) / (1 - kept) ** 0.5)
    return torch.stack(answers)


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        (exercises.alphas_and_betas, right_alphas),
        (exercises.q_step, right_step),
        (
            exercises.loss,
            lambda f, x, t, z, a: nn.functional.mse_loss(f(a[t, None] ** 0.5 * x + (1 - a[t, None]) ** 0.5 * z, t), z),
        ),
        (exercises.posterior_variance, lambda b, a: b * (1 - a / (1 - b)) / (1 - a)),
        (exercises.sampling_loop, right_loop),
        (exercises.best_epsilon, right_best),
        (
            exercises.silent_loss,
            lambda: torch.randn(400_000, generator=torch.Generator().manual_seed(1)).square().mean().round(decimals=2),
        ),
    ],
)
def test_a_right_answer_may_be_written_in_another_way(task, answer, capsys):
    task(answer)
    assert capsys.readouterr().out.startswith("✓")
