"""The mask of strays is the distance "strays", point by point."""

import numpy as np
import pytest
import torch

from lab_utils.measure.neighbours import stray_mask, strays


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.standard_t(3, (800, 2)), rng.standard_normal((3000, 2))


def test_its_mean_is_the_distance(sets):
    points, real = sets
    mask = stray_mask(points, real)
    assert mask.shape == (800,)
    assert mask.dtype == bool
    assert 0 < mask.mean() == strays(torch.from_numpy(points), torch.from_numpy(real))


def test_it_marks_the_points_that_are_farther_from_real_ones_than_these_are_from_each_other(sets):
    points, real = sets
    between = np.sort(np.linalg.norm(real[:, None] - real, axis=2), axis=1)[:, 1]
    nearest = np.linalg.norm(points[:, None] - real, axis=2).min(axis=1)
    mask = stray_mask(points, real)
    far = np.sort(between)[[-4, -3]]  # between these is the 99.9 % point of 3000
    assert mask[nearest > far[1]].all()
    assert not mask[nearest < far[0]].any()


def test_it_is_the_same_in_all_units_and_for_tensors(sets):
    points, real = sets
    mask = stray_mask(points, real)
    assert np.array_equal(stray_mask(1024 * points, 1024 * real), mask)  # a power of two, so that nothing is rounded
    assert np.array_equal(stray_mask(torch.from_numpy(points), torch.from_numpy(real)), mask)
    assert np.array_equal(stray_mask(points[:1], real), mask[:1])


def test_points_that_cannot_be_judged_are_an_error(sets):
    points, real = sets
    with pytest.raises(ValueError, match="real points: 1 given, at least 2"):
        stray_mask(points, real[:1])
    with pytest.raises(ValueError, match="generated points must be finite"):
        stray_mask(points * np.nan, real)
