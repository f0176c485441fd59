"""Made-up tables of the study of guidance, whose truth is known."""

import pandas as pd

from lab_utils.study.guidance_results import Way
from lab_utils.study.guidance_study import AUTO, grid
from lab_utils.study.guidance_truth import MIXTURE

UNGUIDED = {"accuracy": 0.9, "energy distance": 1.5, "blur": 2.0, "strays": 3.0, "coverage": 0.8, "copies": 1.05}
CLASSES = ("here", "there")
SEEDS = 5


def table(effect=None, *, seeds=SEEDS, chance=0.01, missing=None):
    """A study in which `effect(way, measure)` is added to what the unguided model reads, × real, or in nats.

    Seeds differ by far more than ways do, and classes, too. The chance of each run is about `chance`, and cancels
    itself over five seeds; `missing(way, seed)` are left out.
    """
    rows, ways = [], len([*grid(seeds=1)])
    for number, one in enumerate(grid(seeds=seeds)):
        way = Way(**{name: value for name, value in one.items() if name != "seed"})
        seed = one["seed"]
        if missing and missing(way, seed):
            continue
        noise = chance * ((seed + number % ways) % 5 - 2) / 2
        for place, label in enumerate(CLASSES):
            row = {**one, "class": label}
            for measure, multiple in UNGUIDED.items():
                more = (seed - 2) * 0.005 + (place - 0.5) * 0.02
                row[measure] = multiple + more + noise + (effect(way, measure) if effect else 0)
            row["real accuracy"] = 0.5 * (place + 1)  # so that shares are not multiples of real
            row["accuracy"] *= row["real accuracy"]
            laws = ("class",) if way.guidance == AUTO else ("class", "powered")
            for law in laws:
                measure = f"JS to {law}"
                far = effect(way, measure) if effect and way.data == MIXTURE else 0
                row[measure] = 0.004 + abs(noise) / 100 + far
                row[f"real {measure}"] = 0.004
            rows.append(row)
    return pd.DataFrame(rows)


def only(guidance, **effects):
    """An effect of one kind of guidance with w > 1, "energy_distance" for "energy distance": the same for all w."""

    def effect(way, measure):
        return effects.get(measure.replace(" ", "_"), 0) if way.guidance == guidance and way.weight > 1 else 0

    return effect
