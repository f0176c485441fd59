"""Trainings on disk, carried on from where they stopped: one in this process, several in processes of their own.

Processes and not threads, because a step of a small network is a hundred short calls, and Python lets one thread at a
time make them: two threads took 1.6 times as long for two networks as one for one, two processes 1.02 times. On another
device than the processor those that can are trained as one; see `diffusion.together`.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from types import FrameType
from typing import Any

import cloudpickle
from torch import Tensor
from tqdm import tqdm

from lab_utils import WORKERS
from lab_utils.base.devices import device_named
from lab_utils.base.files import clear_parts, write_whole
from lab_utils.base.tensors import DamagedError, load_tensors, save_tensors
from lab_utils.diffusion.denoiser import DenoisingModule
from lab_utils.diffusion.together import Together, TogetherError, kind_of
from lab_utils.diffusion.training import Recipe, Trainer

SAVE_EVERY = 100  # epochs between two savings of the state from which an interrupted training goes on

Told = tuple[str, float]  # a training's name, and the loss of the epoch that it has just finished


def weights(folder: Path, epoch: int) -> Path:
    """Where a training in `folder` keeps its averaged weights after `epoch` epochs."""
    return folder / f"epoch-{epoch:04d}.safetensors"


def load_weights(folder: Path, config: dict[str, Any], epoch: int) -> dict[str, Tensor]:
    """The averaged weights after `epoch` epochs of the training in `folder`; raises as `load_tensors` does."""
    return load_tensors(weights(folder, epoch), {"epoch": epoch, **config})


@dataclass(frozen=True)
class Job:
    """A training in a folder of its own: what is to be trained, and how.

    Attributes:
        folder: where its state, its checkpoints and its configuration stand.
        config: all that its result depends on, as JSON can tell it.
        build: makes the network that is to be trained, with its first weights.
        train: (n, 2) float32 training points in normalised units.
        recipe: how to train.
        labels: (n,) int64, their classes, for a network with classes.
        device: where to train. What is on disk is no other's for that: it differs by rounding alone.
    """

    folder: Path
    config: dict[str, Any]
    build: Callable[[], DenoisingModule]
    train: Tensor
    recipe: Recipe
    labels: Tensor | None = None
    device: str = "cpu"

    @property
    def state(self) -> Path:
        """Where all stands that the next epoch depends on."""
        return self.folder / "state.safetensors"

    def open(self) -> Trainer:
        """A trainer that goes on from the saved state, or begins where there is none.

        Where the state or a checkpoint is damaged, lost or of another training, the folder is set aside, which is said
        aloud, and training begins anew.
        """
        trainer = self._fresh()
        if not self.state.exists():
            return trainer
        try:
            trainer.load_state_dict(load_tensors(self.state, self.config))
            for epoch in self.recipe.checkpoints:
                if epoch <= trainer.epoch:
                    load_weights(self.folder, self.config, epoch)
        except (DamagedError, FileNotFoundError) as error:
            aside = self.folder.with_name(f"{self.folder.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            self.folder.rename(aside)
            tqdm.write(f"{error}. It is set aside, in {aside}, and trained again.", file=sys.stderr)
            return self._fresh()
        return trainer

    def _fresh(self) -> Trainer:
        # A network of our own: one that somebody trained a little before would lead to other bits under the same key.
        return Trainer(self.build(), self.train, self.recipe, self.labels, device=self.device)

    def carry_on(self) -> Generator[Trainer]:
        """Train what is left, and save what each epoch owes; give the trainer after each.

        Whoever stops asking loses nothing: the state of the last epoch is saved then.
        """
        return _epochs_of([self])

    def _begin(self) -> Trainer:
        trainer = self.open()
        clear_parts(self.folder)
        if not trainer.epoch:
            with write_whole(self.folder / "config.json") as part:
                part.write_text(json.dumps(self.config, indent=2), encoding="utf-8")
        return trainer

    def _save(self, trainer: Trainer) -> None:
        """Save the averaged weights if this epoch is a checkpoint, and now and then the state to go on from."""
        epoch = trainer.epoch
        if epoch in self.recipe.checkpoints:
            about = {"epoch": epoch, **self.config}
            averaged = {name: weight.cpu() for name, weight in trainer.averaged.state_dict().items()}
            save_tensors(weights(self.folder, epoch), averaged, about)
        if epoch % SAVE_EVERY == 0 or epoch == self.recipe.epochs:
            self._save_state(trainer)

    def _save_state(self, trainer: Trainer) -> None:
        save_tensors(self.state, trainer.state_dict(), self.config)


def _epochs_of(jobs: Sequence[Job]) -> Generator[Trainer]:
    """`Job.carry_on` for one, or for several as one: after each epoch all their trainers, one after the other.

    Raises:
        TogetherError: they can't be trained as one.
    """
    trainers = [job._begin() for job in jobs]
    epochs: Iterable[Any] = Together(trainers) if len(trainers) > 1 else trainers[0]
    for _ in epochs:
        for job, trainer in zip(jobs, trainers, strict=True):
            job._save(trainer)
        try:
            yield from trainers
        except GeneratorExit:
            for job, trainer in zip(jobs, trainers, strict=True):
                job._save_state(trainer)
            raise


def finish(jobs: Mapping[str, Job], *, progress: bool = True) -> dict[str, list[float]]:
    """Carry the jobs on to their ends, one on each core, with a progress bar; give the losses of each.

    On another device than the processor those are trained as one that can be, and the others one after the other.

    When one fails, or the whole is interrupted, all stop after their current epoch.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when all have saved their states, and it was said how far they are.
    """
    losses = {name: job.open().losses for name, job in jobs.items()}
    left = {name: job for name, job in jobs.items() if len(losses[name]) < job.recipe.epochs}
    total, done = sum(job.recipe.epochs for job in jobs.values()), sum(map(len, losses.values()))
    several = len(left) > 1 and all(device_named(job.device).type == "cpu" for job in left.values())
    label, quiet = f"training {', '.join(jobs)}", not progress or not left
    with (
        interrupted_later() as interrupted,
        tqdm(total=total, initial=done, desc=label, unit="epoch", disable=quiet) as bar,
        closing(_in_processes(left) if several else _here(left)) as epochs,
    ):
        for name, loss in epochs:
            losses[name].append(loss)
            last = {name: f"{losses[name][-1]:.3f}" for name in left if losses[name]}
            bar.set_postfix(last, refresh=False)
            bar.update()
            if interrupted.is_set():
                break
    if interrupted.is_set():
        kept = ", ".join(f"{name} after {job.open().epoch} of {job.recipe.epochs} epochs" for name, job in jobs.items())
        tqdm.write(f"Interrupted and saved: {kept}. The same call goes on from there.", file=sys.stderr)
        raise KeyboardInterrupt
    return losses


@contextmanager
def interrupted_later() -> Iterator[threading.Event]:
    """In the block Ctrl-C only sets a flag, so that what has begun can end well; a second Ctrl-C stops at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C goes to the main thread
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        interrupted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _here(jobs: Mapping[str, Job]) -> Generator[Told]:
    for group in _groups(jobs):
        try:
            yield from _tell(group)
        except TogetherError:  # a network of one's own, say; nothing is done yet
            for name, job in group.items():
                yield from _tell({name: job})


