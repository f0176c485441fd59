"""What an argument may be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lab_utils.base.arguments import PointsError
from lab_utils.points.dataset import check_points


@pytest.fixture
def write(tmp_path):
    """Write bytes to a CSV file and give its path."""

    def _write(content: bytes) -> Path:
        path = tmp_path / "points.csv"
        path.write_bytes(content)
        return path

    return _write


# --- the check that other modules rely on


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_points_of_any_number_and_float_type_pass_the_check(dtype, n):
    check_points(torch.zeros(n, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (torch.tensor([1, 2, 3]), "torch.int64 of shape (3,)"),
        (torch.zeros(4, 3), "torch.float32 of shape (4, 3)"),
        (torch.zeros(2), "torch.float32 of shape (2,)"),
        (torch.zeros(1, 4, 2), "torch.float32 of shape (1, 4, 2)"),
        (torch.zeros(4, 2, dtype=torch.complex64), "torch.complex64 of shape (4, 2)"),
        (np.zeros((4, 2)), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_what_is_not_points_is_refused_with_its_name_type_and_shape(wrong, got):
    with pytest.raises(PointsError) as caught:
        check_points(wrong, "x_t")
    assert str(caught.value) == f"x_t must be a float tensor of shape (n, 2); got {got}"
    assert isinstance(caught.value, ValueError)
