"""Along known timesteps the network answers what it answers anyway, and leaves out nothing but what has faded."""

import pytest
import torch

from lab_utils.diffusion.along import Along
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.sampling import initial_noise, snapshots
from lab_utils.diffusion.schedules import linear, sigmoid


def points(n):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def awake(**arguments):
    """A network whose last layer is not 0, as if it had learnt something."""
    model = DiffusionGenerator(**arguments)
    with torch.no_grad():
        for weight in model.leave.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.parametrize("fading", [False, True])
@pytest.mark.parametrize("n", [1, 300])
@pytest.mark.parametrize("make", [linear, sigmoid])
@torch.inference_mode()
def test_along_known_timesteps_the_answers_are_the_same_but_for_rounding(make, n, fading):
    schedule = make()
    model = awake(schedule=schedule, width=24, input_frequencies=8, max_frequency=128.0, fading=fading, depth=2)
    timesteps = [*range(999, -1, -41)]
    along = Along(model, timesteps)
    epsilon = along.block(n)
    x_t = points(n)
    for k in [*range(len(timesteps)), 0]:  # in any order, as often as one likes
        expected = model.epsilon(x_t, torch.tensor(timesteps[k]))
        torch.testing.assert_close(epsilon(x_t, k), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_along_the_way_only_waves_that_are_left_are_worked_out():
    model = awake(schedule=sigmoid(), input_frequencies=32, max_frequency=256.0, fading=True)
    along = Along(model, [999, 500, 0])
    assert along.alive == [int((model.fading[t, 2:34] > 0).sum()) for t in (999, 500, 0)]
    assert along.alive[0] < along.alive[1] < along.alive[2] == 32
    assert [matrix.shape[1] for matrix in along.enter] == [3 + 4 * alive for alive in along.alive]
    assert Along(awake(schedule=sigmoid()), [999]).alive == [16]


@torch.inference_mode()
def test_along_the_way_what_the_network_learns_later_is_not_seen():
    model = awake(schedule=sigmoid(timesteps=20), width=8)
    epsilon = Along(model, [7]).block(5)
    before = epsilon(points(5), 0)
    for weight in model.parameters():
        weight += 1
    assert torch.equal(epsilon(points(5), 0), before)


def test_a_way_without_a_step_is_one_too():
    """What is kept after 0 steps is the noise, of a network as of any other denoiser."""
    model = awake(schedule=sigmoid(timesteps=20), width=8)
    assert torch.equal(snapshots(model, 5, [0])[0], initial_noise(5))


@pytest.mark.parametrize("timesteps", [[20], [3, -1]])
def test_along_timesteps_that_the_schedule_lacks_there_is_no_way(timesteps):
    with pytest.raises(ValueError, match="0 … 19"):
        Along(DiffusionGenerator(timesteps=20), timesteps)
