"""Few points are drawn as dots that one can see; axes have the names of the data's columns."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab_utils import figures
from lab_utils.figures.display import png
from lab_utils.figures.style import dot_size

EXTENT = (-3.0, 3.0, -3.0, 3.0)
NAMES = ("east", "north")


def cloud(n):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).numpy()


def blue(figure):
    """The share of a figure that is neither white nor grey."""
    pixels = np.asarray(Image.open(io.BytesIO(png(figure))).convert("RGB")).astype(int)
    return np.mean(np.ptp(pixels, axis=2) > 60)


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_fewer_dots_are_never_smaller_and_many_have_the_size_that_was_chosen(n, m):
    few, many = min(n, m), max(n, m)
    assert dot_size(few, 2.0, 5000) >= dot_size(many, 2.0, 5000) >= 2.0
    assert dot_size(few, 2.0, 5000) <= 24.0
    assert dot_size(5000 + n, 2.0, 5000) == 2.0


@pytest.mark.parametrize("columns", [1, 2])
def test_a_map_of_300_points_has_as_much_ink_as_one_of_5000_to_a_factor_of_three(columns):
    """With dots of the same size it has a sixteenth: a map that looks empty."""
    panels = [dict.fromkeys("abcd"[: columns**2], cloud(n)) for n in (300, 5000)]
    few, many = (blue(figures.maps(panel, EXTENT, columns=columns)) for panel in panels)
    assert many / 3 < few < 3 * many
    same = blue(figures.maps(panels[0], EXTENT, columns=columns, size=2.0 / columns**2))
    assert same < few / 4


def test_the_way_back_and_the_training_draw_few_points_as_larger_dots():
    def sizes(n):
        frame = figures.reverse_animation({"mine": {1000: cloud(n)}}, EXTENT)._fig
        view = figures.training_view([1.0, 0.9], 0.5, {1: 0.1}, cloud(2000), cloud(n))
        return [float(axes.collections[0].get_sizes()[0]) for axes in (frame.axes[0], view.axes[2])]

    assert sizes(2000) == sizes(20_000) == [1.5, 1.0]
    assert all(few > 5 * many for few, many in zip(sizes(300), sizes(2000), strict=True))


def test_axes_are_called_as_the_columns_of_the_data_are():
    view = figures.training_view([1.0, 0.9], 0.5, {1: 0.1}, cloud(9), cloud(9), labels=NAMES).axes[2]
    chart = figures.maps({"a": cloud(9)}, EXTENT, labels=NAMES).axes[0]
    frame = figures.reverse_animation({"a": {2: cloud(9)}}, EXTENT, NAMES)._fig.axes[0]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in (view, chart, frame)] == [NAMES] * 3


def test_points_at_one_place_have_a_frame_that_can_be_drawn():
    place = np.ones((5, 2))
    extent = figures.around(place, margin=0.1)
    assert extent == pytest.approx((0.9, 1.1, 0.9, 1.1))
    assert blue(figures.maps({"one place": place}, extent)) > 0
