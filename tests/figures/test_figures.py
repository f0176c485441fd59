"""Figures show what they are given: the right curves, on shared axes, in colours that stay with a schedule."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver

from lab_utils import figures
from lab_utils.diffusion.doctor import diagnose
from lab_utils.diffusion.schedules import cosine, linear, sigmoid
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.gridded import Grid, gridded
from lab_utils.exact.posterior import Knowledge
from lab_utils.figures.quality import SAMPLERS
from lab_utils.measure import neighbours
from lab_utils.measure.benchmark import Measure
from lab_utils.measure.nats import Nats
from lab_utils.points.dataset import Units

EXTENT = (-3.0, 3.0, -2.0, 2.0)


@pytest.fixture
def points():
    return torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).numpy()


def test_a_curve_is_the_schedule_itself_and_its_shade_begins_where_the_doctor_says():
    figure = figures.alphas_cumprod({"linear": linear()})
    for axes in figure.axes:
        x, y = axes.lines[0].get_data()
        assert np.array_equal(y, linear().alphas_cumprod.numpy())
        assert list(x[[0, -1]]) == [1, 1000]  # steps done, not indices
        assert axes.patches[0].get_x() == 674
    assert "32.7%" in figure.axes[0].texts[0].get_text()
    assert figure.axes[1].get_yscale() == "log"


def test_a_schedule_that_keeps_its_data_has_no_shade():
    figure = figures.alphas_cumprod({"few steps": linear(1e-4, 2e-3, 100)})
    assert not figure.axes[0].patches


def test_several_curves_have_a_legend_and_different_looks():
    curves = {"linear": linear(), "sigmoid": sigmoid(), "cosine": cosine(), "raw": sigmoid(reading="raw")}
    axes = figures.alphas_cumprod(curves).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in axes.lines}) == 4
    assert len({line.get_linestyle() for line in axes.lines}) == 4  # told apart without colours, too


def test_a_schedule_card_shows_alpha_bar_snr_the_wasted_steps_and_the_points(points):
    left, right, *charts = figures.schedule_card(sigmoid(), {"early": points, "late": 2 * points}, EXTENT).axes
    assert np.array_equal(left.lines[0].get_ydata(), sigmoid().alphas_cumprod.numpy())
    assert np.array_equal(right.lines[0].get_ydata(), sigmoid().snr.numpy())
    assert left.get_title() == "shaded: 9.2% of the steps have ᾱ < 0.01"
    assert [chart.get_title() for chart in charts] == ["early", "late"]
    assert np.allclose(charts[1].collections[0].get_offsets(), 2 * points)
    nothing_wasted = figures.schedule_card(sigmoid(reading="raw"), {"early": points}, EXTENT)
    assert nothing_wasted.axes[0].get_title().startswith("shaded") == (diagnose(sigmoid(reading="raw")).wasted > 0)


def test_around_holds_all_points_and_a_margin():
    assert figures.around([[0, 0], [10, 4]], margin=0.1) == (-1, 11, -1, 5)


def test_the_ways_of_a_point_begin_together_and_end_at_stars(points):
    ways = {"DDPM": points[:5], "DDIM": np.concatenate([points[:1], -points[1:5]])}
    panels = figures.walks(ways, points, points, EXTENT).axes
    assert [axes.get_title() for axes in panels] == ["DDPM", "DDIM"]
    for axes, way in zip(panels, ways.values(), strict=True):
        line, start, star = axes.lines
        assert np.allclose(line.get_xydata(), way)
        assert np.allclose(start.get_xydata(), points[:1])
        assert star.get_marker() == "*"
        assert np.allclose(star.get_xydata(), way[-1:])


def test_arrows_lead_from_a_grid_towards_the_data_that_are_seen_there():
    point = torch.tensor([[1.0, -0.5]])
    best = BestDenoiser(point, sigmoid())  # of one data point, so that all arrows lead to where it is at t
    titles = {"best": ["early", "late"]}
    figure = figures.arrows({"best": best}, point, (100, 800), titles=titles)
    assert [axes.get_title() for axes in figure.axes] == ["early", "late"]
    for axes, t in zip(figure.axes, (100, 800), strict=True):
        (field,) = [one for one in axes.collections if isinstance(one, Quiver)]
        start, arrow = np.stack([field.X, field.Y], axis=1), np.stack([field.U, field.V], axis=1)
        wanted = float(sigmoid().alphas_cumprod[t]) ** 0.5 * point.numpy() - start
        assert np.allclose(arrow / wanted, (arrow / wanted)[0, 0], rtol=1e-3), "a part of the way, the same everywhere"
        assert 0 < (arrow / wanted)[0, 0] < 1


def known(n):
    """What is known of a point that may come from the first two of `n` places."""
    places = (torch.tensor(place) for place in ((1.0, 2.0), (1.5, 2.5), (1.2, 2.2)))
    return Knowledge(300, 1000, 9.0, *places, torch.tensor([0.75, 0.25] + [0.0] * (n - 2)))


def test_the_posterior_shows_likely_points_alone_and_the_likelier_the_larger(points):
    curve, chart = figures.posterior(known(len(points)), points, np.linspace(1, 0, 10), EXTENT).axes
    assert curve.lines[1].get_xdata()[0] == 300
    likely = chart.collections[1]
    assert np.allclose(likely.get_offsets(), points[:2])
    assert likely.get_sizes()[0] > likely.get_sizes()[1]
    marked = {line.get_label(): line.get_xydata()[0].round(6).tolist() for line in chart.lines}
    assert marked == {"what is seen": [1.5, 2.5], "the best guess": [1.2, 2.2], "the truth": [1.0, 2.0]}


def test_several_posteriors_show_as_much_as_is_needed_and_no_more_than_the_whole(points):
    here = torch.tensor(points[0])
    certain = torch.eye(len(points))[0]
    near = replace(known(len(points)), origin=here, seen=here + 0.2, guess=here, chances=certain)
    everywhere = replace(near, chances=torch.full((len(points),), 1 / len(points)))
    figure = figures.posteriors([near, everywhere, near], points, EXTENT)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title().partition(",")[0] for axes in shown] == ["t = 300"] * 3
    left, right, low, high = (*shown[0].get_xlim(), *shown[0].get_ylim())
    for x, y in (points[0], points[0] + 0.2):
        assert left <= x <= right
        assert low <= y <= high
    assert (right - left) / (high - low) == pytest.approx((EXTENT[1] - EXTENT[0]) / (EXTENT[3] - EXTENT[2]))
    assert right - left < 1
    assert (*shown[1].get_xlim(), *shown[1].get_ylim()) == EXTENT


def test_the_view_of_a_training_shows_its_floor_its_excess_and_its_samples(points):
    left, middle, right = figures.training_view([0.5, 0.4, 0.3], 0.2, {1: 0.1, 3: 0.05}, points, 2 * points).axes
    assert left.lines[0].get_ydata().tolist() == [0.5, 0.4, 0.3]
    assert left.lines[1].get_ydata()[0] == 0.2
    assert middle.lines[0].get_xydata().tolist() == [[1, 0.1], [3, 0.05]]
    assert middle.get_yscale() == "log"
    assert np.allclose(right.collections[1].get_offsets(), points)
    assert (*right.get_xlim(), *right.get_ylim()) == figures.around(2 * points)


def test_maps_share_their_axes_and_hold_all_points(points):
    figure = figures.maps({"a": points, "b": 2 * points, "c": points}, EXTENT, columns=2, behind=points)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["a", "b", "c"]
    for axes in shown:
        assert (*axes.get_xlim(), *axes.get_ylim()) == EXTENT
        assert axes.get_aspect() == 1  # a degree is as long in both directions
    behind, front = shown[1].collections
    assert np.allclose(front.get_offsets(), 2 * points)
    assert np.allclose(behind.get_offsets(), points)
    assert behind.get_zorder() < front.get_zorder()


def test_strays_are_ringed_counted_and_none_is_lost_outside(points):
    far = np.array([[2.5, -1.5], [9.0, 0.5], [9.0, -7.0]])
    panels = {"all real": points, "three far": np.concatenate([points, far])}
    real = np.random.default_rng(1).standard_normal((500, 2)) * 0.6
    masks = {title: neighbours.stray_mask(some, real) for title, some in panels.items()}
    assert masks["three far"][-3:].all()
    near, with_far = figures.strays(panels, real, EXTENT).axes
    for axes, title in ((near, "all real"), (with_far, "three far")):
        some, mask = panels[title], masks[title]
        behind, dots, rings, crosses = axes.collections
        assert np.array_equal(behind.get_offsets(), real)
        assert np.array_equal(dots.get_offsets(), some)
        inside = (np.abs(some) <= [3, 2]).all(axis=1)
        assert np.array_equal(rings.get_offsets(), some[mask & inside])
        assert len(crosses.get_offsets()) == (mask & ~inside).sum()
        assert f"strays: {mask.sum()} of {len(some)}, {mask.mean():.2%}" in axes.get_title()
    assert with_far.collections[3].get_offsets()[-2:].tolist() == [[3, 0.5], [3, -2]]  # at the edges where they left
    assert "outside" in with_far.get_title()
    assert to_hex(with_far.collections[2].get_edgecolor()[0]) == to_hex(figures.ORANGE)


def test_strays_may_be_those_of_other_real_points(points):
    none = np.zeros(len(points), dtype=bool)
    (axes,) = figures.strays({"a": points}, points[:3], EXTENT, masks={"a": none}, columns=1).axes
    assert "strays: 0 of 200, 0.00%" in axes.get_title()
    with pytest.raises(ValueError, match=r"masks\['a'\] must have the shape \(200,\), not \(3,\)"):
        figures.strays({"a": points}, points, EXTENT, masks={"a": none[:3]})


def test_maps_name_the_outer_axes_only(points):
    figure = figures.maps(dict.fromkeys("abcd", points), EXTENT, labels=("east", "north"), columns=2)
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "east", "east"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["north", "", "north", ""]


def test_points_lie_over_the_law_in_their_own_units_and_more_mass_is_darker(points):
    grid = Grid((-1.0, 1.0, 0.0, 3.0), (4, 6))
    law = gridded(lambda x: x[:, 0], grid)  # it rises to the right
    units = Units(torch.tensor([10.0, 20.0], dtype=torch.float64), 2.0)
    panels = dict.fromkeys("abc", (law, points))
    figure = figures.over_laws(panels, (7, 13, 19, 27), units, labels=("east", "north"), columns=2)
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "east", "east", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["north", "", "north", ""]
    first, *_ = figure.axes
    assert (first.get_xlim(), first.get_ylim()) == ((7, 13), (19, 27))
    (image,) = first.images
    assert image.get_extent() == [8, 12, 20, 26]
    assert image.origin == "lower"
    shades = np.asarray(image.get_array())
    assert shades.shape == (6, 4)
    assert (np.diff(shades, axis=1) > 0).all()
    assert (shades >= 1).mean() == 0.25, "the densest cells have one colour"
    assert np.allclose(first.collections[0].get_offsets(), points)


def test_losses_are_drawn_above_their_floor():
    values = np.linspace(0.5, 0.4, 300)
    left, right = figures.losses({"sigmoid": values, "linear": values / 2}, {"sigmoid": 0.3, "linear": 0.1}).axes
    assert np.array_equal(left.lines[0].get_ydata(), values)
    assert list(left.lines[1].get_ydata()) == [0.3, 0.3]
    assert left.get_ylim()[0] == 0  # the whole loss, not a magnified part of it
    excess = right.lines[0].get_ydata()
    assert excess[0] == pytest.approx(values[:100].mean() - 0.3)
    assert right.lines[0].get_xdata()[0] == 100
    assert excess[-1] == pytest.approx(values[-100:].mean() - 0.3)


def _measure(multiple):
    interval = (0.9 * multiple, 1.2 * multiple)
    return Measure(multiple, 1.0, multiple, interval, varies="5 real sets", freedom=4, rank=0.1)


def test_multiples_show_value_interval_and_what_single_real_sets_read():
    measures = {"blur": {"linear": [_measure(3.0), _measure(2.0)], "sigmoid": [_measure(2.5), _measure(1.5)]}}
    figure = figures.multiples([200, 2000], measures, {"blur": _measure(1.1)}, {"blur": (0.5, 2.0)})
    axes = figure.axes[0]
    band = axes.patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == (0.5, 2.0)
    real, training = axes.lines[:2]
    assert [*real.get_ydata(), *training.get_ydata()] == [1, 1, 1.1, 1.1]
    linear_bars, sigmoid_bars = axes.containers
    assert list(linear_bars.lines[0].get_ydata()) == [3.0, 2.0]
    assert list(sigmoid_bars.lines[0].get_ydata()) == [2.5, 1.5]
    low, high = (cap.get_ydata() for cap in sigmoid_bars.lines[1])
    assert low == pytest.approx([2.25, 1.35])
    assert high == pytest.approx([3.0, 1.8])
    assert axes.get_ylim()[0] == 0


def test_an_interval_without_an_end_has_no_bar_there_and_hides_no_other():
    open_end = replace(_measure(2.0), interval=(1.5, np.inf))
    measures = {"strays": {"linear": [open_end, _measure(1.0)]}}
    axes = figures.multiples([200, 2000], measures, {"strays": _measure(1.0)}, {"strays": (0.9, 1.1)}).axes[0]
    low, high = (cap.get_ydata() for cap in axes.containers[0].lines[1])
    assert low == pytest.approx([1.5, 0.9])
    assert high == pytest.approx([2.0, 1.2])
    assert axes.get_ylim()[1] < 3


def test_many_distances_stand_in_rows_and_say_which_are_better_when_higher():
    values = {"linear": [_measure(0.8), _measure(0.9)]}
    best = {name: _measure(1.0) for name in "abcd"} | {"d": replace(_measure(1.0), higher_is_better=True)}
    bands = dict.fromkeys("abcd", (0.95, 1.05))
    figure = figures.multiples([200, 2000], dict.fromkeys("abcd", values), best, bands, columns=3)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["a", "b", "c", "d (more is better)"]
    assert shown[0].get_ylim()[0] == 0
    assert shown[3].get_ylim()[0] > 0


@pytest.mark.parametrize("timesteps", [50, 1000])
def test_loss_and_floor_along_t_are_drawn_on_the_same_axes(timesteps):
    floor, loss = np.linspace(0.9, 0, 10), np.linspace(0.95, 0.01, 10)
    left, right = figures.losses_along_t(
        {"linear": floor, "sigmoid": floor / 2}, {"linear": loss, "sigmoid": loss}, timesteps=timesteps
    ).axes
    assert np.array_equal(left.lines[0].get_ydata(), loss)
    assert list(left.lines[0].get_xdata()[[0, -1]]) == [
        timesteps / 20,
        timesteps * 19 / 20,
    ]  # the middle of each stretch
    assert left.get_ylim() == right.get_ylim()
    top = left.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(0.9)


def test_the_excess_is_drawn_over_epochs_on_logarithmic_axes_and_along_t_on_linear_ones():
    along = {name: {200: np.full(20, 1e-2), 2000: np.full(20, 1e-3)} for name in ("linear", "a schedule of one's own")}
    checkpoints = {name: ([200, 2000], [0.01, 0.005]) for name in along}
    curve = np.linspace(0.02, 0.01, 500)
    figure = figures.excess(checkpoints, dict.fromkeys(along, curve), along, timesteps=1000, window=100)
    left, middle, right = figure.axes
    smooth, marks = left.lines[:2]
    assert smooth.get_ydata()[0] == pytest.approx(curve[:100].mean())
    assert list(marks.get_ydata()) == [0.01, 0.005]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert [len(axes.lines) for axes in (middle, right)] == [2, 2]
    assert len({to_hex(line.get_color()) for line in right.lines}) == 2
    assert middle.get_ylim() == right.get_ylim()


def _nats(density, **totals):
    log_snr = 9.9 - 0.2 * torch.arange(50, dtype=torch.float64)
    return Nats(**{"total": 1.0, "error": 0.01, "start": 0.0, "log_snr": log_snr, "density": density, **totals})


def test_nats_are_lines_over_log_snr_with_their_totals_and_the_noise_in_the_datas_units():
    falling = torch.linspace(0.3, 0.1, 50, dtype=torch.float64)
    early = torch.cat([torch.full((10,), 0.2), torch.zeros(40)]).double()
    figure = figures.nats({"a": _nats(falling, total=0.8), "linear": _nats(early)}, scale=50.0, unit="degrees")
    (axes,) = figure.axes
    assert np.allclose(axes.lines[0].get_xydata(), np.stack([9.9 - 0.2 * np.arange(50), falling], axis=1))
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["a: 0.80 ± 0.01 nats", "linear: 1.00 ± 0.01 nats"]
    assert to_hex(axes.lines[1].get_color()) == figures.ORANGE.lower()  # as in all other figures
    assert axes.get_xlim()[0] < 0.5  # all of "a" is lost on the whole axis
    (upper,) = axes.child_axes
    figure.canvas.draw()
    texts = [float(label.get_text()) for label in upper.get_xticklabels()]
    widths = dict(zip(texts, upper.get_xticks(), strict=True))
    assert {1, 2, 5, 10} <= set(widths)
    assert all(50 * np.exp(-place / 2) == pytest.approx(width) for width, place in widths.items())


def test_log_snr_at_which_nothing_is_lost_is_left_out():
    early = torch.cat([torch.full((10,), 0.2), torch.zeros(40)]).double()
    assert 7 < figures.nats({"a": _nats(early)}).axes[0].get_xlim()[0] < 8
    perfect = figures.nats({"best": _nats(torch.zeros(50, dtype=torch.float64), total=0.0, error=0.0)}).axes[0]
    assert perfect.get_legend().get_texts()[0].get_text() == "best: 0.000 ± 0.000 nats"
    nothing = _nats(torch.zeros(50, dtype=torch.float64), total=0.0)
    beside = figures.nats({"a": _nats(early), "best": nothing}).axes[0]
    assert 7 < beside.get_xlim()[0] < 8, "who loses nothing does not decide where the axis begins"


def test_a_comparison_shows_every_seed_and_the_mean_on_shared_axes():
    panels = {"towns": {"plain": [2.0, 2.2, 2.4], "better": [1.2, 1.4]}, "spiral": {"plain": [3.0], "better": [1.0]}}
    left, right = figures.comparison(panels, "blur", log=True).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["plain", "better"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first row is at the top
    seeds, mean = left.lines[:2]
    assert list(seeds.get_xdata()) == [2.0, 2.2, 2.4]
    assert mean.get_xdata()[0] == pytest.approx(2.2)
    assert list(seeds.get_ydata()) == [0, 0, 0]
    assert left.get_xlim() == right.get_xlim()
    assert right.get_xscale() == "log"
    figure = figures.comparison(panels, "blur", log=True)
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"1", "1.5", "2", "3"} <= set(labels)  # and no powers of ten
    assert figures.comparison(panels, "blur").axes[0].get_xscale() == "linear"


def test_evaluations_are_a_grid_of_distances_and_denoisers_with_the_mean_and_the_range_of_the_seeds():
    by_sampler = {"DDPM": ([1000], [[1.0, 3.0]]), "DDIM": ([5, 20], [[4.0, 8.0], [2.0, 2.0]])}
    given = {"energy": {"network": by_sampler, "best": by_sampler}, "blur": {"network": by_sampler, "best": {}}}
    figure = figures.evaluations(given, {"energy": (0.5, 2.0), "blur": (0.9, 1.1)})
    axes = figure.axes
    assert [a.get_title() for a in axes] == ["network", "best", "", ""]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == [f"{d}, × real" for d in given]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    many, few = axes[1].containers
    assert list(few[0].get_xdata()) == [5, 20]
    assert list(few[0].get_ydata()) == [6, 2]
    assert [tuple(part[:, 1]) for part in few[2][0].get_segments()] == [(4, 8), (2, 2)]
    assert list(many[0].get_ydata()) == [2]
    for panel, (low, high) in zip(axes, [(0.5, 2.0)] * 2 + [(0.9, 1.1)] * 2, strict=True):
        assert (panel.patches[0].get_y(), panel.patches[0].get_y() + panel.patches[0].get_height()) == (low, high)
    assert len({line["marker"] for line in SAMPLERS.values()}) == len(SAMPLERS)


def test_a_seed_that_reads_0_does_not_stretch_the_logarithmic_axis_of_evaluations():
    by_sampler = {"DDPM": ([1000], [[0.0, 0.0, 0.0, 0.0, 2.0]]), "DDIM": ([5, 20], [[4.0, 8.0], [2.0, 2.0]])}
    (axes,) = figures.evaluations({"strays": {"network": by_sampler}}, {"strays": (0.5, 2.0)}).axes
    bottom, top = axes.get_ylim()
    assert 0.3 < bottom < 0.4 < 8 < top < 100, "the least that is to be seen is the mean of 0.4"
    ((_, low), (_, high)), *_ = axes.containers[0][2][0].get_segments()
    assert (low, high) == (bottom, 2)


def test_a_trade_off_shows_families_as_lines_and_trainings_as_dots_around_the_real_points():
    figure = figures.trade_off(
        {"kernels": ([1.4, 1.1], [1.0, 1.6])},
        {"a": ([1.0, 1.1], [2.0, 2.1]), "b": ([1.2], [1.1])},
        "copies",
        "blur",
        (0, 1),
    )
    (axes,) = figure.axes
    kernels, a, b, real = axes.lines
    assert (kernels.get_linestyle(), kernels.get_marker()) == ("-", "None")
    assert (a.get_linestyle(), list(a.get_xdata()), list(a.get_ydata())) == ("None", [1.0, 1.1], [2.0, 2.1])
    assert a.get_marker() != b.get_marker()
    assert (list(real.get_xdata()), list(real.get_ydata())) == ([0], [1])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("copies", "blur")


def test_measures_along_the_weight_have_a_panel_each_with_what_real_reads_and_a_star_where_nothing_is_guided():
    free = [0.0, 1.0, 3.0], [[800.0, 600.0], [2.0, 4.0], [0.5, 0.7]]
    auto = [1.0, 3.0], [[2.0, 4.0], [1.0, 1.0]]
    panels = {"strays": {"free": free, "auto": auto}, "coverage": {"free": (free[0], np.array(free[1]) / 1000)}}
    figure = figures.along_weights(panels | {"accuracy": {"auto": auto}})
    strays, coverage, accuracy, nothing = figure.axes
    titles = [axes.get_title() for axes in (strays, coverage, accuracy)]
    assert titles == ["strays (less is better)", "coverage (more is better)", "accuracy (more is better)"]
    assert not nothing.get_visible()
    assert strays.get_yscale() == coverage.get_yscale() == "log"
    assert accuracy.get_yscale() == "linear"
    assert [*strays.lines[0].get_ydata()] == [1, 1]
    by_free, by_auto = strays.containers
    assert np.allclose(by_free[0].get_xydata(), [[0, 700], [1, 3], [3, 0.6]])
    assert [tuple(part[:, 1]) for part in by_free[2][0].get_segments()] == [(600, 800), (2, 4), (0.5, 0.7)]
    assert np.allclose(by_auto[0].get_xydata(), [[1, 3], [3, 1]])
    (star,) = [line for line in strays.lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[1, 3]]
    assert len({(line[0].get_linestyle(), line[0].get_marker()) for line in strays.containers}) == 2


def test_the_weight_axis_may_begin_anywhere_and_real_points_may_read_0():
    nats = {"JS to class": {"with noise": ([0.5, 2.0], [[0.1, 0.1], [-0.01, 0.2]])}}
    (axes,) = figures.along_weights(nats, real=0.0, columns=1, ylabel="nats beyond real").axes
    assert [*axes.lines[0].get_ydata()] == [0, 0]
    assert axes.get_yscale() == "linear"
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    assert len(star.get_xydata()) == 0
    assert axes.figure.get_supylabel() == "nats beyond real"


def test_differences_share_their_colours_which_end_on_both_sides_alike():
    sigmas = np.array([[0.0, 7.0, np.nan], [-1.0, 2.0, 3.0]])
    figure = figures.differences({"generated": sigmas, "real": -sigmas}, EXTENT, labels=("east", "north"))
    upper, lower = (axes.images[0] for axes in figure.axes[:2])
    assert upper.get_clim() == lower.get_clim() == (-6, 6)
    assert np.array_equal(upper.get_array().filled(99.0), np.where(np.isnan(sigmas), 99.0, sigmas))
    assert upper.origin == "lower"
    assert list(upper.get_extent()) == list(EXTENT)


def test_every_frame_of_the_animation_moves_every_schedule(points):
    paths = {name: {k: sign * (k + 1) * points for k in (0, 5, 10)} for name, sign in (("linear", 1), ("sigmoid", -1))}
    animation = figures.reverse_animation(paths, EXTENT)
    player = animation.to_jshtml()
    assert player.count("data:image/png") == 3
    figure = animation._fig
    assert figure.get_suptitle() == "after 10 of 10 reverse steps"  # the last frame that was drawn
    assert np.allclose(figure.axes[1].collections[0].get_offsets(), -11 * points)


def test_no_figure_stays_behind_in_pyplot():
    from matplotlib import pyplot as plt

    figures.alphas_cumprod({"linear": linear()})
    assert not plt.get_fignums()
