"""Pairs of optimal transport are the cheapest, use each noise once, and are never measured as independent ones."""

import itertools
import pickle
import time
from copy import deepcopy
from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from small_runs import DATA, RECIPE, gaussian, network, same

from lab_utils.diffusion import (
    Recipe,
    Trainer,
    ancestral,
    couple,
    ddim,
    denoiser,
    dpm_solver,
    euler,
    flow,
    heun,
    midpoint,
    optimal_pairs,
    sample,
    sde_dpm_solver,
    snapshots,
)
from lab_utils.diffusion import training as training_module
from lab_utils.exact import BestDenoiser
from lab_utils.measure import (
    Truth,
    answers,
    gradient_signal,
    log_likelihood,
    mean_loss,
    noise,
    straightness,
)
from lab_utils.runs import fit
from lab_utils.widgets.training import Watch

COUPLED = replace(RECIPE, coupling="optimal transport")


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def cost(points, noises):
    return float((points.double() - noises.double()).square().sum())


# --- which pairs


@given(n=st.integers(1, 6), seed=st.integers(0, 999))
def test_no_other_order_of_the_noises_is_cheaper(n, seed):
    """All orders there are, of few points; POT is trusted with the rest."""
    points, noises = normal(n, seed), normal(n, seed + 1000)
    least = min(cost(points, noises[list(order)]) for order in itertools.permutations(range(n)))
    assert cost(points, couple("optimal transport", points, noises)) == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("n", [2, 50, 500])
def test_the_pairs_are_those_of_scipy(n):
    points, noises = DATA.train.repeat(5, 1)[:n] + 0.1 * normal(n, 1), normal(n, 2)
    pairs = optimal_pairs(points, noises)
    rows, columns = linear_sum_assignment(torch.cdist(points.double(), noises.double()).square().numpy())
    assert rows.tolist() == [*range(n)]
    assert pairs.tolist() == columns.tolist()
    assert cost(points, noises[pairs]) <= cost(points, noises)


def test_it_is_the_permutation_and_not_its_inverse():
    """Three points and their neighbours in a turned order, in which the two differ."""
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    noises = torch.tensor([[2.1, 0.0], [0.1, 0.0], [1.1, 0.0]])
    assert optimal_pairs(points, noises).tolist() == [1, 2, 0]
    torch.testing.assert_close(couple("optimal transport", points, noises) - points, torch.tensor([[0.1, 0.0]] * 3))


@given(n=st.integers(1, 40), copies=st.integers(1, 4), seed=st.integers(0, 999))
def test_each_noise_is_used_once_even_where_points_are_the_same(n, copies, seed):
    """A permutation: nothing is drawn with replacement, as from a plan."""
    points, noises = normal(n, seed).repeat(copies, 1), normal(n * copies, seed + 1)
    assert sorted(optimal_pairs(points, noises).tolist()) == [*range(n * copies)]


def test_independent_pairs_are_left_as_they_are():
    noises = normal(5)
    assert couple("independent", normal(5, 1), noises) is noises


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: couple("sinkhorn", normal(3), normal(3)), "one of independent, optimal transport; got 'sinkhorn'"),
        (lambda: optimal_pairs(normal(3), normal(4)), "noises must be as many as the points, 3; there are 4"),
        (lambda: optimal_pairs(normal(3) / 0, normal(3)), "must be finite"),
        (lambda: optimal_pairs(normal(3), normal(3) / 0), "must be finite"),
        (lambda: optimal_pairs(torch.zeros(10_001, 2), torch.zeros(10_001, 2)), "10,000 points at most, in 4 GB"),
        (lambda: Recipe(coupling="sinkhorn"), "coupling must be one of independent, optimal transport; got 'sinkhorn'"),
        (lambda: replace(COUPLED, tail=0.1), "tail and fixed_noises must be 0: .* got tail = 0.1 and fixed_noises = 0"),
        (
            lambda: replace(COUPLED, fixed_noises=3),
            "pairs are fresh in each epoch; got tail = 0.0 and fixed_noises = 3",
        ),
    ],
)
def test_what_no_coupling_can_be_is_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


def test_no_points_have_no_pairs():
    assert optimal_pairs(torch.zeros(0, 2), torch.zeros(0, 2)).tolist() == []


# --- in training


def spied(monkeypatch, recipe):
    """A trainer, and a list that gets the points, the noises as drawn and as coupled of each of its batches."""
    seen = []

    def spy(how, points, noises, labels):
        assert labels is None  # a network without classes is told none
        found = couple(how, points, noises)
        seen.append((points, noises, found))
        return found

    monkeypatch.setattr(training_module, "couple", spy)
    return Trainer(network(), DATA.train, recipe), seen


def test_noises_are_exchanged_and_points_stay_where_their_labels_are(monkeypatch):
    """What enters the network at row i is point number batch[i], at its own timestep, with the noise of its pair."""
    trainer, seen = spied(monkeypatch, COUPLED)
    entered = []
    predict = trainer.network.predict
    monkeypatch.setattr(trainer.network, "predict", lambda x_t, t: (entered.append((x_t, t)), predict(x_t, t))[1])
    batch = torch.randperm(100, generator=torch.Generator().manual_seed(5))[:30]
    errors = trainer._errors(batch, 0)
    ((points, drawn, coupled),), ((x_t, t),) = seen, entered
    assert torch.equal(points, DATA.train[batch])
    assert not torch.equal(coupled, drawn)
    assert sorted(map(tuple, coupled.tolist())) == sorted(map(tuple, drawn.tolist()))
    generator = torch.Generator().manual_seed(COUPLED.seed)
    assert torch.equal(t, torch.randint(0, 50, (30,), generator=generator))
    torch.testing.assert_close(x_t, trainer.network.schedule.q_sample(DATA.train[batch], t, coupled))
    torch.testing.assert_close(errors, (predict(x_t, t) - coupled).square())


