"""What a browser needs to sample from trained networks by itself: weights, schedules and samplers as JSON.

Weights are rounded to half precision, which halves a page. Whatever else decides a point is exact: the tables of the
schedules and the coefficients of the samplers are float64, so a browser has one rule for a step, and no mathematics.
`scripts/engine.js` reads it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab_utils import figures
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.network import TIME_FREQUENCIES, TIME_WIDTH, DiffusionGenerator, frequencies
from lab_utils.diffusion.samplers import Sampler, ancestral, ddim, dpm_solver, sde_dpm_solver
from lab_utils.diffusion.schedules import Schedule
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.mass import energy_distance
from lab_utils.measure.neighbours import blur, strays
from lab_utils.points.dataset import Dataset

POINTS = 2000  # that a browser moves
MEASURES = ("blur", "strays", "energy distance")  # that are shown
STEPS = (10, 20, 50)
Solver = Callable[[Schedule, int], Sampler]
SOLVERS: dict[str, tuple[Solver, tuple[int, ...]]] = {  # those of the study of samplers, under its names
    "SDE-DPM-Solver++(2M)": (sde_dpm_solver, STEPS),
    "DPM-Solver++(2M)": (dpm_solver, STEPS),
    "DDIM": (ddim, STEPS),
    "DDPM": (lambda schedule, _: ancestral(schedule), (1000,)),
}


@dataclass(frozen=True)
class Choice:
    """What a reader chooses in an explorer: which network, and which way back.

    Attributes:
        model: the network's name, the same for every schedule that it was trained with.
        schedule: the schedule's name.
        solver: the sampler's name, a key of `SOLVERS`.
        steps: how many.
    """

    model: str
    schedule: str
    solver: str
    steps: int

    @property
    def key(self) -> str:
        """What it is found by in a browser."""
        return f"{self.model}|{self.schedule}|{self.solver}|{self.steps}"


@dataclass(frozen=True)
class Reading:
    """What was measured of a choice.

    Attributes:
        numbers: of `MEASURES`, as multiples of what real points read, with the interval, as text.
        source: of how many points and trainings, and where it stands.
    """

    numbers: Mapping[str, str]
    source: str


NOTHING: Mapping[Choice, Reading] = {}


@dataclass(frozen=True)
class Live:
    """What an explorer shows: networks, their data, and what was measured of them.

    Attributes:
        models: name → the networks of that name, one for each schedule.
        data: what they learnt.
        readings: what was measured.
        extent: left, right, bottom, top of the map, in the data's own units; noise is wider than the data.
        labels: of the axes; the unit stands behind a slash.
    """

    models: Mapping[str, Sequence[DenoisingModule]]
    data: Dataset
    readings: Mapping[Choice, Reading] = field(default_factory=lambda: NOTHING)
    extent: figures.Extent | None = None
    labels: tuple[str, str] = ("x", "y")

    def payload(self) -> dict[str, Any]:
        """All of it, for JSON.

        Raises:
            ValueError: there is no model; two of the same name and schedule; two schedules of the same name; or a
                network that a browser doesn't know: a subclass, which may answer in a way of its own, or one that
                predicts something else than v.
        """
        for name, networks in self.models.items():
            if not isinstance(networks, Sequence):
                raise ValueError(f"the networks of {name!r} must be a list, not a {type(networks).__name__}; give [it]")
        if not any(self.models.values()):
            raise ValueError("an explorer needs a network or more; give its models as {name: [network, …]}")
        schedules: dict[str, Schedule] = {}
        models: dict[tuple[str, str], dict[str, Any]] = {}
        for name, networks in self.models.items():
            for network in map(known, networks):
                schedule = schedules.setdefault(network.schedule.name, network.schedule)
                if not torch.equal(schedule.betas, network.schedule.betas):
                    raise ValueError(
                        f"there are two schedules of the name {schedule.name!r}, and a reader chooses them by their "
                        "names; show the networks of each in an explorer of its own"
                    )
                if (name, schedule.name) in models:
                    raise ValueError(
                        f"there are two networks of the name {name!r} with the schedule {schedule.name!r}, and a "
                        "reader chooses them by both; give one of them another name"
                    )
                models[name, schedule.name] = {"name": name, "schedule": schedule.name, **network_parts(network)}
        return {
            "points": POINTS,
            "models": [*models.values()],
            "schedules": {name: schedule_tables(schedule) for name, schedule in schedules.items()},
            "samplers": {name: _samplers(schedule) for name, schedule in schedules.items()},
            "shift": self.data.units.shift.tolist(),
            "scale": self.data.units.scale,
            "extent": [*(self.extent or _extent(self.data))],
            "labels": [*self.labels],
            "real": _real(self.data),
            "readings": {
                choice.key: {"numbers": dict(reading.numbers), "source": reading.source}
                for choice, reading in self.readings.items()
            },
        }


def known(network: DenoisingModule) -> DiffusionGenerator:
    """The network, if the engine knows how it answers.

    Raises:
        ValueError: it is no `DiffusionGenerator`, or its layers predict something else than v.
    """
    instead = "sample from it in Python, with sample(network, n)"
    if type(network) is not DiffusionGenerator:
        got = type(network).__name__
        raise ValueError(f"a browser knows how a DiffusionGenerator answers, and not how {got} does; {instead}")
    if (target := network.config["target"]) != "v":
        raise ValueError(
            f"a browser knows how a network answers that predicts v, and this one predicts {target}; train one with "
            f'target="v", or {instead}'
        )
    return network


def rounded(network: DenoisingModule) -> DiffusionGenerator:
    """The same network with its weights rounded to half precision, as a browser has them.

    Raises:
        ValueError: it is no `DiffusionGenerator`, or predicts something else than v.
    """
    again = DiffusionGenerator.from_config(known(network).config)
    again.load_state_dict({name: weights.half().float() for name, weights in network.state_dict().items()})
    return again.eval().requires_grad_(False)


def encoded(numbers: Tensor | NDArray[Any], dtype: str) -> str:
    """Numbers in base64; `dtype` is NumPy's, little-endian: "<f2", "<f4" or "<f8" for the engine."""
    return base64.b64encode(np.asarray(numbers).astype(dtype).tobytes()).decode("ascii")


