"""Laws on a grid are what they are made of, powers of Gaussians have closed forms, and counts have their chance."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_utils.diffusion import guided, sample, sde_dpm_solver, sigmoid
from lab_utils.exact import (
    BestDenoiser,
    GaussianMixture,
    Grid,
    gridded,
    histogram,
    jensen_shannon,
    kl,
    mixed,
    powered,
    powered_variance,
    real_reads,
    sde_variance,
)

ORIGIN = torch.zeros(1, 2)
COARSE = Grid((-8.0, 8.0, -8.0, 8.0), (64, 64))
FINE = COARSE.finer(3)


def normal(variance, grid=FINE):
    return gridded(GaussianMixture(ORIGIN, variance).log_prob, grid)


def variance_of(law):
    """Along an axis; that of the cells' middles."""
    return float(law.mass.flatten() @ law.grid.centres.square().sum(dim=1)) / 2


def kl_of_gaussians(a, b):
    """KL(N(0, a) ‖ N(0, b)) in the plane."""
    return a / b - 1 - math.log(a / b)


# --- grids


@settings(max_examples=40)
@given(
    columns=st.integers(1, 9),
    rows=st.integers(1, 9),
    left=st.floats(-3, 3),
    low=st.floats(-3, 3),
    width=st.floats(1, 5),
)
def test_the_middle_of_each_cell_is_in_that_cell_and_cells_are_counted_from_the_lowest_row(
    columns, rows, left, low, width
):
    grid = Grid((left, left + width, low, low + 2 * width), (columns, rows))
    assert grid.sides == pytest.approx((width / columns, 2 * width / rows))
    assert torch.equal(grid.places(grid.centres), torch.arange(columns * rows))
    right_of, above = grid.centres[min(1, columns - 1)], grid.centres[-1]
    assert right_of[1] == grid.centres[0, 1]
    assert above[1] >= grid.centres[0, 1]


@settings(max_examples=40)
@given(side=st.floats(0.05, 3), margin=st.floats(0, 2), seed=st.integers(0, 99))
def test_a_grid_around_points_has_square_cells_that_hold_them_all_with_the_margin(side, margin, seed):
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(seed))
    grid = Grid.around(points, side, margin=margin)
    left, right, bottom, top = grid.extent
    assert grid.sides == pytest.approx((side, side))
    assert left <= float(points[:, 0].min()) - margin + 1e-9
    assert right >= float(points[:, 0].max()) + margin - 1e-9
    assert bottom <= float(points[:, 1].min()) - margin + 1e-9
    assert top >= float(points[:, 1].max()) + margin - 1e-9
    assert right - float(points[:, 0].max()) - margin <= side + 1e-9, "and no more"


def test_a_point_outside_counts_in_the_nearest_cell_at_the_edge():
    grid = Grid((0.0, 3.0, 0.0, 2.0), (3, 2))
    points = torch.tensor([[-9.0, 0.5], [9.0, 1.5], [1.5, 7.0], [99.0, -99.0]])
    assert grid.places(points).tolist() == [0, 5, 4, 2]
    assert torch.equal(histogram(points, grid).mass, torch.tensor([[1, 0, 1], [0, 1, 1]]).double() / 4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Grid((0.0, 0.0, 0.0, 1.0), (2, 2)), "an extent is left < right and bottom < top"),
        (lambda: Grid((0.0, math.nan, 0.0, 1.0), (2, 2)), "finite numbers; got"),
        (lambda: Grid((0.0, 1.0, 0.0, 1.0), (2, 0)), r"1 row or more; got \(2, 0\)"),
        (lambda: COARSE.finer(0), "a grid has 1 column or more"),
        (lambda: Grid.around(ORIGIN, 0.0), "side must be a number above 0, and margin 0 or more; got 0.0 and 0.0"),
        (lambda: Grid.around(ORIGIN, 1.0, margin=-1.0), "got 1.0 and -1.0"),
        (lambda: normal(1.0).coarser(5), "put together 5 by 5, and there are 192 by 192 of them"),
        (lambda: normal(1.0).sample(0), "n must be a whole number of 1 or more, not 0"),
        (lambda: gridded(lambda x: x[:, 0] * math.nan, FINE), "finite log densities; over all cells they sum to nan"),
        (lambda: gridded(lambda x: x[:, 0] - math.inf, FINE), "they sum to -inf"),
        (lambda: mixed([], []), "each law needs its share; got 0 laws and 0 shares"),
        (lambda: mixed([normal(1.0)], [1.0, 2.0]), "got 1 laws and 2 shares"),
        (lambda: kl(normal(1.0), normal(1.0, COARSE)), "both laws must stand on one grid"),
        (lambda: jensen_shannon(normal(1.0), normal(1.0, COARSE)), "both laws must stand on one grid"),
        (lambda: powered(normal(1.0), normal(1.0, COARSE), 2.0), "both laws must stand on one grid"),
        (lambda: powered(normal(2.0), normal(1.0), math.inf), "the weight must be a finite number: 0 for the whole"),
        (lambda: powered(normal(2.0), normal(1.0), -3.0), r"of p\(x\)\^4 p\(x\|c\)\^-3 .*% lies at the edge"),
        (lambda: powered(normal(90.0), normal(80.0), 1.0), "it needs a larger grid, or is no density"),
        (lambda: real_reads(kl, normal(1.0), 10, draws=0), "draws must be a whole number of 1 or more, not 0"),
    ],
)
def test_what_makes_no_law_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- laws


