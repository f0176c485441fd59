"""Points of one's own: from a picture, in which dark pixels are mass, from a drawing, or from a file of points."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lab_utils import SEED
from lab_utils.base.arguments import PointsError
from lab_utils.base.files import DATA, DATA_OPTIONS_VARIABLE, DATA_VARIABLE
from lab_utils.points.columns import Column
from lab_utils.points.reading import Missing, Table, read_table
from lab_utils.points.tables import check_file

FORMATS, SUFFIXES = ("PNG", "JPEG"), (".png", ".jpg", ".jpeg")
MOST_BYTES, MOST_PIXELS = 50_000_000, 50_000_000  # of a file, and of the picture in it
SIDE = 1024  # a larger picture is made smaller first: finer detail no model of some thousand points can learn
EXAMPLE = DATA / "sketch.png"  # for who has nothing of his own at hand
PEN = 8.0  # pixels: how wide a line becomes that was drawn as dots
FAINT = 0.05  # darker than the paper by less than this is paper: a scan's grain, or what JPEG adds to white


def chosen_source() -> Path:
    """The file that `make report DATA=…` names, or the example."""
    return Path(os.environ.get(DATA_VARIABLE) or EXAMPLE)


def chosen_options() -> dict[str, Any]:
    """What `make report COLUMNS=… LABEL=… MISSING=…` says of that file: arguments for `own_points`."""
    options: dict[str, Any] = json.loads(os.environ.get(DATA_OPTIONS_VARIABLE) or "{}")
    return options


def own_points(
    source: str | Path,
    n: int = 20_000,
    *,
    columns: Sequence[Column] | None = None,
    label: Column | None = None,
    missing: Missing = "raise",
    seed: int = SEED,
) -> Table:
    """The points of a file: all of a table (see `read_table`), or `n` that are drawn from a picture.

    Raises:
        PointsError: if the file can't be read, or there are no points in it; or a picture is asked for columns.
    """
    if Path(source).suffix.lower() not in SUFFIXES:
        return read_table(Path(source), columns=columns, label=label, missing=missing)
    if columns is not None or label is not None:
        raise PointsError(f"{source} is a picture, which has no columns; leave out columns and label")
    return Table(draw_picture(source, n, seed=seed))


def draw_dots(dots: Sequence[Mapping[str, Any]], n: int = 20_000, *, seed: int = SEED) -> Tensor:
    """Draw `n` points from a drawing made of dots: (n, 2) float64, in pixels, y upwards.

    A dot leaves ink in a disc `PEN` pixels wide, and ink is mass.

    Args:
        dots: each with its "x" and "y", as `drawdata.ScatterWidget.data` has them.
        n: how many points.
        seed: the same seed gives the same points.

    Raises:
        PointsError: if nothing was drawn, or `n` is below 1.
    """
    _check_count(n)
    if not dots:
        raise PointsError("nothing is drawn yet; draw in the field above, then run this cell again")
    rng = np.random.default_rng(seed)
    centres = np.array([[dot["x"], dot["y"]] for dot in dots], dtype=np.float64)
    angle, radius = 2 * np.pi * rng.random(n), PEN / 2 * np.sqrt(rng.random(n))  # the root: even over a disc
    return torch.from_numpy(rng.choice(centres, n) + (radius * np.array([np.cos(angle), np.sin(angle)])).T)


def _check_count(n: int) -> None:
    if n < 1:
        raise PointsError(f"n must be 1 or more; got {n}")


def draw_picture(path: str | Path, n: int = 20_000, *, seed: int = SEED) -> Tensor:
    """Draw `n` points from a picture: (n, 2) float64, in pixels, x to the right and y upwards.

    A pixel is as likely as it is darker than the paper, whose brightness is the median along the picture's edge; if
    most of the picture is brighter than its edge, bright pixels are the mass. Within its pixel a point lies anywhere.
    What is transparent counts as white.

    Args:
        path: of a PNG or JPEG file.
        n: how many points.
        seed: the same seed gives the same points.

    Raises:
        PointsError: if the file can't be read, is no such picture, is too large or has nothing on it; or `n` < 1.
    """
    _check_count(n)
    mass = _mass(_brightness(Path(path)), str(path))
    rng = np.random.default_rng(seed)
    pixels = rng.choice(mass.size, n, p=(mass / mass.sum()).ravel())
    rows, columns = np.divmod(pixels, mass.shape[1])
    corner = np.stack([columns, mass.shape[0] - 1 - rows], axis=1)
    return torch.from_numpy(corner + rng.random((n, 2)))


def _brightness(path: Path) -> NDArray[np.float64]:
    """(height, width), from 0 for black to 1 for white."""
    try:
        check_file(path, MOST_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the check below is stricter
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise PointsError(
                        f"{path} has {width} × {height} pixels; a picture may have {MOST_PIXELS:,} in all: shrink it"
                    )
                picture.thumbnail((SIDE, SIDE))
                upright = _eight_bits(ImageOps.exif_transpose(picture)).convert("RGBA")
                paper = Image.new("RGBA", upright.size, "white")
                flat = Image.alpha_composite(paper, upright).convert("L")
    except PointsError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PointsError(f"{path} is no picture in {' or '.join(FORMATS)} ({error})") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a file that is cut or damaged
        raise PointsError(f"can't read {path} ({error}); save it again as PNG") from error
    return np.asarray(flat, dtype=np.float64) / 255


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16-bit grey in 8 bits; any other as it is. Pillow's own conversion cuts off what is above 255."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


def _mass(brightness: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    darker = np.median(edge) - brightness
    mass = darker if darker.sum() >= 0 else -darker
    mass = np.where(mass > FAINT, mass, 0.0)
    if not mass.any():
        raise PointsError(f"{name} is of one brightness everywhere; expected something dark on something bright")
    return mass
