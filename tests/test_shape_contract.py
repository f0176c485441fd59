"""Every public function that takes points keeps its contract of shapes: as documented, or a clear error, never a guess.

PyTorch would repeat a row, a column or a number where a table of points is missing, and go on with what was not meant.
"""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import often

import lab_utils
from lab_utils.base.arguments import as_points, check_as_many, check_finite, check_points
from lab_utils.diffusion.couplings import couple, optimal_pairs
from lab_utils.diffusion.guidance import guided
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, reverse_step
from lab_utils.diffusion.schedules import linear
from lab_utils.diffusion.training import Trainer
from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.gridded import Grid, histogram
from lab_utils.exact.kernels import adaptive_kernels, fixed_kernels
from lab_utils.exact.mixtures import GaussianMixture
from lab_utils.exact.squares import UniformSquares
from lab_utils.exact.supports import off_support
from lab_utils.measure.benchmark import Benchmark
from lab_utils.measure.cells import count_differences
from lab_utils.measure.compare import compare
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.likelihood import log_likelihood, mean_log_likelihood
from lab_utils.measure.losses import along_t, mean_and_error, mean_loss, noise, squared
from lab_utils.measure.mass import energy_distance, mean_distance
from lab_utils.measure.nats import Truth
from lab_utils.measure.neighbours import copies, stray_mask
from lab_utils.points.dataset import Dataset, Units
from lab_utils.points.validation import validate

SCHEDULE = linear(timesteps=20)
REAL = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
MIXTURE = GaussianMixture(REAL, 0.1)
BEST = BestDenoiser(REAL, SCHEDULE)
ROUND = BestDenoiser(GaussianMixture(torch.zeros(1, 2), 1.0), SCHEDULE)
NETWORK = DiffusionGenerator(schedule=SCHEDULE, width=8, depth=1, input_frequencies=2)
GUIDED = guided(BEST, ROUND, 2.0)
UNITS = Units.of(REAL)
ROW = ancestral(SCHEDULE).coefficients[5].tolist()
T = torch.tensor(5)
SQUARES = UniformSquares(REAL[:5], 0.5)
GRID = (-1.0, 1.0, -1.0, 1.0), (3, 4)
CELLS = Grid(*GRID)


def full(x):
    """As many points as `x` has, where it has any."""
    return torch.zeros(x.shape[0] if x.ndim else 0, 2, dtype=x.dtype)


def same(n):
    return (n, 2)


def many(x):
    """The points and some more, where they are points: as many as it takes to compare."""
    return torch.cat([x, REAL.to(x.dtype)]) if x.ndim == 2 and x.shape[1] == 2 else x


def one_each(n):
    return (n,)


def a_float(_n):
    return float


