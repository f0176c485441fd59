"""The network answers in the right shape, the right way round, and refuses what it can't answer."""

import json
import math

import numpy as np
import pytest
import torch

from lab_utils.diffusion.network import TIME_FREQUENCIES, DiffusionGenerator, frequencies, waves
from lab_utils.diffusion.schedules import Schedule, cosine, linear, sigmoid

SCHEDULES = {
    "linear": linear(),
    "sigmoid": sigmoid(),
    "cosine, short": cosine(20),
    "custom": Schedule(torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)),
}


def points(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def awake(**arguments):
    """A model whose last layer is not 0, as if it had learnt something."""
    model = DiffusionGenerator(**arguments)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=generator)
    return model


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


# --- the check of the original report, word for word


def test_the_original_check():
    model = DiffusionGenerator(0.0001, 0.02, timesteps=1000)
    random_input = torch.randn(10, 2)
    random_cond = torch.randint(0, 1000, (1,))
    result = model(random_input, random_cond)
    assert result.shape == random_input.shape


def test_betas_make_a_linear_schedule_and_nothing_the_usual_one():
    assert torch.equal(DiffusionGenerator(0.001, 0.05, 30).schedule.betas, linear(0.001, 0.05, 30).betas)
    assert torch.equal(DiffusionGenerator().schedule.betas, linear(1e-4, 0.02, 1000).betas)


# --- what goes in and comes out


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1025])
def test_any_schedule_any_number_of_points_and_every_shape_of_t(schedule, n):
    model = DiffusionGenerator(schedule=schedule)
    assert model.schedule is schedule
    last = schedule.timesteps - 1
    for t in (torch.tensor(0), torch.tensor([last]), torch.arange(n) % schedule.timesteps):
        result = model(points(n), t)
        assert result.shape == (n, 2)
        assert result.dtype == torch.float32
        assert result.isfinite().all()


def test_a_call_epsilon_and_predict_are_one():
    model = awake(schedule=sigmoid())
    x, t = points(5), torch.tensor([3, 999, 0, 500, 3])
    assert torch.equal(model(x, t), model.epsilon(x, t))
    assert torch.equal(model(x, t), model.predict(x, t))


@pytest.mark.parametrize(
    ("x", "t", "reason"),
    [
        (torch.zeros(5, 3), torch.tensor(0), r"x_t must .* of shape \(5, 3\)"),
        (torch.zeros(2), torch.tensor(0), r"x_t must .* of shape \(2,\)"),
        (torch.zeros(5, 2, 1), torch.tensor(0), r"x_t must .* of shape \(5, 2, 1\)"),
        (torch.zeros(5, 2, dtype=torch.int64), torch.tensor(0), "x_t must .* torch.int64"),
        ([[0.0, 0.0]], torch.tensor(0), "x_t must .* list"),
        (torch.zeros(5, 2), 0, "t must .* not int"),
        (torch.zeros(5, 2), torch.tensor(0.0), "t must .* not torch.float32"),
        (torch.zeros(5, 2), torch.tensor([0, 1]), r"\(5,\).* has the shape \(2,\)"),
        (torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64), r"has the shape \(5, 1\)"),
        (torch.zeros(5, 2), torch.tensor(1000), "0 … 999; it runs from 1000"),
        (torch.zeros(5, 2), torch.tensor([0, 1, 2, 3, -1]), "0 … 999; it runs from -1"),
    ],
)
def test_anything_else_is_refused_and_the_message_says_what_came(x, t, reason):
    with pytest.raises(ValueError, match=reason):
        DiffusionGenerator()(x, t)


@pytest.mark.parametrize("own", [torch.float32, torch.float64])
@pytest.mark.parametrize("asked", [torch.float16, torch.float32, torch.float64])
def test_the_answer_is_as_precise_as_the_question_whatever_the_model_s_own_precision(own, asked):
    model = awake(schedule=sigmoid())
    x, t = points(3).to(asked), torch.tensor(500)
    expected = model(x.float(), t)
    answer = model.to(own)(x, t)
    assert answer.dtype == asked
    torch.testing.assert_close(answer.float(), expected, rtol=2e-2 if asked == torch.float16 else 1e-4, atol=1e-3)


