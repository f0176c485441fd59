"""Everything that denoises keeps one contract, and everything that takes a denoiser takes each of them."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import DATA, RECIPE
from torch import nn

from lab_utils.diffusion import (
    DenoisingModule,
    DiffusionGenerator,
    Schedule,
    ScheduleError,
    Trainer,
    denoiser,
    dpm_solver,
    from_config,
    given,
    guided,
    linear,
    sample,
    sigmoid,
    snapshots,
)
from lab_utils.diffusion.denoiser import along, check_answers, one_by_one
from lab_utils.diffusion.targets import TARGETS, to_epsilon
from lab_utils.exact import BestDenoiser, GaussianMixture
from lab_utils.measure import CHECKS, answers, gradient_signal, log_likelihood, mean_loss, noise
from lab_utils.points import Units
from lab_utils.runs import fit, fit_all
from lab_utils.runs.generate import generate

SCHEDULE = sigmoid(timesteps=20)
POINTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def awake(kind=DiffusionGenerator, **arguments):
    """A small network whose answer depends on all of its weights, unlike an untrained one's."""
    model = kind(schedule=SCHEDULE, width=8, depth=1, input_frequencies=2, **arguments)
    with torch.no_grad():
        model.leave.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model


class Zero(DiffusionGenerator):
    """It sees no noise."""

    def predict(self, x_t, t):
        return 0 * super().predict(x_t, t)


class Twice(DiffusionGenerator):
    def forward(self, x_t, t):
        return 2 * super().forward(x_t, t)


class Half(DiffusionGenerator):
    def epsilon(self, x_t, t):
        return super().epsilon(x_t, t) / 2


class Small(DenoisingModule):
    """A network that has nothing in common with the lab's."""

    def __init__(self, schedule, width=8):
        super().__init__(schedule)
        self.config = {"timesteps": schedule.timesteps, "width": width}
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))

    @classmethod
    def from_config(cls, config):
        torch.manual_seed(0)
        return cls(sigmoid(timesteps=config["timesteps"]), config["width"])

    def predict(self, x_t, t):
        time = (t / self.schedule.timesteps).expand(len(x_t)).unsqueeze(1)
        return self.layers(torch.cat([x_t, time], dim=1))


