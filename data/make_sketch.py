"""Make data/sketch.png: a boat, drawn with lines of our own, for who has no picture at hand.

`python data/make_sketch.py` writes the picture beside this script.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 640, 480
FINE = 4  # drawn so many times larger and then made smaller, which smooths the edges


def sketch() -> Image.Image:
    """The picture: white paper, the sea in waves, a dark hull, a grey sail, a sun."""
    picture = Image.new("L", (WIDTH * FINE, HEIGHT * FINE), 255)
    pen = ImageDraw.Draw(picture)

    def line(points: list[tuple[float, float]], width: float, ink: int = 0) -> None:
        pen.line([(x * FINE, y * FINE) for x, y in points], fill=ink, width=round(width * FINE), joint="curve")

    def area(points: list[tuple[float, float]], ink: int) -> None:
        pen.polygon([(x * FINE, y * FINE) for x, y in points], fill=ink)

    area([(190, 300), (470, 300), (425, 360), (240, 360)], 30)  # the hull
    line([(320, 300), (320, 60)], 6)  # the mast
    area([(332, 80), (332, 280), (460, 280)], 150)  # the mainsail
    area([(308, 110), (308, 280), (215, 280)], 200)  # the foresail
    line([(332, 80), (332, 280), (460, 280), (332, 80)], 3)
    line([(308, 110), (308, 280), (215, 280), (308, 110)], 3)
    line([(320, 60), (360, 48), (320, 40)], 4)  # the pennant
    for row in range(3):  # the sea
        wave = [(x, 385 + 28 * row + 9 * math.sin(x / 22 + 1.7 * row)) for x in range(40, 601, 4)]
        line(wave, 4)
    middle, radius = (545, 105), 34  # the sun
    circle = [angle * math.tau / 90 for angle in range(91)]
    line([(middle[0] + radius * math.cos(a), middle[1] + radius * math.sin(a)) for a in circle], 4)
    for ray in range(12):
        a = ray * math.tau / 12
        line([(middle[0] + r * math.cos(a), middle[1] + r * math.sin(a)) for r in (radius + 10, radius + 26)], 3)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)


if __name__ == "__main__":
    sketch().save(Path(__file__).with_name("sketch.png"), optimize=True)
