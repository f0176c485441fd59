"""What guided samples are held against is the truth, and a run measures the points of the way that it is asked for."""

import pytest
import torch

from lab_utils.diffusion import given, guided, sample, sde_dpm_solver, sigmoid
from lab_utils.exact import BestDenoiser, gridded, histogram, jensen_shannon, kl, powered, real_reads
from lab_utils.measure import Benchmark
from lab_utils.points import dataset
from lab_utils.study import guidance_study as study
from lab_utils.study import guidance_truth as truth
from lab_utils.study.guidance_study import AUTO, BEYOND, EXACT, FREE, LATE, MIDDLE, WEIGHTS, WITH_NOISE, WITHOUT
from lab_utils.study.guidance_truth import MEASURES, MIXTURE, classes, labelled, laws, mixture, multiples

SMALL = {"width": 8, "depth": 1, "input_frequencies": 2, "epochs": 20, "batch_size": 50}
CACHES = (truth.labelled, truth.laws, truth._real)
ONE = {"data": MIXTURE, "denoiser": EXACT, "guidance": FREE, "weight": 3.0, "sampler": WITH_NOISE, "seed": 1}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A cache of the test's own, small networks, few points, and cells that few kernels fill soon."""
    monkeypatch.setenv("DDPM_LAB_CACHE", str(tmp_path))
    for module, name, value in [
        (truth, "TRAIN", 400),
        (truth, "HELD_OUT", 2000),
        (truth, "SIDE", 0.4),
        (truth, "KERNEL", 0.4 / truth.FINE),
        (study, "SIZE", 300),
        (study, "EARLY", 5),
        (study, "BASE", study.BASE | SMALL),
    ]:
        monkeypatch.setattr(module, name, value)
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


# --- the truth


def test_the_points_of_the_mixture_are_drawn_from_the_density_of_their_class_each_class_and_seed_by_itself():
    data = labelled(MIXTURE, 1)
    assert len(data.train) == 400
    for label in data.classes:
        part = data.given(label)
        points, density = torch.cat([part.train, part.held_out]).double(), mixture(data, label)
        assert len(points) == 1200
        drawn = density.sample(20_000)
        error = drawn.std(dim=0) / 1200**0.5
        assert ((points.mean(dim=0) - drawn.mean(dim=0)).abs() < 4 * error).all()
        expected = density.log_prob(drawn)
        assert float(density.log_prob(points).mean()) == pytest.approx(
            float(expected.mean()), abs=4 * float(expected.std()) / 1200**0.5
        )
    other = labelled(MIXTURE, 2)
    noises = [
        one.units.restore(one.given(label).held_out).sort(dim=0).values[:900]
        for one in (data, other)
        for label in one.classes
    ]
    for k, some in enumerate(noises):
        assert all(not torch.allclose(some - some.mean(0), more - more.mean(0), atol=1e-3) for more in noises[:k])


def test_the_laws_of_the_mixture_are_its_densities_and_say_what_bayes_rule_says():
    data, known = labelled(MIXTURE, 1), laws(MIXTURE, 1)
    whole = gridded(mixture(data, *data.classes).log_prob, known.whole.grid)
    assert kl(known.whole, whole) < 1e-9
    for number, label in enumerate(data.classes):
        assert kl(known.parts[label], gridded(mixture(data, label).log_prob, known.whole.grid)) < 1e-9
        points = data.given(label).held_out
        densities = torch.stack([mixture(data, one).log_prob(points) for one in data.classes])
        exact = float((densities.argmax(dim=0) == number).double().mean())
        assert known.accuracy(points, label) == pytest.approx(exact, abs=0.02), "but for cells that a border cuts"
        assert 0.8 < exact < 0.95, "the classes overlap"
        assert known.accuracy(points, data.classes[1 - number]) == pytest.approx(1 - known.accuracy(points, label))
    assert kl(known.powered("first", 3.0), powered(known.whole, known.parts["first"], 3.0)) == 0


def test_of_other_points_the_laws_are_kernel_estimates_of_the_held_out_ones(monkeypatch):
    monkeypatch.setattr(truth, "TRAIN", 3000)
    data, known = labelled("moons", 1), laws("moons", 1)
    assert data.classes == ("upper", "lower")
    for label in data.classes:
        fresh = data.given(label).train  # which no law is made of
        law = known.parts[label].coarser(truth.FINE)
        blurred = fresh + truth.KERNEL * torch.randn(fresh.shape, generator=torch.Generator().manual_seed(0))
        read = jensen_shannon(histogram(blurred, law.grid), law)
        assert read < 1.5 * real_reads(jensen_shannon, law, len(fresh))
        assert known.accuracy(fresh, label) > 0.98
    assert torch.allclose(known.whole.mass, (known.parts["upper"].mass + known.parts["lower"].mass) / 2, atol=1e-4)


def test_the_classes_of_the_towns_are_the_continents_that_have_enough():
    data = labelled("cities", 1)
    assert classes(data) == ("Africa", "Asia", "Europe", "North America", "South America")
    assert torch.equal(data.train, dataset("cities", train=400, seed=1).train)


