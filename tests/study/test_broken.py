"""What a check of the shape shows is found out by asking, not written down."""

import pytest

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear
from lab_utils.measure.model_checks import CHECKS, Finding
from lab_utils.study import broken
from lab_utils.study.broken import BROKEN, failed, shape_shows_that_a_model_is_right


@pytest.mark.parametrize(("kind", "check"), [*zip(BROKEN, ["time", "axes", "rows", "gradients", "noise"], strict=True)])
def test_each_broken_network_fails_the_check_of_its_mistake_but_not_that_of_the_shape(kind, check):
    found = failed(kind(schedule=linear()))
    assert check in found
    assert "shape" not in found


def test_a_sound_network_fails_none():
    assert failed(DiffusionGenerator(schedule=linear())) == []


def test_the_verdict_turns_if_the_shape_finds_every_mistake(monkeypatch):
    verdict, decides, _ = shape_shows_that_a_model_is_right()
    assert verdict == "false"
    assert decides.startswith("5 of 5 broken networks pass")
    monkeypatch.setitem(CHECKS, "shape", lambda model: Finding(0.0, type(model) is DiffusionGenerator))
    verdict, decides, _ = shape_shows_that_a_model_is_right()
    assert verdict == "not refuted"
    assert decides.startswith("0 of 5 broken networks pass")


def test_a_check_that_sees_nothing_is_not_counted(monkeypatch):
    monkeypatch.setattr(broken, "BROKEN", (DiffusionGenerator,))
    assert "that pass it, 0 fail" in shape_shows_that_a_model_is_right()[2]