# function and argument → how it is called with n points there, and what comes back: a shape, a float, or what has none
POINTS = {
    ("base.arguments.as_points", "points"): (as_points, same),
    ("base.arguments.check_as_many", "others"): (lambda x: check_as_many(full(x), x, "points", "others"), None),
    ("base.arguments.check_as_many", "points"): (lambda x: check_as_many(x, full(x), "points", "others"), None),
    ("base.arguments.check_points", "points"): (check_points, None),
    ("base.arguments.check_finite", "points"): (check_finite, None),
    ("measure.cells.count_differences", "generated"): (lambda x: count_differences(x, REAL, *GRID), lambda n: (4, 3)),
    ("measure.cells.count_differences", "real"): (lambda x: count_differences(REAL, x, *GRID), lambda n: (4, 3)),
    ("measure.distance.Distance.__call__", "generated"): (lambda x: energy_distance(x, REAL), a_float),
    ("measure.distance.Distance.__call__", "real"): (lambda x: energy_distance(REAL, x), a_float),
    ("measure.distance.Distance.check", "points"): (energy_distance.check, None),
    ("measure.neighbours.copies", "train"): (lambda x: copies(x)(REAL, REAL), a_float),
    ("measure.mass.mean_distance", "x"): (lambda x: mean_distance(x, REAL), a_float),
    ("measure.mass.mean_distance", "y"): (lambda x: mean_distance(REAL, x), a_float),
    ("measure.likelihood.log_likelihood", "points"): (lambda x: log_likelihood(ROUND, x), one_each),
    ("measure.likelihood.mean_log_likelihood", "points"): (lambda x: mean_log_likelihood(ROUND, x).mean, a_float),
    ("measure.nats.Truth.__init__", "points"): (lambda x: Truth(ROUND, x, draws=50).excess(ROUND).total, a_float),
    ("measure.losses.mean_loss", "points"): (lambda x: mean_loss(BEST, x, draws=4), None),
    ("measure.losses.noise", "points"): (lambda x: noise(x, SCHEDULE, draws=7).x_t, lambda n: (7, 2)),
    ("measure.losses.squared", "a"): (lambda x: squared(x, full(x)), one_each),
    ("measure.losses.squared", "b"): (lambda x: squared(full(x), x), one_each),
    ("measure.benchmark.Benchmark.__init__", "held_out"): (
        lambda x: Benchmark(x).real_sets(2)[0],
        lambda n: (2, 2),
    ),
    ("measure.benchmark.Benchmark.__init__", "train"): (
        lambda x: Benchmark(REAL, x).measure("copies", REAL[:2]),
        None,
    ),
    ("measure.benchmark.Benchmark.measure", "generated"): (
        lambda x: Benchmark(REAL).measure("W2", x),
        None,
    ),
    ("measure.benchmark.Benchmark.multiple", "generated"): (lambda x: Benchmark(REAL).multiple("blur", x), a_float),
    ("measure.neighbours.stray_mask", "points"): (lambda x: torch.as_tensor(stray_mask(x, REAL)), one_each),
    ("measure.neighbours.stray_mask", "real"): (lambda x: torch.as_tensor(stray_mask(REAL, x)), lambda n: (len(REAL),)),
    ("exact.supports.off_support", "points"): (lambda x: off_support("gaussian", x), one_each),
    ("measure.benchmark.Benchmark.measure_all", "generated"): (
        lambda x: Benchmark(REAL).measure_all(x, names=["W2"]),
        None,
    ),
    ("measure.compare.compare", "generated"): (lambda x: compare(many(x), REAL, names=["blur"]).value("blur"), a_float),
    ("measure.compare.compare", "real"): (lambda x: compare(REAL, many(x), names=["blur"]).value("blur"), a_float),
    ("measure.compare.compare", "train"): (
        lambda x: compare(REAL, REAL, train=x, names=["copies"]).value("copies"),
        a_float,
    ),
    ("exact.mixtures.GaussianMixture.__init__", "means"): (
        lambda x: GaussianMixture(x, 0.1).sample(5),
        lambda n: (5, 2),
    ),
    ("exact.mixtures.GaussianMixture.log_prob", "x"): (MIXTURE.log_prob, one_each),
    ("exact.mixtures.GaussianMixture.posterior", "x"): (MIXTURE.posterior, lambda n: (n, len(REAL))),
    ("exact.mixtures.GaussianMixture.score", "x"): (MIXTURE.score, same),
    ("exact.squares.UniformSquares.__init__", "corners"): (
        lambda x: UniformSquares(x, 0.5).means,
        same,
    ),
    ("exact.squares.UniformSquares.log_prob", "x"): (lambda x: SQUARES.log_prob(x, 0.1), one_each),
    ("exact.squares.UniformSquares.score", "x"): (lambda x: SQUARES.score(x, 0.1), same),
    ("exact.kernels.adaptive_kernels", "points"): (
        lambda x: adaptive_kernels(x, neighbours=[1], factors=[1.0], folds=2).sample(3),
        lambda n: (3, 2),
    ),
    ("exact.kernels.fixed_kernels", "points"): (
        lambda x: fixed_kernels(x, bandwidths=[0.1], folds=2).sample(3),
        lambda n: (3, 2),
    ),
    ("exact.gridded.Grid.around", "points"): (lambda x: Grid.around(x, 99.0).centres, lambda n: (1, 2)),
    ("exact.gridded.Grid.places", "points"): (CELLS.places, one_each),
    ("exact.gridded.histogram", "points"): (lambda x: histogram(x, CELLS).mass, lambda n: (4, 3)),
    ("diffusion.couplings.couple", "noises"): (lambda x: couple("optimal transport", full(x), x), same),
    ("diffusion.couplings.couple", "points"): (lambda x: couple("optimal transport", x, full(x)), same),
    ("diffusion.couplings.optimal_pairs", "noises"): (lambda x: optimal_pairs(full(x), x), one_each),
    ("diffusion.couplings.optimal_pairs", "points"): (lambda x: optimal_pairs(x, full(x)), one_each),
    ("diffusion.denoiser.DenoisingModule.epsilon", "x_t"): (lambda x: NETWORK.epsilon(x, T), same),
    ("diffusion.denoiser.DenoisingModule.forward", "x_t"): (lambda x: NETWORK(x, T), same),
    ("diffusion.guidance.Guided.epsilon", "x_t"): (lambda x: GUIDED.epsilon(x, T), same),
    ("exact.best_denoiser.BestDenoiser.__init__", "data"): (
        lambda x: BestDenoiser(x, SCHEDULE).epsilon(REAL, T),
        lambda n: (60, 2),
    ),
    ("exact.best_denoiser.BestDenoiser.epsilon", "x_t"): (lambda x: BEST.epsilon(x, T), same),
    ("points.dataset.Dataset.of", "points"): (lambda x: Dataset.of(x, "some", train=1).held_out, lambda n: (n - 1, 2)),
    ("points.dataset.Units.normalise", "points"): (UNITS.normalise, same),
    ("points.dataset.Units.of", "points"): (lambda x: Units.of(x).shift, lambda n: (2,)),
    ("points.dataset.Units.restore", "points"): (UNITS.restore, same),
    ("diffusion.samplers.reverse_step", "before"): (lambda x: reverse_step(ROW, full(x), full(x), full(x), x), same),
    ("diffusion.samplers.reverse_step", "epsilon"): (lambda x: reverse_step(ROW, full(x), x, full(x)), same),
    ("diffusion.samplers.reverse_step", "noise"): (lambda x: reverse_step(ROW, full(x), full(x), x), same),
    ("diffusion.samplers.reverse_step", "x_t"): (lambda x: reverse_step(ROW, x, full(x), full(x)), same),
    ("diffusion.schedules.Schedule.q_sample", "epsilon"): (lambda x: SCHEDULE.q_sample(full(x), T, x), same),
    ("diffusion.schedules.Schedule.q_sample", "x_0"): (lambda x: SCHEDULE.q_sample(x, T, full(x)), same),
    ("diffusion.schedules.Schedule.q_step", "epsilon"): (lambda x: SCHEDULE.q_step(full(x), T, x), same),
    ("diffusion.schedules.Schedule.q_step", "x_prev"): (lambda x: SCHEDULE.q_step(x, T, full(x)), same),
    ("diffusion.training.Trainer.__init__", "train"): (lambda x: Trainer(NETWORK, x).train, same),
    ("points.validation.validate", "points"): (lambda x: validate(x, train=1), None),
}

