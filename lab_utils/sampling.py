"""The reverse process: from noise back to data, one step at a time (Ho et al. 2020, algorithm 2).

Points are independent of each other, so they are sampled in blocks: small enough for the processor's cache, all T
steps for one block before the next. Each block draws its noise from a generator of its own, made from the seed and
the block's number. So the same seed gives the same points, however many cores share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lab_utils import SEED, WORKERS
from lab_utils.schedules import Denoiser, Schedule

BLOCK = 1024  # points; activations of 64 numbers each then fit into a core's own cache

VARIANCES = ("posterior", "beta")


def step_coefficients(schedule: Schedule, variance: str = "posterior") -> Tensor:
    """The reverse step x_{t−1} = a·x_t − b·ε + c·noise as a (T, 3) float64 table of a, b, c (Ho et al. 2020, eq. 11).

    c is the root of the posterior variance β̃ ("posterior") or of β ("beta"), both of their section 3.2. The last
    step, t = 0, adds no noise.

    Raises:
        ValueError: for another name of a variance.
    """
    if variance not in VARIANCES:
        raise ValueError(f"variance must be one of {', '.join(VARIANCES)}, not {variance!r}")
    a = 1 / schedule.alphas.sqrt()
    b = schedule.betas / (1 - schedule.alphas_cumprod).sqrt() * a
    c = (schedule.posterior_variance if variance == "posterior" else schedule.betas).sqrt()
    c = torch.cat([torch.zeros(1, dtype=c.dtype), c[1:]])
    return torch.stack([a, b, c], dim=1)


def reverse_step(coefficients: Sequence[float], x_t: Tensor, epsilon: Tensor, noise: Tensor) -> Tensor:
    """One reverse step: (n, 2) x_t, the ε predicted there, standard normal noise → (n, 2) x_{t−1}.

    `coefficients` is row t of `step_coefficients`, as plain numbers.
    """
    a, b, c = coefficients
    return a * x_t - b * epsilon + c * noise


def _generators(n: int, seed: int) -> Iterator[tuple[slice, torch.Generator]]:
    """The blocks of `n` points, and a generator of its own for each."""
    for block in range(-(-n // BLOCK)):
        state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state) >> 1)
        yield slice(block * BLOCK, min(n, (block + 1) * BLOCK)), generator


def initial_noise(n: int, seed: int = SEED) -> Tensor:
    """The (n, 2) standard normal points from which `sample` starts with this seed, whatever the denoiser."""
    blocks = [torch.randn(part.stop - part.start, 2, generator=generator) for part, generator in _generators(n, seed)]
    return torch.cat(blocks)


def snapshots(
    denoiser: Denoiser,
    n: int,
    after: Iterable[int],
    *,
    seed: int = SEED,
    variance: str = "posterior",
    progress: str | None = None,
) -> dict[int, Tensor]:
    """Sample `n` points by T ancestral steps and keep them as they are after some of the steps.

    Args:
        denoiser: a trained model, or anything else with a `schedule` and `epsilon(x_t, t)`.
        n: how many points.
        after: numbers of finished reverse steps, 0 … T. After k steps the points are what would enter the denoiser
            at t = T−1−k; after T they are finished.
        seed: same seed, same initial noise and same noise at each step, for any denoiser.
        variance: "posterior" (β̃) or "beta".
        progress: the label of a progress bar, or None for no bar.

    Returns:
        For each k of `after`, (n, 2) float32 in normalised units. Memory grows with n by these results alone.

    Raises:
        ValueError: for n below 1, a k outside 0 … T, or an unknown variance.
    """
    schedule = denoiser.schedule
    total = schedule.timesteps
    kept = sorted(set(after))
    if n < 1:
        raise ValueError(f"n must be 1 or more, not {n}")
    if not kept or kept[0] < 0 or kept[-1] > total:
        raise ValueError(f"points can be kept after 0 … {total} reverse steps; asked for {kept}")
    coefficients = step_coefficients(schedule, variance).tolist()
    results = {k: torch.empty(n, 2) for k in kept}

    @torch.inference_mode()
    def run(part: slice, generator: torch.Generator) -> int:
        x = torch.randn(part.stop - part.start, 2, generator=generator)
        noise = torch.empty_like(x)
        for k in range(kept[-1]):
            if k in results:
                results[k][part] = x
            t = total - 1 - k
            epsilon = denoiser.epsilon(x, torch.tensor([t]))
            x = reverse_step(coefficients[t], x, epsilon, noise.normal_(generator=generator))
        results[kept[-1]][part] = x
        return len(x)

    with (
        ThreadPoolExecutor(WORKERS) as pool,
        tqdm(total=n, desc=progress, disable=progress is None, unit="points") as bar,
    ):
        try:
            for finished in as_completed([pool.submit(run, *block) for block in _generators(n, seed)]):
                bar.update(finished.result())
        finally:  # after an error or an interruption, blocks that have not begun need not begin
            pool.shutdown(cancel_futures=True)
    return results


def sample(
    denoiser: Denoiser, n: int, *, seed: int = SEED, variance: str = "posterior", progress: str | None = None
) -> Tensor:
    """Sample `n` finished points: (n, 2) float32 in normalised units. Arguments as for `snapshots`."""
    total = denoiser.schedule.timesteps
    return snapshots(denoiser, n, [total], seed=seed, variance=variance, progress=progress)[total]
