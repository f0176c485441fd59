"""Which columns of a table are x and y: those chosen, longitude and latitude by their names, or the only two."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from shlex import quote

from lab_utils.base.arguments import PointsError, is_whole
from lab_utils.points.tables import Sheet

Column = str | int  # its name, or its number, counted from 0 as in pandas; of text, a name goes before a number

LATITUDE = {"lat", "latitude", "szerokość geograficzna", "geographische breite", "breitengrad"}
LONGITUDE = {"lon", "lng", "long", "longitude", "długość geograficzna", "geographische länge", "längengrad"}
BESIDES = {"deg", "degree", "degrees", "decimal", "dd", "gps", "geo", "wgs", "n", "e"}  # words that change nothing


def find(column: Column, table: Sheet, source: str) -> int:
    """The place of `column` in the table, which messages call `source`.

    Raises:
        PointsError: there is no such column, or several have that name.
    """
    names = [*table.names]
    if isinstance(column, str) and names.count(column) > 1:
        numbers = " or ".join(str(place) for place, name in enumerate(names) if name == column)
        raise PointsError(f"{source} has several columns {column!r}; take one by its number: {numbers}")
    if isinstance(column, str) and column and column in names:
        return names.index(column)
    if isinstance(column, str) and re.fullmatch("[0-9]+", column):
        column = int(column)
    if is_whole(column, 0) and column < len(names):
        return column
    known = _listed(table, range(len(names)))
    raise PointsError(f"{source} has no column {column!r}; it has {known}. Numbers run from 0 to {len(names) - 1}")


def choose(columns: Sequence[Column] | None, label: int | None, table: Sheet, source: str) -> tuple[int, int]:
    """The places of x and y in the table: `columns`, or what the names say, or the only two besides the label.

    Where the names decide, that is said on stderr.

    Raises:
        PointsError: `columns` are no two columns of the table, or there is no choice and no telling.
    """
    if columns is not None:
        if isinstance(columns, str) or len(columns) != 2:
            raise PointsError(f"columns must be two names or numbers, as in ('lon', 'lat'); got {columns!r}")
        x, y = (find(column, table, source) for column in columns)
        if len({x, y, label}) < 3:
            raise PointsError(f"{source}: x, y and the label must be different columns; got {columns!r}")
        return x, y
    others = [place for place in range(len(table.names)) if place != label]
    longitudes, latitudes = ([p for p in others if _plain(table.names[p]) in known] for known in (LONGITUDE, LATITUDE))
    if len(longitudes) == len(latitudes) == 1:
        x, y = longitudes[0], latitudes[0]
        if others != [x, y]:
            print(f"{source}: x is {table.names[x]!r}, y is {table.names[y]!r}, by their names.", file=sys.stderr)
        return x, y
    if len(others) == 2:
        return others[0], others[1]
    count = f"{len(table.names)} column{'s' * (len(table.names) != 1)}"
    raise PointsError(f"{source} has {count}; {_how_to_choose(table, label, source)}")


def _plain(name: str) -> str:
    """A name in small letters, without units and the like: "Latitude (deg)" and "decimalLatitude" are "latitude"."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return " ".join(word for word in words if word not in BESIDES)


def _how_to_choose(table: Sheet, label: int | None, source: str) -> str:
    numeric = [place for place in table.numeric() if place != label]
    if len(numeric) < 2:
        return f"expected two or more with numbers, but there are {len(numeric)}: {_listed(table, numeric) or 'none'}"
    names = [table.names[place] for place in numeric[:2]]
    unclear = any(not name or "," in name or table.names.count(name) > 1 for name in names)
    x, y = numeric[:2] if unclear else names
    python, command = f"load({source!r}, columns=({x!r}, {y!r}))", f"DATA={quote(source)} COLUMNS={quote(f'{x},{y}')}"
    known = _listed(table, numeric)
    return f"which two are x and y? With numbers there are {known}. Choose: {python}, or make report {command}"


def _listed(table: Sheet, places: Sequence[int]) -> str:
    """These columns by name, or by number where one has none; of very many, the first."""
    shown = [repr(table.names[place]) if table.names[place] else str(place) for place in places[:30]]
    return ", ".join(shown) + ", …" * (len(places) > 30)