def _groups(jobs: Mapping[str, Job]) -> list[dict[str, Job]]:
    """The jobs by their kinds, as far as `diffusion.together` tells them apart."""
    if len(jobs) < 2:
        return [{name: job} for name, job in jobs.items()]
    groups: dict[str, dict[str, Job]] = {}
    for name, job in jobs.items():
        groups.setdefault(str(kind_of(job.open())), {})[name] = job
    return [*groups.values()]


def _tell(jobs: Mapping[str, Job]) -> Generator[Told]:
    with closing(_epochs_of([*jobs.values()])) as trainers:
        for name, trainer in zip(cycle(jobs), trainers, strict=False):
            yield name, trainer.losses[-1]


# --- several: each in a process of its own, which tells its losses through a queue and looks at a flag after each epoch

_told: SimpleQueue[Told]
_stop: Event


def _join(told: SimpleQueue[Told], stop: Event) -> None:
    """What a process does first: now the flag stops it, or its parent's end, but not a Ctrl-C in the terminal."""
    global _told, _stop
    _told, _stop = told, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)  # nobody is left to be told, or to hold the lock


def _carry_on(name: str, packed: bytes) -> None:
    job: Job = pickle.loads(packed)
    with closing(job.carry_on()) as trainers:
        for trainer in trainers:
            _told.put((name, trainer.losses[-1]))
            if _stop.is_set():
                return


def _in_processes(jobs: Mapping[str, Job]) -> Generator[Told]:
    context = get_context("spawn")  # a fork would copy locks that other threads hold
    told, stop = context.SimpleQueue(), context.Event()
    with ProcessPoolExecutor(min(WORKERS, len(jobs)), context, _join, (told, stop)) as pool:
        # cloudpickle also packs a class that was written in a notebook, which no other process can import
        running = {pool.submit(_carry_on, name, cloudpickle.dumps(job)) for name, job in jobs.items()}
        try:
            while running:
                finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                while not told.empty():
                    yield told.get()
                for future in finished:
                    future.result()  # raises what went wrong, of whichever job it was first
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