def test_sizes_from_numpy_make_the_same_model():
    numbers = {"width": np.int64(8), "depth": np.int32(1), "input_frequencies": np.int64(2), "seed": np.int64(3)}
    model, plain = DiffusionGenerator(**numbers), DiffusionGenerator(**{k: int(v) for k, v in numbers.items()})
    assert json.dumps(model.config) == json.dumps(plain.config)
    assert torch.equal(model.enter.weight, plain.enter.weight)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"schedule": linear(), "beta_start": 1e-4}, "either a schedule or beta_start, not both"),
        ({"schedule": linear(), "beta_end": 0.02, "timesteps": 10}, "either a schedule or beta_end, timesteps"),
        ({"width": 0}, "width must be a whole number greater than 0, not 0"),
        ({"depth": -1}, "depth must be a whole number greater than 0, not -1"),
        ({"input_frequencies": 0}, "input_frequencies must be a whole number greater than 0"),
        ({"max_frequency": 0.0}, "max_frequency must be a number greater than 0"),
        ({"max_frequency": math.nan}, "max_frequency must be a number greater than 0, not nan"),
        ({"beta_start": -1.0}, "every beta must be greater than 0"),
        ({"timesteps": 0}, "timesteps must be a whole number of 1 or more"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_with_the_reason(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        DiffusionGenerator(**arguments)


# --- what it computes


def test_a_fresh_model_gives_back_its_input_times_the_noises_scale(schedule):
    """√(1−ᾱ) x is the best guess of someone who knows only the data's scale; to the bit, as its last layer is 0."""
    x = points(64)
    t = torch.arange(64) % schedule.timesteps
    scale = (1 - schedule.alphas_cumprod).sqrt().float()[t].unsqueeze(1)
    assert torch.equal(DiffusionGenerator(schedule=schedule)(x, t), scale * x)


def test_what_it_has_learnt_enters_with_the_signals_scale(schedule):
    """With all weights 0 but a bias of (1, −2) in the last layer, the answer is √(1−ᾱ) x + √ᾱ (1, −2)."""
    model = DiffusionGenerator(schedule=schedule)
    bias = torch.tensor([1.0, -2.0])
    with torch.no_grad():
        model.leave.bias.copy_(bias)
        x = points(50)
        t = torch.arange(50) % schedule.timesteps
        curve = schedule.alphas_cumprod[t].unsqueeze(1)
        exact = (1 - curve).sqrt() * x + curve.sqrt() * bias
        torch.testing.assert_close(model(x, t), exact.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fading", [False, True])
@torch.no_grad()
def test_the_whole_network_against_a_second_writing_of_it(fading):
    """Layer by layer in NumPy and float64, from the weights by name."""
    model = awake(
        schedule=sigmoid(timesteps=50), width=7, depth=2, input_frequencies=3, max_frequency=8.0, fading=fading
    )
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def silu(x):
        return x / (1 + np.exp(-x))

    def layer(name, x):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    x, t = points(20), torch.arange(20) * 2 + 3
    curve = model.schedule.alphas_cumprod.numpy()[t][:, None]
    angles = np.log(curve / (1 - curve)) / 2 * np.geomspace(0.1, 4, TIME_FREQUENCIES)
    time = layer("embed_time", np.concatenate([np.sin(angles), np.cos(angles)], axis=1))
    time = layer("time_to_layers", silu(time)).reshape(20, 3, 7)
    exact = x.double().numpy()
    omega = np.geomspace(0.5, 8, 3)
    angles = (exact[:, :, None] * omega).reshape(20, -1)
    faded = np.exp(-(omega**2) * (1 - curve) / 2) if fading else np.ones((20, 3))
    seen = np.concatenate([np.sin(angles), np.cos(angles)], axis=1) * np.tile(faded, 4)
    h = silu(layer("enter", np.concatenate([exact, seen], axis=1)) + time[:, 0])
    for number in range(2):
        h = h + silu(layer(f"layers.{number}", h) + time[:, number + 1])
    exact = np.sqrt(1 - curve) * exact + np.sqrt(curve) * layer("leave", h)
    np.testing.assert_allclose(model(x, t), exact, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_one_t_per_point_is_as_one_call_for_each(schedule):
    model = awake(schedule=schedule)
    x = points(40)
    t = torch.randint(0, schedule.timesteps, (40,), generator=torch.Generator().manual_seed(2))
    single = torch.cat([model(x[i : i + 1], t[i]) for i in range(40)])
    torch.testing.assert_close(model(x, t), single, rtol=1e-4, atol=1e-5)
    whole = torch.full((40,), int(t[0]))
    torch.testing.assert_close(model(x, t[0]), model(x, whole), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_points_answer_does_not_depend_on_the_other_points():
    model = awake(schedule=linear())
    x, t = points(30), torch.arange(30) * 33
    alone = model(x, t)
    others = x.clone()
    others[1:] = 100 * points(29, seed=5)
    times = 990 - t
    times[0] = t[0]
    torch.testing.assert_close(model(others, times)[0], alone[0])
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model(x[order], t[order]), alone[order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_both_axes_and_the_time_matter():
    model = awake(schedule=linear())
    x, t = points(30), torch.tensor(500)
    answer = model(x, t)
    for axis in torch.eye(2):
        assert (model(x + 0.1 * axis, t) - answer).abs().amax(1).min() > 1e-3
    assert (model(x, t + 100) - answer).abs().amax(1).min() > 1e-3


def test_every_weight_gets_a_gradient():
    model = awake(schedule=linear())
    model(points(100), torch.arange(100) * 10).square().mean().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert (weight.grad != 0).any(), name


@pytest.mark.parametrize(("lowest", "highest", "count"), [(0.5, 32.0, 16), (0.1, 4.0, 5), (2.0, 2.0, 3), (0.5, 9.0, 1)])
def test_frequencies_are_a_geometric_series(lowest, highest, count):
    np.testing.assert_allclose(frequencies(lowest, highest, count), np.geomspace(lowest, highest, count), rtol=1e-6)


def test_waves_are_sines_and_cosines_of_every_coordinate():
    x, omega = points(4).double(), torch.tensor([1.0, 2.5, 7.0], dtype=torch.float64)
    rows = [
        [f(float(c) * w) for f in (math.sin, math.cos) for c in point for w in omega.tolist()] for point in x.tolist()
    ]
    np.testing.assert_allclose(waves(x, omega), rows, rtol=1e-12, atol=1e-12)
    assert waves(torch.zeros(0, 2), omega).shape == (0, 12)


def test_a_wave_fades_to_its_mean_over_the_noise():
    """Gauss–Hermite quadrature of E sin(ω(x + σz)) and E cos(ω(x + σz)) against the faded waves."""
    model = DiffusionGenerator(schedule=sigmoid(timesteps=20), input_frequencies=4, max_frequency=12.0, fading=True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x = points(1)
    for t in (0, 4, 12):
        noisy = x.double() + float((1 - model.schedule.alphas_cumprod[t]).sqrt()) * torch.from_numpy(nodes).unsqueeze(1)
        mean = torch.from_numpy(weights / weights.sum()) @ waves(noisy, model.omega.double())
        assert model.fading[t, :2].tolist() == [1, 1], "the point itself does not fade"
        faded = waves(x, model.omega)[0] * model.fading[t, 2:]
        torch.testing.assert_close(faded, mean.float(), rtol=1e-4, atol=1e-5)


# --- seeds, sizes, configurations


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_weights_and_another_others():
    torch.manual_seed(1)
    first = DiffusionGenerator(seed=7)
    torch.manual_seed(2)
    assert same_weights(first, DiffusionGenerator(seed=7))
    assert same_weights(first, DiffusionGenerator(schedule=sigmoid(), seed=7))  # whatever the schedule
    assert not same_weights(first, DiffusionGenerator(seed=8))


def test_building_a_model_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    DiffusionGenerator(seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_sizes_are_the_arguments():
    model = DiffusionGenerator(width=10, depth=4, input_frequencies=5)
    assert model.enter.weight.shape == (10, 2 + 4 * 5)
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(10, 10)] * 4


def test_a_configuration_makes_the_same_fresh_model_again_even_through_json(schedule):
    model = DiffusionGenerator(
        schedule=schedule, width=9, depth=2, input_frequencies=4, max_frequency=5.0, fading=True, seed=6
    )
    again = DiffusionGenerator.from_config(json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert same_weights(again, model)
    assert torch.equal(again.schedule.betas, schedule.betas)
    for name, table in model.named_buffers():
        assert torch.equal(again.get_buffer(name), table)


def test_only_weights_are_saved_and_not_the_schedules_tables():
    model = DiffusionGenerator()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
