"""On another device the same comes out but for rounding, and all that belongs there is there.

No test needs a graphics card: `pretended` is a device whose operations refuse tensors that were forgotten here. Where a
card is at hand, everything is tried on it, too.
"""

import importlib
from dataclasses import replace

import numpy as np
import pretended
import pytest
import torch
from point_files import read_points
from pretended import PLACE, There, seen
from small_runs import DATA, RECIPE, network
from torch import nn

from lab_utils.base import devices
from lab_utils.diffusion import (
    Trainer,
    ancestral,
    ddim,
    denoiser,
    dpm_solver,
    given,
    guided,
    heun,
    sample,
    sde_dpm_solver,
    sigmoid,
    snapshots,
)
from lab_utils.diffusion import sampling as sampling_module
from lab_utils.diffusion.denoiser import along, on, place_of
from lab_utils.diffusion.sampling import AT_ONCE, BLOCK
from lab_utils.diffusion.together import Together
from lab_utils.exact import BestDenoiser, GaussianMixture, UniformSquares, mixtures
from lab_utils.measure import Benchmark, compare, mass, matrices
from lab_utils.measure import __main__ as measure_command
from lab_utils.points.dataset import Units
from lab_utils.runs import fit, fit_all, generate, job_of, keep, kept_network

jobs = importlib.import_module("lab_utils.runs.jobs")
CARDS = [kind for kind, there in devices.KINDS.items() if kind != "cpu" and there()]
PLACES = [PLACE, *CARDS]
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}
SCHEDULE = sigmoid(timesteps=30)
POINTS = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def a_machine_with_it(monkeypatch):
    """A machine that has the pretended device."""
    monkeypatch.setitem(devices.KINDS, PLACE, lambda: True)
    seen.clear()


def awake(**arguments):
    """A network whose last layer is not 0, as if it had learnt something."""
    model = network(SCHEDULE, **arguments)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


class Linear(nn.Module):
    """Somebody's module."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.5, 0.1, 0.2], [-0.1, 0.4, -0.3]]))

    def forward(self, x_t, t):
        return self.layer(torch.cat([x_t, t.unsqueeze(1) / 30], dim=1))


class Own(nn.Module):
    """A module that keeps the contract without the lab's base class: it takes t and the points as they come."""

    schedule = SCHEDULE

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([0.5, 0.4]))

    def epsilon(self, x_t, t):
        return self.factor * x_t * t.reshape(-1, 1) / 30


class Plain:
    """A denoiser of no module, with nothing that could be taken anywhere; NumPy answers."""

    schedule = SCHEDULE

    def epsilon(self, x_t, t):
        return torch.from_numpy(0.5 * x_t.numpy() * t.numpy().reshape(-1, 1) / 30).to(x_t)

    def along(self, timesteps):
        return lambda n: lambda x_t, k: self.epsilon(x_t, torch.tensor(timesteps[k]))


