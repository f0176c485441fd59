"""The two-sample test by a classifier: can it tell generated points from real ones?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lab_utils import SEED
from lab_utils.measure.distance import Array, Distance, array_of


def _shuffled(points: Tensor) -> Array:
    """The points in an order that cuts them into random halves, the same ones each time."""
    return array_of(points[torch.randperm(len(points), generator=torch.Generator().manual_seed(SEED))])


def _accuracy(x: Tensor, shuffled_x: Array, y: Tensor, shuffled_y: Array) -> float:
    from sklearn.ensemble import ExtraTreesClassifier  # here, because it is slow to import

    n = min(len(x), len(y))  # as many of both, so that guessing is right half the time
    half = n // 2
    # Measured against nearest neighbours (5 to 151), boosting and random forests, on towns and Gaussians that were
    # blurred, shifted, stretched or cut: it alone is near the best at fine detail and at missing mass alike.
    trees = ExtraTreesClassifier(100, min_samples_leaf=3, random_state=SEED)
    trees.fit(np.concatenate([shuffled_x[:half], shuffled_y[:half]]), np.repeat([0, 1], half))
    said = trees.predict(np.concatenate([shuffled_x[half:n], shuffled_y[half:n]]))
    return float(np.mean(said == np.repeat([0, 1], n - half)))


def _chance(accuracies: Sequence[float], n: int) -> float:
    from scipy.stats import binomtest  # here, because it is slow to import

    tests = 2 * (n - n // 2)
    right = sum(round(accuracy * tests) for accuracy in accuracies)
    return float(binomtest(right, len(accuracies) * tests, alternative="greater").pvalue)


classifier = Distance(
    """Accuracy of a classifier (extremely randomised trees) that is to tell unseen generated points from real ones.

    The two-sample test of Lopez-Paz & Oquab 2017, section 3: half of both sets to learn from, the other half to be
    told apart. Real points read ½. The p-value is the exact binomial's at all answers about independent pairs of sets.
    """,
    prepare=_shuffled,
    between=_accuracy,
    share=True,
    symmetric=True,
    smooth=False,
    least=2,
    p_value=_chance,
)
