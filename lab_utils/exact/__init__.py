"""What is known exactly: densities, and the best that any denoiser can do."""

from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.gridded import (
    Grid,
    Law,
    gridded,
    histogram,
    jensen_shannon,
    kl,
    mixed,
    powered,
    real_reads,
)
from lab_utils.exact.guided_gaussians import ode_variance, powered_variance, sde_variance
from lab_utils.exact.kernels import adaptive_kernels, fixed_kernels
from lab_utils.exact.mixtures import GaussianMixture, exact_mixture
from lab_utils.exact.posterior import Knowledge, know
from lab_utils.exact.supports import OFF_SUPPORT, off_support

__all__ = [
    "OFF_SUPPORT",
    "BestDenoiser",
    "GaussianMixture",
    "Grid",
    "Knowledge",
    "Law",
    "adaptive_kernels",
    "exact_mixture",
    "fixed_kernels",
    "gridded",
    "histogram",
    "jensen_shannon",
    "kl",
    "know",
    "mixed",
    "ode_variance",
    "off_support",
    "powered",
    "powered_variance",
    "real_reads",
    "sde_variance",
]
