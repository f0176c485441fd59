"""What was measured of a network and a sampler: in the study's tables, or now, and then kept in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import pandas as pd
import torch

from lab_utils import SEED
from lab_utils.base.code import code_checksum
from lab_utils.base.files import cache_folder, sha256, write_whole
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.samplers import Sampler, usual
from lab_utils.diffusion.sampling import sample
from lab_utils.measure.benchmark import Benchmark
from lab_utils.points.dataset import Dataset
from lab_utils.study.results import Interval, Results
from lab_utils.study.sampler_study import NETWORKS
from lab_utils.study.sweeps import BASE
from lab_utils.study.table import select
from lab_utils.widgets.payload import MEASURES, Reading

CODE = (
    *(f"lab_utils.diffusion.{name}" for name in ("network", "along", "sampling")),
    *(f"lab_utils.measure.{name}" for name in ("benchmark", "distance", "mass", "neighbours", "matrices", "intervals")),
)


def from_tables(
    study: pd.DataFrame,
    samplers: pd.DataFrame,
    change: Mapping[str, Any],
    epoch: int,
    solver: str,
    sampler: Sampler,
    data: str = "cities",
) -> Reading | None:
    """What the study measured of trainings with this recipe, sampled in this way; None if it didn't, or not all of it.

    Args:
        study: `data/study.csv`, whose samples are those of `samplers.usual`.
        samplers: `data/samplers.csv`, with the schedule "sigmoid" and at the end of the training.
        change: what the recipe changes, as in `study.sweeps`.
        epoch: after which the network is asked.
        solver: the sampler's name in the second table …
        sampler: … and itself.
        data: the name of the data.
    """
    for rows, where in (
        (_sampled(samplers, change, epoch, solver, sampler, data), "data/samplers.csv"),
        (_trained(study, change, epoch, sampler, data), "data/study.csv"),
    ):
        values = [rows[name].astype(float) for name in MEASURES if name in rows]
        if len(values) == len(MEASURES) and len(rows) > 1 and not any(column.isna().any() for column in values):
            numbers = {name: str(Interval.of(column)) for name, column in zip(MEASURES, values, strict=True)}
            return Reading(
                numbers, f"mean over {len(rows)} trainings, 5000 points each, with its 95 % interval ({where})."
            )
    return None


def _sampled(
    table: pd.DataFrame, change: Mapping[str, Any], epoch: int, solver: str, sampler: Sampler, data: str
) -> pd.DataFrame:
    for name, settings in NETWORKS.items():
        recipe = {**BASE, **settings}
        if recipe == {**BASE, **change} and epoch == recipe["epochs"]:
            wanted = {"data": data, "denoiser": name, "sampler": solver, "steps": len(sampler)}
            with suppress(KeyError):  # it lacks a column
                return select(table, wanted)
    return table[:0]


def _trained(table: pd.DataFrame, change: Mapping[str, Any], epoch: int, sampler: Sampler, data: str) -> pd.DataFrame:
    same = usual(sampler.schedule)
    if sampler.timesteps == same.timesteps and torch.equal(sampler.coefficients, same.coefficients):
        with suppress(ValueError, KeyError):  # there is none, or the table lacks a column
            rows = Results(table).rows(change, data)
            return rows[rows["epoch"] == epoch]
    return table[:0]


def measured(network: DenoisingModule, data: Dataset, benchmark: Benchmark, sampler: Sampler) -> Reading:
    """What one sample of this very network reads; it is measured once, and then found in the cache."""
    path = cache_folder() / "live" / f"{_key(network, data, benchmark.size, sampler)}.json"
    numbers: dict[str, str] = {}
    with suppress(OSError, ValueError):
        numbers = json.loads(path.read_text(encoding="utf-8"))
    if {*numbers} != {*MEASURES}:
        points = sample(network, benchmark.size, seed=SEED, sampler=sampler)
        finite = bool(points.isfinite().all())
        numbers = {name: f"{benchmark.multiple(name, points):.3g}" if finite else "not finite" for name in MEASURES}
        with suppress(OSError), write_whole(path) as part:
            part.write_text(json.dumps(numbers), encoding="utf-8")
    said = f"one sample of {benchmark.size} points from this very network; another sample reads a little differently."
    return Reading(numbers, said)


@cache
def _code() -> str:
    return code_checksum(*CODE)


def _key(network: DenoisingModule, data: Dataset, size: int, sampler: Sampler) -> str:
    """A checksum of all that decides what is read."""
    weights = b"".join(part.contiguous().numpy().tobytes() for part in network.state_dict().values())
    rows = torch.cat([sampler.coefficients, sampler.estimates], dim=1).numpy().tobytes()
    said = json.dumps([getattr(network, "config", None), [*sampler.timesteps], data.checksum, size, SEED, _code()])
    return sha256(said.encode() + weights + rows)[:16]
