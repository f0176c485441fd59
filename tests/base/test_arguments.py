"""What an argument may be."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lab_utils.base.arguments import PointsError, as_points, check_classes, check_labels, check_points, class_number

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


# --- what a user has as points

FLOATS = hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))


@given(FLOATS.flatmap(lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(0, 5), st.just(2)))))
def test_an_array_becomes_a_tensor_of_the_same_numbers_and_the_same_precision(array):
    points = as_points(array)
    assert points.dtype == getattr(torch, f"float{8 * array.dtype.itemsize}")
    np.testing.assert_array_equal(points.numpy(), array)


def test_a_tensor_of_points_comes_back_as_it_is():
    points = torch.ones(3, 2)
    assert as_points(points) is points


def test_an_array_is_copied_so_that_nothing_changes_behind_the_user_s_back():
    array = np.ones((3, 2))
    as_points(array)[0, 0] = 5
    assert array[0, 0] == 1


@pytest.mark.filterwarnings("error")
def test_views_of_an_array_that_may_be_read_only_or_runs_backwards_are_taken():
    array = np.arange(8.0).reshape(4, 2)
    array.flags.writeable = False  # as what pandas hands out
    assert as_points(array).tolist() == array.tolist()
    assert as_points(array[::-1, ::-1]).tolist() == array[::-1, ::-1].tolist()
    assert as_points(array.reshape(2, 4).T).tolist() == array.reshape(2, 4).T.tolist()


def test_what_a_masked_array_hides_is_a_gap_and_no_number():
    hidden = np.ma.array([[1.0, 2.0], [3.0, -999.0]], mask=[[0, 0], [0, 1]])
    assert as_points(hidden).isnan().tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (np.zeros((4, 3)), "torch.float64 of shape (4, 3)"),
        (np.zeros(2, dtype=np.float32), "torch.float32 of shape (2,)"),
        (np.zeros((4, 2), dtype=int), "torch.int64 of shape (4, 2)"),
        (np.array([["1", "2"]]), "an array of <U1, shape (1, 2)"),
        (np.array([[1.0, None]]), "an array of object, shape (1, 2)"),
        (np.ma.array([[1, 2]], mask=[[0, 1]]), "an array of int64, shape (1, 2)"),
        (torch.zeros(4, 3), "torch.float32 of shape (4, 3)"),
        ([[1.0, 2.0]], "list"),
    ],
)
def test_what_cannot_be_points_is_refused_with_the_name_that_the_caller_gives(wrong, got):
    with pytest.raises(PointsError, match=r"^mine must be a float tensor of shape \(n, 2\)") as caught:
        as_points(wrong, "mine")
    assert str(caught.value).endswith(f"; got {got}")


# --- classes and labels

NAMES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8, unique=True)


@given(names=NAMES, data=st.data())
def test_classes_are_names_and_each_has_its_place(names, data):
    assert check_classes(names) == check_classes(tuple(names)) == tuple(names)
    name = data.draw(st.sampled_from(names))
    assert names[class_number(name, names)] == name
    with pytest.raises(PointsError, match="there is no class"):
        class_number(f"{''.join(names)}!", names)


def test_no_classes_are_none():
    assert check_classes(()) == check_classes([]) == ()


@pytest.mark.parametrize("labels", [[0, 2, 1], np.array([0, 2, 1], np.uint8), torch.tensor([0, 2, 1])])
def test_labels_of_any_whole_numbers_become_int64(labels):
    found = check_labels(labels, 3, 3)
    assert (found.tolist(), found.dtype) == ([0, 2, 1], torch.int64)
