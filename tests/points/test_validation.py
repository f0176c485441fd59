"""The validation card: it counts what is there, and warns of what would spoil a training, and of nothing else."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_utils.base.arguments import PointsError
from lab_utils.points.dataset import Dataset
from lab_utils.points.reading import load
from lab_utils.points.shapes import SHAPES, draw
from lab_utils.points.validation import FAR, validate


def cloud(n=3000, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_good_points_get_no_warning(shape):
    assert validate(draw(shape, 5000, 0)).verdict == "Nothing here will trouble a model."


def test_it_counts():
    points = torch.cat([cloud(1998) * 3 + 10, torch.tensor([[10.0, 10.0], [10.0, 10.0]], dtype=torch.float64)])
    card = validate(points, train=500)
    assert (card.points, card.places, card.train, card.held_out) == (2000, 1999, 500, 1500)
    assert card.values == (1999, 1999)
    assert card.low == tuple(points.min(dim=0).values.tolist())
    assert card.high == tuple(points.max(dim=0).values.tolist())
    assert 2.9 < card.scale < 3.1
    assert all(9.8 < value < 10.2 for value in card.shift)
    assert card.table().loc["different places", "found"] == "1999, so 1 duplicates"
    assert card.table().loc["points", "found"] == "2000: 500 to learn from, 1500 held out"


def test_the_normalisation_is_that_of_the_data_set():
    points = cloud() * torch.tensor([200.0, 30.0]) - 7
    card, units = validate(points), Dataset.of(points, "mine").units
    assert (card.shift, card.scale) == (tuple(units.shift.tolist()), units.scale)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (cloud(300), "300 points are few: what real points read is taken of the 150 that are held out"),
        (cloud(3000).round(decimals=1), "of the points stand where another one does"),
        (torch.stack([cloud(3000)[:, 0], cloud(3000)[:, 1].round()], dim=1), "different values only: a grid"),
        (torch.cat([cloud(3000), torch.tensor([[900.0, 900.0]]).double()]), "1 of the points are more than 7 times"),
        (cloud() * torch.tensor([100.0, 1.0]), "times as long as wide"),
        (torch.stack([torch.arange(2000.0), 2 * torch.arange(2000.0)], dim=1), "The cloud is a line."),
    ],
)
def test_what_would_spoil_a_training_is_told(points, says):
    (warning,) = validate(points).warnings
    assert says in warning


def test_the_cities_are_known_to_be_rounded_to_five_digits():
    """And some towns stand where another does, too few to matter."""
    card = validate(load("cities"))
    assert card.verdict == "Nothing here will trouble a model."
    assert card.places <= card.points


def test_all_on_one_line_is_infinitely_long():
    line = torch.zeros(2000, 2, dtype=torch.float64)
    line[:, 0] = torch.arange(2000.0)
    assert validate(line).elongation > 1e6


@given(
    st.floats(0, 2 * math.pi),
    st.floats(0.01, 1000),
    st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_turning_scaling_and_shifting_change_no_finding(angle, scale, shift):
    points = torch.cat([cloud(1200) * torch.tensor([4.0, 1.0]), torch.tensor([[80.0, 80.0]]).double()])
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    one, other = validate(points), validate(scale * points @ turn.T + torch.tensor(shift))
    assert (one.points, one.lonely, one.train) == (other.points, other.lonely, other.train)
    assert other.elongation == pytest.approx(one.elongation, rel=1e-3)
    assert other.farthest == pytest.approx(one.farthest, rel=1e-3)
    assert one.farthest > FAR


@pytest.mark.parametrize("points", [torch.zeros(5, 3), torch.ones(50, 2), torch.tensor([[math.nan, 1.0], [0.0, 0.0]])])
def test_what_is_no_data_set_gets_no_card(points):
    with pytest.raises(PointsError):
        validate(points)
