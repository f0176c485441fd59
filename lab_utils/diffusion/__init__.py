"""The diffusion model itself: what the lab exists to teach, and nothing else."""

from lab_utils.diffusion.conditional import NO_CLASS, given
from lab_utils.diffusion.couplings import COUPLINGS, couple, optimal_pairs
from lab_utils.diffusion.denoiser import Denoiser, DenoisingModule, check_denoiser, denoiser
from lab_utils.diffusion.doctor import Diagnosis, diagnose
from lab_utils.diffusion.guidance import guided
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import Sampler, ancestral, ddim, dpm_solver, reverse_step, sde_dpm_solver
from lab_utils.diffusion.sampling import initial_noise, sample, snapshots
from lab_utils.diffusion.schedules import KINDS, Schedule, ScheduleError, cosine, flow, from_config, linear, sigmoid
from lab_utils.diffusion.straight import euler, heun, midpoint, places
from lab_utils.diffusion.targets import TARGETS, from_epsilon, to_epsilon
from lab_utils.diffusion.training import Recipe, Trainer
from lab_utils.diffusion.weights import loss_weights, timestep_probabilities

__all__ = [
    "COUPLINGS",
    "KINDS",
    "NO_CLASS",
    "TARGETS",
    "Denoiser",
    "DenoisingModule",
    "Diagnosis",
    "DiffusionGenerator",
    "Recipe",
    "Sampler",
    "Schedule",
    "ScheduleError",
    "Trainer",
    "ancestral",
    "check_denoiser",
    "cosine",
    "couple",
    "ddim",
    "denoiser",
    "diagnose",
    "dpm_solver",
    "euler",
    "flow",
    "from_config",
    "from_epsilon",
    "given",
    "guided",
    "heun",
    "initial_noise",
    "linear",
    "loss_weights",
    "midpoint",
    "optimal_pairs",
    "places",
    "reverse_step",
    "sample",
    "sde_dpm_solver",
    "sigmoid",
    "snapshots",
    "timestep_probabilities",
    "to_epsilon",
]
