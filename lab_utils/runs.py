"""Trained models on disk: never train the same thing twice.

`fit` is what the notebooks call: it drives a `Trainer`, shows a progress bar, saves checkpoints, goes on where an
interrupted run stopped, and finds again what was trained before.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from lab_utils import WORKERS, model, points, schedules, training
from lab_utils.files import cache_folder, code_checksum, lock, sha256, write_whole
from lab_utils.model import DiffusionGenerator
from lab_utils.points import Dataset
from lab_utils.training import Recipe, Trainer

SAVE_EVERY = 100  # epochs between two savings of the state from which an interrupted run goes on


@dataclass(frozen=True)
class Run:
    """A training that is on disk, whole: its losses, and the model as it was after some of its epochs."""

    folder: Path
    config: dict[str, Any]
    losses: Tensor

    def model(self, epoch: int) -> DiffusionGenerator:
        """The model with the averaged weights after `epoch` epochs, ready to sample from.

        Raises:
            ValueError: if that epoch is not one of the run's checkpoints.
        """
        kept = self.config["recipe"]["checkpoints"]
        if epoch not in kept:
            raise ValueError(f"epoch {epoch} was not kept; the checkpoints are {', '.join(map(str, kept))}")
        network = DiffusionGenerator.from_config(self.config["model"])
        network.load_state_dict(load_file(_weights(self.folder, epoch)))
        return network.eval().requires_grad_(False)


def _weights(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}.safetensors"


def run_config(network: DiffusionGenerator, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    """All that a run's result depends on; its checksum is the run's key."""
    config = {
        "model": network.config,
        "recipe": asdict(recipe),
        "data": {"name": data.name, "points": len(data.train), "checksum": data.checksum},
        "code": code_checksum(points, schedules, model, training),  # what decides what a training gives
        "torch": torch.__version__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as they will when read again
    return plain


def _place(config: dict[str, Any]) -> Path:
    """The folder of the run with this configuration."""
    key = sha256(json.dumps(config, sort_keys=True).encode())[:16]
    return cache_folder() / "runs" / f"{config['model']['schedule']['kind']}-{key}"


@contextmanager
def _alone_at(paths: Iterable[Path]) -> Iterator[None]:
    """Wait until no other process trains any of these runs; until the block ends, nobody else does."""
    with ExitStack() as stack:
        for path in sorted({*paths}):  # in this order everywhere, so that no two wait for each other
            try:
                stack.enter_context(lock(path, timeout=0))
            except TimeoutError:
                tqdm.write(f"Another process trains {path.name} already; waiting for it.")
                stack.enter_context(lock(path))
        yield


@dataclass(frozen=True)
class _Folder:
    """A run's place in the cache: opened with what is there already, and filled while it trains."""

    path: Path
    config: dict[str, Any]
    trainer: Trainer

    @classmethod
    def open(cls, config: dict[str, Any], data: Dataset, recipe: Recipe) -> _Folder:
        path = _place(config)
        # A network of our own: one that somebody trained a little before would lead to other bits under the same key.
        trainer = Trainer(DiffusionGenerator.from_config(config["model"]), data.train, recipe)
        state = path / "state.pt"
        if state.exists():
            try:
                trainer.load_state_dict(torch.load(state, weights_only=True))
            except Exception as error:
                raise ValueError(f"{state} cannot be read ({error}); delete {path} to train again") from error
        else:
            with write_whole(path / "config.json") as part:
                part.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return cls(path, config, trainer)

    def save(self) -> None:
        """Save what this epoch owes: its weights if it is a checkpoint, and now and then the state to go on from."""
        epoch, recipe = self.trainer.epoch, self.trainer.recipe
        if epoch in recipe.checkpoints:
            # one entry only: safetensors would write several in any order, and the bytes would differ
            about = {"run": json.dumps({"epoch": epoch, **self.config})}
            with write_whole(_weights(self.path, epoch)) as part:
                save_file(self.trainer.averaged.state_dict(), part, about)
        if epoch % SAVE_EVERY == 0 or epoch == recipe.epochs:
            with write_whole(self.path / "state.pt") as part:
                torch.save(self.trainer.state_dict(), part)

    def run(self) -> Run:
        return Run(self.path, self.config, torch.tensor(self.trainer.losses, dtype=torch.float64))


def fit(network: DiffusionGenerator, data: Dataset, recipe: Recipe | None = None, *, progress: bool = True) -> Run:
    """Train `network` on the training points of `data`, or find the same training done before.

    The run's folder in the cache is named by a checksum of everything that its result depends on. In it stand the
    configuration, the averaged weights of each checkpoint, and the state of the last 100th epoch, from which an
    interrupted run goes on to the same bits. `network` says what to build and with which first weights, and is left as
    it is; take the models from the run.

    Args:
        network: a model whose build, schedule and seed are used; whatever it has learnt is not.
        data: its training points are used, and its checksum is in the key.
        recipe: how to train; the original's 2000 epochs unless given.
        progress: whether to show a progress bar while it trains.

    Raises:
        ValueError: if the state on disk cannot be read: delete the folder that it names.
    """
    name = network.schedule.name
    return fit_all({name: network}, data, recipe, progress=progress)[name]


def fit_all(
    networks: Mapping[str, DiffusionGenerator], data: Dataset, recipe: Recipe | None = None, *, progress: bool = True
) -> dict[str, Run]:
    """`fit` several networks at the same time, one on each core: name → run.

    Each comes out as if it had been trained alone. Where another process is at one of them, this one waits, and then
    finds it done. Arguments and errors as for `fit`; when one of them fails, or the whole is interrupted, all stop
    after their current epoch, and the next call goes on with them.
    """
    recipe = recipe or Recipe()
    configs = {name: run_config(network, data, recipe) for name, network in networks.items()}
    with _alone_at(map(_place, configs.values())):
        folders = {name: _Folder.open(config, data, recipe) for name, config in configs.items()}
        _train(folders, progress)
    return {name: folder.run() for name, folder in folders.items()}


def _train(folders: Mapping[str, _Folder], progress: bool) -> None:
    """Train what the folders lack, one on each core."""
    total = sum(folder.trainer.recipe.epochs for folder in folders.values())
    done = sum(folder.trainer.epoch for folder in folders.values())
    label, quiet = f"training {', '.join(folders)}", not progress or done == total
    stop, one = threading.Event(), threading.Lock()
    losses: dict[str, str] = {}
    with (
        tqdm(total=total, initial=done, desc=label, unit="epoch", disable=quiet) as bar,
        ThreadPoolExecutor(WORKERS) as pool,
    ):

        def train(name: str, folder: _Folder) -> None:
            for loss in folder.trainer:
                if stop.is_set():
                    break
                folder.save()
                losses[name] = f"{loss:.3f}"
                with one:
                    bar.set_postfix(losses, refresh=False)
                    bar.update()

        try:
            for future in as_completed([pool.submit(train, *item) for item in folders.items()]):
                future.result()  # raises what went wrong, of whichever network it was first
        finally:
            stop.set()
