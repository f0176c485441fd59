"""The checks of the exercises: right answers pass however they are written, and each classic mistake is named.

The table of mistakes is tried on itself: each wrong solution in it gets its own message, and no other's. But students
don't write what the table does, so the classic ones are also made here in a student's own way.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import math
import operator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lab_utils import exercises
from lab_utils.base.files import PROJECT
from lab_utils.diffusion.couplings import optimal_pairs
from lab_utils.diffusion.schedules import Schedule
from lab_utils.exercises import TASKS, NotYet, Task

ALL = [pytest.param(task, id=f"{number}-{task.name}") for number, tasks in TASKS.items() for task in tasks]
MISTAKES = [
    pytest.param(task, says, wrong, id=f"{number}-{task.name}: {says[:40]}")
    for number, tasks in TASKS.items()
    for task in tasks
    for says, wrong in task.mistakes.items()
]


def right_answer(task, number=0):
    return task.solution(*task.questions()[number])


def said_of(task, answer):
    with pytest.raises(NotYet) as raised:
        task(answer)
    return str(raised.value)


# --- every task


def test_every_notebook_has_tasks_and_those_of_a_course_have_three_to_six():
    assert all(TASKS.values())
    core = {number: 3 <= len(TASKS[number]) <= 6 for number in ("01", "02", "03", "04", "07")}
    assert core == dict.fromkeys(core, True)
    named = [task for tasks in TASKS.values() for task in tasks]
    assert len({task.name for task in named}) == len(named)
    assert all(
        getattr(exercises, name) in [*named, Task, NotYet, TASKS, exercises.mystery, exercises.yours_or_ours]
        for name in exercises.__all__
    )


@pytest.mark.parametrize("task", ALL)
def test_the_solution_passes_and_says_so(task, capsys):
    task(task.solution)
    assert capsys.readouterr().out == f"✓ {task.name}: {task.well}\n"


@pytest.mark.parametrize(("task", "says", "wrong"), MISTAKES)
def test_each_mistake_gets_its_own_message(task, says, wrong):
    assert said_of(task, wrong) == f"{task.name}: {says}"


@pytest.mark.parametrize(("task", "says", "wrong"), MISTAKES)
def test_no_other_mistake_gives_the_same_numbers(task, says, wrong):
    """The first one that fits is named. So of two that fit, one order or the other would name the wrong one."""
    backwards = dataclasses.replace(task, mistakes=dict(reversed(task.mistakes.items())))
    assert said_of(backwards, wrong) == f"{task.name}: {says}"


@pytest.mark.parametrize("task", ALL)
def test_a_stub_is_called_unsolved(task):
    def stub(*arguments):
        # YOUR CODE HERE
        raise NotImplementedError()

    assert said_of(task, stub) == (f"{task.name}: not solved yet. Replace the line that raises NotImplementedError.")


@pytest.mark.parametrize("task", [exercises.one_epoch, exercises.sampling_loop, exercises.excess])
def test_a_stub_that_the_answer_calls_is_named_instead(task):
    def loss(*arguments):
        raise NotImplementedError()

    assert (
        said_of(task, lambda *arguments: loss(*arguments))
        == f"{task.name}: it calls `loss`, and that is not solved yet."
    )


def test_what_pytorch_has_no_code_for_is_no_stub():
    said = said_of(exercises.excess, lambda answers, best: torch.zeros(2, 2, dtype=torch.int8).inverse())
    assert "not solved" not in said
    assert "it stopped with " in said


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
    assert "should be" in said or not task.questions()[0]
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


def test_labels_are_whole_numbers():
    for task in (exercises.coupled, exercises.shuffled, exercises.left_out):

        def as_floats(*asked, right=task.solution):
            found = right(*asked)
            return (*found[:-1], found[-1].float()) if isinstance(found, tuple) else found.float()

        assert "labels are whole numbers, because they say which class it is, and these are torch.float32" in said_of(
            task, as_floats
        )


def test_a_number_may_come_as_a_tensor_or_from_numpy(capsys):
    exercises.wasted(lambda a: (a < 0.01).double().mean())
    exercises.wasted(lambda a: np.float64((a < 0.01).double().mean()))
    assert capsys.readouterr().out.count("✓") == 2


NUMBERS = [task for task in ALL if isinstance(right_answer(task.values[0]), float)] + [
    pytest.param(exercises.excess, id=exercises.excess.name)
]
KINDS = {
    "float": float,
    "0-d tensor": torch.tensor,
    "float64 tensor": lambda number: torch.tensor(number, dtype=torch.float64),
    "1-element tensor": lambda number: torch.tensor([number]),
    "NumPy scalar": np.float64,
    "NumPy float32": np.float32,
    "NumPy array": np.array,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("task", NUMBERS)
def test_a_right_number_passes_whatever_its_type(task, kind, capsys):
    task(lambda *arguments: kind(float(task.solution(*arguments))))
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor, np.array])
def test_a_right_whole_number_passes_too(kind, capsys):
    exercises.silent_loss(lambda: kind(1))
    assert capsys.readouterr().out.startswith("✓")


def test_several_things_may_come_in_a_list(capsys):
    exercises.alphas_and_betas(lambda a: list(exercises.alphas_and_betas.solution(a)))
    assert capsys.readouterr().out.startswith("✓")


def test_many_numbers_for_one_are_told_with_their_shape():
    assert said_of(exercises.wasted, lambda a: (a < 0.01)[:20].double()) == (
        "the share of wasted steps: it should return a number; got a Tensor of the shape (20,)"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_never_right(bad):
    assert "should be" in said_of(exercises.q_step, lambda x, b, g: x * bad)
    assert "It is not " in said_of(exercises.silent_loss, lambda: bad)


def test_an_answer_that_spoils_its_arguments_is_told_so_and_spoils_nothing_else(capsys):
    def spoils(points):
        points -= points.mean(dim=0)
        points /= points.square().mean().sqrt()
        return points

    assert "it changes its argument points in place" in said_of(exercises.normalised, spoils)
    exercises.normalised(exercises.normalised.solution)
    assert capsys.readouterr().out.count("✓") == 1


def test_a_notebook_shows_the_message_without_a_traceback():
    assert NotYet("all wrong")._render_traceback_() == ["✗ all wrong"]


# --- the message of a difference


def off_at(index):
    """An answer that is right but for the number with this index."""

    def change(answer):
        changed = answer.clone()
        changed.view(-1)[index] += 3
        return changed

    return change


@given(st.integers(0, 20 * 2 - 1))
def test_a_difference_says_in_which_row_and_column_it_is(index):
    def answer(x_t, epsilon, t, betas, alphas_cumprod):
        return off_at(index % 18)(exercises.reverse_mean.solution(x_t, epsilon, t, betas, alphas_cumprod))

    task = exercises.reverse_mean
    right = float(right_answer(task).reshape(-1)[index % 18])
    row, column = divmod(index % 18, 2)
    assert said_of(task, answer) == (
        f"{task.name}: not yet. With t = 0, row {row}, column {column} (counted from 0) is {right + 3:.6g}, and should "
        f"be {right:.6g}; 6 % of the 18 numbers differ"
    )


@given(st.integers(0, 1), st.integers(0, 19))
def test_a_difference_says_in_which_of_two_things_it_is(part, index):
    def answer(alphas_cumprod):
        parts = list(exercises.alphas_and_betas.solution(alphas_cumprod))
        parts[part] = off_at(index)(parts[part])
        return parts

    assert f"not yet. Number {index} (counted from 0) of {'αβ'[part]} is " in said_of(
        exercises.alphas_and_betas, answer
    )


def test_a_difference_says_which_moment_it_is():
    task = exercises.q_step
    shifted = said_of(task, lambda x, b, g: task.solution(x, b, g) + torch.tensor([0.0, 0.5]))
    assert "not yet. With beta = 0.3, the mean of y at the " in shifted
    assert shifted.endswith("25 % of the 8 numbers differ")
    wide = said_of(task, lambda x, b, g: x + (1.7 * b * torch.randn(x.shape, generator=g) - x * (1 - (1 - b).sqrt())))
    assert "the variance of " in wide


def test_one_number_is_told_without_a_share_of_one():
    assert said_of(exercises.copied_share, lambda m, n, h: n / 2500 + h / 5000) == (
        "the copied share: not yet. With multiple = 1.16, train = 5000, held_out = 5000, it is 3, and should be 0.16"
    )


PREDICTED = [task for task in ALL if not task.values[0].questions()[0]]


@pytest.mark.parametrize("wrong", [0.7, 11, 1.003, -4])
@pytest.mark.parametrize("task", PREDICTED)
def test_where_one_number_is_asked_for_it_is_not_given_away(task, wrong):
    assert said_of(task, lambda: wrong) == f"{task.name}: not yet. It is not {wrong:.6g}."


WRITTEN = {  # a number that is right for the first question
    "1.3": (exercises.wasted, 0.327, "`alphas_cumprod`"),
    "3.3": (exercises.avoidable, 0.25, "`loss`, `floor`"),
    "6.1": (exercises.copied_share, 0.16, "`multiple`, `train`, `held_out`"),
}


@pytest.mark.parametrize(("task", "number", "asked"), WRITTEN.values(), ids=WRITTEN)
def test_a_number_that_was_written_down_is_told_that_there_are_several_questions(task, number, asked):
    said = said_of(task, lambda *arguments: number)
    assert f"it gives {number} whatever it is asked. The check asks several questions" in said
    assert said.endswith(f"work yours out of {asked}.")


@pytest.mark.parametrize("task", ALL)
def test_nan_is_called_nan_and_differs(task):
    def nothing(*arguments):
        right = task.solution(*arguments)
        return tuple(math.nan * part for part in right) if isinstance(right, tuple) else math.nan * right

    said = said_of(task, nothing)
    assert " is NaN, and should be " in said or said.endswith("It is not NaN.")
    assert "; 100 % of the " in said or "numbers differ" not in said or task.observed is not None


# --- what is asked of every task: arguments left alone, noise that is its own, a loss that can be trained


def spoil(argument):
    if isinstance(argument, Schedule):
        argument.betas.mul_(0.5)
    elif isinstance(argument, nn.Module):
        for weight in argument.parameters():
            weight.data.add_(1)
    else:
        argument.add_(1)


ARGUMENTS = [
    pytest.param(task.values[0], place, name, id=f"{task.id}: {name}")
    for task in ALL
    for place, (name, argument) in enumerate(
        zip(inspect.signature(task.values[0].solution).parameters, task.values[0].questions()[-1], strict=True)
    )
    if isinstance(argument, Tensor | Schedule | nn.Module) and task.values[0].observed is None
]


@pytest.mark.parametrize(("task", "place", "name"), ARGUMENTS)
def test_no_argument_may_be_changed_in_place(task, place, name, capsys):
    def spoils(*arguments):
        answer = task.solution(*arguments)
        spoil(arguments[place])
        return answer

    assert said_of(task, spoils).startswith(f"{task.name}: it changes its argument {name} in place")
    task(task.solution)
    assert capsys.readouterr().out.startswith("✓"), "the next answer is asked the old questions"


@pytest.mark.parametrize("change", [list.reverse, list.pop, lambda given: given[0].add_(1)])
def test_a_list_or_a_tensor_in_it_may_not_be_changed_in_place_either(change):
    task = Task("a sum", lambda parts: float(sum(parts)), lambda: [([torch.tensor(1.0), torch.tensor(2.0)],)])

    def spoils(parts):
        answer = float(sum(parts))
        change(parts)
        return answer

    assert "it changes its argument parts in place" in said_of(task, spoils)


def has_generator(task):
    return any(isinstance(argument, torch.Generator) for argument in task.questions()[0])


RANDOM = [task for task in ALL if has_generator(task.values[0]) and task.values[0].observed is None]
FIXED = [task for task in ALL if not has_generator(task.values[0])]


@pytest.mark.parametrize("task", FIXED)
def test_where_nothing_is_random_no_numbers_are_drawn(task):
    def draws(*arguments):
        right = task.solution(*arguments)
        factor = 1 + torch.rand(()).double()
        return tuple(part * factor for part in right) if isinstance(right, tuple) else right * factor

    assert said_of(task, draws) == (
        f"{task.name}: called twice with the same arguments it gives two answers, because it draws random numbers of "
        "its own. It needs none but those that it is given."
    )


def draw_with(noise):
    """A right answer to each random task, but for where its noise comes from."""

    def q_step(x, beta, generator):
        return (1 - beta) ** 0.5 * x + beta**0.5 * noise(x, generator)

    def q_sample(x, t, alphas_cumprod, generator):
        return alphas_cumprod[t] ** 0.5 * x + (1 - alphas_cumprod[t]) ** 0.5 * noise(x, generator)

    return {exercises.q_step.name: q_step, exercises.q_sample.name: q_sample}


def same_seed(x, generator):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(3))


def given_seed(x, generator):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(generator.initial_seed()))


def seeded_again(x, generator):
    return torch.randn(x.shape, generator=generator.manual_seed(0))


def seeded_globally(x, generator):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.randn(x.shape)


def one_coordinate_seeded(x, generator):
    return torch.stack([torch.randn(len(x), generator=generator), same_seed(x, generator)[:, 1]], dim=1)


def pairs_share(x, generator):
    return torch.randn(len(x) // 2, 2, generator=generator).repeat(2, 1)


def mirrored(x, generator):
    one = torch.randn(len(x), 1, generator=generator)
    return torch.cat([one, -one], dim=1)


def nearly_one(x, generator):
    one, other = torch.randn(2, len(x), 1, generator=generator)
    return torch.cat([one, 0.8 * one + 0.6 * other], dim=1)


SHARED = {
    "no generator": (lambda x, g: torch.randn(x.shape), "random numbers don't come from the generator"),
    "NumPy's": (
        lambda x, g: torch.tensor(np.random.default_rng().standard_normal(x.shape)),
        "random numbers don't come from",
    ),
    "same seed": (same_seed, "each call draws the same random numbers"),
    "the given one's seed": (given_seed, "each call draws the same random numbers"),
    "the given one seeded again": (seeded_again, "each call draws the same random numbers"),
    "the global one seeded": (seeded_globally, "each call draws the same random numbers"),
    "one coordinate": (one_coordinate_seeded, "each call draws the same random numbers"),
    "one noise for all points": (lambda x, g: torch.randn(1, 2, generator=g).expand(x.shape), "points share"),
    "one noise, broadcast": (lambda x, g: torch.randn(2, generator=g), "points share"),
    "one number": (lambda x, g: torch.randn(1, generator=g), "points share"),
    "noise for half of the points": (pairs_share, "points share"),
    "one for both coordinates": (lambda x, g: torch.randn(len(x), 1, generator=g), "the two coordinates share"),
    "mirrored": (mirrored, "the two coordinates share"),
    "correlated": (nearly_one, "the two coordinates share"),
}


@pytest.mark.parametrize(("noise", "says"), SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("task", RANDOM)
def test_calls_points_and_coordinates_share_no_noise_and_it_is_the_generators(task, noise, says):
    assert said_of(task, draw_with(noise)[task.name]).startswith(f"{task.name}: {says}")


@pytest.mark.parametrize("task", RANDOM)
def test_each_point_keeps_its_own_place(task):
    first_for_all = draw_with(lambda x, generator: torch.randn(x.shape, generator=generator))[task.name]
    assert "the mean of " in said_of(task, lambda x, *others: first_for_all(x[:1].expand(x.shape), *others))


def cut_off(network, x, t, noise, alphas_cumprod):
    x_t = noised(x, t, noise, alphas_cumprod)
    return ((network(x_t, t) - noise).detach() * (network(x_t, t) - noise)).mean()


def noised(x, t, noise, alphas_cumprod):
    kept = alphas_cumprod[t][:, None]
    return kept**0.5 * x + (1 - kept) ** 0.5 * noise


def detached(network, x, t, noise, alphas_cumprod):
    return (network(noised(x, t, noise, alphas_cumprod), t).detach() - noise).square().mean()


def detached_but_trainable(*arguments):
    return detached(*arguments).requires_grad_()


@torch.no_grad()
def without_gradient(*arguments):
    return exercises.loss.solution(*arguments)


@pytest.mark.parametrize(
    "answer",
    [
        detached,
        detached_but_trainable,
        without_gradient,
        cut_off,
        lambda *arguments: exercises.loss.solution(*arguments).item(),
        lambda *arguments: float(exercises.loss.solution(*arguments)),
        lambda *arguments: exercises.loss.solution(*arguments).detach().numpy(),
    ],
    ids=["detach", "detach, then requires_grad_", "no_grad", "half detached", "item", "float", "numpy"],
)
def test_a_loss_that_cannot_be_trained_is_told_so(answer):
    said = said_of(exercises.loss, answer)
    assert said.startswith("the loss of a batch: the number is right, but it can't be trained: its gradient doesn't")


def test_the_backward_pass_is_left_to_the_training_loop():
    def trains(*arguments):
        loss = exercises.loss.solution(*arguments)
        loss.backward()
        return loss

    assert "its gradient can't be taken, and the training loop takes it" in said_of(exercises.loss, trains)


def test_a_loss_may_come_in_any_shape_of_one_number_and_from_many_calls(capsys):
    exercises.loss(lambda *arguments: exercises.loss.solution(*arguments).reshape(1))

    def point_by_point(network, x, t, noise, alphas_cumprod):
        x_t = noised(x, t, noise, alphas_cumprod)
        each = [((network(x_t[i : i + 1], t[i]) - noise[i]) ** 2).mean() for i in range(len(t))]
        return sum(each) / len(each)

    exercises.loss(point_by_point)
    assert capsys.readouterr().out.count("✓") == 2


# --- the questions


@pytest.mark.parametrize("task", [exercises.wasted, exercises.alphas_and_betas], ids=operator.attrgetter("name"))
def test_alphas_cumprod_falls_in_every_question(task):
    for (alphas_cumprod,) in task.questions():
        assert (alphas_cumprod.diff() < 0).all()
        assert float(alphas_cumprod[0]) < 1
        assert float(alphas_cumprod[-1]) > 0


def test_the_questions_have_schedules_of_several_lengths():
    assert len({len(alphas_cumprod) for (alphas_cumprod,) in exercises.wasted.questions()}) > 2


# --- the notebooks


def cells(number):
    (path,) = (PROJECT / "notebooks").glob(f"{number}_*.ipynb")
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("number", TASKS)
def test_the_first_cell_of_a_notebook_imports_what_its_exercises_need(number, capsys):
    imports = [
        line
        for line in ast.parse("".join(cells(number)[0]["source"])).body
        if isinstance(line, ast.Import | ast.ImportFrom)
    ]
    names = {}
    exec(compile(ast.Module(imports, []), number, "exec"), names)
    assert names["torch"] is torch
    for cell in cells(number):
        if "nbgrader" in cell["metadata"]:
            exec("".join(cell["source"]), names)
    assert capsys.readouterr().out.count("✓") == len(TASKS[number])


@pytest.mark.parametrize("number", TASKS)
def test_the_students_function_has_the_solutions_parameters_and_messages_speak_of_them(number):
    functions = [
        ast.parse("".join(cell["source"])).body[0]
        for cell in cells(number)
        if cell["metadata"].get("nbgrader", {}).get("solution")
    ]
    for function, task in zip(functions, TASKS[number], strict=True):
        names = [argument.arg for argument in function.args.args]
        assert names == list(inspect.signature(task.solution).parameters)


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


def sum_for_mean(network, x, t, noise, alphas_cumprod):
    x_t = torch.stack(
        [a.sqrt() * point + (1 - a).sqrt() * z for a, point, z in zip(alphas_cumprod[t], x, noise, strict=True)]
    )
    return nn.MSELoss(reduction="sum")(network(x_t, t), noise)


def mean_over_points_only(network, x, t, noise, alphas_cumprod):
    kept = alphas_cumprod[t][:, None]
    return ((network(kept**0.5 * x + (1 - kept) ** 0.5 * noise, t) - noise) ** 2).sum() / len(x)


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


def index_wraps(alphas_cumprod):
    alphas = torch.stack([alphas_cumprod[t] / alphas_cumprod[t - 1] for t in range(len(alphas_cumprod))])
    return alphas, 1 - alphas


def no_roots(x, beta, generator):
    return (1 - beta) * x + beta * torch.randn(x.shape, generator=generator)


def factors_swapped(x, beta, generator):
    return torch.sqrt(beta) * x + torch.sqrt(1 - beta) * torch.randn(x.shape, generator=generator)


def over_1000(alphas_cumprod):
    return len(alphas_cumprod[alphas_cumprod < 0.01]) / 1000


def interleaved(x, omega):
    columns = []
    for coordinate in range(2):
        for frequency in omega:
            columns += [torch.sin(frequency * x[:, coordinate]), torch.cos(frequency * x[:, coordinate])]
    return torch.stack(columns, dim=1)


def change(points, last):
    def time_matters(model, x, timesteps):
        x = x[:points]
        return (model(x, torch.tensor([0])) - model(x, torch.tensor([last(timesteps)]))).abs().max().item()

    return time_matters


def any_timestep(model, x, timesteps):
    start = model(x, torch.zeros(len(x), dtype=torch.int64))
    return max(float((model(x, torch.tensor(t)) - start).abs().max()) for t in range(timesteps))


def plain_integers(model, x, timesteps):
    return float((model(x, timesteps - 1) - model(x, 0)).abs().max())


def earlier(network, x, t, noise, alphas_cumprod):
    return nn.functional.mse_loss(network(noised(x, t - 1, noise, alphas_cumprod), t), noise)


def roots_swapped(network, x, t, noise, alphas_cumprod):
    kept = alphas_cumprod[t][:, None]
    return nn.functional.mse_loss(network((1 - kept) ** 0.5 * x + kept**0.5 * noise, t), noise)


def noise_of_its_own(network, x, t, noise, alphas_cumprod):
    return exercises.loss.solution(network, x, t, torch.randn_like(x), alphas_cumprod)


def forgotten_bar(x_t, epsilon, t, betas, alphas_cumprod):
    alpha = 1 - betas[t]
    return (x_t - (1 - alpha) / torch.sqrt(1 - alpha) * epsilon) / torch.sqrt(alpha)


def forgotten_bracket(x_t, epsilon, t, betas, alphas_cumprod):
    return 1 / torch.sqrt(1 - betas[t]) * x_t - betas[t] / torch.sqrt(1 - alphas_cumprod[t]) * epsilon


def rolled(betas, alphas_cumprod):
    return (1 - torch.roll(alphas_cumprod, 1)) / (1 - alphas_cumprod) * betas


def noised_by(noise):
    def sampling_loop(epsilon, x_T, noises, schedule):
        x = x_T
        for t in reversed(range(schedule.timesteps)):
            found = epsilon(x, torch.tensor([t]))
            x = exercises.reverse_mean.solution(x, found, t, schedule.betas, schedule.alphas_cumprod)
            if t > 0:
                x = x + noise(t, schedule, noises, found)
        return x

    return sampling_loop


def ancestral_variance(t, schedule, noises, found):
    beta, kept, before = schedule.betas[t], schedule.alphas_cumprod[t], schedule.alphas_cumprod[t - 1]
    return torch.sqrt(beta * (1 - before) / (1 - kept)) * noises[t]


def in_place(epsilon, x_T, noises, schedule):
    x = x_T
    for t in reversed(range(schedule.timesteps)):
        x -= schedule.betas[t] * epsilon(x, torch.tensor([t])) / (1 - schedule.alphas_cumprod[t]) ** 0.5
        x /= (1 - schedule.betas[t]) ** 0.5
        x += schedule.betas[t] ** 0.5 * noises[t] if t else 0
    return x


def no_direction(x_t, epsilon, now, after):
    return after**0.5 * (x_t - (1 - now) ** 0.5 * epsilon) / now**0.5


def fresh_noise(x_t, epsilon, now, after):
    return no_direction(x_t, epsilon, now, after) + (1 - after) ** 0.5 * torch.randn_like(x_t)


def over_noised_points(x_t, points, kept):
    squared = torch.cdist(x_t, kept**0.5 * points) ** 2
    weights = torch.softmax(-squared / (2 * (1 - kept)), dim=0)
    return (x_t - kept**0.5 * weights @ points) / (1 - kept) ** 0.5


def lowest_pixel(rows, columns, height):
    return torch.stack([columns, max(rows) - rows], dim=1)


def estimate(x_t, epsilon, kept):
    return x_t / kept**0.5 - (1 / kept - 1) ** 0.5 * epsilon


def clipped_before(x_t, eps_class, eps_none, w, kept, limit):
    """As a sampler with clipping does it that is called twice, and then guided."""
    aim = torch.clip(estimate(x_t, eps_class, kept), -limit, limit)
    base = torch.clip(estimate(x_t, eps_none, kept), -limit, limit)
    return (1 - w) * base + w * aim


def clipped_before_and_after(*arguments):
    return clipped_before(*arguments).clip(-arguments[-1], arguments[-1])


def without_the_first(alphas_cumprod):
    alphas = alphas_cumprod[1:] / alphas_cumprod[:-1]
    return alphas, 1 - alphas


def half_of_the_mean(network, x, t, noise, alphas_cumprod):
    return 0.5 * nn.functional.mse_loss(network(noised(x, t, noise, alphas_cumprod), t), noise)


def row_for_a_column(network, x, t, noise, alphas_cumprod):
    return ((network(alphas_cumprod[t] ** 0.5 * x + (1 - alphas_cumprod[t]) ** 0.5 * noise, t) - noise) ** 2).mean()


def other_way_round(network, x, t, noise, alphas_cumprod):
    return ((network(x * alphas_cumprod[t].sqrt(), t) - noise) ** 2).mean()


def by_the_formula(x_t, x, t, betas, alphas_cumprod):
    before = alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
    v_1, v_2 = 1 - before, betas[t] / (1 - betas[t])
    m_1, m_2 = torch.sqrt(before) * x, x_t / torch.sqrt(1 - betas[t])
    return (m_1 / v_1 + m_2 / v_2) / (1 / v_1 + 1 / v_2)


def root_of_a_plain_number(x_t, x, t, betas, alphas_cumprod):
    return torch.sqrt(1.0 if t == 0 else alphas_cumprod[t - 1]) * x


def method_of_a_plain_number(x_t, x, t, betas, alphas_cumprod):
    return (1.0 if t == 0 else alphas_cumprod[t - 1]).sqrt() * x


def returns_in_the_loop(epsilon, x_T, noises, schedule):
    x = x_T
    for t in range(schedule.timesteps - 1, -1, -1):
        x = exercises.reverse_mean.solution(
            x, epsilon(x, torch.tensor([t])), t, schedule.betas, schedule.alphas_cumprod
        )
        if t > 0:
            x = x + schedule.betas[t] ** 0.5 * noises[t]
        return x


def noise_to_data(x_t, epsilon, kept):
    x = x_t / kept**0.5 - (1 / kept - 1).sqrt() * epsilon
    return x - epsilon


def v_for_u(x_t, epsilon, kept):
    return (epsilon - (1 - kept) ** 0.5 * x_t) / kept**0.5


def from_data_to_noise(u, z, steps):
    for s in np.arange(steps) / steps:
        z = z + u(z, s) * (1 / steps)
    return z


def along_u(u, z, steps):
    for s in torch.linspace(1, 1 / steps, steps, dtype=torch.float64):
        z = z + u(z, s) / steps
    return z


def as_many_places(u, z, steps):
    places = np.linspace(1, 0, steps)
    for number in range(steps - 1):
        z = z + (places[number + 1] - places[number]) * u(z, places[number])
    return z


def without_the_first_step(u, z, steps):
    """By a loop `for k in range(1, steps)`, counted down."""
    for k in range(steps - 1, 0, -1):
        z = z - u(z, k / steps) * (1 / steps)
    return z


def step_from_the_end(u, z, steps):
    for s in torch.linspace(1, 0, steps, dtype=torch.float64):
        z = z - u(z, s) / steps
    return z


def solved_by_scipy(points, noises):
    rows, columns = linear_sum_assignment(torch.cdist(points, noises).square().numpy())
    return torch.from_numpy(rows), torch.from_numpy(columns)


def whatever_class(points, noises, labels):
    """In the order of the noises, and the labels with their points: the same pairs as in the order of the points."""
    _, pairs = solved_by_scipy(points, noises)
    back = pairs.argsort()
    return points[back], noises, labels[back]


def labels_left_behind(points, noises, labels):
    rows, _ = solved_by_scipy(noises, points)
    return points[optimal_pairs(noises, points)][rows], noises, labels


def exchanged_points(points, noises, labels):
    moved = points.clone()
    for label in set(labels.tolist()):
        mine = (labels == label).nonzero().squeeze(1)
        moved[mine] = points[mine[solved_by_scipy(points[mine], noises[mine])[1]]]
    return moved, noises, labels


def rows_of_the_batch(points, noises, labels):
    """The right pairs of a class, but their numbers are taken for rows of the batch."""
    exchanged = torch.zeros_like(noises)
    for label in set(labels.tolist()):
        ours = labels == label
        exchanged[ours] = noises[solved_by_scipy(points[ours], noises[ours])[1]]
    return points, exchanged, labels


def written_into_a_copy(points, noises, labels):
    exchanged = noises.clone()
    for label in labels.unique():
        ours = labels == label
        exchanged[ours][optimal_pairs(points[ours], noises[ours])] = noises[ours]
    return points, exchanged, labels


def swapped_arguments(points, noises, labels):
    exchanged = noises.clone()
    for label in labels.unique():
        ours = labels == label
        exchanged[ours] = noises[ours][optimal_pairs(noises[ours], points[ours])]
    return points, exchanged, labels


def returns_after_a_class(points, noises, labels):
    exchanged = noises.clone()
    for label in labels.unique():
        mine = (labels == label).nonzero().squeeze(1)
        exchanged[mine] = noises[mine[solved_by_scipy(points[mine], noises[mine])[1]]]
        return points, exchanged, labels


def right_pairs(points, noises, labels):
    """Class after class, in the order of the noises."""
    parts = []
    for label in labels.unique():
        x, z = points[labels == label], noises[labels == label]
        _, numbers = solved_by_scipy(z, x)
        parts.append((x[numbers], z, torch.full((len(x),), int(label))))
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


CLASSIC = {
    "labels left behind": (exercises.shuffled, lambda p, c, o: (p.index_select(0, o), c), "the labels are left behind"),
    "the way back": (
        exercises.shuffled,
        lambda p, c, o: (p[o], torch.empty_like(c).scatter_(0, o, c)),
        "the labels go the way back",
    ),
    "inverted dropout": (
        exercises.left_out,
        lambda c, u, s: torch.where(u < s, c, -1),
        "the share is inverted",
    ),
    "nobody is the first class": (exercises.left_out, lambda c, u, s: c * (u >= s), "left out is −1; 0 is a class"),
    "w from −1": (exercises.guided_noise, lambda c, n, w: (1 + w) * c - w * n, "w is counted from the other end"),
    "aim and base": (exercises.guided_noise, lambda c, n, w: torch.lerp(c, n, w), "the two have changed places"),
    "clipped before": (exercises.guided_estimate, clipped_before, "each estimate is clipped before guidance. Then"),
    "clipped twice": (
        exercises.guided_estimate,
        clipped_before_and_after,
        "each estimate is clipped before guidance, and the sum again",
    ),
    "w not used": (
        exercises.guided_estimate,
        lambda x, c, n, w, k, m: estimate(x, c, k).clip(-m, m),
        "that is the estimate with the class, clipped: w is not used",
    ),
    "divided by ᾱ": (
        exercises.guided_estimate,
        lambda x, c, n, w, k, m: ((x - (1 - k) ** 0.5 * torch.lerp(n, c, w)) / k).clip(-m, m),
        "divided by ᾱ; the data were multiplied by its root",
    ),
    "no root of 1 − ᾱ": (
        exercises.guided_estimate,
        lambda x, c, n, w, k, m: ((x - (1 - k) * torch.lerp(n, c, w)) / k**0.5).clip(-m, m),
        "1 − ᾱ for its root",
    ),
    "noise added": (
        exercises.guided_estimate,
        lambda x, c, n, w, k, m: ((x + (1 - k) ** 0.5 * torch.lerp(n, c, w)) / k**0.5).clip(-m, m),
        "the noise is added to x_t once more",
    ),
    "T - 1 values": (exercises.alphas_and_betas, without_the_first, "there is one number too few"),
    "T - 1 variances": (
        exercises.posterior_variance,
        lambda b, a: b[1:] * (1 - a[:-1]) / (1 - a[1:]),
        "there is one number too few",
    ),
    "half": (exercises.loss, half_of_the_mean, "half of the mean"),
    "not simplified": (exercises.posterior_mean, by_the_formula, "not simplified: for t = 0 it divides by v₁"),
    "return in the loop": (
        exercises.sampling_loop,
        returns_in_the_loop,
        "one step alone, t = T − 1: does `return` stand",
    ),
    "columns turned over": (
        exercises.places,
        lambda rows, columns, height: torch.stack([rows, height - 1 - columns], dim=1),
        "x and y have changed places, and the columns are turned over",
    ),
    "softmax": (exercises.chances, lambda b: torch.softmax((-b).flatten(), 0).view(b.shape), "a softmax gives mass"),
    "softmax of rows": (exercises.chances, lambda b: torch.softmax(-b, dim=1), "a softmax of each row gives mass"),
    "softmax of columns": (
        exercises.chances,
        lambda b: torch.softmax(-b, dim=0),
        "a softmax of each column gives mass",
    ),
    "bright softmax": (
        exercises.chances,
        lambda b: torch.softmax(b.flatten(), 0).view(b.shape),
        "a softmax of the brightness",
    ),
    "R * R - 1": (exercises.multiple, lambda d, b: d.mean() / b.sum() * (len(b) ** 2 - 1), "divided by R × R − 1"),
    "norm": (
        exercises.excess,
        lambda answers, best: (answers - best).norm(dim=1).mean(),
        "not squared: that is the mean",
    ),
    "norm of all": (exercises.excess, lambda answers, best: torch.norm(answers - best), "that is the root of the sum"),
    "off by one": (exercises.alphas_and_betas, off_by_one_alphas, "the index is off by one"),
    "first is 1": (exercises.alphas_and_betas, first_is_one, "the first α is 1"),
    "the index -1": (exercises.alphas_and_betas, index_wraps, "the first α takes the last ᾱ: the index −1 wraps round"),
    "float32": (exercises.alphas_and_betas, float32_by_numpy, "computed in float32"),
    "no root of β": (exercises.q_step, beta_for_its_root, "β for √β"),
    "no roots": (exercises.q_step, no_roots, "both roots are missing"),
    "factors swapped": (exercises.q_step, factors_swapped, "the factors have changed places"),
    "uniform": (exercises.q_step, uniform, "uniform for normal noise: torch.rand lies in 0 … 1"),
    "uniform around 0": (exercises.q_step, uniform_around_0, "uniform for normal noise: the mean is 0"),
    "/ 1000": (exercises.wasted, over_1000, "divided by 1000"),
    "interleaved": (exercises.waves, interleaved, "sines and cosines are interleaved"),
    "the first point": (exercises.time_matters, change(1, lambda n: n - 1), "only some of the points are asked about"),
    "three points": (exercises.time_matters, change(3, lambda n: n - 1), "only some of the points are asked about"),
    "t = 1": (exercises.time_matters, change(None, lambda n: 1), "that is the change from t = 0 to t = 1"),
    "t = 999": (exercises.time_matters, change(None, lambda n: 999), "that is the change to t = 999"),
    "t = T": (exercises.time_matters, change(None, lambda n: n), "the last timestep is T − 1"),
    "any t": (exercises.time_matters, any_timestep, "that is the largest change to any timestep"),
    "plain t": (exercises.time_matters, plain_integers, "it stopped with ScheduleError: t must be an int64 tensor"),
    "sum": (exercises.loss, sum_for_mean, "sum for mean"),
    "mean over points": (exercises.loss, mean_over_points_only, "summed over the two coordinates"),
    "t - 1": (exercises.loss, earlier, "the index is off by one: the points are noised to t − 1"),
    "roots swapped": (exercises.loss, roots_swapped, "√ᾱ and √(1 − ᾱ) have changed places"),
    "own noise": (exercises.loss, noise_of_its_own, "called twice with the same arguments it gives two answers"),
    "sign": (exercises.reverse_mean, wrong_sign, "the wrong sign"),
    "bar": (exercises.reverse_mean, forgotten_bar, "the bar is forgotten"),
    "bracket": (exercises.reverse_mean, forgotten_bracket, "a bracket is missing"),
    "β for its posterior's": (
        exercises.posterior_variance,
        variance_mixed_up,
        "that is β, the variance of the noising step",
    ),
    "upside down": (exercises.posterior_variance, variance_upside_down, "the fraction is upside down"),
    "roll": (exercises.posterior_variance, rolled, "the first one takes the last ᾱ: `roll`"),
    "noise at last": (exercises.sampling_loop, noise_to_the_end, "noise is added at the last step"),
    "found noise": (
        exercises.sampling_loop,
        noised_by(lambda t, schedule, noises, found: schedule.betas[t] ** 0.5 * found),
        "the noise that the network found is added again",
    ),
    "posterior's for β": (exercises.sampling_loop, noised_by(ancestral_variance), "the posterior's variance"),
    "same noise": (
        exercises.sampling_loop,
        noised_by(lambda t, schedule, noises, found: schedule.betas[t] ** 0.5 * noises[0]),
        "the same noise at every step",
    ),
    "in place": (exercises.sampling_loop, in_place, "it changes its argument x_T in place"),
    "no direction": (exercises.ddim_step, no_direction, "the noise is missing"),
    "fresh noise": (exercises.ddim_step, fresh_noise, "called twice with the same arguments it gives two answers"),
    "softmax over noised points": (
        exercises.best_epsilon,
        over_noised_points,
        "the weights sum to 1 over the noised points",
    ),
    "lowest pixel": (exercises.places, lowest_pixel, "y = 0 is the picture's last row"),
    "noise to data": (exercises.velocity, noise_to_data, "the wrong sign: u leads from the data to the noise"),
    "v for u": (exercises.velocity, v_for_u, "that is v = α ε − σ x"),
    "α and σ swapped": (
        exercises.velocity,
        lambda y, e, k: e - (y - k**0.5 * e) / (1 - k) ** 0.5,
        "√ᾱ and √(1 − ᾱ) have changed places",
    ),
    "time upside down": (
        exercises.flow_sampling,
        from_data_to_noise,
        "the time runs the wrong way: it begins at s = 0",
    ),
    "along u": (exercises.flow_sampling, along_u, "the steps lead away from the data"),
    "one place too few": (exercises.flow_sampling, as_many_places, "so many places have one step less between them"),
    "range(1, steps)": (exercises.flow_sampling, without_the_first_step, "the first step is missing"),
    "a step from s = 0": (exercises.flow_sampling, step_from_the_end, "the last step begins at s = 0"),
    "rows of the batch": (exercises.coupled, rows_of_the_batch, "`noises[pairs]` takes rows of the whole batch"),
    "into a copy": (exercises.coupled, written_into_a_copy, "the pairs are those that were drawn"),
    "arguments swapped": (exercises.coupled, swapped_arguments, "the inverse permutation: the noise"),
    "after one class": (exercises.coupled, returns_after_a_class, "only the noises of the first class"),
    "unshuffled": (exercises.coupled, lambda x, z, c: (x, z, c), "the pairs are those that were drawn"),
    "labels left": (exercises.coupled, labels_left_behind, "the points are exchanged, and their labels are left"),
    "whatever class": (exercises.coupled, whatever_class, "all points are paired together, whatever their class"),
    "inverse": (exercises.coupled, exchanged_points, "the inverse permutation"),
}


@pytest.mark.parametrize(("task", "answer", "says"), CLASSIC.values(), ids=CLASSIC)
def test_the_classic_mistakes_are_named(task, answer, says):
    assert said_of(task, answer).startswith(f"{task.name}: {says}")


EXPLAINED = {
    "row": (exercises.loss, row_for_a_column, "A row of n numbers, one for each point, has to become a column"),
    "row, the other way round": (exercises.loss, other_way_round, "A row of n numbers, one for each point, has to"),
    "root": (exercises.posterior_mean, root_of_a_plain_number, "this is a plain number of Python's"),
    "method": (exercises.posterior_mean, method_of_a_plain_number, "this is a plain number of Python's"),
}


@pytest.mark.parametrize(("task", "answer", "says"), EXPLAINED.values(), ids=EXPLAINED)
def test_where_python_stops_it_is_said_what_that_comes_from(task, answer, says):
    assert says in said_of(task, answer)


def test_an_error_of_another_kind_gets_no_advice():
    def shapes(network, x, t, noise, alphas_cumprod):
        return (x[:20] - noise[:7]).mean()

    assert said_of(exercises.loss, shapes).endswith("at non-singleton dimension 0")


def right_alphas(alphas_cumprod):
    alphas = alphas_cumprod.clone()
    alphas[1:] /= alphas_cumprod[:-1]
    return alphas, 1 - alphas


def right_step(x, beta, generator):
    return torch.normal(np.sqrt(1 - beta) * x, np.sqrt(beta), generator=generator)


def right_in_torch(x, beta, generator):
    noise = torch.randn(x.shape, generator=generator)
    return torch.sqrt(1 - beta) * x + torch.sqrt(beta) * noise


def right_in_python(x, beta, generator):
    noise = torch.randn(len(x), 2, generator=generator, dtype=x.dtype)
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * noise


def right_in_place(x, beta, generator):
    x = x.clone()
    x *= (1 - beta) ** 0.5
    for coordinate in range(2):
        x[:, coordinate] += beta**0.5 * torch.randn(len(x), generator=generator)
    return x


def right_sample_in_place(x, t, alphas_cumprod, generator):
    x_t = math.sqrt(alphas_cumprod[t]) * x
    x_t += torch.empty_like(x).normal_(0, math.sqrt(1 - alphas_cumprod[t]), generator=generator)
    return x_t


def right_ddim(x_t, epsilon, now, after):
    now, after = torch.as_tensor(now), torch.as_tensor(after)
    x = (x_t - torch.sqrt(1 - now) * epsilon) / now.sqrt()
    return torch.sqrt(after) * x + torch.sqrt(1 - after) * epsilon


def right_epoch(network, average, optimiser, x, schedule, generator):
    """The noises of the whole epoch at once, another order of drawing, and the average by hand."""
    noises = torch.randn(len(x), 2, generator=generator, dtype=torch.float64)
    times = torch.randint(schedule.timesteps, (len(x),), generator=generator)
    order = torch.randperm(len(x), generator=generator)
    total = 0.0
    for start in range(0, len(x), 500):
        chosen = order[start : start + 500]
        kept = schedule.alphas_cumprod[times[chosen], None]
        x_t = kept**0.5 * x[chosen] + (1 - kept) ** 0.5 * noises[chosen]
        loss = nn.functional.mse_loss(network(x_t, times[chosen]), noises[chosen])
        for weight in network.parameters():
            weight.grad = None
        loss.backward()
        optimiser.step()
        for old, new in zip(average.parameters(), network.parameters(), strict=True):
            old.data = 0.995 * old.data + 0.005 * new.data
        total += loss.item() * len(chosen)
    return total / len(x)


# --- one epoch, however its random numbers are drawn


def epoch(
    does="zero_grad backward step average",
    batches=lambda x, g: x[torch.randperm(len(x), generator=g)].split(500),
    times=lambda n, T, g: torch.randint(T, (n,), generator=g),
    noise=lambda x, g: torch.randn(x.shape, generator=g),
    keeps=0.995,
    averaged=lambda done: True,
    told=lambda losses: sum(losses) / len(losses),
):
    """An epoch as a student writes it: noise in float32, and drawn before the timesteps."""

    def one_epoch(network, average, optimiser, x, schedule, generator):
        losses = []
        for batch in batches(x, generator):
            z = noise(batch, generator)
            t = times(len(batch), schedule.timesteps, generator)
            found = exercises.loss.solution(network, batch, t, z, schedule.alphas_cumprod)
            losses.append(found.item())
            taken = 1 - keeps if averaged(len(losses)) else 0.0

            def move(taken=taken):
                for old, new in zip(average.parameters(), network.parameters(), strict=True):
                    old.data = (1 - taken) * old.data + taken * new.data

            calls = {"backward": found.backward, "zero_grad": optimiser.zero_grad, "step": optimiser.step}
            for name in does.split():
                (calls | {"average": move})[name]()
        return told(losses)

    return one_epoch


USUAL = {
    "no zero_grad": ({"does": "backward step average"}, "the gradients are not cleared for each batch"),
    "zero_grad last but one": ({"does": "backward zero_grad step average"}, "the weights never move"),
    "step first": ({"does": "zero_grad step backward average"}, "the weights never move"),
    "no backward": ({"does": "zero_grad step average"}, "the weights never move"),
    "step before zero_grad": ({"does": "step zero_grad backward average"}, "the first step moves nothing"),
    "average once": ({"averaged": lambda done: done == 3}, "the average is moved once, at the end"),
    "average never": ({"does": "zero_grad backward step"}, "the average is never moved"),
    "average first": ({"does": "zero_grad backward average step"}, "the average is moved before the step"),
    "swapped decay": ({"keeps": 0.005}, "the average takes 0.995 of the new weights"),
    "copied average": ({"keeps": 0}, "the average is the newest weights"),
    "one t": (
        {"times": lambda n, T, g: torch.randint(T, (1,), generator=g).expand(n)},
        "all points of a batch have the same timestep",
    ),
    "t from 1": ({"times": lambda n, T, g: torch.randint(1, T, (n,), generator=g)}, "the timestep 0 never comes"),
    "t to T - 2": ({"times": lambda n, T, g: torch.randint(T - 1, (n,), generator=g)}, "the last timestep never comes"),
    "no shuffle": ({"batches": lambda x, g: x.split(500)}, "the points come in the same order"),
    "one batch": (
        {"batches": lambda x, g: x[torch.randperm(len(x), generator=g)].split(500)[:1]},
        "one batch alone: an epoch uses every point. Does `return` stand inside the loop?",
    ),
    "no batches": ({"batches": lambda x, g: [x[torch.randperm(len(x), generator=g)]]}, "one step for the whole epoch"),
    "uniform": ({"noise": lambda x, g: torch.rand(x.shape, generator=g)}, "the noise is uniform"),
    "uniform around 0": ({"noise": lambda x, g: 2 * torch.rand(x.shape, generator=g) - 1}, "the noise is uniform"),
    "one noise": (
        {"noise": lambda x, g: torch.randn(1, 2, generator=g).expand(x.shape)},
        "all points of a batch share one noise",
    ),
    "one noise for both": (
        {"noise": lambda x, g: torch.randn(len(x), 1, generator=g).expand(x.shape)},
        "the two coordinates of a point share one noise",
    ),
    "last loss": ({"told": lambda losses: losses[-1]}, "it returns the loss of the last batch"),
    "sum": ({"told": sum}, "it returns the sum of the losses"),
    "two at once": (  # the cause is named first
        {"does": "backward step", "told": lambda losses: losses[-1]},
        "the gradients are not cleared for each batch",
    ),
}


@pytest.mark.parametrize(("how", "says"), USUAL.values(), ids=USUAL)
def test_a_mistake_in_an_epoch_is_named_whatever_its_draws(how, says):
    assert said_of(exercises.one_epoch, epoch(**how)).startswith(f"one epoch of the loop: {says}")


def test_a_right_epoch_passes_whatever_its_draws(capsys):
    exercises.one_epoch(epoch())
    exercises.one_epoch(epoch(told=lambda losses: torch.tensor(losses).mean()))
    assert capsys.readouterr().out.count("✓") == 2


GLOBAL = {
    "order": {"batches": lambda x, g: x[torch.randperm(len(x))].split(500)},
    "timesteps": {"times": lambda n, T, g: torch.randint(T, (n,))},
    "noise": {"noise": lambda x, g: torch.randn(x.shape)},
}


@pytest.mark.parametrize("how", GLOBAL.values(), ids=GLOBAL)
def test_each_draw_of_an_epoch_comes_from_the_generator(how):
    assert "random numbers don't come from the generator" in said_of(exercises.one_epoch, epoch(**how))


def test_an_epoch_that_makes_its_own_generator_is_told_so():
    def seeded(network, average, optimiser, x, schedule, generator):
        return epoch()(network, average, optimiser, x, schedule, torch.Generator().manual_seed(0))

    assert "each call draws the same random numbers" in said_of(exercises.one_epoch, seeded)


@pytest.mark.filterwarnings("error")
def test_a_loss_with_its_gradient_is_no_number():
    def with_gradient(network, *others):
        return torch.tensor(epoch()(network, *others)) + 0 * network.weight.sum()

    assert "the number still carries its gradient" in said_of(exercises.one_epoch, with_gradient)


@pytest.mark.parametrize("does", ["", "backward", "zero_grad average"])
def test_an_epoch_without_a_step_gets_numbers(does):
    assert (
        "the number of the optimiser's steps is 0, and should be 3" in said_of(exercises.one_epoch, epoch(does)).lower()
    )


def test_an_epoch_that_asks_nothing_gets_numbers():
    said = said_of(exercises.one_epoch, lambda *arguments: 0.5)
    assert "The share of the points that are used once is 0, and should be 1" in said


def right_softmax(x_t, points, kept):
    squared = torch.cdist(x_t, torch.sqrt(kept) * points).square()
    weights = (-squared / (2 * (1 - kept))).softmax(1)
    return (x_t - math.sqrt(kept) * weights @ points) / torch.sqrt(1 - kept)


def right_loop(epsilon, x_T, noises, schedule):
    return loop(epsilon, x_T, noises, schedule, 1)


def right_flow(u, z, steps):
    """Downwards, and with tensors for s."""
    places = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    for s, after in itertools.pairwise(places):
        z = z + (after - s) * u(z, s)
    return z


def right_rows(points, noises, labels):
    """Numbers of the class, made rows of the batch; and written where the noises go, by the pairs the other way."""
    exchanged = torch.empty_like(noises)
    for label in labels:
        rows = torch.arange(len(labels))[labels == label]
        exchanged[rows[optimal_pairs(noises[rows], points[rows])]] = noises[rows]
    return points, exchanged, labels


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
        (exercises.q_step, right_in_torch),
        (exercises.q_step, right_in_python),
        (exercises.q_step, right_in_place),
        (exercises.q_sample, right_sample_in_place),
        (exercises.ddim_step, right_ddim),
        (exercises.ddim_step, lambda x, e, now, after: right_ddim(x, e, now.item(), after.item())),
        (exercises.best_epsilon, right_softmax),
        (exercises.time_matters, change(None, lambda n: n - 1)),
        (exercises.normalised, lambda p: (p - p.mean(0)) / p.var(0, correction=0).mean() ** 0.5),
        (exercises.multiple, lambda d, b: d.mean() / b[~torch.eye(len(b), dtype=torch.bool)].mean()),
        (exercises.multiple, lambda d, b: d.mean() / np.mean([b[i, j] for i in range(len(b)) for j in range(i)])),
        (exercises.shuffled, lambda p, c, o: [torch.stack([p[k] for k in o]), c.take(o)]),
        (exercises.left_out, lambda c, u, s: torch.where(u < s, -1, c)),
        (exercises.left_out, lambda c, u, s: (c + 1) * (u >= s) - 1),
        (exercises.guided_noise, lambda c, n, w: torch.lerp(n, c, w)),
        (exercises.guided_noise, lambda c, n, w: w * c - (w - 1) * n),
        (  # guiding the estimates is guiding the noise, as long as nothing is clipped
            exercises.guided_estimate,
            lambda x, c, n, w, k, m: (w * estimate(x, c, k) + (1 - w) * estimate(x, n, k)).clip(-m, m),
        ),
        (exercises.one_epoch, right_epoch),
        (exercises.velocity, lambda y, e, k: ((k.sqrt() + (1 - k).sqrt()) * e - y) / k.sqrt()),
        (exercises.velocity, lambda y, e, k: e - (y - math.sqrt(1 - k) * e) / math.sqrt(k)),
        (exercises.flow_sampling, right_flow),
        (exercises.coupled, right_pairs),
        (exercises.coupled, right_rows),
        (
            exercises.silent_loss,
            lambda: torch.randn(400_000, generator=torch.Generator().manual_seed(1)).square().mean().round(decimals=2),
        ),
    ],
)
def test_a_right_answer_may_be_written_in_another_way(task, answer, capsys):
    task(answer)
    assert capsys.readouterr().out.startswith("✓")