class Foreign(nn.Module):
    """Written without knowing of the contract: it wants a timestep for each point, and float32."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x, t):
        assert t.shape == (len(x),)
        return torch.tanh(self.out(torch.cat([x, t[:, None] / 20], dim=1)))


class Normalising(Foreign):
    """It normalises over the batch, as long as it is trained."""

    def __init__(self):
        super().__init__()
        self.normal = nn.BatchNorm1d(2)

    def forward(self, x, t):
        return super().forward(self.normal(x), t)


class Plain:
    """No module, and nothing besides the contract."""

    schedule = SCHEDULE

    def epsilon(self, x_t, t):
        return x_t * (1 - SCHEDULE.alphas_cumprod[t].reshape(-1, 1)).sqrt().to(x_t)


KINDS = {
    "a network": lambda: awake(fading=True),
    "a network in double precision": lambda: awake().double(),
    "a subclass that predicts otherwise": lambda: awake(Zero),
    "a subclass with another forward": lambda: awake(Twice),
    "a subclass with another epsilon": lambda: awake(Half),
    "the best denoiser": lambda: BestDenoiser(GaussianMixture(POINTS, 0.3), SCHEDULE),
    "a network of one's own": lambda: Small(SCHEDULE),
    "a wrapped module": lambda: denoiser(Foreign(), SCHEDULE),
    "a wrapped module that predicts v": lambda: denoiser(Foreign(), SCHEDULE, predicts="v"),
    "a wrapped function": lambda: denoiser(lambda x, t: 0.5 * x, SCHEDULE, predicts="x"),
    "a plain class": Plain,
    "a network with classes": lambda: awake(classes=("a", "b")),
    "a network told a class": lambda: given(awake(classes=("a", "b")), "b"),
    "a guided network": lambda: guided(given(awake(classes=("a", "b")), "b"), awake(classes=("a", "b")), 1.5),
    "a network guided in an interval": lambda: guided(awake(fading=True), Plain(), 1.5, interval=(0.2, 2.0)),
    "a guided best denoiser": lambda: guided(BestDenoiser(GaussianMixture(POINTS, 0.3), SCHEDULE), Plain(), 1.2),
}


@pytest.fixture(params=KINDS)
def kind(request):
    torch.manual_seed(0)  # of the first weights of networks that are not the lab's
    return KINDS[request.param]()


def written_out(kind, sampler, n):
    """The samples of whatever `epsilon` says, without any faster way."""

    class Only:
        schedule = SCHEDULE

        def epsilon(self, x_t, t):
            return kind.epsilon(x_t, t)

    return sample(Only(), n, sampler=sampler)


# --- every consumer on every kind


def test_its_answers_keep_the_contract(kind):
    check_answers(kind)
    assert kind.epsilon(torch.zeros(0, 2), torch.tensor(3)).shape == (0, 2)


@torch.no_grad()
def test_along_known_timesteps_it_answers_as_epsilon_does(kind):
    timesteps = [19, 7, 0]
    fast, slow = along(kind, timesteps)(len(POINTS)), one_by_one(kind, timesteps)(len(POINTS))
    for k in range(3):
        assert fast(POINTS, k).dtype == torch.float32
        torch.testing.assert_close(fast(POINTS, k), slow(POINTS, k), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", [None, dpm_solver(SCHEDULE, 5)], ids=["DDPM", "DPM-Solver++"])
def test_what_is_sampled_is_what_it_answers(kind, sampler):
    torch.testing.assert_close(sample(kind, 50, sampler=sampler), written_out(kind, sampler, 50), rtol=2e-3, atol=1e-3)
    total = 20 if sampler is None else 5
    assert torch.equal(snapshots(kind, 50, [0, total], sampler=sampler)[total], sample(kind, 50, sampler=sampler))


def test_its_loss_and_likelihood_are_measured(kind):
    noised = noise(POINTS, SCHEDULE, draws=200)
    given = answers(kind, noised)
    torch.testing.assert_close(given, kind.epsilon(noised.x_t, noised.t).detach(), rtol=1e-4, atol=1e-5)
    loss, error = mean_loss(kind, POINTS, draws=200)
    assert loss == pytest.approx(float((given - noised.epsilon).square().mean()), rel=1e-4)
    assert error > 0
    found = log_likelihood(kind, POINTS[:5], nodes=20)
    assert found.shape == (5,)
    assert found.isfinite().all()


def test_it_is_examined(kind):
    findings = {name: check(kind) for name, check in CHECKS.items()}
    assert findings["shape"].sound
    assert findings["rows"].sound
    assert all(str(finding) for finding in findings.values())


def test_a_gradient_has_an_aim_where_there_are_weights(kind):
    noised = noise(POINTS, SCHEDULE, draws=1000)
    if isinstance(kind, nn.Module) and [*kind.parameters()]:
        assert gradient_signal(kind, noised, batch=100) >= 0
        assert all(weight.grad is None for weight in kind.parameters())
    else:
        with pytest.raises(TypeError, match=f"{type(kind).__name__} has no weights"):
            gradient_signal(kind, noised, batch=100)


def test_a_file_of_its_points_is_its_sample(kind, tmp_path):
    units = Units(torch.zeros(2, dtype=torch.float64), 2.0)
    sampler = dpm_solver(SCHEDULE, 4)
    generate(kind, 30, tmp_path / "points.npy", units=units, sampler=sampler, progress=False)
    expected = units.restore(sample(kind, 30, sampler=sampler)).numpy()
    assert np.array_equal(np.load(tmp_path / "points.npy"), expected)


# --- what is no denoiser


@pytest.mark.parametrize(
    "call", [lambda d: sample(d, 3), lambda d: answers(d, noise(POINTS, SCHEDULE)), lambda d: log_likelihood(d, POINTS)]
)
@pytest.mark.parametrize("broken", [Foreign(), object(), None])
def test_what_is_no_denoiser_is_refused_by_name_with_the_way_to_make_it_one(call, broken):
    with pytest.raises(TypeError, match=rf"{type(broken).__name__} is no denoiser: .*`schedule`.*denoiser\(module"):
        call(broken)


def test_an_object_without_epsilon_is_refused_by_name():
    class MyNet:
        schedule = SCHEDULE

    with pytest.raises(TypeError, match=r"MyNet is no denoiser: it has no method `epsilon.*wrap a module.*denoiser\("):
        sample(MyNet(), 3)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (lambda x, t: x[:, :1], r"with \(6, 2\); it gave \(6, 1\)"),
        (lambda x, t: x.sum(), r"it gave \(\)"),
        (lambda x, t: None, "it gave NoneType"),
        (lambda x, t: x - x.mean(dim=0), "answers a point differently when it is asked with others"),
        (lambda x, t: nn.functional.dropout(x), "two answers to the same question"),
        (Normalising(), "Normalising answers a point differently .* eval"),
        (lambda x, t: x / 0, "answers that are not finite: 12 of 12"),
    ],
)
def test_a_module_that_breaks_a_promise_is_refused_at_once(module, says):
    with pytest.raises(ValueError, match=says):
        denoiser(module, SCHEDULE)


def test_a_module_that_normalises_over_the_batch_is_taken_once_it_is_in_eval():
    assert sample(denoiser(Normalising().eval(), SCHEDULE), 3).shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: sample(awake(), 3, sampler="dpm"),
            "a sampler is made by ancestral, .* heun or midpoint, of a schedule; got 'dpm'",
        ),
        (lambda: Small("sigmoid"), "Small needs a Schedule, such as sigmoid"),
        (lambda: denoiser(Foreign, SCHEDULE), "made of a module or a function, which is called; got <class"),
        (lambda: denoiser("model.pt", SCHEDULE), "which is called; got 'model.pt'"),
        (lambda: fit(awake(), DATA.train), "data must be a Dataset, .*not Tensor"),
        (lambda: fit(awake(), DATA, 20), "recipe must be a Recipe, .*not int"),
        (lambda: mean_loss(Foreign(), POINTS), "Foreign is no denoiser"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_what_was_expected(call, says):
    with pytest.raises((TypeError, AttributeError), match=says):
        call()


def test_a_run_is_no_denoiser_and_the_message_says_where_its_models_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    run = fit(awake(), DATA, RECIPE, progress=False)
    with pytest.raises(TypeError, match=r"Run is no denoiser, but it has models: take one of them, `.model\(\)`"):
        sample(run, 3)


def test_wrapping_needs_a_schedule_and_a_known_target():
    with pytest.raises(TypeError, match="needs the Schedule that it was trained with, not str"):
        denoiser(Foreign(), "sigmoid")
    with pytest.raises(ValueError, match="one of epsilon, x, v, velocity, score; got 'noise'"):
        denoiser(Foreign(), SCHEDULE, predicts="noise")


@pytest.mark.parametrize("predicts", TARGETS)
def test_each_kind_of_answer_says_the_same_noise(predicts):
    """The definitions, from known data and noise."""
    x, epsilon = POINTS.double(), torch.randn(40, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    t = torch.arange(40) % 20
    kept = SCHEDULE.alphas_cumprod[t].unsqueeze(1)
    signal, spread = kept.sqrt(), (1 - kept).sqrt()
    told = {
        "epsilon": epsilon,
        "x": x,
        "v": signal * epsilon - spread * x,
        "velocity": epsilon - x,
        "score": -epsilon / spread,
    }[predicts]
    found = to_epsilon(predicts, told, signal * x + spread * epsilon, SCHEDULE.alphas_cumprod[t])
    torch.testing.assert_close(found, epsilon, rtol=1e-9, atol=1e-9)


# --- the fast way


@pytest.mark.parametrize("how", ["a hook", "another layer", "a method of the object's own"])
def test_a_network_that_was_changed_is_asked_by_epsilon(how):
    model = awake()
    if how == "a hook":
        model.enter.register_forward_hook(lambda module, given, answer: 0 * answer)
    elif how == "another layer":
        model.leave = nn.Sequential(model.leave, nn.Tanh())
    else:
        model.predict = lambda x_t, t: 0 * x_t
    torch.testing.assert_close(sample(model, 20), written_out(model, None, 20), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(sample(model, 20), sample(awake(), 20), atol=1e-3)


# --- training


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("cache")
def test_a_subclass_is_trained_as_itself_and_under_a_key_of_its_own():
    plain, zero = (fit(awake(kind), DATA, RECIPE, progress=False) for kind in (DiffusionGenerator, Zero))
    assert plain.folder != zero.folder
    assert isinstance(zero.model(), Zero)
    assert zero.losses.sub(1).abs().max() < 0.5  # silence has the loss 1
    assert not torch.equal(plain.losses, zero.losses)


@pytest.mark.usefixtures("cache")
def test_a_network_of_ones_own_is_trained_found_again_and_sampled():
    run = fit(Small(SCHEDULE), DATA, RECIPE, progress=False)
    again = fit(Small(SCHEDULE), DATA, RECIPE, progress=False)
    assert (again.folder, [*again.losses]) == (run.folder, [*run.losses])
    assert isinstance(run.model(), Small)
    assert float(run.losses[-5:].mean()) < float(run.losses[:5].mean())
    assert sample(run.model(), 9).isfinite().all()
    alone = Trainer(Small.from_config(Small(SCHEDULE).config), DATA.train, RECIPE)
    assert torch.equal(torch.tensor([*alone], dtype=torch.float64), run.losses)


@pytest.mark.usefixtures("cache")
def test_without_an_epoch_the_last_model_comes():
    run = fit(awake(), DATA, RECIPE, progress=False)
    assert all(map(torch.equal, run.model().state_dict().values(), run.model(23).state_dict().values()))


@pytest.mark.usefixtures("cache")
def test_equal_networks_are_trained_once():
    runs = fit_all({"one": awake(), "two": awake(), "other": Small(SCHEDULE)}, DATA, RECIPE, progress=False)
    assert [*runs] == ["one", "two", "other"]
    assert runs["one"].folder == runs["two"].folder != runs["other"].folder
    assert torch.equal(runs["one"].losses, runs["two"].losses)


class Forgetful(Small):
    """Its config lacks what it is built from."""

    def __init__(self, schedule, width=8, depth=1, sign=1):
        super().__init__(schedule, width)
        self.sign = sign
        self.more = nn.ModuleList(nn.Linear(2, 2) for _ in range(depth))

    def predict(self, x_t, t):
        return self.sign * super().predict(x_t, t)


class NoConfig(Small):
    def __init__(self, schedule):
        super().__init__(schedule)
        del self.config


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda: NoConfig(SCHEDULE), "NoConfig can't be trained by `fit`.*lacks `config`"),
        (lambda: denoiser(Foreign(), SCHEDULE), "can't be trained by `fit`.*`Trainer` trains it"),
        (lambda: Forgetful(SCHEDULE, sign=-1), "Forgetful.from_config.* builds another network"),
        (lambda: Forgetful(SCHEDULE, depth=2), "Forgetful.from_config.* doesn't build the same network again"),
        (lambda: Small(sigmoid(-4.0, 4.0, timesteps=20)), "Small.from_config.* has another schedule"),
        (lambda: BestDenoiser(POINTS, SCHEDULE), "BestDenoiser can't be trained: it is no torch.nn.Module"),
        (lambda: Foreign(), "Foreign is no denoiser: it has no `schedule`"),
        (lambda: awake().double(), "its weights are torch.float64; they must be float32"),
        (lambda: denoiser(lambda x, t: x, SCHEDULE), "it has no weights"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(network, says):
    with pytest.raises(TypeError, match=says):
        fit(network(), DATA, RECIPE, progress=False)


def test_a_wrapped_module_is_trained_in_memory():
    torch.manual_seed(0)
    losses = [*Trainer(denoiser(Foreign(), SCHEDULE), DATA.train, RECIPE)]
    assert sum(losses[-5:]) < sum(losses[:5])


NOTEBOOK = """
import sys
sys.path.insert(0, {tests!r})
from IPython.core.interactiveshell import InteractiveShell
cell = '''
import torch
from torch import nn
from small_runs import DATA, RECIPE
from lab_utils.diffusion import DenoisingModule, sigmoid
from lab_utils.runs import fit_all
FACTOR = %d
class Mine(DenoisingModule):
    def __init__(self, timesteps):
        super().__init__(sigmoid(timesteps=timesteps))
        self.config = {{"timesteps": timesteps}}
        self.layer = nn.Linear(2, 2)
        nn.init.eye_(self.layer.weight)
    @classmethod
    def from_config(cls, config):
        return cls(**config)
    def predict(self, x_t, t):
        return FACTOR * self.layer(x_t)
runs = fit_all({{"a": Mine(20), "b": Mine(30)}}, DATA, RECIPE, progress=False)
print(*(run.folder.name for run in runs.values()), type(runs["a"].model()).__name__)
'''
if __name__ == "__main__":
    shell = InteractiveShell.instance()
    for factor in (1, 1, 2):
        assert shell.run_cell(cell % factor).success
