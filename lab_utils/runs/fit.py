"""Trained models on disk: never train the same thing twice.

`fit` is what the notebooks call: it finds again what was trained before, goes on where an interrupted run stopped, and
lets no two processes train the same. How the training is done and saved stands in `jobs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab_utils.base.code import code_checksum
from lab_utils.base.devices import device_named
from lab_utils.base.files import alone_at, cache_folder, sha256
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.training import Recipe, check_trainable
from lab_utils.points.dataset import Dataset
from lab_utils.runs.jobs import Job, finish, load_weights
from lab_utils.runs.own_code import own_code

# what decides what a training gives
MODULES = ("schedules", "targets", "weights", "couplings", "denoiser", "conditional", "network", "tail", "training")
CODE = tuple(f"lab_utils.diffusion.{name}" for name in (*MODULES, "together"))


@dataclass(frozen=True)
class Run:
    """A training that is on disk, whole: its losses, and the model as it was after some of its epochs."""

    job: Job
    losses: Tensor

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return self.job.folder

    @property
    def config(self) -> dict[str, Any]:
        """All that its result depends on."""
        return self.job.config

    def model(self, epoch: int | None = None) -> DenoisingModule:
        """The model with the averaged weights after `epoch` epochs, or after the last one kept, ready to sample from.

        Raises:
            ValueError: if that epoch is not one of the run's checkpoints, or its file is damaged.
        """
        kept = self.job.recipe.checkpoints
        if not kept or epoch not in {*kept, None}:
            asked = "no epoch was kept" if epoch is None else f"epoch {epoch} was not kept"
            raise ValueError(f"{asked}; the checkpoints are {', '.join(map(str, kept)) or 'none'}")
        network = self.job.build()
        network.load_state_dict(load_weights(self.folder, self.config, max(kept) if epoch is None else int(epoch)))
        network.coupling = self.job.recipe.coupling
        return network.eval().requires_grad_(False)


def check_rebuildable(network: Any) -> None:
    """Raise a `TypeError` that names what a network lacks to be built again, which `fit` does to train it."""
    what = type(network).__name__
    if not isinstance(getattr(network, "config", None), dict) or not callable(getattr(network, "from_config", None)):
        raise TypeError(
            f"{what} can't be trained by `fit`, which finds trainings again: it lacks `config`, a dict of words and "
            "numbers, or the classmethod `from_config(config)`. `Trainer` trains it without both"
        )
    try:
        json.dumps(network.config)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what}.config must be words and numbers that JSON can tell ({error})") from error
    try:
        again = network.from_config(network.config)
        same = type(again) is type(network)
        again.load_state_dict(network.state_dict())
    except Exception as error:  # whatever somebody's own code raises
        raise TypeError(f"{what}.from_config(config) doesn't build the same network again: {error}") from error
    x_t = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([network.schedule.timesteps // 2])
    with torch.no_grad():
        same = same and torch.equal(again.schedule.betas, network.schedule.betas)
        same = same and torch.allclose(again.epsilon(x_t, t), network.epsilon(x_t, t), rtol=1e-4, atol=1e-5)
    if not same:
        raise TypeError(
            f"{what}.from_config(config) builds another network: with the same weights it is of another class, has "
            "another schedule, or answers otherwise. Does `config` hold all that the network is built from?"
        )


def run_config(network: DenoisingModule, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    """All that a run's result depends on; its checksum is the run's key."""
    config = {
        "model": network.config,
        "class": type(network).__name__,
        "schedule": network.schedule.config,
        "recipe": asdict(recipe),
        "data": {"name": data.name, "points": len(data.train), "checksum": data.checksum},
        "code": code_checksum(*CODE),
        "own code": own_code(type(network)),
        "torch": torch.__version__,
    }
    if getattr(network, "classes", ()):
        config["labels"] = data.labels_checksum  # what asks for none is the same training with labels and without
    plain: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as they will when read again
    return plain


def _place(config: dict[str, Any]) -> Path:
    """The folder of the run with this configuration."""
    key = sha256(json.dumps(config, sort_keys=True).encode())[:16]
    return cache_folder() / "runs" / f"{config['schedule']['kind']}-{key}"


def job_of(network: DenoisingModule, data: Dataset, recipe: Recipe | None = None, *, device: str = "cpu") -> Job:
    """The training that `fit` would do or find, with the same arguments: in its folder, at the epoch where it is.

    Raises:
        DeviceError: this machine has no such device.
        TypeError: the network lacks something that training needs; see `fit`.
        ValueError: its classes are not those of the data; see `fit`.
    """
    device_named(device)
    check_trainable(network)
    check_rebuildable(network)
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, as dataset(…) gives it, not {type(data).__name__}")
    if not isinstance(recipe, Recipe | None):
        raise TypeError(f"recipe must be a Recipe, such as Recipe(epochs=500), not {type(recipe).__name__}")
    recipe = recipe or Recipe()
    classes = tuple(getattr(network, "classes", ()))
    if classes and classes != data.classes:
        raise ValueError(
            f"the network knows the classes {', '.join(classes)}, and the points of {data.name!r} have "
            f"{', '.join(data.classes) or 'none'}; build it with classes=data.classes, and name what has the labels: "
            "dataset(…, label=…)"
        )
    config = run_config(network, data, recipe)
    kind: Any = type(network)
    build = partial(kind.from_config, network.config)
    return Job(_place(config), config, build, data.train, recipe, data.train_labels if classes else None, device)


def _check_not_imported_by_a_worker() -> None:
    """Raise a `RuntimeError` in a process of `fit_all` that meets this call again while it imports the script.

    It would wait for its parent, which waits for it.
    """
    if getattr(current_process(), "_inheriting", False):  # as multiprocessing itself asks, when it starts a process
        raise RuntimeError(
            "several trainings run in processes of their own, and these import your script, which calls the lab again; "
            'put the call under `if __name__ == "__main__":`'
        )


def fit(
    network: DenoisingModule,
    data: Dataset,
    recipe: Recipe | None = None,
    *,
    progress: bool = True,
    device: str = "cpu",
) -> Run:
    """Train `network` on the training points of `data`, or find the same training done before.

    The run's folder in the cache is named by a checksum of everything that its result depends on. In it stand the
    configuration, the averaged weights of each checkpoint, and the state of the last 100th epoch, from which a killed
    run goes on to the same bits; Ctrl-C saves it first. What is damaged there is set aside, said aloud, and trained
    again. `network` says what to build and with which first weights, and is left as it is; take the models from the
    run.

    Args:
        network: what `check_trainable` asks for, which can also be built again from its `config`: a
            `DiffusionGenerator`, or a network of your own. Its build, schedule and seed are used, and the code of its
            class is in the key; whatever it has learnt is not.
        data: its training points are used, and their checksum is in the key; labels only by a network with classes.
        recipe: how to train; the original's 2000 epochs unless given.
        progress: whether to show a progress bar while it trains.
        device: where to train, "cpu", "cuda", "mps" or "auto", see `base.devices`. It is not in the key, as the kind of
            processor isn't: on another one only the last digits differ (see docs/install.md, "A graphics card"). So
            what was trained on one is found on the other, and goes on there. The run's models are on the processor.

    Raises:
        DeviceError: this machine has no such device.
        TypeError: the network lacks something that training needs; the message names it.
        ValueError: its answers break a promise of the contract of `denoiser`, or its classes are not the data's.
        OSError: if it can't be saved, on a full disk say; the next call goes on from what could.
        KeyboardInterrupt: after Ctrl-C, when all is saved.
    """
    check_trainable(network)
    name = network.schedule.name
    return fit_all({name: network}, data, recipe, progress=progress, device=device)[name]


def fit_all(
    networks: Mapping[str, DenoisingModule],
    data: Dataset,
    recipe: Recipe | None = None,
    *,
    progress: bool = True,
    device: str = "cpu",
) -> dict[str, Run]:
    """`fit` several networks at the same time, each in a process of its own, one on each core: name → run.

    A script needs `if __name__ == "__main__":` around that call, because those processes import the script.
    Each comes out as if it had been trained alone; equal ones are trained once. Where another process is at one of
    them, this one waits, and then finds it done. Arguments and errors as for `fit`; when one of them fails, or the
    whole is interrupted, all stop after their current epoch, and the next call goes on with them.

    On another device than the processor all are trained in this process: those whose networks differ by their seeds
    alone as one, see `diffusion.together`, and the others one after the other.
    """
    _check_not_imported_by_a_worker()
    jobs = {name: job_of(network, data, recipe, device=device) for name, network in networks.items()}
    first = {job.folder: name for name, job in reversed(jobs.items())}  # of those that are equal
    with alone_at(first):
        losses = finish({name: jobs[name] for name in reversed(first.values())}, progress=progress)
    return {name: Run(job, torch.tensor(losses[first[job.folder]], dtype=torch.float64)) for name, job in jobs.items()}
