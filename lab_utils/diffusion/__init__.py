"""The diffusion model itself: what the lab exists to teach, and nothing else."""

from lab_utils.diffusion.denoiser import Denoiser, DenoisingModule, check_denoiser, denoiser
from lab_utils.diffusion.doctor import Diagnosis, diagnose
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import Sampler, ancestral, ddim, dpm_solver, reverse_step, sde_dpm_solver
from lab_utils.diffusion.sampling import initial_noise, sample, snapshots
from lab_utils.diffusion.schedules import KINDS, Schedule, ScheduleError, cosine, from_config, linear, sigmoid
from lab_utils.diffusion.training import Recipe, Trainer, timestep_probabilities

__all__ = [
    "KINDS",
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
    "ddim",
    "denoiser",
    "diagnose",
    "dpm_solver",
    "from_config",
    "initial_noise",
    "linear",
    "reverse_step",
    "sample",
    "sde_dpm_solver",
    "sigmoid",
    "snapshots",
    "timestep_probabilities",
]
