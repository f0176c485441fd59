"""The live training trains what `fit` trains: watched, stopped and gone on with, it ends with the same bits."""

import threading
import time
from dataclasses import replace

import pytest
import torch
from small_runs import DATA, RECIPE, network, same

from lab_utils.base.files import lock
from lab_utils.diffusion.training import Trainer
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.measure.losses import mean_loss
from lab_utils.runs import jobs
from lab_utils.runs.fit import fit, job_of
from lab_utils.widgets import training as live
from lab_utils.widgets.training import LiveTraining, Watch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def whole(cache, monkeypatch):
    """What `fit` makes when nobody watches, in another cache."""
    with monkeypatch.context() as patch:
        patch.setenv("DDPM_LAB_CACHE", str(cache / "other"))
        return fit(network(), DATA, RECIPE, progress=False)


def run_to_the_end(training):
    training.start()
    training.wait(300)
    assert training.status.value.startswith("done"), training.status.value


def test_what_was_watched_is_what_fit_finds(whole):
    training = LiveTraining(network(), DATA, RECIPE, every=5)
    run_to_the_end(training)
    started = torch.get_rng_state()
    run = fit(network(), DATA, RECIPE, progress=False)
    assert torch.equal(run.losses, whole.losses)
    assert torch.equal(torch.get_rng_state(), started)
    for epoch in RECIPE.checkpoints:
        assert same(run.model(epoch).state_dict(), whole.model(epoch).state_dict())


def test_the_picture_changes_while_it_trains():
    recipe = replace(RECIPE, epochs=8, checkpoints=(4, 8))  # a picture takes half a second
    training = LiveTraining(network(), DATA, recipe, every=0)
    seen, states = [], []
    training.picture.observe(lambda change: seen.append(change.new), "value")
    training.status.observe(lambda change: states.append(change.new), "value")
    run_to_the_end(training)
    assert len({*seen}) == recipe.epochs
    assert 'alt="Loss, excess and samples after 8 epochs"' in seen[-1]
    assert states[0].startswith("Working out the floor")
    assert states[1].startswith("training: epoch 1 of 8, loss ")
    assert states[-1].startswith("done: epoch 8 of 8, loss ")


def test_the_map_has_the_names_of_the_data(monkeypatch):
    drawn = []
    monkeypatch.setattr(live, "png", lambda figure: drawn.append(figure) or b"")
    run_to_the_end(LiveTraining(network(), DATA, RECIPE, every=60, labels=("longitude / °", "latitude / °")))
    (*_, chart) = drawn[-1].axes
    assert (chart.get_xlabel(), chart.get_ylabel()) == ("longitude / °", "latitude / °")


def test_stopped_and_gone_on_with_it_ends_with_the_same_bits(whole, monkeypatch):
    monkeypatch.setattr(jobs, "SAVE_EVERY", 1000)  # so that only the stop itself can have saved the state
    training = LiveTraining(network(), DATA, RECIPE, every=5)
    training.picture.observe(lambda _: training.stop(), "value")  # as soon as there is something to see
    training.start()
    training.wait(300)
    assert training.status.value.startswith("stopped: epoch 2 of 23")
    assert (training.start_button.description, training.start_button.disabled) == ("Go on", False)
    assert training.stop_button.disabled
    assert job_of(network(), DATA, RECIPE).open().epoch == 2
    training.picture.unobserve_all()
    run_to_the_end(training)
    assert torch.equal(fit(network(), DATA, RECIPE, progress=False).losses, whole.losses)


def test_fit_goes_on_with_what_was_stopped(whole):
    training = LiveTraining(network(), DATA, RECIPE, every=5)
    training.picture.observe(lambda _: training.stop(), "value")
    training.start()
    training.wait(300)
    assert torch.equal(fit(network(), DATA, RECIPE, progress=False).losses, whole.losses)


def test_what_is_done_already_is_shown_at_once(monkeypatch):
    run = fit(network(), DATA, RECIPE, progress=False)
    monkeypatch.setattr(Trainer, "_train_one_epoch", lambda self: pytest.fail("it is done"))
    training = LiveTraining(network(), DATA, RECIPE)
    run_to_the_end(training)
    assert training.status.value.startswith(f"done: epoch 23 of 23, loss {run.losses[-1]:.3f}")


def test_the_buttons_are_those_of_the_moment():
    training = LiveTraining(network(), DATA, RECIPE, every=5)
    assert (training.start_button.disabled, training.stop_button.disabled) == (False, True)
    during = []
    training.picture.observe(
        lambda _: during.append((training.start_button.disabled, training.stop_button.disabled)), "value"
    )
    training.start_button.click()
    training.start()  # a second start changes nothing
    training.wait(300)
    assert {*during} == {(True, False)}
    assert (training.start_button.disabled, training.stop_button.disabled) == (False, True)


def test_an_error_in_the_thread_is_shown(monkeypatch):
    def broken(self, batch, far):
        raise OSError("no space left on <device>")

    monkeypatch.setattr(Trainer, "_errors", broken)
    training = LiveTraining(network(), DATA, RECIPE)
    training.start()
    training.wait(300)
    assert training.status.value == "<b>Stopped:</b> OSError: no space left on &lt;device&gt;"
    assert not training.start_button.disabled


def test_it_waits_for_whoever_trains_the_same(capsys):
    job = job_of(network(), DATA, RECIPE)
    training = LiveTraining(network(), DATA, RECIPE)
    with lock(job.folder):
        training.start()
        training.wait(1)
        assert training.status.value.startswith("Working out the floor")
        assert not (job.folder / "config.json").exists()
    training.wait(300)
    assert training.status.value.startswith("done")


@pytest.mark.parametrize(
    ("timesteps", "weights"),
    [("uniform", "uniform"), ("detail", "uniform"), ("uniform", "log-SNR"), ("detail", "log-SNR")],
)
def test_the_floor_is_that_of_what_the_training_draws_and_weighs(timesteps, weights):
    """The mean of the losses that a trainer with the best denoiser's answers would have."""
    recipe = replace(RECIPE, timesteps=timesteps, weights=weights)
    trainer = Trainer(network(), DATA.train, recipe)
    best = BestDenoiser(DATA.train, trainer.network.schedule)
    trainer.network.predict = best.epsilon
    losses = torch.tensor(
        [float(trainer._errors(torch.arange(100), 0).mean()) for _ in range(400)], dtype=torch.float64
    )
    watch = Watch(DATA, trainer.network.schedule, recipe)
    assert abs(float(losses.mean()) - watch.floor) < 4 * (float(losses.std()) / 20 + watch.error)
    assert watch.excess(best) == pytest.approx(0, abs=1e-12)


def test_the_excess_is_loss_minus_floor():
    trainer = Trainer(network(), DATA.train, RECIPE)
    next(iter(trainer))
    watch = Watch(DATA, trainer.network.schedule, RECIPE)
    loss, error = mean_loss(trainer.averaged, DATA.train, draws=live.DRAWS)
    assert watch.excess(trainer.averaged) == pytest.approx(loss - watch.floor, abs=4 * error)


def test_nothing_of_it_stays_when_all_is_done():
    before = {*threading.enumerate()}

    def more():
        """The threads that are new, but for the one that tqdm keeps for all its bars."""
        return [one for one in threading.enumerate() if one not in before and type(one).__name__ != "TMonitor"]

    run_to_the_end(LiveTraining(network(), DATA, RECIPE, every=5))
    deadline = time.monotonic() + 10
    while more() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert more() == []
