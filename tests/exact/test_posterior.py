"""What can be known of a noised point is what the best denoiser answers, and less with more noise."""

import pytest
import torch

from lab_utils.diffusion.schedules import sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.posterior import Knowledge, know
from lab_utils.points.dataset import dataset


@pytest.mark.parametrize("t", [0, 20, 300, 700, 999])
def test_what_is_known_is_what_the_best_denoiser_answers(t):
    data, schedule = dataset("moons"), sigmoid()
    known = know(data, schedule, 4, t)
    restore = data.units.restore
    assert torch.allclose(known.origin, restore(data.train[4:5])[0])
    assert known.chances.sum() == pytest.approx(1)
    seen = data.units.normalise(known.seen[None])
    x_t = seen * schedule.alphas_cumprod[t].sqrt()
    epsilon = BestDenoiser(data.train, schedule).epsilon(x_t, torch.tensor(t))
    x_0 = (x_t - (1 - schedule.alphas_cumprod[t]).sqrt() * epsilon) / schedule.alphas_cumprod[t].sqrt()
    assert torch.allclose(restore(x_0)[0], known.guess, atol=2e-3 * float((1 / schedule.snr[t]).sqrt().clamp(min=1)))


def test_the_more_noise_the_more_candidates():
    data = dataset("moons")
    counts = [know(data, sigmoid(), 4, t).candidates for t in (0, 100, 300, 600, 900)]
    assert counts == sorted(counts)
    assert 1 <= counts[0] < 5
    assert counts[-1] > 2500


def test_candidates_of_equal_chances_are_their_number():
    known = Knowledge(0, 1000, 1.0, *[torch.zeros(2)] * 3, torch.tensor([0.25] * 4 + [0.0] * 6, dtype=torch.float64))
    assert known.candidates == pytest.approx(4)
    assert known.text == "t = 0: noise of 1; 4 points of the data may be behind it; the best guess misses by 0"