# training is in single precision alone
FLOAT32 = {"diffusion.training.Trainer.__init__"}

# whole numbers are points of a user's, too
WHOLE = {"measure.compare.compare"}

# one number for each point, in the order of t
VALUES = {
    ("measure.losses.along_t", "values"): lambda x: along_t(x, 1),
    ("measure.losses.mean_and_error", "values"): mean_and_error,
}

# tensors that are no points, and functions for which somebody else has looked
OTHERS = {
    **{
        (function, argument): "what compare has looked at"
        for function, arguments in {
            "measure.remarks.remarks": ("generated", "real", "train"),
            "measure.remarks.far_out": ("generated", "real"),
            "report.measured.page": ("generated", "real"),
        }.items()
        for argument in arguments
    },
    ("exercises.questions.moments", "points"): "what a student's function gave; its check says what is wrong",
    **{
        (f"study.broken.{name}.forward", argument): "a network that is broken on purpose"
        for name in ("TimeIgnored", "AxisIgnored", "RowsMixed", "FrozenAtZero")
        for argument in ("x_t", "t")
    },
    ("measure.matrices.prepared", "sets"): "what the benchmark has checked",
    ("measure.matrices.without_blocks", "points"): "what the benchmark has checked",
    ("measure.distance.array_of", "points"): "what a distance has checked",
    **{
        (f"exercises.{name}", argument): "an exercise's own network or loop, asked by a student's function"
        for name, arguments in {"training.Watched.forward": ("x_t", "t"), "reverse.mystery": ("x_T", "noises")}.items()
        for argument in arguments
    },
    **{
        (f"widgets.paths.{name}", argument): "tests/widgets/test_paths.py: the data of a notebook"
        for name in ("paths_payload", "paths_script", "PathExplorer.__init__")
        for argument in ("points", "truth")
    },
    ("widgets.payload.encoded", "numbers"): "any numbers",
    ("figures.arrows.arrows", "points"): "tests/figures/test_figures.py: the data of a notebook",
    ("exercises.questions.StandIn.forward", "t"): "the same",
    ("exercises.questions.StandIn.forward", "x_t"): "the same",
    ("exercises.questions.check_time", "t"): "the same",
    ("points.dataset.Dataset.of", "labels"): "tests/points/test_dataset.py: one for each point",
    ("runs.chunks.Chunks.save", "points"): "a block of the sampler's",
    ("exact.mixtures.GaussianMixture.__init__", "covariances"): "tests/test_mixtures.py",
    ("exact.mixtures.GaussianMixture.__init__", "weights"): "tests/test_mixtures.py",
    ("exact.mixtures.GaussianMixture.log_prob", "blur"): "tests/test_mixtures.py",
    ("exact.mixtures.GaussianMixture.posterior", "blur"): "tests/test_mixtures.py",
    ("exact.mixtures.GaussianMixture.score", "blur"): "tests/test_mixtures.py",
    ("exact.squares.UniformSquares.log_prob", "blur"): "tests/exact/test_squares.py",
    ("exact.squares.UniformSquares.score", "blur"): "tests/exact/test_squares.py",
    ("diffusion.conditional.Given.predict", "t"): "forward, without its checks",
    ("diffusion.conditional.Given.predict", "x_t"): "forward, without its checks",
    **dict.fromkeys(
        [
            ("diffusion.conditional.leave_out", "labels"),
            ("diffusion.couplings.couple", "labels"),
            ("diffusion.network.DiffusionGenerator.predict", "label"),
            ("diffusion.network.DiffusionGenerator.shifts", "label"),
            ("diffusion.network.DiffusionGenerator.shifts", "t"),
            ("diffusion.tail.Tail.__init__", "labels"),
            ("diffusion.tail.Tail.epsilon", "label"),
            ("diffusion.training.Trainer.__init__", "labels"),
            ("diffusion.training.squared_errors", "label"),
        ],
        "tests/diffusion/test_conditional.py: the numbers of classes",
    ),
    ("diffusion.guidance.Guided.__init__", "weights"): "what guided has made",
    **dict.fromkeys(
        [
            ("study.guidance_study.divergences", "points"),
            ("study.guidance_study.measured", "points"),
            ("study.guidance_truth.Laws.accuracy", "points"),
            ("study.guidance_truth.multiples", "points"),
        ],
        "tests/study/test_guidance_study.py: what a run has sampled",
    ),
    ("exact.gridded.gridded", "log_prob"): "a function of tensors",
    ("diffusion.network.DiffusionGenerator.predict", "t"): "forward, without its checks",
    ("diffusion.network.DiffusionGenerator.predict", "x_t"): "forward, without its checks",
    ("diffusion.network.waves", "omega"): "any table and any frequencies",
    ("diffusion.network.waves", "x"): "any table and any frequencies",
    ("base.tensors.save_tensors", "tensors"): "any tensors",
    ("diffusion.tail.Tail.__init__", "train"): "tests/diffusion/test_tail.py",
    **{
        ("diffusion.tail.Tail.epsilon", argument): "tests/diffusion/test_tail.py"
        for argument in ("x_t", "signal", "noise")
    },
    ("diffusion.training.Trainer.load_state_dict", "state"): "tests/test_training.py",
    ("diffusion.training.Trainer.noised", "batch"): "numbers of points: tests/test_training.py",
    **{
        ("diffusion.training.squared_errors", argument): "what Trainer.noised gives: tests/test_training.py"
        for argument in ("predict", "x_t", "t", "target", "counts")
    },
    **{
        (function, "t"): "tests/test_schedules.py: timesteps, for all who take them"
        for function in (
            "diffusion.denoiser.DenoisingModule.epsilon",
            "diffusion.denoiser.DenoisingModule.forward",
            "exact.best_denoiser.BestDenoiser.epsilon",
            "diffusion.denoiser.Denoiser.epsilon",
            "diffusion.guidance.Guided.epsilon",
            "diffusion.schedules.Schedule.q_sample",
            "diffusion.schedules.Schedule.q_step",
            "diffusion.schedules.check_timesteps",
        )
    },
    ("diffusion.denoiser.Denoiser.epsilon", "x_t"): "a protocol",
    ("diffusion.denoiser.DenoisingModule.predict", "t"): "forward, without its checks",
    ("diffusion.denoiser.DenoisingModule.predict", "x_t"): "forward, without its checks",
    ("diffusion.denoiser.denoiser", "module"): "a function of tensors",
    ("diffusion.training.Trainer.__init__", "noises"): "tests/diffusion/test_reflow.py",
    **{
        ("diffusion.targets.to_epsilon", argument): "tests/test_denoisers.py: what a network said"
        for argument in ("answer", "x_t", "alphas_cumprod")
    },
    **{
        ("diffusion.targets.from_epsilon", argument): "tests/diffusion/test_targets.py: the same the other way round"
        for argument in ("epsilon", "x_t", "alphas_cumprod")
    },
    ("diffusion.targets.skip_and_scale", "alphas_cumprod"): "any ᾱ",
    ("diffusion.samplers.nearest", "places"): "numbers that rise: where the timesteps stand",
    ("diffusion.samplers.nearest", "wanted"): "the same, fewer of them",
    ("measure.straightness.along_paths", "z"): "tests/measure/test_straightness.py: paths",
    ("measure.straightness.along_paths", "s"): "tests/measure/test_straightness.py: the places on them",
}


