"""How good is it: points against points, denoisers against noised points."""

from lab_utils.measure.benchmark import Benchmark, Measure
from lab_utils.measure.cells import count_differences
from lab_utils.measure.compare import compare
from lab_utils.measure.comparison import Comparison
from lab_utils.measure.distance import Distance
from lab_utils.measure.distances import DISTANCES
from lab_utils.measure.likelihood import FlowError, MeanLogLikelihood, log_likelihood, mean_log_likelihood
from lab_utils.measure.losses import (
    Noised,
    along_t,
    answers,
    gradient_signal,
    mean_and_error,
    mean_loss,
    noise,
    squared,
)
from lab_utils.measure.model_checks import CHECKS, Finding
from lab_utils.measure.nats import Nats, Truth
from lab_utils.measure.straightness import Straightness, along_paths, flow_paths, straightness

__all__ = [
    "CHECKS",
    "DISTANCES",
    "Benchmark",
    "Comparison",
    "Distance",
    "Finding",
    "FlowError",
    "MeanLogLikelihood",
    "Measure",
    "Nats",
    "Noised",
    "Straightness",
    "Truth",
    "along_paths",
    "along_t",
    "answers",
    "compare",
    "count_differences",
    "flow_paths",
    "gradient_signal",
    "log_likelihood",
    "mean_and_error",
    "mean_log_likelihood",
    "mean_loss",
    "noise",
    "squared",
    "straightness",
]
