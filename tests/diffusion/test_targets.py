"""Whatever a network predicts, everybody hears the same of it: one conversion, right to both ends of a schedule."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import DATA, RECIPE, gaussian, network, same

from lab_utils.diffusion import (
    DiffusionGenerator,
    Recipe,
    Trainer,
    ancestral,
    ddim,
    denoiser,
    dpm_solver,
    euler,
    flow,
    heun,
    linear,
    midpoint,
    reverse_step,
    sample,
    sde_dpm_solver,
    sigmoid,
)
from lab_utils.diffusion.along import Along
from lab_utils.diffusion.targets import LEARNT, TARGETS, from_epsilon, skip_and_scale, to_epsilon
from lab_utils.diffusion.weights import loss_weights
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.measure import log_likelihood, mean_loss
from lab_utils.runs.fit import run_config

SCHEDULES = {"linear": linear(), "sigmoid": sigmoid(), "flow": flow(), "short": flow(7)}
MIXTURE = GaussianMixture(torch.tensor([[0.9, 0.4], [-0.6, -0.8], [0.1, 1.0]]), 0.2)


@pytest.fixture(params=list(SCHEDULES))
def schedule(request):
    return SCHEDULES[request.param]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Told:
    """The best denoiser, but what it says goes through an answer of another kind and back, in double precision."""

    def __init__(self, schedule, predicts):
        self.schedule, self.predicts, self.best = schedule, predicts, BestDenoiser(MIXTURE, schedule)

    def answer(self, x_t, t):
        kept = self.schedule.alphas_cumprod[t].reshape(-1)
        return from_epsilon(self.predicts, self.best.epsilon(x_t.double(), t), x_t, kept)

    def epsilon(self, x_t, t):
        return to_epsilon(self.predicts, self.answer(x_t, t), x_t, self.schedule.alphas_cumprod[t].reshape(-1)).to(x_t)


# --- the conversions


@given(
    predicts=st.sampled_from([*TARGETS]),
    kept=st.floats(1e-9, 1 - 1e-9),
    numbers=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
)
def test_back_and_forth_is_where_it_was(predicts, kept, numbers):
    """Up to the rounding of float64, over α or σ where the conversion divides by it."""
    epsilon, x_t = torch.tensor(numbers, dtype=torch.float64).reshape(2, 1, 2)
    alphas_cumprod = torch.tensor([kept], dtype=torch.float64)
    answer = from_epsilon(predicts, epsilon, x_t, alphas_cumprod)
    back = to_epsilon(predicts, answer, x_t, alphas_cumprod)
    torch.testing.assert_close(back, epsilon, rtol=1e-9, atol=1e-9)


def test_at_both_ends_of_every_schedule_the_conversions_are_finite_and_exact(schedule):
    """From the definitions, of known data and noise; what float64 rounds is divided by α or σ at worst."""
    x, epsilon = normal(2, 6, 2)
    for t in (0, schedule.timesteps - 1):
        kept = schedule.alphas_cumprod[[t]]
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        x_t = signal * x + noise * epsilon
        told = {"epsilon": epsilon, "x": x, "v": signal * epsilon - noise * x, "velocity": epsilon - x}
        told["score"] = -epsilon / noise
        for predicts, answer in told.items():
            rounding = 1e-14 / float(min(signal, noise))
            found = from_epsilon(predicts, epsilon, x_t, kept)
            torch.testing.assert_close(found, answer, rtol=0, atol=rounding * max(1, float(answer.abs().max())))
            torch.testing.assert_close(to_epsilon(predicts, answer, x_t, kept), epsilon, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("call", "kept", "refused"),
    [(to_epsilon, 1.0, {"x"}), (from_epsilon, 1.0, {"x", "score"}), (to_epsilon, 0.0, set())],
)
def test_where_one_does_not_follow_from_the_other_there_is_an_error_and_never_nan(call, kept, refused):
    for predicts in TARGETS:
        if predicts in refused:
            with pytest.raises(ValueError, match=f"'{predicts}'"):
                call(predicts, torch.ones(3, 2), torch.ones(3, 2), torch.tensor([kept], dtype=torch.float64))
        else:
            assert call(predicts, torch.ones(3, 2), torch.ones(3, 2), torch.tensor([kept]).double()).isfinite().all()


def test_of_nothing_but_noise_no_data_follow():
    for predicts in ("x", "v", "velocity"):
        with pytest.raises(ValueError, match=f"'{predicts}' does not follow from the noise where only noise is left"):
            from_epsilon(predicts, torch.ones(3, 2), torch.ones(3, 2), torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("predicts", LEARNT)
def test_an_error_of_the_noise_is_the_scale_times_that_of_the_answer(predicts):
    """So floors convert: with M the mean squared error of the best guess of x they are M, (α/σ)² M, M/σ², …"""
    schedule = sigmoid(timesteps=50)
    x, epsilon, wrong = normal(3, 50, 2)
    kept = schedule.alphas_cumprod
    signal, noise = kept.sqrt().unsqueeze(1), (1 - kept).sqrt().unsqueeze(1)
    x_t = signal * x + noise * epsilon
    guess = {  # of someone who takes the data for `wrong`
        "epsilon": (x_t - signal * wrong) / noise,
        "x": wrong,
        "v": (signal * x_t - wrong) / noise,
        "velocity": (x_t - (signal + noise) * wrong) / noise,
    }[predicts]
    right = from_epsilon(predicts, epsilon, x_t, kept)
    of_x = {"epsilon": signal / noise, "x": 1, "v": 1 / noise, "velocity": (signal + noise) / noise}[predicts]
    torch.testing.assert_close((guess - right).abs(), of_x * (wrong - x).abs(), rtol=1e-6, atol=1e-9)
    _, scale = skip_and_scale(predicts, kept)
    of_epsilon = (to_epsilon(predicts, guess, x_t, kept) - epsilon).abs()
    torch.testing.assert_close(of_epsilon, scale.abs().unsqueeze(1) * (guess - right).abs(), rtol=1e-6, atol=1e-9)


# --- the same for everybody


WAYS = {
    "ancestral": ancestral,
    "ddim": lambda s: ddim(s, min(30, s.timesteps)),
    "dpm_solver": lambda s: dpm_solver(s, min(20, s.timesteps)),
    "sde_dpm_solver": lambda s: sde_dpm_solver(s, min(20, s.timesteps)),
    "euler": lambda s: euler(s, min(20, s.timesteps)),
    "heun": lambda s: heun(s, min(20, s.timesteps)),
    "midpoint": lambda s: midpoint(s, min(20, s.timesteps)),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_exact_denoiser_takes_the_same_path_whatever_it_is_told_to_predict(way, schedule):
    """In float64, from the last timestep to the data, to 1e-6 at every step."""
    sampler = WAYS[way](schedule)
    told = [Told(schedule, predicts) for predicts in TARGETS]
    best = BestDenoiser(MIXTURE, schedule)
    first = normal(6, 2)
    paths, before = dict.fromkeys((best, *told), first), {}
    for k, t in enumerate(sampler.timesteps):
        noise, (p, q) = normal(6, 2, seed=k + 1), sampler.estimates[k].tolist()
        for each, x in paths.items():
            epsilon = each.epsilon(x, torch.tensor([t]))
            paths[each] = reverse_step(sampler.coefficients[k].tolist(), x, epsilon, noise, before.get(each, 0 * x))
            before[each] = p * x - q * epsilon
        for each in told:
            torch.testing.assert_close(paths[each], paths[best], rtol=1e-6, atol=1e-6, msg=f"{each.predicts} at {t}")


@pytest.mark.parametrize("predicts", LEARNT)
def test_a_wrapped_module_samples_and_is_likely_as_the_best_denoiser_is(predicts):
    """Through `denoiser`, which is told what the module predicts; the likelihood needs its derivatives, too."""
    schedule = flow(100)
    told = Told(schedule, predicts)
    wrapped, best = denoiser(told.answer, schedule, predicts=predicts), told.best
    sampler = ancestral(schedule)
    torch.testing.assert_close(
        sample(wrapped, 64, sampler=sampler), sample(best, 64, sampler=sampler), rtol=0, atol=2e-5
    )
    points = MIXTURE.sample(20)
    found = log_likelihood(denoiser(told.answer, schedule, predicts), points)
    torch.testing.assert_close(found, log_likelihood(best, points), rtol=0, atol=1e-2)  # the wrapped one hears float32
    assert mean_loss(wrapped, points.float(), draws=500)[0] == pytest.approx(
        mean_loss(best, points.float(), draws=500)[0], rel=1e-5
    )


def awake(**arguments):
    """A network whose last layer is not 0, as if it had learnt something."""
    model = DiffusionGenerator(width=16, input_frequencies=4, **arguments)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.parametrize("target", LEARNT)
@torch.no_grad()
def test_the_network_says_the_noise_that_its_layers_answer_stands_for(target, schedule):
    """With all but a bias at 0 the layers answer (1, −2); float32 rounds to 1e-6 of what is added."""
    model = DiffusionGenerator(schedule=schedule, target=target)
    model.leave.bias.copy_(torch.tensor([1.0, -2.0]))
    t = torch.tensor([0, 1, schedule.timesteps // 2, schedule.timesteps - 2, schedule.timesteps - 1])
    x_t = normal(5, 2).float()
    exact = to_epsilon(target, torch.tensor([[1.0, -2.0]]).expand(5, 2), x_t, schedule.alphas_cumprod[t])
    skip, scale = skip_and_scale(target, schedule.alphas_cumprod[t])
    rounding = (1e-6 * (skip.abs() + scale.abs()) + 1e-6).unsqueeze(1) * 3
    assert ((model.epsilon(x_t, t).double() - exact).abs() <= rounding).all()


@pytest.mark.parametrize("target", LEARNT)
@torch.inference_mode()
def test_the_fast_way_says_the_same_for_every_target(target, schedule):
    model = awake(schedule=schedule, target=target)
    timesteps = [schedule.timesteps - 1, schedule.timesteps // 2, 0]
    fast, x_t = Along(model, timesteps).block(30), normal(30, 2).float()
    for k, t in enumerate(timesteps):
        size = float(sum(map(abs, skip_and_scale(target, schedule.alphas_cumprod[[t]]))))
        torch.testing.assert_close(fast(x_t, k), model.epsilon(x_t, torch.tensor(t)), rtol=1e-4, atol=1e-5 * (1 + size))


@pytest.mark.parametrize("target", LEARNT)
def test_the_answers_of_a_network_convert_into_its_layers_own(target):
    """What `from_epsilon` makes of its noise is what its layers said, for any points and timesteps."""
    schedule = sigmoid(timesteps=50)
    model = awake(schedule=schedule, target=target).double()
    said = []
    model.leave.register_forward_hook(lambda layer, given, answer: said.append(answer))
    x_t, t = normal(50, 2), torch.arange(50)
    found = from_epsilon(target, model.epsilon(x_t, t), x_t, schedule.alphas_cumprod)
    torch.testing.assert_close(found, said[0], rtol=0, atol=2e-3)  # its tables are float32, over α = 3e-4 at the end
    torch.testing.assert_close(found[:40], said[0][:40], rtol=0, atol=2e-5)


# --- the network of before


class Before(DiffusionGenerator):
    """The network as it was written before it had targets: the two scales of v, and nothing besides."""

    def predict(self, x_t, t):
        kept = self.schedule.alphas_cumprod.unsqueeze(1)
        noise_scale, signal_scale = (1 - kept).sqrt().float(), kept.sqrt().float()
        seen, learnt = [], self.leave.register_forward_hook(lambda layer, given, answer: seen.append(answer))
        super().predict(x_t, t)
        learnt.remove()
        return noise_scale[t] * x_t + signal_scale[t] * seen[0]


@pytest.mark.parametrize("how", [{}, {"timesteps": "detail", "weights": "log-SNR", "tail": 0.2}, {"fixed_noises": 2}])
def test_the_default_network_trains_and_answers_to_the_bits_of_before(how):
    recipe, schedule = replace(RECIPE, **how), sigmoid(timesteps=300)
    now, before = (
        Trainer(kind(schedule=schedule, width=8, depth=1), DATA.train, recipe) for kind in (DiffusionGenerator, Before)
    )
    assert list(now) == list(before)
    assert same(now.state_dict(), before.state_dict())
    x_t, t = DATA.held_out, torch.arange(len(DATA.held_out)) % 300
    with torch.no_grad():
        assert torch.equal(now.averaged(x_t, t), before.averaged(x_t, t))


def test_a_configuration_from_before_makes_the_network_of_v():
    config = DiffusionGenerator(timesteps=30, width=8).config
    assert config.pop("target") == "v"
    assert DiffusionGenerator.from_config(json.loads(json.dumps(config))).config["target"] == "v"


def test_the_target_is_part_of_the_configuration_and_so_of_the_key():
    configs = [run_config(network(target=target), DATA, RECIPE) for target in LEARNT]
    assert len({json.dumps(config, sort_keys=True) for config in configs}) == 4
    for target, config in zip(LEARNT, configs, strict=True):
        assert DiffusionGenerator.from_config(config["model"]).config == config["model"]
        assert config["model"]["target"] == target


@pytest.mark.parametrize("target", ["score", "noise", None, ["v"]])
def test_a_target_that_no_network_has_is_refused(target):
    with pytest.raises(ValueError, match="target must be one of epsilon, x, v, velocity; got "):
        DiffusionGenerator(target=target)


# --- training


@pytest.mark.parametrize(
    ("target", "weights"), [("epsilon", "uniform"), ("x", "x"), ("v", "v"), ("velocity", "velocity"), ("velocity", "v")]
)
def test_on_a_gaussian_every_target_learns_the_exact_answer(target, weights):
    """Its mean squared distance from the exact answer falls to a tenth of that of a fresh network of v, or less.

    As the loss counts: of x, v or the velocity. What is small in x may be large in ε, where there is little noise.
    """
    data, schedule = gaussian(2000), flow(100)
    both = torch.cat([data.train, data.held_out]).double()
    best = BestDenoiser(GaussianMixture(both.mean(0, keepdim=True), torch.cov(both.T).unsqueeze(0)), schedule)
    t = torch.arange(20_000) % 100
    x_t = schedule.q_sample(data.held_out.repeat(10, 1), t, normal(20_000, 2, seed=9).float())
    exact = best.epsilon(x_t, t)

    def excess(model):
        with torch.no_grad():
            return float(((model(x_t, t) - exact).square().mean(1) * loss_weights(schedule, weights)[t]).mean())

    fresh = excess(DiffusionGenerator(schedule=schedule))
    recipe = Recipe(epochs=60, batch_size=250, checkpoints=(), warmup=20, weights=weights)
    trainer = Trainer(network(schedule, width=32, depth=2, target=target), data.train, recipe)
    losses = list(trainer)
    assert torch.tensor(losses).isfinite().all()
    assert excess(trainer.averaged) < 0.1 * fresh
