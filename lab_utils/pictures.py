"""Points from a picture: dark pixels are mass."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lab_utils import SEED
from lab_utils.points import PointsError

FORMATS = ("PNG", "JPEG")
MOST_BYTES, MOST_PIXELS = 50_000_000, 50_000_000  # of a file, and of the picture in it
SIDE = 1024  # a larger picture is made smaller first: finer detail no model of some thousand points can learn
FAINT = 0.05  # darker than the paper by less than this is paper: a scan's grain, or what JPEG adds to white


def draw_picture(path: str | Path, n: int = 20_000, *, seed: int = SEED) -> Tensor:
    """Draw `n` points from a picture: (n, 2) float64, in pixels, x to the right and y upwards.

    A pixel is as likely as it is darker than the paper, whose brightness is the median along the picture's edge; if most
    of the picture is brighter than its edge, bright pixels are the mass. Within its pixel a point lies anywhere. What is
    transparent counts as white.

    Args:
        path: of a PNG or JPEG file.
        n: how many points.
        seed: the same seed gives the same points.

    Raises:
        PointsError: if the file can't be read, is no such picture, is too large, or has nothing on it; or `n` is below 1.
    """
    if n < 1:
        raise PointsError(f"n must be 1 or more; got {n}")
    mass = _mass(_brightness(Path(path)), str(path))
    rng = np.random.default_rng(seed)
    pixels = rng.choice(mass.size, n, p=(mass / mass.sum()).ravel())
    rows, columns = np.divmod(pixels, mass.shape[1])
    corner = np.stack([columns, mass.shape[0] - 1 - rows], axis=1)
    return torch.from_numpy(corner + rng.random((n, 2)))


def _brightness(path: Path) -> NDArray[np.float64]:
    """(height, width), from 0 for black to 1 for white."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise PointsError(f"{path} has {size / 1e6:.0f} MB; a picture may have {MOST_BYTES / 1e6:.0f}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the check below is stricter
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise PointsError(
                        f"{path} has {width} × {height} pixels; a picture may have {MOST_PIXELS:,} in all: make it smaller"
                    )
                picture.thumbnail((SIDE, SIDE))
                paper = Image.new("RGBA", picture.size, "white")
                flat = Image.alpha_composite(paper, picture.convert("RGBA")).convert("L")
    except PointsError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PointsError(f"{path} is no picture in {' or '.join(FORMATS)} ({error})") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a file that is cut or damaged
        raise PointsError(f"can't read {path} ({error}); save it again as PNG") from error
    return np.asarray(flat, dtype=np.float64) / 255


def _mass(brightness: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    darker = np.median(edge) - brightness
    mass = darker if darker.sum() >= 0 else -darker
    mass = np.where(mass > FAINT, mass, 0.0)
    if not mass.any():
        raise PointsError(f"{name} is of one brightness everywhere; expected something dark on something bright")
    return mass
