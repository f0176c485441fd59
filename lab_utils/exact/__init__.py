"""What is known exactly: densities, and the best that any denoiser can do."""

from lab_utils.exact.best_denoiser import BestDenoiser
from lab_utils.exact.guided_gaussians import ode_variance, powered_variance, sde_variance
from lab_utils.exact.kernels import adaptive_kernels, fixed_kernels
from lab_utils.exact.mixtures import GaussianMixture, exact_mixture
from lab_utils.exact.posterior import Knowledge, know
from lab_utils.exact.squares import UniformSquares, exact_squares
from lab_utils.exact.supports import OFF_SUPPORT, off_support

__all__ = [
    "OFF_SUPPORT",
    "BestDenoiser",
    "GaussianMixture",
    "Knowledge",
    "UniformSquares",
    "adaptive_kernels",
    "exact_mixture",
    "exact_squares",
    "fixed_kernels",
    "know",
    "ode_variance",
    "off_support",
    "powered_variance",
    "sde_variance",
]
