"""The first page's own: findings beside their pictures, claims with links, and the picture that moves."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lab_utils.report.labels import Labelled

FRAME, LAST = 120, 3000  # milliseconds that a frame of the moving picture is seen, and the last one
TALL = 1.2  # a picture is tall if it is so many times as high as wide


@dataclass(frozen=True)
class Finding:
    """What was found: the sentence as a notebook shows it, and the figure in which one sees it, if it is there."""

    shown: Labelled
    picture: Labelled | None

    @property
    def tall(self) -> bool:
        """Whether its picture is so high that it needs the room of two."""
        if self.picture is None:
            return False
        with Image.open(io.BytesIO(base64.b64decode(self.picture.output.data["image/png"]))) as picture:
            return picture.height > TALL * picture.width


def _by_name(items: Sequence[Labelled]) -> dict[str, Labelled]:
    """Name → what is seen under it: the first of that name."""
    return {item.name: item for item in reversed(items)}


def findings(items: Sequence[Labelled]) -> list[Finding]:
    """The findings in the order of their numbers."""
    figures = _by_name([item for item in items if item.kind == "figure"])
    found = sorted((item for item in items if item.kind == "finding"), key=lambda item: item.number)
    return [Finding(item, figures.get(item.label["figure"])) for item in found]


def claims(item: Labelled, items: Sequence[Labelled]) -> list[dict[str, Any]]:
    """The claims of one label: claim, verdict, what decides, more, the name of where one sees it, and the place."""
    places = _by_name(items)
    return [{**row, "place": places.get(row["see"])} for row in item.label["rows"]]


def write_moving_picture(animation: Labelled, folder: Path) -> None:
    """Write the frames of a player as an animated GIF, and the last one as a PNG for those who want no movement."""
    player = animation.output.data["text/html"]
    frames = [base64.b64decode(frame) for frame in re.findall(r'image/png;base64,([^"]+)"', player)]
    first, *others = (Image.open(io.BytesIO(frame)) for frame in frames)
    seen = [FRAME] * len(others) + [LAST]
    first.save(folder / f"{animation.anchor}.gif", save_all=True, append_images=others, duration=seen, loop=0)
    (folder / f"{animation.anchor}.png").write_bytes(frames[-1])
