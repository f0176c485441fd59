"""Training is the loop of the paper, its choices do what their names say, and it lowers the loss to where it can go."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
import torch
from small_runs import DATA, RECIPE, SCHEDULE, gaussian, network, same
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.diffusion.weights import TIMESTEPS, timestep_probabilities

# --- the loop


def test_the_loss_is_the_mean_squared_error_of_the_predicted_noise():
    """Drawn beside it with the same generator: first the timesteps, then the noise; noised by the schedule itself."""
    trainer = Trainer(network(), DATA.train, RECIPE)
    with torch.no_grad():
        trainer.network.leave.bias.fill_(0.7)
    batch = torch.arange(60)
    x_0 = DATA.train[batch]
    generator = torch.Generator().manual_seed(RECIPE.seed)
    t = torch.randint(0, 50, (60,), generator=generator)
    epsilon = torch.randn(60, 2, generator=generator)
    noised = SCHEDULE.q_sample(x_0.double(), t, epsilon.double())
    a = SCHEDULE.alphas_cumprod[t].unsqueeze(1)
    predicted = (1 - a).sqrt() * noised + a.sqrt() * 0.7
    expected = (predicted - epsilon).square().mean()
    assert float(trainer._errors(batch, 0).detach().mean()) == pytest.approx(float(expected), rel=1e-5)


def test_an_epoch_takes_every_point_once_and_gives_the_mean_over_points(monkeypatch):
    batches = []
    errors = Trainer._errors

    def spy(self, batch, far):
        found = errors(self, batch, far)
        batches.append((batch, found.mean()))
        return found

    monkeypatch.setattr(Trainer, "_errors", spy)
    trainer = Trainer(network(), DATA.train, RECIPE)
    first, second = islice(trainer, 2)
    assert [len(batch) for batch, _ in batches] == [30, 30, 30, 10] * 2
    epochs = [torch.cat([batch for batch, _ in part]) for part in (batches[:4], batches[4:])]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(100))
    assert not torch.equal(*epochs)
    for value, part in ((first, batches[:4]), (second, batches[4:])):
        assert value == pytest.approx(sum(len(batch) * float(loss.detach()) for batch, loss in part) / 100, rel=1e-6)
    assert trainer.losses == [first, second]
    assert trainer.epoch == 2


def test_the_learning_rate_rises_over_the_warmup_and_stays(monkeypatch):
    trainer = Trainer(network(), DATA.train, RECIPE)
    rates = []
    step = trainer.optimiser.step
    monkeypatch.setattr(
        trainer.optimiser, "step", lambda: (rates.append(trainer.optimiser.param_groups[0]["lr"]), step())
    )
    list(islice(trainer, 3))
    assert rates == pytest.approx([4e-3 * min(1, k / 6) for k in range(1, 13)])


@pytest.mark.parametrize("decay", [0.9995, 0.3, 0.0])
def test_the_averaged_weights_are_a_moving_average_written_by_hand(monkeypatch, decay):
    """It begins with the weights after step 1; then w̄ ← d w̄ + (1 − d) w, where d = min(decay, (1+k)/(10+k))."""
    trainer = Trainer(network(), DATA.train, replace(RECIPE, ema_decay=decay))
    seen = []
    step = trainer.optimiser.step

    def spy():
        step()
        seen.append({name: weight.detach().double().clone() for name, weight in trainer.network.named_parameters()})

    monkeypatch.setattr(trainer.optimiser, "step", spy)
    list(islice(trainer, 4))
    assert len(seen) == 16
    average = seen[0]
    for k, weights in enumerate(seen[1:], start=1):
        d = min(decay, (1 + k) / (10 + k))
        average = {name: d * average[name] + (1 - d) * weights[name] for name in weights}
    for name, weight in trainer.averaged.named_parameters():
        torch.testing.assert_close(weight.double(), average[name], rtol=1e-5, atol=1e-7)
    changed = [
        not torch.equal(weight, trainer.network.get_parameter(n)) for n, weight in trainer.averaged.named_parameters()
    ]
    assert any(changed) == (decay > 0)


def test_all_weights_in_one_vector_train_to_the_bits_of_torchs_own_way():
    """Adam over the single tensors, and torch's AveragedModel: one vector is faster, and changes nothing."""
    recipe = replace(RECIPE, warmup=0)
    trainer, beside = (Trainer(network(), DATA.train, recipe) for _ in range(2))
    beside.network = network()  # whose tensors are its own
    adam = torch.optim.Adam(beside.network.parameters(), lr=recipe.learning_rate, fused=True)
    average = AveragedModel(
        beside.network,
        multi_avg_fn=lambda old, new, k: get_ema_multi_avg_fn(min(0.9995, (1 + int(k)) / (10 + int(k))))(old, new, k),
    )
    for _ in islice(trainer, 4):
        for batch in torch.randperm(100, generator=beside.generator).split(30):
            adam.zero_grad()
            beside._errors(batch, 0).mean().backward()
            adam.step()
            average.update_parameters(beside.network)
    assert same(dict(trainer.network.state_dict()), dict(beside.network.state_dict()))
    assert same(dict(trainer.averaged.state_dict()), dict(average.module.state_dict()))