TOLD = awake(classes=("a", "b"))
CORNERS = GaussianMixture(POINTS[:3], torch.eye(2).expand(3, 2, 2) * 0.1)
DENOISERS = {
    "a network": awake(),
    "with waves that fade": awake(fading=True),
    "of a class": given(TOLD, "b"),
    "of somebody's": denoiser(Linear(), SCHEDULE, "v"),
    "of one's own": Own().requires_grad_(False),
    "a function": denoiser(lambda x_t, t: 0.3 * x_t, SCHEDULE, "x"),
    "the best of points": BestDenoiser(POINTS, SCHEDULE),
    "the best of a mixture": BestDenoiser(CORNERS, SCHEDULE),
    "the best of squares": BestDenoiser(UniformSquares(POINTS[:3], 0.5), SCHEDULE),
    "guided": guided(given(TOLD, "a"), TOLD, 2.0, interval=(0.1, 10)),
    "guided by what can't be moved": guided(BestDenoiser(POINTS, SCHEDULE), Plain(), 2.0),
    "what can't be moved": Plain(),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_is_sampled_there_and_gives_the_points_of_the_processor(name, place):
    """More than a block, and a last one that isn't whole; with noise at each step."""
    asked = DENOISERS[name]
    n = 2 * BLOCK + 100
    points = sample(asked, n, seed=3, device=place)
    assert points.device.type == "cpu"
    assert type(points) is torch.Tensor
    torch.testing.assert_close(points, sample(asked, n, seed=3), **ROUNDING)
    assert place != PLACE or len(seen) > 30 * 5  # it was done there: some operations a step


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", [ddim, dpm_solver, sde_dpm_solver, heun, lambda schedule, _: ancestral(schedule)])
def test_every_sampler_takes_its_steps_there(make, place):
    asked, sampler = DENOISERS["a network"], make(SCHEDULE, 6)
    kept = snapshots(asked, 300, [0, 2, len(sampler)], sampler=sampler, first_block=2, device=place)
    for k, points in snapshots(asked, 300, [0, 2, len(sampler)], sampler=sampler, first_block=2).items():
        torch.testing.assert_close(kept[k], points, **ROUNDING)
    assert torch.equal(kept[0], snapshots(asked, 300, [0], first_block=2)[0])  # the noise is that of the processor


def test_there_many_blocks_go_at_once(monkeypatch):
    monkeypatch.setattr(sampling_module, "AT_ONCE", 4 * BLOCK)
    sizes = []

    class Sizes(Plain):
        def along(self, timesteps):
            return lambda n: (sizes.append(n), lambda x_t, k: x_t)[1]

    n = 9 * BLOCK + 5
    points = sample(Sizes(), n, device=PLACE)
    assert sorted(sizes) == [BLOCK + 5, 4 * BLOCK, 4 * BLOCK]
    assert torch.equal(points, sample(Sizes(), n))
    assert AT_ONCE % BLOCK == 0


def test_one_thread_alone_asks_a_device_that_takes_one(monkeypatch):
    monkeypatch.setattr(sampling_module, "ONE_THREAD", {PLACE})
    made = []
    pool = sampling_module.ThreadPoolExecutor
    monkeypatch.setattr(sampling_module, "ThreadPoolExecutor", lambda workers: (made.append(workers), pool(workers))[1])
    sample(Plain(), 5, device=PLACE)
    assert made == [1]


@pytest.mark.parametrize("name", DENOISERS)
def test_a_denoiser_stays_where_it_is_when_it_is_asked_for_elsewhere(name):
    asked = DENOISERS[name]
    x_t, t = POINTS[:7], torch.arange(7) * 4
    before = asked.epsilon(x_t, t)
    there = on(asked, torch.device(PLACE))
    given_there = there.epsilon(x_t.to(PLACE), t.to(PLACE))
    assert isinstance(given_there, There)
    torch.testing.assert_close(given_there.cpu(), before)
    assert not isinstance(asked.epsilon(x_t, t), There)
    assert on(asked, torch.device("cpu")).epsilon(x_t, t).device.type == "cpu"
    torch.testing.assert_close(on(there, torch.device("cpu")).epsilon(x_t, t), before)


@pytest.mark.parametrize("name", ["a network", "of a class", "of somebody's", "the best of points"])
def test_a_denoiser_that_is_there_answers_points_that_are_here(name):
    """So losses, likelihood and all that is measured on the processor takes it, too."""
    there = on(DENOISERS[name], torch.device(PLACE))
    expected = DENOISERS[name].epsilon(POINTS, torch.tensor(20))
    for answer in (there.epsilon(POINTS, torch.tensor(20)), along(there, [20])(len(POINTS))(POINTS, 0)):
        assert not isinstance(answer, There)
        torch.testing.assert_close(answer, expected, **ROUNDING)
    assert along(there, [20])(len(POINTS))(POINTS.double(), 0).dtype == torch.float64


def test_of_a_pair_that_guides_both_are_there():
    there = on(guided(awake(), awake(fading=True), 2.0), torch.device(PLACE))
    assert {place_of(module).type for module in (there.aim, there.base)} == {PLACE}


def test_what_is_there_already_is_not_copied():
    model = on(awake(), torch.device(PLACE))
    assert on(model, torch.device(PLACE)) is model
    here = awake()
    assert on(here, torch.device("cpu")) is here


def test_noising_takes_points_that_are_there():
    x, noise, t = POINTS, POINTS.flip(0), torch.tensor([3]).expand(len(POINTS))
    for noised in (SCHEDULE.q_sample, SCHEDULE.q_step):
        there = noised(x.to(PLACE), t.to(PLACE), noise.to(PLACE))
        assert isinstance(there, There)
        torch.testing.assert_close(there.cpu(), noised(x, t, noise))


@pytest.mark.parametrize("mixture", [GaussianMixture(POINTS, 0.1), CORNERS], ids=["round", "of other shapes"])
def test_a_mixture_there_says_the_same_in_larger_blocks(mixture, monkeypatch):
    there = mixture.to(torch.device(PLACE))
    blur = POINTS[:, 0].abs()
    for method in ("log_prob", "posterior", "score"):
        answer = getattr(there, method)(POINTS, blur)
        assert isinstance(answer, There)
        torch.testing.assert_close(answer.cpu(), getattr(mixture, method)(POINTS, blur))
    monkeypatch.setattr(mixtures, "BLOCK", 1)
    seen.clear()
    there.score(POINTS)
    assert sum("amax" in operation for operation in seen) == 1


def test_where_a_device_has_no_float64_the_exact_is_worked_out_on_the_processor(monkeypatch):
    monkeypatch.setattr(pretended, "SINGLE", True)
    with pytest.raises(TypeError, match="no float64"):
        sample(DENOISERS["the best of points"], 50, device=PLACE)
    monkeypatch.setattr(devices, "SINGLE", {PLACE})
    for name in ("the best of points", "of somebody's", "guided"):
        torch.testing.assert_close(sample(DENOISERS[name], 50, device=PLACE), sample(DENOISERS[name], 50), **ROUNDING)
    mixture = GaussianMixture(POINTS, 0.1).to(torch.device(PLACE))
    assert mixture.score(POINTS).device.type == "cpu"


# --- training

TRAININGS = {
    "the original's": ({}, RECIPE),
    "the tail, waves that fade": ({"fading": True}, replace(RECIPE, tail=0.1, decay=True)),
    "classes": ({"classes": ("a", "b")}, replace(RECIPE, tail=0.1)),
    "weights": ({}, replace(RECIPE, weights="log-SNR")),
    "fixed noises": ({}, replace(RECIPE, fixed_noises=3)),
    "optimal transport": ({}, replace(RECIPE, coupling="optimal transport")),
}


def trainer(name, device, seed=0):
    built, recipe = TRAININGS[name]
    labels = torch.arange(100) % 2 if "classes" in built else None
    return Trainer(
        network(seed=seed, **built), DATA.train, replace(recipe, epochs=6, checkpoints=()), labels, device=device
    )


def same_training(one, other):
    """The same draws to the bit, the same weights but for rounding; all of it on the processor."""
    found, expected = one.state_dict(), other.state_dict()
    assert {type(value) for value in found.values()} == {torch.Tensor}
    assert torch.equal(found.pop("generator"), expected.pop("generator"))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_is_the_same_there(name, place):
    there, here = trainer(name, place), trainer(name, "cpu")
    for losses in zip(there, here, strict=True):
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    same_training(there, here)
    for model in (there.network, there.averaged):
        assert {value.device.type for value in (*model.parameters(), *model.buffers())} == {place}
    torch.testing.assert_close(
        there.averaged.epsilon(POINTS, torch.tensor(20)), here.averaged.epsilon(POINTS, torch.tensor(20)), **ROUNDING
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", TRAININGS)
def test_several_trained_there_as_one_are_those_trained_here_alone(name, place):
    there = [trainer(name, place, seed) for seed in range(3)]
    for _ in Together(there):
        pass
    for seed, one in enumerate(there):
        here = trainer(name, "cpu", seed)
        list(here)
        same_training(one, here)
        assert {value.device.type for value in one.averaged.parameters()} == {place}


@pytest.mark.parametrize(("begun", "ended"), [("cpu", PLACE), (PLACE, "cpu"), (PLACE, PLACE)])
def test_a_training_that_was_begun_here_ends_there_and_the_other_way_round(begun, ended):
    one, other, whole = (trainer("classes", place) for place in (begun, ended, "cpu"))
    for _ in zip(range(3), one, strict=False):
        pass
    other.load_state_dict(one.state_dict())
    list(other)
    list(whole)
    same_training(other, whole)


def test_what_float64_there_is_in_a_training_is_on_the_processor(monkeypatch):
    monkeypatch.setattr(pretended, "SINGLE", True)
    for name in TRAININGS:
        list(trainer(name, PLACE))
        for _ in Together([trainer(name, PLACE, seed) for seed in range(2)]):
            pass
    monkeypatch.setattr(devices, "SINGLE", {PLACE})
    list(
        Trainer(denoiser(Linear(), SCHEDULE, "v"), DATA.train, replace(RECIPE, epochs=2, checkpoints=()), device=PLACE)
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and a state saved often enough to be met."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "SAVE_EVERY", 5)
    return tmp_path / "cache"


@pytest.mark.parametrize("place", PLACES)
def test_a_training_of_fit_is_found_whichever_device_it_was_trained_on(cache, monkeypatch, place):
    there = fit(network(), DATA, RECIPE, progress=False, device=place)
    assert seen or place != PLACE
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_one_epoch", lambda self: pytest.fail("it is done"))
        here = fit(network(), DATA, RECIPE, progress=False)
    assert here.config == there.config
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    alone = fit(network(), DATA, RECIPE, progress=False)
    assert there.folder.name == alone.folder.name
    torch.testing.assert_close(there.losses, alone.losses, rtol=1e-4, atol=1e-6)
    for epoch in RECIPE.checkpoints:
        weights, others = there.model(epoch).state_dict(), alone.model(epoch).state_dict()
        assert {type(value) for value in weights.values()} == {torch.Tensor}
        torch.testing.assert_close(weights, others, rtol=1e-3, atol=1e-4)


class Asking(type(network())):
    """A network that looks at its numbers before it answers, so that it can't be stacked."""

    def predict(self, x_t, t, label=None):
        return super().predict(x_t, t, label) if x_t.isfinite().all() else x_t


SEVERAL = {
    **{f"seed {seed}": network(seed=seed) for seed in range(3)},
    "wider": network(width=9),
    **{f"asking {seed}": Asking.from_config(network(seed=seed).config) for seed in (3, 4)},
}


def test_several_are_trained_there_as_one_as_far_as_they_can_be(cache, monkeypatch):
    """Three seeds are one stack; one is of another width, and two can't be stacked, so each is trained alone."""
    stacks = []
    made = Together.__init__
    monkeypatch.setattr(
        Together, "__init__", lambda self, trainers: (made(self, trainers), stacks.append(len(trainers)))[0]
    )
    there = fit_all(SEVERAL, DATA, RECIPE, progress=False, device=PLACE)
    assert stacks == [3]
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    for name, run in there.items():
        here = fit(SEVERAL[name], DATA, RECIPE, progress=False)
        torch.testing.assert_close(run.losses, here.losses, rtol=1e-4, atol=1e-6)
        for epoch in RECIPE.checkpoints:
            weights, others = run.model(epoch).state_dict(), here.model(epoch).state_dict()
            torch.testing.assert_close(weights, others, rtol=1e-3, atol=1e-4)


def test_several_that_were_interrupted_there_go_on(cache, monkeypatch):
    """In the middle of the twelfth epoch, and at different epochs: then one of them has gone on alone."""
    three = {name: SEVERAL[name] for name in ("seed 0", "seed 1", "seed 2")}
    whole = fit_all(three, DATA, RECIPE, progress=False, device=PLACE)
    monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
    errors = Together._errors

    def interrupted(self, batch, far):
        if self.epoch == 12:
            raise KeyboardInterrupt
        return errors(self, batch, far)

    with monkeypatch.context() as patch:
        patch.setattr(Together, "_errors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit_all(three, DATA, RECIPE, progress=False, device=PLACE)
    states = sorted(path.parent.name for path in cache.rglob("other/runs/*/state.safetensors"))
    assert states == sorted(run.folder.name for run in whole.values())
    fit(three["seed 1"], DATA, RECIPE, progress=False)
    again = fit_all(three, DATA, RECIPE, progress=False, device=PLACE)
    for name, run in again.items():
        torch.testing.assert_close(run.losses, whole[name].losses, rtol=1e-4, atol=1e-6)


def test_who_stops_asking_several_finds_each_of_their_states_saved(cache):
    asked = [job_of(SEVERAL[name], DATA, RECIPE, device=PLACE) for name in ("seed 0", "seed 1")]
    epochs = jobs._epochs_of(asked)
    for _ in range(5):  # both after two epochs, one after three
        next(epochs)
    epochs.close()
    assert [job.open().epoch for job in asked] == [3, 3]


def test_a_network_that_is_there_is_kept_for_other_notebooks(cache):
    there = on(awake(), torch.device(PLACE))
    keep("one from there", there)
    found = kept_network("one from there", network(SCHEDULE))
    torch.testing.assert_close(found.state_dict(), awake().state_dict())


@pytest.mark.parametrize(
    "call",
    [
        lambda device: trainer("classes", device),
        lambda device: fit(network(), DATA, RECIPE, device=device),
        lambda device: sample(Plain(), 5, device=device),
    ],
)
def test_a_device_that_is_not_there_is_refused(cache, monkeypatch, call):
    monkeypatch.setitem(devices.KINDS, "cuda", lambda: False)
    with pytest.raises(devices.DeviceError, match="got 'cuda'"):
        call("cuda")
    assert not cache.exists()


# --- measuring

MINE = torch.randn(60, 2, generator=torch.Generator().manual_seed(2)) * 1.2
REAL = torch.randn(300, 2, generator=torch.Generator().manual_seed(3))
MOVABLE = ("energy distance", "MMD")


@pytest.mark.parametrize("place", PLACES)
def test_compare_reads_the_same_there(place):
    there, here = compare(MINE, REAL, train=REAL[:50], device=place), compare(MINE, REAL, train=REAL[:50])
    assert list(there.measures) == list(here.measures)
    for name, measure in here.measures.items():
        found = there.measures[name]
        if name in MOVABLE:
            assert found.value == pytest.approx(measure.value, rel=1e-4)
            assert found.real == pytest.approx(measure.real, rel=1e-4)
            assert found.interval == pytest.approx(measure.interval, rel=1e-2)
        else:
            assert found == measure
    assert there.verdict == here.verdict


@pytest.mark.parametrize("name", ["energy distance", "MMD", "blur", "sliced W1"])
def test_the_sums_over_all_pairs_are_worked_out_there_and_all_else_here(name, monkeypatch):
    benchmark = Benchmark(REAL, device=PLACE)
    value = benchmark.multiple(name, MINE)
    assert ("aten.addcmul_.default" in seen) == (name in MOVABLE)
    assert value == pytest.approx(Benchmark(REAL).multiple(name, MINE), rel=1e-4)
    known = benchmark.known[name]
    assert known.movable == (name in MOVABLE)
    assert known(MINE.to(PLACE), REAL.to(PLACE)) == pytest.approx(known(MINE, REAL), rel=1e-4)  # points may be there
    assert Benchmark(REAL.to(PLACE), device=PLACE).multiple(name, MINE.to(PLACE)) == pytest.approx(value, rel=1e-4)
    monkeypatch.setattr(mass, "PAIRS", 1)
    seen.clear()
    known(MINE.to(PLACE), REAL.to(PLACE))
    assert seen.count("aten.addcmul_.default") <= 3  # all pairs of two sets at once


def test_what_real_sets_read_there_is_not_taken_for_what_they_read_here(cache, monkeypatch):
    """It is kept in the cache under a key of its own, for its last digits differ; what is worked out here has one."""
    real = torch.randn(2000, 2, generator=torch.Generator().manual_seed(4))
    keys = {
        place: {name: Benchmark(real, device=place)._key(name, 1000) for name in ("MMD", "blur")}
        for place in ("cpu", PLACE)
    }
    assert keys["cpu"]["MMD"] != keys[PLACE]["MMD"]
    assert keys["cpu"]["blur"] == keys[PLACE]["blur"]


def test_points_with_an_outlier_are_measured_in_float64_on_the_processor_where_a_device_has_none(monkeypatch):
    far = torch.cat([REAL, torch.tensor([[1e9, 0.0]])]).double()
    expected = compare(MINE.double(), far, names=[*MOVABLE])
    monkeypatch.setattr(devices, "SINGLE", {PLACE})
    monkeypatch.setattr(pretended, "SINGLE", True)
    found = compare(MINE.double(), far, names=[*MOVABLE], device=PLACE)
    assert [measure.value for measure in found.measures.values()] == [
        measure.value for measure in expected.measures.values()
    ]
    assert compare(MINE, REAL, names=[*MOVABLE], device=PLACE).value("MMD") > 0  # in float32 it is worked out there


def test_one_thread_alone_measures_on_a_device_that_takes_one(monkeypatch):
    monkeypatch.setattr(matrices, "ONE_THREAD", {PLACE})
    made = []
    pool = matrices.ThreadPoolExecutor
    monkeypatch.setattr(matrices, "ThreadPoolExecutor", lambda workers: (made.append(workers), pool(workers))[1])
    Benchmark(REAL, device=PLACE).multiple("MMD", MINE)
    assert {*made} == {1}


def test_the_command_measures_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure_command, "CHOICES", ("cpu", PLACE))
    np.save(tmp_path / "mine.npy", MINE.numpy())
    np.save(tmp_path / "real.npy", REAL.numpy())
    command = [str(tmp_path / "mine.npy"), "--real", str(tmp_path / "real.npy"), "--measures", "MMD,blur"]
    assert measure_command.main(command) == 0
    here = capsys.readouterr().out
    assert seen == []
    assert measure_command.main([*command, "--device", PLACE]) == 0
    assert seen
    assert capsys.readouterr().out == here  # three digits are told


def test_the_command_that_measures_refuses_a_device_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(devices.KINDS, "cuda", lambda: False)
    np.save(tmp_path / "mine.npy", MINE.numpy())
    command = [str(tmp_path / "mine.npy"), "--data", "moons", "--device", "cuda"]
    assert measure_command.main(command) == 2
    assert "got 'cuda'" in capsys.readouterr().err


# --- any number of points

UNITS = Units(torch.tensor([12.3, -45.6], dtype=torch.float64), 1 / 3)


def write(out, n=9 * BLOCK + 100, device=PLACE):
    generate.generate(DENOISERS["a network"], n, out, units=UNITS, seed=7, progress=False, device=device)
    return read_points(out)


@pytest.fixture
def spans(monkeypatch):
    """Small chunks, three of them at once there; the numbers of points that are sampled at once."""
    monkeypatch.setattr(generate, "CHUNK", 2)
    monkeypatch.setattr(generate, "AT_ONCE", 3)
    sizes = []

    def counted(asked, n, **named):
        sizes.append((n, named["first_block"]))
        return sample(asked, n, **named)

    monkeypatch.setattr(generate, "sample", counted)
    return sizes


@pytest.mark.parametrize("place", PLACES)
def test_a_file_made_there_has_the_points_of_the_processor(tmp_path, spans, place):
    there = write(tmp_path / "there.npy", device=place)
    assert spans == [(6 * BLOCK, 0), (3 * BLOCK + 100, 6)]
    here = write(tmp_path / "here.npy", device="cpu")
    assert spans[2:] == [*((2 * BLOCK, 2 * k) for k in range(4)), (BLOCK + 100, 8)]
    torch.testing.assert_close(there, here, **ROUNDING)


def test_what_was_begun_on_one_device_goes_on_on_the_other_with_the_missing_chunks(tmp_path, spans, monkeypatch):
    """Chunks 1 and 3 of five are there; made are 0, then 2, then 4."""
    out, save = tmp_path / "points.npy", generate.Chunks.save

    def some(self, number, points):
        if number % 2:
            save(self, number, points)
        if number == 4:
            raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr(generate.Chunks, "save", some)
        with pytest.raises(OSError, match="full"):
            write(out, device="cpu")
    spans.clear()
    found = write(out)
    assert spans == [(2 * BLOCK, 0), (2 * BLOCK, 4), (BLOCK + 100, 8)]
    torch.testing.assert_close(found, write(tmp_path / "here.npy", device="cpu"), **ROUNDING)


def test_the_command_makes_a_file_there(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(generate, "CHOICES", ("cpu", PLACE))
    command = ["--points", "300", "--data", "moons", "--epochs", "1", "--steps", "3", "--quiet"]
    for place in (PLACE, "cpu"):
        seen.clear()
        monkeypatch.setenv("DDPM_LAB_CACHE", str(cache / place))
        assert generate.main([*command, "--out", str(tmp_path / f"{place}.npy"), "--device", place]) == 0
        assert bool(seen) == (place == PLACE)
    there, here = (read_points(tmp_path / f"{place}.npy") for place in (PLACE, "cpu"))
    torch.testing.assert_close(there, here, **ROUNDING)


def test_the_command_refuses_a_device_that_is_not_there_before_anything_is_trained(
    tmp_path, cache, monkeypatch, capsys
):
    monkeypatch.setitem(devices.KINDS, "cuda", lambda: False)
    with pytest.raises(SystemExit):
        generate.main(["--points", "300", "--out", str(tmp_path / "points.npy"), "--device", "cuda"])
    assert "got 'cuda'" in capsys.readouterr().err
    assert not cache.exists()
