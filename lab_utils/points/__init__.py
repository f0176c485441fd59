"""Points of the plane: drawn, read, checked, normalised and split."""

from lab_utils.points.dataset import Dataset, Units, dataset
from lab_utils.points.pictures import EXAMPLE, chosen_source, draw_dots, draw_picture, own_points
from lab_utils.points.reading import load
from lab_utils.points.shapes import SHAPES, draw
from lab_utils.points.validation import Card, validate

__all__ = [
    "EXAMPLE",
    "SHAPES",
    "Card",
    "Dataset",
    "Units",
    "chosen_source",
    "dataset",
    "draw",
    "draw_dots",
    "draw_picture",
    "load",
    "own_points",
    "validate",
]