def public_functions():
    """Each public function and method of the lab, with its name; but not the constructors that dataclasses get."""
    for found in pkgutil.walk_packages(lab_utils.__path__, "lab_utils."):
        module = importlib.import_module(found.name)
        here = found.name.removeprefix("lab_utils.")
        for name, what in vars(module).items():
            if name.startswith("_") or getattr(what, "__module__", None) != found.name:
                continue
            if inspect.isfunction(what):
                yield f"{here}.{name}", what
            elif inspect.isclass(what):
                for inner, member in vars(what).items():
                    function = getattr(member, "__func__", member)
                    made = inner == "__init__" and is_dataclass(what)
                    spoken = not inner.startswith("_") or inner in {"__init__", "__call__"}
                    if inspect.isfunction(function) and spoken and not made:
                        yield f"{here}.{name}.{inner}", function


def test_every_public_function_that_takes_a_tensor_is_here():
    taken = {
        (name, parameter)
        for name, function in public_functions()
        for parameter, kind in inspect.get_annotations(function).items()
        if "Tensor" in str(kind) and parameter != "return"
    }
    assert len(taken) > 50
    assert taken == {*POINTS, *VALUES, *OTHERS}


@pytest.mark.parametrize("argument", POINTS, ids=" ".join)
@settings(max_examples=often(8, 200))
@given(n=st.integers(4, 30), dtype=st.sampled_from([torch.float32, torch.float64]), seed=st.integers(0, 99))
def test_of_any_number_of_points_comes_what_is_documented(argument, n, dtype, seed):
    call, shape = POINTS[argument]
    points = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    points = points.to(torch.float32 if argument[0] in FLOAT32 else dtype)
    before = points.clone()
    result = call(points)
    assert torch.equal(points, before)  # nobody changes what was given
    if shape is a_float:
        assert isinstance(result, float)
    elif shape is not None:
        assert tuple(result.shape) == shape(n)


