"""A training that one can watch, stop, and let go on: buttons and a picture for a notebook.

It is the training that `runs.fit` would do, in the same folder. So `fit` finds what was trained here, or goes on with
it, and what `fit` has done already need not be done here.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable
from contextlib import closing

import ipywidgets as widgets

from lab_utils import figures
from lab_utils.base.files import alone_at
from lab_utils.diffusion.couplings import check_independent
from lab_utils.diffusion.denoiser import Denoiser, DenoisingModule
from lab_utils.diffusion.samplers import dpm_solver
from lab_utils.diffusion.sampling import sample
from lab_utils.diffusion.schedules import Schedule
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.diffusion.weights import loss_weights, timestep_probabilities
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.figures.display import html_image, png
from lab_utils.measure.losses import answers, mean_and_error, noise, squared
from lab_utils.points.dataset import Dataset
from lab_utils.runs.fit import job_of

DRAWS = 10_000  # noised points that the excess is taken of
SHOWN = 2000  # samples in the picture
STEPS = 20  # of their sampler


class Watch:
    """The floor of a training, and how far above it a network is.

    Timesteps count as the recipe draws and weighs them, so that the floor is that of the training's own losses.

    Args:
        data: what is learnt.
        schedule: of the network.
        recipe: of the training.

    Attributes:
        floor: the smallest expected loss on the training points; the loss of one epoch can lie below it by chance.
        error: the standard error of that number, because it is taken of some noised points.

    Raises:
        ValueError: the recipe couples points and noises, and then the floor is not known.
    """

    def __init__(self, data: Dataset, schedule: Schedule, recipe: Recipe) -> None:
        check_independent(recipe, "the floor of a training is told of independent pairs")
        self._noised = noise(data.train, schedule, draws=DRAWS)
        self._best = answers(BestDenoiser(data.train, schedule), self._noised)
        drawn, weighed = timestep_probabilities(schedule, recipe.timesteps), loss_weights(schedule, recipe.weights)
        self._counts = (schedule.timesteps * drawn * weighed)[self._noised.t]
        self.floor, self.error = mean_and_error(squared(self._best, self._noised.epsilon) * self._counts)

    def excess(self, network: Denoiser) -> float:
        """How far above the floor the mean loss of the network is."""
        return float((squared(answers(network, self._noised), self._best) * self._counts).mean())


class LiveTraining(widgets.VBox):  # type: ignore[misc]
    """Buttons to start and stop a training, and a picture of it that is drawn anew every few seconds.

    Args:
        network: see `runs.fit`.
        data: see `runs.fit`.
        recipe: see `runs.fit`.
        every: seconds between two pictures.
        labels: of the axes of the map.
    """

    def __init__(
        self,
        network: DenoisingModule,
        data: Dataset,
        recipe: Recipe | None = None,
        *,
        every: float = 2.0,
        labels: tuple[str, str] = ("x", "y"),
    ) -> None:
        self._job, self._data, self._every, self._labels = job_of(network, data, recipe), data, every, labels
        self._sampler = dpm_solver(network.schedule, min(STEPS, network.schedule.timesteps))
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._excess: dict[int, float] = {}
        self.start_button = widgets.Button(description="Start", button_style="primary", icon="play")
        self.stop_button = widgets.Button(description="Stop", disabled=True, icon="stop")
        self.status, self.picture = widgets.HTML("Not started."), widgets.HTML()
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        super().__init__([widgets.HBox([self.start_button, self.stop_button, self.status]), self.picture])

    def start(self) -> None:
        """Train in a thread of its own, up to the end or until `stop`; nothing, if that is going on already."""
        if self._thread is None or not self._thread.is_alive():
            self._stopping.clear()
            self._show_running(True)
            self._thread = threading.Thread(target=self._guarded, args=(self._train,), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the current epoch, and keep what was trained."""
        self._stopping.set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the training has stopped or is done, or `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _show_running(self, running: bool) -> None:
        self.start_button.disabled, self.stop_button.disabled = running, not running
        self.start_button.description = "Start" if running else "Go on"

    def _guarded(self, work: Callable[[], None]) -> None:
        """An error in a thread is seen by nobody; so it is shown."""
        try:
            work()
        except Exception as error:
            self.status.value = f"<b>Stopped:</b> {type(error).__name__}: {html.escape(str(error))}"
        finally:
            self._show_running(False)

    def _train(self) -> None:
        self.status.value = "Working out the floor …"
        with alone_at([self._job.folder]):
            trainer, seen = self._job.open(), 0.0
            watch = Watch(self._data, trainer.network.schedule, self._job.recipe)
            with closing(self._job.carry_on()) as epochs:  # so that it saves its state before somebody else may train
                for trainer in epochs:
                    if self._stopping.is_set():
                        break
                    if time.monotonic() - seen > self._every:
                        self._show(watch, trainer)
                        seen = time.monotonic()
        self._show(watch, trainer)

    def _show(self, watch: Watch, trainer: Trainer) -> None:
        epoch, epochs, restore = trainer.epoch, self._job.recipe.epochs, self._data.units.restore
        self._excess[epoch] = watch.excess(trainer.averaged)
        samples = sample(trainer.averaged, SHOWN, sampler=self._sampler, workers=1)
        drawn = figures.training_view(
            trainer.losses,
            watch.floor,
            self._excess,
            restore(samples),
            restore(self._data.held_out[:5000]),
            labels=self._labels,
        )
        done = "done" if epoch == epochs else "stopped" if self._stopping.is_set() else "training"
        self.status.value = (
            f"{done}: epoch {epoch} of {epochs}, loss {trainer.losses[-1]:.3f}, floor {watch.floor:.3f}, "
            f"excess {self._excess[epoch]:.4f}"
        )
        self.picture.value = html_image(png(drawn), f"Loss, excess and samples after {epoch} epochs")
