"""Differences of counts are those of SciPy's contingency table, and about 1 in size when there is none."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from lab_utils.measure.cells import count_differences

BOX = (-2.0, 2.0, -1.0, 1.0)


def uniform(n, seed):
    points = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return points * torch.tensor([4.0, 2.0]) + torch.tensor([-2.0, -1.0])


def test_a_cell_is_where_it_is_on_the_map():
    """All points of one cell: third column, lowest row."""
    here = torch.tensor([[0.5, -0.9]]).repeat(30, 1)
    found = count_differences(torch.cat([here, uniform(100, 0)]), uniform(100, 1), BOX, (4, 2))
    assert found.shape == (2, 4)
    assert np.nanargmax(found) == 2
    assert found[0, 2] > 2.5


def test_of_the_same_source_the_mean_square_is_1():
    """Over 200 cells it is known to √(2/200) = 0.1."""
    found = count_differences(uniform(40_000, 0), uniform(20_000, 1), BOX, (20, 10))
    assert float(np.mean(found**2)) == pytest.approx(1, abs=0.4)
    assert abs(float(found.mean())) < 0.4


def test_the_sum_of_squares_is_near_pearsons():
    """Pearson's χ² of the table of both counts; ours lacks its factor 1/(1 − p) only."""
    a, b = uniform(3000, 0), uniform(5000, 1)
    found = count_differences(a, b, BOX, (10, 5))
    counts = [np.histogram2d(x[:, 1].numpy(), x[:, 0].numpy(), (5, 10), [[-1, 1], [-2, 2]])[0].ravel() for x in (a, b)]
    pearson = chi2_contingency(np.stack(counts)).statistic
    assert float(np.sum(found**2)) == pytest.approx(pearson, rel=1e-9)


def test_cells_with_hardly_a_point_say_nothing_and_points_outside_do_not_count():
    few = torch.tensor([[-1.9, -0.9]]).repeat(4, 1)
    many = torch.tensor([[1.9, 0.9]]).repeat(20, 1)
    outside = torch.tensor([[50.0, 0.0]]).repeat(7, 1)
    found = count_differences(torch.cat([few, many]), torch.cat([few, many, outside]), BOX, (2, 2))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1, 0])
    assert found[1, 1] == pytest.approx((20 / 24 - 20 / 31) / np.sqrt(40 / 55 * (1 / 24 + 1 / 31)))