"""


@pytest.mark.usefixtures("cache")
def test_a_class_from_a_notebook_is_trained_in_other_processes_and_another_one_when_its_code_changes():
    """Two networks at a time are trained in processes that can't import a notebook."""
    command = [sys.executable, "-c", NOTEBOOK.format(tests=str(Path(__file__).parent))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    first, again, other = (line.split() for line in done.stdout.splitlines())
    assert first == again
    assert first[2] == "Mine"
    assert {*first[:2]}.isdisjoint(other[:2])


def test_a_denoiser_can_be_sent_to_another_process():
    names = ("a network", "the best denoiser", "a network of one's own", "a wrapped module", "a network told a class")
    for name in (*names, "a guided network", "a network guided in an interval"):
        model = KINDS[name]()
        sent = pickle.loads(pickle.dumps(model))
        assert torch.equal(sample(sent, 5), sample(model, 5))


# --- schedules


def test_a_schedule_that_is_not_what_its_config_says_is_refused():
    with pytest.raises(ScheduleError, match=r"not those that the config .* makes; leave the config out"):
        Schedule(
            torch.full((100,), 0.05, dtype=torch.float64),
            {"kind": "linear", "beta_start": 1e-4, "beta_end": 0.02, "timesteps": 100},
        )
    with pytest.raises(ScheduleError, match="no schedule is made by"):
        Schedule(linear().betas, {"kind": "mine"})
    for made in (linear(), sigmoid(timesteps=np.int64(30)), Schedule(linear(0.1, 0.2, 5).betas)):
        assert torch.equal(Schedule(made.betas, made.config).betas, from_config(made.config).betas)