def network_parts(network: DiffusionGenerator) -> dict[str, Any]:
    """A network's build and weights: each layer's matrix by rows, then its bias, in the order of their use.

    The matrix of the classes, if it can be told any, comes last.
    """
    layers: list[Any] = [network.embed_time, network.time_to_layers, network.enter, *network.layers, network.leave]
    parts = [part for layer in layers for part in (layer.weight, layer.bias)]
    parts += [] if network.embed_class is None else [network.embed_class.weight]
    weights = torch.cat([part.detach().flatten() for part in parts])
    return {
        "width": network.config["width"],
        "depth": network.config["depth"],
        "fading": network.config["fading"],
        "omega": network.omega.tolist(),
        "time_omega": frequencies(0.1, 4.0, TIME_FREQUENCIES).tolist(),
        "time_width": TIME_WIDTH,
        "classes": len(network.classes),
        "weights": encoded(weights, "<f2"),
    }


def schedule_tables(schedule: Schedule) -> dict[str, Any]:
    """The tables of a schedule that the network asks, in float64."""
    return {
        "half_log_snr": encoded(schedule.snr.log() / 2, "<f8"),
        "noise_scale": encoded((1 - schedule.alphas_cumprod).sqrt(), "<f8"),
        "signal_scale": encoded(schedule.alphas_cumprod.sqrt(), "<f8"),
    }


def sampler_rows(sampler: Sampler) -> dict[str, Any]:
    """A sampler's steps: its timesteps, and for each a, b, c, d, p, q; see `samplers.Sampler`."""
    rows = torch.cat([sampler.coefficients, sampler.estimates], dim=1)
    return {"timesteps": [*sampler.timesteps], "rows": encoded(rows, "<f8")}


def _samplers(schedule: Schedule) -> list[dict[str, Any]]:
    found = []
    for name, (make, numbers) in SOLVERS.items():
        for steps in numbers:
            if name == "DDPM" or steps <= schedule.timesteps:
                sampler = make(schedule, steps)
                found.append({"name": name, "steps": len(sampler), **sampler_rows(sampler)})
    return found


def _real(data: Dataset) -> dict[str, Any]:
    """Real points to hold a sample against, and what all other real points read beside them."""
    behind, *sets = Benchmark(data.held_out).real_sets()
    others = torch.cat(sets)
    alike = [part for part in others.split(POINTS) if len(part) == POINTS]
    _, reach = strays.prepare(behind)
    spread = energy_distance.prepare(behind)
    energies = [energy_distance.between(part, energy_distance.prepare(part), behind, spread) for part in alike]
    read = {
        "blur": (blur(others, behind), [blur(part, behind) for part in alike]),
        "strays": (max(strays(others, behind), 1 / len(others)), [strays(part, behind) for part in alike]),
        "energy distance": (float(np.mean(energies)) if energies else 0.0, energies),  # 0: too few to say
    }
    return {
        "points": encoded(behind, "<f4"),
        "others": len(others),
        "reach": float(reach),
        "spread": spread,
        "means": {name: mean for name, (mean, _) in read.items()},
        "ranges": {name: [min(each) / mean, max(each) / mean] for name, (mean, each) in read.items() if each},
    }


def _extent(data: Dataset) -> figures.Extent:
    """What shows nearly all points of the noise, and of the data."""
    corners = data.units.restore(torch.tensor([[-3.0, -3.0], [3.0, 3.0]]))
    return figures.around(torch.cat([data.units.restore(data.held_out), corners]).numpy())
