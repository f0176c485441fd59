"""A network can be told a class; told none it is what it was, and training learns both from one set of labels."""

import math
from copy import deepcopy
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from small_runs import DATA, RECIPE, SCHEDULE, network, same
from torch.nn.functional import silu

from lab_utils.diffusion import NO_CLASS, DiffusionGenerator, Recipe, Trainer, couple, given, sample, training
from lab_utils.diffusion.along import Along
from lab_utils.diffusion.conditional import leave_out
from lab_utils.diffusion.denoiser import DenoisingModule, along, one_by_one
from lab_utils.diffusion.network import TIME_WIDTH
from lab_utils.diffusion.tail import Tail
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.measure import answers, log_likelihood, mean_loss, noise, squared
from lab_utils.points import Dataset, dataset

CLASSES = ("left", "right", "none of both")
LABELS = torch.arange(100) % 3
LABELLED = replace(RECIPE, label_dropout=0.3)


def points(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def awake(classes=CLASSES, **arguments):
    """A network whose last layer is not 0, as if it had learnt something."""
    model = network(classes=classes, **arguments)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


# --- told no class, it is what it was


@pytest.mark.parametrize("seed", [0, 7])
def test_the_first_weights_are_the_same_with_classes_and_without(seed):
    bare, told = network(seed=seed).state_dict(), network(seed=seed, classes=CLASSES).state_dict()
    assert {*told} - {*bare} == {"embed_class.weight"}
    assert all(torch.equal(bare[name], told[name]) for name in bare)
    assert told["embed_class.weight"].shape == (TIME_WIDTH, 3)


@torch.no_grad()
def test_told_no_class_it_answers_to_the_bit_as_a_network_without_classes():
    told, bare = awake(), awake(classes=())
    x, t = points(50), torch.arange(50)
    assert torch.equal(told(x, t), bare(x, t))
    assert torch.equal(told.predict(x, t, torch.tensor([NO_CLASS])), bare(x, t))
    assert torch.equal(sample(told, 30), sample(bare, 30))
    classes = torch.where(torch.arange(50) < 25, NO_CLASS, 1)
    assert torch.equal(told.predict(x, t, classes)[:25], bare(x, t)[:25])
    assert (told.predict(x, t, classes) - bare(x, t))[25:].abs().amax(dim=1).min() > 1e-4


def bare_predict(model, x_t, t):
    """The network's `predict` as it was written before there were classes."""
    time = model.time_to_layers(silu(model.embed_time(model.time_waves[t])))
    first, *rest = time.chunk(len(model.layers) + 1, dim=1)
    angles = (x_t.unsqueeze(-1) * model.omega).flatten(1)
    h = silu(model.enter(torch.cat([x_t, angles.sin(), angles.cos()], dim=1)) + first)
    for layer, shift in zip(model.layers, rest, strict=True):
        h = h + silu(layer(h) + shift)
    return model.skip[t] * x_t + model.scale[t] * model.leave(h)


@pytest.mark.parametrize("tail", [0.0, 0.2])
def test_training_without_labels_has_the_bits_that_it_had_before_there_were_any(tail):
    """The loop as it was, written out: the order of the draws, the batches, the steps and the average."""
    recipe = replace(RECIPE, tail=tail, epochs=3, checkpoints=())
    trainer, model = Trainer(network(), DATA.train, recipe), network()
    adam = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    average, generator, step, losses = deepcopy(model), torch.Generator().manual_seed(recipe.seed), 0, []
    kept = SCHEDULE.alphas_cumprod.unsqueeze(1)
    for _ in range(3):
        total = 0.0
        for batch in torch.randperm(100, generator=generator).split(30):
            adam.param_groups[0]["lr"] = recipe.learning_rate * min(1, (step + 1) / (recipe.warmup + 1))
            t = torch.randint(0, 50, (len(batch),), generator=generator)
            epsilon = torch.randn(len(batch), 2, generator=generator)
            signal, noise = kept.sqrt().float()[t], (1 - kept).sqrt().float()[t]
            far = int(tail * len(batch))
            if far:
                spread = 1 + 2 * torch.rand(far, 1, generator=generator)
                epsilon = torch.cat([epsilon[:far] * spread, epsilon[far:]])
            x_t = signal * DATA.train[batch] + noise * epsilon
            if far:
                exact = Tail(DATA.train).epsilon(x_t[:far], signal[:far], noise[:far])
                epsilon = torch.cat([exact, epsilon[far:]])
            errors = (bare_predict(model, x_t, t) - epsilon).square()
            adam.zero_grad()
            errors.mean().backward()
            adam.step()
            decay = min(recipe.ema_decay, (1 + step) / (10 + step)) if step else 0
            with torch.no_grad():
                for old, new in zip(average.parameters(), model.parameters(), strict=True):
                    old.lerp_(new, 1 - decay)
            total += float(errors.detach()[far:].mean() * len(batch))
            step += 1
        losses.append(total / 100)
    assert [*trainer] == losses
    assert same(dict(trainer.averaged.state_dict()), dict(average.state_dict()))
    assert torch.equal(trainer.generator.get_state(), generator.get_state())


# --- told a class


@torch.no_grad()
def test_a_class_enters_beside_the_time_as_a_vector_of_its_own():
    """The same in NumPy and float64: the class's column is added to the first layer of what the time becomes."""
    model = awake(depth=2)
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    t = torch.tensor([3, 40])
    for number in range(3):
        time = model.time_waves[t].double().numpy() @ weights["embed_time.weight"].T + weights["embed_time.bias"]
        time = time + weights["embed_class.weight"][:, number]
        time = time / (1 + np.exp(-time))
        expected = time @ weights["time_to_layers.weight"].T + weights["time_to_layers.bias"]
        found = torch.cat(model.shifts(t, torch.tensor([number])), dim=1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_label_for_each_point_is_as_one_call_for_each_class():
    model, x = awake(), points(60)
    t, labels = torch.arange(60) % 50, torch.arange(60) % 4 - 1
    together = model.predict(x, t, labels)
    for number in (NO_CLASS, 0, 1, 2):
        ours = labels == number
        one = model if number == NO_CLASS else given(model, CLASSES[number])
        torch.testing.assert_close(together[ours], one(x, t)[ours], rtol=1e-4, atol=1e-5)
    assert all((given(model, name)(x, t) - model(x, t)).abs().max() > 1e-2 for name in CLASSES)


@pytest.mark.parametrize("fading", [False, True])
@pytest.mark.parametrize("label", [None, *CLASSES])
@torch.no_grad()
def test_the_fast_way_knows_the_class(label, fading):
    model = awake(fading=fading, input_frequencies=8, max_frequency=64.0)
    denoiser, timesteps = model if label is None else given(model, label), [49, 31, 7, 0]
    fast, slow = along(denoiser, timesteps)(40), one_by_one(denoiser, timesteps)(40)
    assert isinstance(along(denoiser, timesteps).__self__, Along)
    for k in range(4):
        torch.testing.assert_close(fast(points(40), k), slow(points(40), k), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_network_that_was_changed_is_asked_the_slow_way_with_its_class():
    model = awake()
    before = sample(given(model, "left"), 20)
    model.embed_class.register_forward_hook(lambda module, asked, answer: -answer)
    slow = one_by_one(given(model, "left"), [5])(20)(points(20), 0)
    assert torch.equal(along(given(model, "left"), [5])(20)(points(20), 0), slow)
    assert not torch.allclose(sample(given(model, "left"), 20), before, atol=1e-3)


class Mine(DenoisingModule):
    """A network of one's own that can be told classes, without a fast way."""

    classes = ("a", "b")

    def __init__(self):
        super().__init__(SCHEDULE)
        self.layer = torch.nn.Linear(2, 2)

    def predict(self, x_t, t, label=None):
        told = torch.zeros(1, 1) if label is None else label.unsqueeze(1) + 1.0
        return self.layer(x_t) + told


def test_a_network_of_ones_own_is_given_classes_trained_and_sampled():
    torch.manual_seed(0)
    model = Mine()
    x = points(5)
    torch.testing.assert_close(given(model, "b")(x, torch.tensor(0)), model(x, torch.tensor(0)) + 2)
    assert sample(given(model, "a"), 3).shape == (3, 2)
    assert len([*Trainer(model, DATA.train, replace(RECIPE, epochs=2, checkpoints=()), LABELS % 2)]) == 2


def test_the_denoiser_of_a_class_uses_the_network_and_does_not_copy_it():
    model = awake()
    left, before = given(model, "left"), sample(given(model, "left"), 5)
    with torch.no_grad():
        model.embed_class.weight.add_(1)
    assert not torch.equal(sample(left, 5), before)
    coupled = Trainer(awake(), DATA.train, replace(RECIPE, coupling="optimal transport"), LABELS)
    assert given(coupled.averaged, "left").coupling == "optimal transport"
    with pytest.raises(ValueError, match="floors and the excess over them are those of independent pairs"):
        answers(given(coupled.averaged, "left"), noise(DATA.train, SCHEDULE, draws=10))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: given(awake(), "Left"), "no class 'Left'; there are left, right, none of both"),
        (lambda: given(network(), "left"), "DiffusionGenerator knows no classes, so it can't be told 'left'; train"),
        (lambda: given(BestDenoiser(DATA.train, SCHEDULE), "left"), "BestDenoiser knows no classes"),
        (lambda: given(object(), "left"), "object is no denoiser"),
        (lambda: network(classes="abc"), r"classes must be names, such as .*; got 'abc'"),
        (lambda: network(classes=7), "classes must be names, such as .*; got 7"),
        (lambda: network(classes=["a", 1]), r"classes must be names, .*; got \['a', 1\]"),
        (lambda: network(classes=["a", ""]), "classes must be names"),
        (lambda: network(classes=["a", "b", "a"]), "each class must have a name of its own; got a, b, a"),
        (lambda: Trainer(awake(), DATA.train), "knows the classes left, .* labels=data.train_labels"),
        (lambda: Trainer(network(), DATA.train, labels=LABELS), "knows no classes, so it can't learn from labels"),
        (lambda: Trainer(awake(), DATA.train, labels=LABELS[:5]), "one for each of the 100 points; got int64 .*(5,)"),
        (lambda: Trainer(awake(), DATA.train, labels=LABELS + 1), "places in the 3 classes, .* from 1 to 3"),
        (lambda: Trainer(awake(), DATA.train, labels=LABELS - 1), "places in the 3 classes, .* from -1 to 1"),
        (lambda: Trainer(awake(), DATA.train, labels=LABELS.float()), "labels must be whole numbers"),
        (lambda: Recipe(label_dropout=1.0), r"label_dropout must lie in \[0, 1\), a share of the points; got 1.0"),
        (lambda: Recipe(label_dropout=-0.1), r"label_dropout must lie in \[0, 1\)"),
        (lambda: Recipe(label_dropout=math.nan), r"label_dropout must lie in \[0, 1\)"),
    ],
)
def test_what_no_class_or_label_can_be_is_refused_with_what_is_known(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()


def test_a_configuration_makes_the_same_network_with_its_classes_again():
    again = DiffusionGenerator.from_config(awake().config)
    assert again.classes == CLASSES
    assert same(dict(again.state_dict()), dict(network(classes=CLASSES).state_dict()))


# --- training


def test_a_tenth_of_the_labels_is_left_out_whatever_the_class():
    labels = torch.arange(100_000) % 5
    left = leave_out(labels, 0.1, torch.Generator().manual_seed(0))
    assert float((left == NO_CLASS).double().mean()) == pytest.approx(0.100, abs=0.003)
    assert torch.equal(left[left != NO_CLASS], labels[left != NO_CLASS])
    for number in range(5):  # five standard errors
        share = float((left[labels == number] == NO_CLASS).double().mean())
        assert share == pytest.approx(0.1, abs=5 * math.sqrt(0.09 / 20_000))


def test_where_no_label_is_left_out_nothing_is_drawn():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert leave_out(LABELS, 0.0, generator) is LABELS
    assert torch.equal(generator.get_state(), before)


def test_what_training_tells_the_network_are_the_labels_of_its_points_but_for_a_share(monkeypatch):
    """A spy on `predict`, over many epochs: each point with its own label or none, and of these as many as are due."""
    told, seen = [], []
    trainer = Trainer(network(classes=CLASSES), DATA.train, replace(LABELLED, epochs=60, checkpoints=()), LABELS)
    predict, errors = DiffusionGenerator.predict, Trainer._errors

    def spy(self, x_t, t, label=None):
        told.append(label)
        return predict(self, x_t, t, label)

    def watch(self, batch, far):
        seen.append(batch)
        return errors(self, batch, far)

    monkeypatch.setattr(DiffusionGenerator, "predict", spy)
    monkeypatch.setattr(Trainer, "_errors", watch)
    list(trainer)
    told, own = torch.cat(told), LABELS[torch.cat(seen)]
    kept = told != NO_CLASS
    assert torch.equal(told[kept], own[kept])
    assert float((~kept).double().mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 6000))