def test_points_are_held_against_their_own_class_in_its_own_units_in_sets_of_its_size():
    part = labelled(MIXTURE, 1).given("first")
    points = part.train.repeat(5, 1)
    found = multiples(points, MIXTURE, 1, "first")
    size = Benchmark(part.held_out).size
    assert [*found] == [*MEASURES]
    assert found["copies"] > 1.5, "they are the training points"
    sets = [*points.split(size)][: truth.SETS]
    assert all(len(one) == size for one in sets)
    plain = Benchmark(part.held_out, part.train)
    for measure in MEASURES:  # all of which are the same in any units
        assert found[measure] == pytest.approx(plain.multiple(measure, *sets), rel=1e-3)
    few = multiples(points[:50], MIXTURE, 1, "first")
    assert few["blur"] == pytest.approx(plain.multiple("blur", points[:50]), rel=1e-3)


# --- the study


def test_each_run_is_there_once_a_seed_is_whole_before_the_next_and_two_trainings_come_first():
    configurations = [*study.grid(seeds=2)]
    assert len({tuple(one.items()) for one in configurations}) == len(configurations)
    assert [one["seed"] for one in configurations] == sorted(one["seed"] for one in configurations)
    first, second, *_ = configurations
    assert {(one["data"], one["denoiser"]) for one in (first, second)} == {
        ("cities", "original"),
        (MIXTURE, "original"),
    }
    for one in configurations:
        assert one["denoiser"] != EXACT or one["data"] == MIXTURE
        assert one["weight"] != 1 or one["guidance"] == FREE
    towns = {"data": "cities", "denoiser": "original", "seed": 1}
    for guidance, weights in ((FREE, WEIGHTS), (AUTO, BEYOND), (MIDDLE, study.FEW), (LATE, study.FEW)):
        for sampler in study.SAMPLERS:
            for weight in weights:
                assert {**towns, "guidance": guidance, "weight": weight, "sampler": sampler} in configurations
    assert {one["data"] for one in study.grid(["moons"], 1)} == {"moons"}


@pytest.mark.parametrize(("guidance", "interval"), [(FREE, None), (MIDDLE, study.INTERVALS[MIDDLE])])
def test_a_run_samples_each_class_by_its_configuration_and_measures_those_points(guidance, interval):
    rows = study.run({**ONE, "guidance": guidance})
    assert [row["class"] for row in rows] == ["first", "second"]
    data, known = labelled(MIXTURE, 1), laws(MIXTURE, 1)
    aim, base = (BestDenoiser(mixture(data, *which), sigmoid()) for which in (("first",), data.classes))
    sampler = sde_dpm_solver(sigmoid(), study.STEPS)
    points = sample(guided(aim, base, 3.0, interval=interval), 300, seed=1, sampler=sampler)
    law = powered(known.whole, known.parts["first"], 3.0).coarser(truth.FINE)
    row, counts = rows[0], histogram(points, law.grid)
    assert row["accuracy"] == pytest.approx(known.accuracy(points, "first"), rel=1e-4)
    assert row["real accuracy"] == pytest.approx(known.accuracy(data.given("first").train, "first"), rel=1e-4)
    assert row["blur"] == pytest.approx(multiples(points, MIXTURE, 1, "first")["blur"], rel=1e-4)
    assert row["KL to powered"] == pytest.approx(kl(counts, law), rel=1e-4)
    assert row["real JS to powered"] == pytest.approx(real_reads(jensen_shannon, law, 300), rel=1e-4)
    to_class = known.parts["first"].coarser(truth.FINE)
    assert row["JS to class"] == pytest.approx(jensen_shannon(counts, to_class), rel=1e-4)
    assert row["JS to class"] > row["JS to powered"]


def test_a_network_guides_itself_without_a_class_or_by_what_it_was_after_a_few_epochs():
    run = study.trained(MIXTURE, "original", 1)
    assert (run.job.recipe.epochs, run.job.recipe.checkpoints) == (20, (5, 20))
    assert run.model().classes == ("first", "second")
    x, t = labelled(MIXTURE, 1).held_out[:50], torch.tensor(300)
    network = {**ONE, "denoiser": "original"}
    for guidance, base in ((FREE, run.model()), (AUTO, given(run.model(5), "second"))):
        found = study.guide({**network, "guidance": guidance}, "second").epsilon(x, t)
        assert torch.equal(found, guided(given(run.model(), "second"), base, 3.0).epsilon(x, t))
    limited = study.guide({**network, "guidance": LATE}, "second")
    assert limited.weights.unique().tolist() == [1, 3]
    (first, _), (other, _) = (study.run({**network, "guidance": g, "sampler": WITHOUT}) for g in (AUTO, FREE))
    assert "KL to class" in first
    assert "KL to powered" not in first, "nobody knows the density that belongs to its base"
    assert "KL to powered" in other


def test_the_better_recipe_differs_in_its_network_and_in_its_training(monkeypatch):
    monkeypatch.setattr(study, "NETWORKS", {"better": {"width": 4, "decay": True, "tail": 0.05}})
    run = study.trained(MIXTURE, "better", 1)
    assert run.model().config["width"] == 4
    assert (run.job.recipe.decay, run.job.recipe.tail) == (True, 0.05)


def test_of_points_that_are_not_finite_nothing_is_measured():
    assert study.measured(torch.tensor([[0.0, float("nan")]]), ONE, "first") == {}