def test_a_gaussian_on_a_grid_has_its_density_and_its_variance():
    law, cell = normal(0.5), FINE.sides[0] * FINE.sides[1]
    density = GaussianMixture(ORIGIN, 0.5).log_prob(FINE.centres).exp()
    torch.testing.assert_close(law.mass.flatten(), density * cell, rtol=1e-8, atol=0)
    assert variance_of(law) == pytest.approx(0.5, rel=1e-8)


def test_a_law_in_coarser_cells_keeps_their_mass():
    law = normal(0.5)
    coarse = law.coarser(3)
    assert coarse.grid == COARSE
    corner = law.mass[33:36, 30:33].sum()
    assert float(coarse.mass[11, 10]) == pytest.approx(float(corner), rel=1e-12)
    assert float(coarse.mass.sum()) == pytest.approx(1, rel=1e-12)


def test_a_mixture_of_laws_is_the_law_of_the_mixture():
    means, shares = torch.tensor([[-1.0, 0.0], [2.0, 1.0]]), [3.0, 1.0]
    parts = [gridded(GaussianMixture(mean.unsqueeze(0), 0.3).log_prob, FINE) for mean in means]
    whole = gridded(GaussianMixture(means, 0.3, torch.tensor(shares)).log_prob, FINE)
    torch.testing.assert_close(mixed(parts, shares).mass, whole.mass, rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.0, 3.0, 5.0])
def test_powers_of_gaussians_are_the_gaussian_that_is_known(weight):
    law = powered(normal(2.0), normal(1.0), weight)
    assert variance_of(law) == pytest.approx(powered_variance(weight), rel=1e-5)
    assert kl(law, normal(powered_variance(weight))) < 1e-6


@settings(max_examples=20)
@given(weight=st.floats(-1, 5), share=st.floats(0.1, 0.9), east=st.floats(-2, 2))
def test_the_powered_law_is_the_class_sharpened(weight, share, east):
    """Where the class is a part of the whole: p(x)^(1−w) p(x|c)^w ∝ p(x|c) p(c|x)^(w−1)."""
    part = gridded(GaussianMixture(torch.tensor([[east, 0.3]]), 0.3).log_prob, FINE)
    whole = mixed([part, normal(0.5)], [share, 1 - share])
    chance = share * (part.log_mass - whole.log_mass).exp()
    sharpened = part.log_mass + (weight - 1) * chance.log()
    found = powered(whole, part, weight).log_mass
    there = found > -50
    torch.testing.assert_close((found - sharpened)[there], (found - sharpened)[there].mean().expand(int(there.sum())))