@pytest.mark.parametrize("changes", [{}, {"tail": 0.2}, {"fixed_noises": 3}, {"coupling": "optimal transport"}])
def test_a_saved_and_loaded_training_with_labels_goes_on_with_the_same_bits(changes):
    recipe = replace(LABELLED, **changes)
    whole, first, second = (Trainer(network(classes=CLASSES), DATA.train, recipe, LABELS) for _ in range(3))
    list(whole)
    list(islice(first, 9))
    second.load_state_dict(first.state_dict())
    list(second)
    assert same(second.state_dict(), whole.state_dict())


def test_far_points_that_are_told_a_class_aim_at_the_best_denoiser_of_its_points():
    data = dataset("checkerboard", label="part", train=200)
    schedule, labels = SCHEDULE, data.train_labels
    t, label = torch.arange(400) % 50, torch.arange(400) % 9 - 1
    kept = schedule.alphas_cumprod[t].unsqueeze(1)
    x_t = points(400)
    found = Tail(data.train, labels).epsilon(x_t, kept.sqrt().float(), (1 - kept).sqrt().float(), label)
    for number in range(-1, 8):
        ours = label == number
        train = data.train if number == NO_CLASS else data.given(data.classes[number]).train
        exact = BestDenoiser(train, schedule).epsilon(x_t[ours], t[ours])
        assert float((found[ours] - exact).abs().amax(dim=1).median()) < 1e-4


