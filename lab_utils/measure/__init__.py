"""How good is it: points against points, denoisers against noised points."""

from lab_utils.measure.benchmark import Benchmark, Measure
from lab_utils.measure.cells import count_differences
from lab_utils.measure.distances import DISTANCES, Distance
from lab_utils.measure.likelihood import FlowError, log_likelihood
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

__all__ = [
    "CHECKS",
    "DISTANCES",
    "Benchmark",
    "Distance",
    "Finding",
    "FlowError",
    "Measure",
    "Noised",
    "along_t",
    "answers",
    "count_differences",
    "gradient_signal",
    "log_likelihood",
    "mean_and_error",
    "mean_loss",
    "noise",
    "squared",
]
