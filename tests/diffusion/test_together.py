"""Trainings as one are the trainings alone: the same draws to the bit, the same weights but for rounding."""

from dataclasses import replace

import pytest
import torch
from small_runs import SCHEDULE, network
from torch import nn

from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.schedules import linear
from lab_utils.diffusion.together import Together, TogetherError
from lab_utils.diffusion.training import Recipe, Trainer

RECIPE = Recipe(epochs=6, batch_size=30, warmup=5, checkpoints=())
LABELLED = {"classes": ("a", "b")}


def points(seed, n=70):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def trainer(seed, recipe=RECIPE, **arguments):
    """One of several trainings, all of whose chance is its own: first weights, points, batches, noise."""
    labels = torch.arange(70) % 2 if "classes" in arguments else None
    return Trainer(network(seed=seed, **arguments), points(seed), replace(recipe, seed=seed), labels)


def both(**arguments):
    """Three trainers, and three of the same."""
    return [trainer(seed, **arguments) for seed in range(3)], [trainer(seed, **arguments) for seed in range(3)]


def as_alone(together, alone):
    """Whether every trainer is where the other one is."""
    for one, other in zip(together, alone, strict=True):
        found, expected = one.state_dict(), other.state_dict()
        assert torch.equal(found.pop("generator"), expected.pop("generator"))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        for mine, its in ((one.network, other.network), (one.averaged, other.averaged)):
            torch.testing.assert_close(mine.state_dict(), its.state_dict(), rtol=1e-3, atol=1e-5)


KINDS = {
    "the original's": {},
    "the tail, decay, waves that fade": {"recipe": replace(RECIPE, tail=0.1, decay=True), "fading": True},
    "labels": {**LABELLED, "recipe": replace(RECIPE, tail=0.1, label_dropout=0.3)},
    "weights, and more noises": {"recipe": replace(RECIPE, weights="log-SNR", noises=2)},
    "chances": {"recipe": replace(RECIPE, timesteps="log-SNR")},
    "fixed noises": {"recipe": replace(RECIPE, fixed_noises=2)},
    "optimal transport": {"recipe": replace(RECIPE, coupling="optimal transport")},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_comes_out_as_it_does_alone(kind):
    several, alone = both(**KINDS[kind])
    told = [*Together(several)]
    losses = [[*one] for one in alone]
    torch.testing.assert_close(torch.tensor(told).T, torch.tensor(losses), rtol=1e-4, atol=1e-6)
    as_alone(several, alone)
    assert not torch.equal(several[0].weights, several[1].weights)


def test_pairs_that_were_given_stay_pairs():
    def made(seed):
        return Trainer(network(seed=seed), points(seed), replace(RECIPE, seed=seed), noises=points(seed + 9))

    several, alone = [made(0), made(1)], [made(0), made(1)]
    assert len([*Together(several)]) == RECIPE.epochs
    for one in alone:
        list(one)
    as_alone(several, alone)


def test_after_every_turn_each_is_where_it_is_alone():
    several, alone = both()
    for _ in Together(several):
        for one in alone:
            next(iter(one))
        as_alone(several, alone)
        assert [one.epoch for one in several] == [alone[0].epoch] * 3


def test_they_go_on_together_and_alone():
    """Two epochs alone, two together, one more alone; another stack goes on from saved states."""
    several, alone = both()
    for one in several:
        next(iter(one)), next(iter(one))
    loop = iter(Together(several))
    next(loop), next(loop)
    for one in alone:
        for _ in range(4):
            next(iter(one))
    as_alone(several, alone)
    saved = [{name: value.clone() for name, value in one.state_dict().items()} for one in several]
    next(iter(several[1]))
    next(iter(alone[1]))
    as_alone(several, alone)  # and who goes on alone changes none of the others
    fresh = both()[0]
    for one, state in zip(fresh, saved, strict=True):
        one.load_state_dict(state)
    assert len([*Together(fresh)]) == 2
    for one in alone:
        list(one)
    as_alone(fresh, alone)


def test_one_alone_is_several_too():
    several, alone = both()
    assert len([*Together(several[:1])]) == RECIPE.epochs
    list(alone[0])
    as_alone(several[:1], alone[:1])


OTHERS = {
    "weights": lambda: trainer(1, width=9),
    "builds": lambda: trainer(1, target="epsilon"),
    "schedules": lambda: Trainer(network(linear(timesteps=50), seed=1), points(1), RECIPE),
    "kinds of labels": lambda: trainer(1, **LABELLED),
    "recipes": lambda: trainer(1, replace(RECIPE, batch_size=31)),
    "numbers of points": lambda: Trainer(network(seed=1), points(1, 71), RECIPE),
    "classes": lambda: Trainer(Mine(1), points(1), RECIPE),
    "numbers of epochs behind them": lambda: (one := trainer(1), next(iter(one)))[0],
}


@pytest.mark.parametrize("what", OTHERS)
def test_those_that_differ_in_more_than_seeds_and_points_are_refused_and_the_difference_is_named(what):
    with pytest.raises(TogetherError, match=f"these have other .*{what}"):
        Together([trainer(0), OTHERS[what]()])


def test_none_are_refused():
    with pytest.raises(TogetherError, match="no trainings"):
        Together([])


class Mine(DenoisingModule):
    """A network of one's own, whose waves are drawn: each seed has other ones, in a table."""

    def __init__(self, seed):
        super().__init__(SCHEDULE)
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("omega", torch.randn(2, 8, generator=generator))
        self.layer = nn.Linear(8, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.randn(2, 8, generator=generator))
            self.layer.bias.zero_()

    def predict(self, x_t, t):
        return self.layer((x_t @ self.omega).sin()) * (1 + t.unsqueeze(1) / 50)


class Hidden(Mine):
    """The same, but the waves are nothing that a stack could have seen."""

    def __init__(self, seed):
        super().__init__(seed)
        self.hidden = [self.omega]
        del self.omega

    @property
    def omega(self):
        return self.hidden[0]


class Asking(Mine):
    """It looks at its numbers before it answers."""

    def predict(self, x_t, t):
        return super().predict(x_t, t) if x_t.isfinite().all() else x_t


def test_tables_of_ones_own_are_each_networks_own():
    several, alone = ([Trainer(Mine(seed), points(seed), RECIPE) for seed in range(2)] for _ in range(2))
    list(Together(several))
    for one in alone:
        list(one)
    as_alone(several, alone)


@pytest.mark.parametrize(
    ("kind", "said"), [(Hidden, "doesn't answer in a stack as it does alone"), (Asking, "vmap can't stack Asking")]
)
def test_a_network_that_can_not_be_stacked_is_refused_with_the_reason_and_can_be_trained_alone(kind, said):
    trainers = [Trainer(kind(seed), points(seed), RECIPE) for seed in range(2)]
    with pytest.raises(TogetherError, match=said):
        Together(trainers)
    losses = [*trainers[0]]
    assert losses[-1] < losses[0]