def test_a_training_aims_its_far_points_at_the_best_denoiser_of_their_class(monkeypatch):
    """A fresh network answers √(1−ᾱ) x_t, so its errors tell what it was to answer."""
    recipe = replace(RECIPE, tail=0.5, label_dropout=0.0)
    trainer, entered = Trainer(network(classes=CLASSES), DATA.train, recipe, LABELS), []
    predict = trainer.network.predict
    monkeypatch.setattr(trainer.network, "predict", lambda *given: (entered.append(given), predict(*given))[1])
    errors = trainer._errors(torch.arange(100), 100).detach().sqrt()
    ((x_t, t, label),) = entered
    answer = (1 - SCHEDULE.alphas_cumprod[t]).sqrt().unsqueeze(1).float() * x_t
    for number in range(3):
        ours = number == LABELS
        assert (label[ours] == number).all()
        exact = BestDenoiser(DATA.train[ours], SCHEDULE).epsilon(x_t[ours], t[ours])
        assert float((errors[ours] - (answer[ours] - exact).abs()).abs().amax(dim=1).median()) < 1e-4


def test_a_coupled_training_makes_its_pairs_class_by_class(monkeypatch):
    recipe = replace(LABELLED, coupling="optimal transport")
    trainer, seen = Trainer(network(classes=CLASSES), DATA.train, recipe, LABELS), []

    def spy(how, points, noises, labels):
        seen.append((points, labels))
        return couple(how, points, noises, labels)

    monkeypatch.setattr(training, "couple", spy)
    batch = torch.randperm(100, generator=torch.Generator().manual_seed(4))[:30]
    trainer._errors(batch, 0)
    ((points, labels),) = seen
    assert torch.equal(points, DATA.train[batch])
    assert torch.equal(labels, LABELS[batch])  # all of them: those that the network isn't told have a class, too


