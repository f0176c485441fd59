"""The explorers: what their sliders ask for, what they then show, and that a bad choice is explained, not raised."""

import base64

import numpy as np
import pytest

from lab_utils import widgets
from lab_utils.schedules import ScheduleError, cosine, linear, sigmoid

PNG = b"\x89PNG"
ENDS = {"beta_start": 1e-4, "beta_end": 0.02, "start": -5.0, "end": 5.0, "timesteps": 1000}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", linear()),
        ("sigmoid", sigmoid()),
        ("sigmoid, not rescaled", sigmoid(reading="raw")),
        ("cosine", cosine()),
    ],
)
def test_each_kind_is_the_schedule_of_that_name(kind, expected):
    assert kind in widgets.KINDS
    assert widgets.make_schedule(kind, **ENDS).betas.equal(expected.betas)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ScheduleError, match="quadratic"):
        widgets.make_schedule("quadratic", **ENDS)


def test_the_view_is_a_picture_and_the_doctors_report():
    picture, report = widgets.schedule_view(kind="linear", **ENDS)
    assert picture.startswith(PNG)
    assert "reaches 0 too early" in report
    assert "674 of 1000" in report
    assert "ᾱ &lt; 0.01" in report  # escaped: it is text, not a tag


def test_a_schedule_that_cannot_be_is_explained():
    picture, report = widgets.schedule_view(kind="sigmoid", **{**ENDS, "start": 0.0, "end": 0.0})
    assert picture == b""
    assert "cannot be used" in report
    assert "start &lt; end" in report


def _find(explorer, description):
    return next(w for w in explorer.children if getattr(w, "description", None) == description)


def test_moving_a_slider_of_the_schedule_explorer_changes_picture_and_report():
    explorer = widgets.schedule_explorer()
    picture, report = explorer.children[-2:]
    assert 'alt="ᾱ and the signal-to-noise ratio' in picture.value
    before = picture.value, report.value
    _find(explorer, "kind").value = "sigmoid"
    assert picture.value != before[0]
    assert "9.2%" in report.value
    _find(explorer, "sigmoid to").value = 3.0
    assert "9.2%" not in report.value


def test_only_the_sliders_of_the_chosen_kind_can_be_moved():
    explorer = widgets.schedule_explorer()
    ends = ["β, first step", "β, last step", "sigmoid from", "sigmoid to"]

    def disabled(kind):
        _find(explorer, "kind").value = kind
        return [_find(explorer, description).disabled for description in ends]

    assert disabled("sigmoid") == [True, True, False, False]
    assert disabled("cosine") == [True, True, True, True]
    assert disabled("linear") == [False, False, True, True]


@pytest.fixture
def paths():
    points = np.random.default_rng(0).normal(size=(50, 2))
    return {name: {k: points * sign * (1 + k) for k in (0, 500, 1000)} for name, sign in (("a", 1), ("b", -1))}


def test_the_reverse_view_shows_the_step_that_was_asked_for(paths):
    views = [widgets.reverse_view(paths, step, (-3, 3, -3, 3), ("x", "y")) for step in (0, 500, 500)]
    assert all(view.startswith(PNG) for view in views)
    assert views[0] != views[1]
    assert views[1] == views[2]


def test_moving_the_reverse_slider_changes_the_picture(paths):
    explorer = widgets.reverse_explorer(paths, (-3, 3, -3, 3))
    slider, picture = explorer.children
    assert list(slider.options) == [0, 500, 1000]
    before = picture.value
    slider.value = 1000
    assert picture.value != before
    drawn = widgets.reverse_view(paths, 1000, (-3, 3, -3, 3), ("x", "y"))
    assert base64.b64encode(drawn).decode() in picture.value
    assert "after 1000 reverse steps" in picture.value
