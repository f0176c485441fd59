"""A small network, small data and a short recipe, for tests that train; and a comparison of what they leave behind."""

import torch

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.points.dataset import Dataset
from lab_utils.points.shapes import draw

SCHEDULE = sigmoid(timesteps=50)
RECIPE = Recipe(epochs=23, batch_size=30, warmup=5, checkpoints=(4, 10, 17, 23))


def network(schedule=SCHEDULE, **arguments):
    return DiffusionGenerator(schedule=schedule, **{"width": 8, "depth": 1, "input_frequencies": 2, **arguments})


def gaussian(n=100, seed=0):
    """A data set of `n` training points, the last batch of which is a small one."""
    return Dataset.of(draw("gaussian", 2 * n, seed), "gaussian", train=n)


DATA = gaussian()


def same(a, b):
    """Whether two nests of dicts, lists, tensors and numbers are the same to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