@settings(max_examples=30)
@examples(n=st.integers(1, 60), classes=st.integers(1, 5), seed=st.integers(0, 99))
def test_coupled_pairs_of_labelled_points_are_the_best_of_each_class(n, classes, seed):
    x, noises = points(n, seed), points(n, seed + 100)
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    found = couple("optimal transport", x, noises, labels)
    for number in range(classes):
        ours = labels == number
        assert torch.equal(found[ours], couple("optimal transport", x[ours], noises[ours]))


def test_coupled_class_by_class_each_class_has_the_noise_that_sampling_starts_from():
    """Coupled as one batch, each class gets the noises on its own side: far from N(0, I), which has the mean 0."""
    labels = torch.arange(2000) % 2
    x = points(2000, 1) * 0.3 + torch.where(labels == 1, 2.0, -2.0).unsqueeze(1) * torch.tensor([1.0, 0.0])
    noises = points(2000, 2)
    apart, together = (couple("optimal transport", x, noises, told) for told in (labels, None))
    error = 1 / math.sqrt(1000)
    for number, side in ((0, -1), (1, 1)):
        assert apart[labels == number].mean(dim=0).abs().max() < 4 * error
        assert float(together[labels == number, 0].mean()) * side > 20 * error
        assert (apart[labels == number].std(dim=0) - 1).abs().max() < 4 * error


