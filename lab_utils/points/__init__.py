"""Points of the plane: drawn, read, checked, normalised and split."""

from lab_utils.points.dataset import Dataset, Units, dataset
from lab_utils.points.pictures import EXAMPLE, chosen_options, chosen_source, draw_dots, draw_picture, own_points
from lab_utils.points.reading import Table, load, read_table
from lab_utils.points.shapes import PARTS, SHAPES, draw, draw_parts
from lab_utils.points.validation import Card, validate

__all__ = [
    "EXAMPLE",
    "PARTS",
    "SHAPES",
    "Card",
    "Dataset",
    "Table",
    "Units",
    "chosen_options",
    "chosen_source",
    "dataset",
    "draw",
    "draw_dots",
    "draw_parts",
    "draw_picture",
    "load",
    "own_points",
    "read_table",
    "validate",
]