def test_iterating_again_goes_on_and_ends_at_the_recipes_number():
    whole, parts = (Trainer(network(), DATA.train, RECIPE) for _ in range(2))
    list(whole)
    assert list(islice(parts, 7)) == whole.losses[:7]
    for _ in parts:
        if parts.epoch == 12:
            break
    assert parts.losses == whole.losses[:12]
    list(parts)
    assert parts.epoch == 23
    assert same(parts.state_dict(), whole.state_dict())
    assert list(parts) == []


def test_a_saved_and_loaded_trainer_goes_on_with_the_same_bits():
    whole, first, second = (Trainer(network(), DATA.train, RECIPE) for _ in range(3))
    list(whole)
    list(islice(first, 9))
    second.load_state_dict(first.state_dict())
    assert second.epoch == 9
    list(second)
    assert same(second.state_dict(), whole.state_dict())


def test_training_does_not_touch_the_global_random_state_and_another_seed_gives_another_training():
    before = torch.random.get_rng_state()
    one, two, other = (
        list(islice(Trainer(network(), DATA.train, replace(RECIPE, seed=seed)), 2)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one == two != other


@pytest.mark.parametrize("points", [torch.zeros(0, 2), torch.zeros(4, 2, dtype=torch.float64)], ids=["none", "float64"])
def test_training_points_that_are_none_or_float64_are_refused(points):
    with pytest.raises(ValueError, match="must be float32, and at least one"):
        Trainer(network(), points)


def test_training_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"training points must .* shape \(10, 3\)"):
        Trainer(network(), torch.zeros(10, 3))


@pytest.mark.parametrize("schedule", [linear(1e-3, 0.2, 100), sigmoid(timesteps=100)], ids=["linear", "sigmoid"])
def test_on_a_gaussian_the_loss_sinks_from_one_exact_value_to_another(schedule):
    """A fresh model's loss is mean ᾱ, for data of unit variance. The least is the mean of ᾱλ/(ᾱλ+1−ᾱ) over t and the
    two variances λ along the axes of the ellipse: the variance of ε that is left when x_t is known. What a model has
    above that is its mean squared distance from the exact ε, which is measured on held-out points without ε's noise.
    """
    data = gaussian(4000)
    both = torch.cat([data.train, data.held_out]).double()
    cov = torch.cov(both.T)
    variances, axes = torch.linalg.eigh(cov)
    a = schedule.alphas_cumprod.unsqueeze(1)
    fresh, floor = float(a.mean()), float((a * variances / (a * variances + 1 - a)).mean())

    t = torch.arange(40_000) % 100
    x_t = schedule.q_sample(
        data.held_out.repeat(10, 1), t, torch.randn(40_000, 2, generator=torch.Generator().manual_seed(9))
    )
    exact = (1 - a[t]).sqrt() * ((x_t.double() @ axes) / (a[t] * variances + 1 - a[t])) @ axes.T

    @torch.no_grad()
    def excess(model):
        return float((model(x_t, t) - exact).square().mean())

    model = network(schedule, width=32, depth=2)
    assert excess(model) == pytest.approx(fresh - floor, rel=0.1)  # half of the points has a slightly other covariance
    trainer = Trainer(model, data.train, Recipe(epochs=60, checkpoints=(), warmup=20))
    last = torch.tensor(list(trainer)[-20:])
    assert excess(trainer.averaged) < 0.1 * (fresh - floor)
    assert abs(float(last.mean()) - floor) < 5 * float(last.std()) / math.sqrt(20) + 0.1 * (fresh - floor)


MILLION = """
import resource
import torch
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.training import Recipe, Trainer

def peak(n):
    recipe = Recipe(epochs=1, batch_size=10_000, checkpoints=())
    list(Trainer(DiffusionGenerator(width=8, depth=1), torch.randn(n, 2), recipe))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

few = peak(20_000)
print(peak(1_000_000) - few)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_million_points_take_their_own_memory_and_that_of_their_order():
    """8 MB are the points, and 8 each their shuffled numbers and a copy of those; nothing more grows with them."""
    said = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True, check=True).stdout
    assert float(said) < 40


# --- recipes


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"epochs": 0}, "epochs must be a whole number of 1 or more, not 0"),
        ({"batch_size": -5}, "batch_size must be a whole number of 1 or more, not -5"),
        ({"learning_rate": 0.0}, "learning_rate must be a number greater than 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number greater than 0, not nan"),
        ({"noises": 0}, "noises must be a whole number of 1 or more, not 0"),
        ({"fixed_noises": -2}, "fixed_noises must be a whole number of 0 or more, not -2"),
        ({"timesteps": "cosine"}, "timesteps must be one of uniform, log-SNR, detail, .*-normal; got 'cosine'"),
        ({"weights": "snr"}, "weights must be one of uniform, .* got 'snr'"),
        ({"warmup": -1}, r"warmup must be a whole number of 0 or more, not -1"),
        ({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\); got 1.0"),
        ({"ema_decay": -0.1}, r"ema_decay must lie in \[0, 1\)"),
        ({"epochs": 100, "checkpoints": (200, 50)}, r"checkpoints must lie in 1 … 100 epochs; got \[200\]"),
        ({"checkpoints": "200"}, "checkpoints must be several epochs"),
        ({"checkpoints": 200}, "checkpoints must be several epochs"),
        ({"checkpoints": (0, 5)}, r"checkpoints must lie in 1 … 2000 epochs; got \[0\]"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_with_the_name_of_the_number(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Recipe(**arguments)


@pytest.mark.parametrize(
    ("epochs", "kept"), [(1, (1,)), (200, (200,)), (201, (200, 201)), (500, (200, 500)), (2000, (200, 500, 1000, 2000))]
)
def test_any_number_of_epochs_has_checkpoints_that_fit(epochs, kept):
    assert Recipe(epochs=epochs).checkpoints == kept


def test_numbers_of_numpy_make_the_same_recipe():
    recipe = Recipe(
        epochs=np.int64(30), learning_rate=np.float32(0.5), checkpoints=np.array([10, 30]), seed=np.int32(2)
    )
    plain = Recipe(epochs=30, learning_rate=0.5, checkpoints=(10, 30), seed=2)
    assert recipe == plain
    assert json.dumps(asdict(recipe)) == json.dumps(asdict(plain))


@pytest.mark.parametrize("how", ["log-SNR", "detail"])
@pytest.mark.parametrize("schedule", [linear(0.2, 0.5, 10), linear(0.3, 0.3, 1), sigmoid(), linear()])
def test_timesteps_have_chances_or_there_is_an_error_and_never_nan(schedule, how):
    if schedule.timesteps < 20 and (how == "detail" or schedule.timesteps == 1):
        with pytest.raises(ValueError, match="can't be drawn"):
            timestep_probabilities(schedule, how)
        return
    chances = timestep_probabilities(schedule, how)
    assert float(chances.sum()) == pytest.approx(1)
    assert chances.min() >= 0


def test_the_usual_recipe_is_the_original_reports():
    recipe = Recipe()
    assert recipe.epochs == 2000
    assert recipe.checkpoints == (200, 500, 1000, 2000)
    assert Trainer(network(), DATA.train).recipe == recipe


# --- how timesteps are drawn and weighed, and how often points are noised


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
@pytest.mark.parametrize("how", TIMESTEPS)
def test_the_chances_of_timesteps_are_chances(schedule, how):
    chances = timestep_probabilities(schedule, how)
    assert chances.shape == (1000,)
    assert (chances >= 0).all()
    assert float(chances.sum()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
def test_in_log_snr_all_levels_of_noise_are_equally_likely(schedule):
    """The share of draws below a level is the share of the range below it, whatever the schedule."""
    log_snr, chances = schedule.snr.log(), timestep_probabilities(schedule, "log-SNR")
    top, bottom = float(log_snr[0]), float(log_snr[-1])
    for level in (-3.0, 0.0, 2.0, 5.0):
        share = float(chances[log_snr < level].sum())
        assert share == pytest.approx((level - bottom) / (top - bottom), abs=0.005)


@pytest.mark.parametrize("schedule", [sigmoid(), linear()], ids=["sigmoid", "linear"])
def test_of_four_timesteps_three_are_drawn_for_detail_and_one_anywhere(schedule):
    log_snr, chances = schedule.snr.log(), timestep_probabilities(schedule, "detail")
    below = float((log_snr < 1.9).double().mean())
    assert float(chances[log_snr < 1.9].sum()) == pytest.approx(0.25 * below, abs=1e-12)
    for level in (3.0, 5.0):
        anywhere = float((log_snr > level).double().mean())
        among_detail = (float(log_snr[0]) - level) / (float(log_snr[0]) - 2.0)
        assert float(chances[log_snr > level].sum()) == pytest.approx(0.25 * anywhere + 0.75 * among_detail, abs=0.005)


@pytest.mark.parametrize("how", TIMESTEPS)
def test_timesteps_are_drawn_as_often_as_their_chances_say(how):
    trainer = Trainer(network(), DATA.train, replace(RECIPE, timesteps=how))
    t, epsilon = trainer._draw(200_000)
    expected = timestep_probabilities(SCHEDULE, how)
    counted = torch.bincount(t, minlength=50) / len(t)
    assert float((counted - expected).abs().max()) < 5 * math.sqrt(float(expected.max()) / len(t))
    assert epsilon.shape == (200_000, 2)


@pytest.mark.parametrize("how", list(TIMESTEPS)[1:])
def test_weights_are_worth_the_same_as_drawing_that_way(how):
    """The mean over many batches of the weighted loss is that of the loss with timesteps drawn so.

    A fresh network of the velocity has the loss 2 (1−s)², which isn't as large on one side as it is small on the other.
    """
    batch = torch.arange(100).repeat(1000)
    drawn = Trainer(network(target="velocity"), DATA.train, replace(RECIPE, timesteps=how))
    weighed = Trainer(network(target="velocity"), DATA.train, replace(RECIPE, weights=how))
    plain = Trainer(network(target="velocity"), DATA.train, RECIPE)
    a, b, c = (float(trainer._errors(batch, 0).detach().mean()) for trainer in (drawn, weighed, plain))
    assert a == pytest.approx(b, rel=0.03)
    assert abs(a - c) > 5 * abs(a - b)  # so it is not that all of them are the same


def test_more_noises_are_more_steps_with_fresh_noise(monkeypatch):
    batches = []
    errors = Trainer._errors
    monkeypatch.setattr(
        Trainer, "_errors", lambda self, batch, far: (batches.append(batch), errors(self, batch, far))[1]
    )
    trainer = Trainer(network(), DATA.train, replace(RECIPE, noises=4))
    next(iter(trainer))
    points = torch.cat(batches)
    assert [len(batch) for batch in batches] == [30] * 13 + [10]
    assert torch.bincount(points).tolist() == [4] * 100
    assert sorted(points[:100].tolist()) == list(range(100))  # each point once, before any comes again


@pytest.mark.parametrize("count", [1, 3])
def test_fixed_noises_are_the_same_in_every_epoch(count, monkeypatch):
    """With constant weights, a point's prediction and noise can only be one of `count`, epoch after epoch."""
    trainer = Trainer(network(), DATA.train, replace(RECIPE, fixed_noises=count))
    seen = [set() for _ in range(100)]
    predict = trainer.network.predict

    def spy(x_t, t):
        for point, row in zip(batch.tolist(), torch.cat([x_t, t.unsqueeze(1)], dim=1).tolist(), strict=True):
            seen[point].add(tuple(row))
        return predict(x_t, t)

    monkeypatch.setattr(trainer.network, "predict", spy)
    for _ in range(40):
        batch = torch.arange(100)
        trainer._errors(batch, 0)
    assert [len(rows) for rows in seen] == [count] * 100
    assert len({row for rows in seen for row in rows}) == 100 * count


def test_fixed_noises_are_the_same_after_an_interruption():
    recipe = replace(RECIPE, fixed_noises=2)
    whole, before, after = (Trainer(network(), DATA.train, recipe) for _ in range(3))
    list(whole)
    list(islice(before, 7))
    after.load_state_dict(before.state_dict())
    list(after)
    assert same(after.state_dict(), whole.state_dict())


def test_a_decaying_learning_rate_falls_along_half_a_cosine(monkeypatch):
    trainer = Trainer(network(), DATA.train, replace(RECIPE, decay=True, warmup=0))
    rates = []
    step = trainer.optimiser.step
    monkeypatch.setattr(
        trainer.optimiser, "step", lambda: (rates.append(trainer.optimiser.param_groups[0]["lr"]), step())
    )
    list(trainer)
    assert rates == pytest.approx([4e-3 * (1 + math.cos(math.pi * k / 92)) / 2 for k in range(92)])
