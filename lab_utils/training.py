"""Train a model, keep its checkpoints, and never train the same thing twice.

`Trainer` is the training loop: iterate over it, and each turn is one epoch. `fit` is what the notebooks call: it
drives a trainer, shows a progress bar, saves checkpoints, goes on where an interrupted run stopped, and finds
again what was trained before.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from lab_utils import SEED, WORKERS, model, points, schedules
from lab_utils.files import cache_folder, sha256, write_whole
from lab_utils.model import DiffusionGenerator
from lab_utils.points import Dataset, check_points

SAVE_EVERY = 100  # epochs between two savings of the state from which an interrupted run goes on


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: how often every point is used.
        batch_size: points in one step of the optimiser.
        learning_rate: of Adam, constant after the warm-up, so that the model of 500 epochs is also what a training
            of 500 epochs would have given.
        warmup: steps during which the learning rate rises to its value.
        ema_decay: of the moving average of the weights, which is what samples are drawn with; in the first steps the
            average is over a tenth of the way so far.
        checkpoints: epochs whose averaged weights are kept.
        seed: of the order of the points, the timesteps and the noise.

    Raises:
        ValueError: for a number that makes no sense, named.
    """

    epochs: int = 2000
    batch_size: int = 500
    learning_rate: float = 4e-3
    warmup: int = 200
    ema_decay: float = 0.9995
    checkpoints: tuple[int, ...] = (200, 500, 1000, 2000)
    seed: int = SEED

    def __post_init__(self) -> None:
        """Check."""
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if self.warmup < 0 or not 0 <= self.ema_decay < 1:
            raise ValueError(f"warmup must be 0 or more and ema_decay in [0, 1); got {self.warmup}, {self.ema_decay}")
        wrong = [epoch for epoch in self.checkpoints if not 1 <= epoch <= self.epochs]
        if wrong:
            raise ValueError(f"checkpoints must lie in 1 … {self.epochs} epochs; got {wrong}")


class Trainer:
    """The training loop of Ho et al. 2020, algorithm 1, on (n, 2) float32 points in normalised units.

    >>> trainer = Trainer(DiffusionGenerator(schedule=sigmoid()), data.train)
    >>> for loss in trainer:          # one turn is one epoch
    ...     print(trainer.epoch, loss)

    Stop between two turns and iterate again, and it goes on with the next epoch. `averaged` is the model to sample
    from. `state_dict` and `load_state_dict` carry everything that the next epoch depends on, so a trainer that was
    saved and loaded goes on with the same bits.

    Raises:
        ValueError: if the points are none, of another shape than (n, 2), or not float32.
    """

    def __init__(self, network: DiffusionGenerator, train: Tensor, recipe: Recipe | None = None) -> None:
        check_points(train, "training points")
        if train.dtype != torch.float32 or not len(train):
            raise ValueError(f"training points must be float32, and at least one; got {len(train)} of {train.dtype}")
        self.network, self.train, self.recipe = network, train, recipe or Recipe()
        self.optimiser = torch.optim.Adam(network.parameters(), lr=self.recipe.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(self.recipe.seed)
        self.average = AveragedModel(network, multi_avg_fn=self._average)
        self.losses: list[float] = []

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    @property
    def averaged(self) -> DiffusionGenerator:
        """The model with the moving average of the weights."""
        return cast(DiffusionGenerator, self.average.module)

    def _average(self, averaged: Any, current: Any, steps: Any) -> None:
        decay = min(self.recipe.ema_decay, (1 + int(steps)) / (10 + int(steps)))
        get_ema_multi_avg_fn(decay)(averaged, current, steps)

    def __iter__(self) -> Iterator[float]:
        """Train epoch after epoch up to the recipe's number; give the mean loss of each."""
        while self.epoch < self.recipe.epochs:
            self.losses.append(self._train_one_epoch())
            yield self.losses[-1]

    def _train_one_epoch(self) -> float:
        size = self.recipe.batch_size
        order = torch.randperm(len(self.train), generator=self.generator)
        batches = order.split(size)
        total = torch.zeros((), dtype=torch.float64)
        for number, batch in enumerate(batches):
            step = self.epoch * len(batches) + number
            self.optimiser.param_groups[0]["lr"] = self.recipe.learning_rate * min(
                1, (step + 1) / (self.recipe.warmup + 1)
            )
            loss = self._loss(self.train[batch])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.average.update_parameters(self.network)
            total += loss.detach() * len(batch)
        return float(total / len(self.train))

    def _loss(self, x_0: Tensor) -> Tensor:
        """The simple loss (Ho et al. 2020, eq. 14): how far the predicted noise is from the noise that was added."""
        network, n = self.network, len(x_0)
        t = torch.randint(0, network.schedule.timesteps, (n,), generator=self.generator)
        epsilon = torch.randn(n, 2, generator=self.generator)
        # q_sample in float32, from the tables that the network holds anyway
        x_t = network.signal_scale[t] * x_0 + network.noise_scale[t] * epsilon
        return mse_loss(network.predict(x_t, t), epsilon)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.losses = state["losses"].tolist()


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


def _code() -> str:
    """A checksum of the code that decides what a training gives: when it changes, nothing old is taken for new."""
    return sha256(
        b"".join(Path(str(module.__file__)).read_bytes() for module in (points, schedules, model))
        + Path(__file__).read_bytes()
    )


def run_config(network: DiffusionGenerator, data: Dataset, recipe: Recipe) -> dict[str, Any]:
    """All that a run's result depends on; its checksum is the run's key."""
    config = {
        "model": network.config,
        "recipe": asdict(recipe),
        "data": {"name": data.name, "points": len(data.train), "checksum": data.checksum},
        "code": _code(),
        "torch": torch.__version__,
    }
    plain: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as they will when read again
    return plain


@dataclass(frozen=True)
class _Folder:
    """A run's place in the cache: opened with what is there already, and filled while it trains."""

    path: Path
    config: dict[str, Any]
    trainer: Trainer

    @classmethod
    def open(cls, network: DiffusionGenerator, data: Dataset, recipe: Recipe) -> _Folder:
        config = run_config(network, data, recipe)
        key = sha256(json.dumps(config, sort_keys=True).encode())[:16]
        path = cache_folder() / "runs" / f"{network.schedule.name}-{key}"
        # A network of our own: one that somebody trained a little before would lead to other bits under the same key.
        trainer = Trainer(DiffusionGenerator.from_config(network.config), data.train, recipe)
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

    Each comes out as if it had been trained alone. Arguments and errors as for `fit`; when one of them fails, or the
    whole is interrupted, all stop after their current epoch, and the next call goes on with them.
    """
    folders = {name: _Folder.open(network, data, recipe or Recipe()) for name, network in networks.items()}
    total = sum(folder.trainer.recipe.epochs for folder in folders.values())
    done = sum(folder.trainer.epoch for folder in folders.values())
    label, quiet = f"training {', '.join(folders)}", not progress or done == total
    stop, lock = threading.Event(), threading.Lock()
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
                with lock:
                    bar.set_postfix(losses, refresh=False)
                    bar.update()

        try:
            for future in as_completed([pool.submit(train, *item) for item in folders.items()]):
                future.result()  # raises what went wrong, of whichever network it was first
        finally:
            stop.set()
    return {name: folder.run() for name, folder in folders.items()}
