"""On another device the same comes out but for rounding, and all that belongs there is there.

No test needs a graphics card: `pretended` is a device whose operations refuse tensors that were forgotten here. Where a
card is at hand, everything is tried on it, too.
"""

import pretended
import pytest
import torch
from pretended import PLACE, There, seen
from small_runs import network
from torch import nn

from lab_utils.base import devices
from lab_utils.diffusion import (
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
from lab_utils.diffusion.denoiser import on
from lab_utils.diffusion.sampling import AT_ONCE, BLOCK
from lab_utils.exact import BestDenoiser, GaussianMixture, mixtures

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
    "a function": denoiser(lambda x_t, t: 0.3 * x_t, SCHEDULE, "x"),
    "the best of points": BestDenoiser(POINTS, SCHEDULE),
    "the best of a mixture": BestDenoiser(CORNERS, SCHEDULE),
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
    x_t, t = POINTS[:7], torch.tensor(20)
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
    answer = there.epsilon(POINTS, torch.tensor(20))
    torch.testing.assert_close(answer, DENOISERS[name].epsilon(POINTS, torch.tensor(20)))
    assert not isinstance(answer, There)


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
    assert sum("softmax" in operation for operation in seen) == 1


def test_where_a_device_has_no_float64_the_exact_is_worked_out_on_the_processor(monkeypatch):
    monkeypatch.setattr(pretended, "SINGLE", True)
    with pytest.raises(TypeError, match="no float64"):
        sample(DENOISERS["the best of points"], 50, device=PLACE)
    monkeypatch.setattr(devices, "SINGLE", {PLACE})
    for name in ("the best of points", "of somebody's", "guided"):
        torch.testing.assert_close(sample(DENOISERS[name], 50, device=PLACE), sample(DENOISERS[name], 50), **ROUNDING)
    mixture = GaussianMixture(POINTS, 0.1).to(torch.device(PLACE))
    assert mixture.score(POINTS).device.type == "cpu"