OTHER_SHAPES = st.lists(st.integers(0, 4), max_size=3).filter(lambda shape: len(shape) != 2 or shape[1] != 2)


@pytest.mark.parametrize("argument", POINTS, ids=" ".join)
@settings(max_examples=often(30, 1000))
@given(shape=OTHER_SHAPES, seed=st.integers(0, 99))
def test_any_other_shape_is_refused(argument, shape, seed):
    call, _ = POINTS[argument]
    with pytest.raises(ValueError, match=r"shape|points|size"):
        call(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("argument", POINTS, ids=" ".join)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_what_are_no_floats_are_refused(argument, dtype):
    call, _ = POINTS[argument]
    if argument[0] in WHOLE and dtype == torch.int64:
        return
    with pytest.raises(ValueError, match="float tensor of shape"):
        call(torch.ones(6, 2, dtype=dtype))


@pytest.mark.parametrize("argument", VALUES, ids=" ".join)
@pytest.mark.parametrize("shape", [(), (3, 1), (3, 2)])
def test_values_of_another_shape_are_refused(argument, shape):
    with pytest.raises(ValueError, match=r"must have the shape \(n,\)"):
        VALUES[argument](torch.zeros(shape))


@pytest.mark.parametrize("name", DISTANCES)
def test_every_distance_gives_a_number(name):
    assert isinstance(DISTANCES[name](REAL[:30], REAL[30:]), float)
