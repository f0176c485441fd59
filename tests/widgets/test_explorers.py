"""The explorers: what their controls ask for, what they then show, and that a bad choice is explained, not raised."""

import base64
import itertools
import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from small_runs import gaussian

from lab_utils import figures, widgets
from lab_utils.diffusion.schedules import ScheduleError, cosine, linear, sigmoid
from lab_utils.exact.posterior import know
from lab_utils.figures.display import quick_png
from lab_utils.points.dataset import dataset
from lab_utils.widgets.base import Picture, under
from lab_utils.widgets.schedule import KINDS, noised

PNG = b"\x89PNG"
ENDS = {"beta_start": 1e-4, "beta_end": 0.02, "start": -5.0, "end": 5.0, "timesteps": 1000}
EXTENT, LABELS = (-3, 3, -3, 3), ("x", "y")
DATA = gaussian()


def find(explorer, description):
    return next(w for w in explorer.children if getattr(w, "description", None) == description)


def picture_of(explorer):
    return next(w for w in explorer.children if isinstance(w, Picture))


def shown(picture):
    return base64.b64decode(picture.source.removeprefix("data:image/png;base64,"))


def click(explorer, axes, x, y):
    """Click where the point (x, y) of the axes is drawn."""
    right, up = axes.transData.transform((x, y)) / axes.figure.bbox.size
    picture_of(explorer).at = [float(right), float(1 - up)]


# --- clicks


def test_a_click_leads_back_to_the_point_that_is_drawn_there():
    figure = figures.maps({"a": [[0, 0]], "b": [[1, 1]]}, EXTENT, columns=2)
    quick_png(figure)
    first, second = figure.axes
    for axes in (first, second):
        right, up = axes.transData.transform((1.5, -0.5)) / figure.bbox.size
        at = (right, 1 - up)
        assert under(axes, at) == pytest.approx((1.5, -0.5))
        assert sum(under(other, at) is not None for other in figure.axes) == 1
    assert under(first, (0, 0)) is None


def test_a_quick_picture_is_the_whole_figure():
    """Else a click would lead elsewhere."""
    figure = figures.maps({"a": [[0, 0]]}, EXTENT)
    picture = quick_png(figure)
    size = [int.from_bytes(picture[at : at + 4], "big") for at in (16, 20)]
    assert size == [int(side) for side in figure.bbox.size]


# --- the schedule


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", linear()),
        ("sigmoid", sigmoid()),
        ("sigmoid, not rescaled", sigmoid(reading="raw")),
        ("cosine", cosine()),
    ],
)
def test_each_kind_is_the_schedule_of_that_name(kind, expected):
    assert kind in KINDS
    assert widgets.make_schedule(kind, **ENDS).betas.equal(expected.betas)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ScheduleError, match="quadratic"):
        widgets.make_schedule("quadratic", **ENDS)


def view(**choice):
    return widgets.schedule_view(DATA, EXTENT, **{**ENDS, **choice})


def test_the_view_is_a_picture_and_the_doctors_report():
    picture, report = view(kind="linear")
    assert picture.startswith(PNG)
    assert "reaches 0 too early" in report
    assert "674 of 1000" in report
    assert "ᾱ &lt; 0.01" in report  # escaped: it is text, not a tag


def test_a_schedule_that_cannot_be_is_explained():
    picture, report = view(kind="sigmoid", start=0.0, end=0.0)
    assert picture == b""
    assert "cannot be used" in report
    assert "start &lt; end" in report


def test_the_points_that_are_shown_are_noised_as_the_schedule_says():
    stages = noised(dataset("gaussian"), linear())
    for (title, points), step in zip(stages.items(), (100, 250, 500, 750), strict=True):
        kept = linear().alphas_cumprod[step - 1]
        assert title == f"{step} steps, ᾱ = {kept:.2g}"
        normalised = dataset("gaussian").units.normalise(points)
        assert normalised.var(dim=0).mean() == pytest.approx(1, abs=0.06)  # whatever the step
    few = noised(DATA, linear(timesteps=10, beta_start=0.1, beta_end=0.3))
    assert [title.split()[0] for title in few] == ["1", "2", "5", "8"]