def test_a_network_learns_the_denoisers_of_its_classes_and_of_all_of_them():
    """Two Gaussians, known exactly. The excess over the floor of each class is a small part of what knowing the class
    is worth there, which is the excess of the best denoiser that isn't told it.
    """
    means, variance = torch.tensor([[-1.0, 0.5], [0.8, -0.4]]), 0.15
    labels = (torch.arange(4000) % 4 == 0).long()
    data = Dataset.of(means[labels] + math.sqrt(variance) * points(4000), "two", labels=labels, classes=("many", "few"))
    means, variance = (means - data.units.shift).float() / data.units.scale, variance / data.units.scale**2
    mixture = GaussianMixture(means, variance, torch.tensor([3.0, 1.0]))
    model = network(classes=data.classes, width=32, depth=2)
    recipe = Recipe(epochs=80, batch_size=200, warmup=20, ema_decay=0.99, checkpoints=(), decay=True)
    trainer = Trainer(model, data.train, recipe, data.train_labels)
    list(trainer)
    model, untold = trainer.averaged, BestDenoiser(mixture, SCHEDULE)
    for number, name in enumerate(data.classes):
        best = BestDenoiser(GaussianMixture(means[number : number + 1], variance), SCHEDULE)
        noised = noise(data.given(name).held_out, SCHEDULE, draws=20_000)
        learnt, worth = (
            float(squared(answers(denoiser, noised), answers(best, noised)).mean())
            for denoiser in (given(model, name), untold)
        )
        assert learnt < 0.25 * worth, name
        assert float(mean_loss(best, data.given(name).held_out)[0]) < mean_loss(untold, data.given(name).held_out)[0]
        # and what is measured of a class is measured of any denoiser
        found = log_likelihood(given(model, name), data.given(name).held_out[:200]).mean()
        assert float(found) == pytest.approx(
            float(best.mixture.log_prob(data.given(name).held_out[:200]).mean()), abs=0.3
        )
        generated = sample(given(model, name), 1000)
        assert (generated.mean(dim=0) - means[number]).norm() < 0.15
    noised = noise(data.held_out, SCHEDULE, draws=20_000)
    excess = float(squared(answers(model, noised), answers(untold, noised)).mean())
    assert excess < 0.25 * worth
