"""The reverse process: from noise back to data, one step of a sampler at a time.

Points are independent of each other, so they are sampled in blocks: small enough for the processor's cache, all T
steps for one block before the next. Each block draws its noise from a generator of its own, made from the seed and
the block's number. So the same seed gives the same points, however many cores share the work.

On another device than the processor many blocks are sampled at once. Their noise is drawn on the processor, from the
same generators, and taken there. So its points are those of the processor but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lab_utils import SEED, WORKERS
from lab_utils.base.arguments import is_whole
from lab_utils.base.devices import ONE_THREAD, device_named
from lab_utils.diffusion.couplings import check_independent
from lab_utils.diffusion.denoiser import Denoiser, along, check_denoiser, on
from lab_utils.diffusion.samplers import Sampler, ancestral, reverse_step

BLOCK = 1024  # points; activations of 64 numbers each then fit into a core's own cache
AT_ONCE = 64 * BLOCK  # points on another device, whose every call takes as long for a few as for thousands


def _generator(seed: int, block: int) -> torch.Generator:
    """The generator of the noise of one block: another one for each seed, however large, and each block."""
    # the block always stands second; else a seed of two words of 32 bits would be a small seed and a block
    state = np.random.SeedSequence([seed % 2**32, block, seed >> 32]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def _blocks(n: int, size: int = BLOCK) -> list[range]:
    """The numbers of the points in each block of `n` points, or in so many blocks together."""
    return [range(start, min(n, start + size)) for start in range(0, n, size)]


def _shares(n: int) -> Iterator[tuple[range, range]]:
    """What the workers share: a block, and which of its points. A large last one is cut, so that two end together."""
    *others, last = _blocks(n)
    yield from zip(others, others, strict=True)
    middle = len(last) // 2 if len(last) > BLOCK // 4 else 0
    yield from ((last, part) for part in (last[:middle], last[middle:]) if part)


def initial_noise(n: int, seed: int = SEED) -> Tensor:
    """The (n, 2) standard normal points from which `sample` starts with this seed, whatever the denoiser.

    Raises:
        ValueError: for n below 1, or a seed that is no whole number of 0 or more.
    """
    _check_count(n, seed)
    return torch.cat([torch.randn(len(block), 2, generator=_generator(seed, k)) for k, block in enumerate(_blocks(n))])


def sampler_for(denoiser: Denoiser, sampler: Sampler | None) -> Sampler:
    """The sampler, or all T ancestral steps where there is none, after a look at both; errors as for `snapshots`."""
    check_denoiser(denoiser)
    if sampler is None:
        sampler = ancestral(denoiser.schedule)
    if not isinstance(sampler, Sampler):
        raise TypeError(
            "a sampler is made by ancestral, ddim, dpm_solver, sde_dpm_solver, euler, heun or midpoint, of a schedule; "
            f"got {sampler!r:.80}"
        )
    sampler.check(denoiser.schedule)
    if sampler.coefficients[:, 2].any():
        check_independent(denoiser, f"a sampler that adds noise ({sampler.name}) needs the slope of the noised density")
    return sampler


def _check_count(n: int, seed: int) -> None:
    if not is_whole(n, least=1):
        raise ValueError(f"n must be a whole number of 1 or more, not {n!r}")
    if not is_whole(seed, least=0):
        raise ValueError(f"seed must be a whole number of 0 or more, not {seed!r}")


def _bar(progress: str | tqdm[Any] | None, n: int) -> AbstractContextManager[tqdm[Any]]:
    """A progress bar of `n` points; the caller's own goes on after the block."""
    if isinstance(progress, tqdm):
        return nullcontext(progress)
    return tqdm(total=n, desc=progress, disable=progress is None, unit="points")