def test_moving_a_slider_of_the_schedule_explorer_changes_picture_and_report():
    explorer = widgets.schedule_explorer(DATA, EXTENT)
    picture, report = picture_of(explorer), explorer.children[-1]
    assert picture.alt.startswith("ᾱ and the signal-to-noise ratio")
    before = picture.source, report.value
    find(explorer, "kind").value = "sigmoid"
    assert picture.source != before[0]
    assert "9.2%" in report.value
    find(explorer, "sigmoid to").value = 3.0
    assert "9.2%" not in report.value
    find(explorer, "sigmoid to").value = 0.0
    find(explorer, "sigmoid from").value = 0.0
    assert picture.source == ""
    assert "cannot be used" in report.value


def test_only_the_sliders_of_the_chosen_kind_can_be_moved():
    explorer = widgets.schedule_explorer(DATA, EXTENT)
    ends = ["β, first step", "β, last step", "sigmoid from", "sigmoid to"]

    def disabled(kind):
        find(explorer, "kind").value = kind
        return [find(explorer, description).disabled for description in ends]

    assert disabled("sigmoid") == [True, True, False, False]
    assert disabled("cosine") == [True, True, True, True]
    assert disabled("linear") == [False, False, True, True]


# --- what the best denoiser knows


@pytest.mark.parametrize("timesteps", [1000, 50])
def test_a_click_on_the_curve_chooses_the_timestep_and_one_on_the_map_the_point(timesteps):
    data, schedule, floor = dataset("moons"), sigmoid(timesteps=timesteps), np.linspace(1, 0, 10)
    extent = (-3.0, 3.0, -2.0, 2.0)
    explorer = widgets.posterior_explorer(data, schedule, floor, extent)
    time_slider, which, picture, words = explorer.children
    assert words.value == know(data, schedule, 0, 3 * timesteps // 10).text

    def drawn():
        figure = figures.posterior(
            know(data, schedule, which.value, time_slider.value),
            data.units.restore(data.train), floor, extent, LABELS,
        )  # fmt: skip
        assert shown(picture) == quick_png(figure)
        return figure.axes

    curve, _ = drawn()
    assert curve.lines[0].get_xdata().max() == pytest.approx(0.95 * timesteps)  # the middle of the last stretch
    click(explorer, curve, 0.64 * timesteps, 0.5)
    assert time_slider.value == pytest.approx(0.64 * timesteps, abs=3)
    place = data.units.restore(data.train[77:78])[0]
    _, chart = drawn()
    click(explorer, chart, *place.tolist())
    assert which.value == 77
    assert words.value == know(data, schedule, 77, time_slider.value).text
    drawn()


# --- speed


def explorers(data, extent):
    """Each explorer by its name, with one of its controls and two values for it."""
    return {
        "schedule": (widgets.schedule_explorer(data, extent), "β, last step", (0.02, 0.03)),
        "posterior": (widgets.posterior_explorer(data, sigmoid(), np.ones(50), extent), "timestep t", (400, 500)),
    }


def fastest(act):
    """The least of the processor's own time in five tries."""
    times = []
    for _ in range(5):
        started = time.thread_time()
        act()
        times.append(time.thread_time() - started)
    return min(times)


def draw_plainly():
    """What matplotlib itself takes for two panels of 5000 points: a tenth of a second on an idle machine of 2024."""
    figure = Figure(figsize=(8, 4), dpi=90, layout="constrained")
    for axes in figure.subplots(1, 2):
        axes.scatter(*np.random.default_rng(0).normal(size=(2, 5000)), s=1)
        axes.set(title="title", xlabel="x", ylabel="y")
    quick_png(figure)


def test_each_explorer_answers_in_time():
    """In twice the time of a plain figure: a fifth of a second; and a slow machine is slow, and not wrong."""
    moves = explorers(dataset("cities"), (-200, 240, -130, 180))
    took = {}
    for name, (explorer, description, values) in moves.items():
        control, value = find(explorer, description), itertools.cycle(values[::-1])
        took[name] = fastest(lambda control=control, value=value: setattr(control, "value", next(value)))
    assert max(took.values()) < 2 * fastest(draw_plainly), took