def test_points_that_are_drawn_have_the_law():
    law = powered(normal(2.0), normal(1.0), 3.0)
    points, n = law.sample(20_000, seed=4), 20_000
    within = FINE.sides[0] ** 2 / 12  # anywhere in a cell
    assert float(points.square().mean()) == pytest.approx(0.5 + within, rel=4 / math.sqrt(n))
    assert points.mean(dim=0).abs().max() < 4 * math.sqrt(0.5 / n)
    assert float((points[:, 0] * points[:, 1]).mean()) == pytest.approx(0, abs=4 * 0.5 / math.sqrt(n))
    assert torch.equal(points, law.sample(n, seed=4))
    assert not torch.equal(points, law.sample(n, seed=5))
    left_low = Grid((0.0, 2.0, 0.0, 1.0), (2, 1))
    one_sided = histogram(torch.tensor([[0.5, 0.5]]), left_low).sample(50)
    assert one_sided.amin() >= 0
    assert one_sided.amax() <= 1, "none where the law has nothing"


# --- divergences


@pytest.mark.parametrize(("a", "b"), [(0.5, 1.0), (1.0, 0.5), (0.3875, 0.5), (0.25, 0.5)])
def test_divergences_of_gaussians_are_the_closed_forms_and_less_in_coarser_cells(a, b):
    law, other = normal(a), normal(b)
    assert kl(law, other) == pytest.approx(kl_of_gaussians(a, b), rel=1e-6)
    assert kl(law.coarser(3), other.coarser(3)) < kl(law, other)
    assert kl(law.coarser(3), other.coarser(3)) == pytest.approx(kl(law, other), rel=0.05)


def test_a_law_is_at_0_from_itself_and_jensen_and_shannon_end_at_log_2():
    law = normal(0.5)
    assert kl(law, law) == 0
    assert jensen_shannon(law, law) == pytest.approx(0, abs=1e-12)
    left, right = (gridded(GaussianMixture(torch.tensor([[x, 0.0]]), 0.01).log_prob, FINE) for x in (-4.0, 4.0))
    assert jensen_shannon(left, right) == pytest.approx(math.log(2), rel=1e-6)
    assert jensen_shannon(law, normal(1.0)) == pytest.approx(jensen_shannon(normal(1.0), law), rel=1e-9)
    halfway = mixed([law, left], [0.5, 0.5])
    assert jensen_shannon(law, left) == pytest.approx((kl(law, halfway) + kl(left, halfway)) / 2)


def test_counts_are_at_a_finite_divergence_from_a_law_that_is_everywhere_and_not_the_other_way_round():
    counts, law = histogram(normal(0.5).sample(100), COARSE), normal(0.5, COARSE)
    assert 0 < kl(counts, law) < math.inf
    assert kl(law, counts) == math.inf
    assert 0 < jensen_shannon(law, counts) < math.log(2)


def test_what_a_law_reads_itself_is_half_the_number_of_its_cells_over_n():
    """The expectation of KL from counts is (cells − 1)/2n for many points in each cell (Wilks 1938)."""
    flat = gridded(lambda x: torch.zeros(len(x)), Grid((0.0, 1.0, 0.0, 1.0), (10, 10)))
    n, draws = 5000, 50
    found, error = real_reads(kl, flat, n, draws=draws), math.sqrt(2 * 99 / draws) / (2 * n)
    assert found == pytest.approx(99 / (2 * n), abs=4 * error)
    assert real_reads(jensen_shannon, flat, n, draws=draws) == pytest.approx(found / 4, rel=0.05)
    assert real_reads(kl, flat, n, seed=3) == real_reads(kl, flat, n, seed=3)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_guided_samples_are_as_far_from_the_powered_law_as_the_laws_of_gaussians_say(weight):
    """With noise the variance is `sde_variance`, not that of the powered law: KL says by how much, once real is off."""
    schedule, n = sigmoid(), 20_000
    aim, base = (BestDenoiser(GaussianMixture(ORIGIN, variance), schedule) for variance in (1.0, 2.0))
    points = sample(guided(aim, base, weight), n, sampler=sde_dpm_solver(schedule, 100))
    law = powered(normal(2.0), normal(1.0), weight).coarser(3)
    more = kl(histogram(points, COARSE), law) - real_reads(kl, law, n)
    expected = kl_of_gaussians(sde_variance(weight), powered_variance(weight))
    assert more == pytest.approx(expected, abs=0.003)
    if weight > 1:
        assert expected > 0.02, "which is beyond that"
