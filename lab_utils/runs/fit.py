"""Trained models on disk: never train the same thing twice.

`fit` is what the notebooks call: it finds again what was trained before, goes on where an interrupted run stopped, and
lets no two processes train the same. How the training is done and saved stands in `jobs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab_utils.base.files import alone_at, cache_folder, code_checksum, sha256
from lab_utils.diffusion import network as networks
from lab_utils.diffusion import schedules, training
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.training import Recipe
from lab_utils.points.dataset import Dataset
from lab_utils.runs.jobs import Job, finish, load_weights


@dataclass(frozen=True)
class Run:
    """A training that is on disk, whole: its losses, and the model as it was after some of its epochs."""

    folder: Path
    config: dict[str, Any]
    losses: Tensor

    def model(self, epoch: int) -> DiffusionGenerator:
        """The model with the averaged weights after `epoch` epochs, ready to sample from.

        Raises:
            ValueError: if that epoch is not one of the run's checkpoints, or its file is damaged.
        """
        kept = self.config["recipe"]["checkpoints"]
        if epoch not in kept:
            raise ValueError(f"epoch {epoch} was not kept; the checkpoints are {', '.join(map(str, kept))}")
        network = DiffusionGenerator.from_config(self.config["model"])
        network.load_state_dict(load_weights(self.folder, self.config, epoch))
        return network.eval().requires_grad_(False)


def run_config(network: DiffusionGenerator, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    """All that a run's result depends on; its checksum is the run's key."""
    config = {
        "model": network.config,
        "recipe": asdict(recipe),
        "data": {"name": data.name, "points": len(data.train), "checksum": data.checksum},
        "code": code_checksum(schedules, networks, training),  # what decides what a training gives
        "torch": torch.__version__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as they will when read again
    return plain


def _place(config: dict[str, Any]) -> Path:
    """The folder of the run with this configuration."""
    key = sha256(json.dumps(config, sort_keys=True).encode())[:16]
    return cache_folder() / "runs" / f"{config['model']['schedule']['kind']}-{key}"


def job_of(network: DiffusionGenerator, data: Dataset, recipe: Recipe | None = None) -> Job:
    """The training that `fit` would do or find, with the same arguments: in its folder, at the epoch where it is."""
    recipe = recipe or Recipe()
    config = run_config(network, data, recipe)
    return Job(_place(config), config, data.train, recipe)


def fit(network: DiffusionGenerator, data: Dataset, recipe: Recipe | None = None, *, progress: bool = True) -> Run:
    """Train `network` on the training points of `data`, or find the same training done before.

    The run's folder in the cache is named by a checksum of everything that its result depends on. In it stand the
    configuration, the averaged weights of each checkpoint, and the state of the last 100th epoch, from which a killed
    run goes on to the same bits; Ctrl-C saves it first. What is damaged there is set aside, said aloud, and trained
    again. `network` says what to build and with which first weights, and is left as
    it is; take the models from the run.

    Args:
        network: a model whose build, schedule and seed are used; whatever it has learnt is not.
        data: its training points are used, and its checksum is in the key.
        recipe: how to train; the original's 2000 epochs unless given.
        progress: whether to show a progress bar while it trains.

    Raises:
        OSError: if it can't be saved, on a full disk say; the next call goes on from what could.
        KeyboardInterrupt: after Ctrl-C, when all is saved.
    """
    name = network.schedule.name
    return fit_all({name: network}, data, recipe, progress=progress)[name]


def fit_all(
    networks: Mapping[str, DiffusionGenerator], data: Dataset, recipe: Recipe | None = None, *, progress: bool = True
) -> dict[str, Run]:
    """`fit` several networks at the same time, each in a process of its own, one on each core: name → run.

    A script needs `if __name__ == "__main__":` around that call, because those processes import the script.
    Each comes out as if it had been trained alone. Where another process is at one of them, this one waits, and then
    finds it done. Arguments and errors as for `fit`; when one of them fails, or the whole is interrupted, all stop
    after their current epoch, and the next call goes on with them.
    """
    jobs = {name: job_of(network, data, recipe) for name, network in networks.items()}
    with alone_at(job.folder for job in jobs.values()):
        losses = finish(jobs, progress=progress)
    return {
        name: Run(job.folder, job.config, torch.tensor(losses[name], dtype=torch.float64)) for name, job in jobs.items()
    }
