"""The page on which the trained networks sample in the reader's browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from markupsafe import Markup
from tqdm import tqdm

from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import KINDS
from lab_utils.exact.squares import exact_squares
from lab_utils.measure.benchmark import Benchmark
from lab_utils.points.dataset import SPLIT, Dataset, dataset
from lab_utils.report.pages import LIVE, environment
from lab_utils.report.readings import from_tables, measured
from lab_utils.runs.fit import Run, job_of
from lab_utils.runs.kept import kept_network
from lab_utils.study import guidance_truth, sampler_study, sweeps
from lab_utils.study.table import TableError, read_table
from lab_utils.widgets import drawing, paths
from lab_utils.widgets.guidance import guidance_payload, guidance_script
from lab_utils.widgets.live import STYLE, page_script
from lab_utils.widgets.payload import POINTS, SOLVERS, Choice, Live, Reading, rounded

EXTENT, LABELS = (-185.0, 235.0, -105.0, 145.0), ("longitude / °", "latitude / °")
MAP = (-180.0, 180.0, -60.0, 85.0)  # of points that are no noise
EPOCHS = (200, 500, 1000, 2000)
BETTER: Mapping[str, Any] = {**sweeps.BETTER, "epochs": 500}
ELSEWHERE = "It has learnt another draw of 5000 towns than the others, which decides much of its energy distance."
SEEDS = (SPLIT, 0)  # of the better recipe's training: the first that a notebook has made


@dataclass(frozen=True)
class Trained:
    """A network that a notebook has trained.

    Attributes:
        name: what it is called on the page.
        network: with its weights rounded, as a browser has them.
        data: what it has learnt, and what it hasn't seen.
        change: what its recipe changes of the original's.
        epoch: after which it is asked.
    """

    name: str
    network: DiffusionGenerator
    data: Dataset
    change: Mapping[str, Any]
    epoch: int


def trained() -> tuple[list[Trained], list[str]]:
    """The networks that are in the cache, and the names of those that aren't. Nothing is trained for a page."""
    found, missing = [], []
    towns = dataset("cities")
    for epoch in EPOCHS:
        for kind in ("sigmoid", "linear"):
            name = f"original, {epoch} epochs"
            run = Run(job_of(DiffusionGenerator(schedule=KINDS[kind]()), towns), torch.empty(0))
            change = {} if kind == "sigmoid" else {"schedule": kind}
            try:
                found.append(Trained(name, rounded(run.model(epoch)), towns, change, epoch))
            except (OSError, ValueError):
                missing.append(f"{name}, {kind}")
    better = f"better recipe, {BETTER['epochs']} epochs"
    for seed in SEEDS:
        network, data, recipe = sweeps.build({"data": "cities", **sweeps.BASE, **BETTER, "seed": seed})
        with suppress(OSError, ValueError):
            model = Run(job_of(network, data, recipe), torch.empty(0)).model(recipe.epochs)
            found.append(Trained(better, rounded(model), data, BETTER, recipe.epochs))
            break
    else:
        missing.append(better)
    return found, missing


def _guide() -> str:
    """The program of the guidance explorer with the network of notebook 9; empty if that notebook has not run here."""
    towns = dataset("cities", label="continent")
    sizes = {name: BETTER[name] for name in ("width", "input_frequencies", "max_frequency", "fading")}
    network: DiffusionGenerator | None = None
    with suppress(OSError, ValueError):
        fresh = DiffusionGenerator(schedule=KINDS["sigmoid"](), classes=towns.classes, **sizes)
        network = kept_network("notebook 9", fresh)
    if network is None:
        return ""
    laws = guidance_truth.laws(towns.name, SPLIT).parts
    payload = guidance_payload(rounded(network), towns, laws, kind="continent", extent=MAP, labels=LABELS)
    return guidance_script(payload)


def _table(path: Path) -> pd.DataFrame:
    try:
        return read_table(path)
    except (TableError, OSError):  # what was measured there is then measured anew
        return pd.DataFrame()


def _readings(networks: Sequence[Trained]) -> Iterator[tuple[Choice, Reading]]:
    study, samplers = _table(sweeps.TABLE), _table(sampler_study.TABLE)
    course = dataset("cities").checksum
    benchmarks: dict[str, Benchmark] = {}
    choices = [(one, name, steps) for one in networks for name, (_, numbers) in SOLVERS.items() for steps in numbers]
    for one, name, steps in tqdm(choices, desc="what samples read", leave=False):
        schedule = one.network.schedule
        sampler = SOLVERS[name][0](schedule, steps)
        reading = from_tables(study, samplers, one.change, one.epoch, name, sampler)
        if reading is None:
            if one.data.checksum not in benchmarks:
                benchmarks[one.data.checksum] = Benchmark(one.data.held_out)
            reading = measured(one.network, one.data, benchmarks[one.data.checksum], sampler)
            if one.data.checksum != course:
                reading = replace(reading, source=f"{reading.source} {ELSEWHERE}")
        yield Choice(one.name, schedule.name, name, len(sampler)), reading


def _unseen(data: Dataset, others: Sequence[Dataset]) -> Dataset:
    """The data without those held-out points that a network was trained on: it would be held against its own points."""
    seen = {tuple(point) for other in others for point in other.train.tolist()}
    left = [tuple(point) not in seen for point in data.held_out.tolist()]
    return replace(data, held_out=data.held_out[torch.tensor(left)], held_out_labels=None)


def write_live(folder: Path) -> bool:
    """Write the page into a report's folder, if there is any network to show; says whether there is."""
    networks, missing = trained()
    if not networks:
        return False
    models: dict[str, list[DenoisingModule]] = {}
    for one in networks:
        models.setdefault(one.name, []).append(one.network)
    towns = _unseen(dataset("cities"), [one.data for one in networks])
    live = Live(models, towns, dict(_readings(networks)), EXTENT, LABELS)
    board = dataset("checkerboard")
    guide = _guide()
    missing += [] if guide else ["the network that knows continents"]
    scripts = (
        page_script(live),
        drawing.drawing_script(),
        paths.paths_script(board.train, exact_squares(board)),
        guide,
    )
    parts = {"style": Markup(STYLE), "script": Markup("".join(scripts))}
    said = {"points": POINTS, "missing": missing, "drawing": drawing, "paths": paths, "guide": guide}
    page = environment().get_template("live.html.j2").render(parts | said)
    (folder / LIVE).write_text(page, encoding="utf-8")
    return True