def snapshots(
    denoiser: Denoiser,
    n: int,
    after: Iterable[int],
    *,
    seed: int = SEED,
    sampler: Sampler | None = None,
    progress: str | tqdm[Any] | None = None,
    first_block: int = 0,
    workers: int | None = None,
    device: str = "cpu",
) -> dict[int, Tensor]:
    """Sample `n` points and keep them as they are after some of the steps.

    Args:
        denoiser: a trained model, the best denoiser, or anything else that keeps the contract of `denoiser`.
        n: how many points. With the same seed, fewer points are the first of more in whole blocks of `BLOCK`; a last
            block that isn't whole has points of its own.
        after: numbers of finished steps, from 0 to all. After k steps the points are what would enter the denoiser
            at the sampler's timestep number k (of all T steps at t = T−1−k); after all they are finished.
        seed: same seed, same initial noise and same noise at each step, for any denoiser.
        sampler: which steps to take; made for the denoiser's own schedule. All T ancestral ones unless given.
        progress: the label of a progress bar, or the caller's own bar of points, or None for no bar.
        first_block: leave out as many blocks of `BLOCK` points: these are the points that come after them in a sample
            from the same seed.
        workers: threads that share the work; one for each core unless given.
        device: where the work is done, "cpu", "cuda", "mps" or "auto", see `base.devices`; a denoiser that is
            elsewhere is copied there. On another one than the processor the points differ by rounding alone.

    Returns:
        For each k of `after`, (n, 2) float32 in normalised units, on the processor. Memory grows with n by these
        results alone.

    Raises:
        TypeError: what is given is no denoiser.
        DeviceError: this machine has no such device.
        ValueError: for n below 1, a k below 0 or above the number of steps, a sampler of another schedule, or one that
            adds noise for a denoiser that was trained with coupled pairs.
    """
    _check_count(n, seed)
    n, seed, there = int(n), int(seed), device_named(device)
    sampler = sampler_for(denoiser, sampler)
    total = len(sampler)
    kept = sorted(set(after))
    if not kept or kept[0] < 0 or kept[-1] > total:
        raise ValueError(f"points can be kept after 0 … {total} reverse steps; asked for {kept}")
    multistep = sampler.multistep
    steps = [*zip(sampler.coefficients.tolist(), sampler.estimates.tolist(), strict=True)][: kept[-1]]
    answers = along(on(denoiser, there), sampler.timesteps[: kept[-1]])
    results = {k: torch.empty(n, 2) for k in kept}
    shares = _shares(n) if there.type == "cpu" else ((blocks, blocks) for blocks in _blocks(n, AT_ONCE))

    @torch.inference_mode()
    def run(block: range, share: range) -> int:
        drawn = torch.empty(len(block), 2)
        numbered = enumerate(drawn.split(BLOCK), first_block + block.start // BLOCK)
        generators = [(part, _generator(seed, number)) for number, part in numbered]

        def draw() -> Tensor:
            for part, generator in generators:
                part.normal_(generator=generator)
            # of a whole block, for it is the same however shared
            return drawn[share.start - block.start :][: len(share)].to(there)

        x = draw().clone()
        estimate = noise = torch.zeros_like(x)
        kept_here = {k: points[share.start : share.stop] for k, points in results.items()}
        epsilon_at = answers(len(x))
        for k, (row, (p, q)) in enumerate(steps):
            if k in kept_here:
                kept_here[k][:] = x
            epsilon = epsilon_at(x, k)
            if row[2]:
                noise = draw()
            now = p * x - q * epsilon if multistep else estimate
            x, estimate = reverse_step(row, x, epsilon, noise, estimate), now
        kept_here[kept[-1]][:] = x
        return len(x)

    with (
        ThreadPoolExecutor(workers or (1 if there.type in ONE_THREAD else WORKERS)) as pool,
        _bar(progress, n) as bar,
    ):
        try:
            for finished in as_completed([pool.submit(run, *share) for share in shares]):
                bar.update(finished.result())
        finally:  # after an error or an interruption, blocks that have not begun need not begin
            pool.shutdown(cancel_futures=True)
    return results


def sample(
    denoiser: Denoiser,
    n: int,
    *,
    seed: int = SEED,
    sampler: Sampler | None = None,
    progress: str | tqdm[Any] | None = None,
    first_block: int = 0,
    workers: int | None = None,
    device: str = "cpu",
) -> Tensor:
    """Sample `n` finished points: (n, 2) float32 in normalised units. Arguments and errors as for `snapshots`."""
    sampler = sampler_for(denoiser, sampler)
    total = len(sampler)
    return snapshots(
        denoiser,
        n,
        [total],
        seed=seed,
        sampler=sampler,
        progress=progress,
        first_block=first_block,
        workers=workers,
        device=device,
    )[total]