def test_pairs_are_fresh_in_each_epoch_and_cheaper_than_independent_ones(monkeypatch):
    trainer, seen = spied(monkeypatch, COUPLED)
    list(islice(trainer, 2))
    assert [len(points) for points, *_ in seen] == [30, 30, 30, 10] * 2
    first, second = (
        {
            tuple(point): tuple(pair)
            for points, _, coupled in part
            for point, pair in zip(points.tolist(), coupled.tolist(), strict=True)
        }
        for part in (seen[:4], seen[4:])
    )
    assert first.keys() == second.keys()
    assert all(first[point] != second[point] for point in first)
    independent, coupled = (sum(cost(points, pairs[k]) for points, *pairs in seen) for k in (0, 1))
    assert coupled < 0.5 * independent


def test_a_killed_training_goes_on_with_the_same_bits():
    whole, first, second = (Trainer(network(), DATA.train, COUPLED) for _ in range(3))
    list(whole)
    list(islice(first, 9))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    list(second)
    assert same(second.state_dict(), whole.state_dict())


def test_the_coupling_changes_the_training_and_its_key(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    coupled, plain = (fit(network(), DATA, recipe, progress=False) for recipe in (COUPLED, RECIPE))
    assert coupled.folder != plain.folder
    assert not torch.equal(coupled.losses, plain.losses)
    assert coupled.model().coupling == "optimal transport"
    assert plain.model().coupling == "independent"
    assert torch.equal(fit(network(), DATA, COUPLED, progress=False).losses, coupled.losses)
    model = coupled.model(10)
    for again in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.coupling == "optimal transport"


def test_coupled_pairs_make_straighter_paths():
    """Of the same small network, in a training of seconds: a third of the bend of independent pairs or less."""
    data, schedule = gaussian(1000), flow(100)
    found = {}
    for coupling in ("independent", "optimal transport"):
        recipe = Recipe(epochs=60, batch_size=100, checkpoints=(), warmup=20, weights="velocity", coupling=coupling)
        trainer = Trainer(network(schedule, width=32, target="velocity"), data.train, recipe)
        list(trainer)
        found[coupling] = straightness(trainer.averaged, 300, steps=20)
    straight, bent = found["optimal transport"], found["independent"]
    assert straight.straightness < bent.straightness / 3
    assert straight.cost == pytest.approx(straight.cheapest, rel=0.1)


# --- what can't be said of it


@pytest.fixture(scope="module")
def coupled():
    trainer = Trainer(network(), DATA.train, replace(COUPLED, epochs=1, checkpoints=()))
    list(trainer)
    return trainer.averaged


@pytest.mark.parametrize(
    "measure",
    [
        lambda model: mean_loss(model, DATA.train, draws=50),
        lambda model: answers(model, noise(DATA.train, model.schedule, draws=50)),
        lambda model: gradient_signal(model, noise(DATA.train, model.schedule, draws=50), batch=10),
        lambda model: Truth(BestDenoiser(DATA.train, model.schedule), DATA.train, draws=50).excess(model),
        lambda model: Watch(DATA, model.schedule, COUPLED),
    ],
    ids=["mean_loss", "answers", "gradient_signal", "nats", "the live training's floor"],
)
def test_floors_excess_and_nats_are_refused_with_the_reason(coupled, measure):
    reason = (
        "independent pairs, and here the training has the coupling 'optimal transport': the best answer for coupled"
    )
    with pytest.raises(ValueError, match=reason):
        measure(coupled)


@pytest.mark.parametrize(
    "make", [lambda s: None, ancestral, lambda s: sde_dpm_solver(s, 10), lambda s: ddim(s, 10, eta=0.5)]
)
def test_a_sampler_that_adds_noise_is_refused_and_those_without_are_named(coupled, make):
    for call in (sample, lambda *a, **k: snapshots(*a, [1], **k)):
        with pytest.raises(
            ValueError, match=r"adds noise .* slope of the noised density.* euler, heun, midpoint, ddim or"
        ):
            call(coupled, 5, sampler=make(coupled.schedule))


def test_what_follows_the_flow_takes_it(coupled):
    for make in (euler, heun, midpoint, ddim, dpm_solver):
        assert sample(coupled, 5, sampler=make(coupled.schedule, 10)).isfinite().all()
    assert log_likelihood(coupled, DATA.held_out[:5]).isfinite().all()


def test_of_somebody_else_s_module_its_wrapper_is_told():
    schedule = flow(20)
    wrapped = denoiser(lambda x, t: 0.5 * x, schedule, predicts="velocity", coupling="optimal transport")
    assert sample(wrapped, 5, sampler=heun(schedule, 5)).isfinite().all()
    with pytest.raises(ValueError, match="the best answer for coupled pairs is another one"):
        mean_loss(wrapped, DATA.train)
    with pytest.raises(ValueError, match="one of independent, optimal transport; got 'OT'"):
        denoiser(lambda x, t: 0.5 * x, schedule, coupling="OT")


def test_a_training_with_independent_pairs_takes_the_word_back(coupled):
    again = deepcopy(coupled)
    list(Trainer(again, DATA.train, replace(RECIPE, epochs=1, checkpoints=())))
    assert mean_loss(again, DATA.train, draws=50)[0] > 0


def test_pairs_of_a_batch_take_what_the_docstring_says():
    """23 ms for 500 on the machine where that was measured; ten times that on any."""
    points, noises = normal(500), normal(500, 1)
    optimal_pairs(points, noises)  # which imports POT
    started = time.process_time()
    optimal_pairs(points, noises)
    assert time.process_time() - started < 0.25
