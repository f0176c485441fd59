"""Any number of points in a file: `python -m lab_utils.runs.generate --points 10000000 --out points.npy`.

The points are those of `sample`, in the data's own units. They are made in chunks of whole blocks, and a chunk depends
on its number alone, not on who makes it or what was made before. So whoever shares the work, the bytes are the same.
"""

# mypy: allow-untyped-calls
# (Dask has types, but not everywhere)

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from lab_utils import SEED
from lab_utils.base.code import code_checksum
from lab_utils.base.devices import CHOICES, device_named
from lab_utils.base.files import in_a_line, sha256
from lab_utils.diffusion.conditional import given
from lab_utils.diffusion.denoiser import Denoiser, check_denoiser
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import STEPS, Sampler, ancestral, ddim, dpm_solver, sde_dpm_solver, usual
from lab_utils.diffusion.sampling import BLOCK, sample, sampler_for
from lab_utils.diffusion.schedules import Schedule, sigmoid
from lab_utils.diffusion.training import Recipe
from lab_utils.points.dataset import Units, dataset
from lab_utils.points.shapes import SHAPES
from lab_utils.runs.chunks import FORMATS, Chunks, ChunksError, check
from lab_utils.runs.engine import as_finished, connect, why
from lab_utils.runs.fit import fit

CHUNK = 64  # blocks; 65 536 points are half a megabyte, and seconds to a minute of a core's work
AT_ONCE = 16  # chunks on another device, so that all cores draw noise for it

# what the points depend on besides the denoiser, the sampler and the seed
MODULES = ("along", "conditional", "denoiser", "guidance", "network", "samplers", "sampling", "schedules", "straight")
CODE = tuple(f"lab_utils.diffusion.{name}" for name in (*MODULES, "targets"))

Call = Callable[..., Tensor]  # `sample`, with all that says which points of which model
Made = Generator[tuple[int, Tensor]]  # chunk's number and points
Span = list[int]  # numbers of neighbouring chunks that are made by one call


# --- Who makes the points ----------------------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    """What the points depend on besides model, sampler and seed; and, in their last bits, on the kind of processor."""
    return {"torch": torch.__version__, "code": code_checksum(*CODE)[:16]}


def _fingerprint(denoiser: Denoiser) -> str:
    """A checksum of what a denoiser is, and of what it answers about some points at some timesteps."""
    asked = range(0, denoiser.schedule.timesteps, -(-denoiser.schedule.timesteps // 16))
    x_t = torch.randn(256, 2, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        answers = torch.cat([denoiser.epsilon(x_t, torch.tensor([t])) for t in asked])
    state = denoiser.state_dict() if isinstance(denoiser, nn.Module) else {}
    return sha256(save({**state, "answers": answers}) + denoiser.schedule.betas.numpy().tobytes())[:16]


def _about(denoiser: Denoiser, units: Units, seed: int, sampler: Sampler) -> dict[str, Any]:
    """All that a file of points depends on, short enough to be told."""
    steps = b"".join(table.numpy().tobytes() for table in (sampler.coefficients, sampler.estimates))
    return {
        "seed": seed,
        "model": f"{type(denoiser).__name__}, {denoiser.schedule.name}, {_fingerprint(denoiser)}",
        "sampler": f"{sampler.name}, {len(sampler)} steps, {sha256(steps + str(sampler.timesteps).encode())[:16]}",
        "units": [*units.shift.tolist(), units.scale],
        **_versions(),
    }


def _spans(numbers: Iterable[int], most: int) -> Iterator[Span]:
    """The numbers of chunks, so many neighbours together at most."""
    span: Span = []
    for number in numbers:
        if span and (len(span) == most or number > span[-1] + 1):
            yield span
            span = []
        span.append(number)
    if span:
        yield span


def _here(calls: Iterable[tuple[Span, Call]], bar: tqdm[Any]) -> Made:
    """Make the chunks one call after the other, each on all cores."""
    for span, call in calls:
        yield from zip(span, call(progress=bar).split(CHUNK * BLOCK), strict=True)


def _in_worker(versions: dict[str, str], call: Call) -> Tensor:
    """Make a chunk in a worker of a cluster, on the one thread that Dask has for it."""
    if _versions() != versions:
        raise ChunksError(f"a worker has {_versions()}, and this process {versions}; install the same on both")
    return call(workers=1)


def _on_cluster(scheduler: str, calls: Iterable[tuple[Span, Call]], bar: tqdm[Any]) -> Made:
    """Make the chunks on a cluster, one on each of its threads; the model travels with each, as workers come and go."""
    from dask.distributed import CancelledError, KilledWorker

    versions = _versions()
    try:
        with connect(scheduler) as client:
            asked = ((chunk, partial(_in_worker, versions, call)) for (chunk,), call in calls)
            for chunk, future in as_finished(client, asked):
                points = future.result()
                bar.update(len(points))
                yield chunk, points
    except KilledWorker as error:
        raise ConnectionError(f"the cluster can't do it: {why(error)}") from error
    except (CancelledError, OSError) as error:
        raise ConnectionError(f"no connection to the cluster at {scheduler} ({error})") from error


def _check(out: Path, n: int, seed: int) -> None:
    check(out, n)
    if seed < 0:
        raise ChunksError(f"the seed must be 0 or more, not {seed}")


def generate(
    denoiser: Denoiser,
    n: int,
    out: str | Path,
    *,
    units: Units,
    seed: int = SEED,
    sampler: Sampler | None = None,
    scheduler: str | None = None,
    progress: bool = True,
    device: str = "cpu",
) -> None:
    """Write `units.restore(sample(denoiser, n, seed=seed, sampler=sampler))` to a file, to the bit, in bounded memory.

    What is finished stands in the folder `OUT.parts`, 8 bytes a point, until the file is whole and the folder goes. The
    same call after an interruption makes only what is missing there. Points are the same to the bit whoever makes them
    on processors of the same kind; on another kind, and on another device, their last digits may differ.

    Args:
        denoiser: a trained model, or anything else that keeps the contract of `denoiser`. On a cluster it is sent to
            the workers, so that they must be able to import what it is made of.
        n: how many points.
        out: a new file. Its name ends in `.npy`, an (n, 2) float64 array; in `.csv`, with the columns x and y, which
            `load` reads; or in `.parquet`, with the same columns.
        units: the data's own, in which the points are written.
        seed: same seed, same points.
        sampler: which steps to take; unless given, `samplers.usual` of its schedule, whose points are nearly as good as
            those of a thousand steps (notebook 4).
        scheduler: address of a Dask scheduler, such as "tcp://10.0.0.1:8786", whose workers have the same versions of
            the lab and of PyTorch; without one, this machine's cores do the work.
        progress: whether to show progress bars.
        device: where the work is done, as for `sample`; on a cluster, each worker's own.

    Raises:
        DeviceError: this machine has no such device.
        TypeError: what is given is no denoiser.
        ValueError: the sampler was made for another schedule.
        ChunksError: `n`, `seed` or `out` can't be used, the file is there, its folder of chunks is another job's, or
            another process is at it.
        ConnectionError: there is no scheduler at that address, or it or its workers went away.
        OSError: no room on the disk, for one. A note on this and on all other errors, `KeyboardInterrupt` too, says
            how many chunks are kept.
    """
    check_denoiser(denoiser)
    at_once = 1 if scheduler or device_named(device).type == "cpu" else AT_ONCE
    sampler = sampler_for(denoiser, usual(denoiser.schedule) if sampler is None else sampler)
    _check(Path(out), n, seed)
    chunks = Chunks(Path(out), n, CHUNK * BLOCK)
    with chunks.open(_about(denoiser, units, seed, sampler)):
        done = n - sum(map(chunks.size, chunks.missing()))
        draw = partial(sample, denoiser, seed=seed, sampler=sampler, device=device)
        calls = (
            (span, partial(draw, sum(map(chunks.size, span)), first_block=CHUNK * span[0]))
            for span in _spans(chunks.missing(), at_once)
        )
        with tqdm(total=n, initial=done, desc="sampling", unit="points", unit_scale=True, disable=not progress) as bar:
            made = _on_cluster(scheduler, calls, bar) if scheduler and done < n else _here(calls, bar)
            with closing(made):  # after an error the cluster need not go on
                for number, points in made:
                    chunks.save(number, points)
        chunks.assemble(units, progress=progress)


# --- The command -------------------------------------------------------------------------------------------------

# how to make each, and with how many steps unless given
SAMPLERS = {"sde": (sde_dpm_solver, STEPS), "dpm": (dpm_solver, 20), "ddim": (ddim, 200)}


def _sampler(schedule: Schedule, name: str, steps: int | None) -> Sampler:
    if name in SAMPLERS:
        make, most = SAMPLERS[name]
        return make(schedule, min(most, schedule.timesteps) if steps is None else steps)
    if steps is not None:
        *others, last = SAMPLERS
        asked = f"{', '.join(others)} or {last}"
        raise ChunksError(f"--steps goes with --sampler {asked}; ddpm takes all {schedule.timesteps}")
    return ancestral(schedule)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    description = "Train a model, or find it in the cache, and write any number of its points to a file."
    epilog = "Interrupted, the same command goes on where it was."
    parser = argparse.ArgumentParser(prog="python -m lab_utils.runs.generate", description=description, epilog=epilog)
    default = " (default: %(default)s)"
    add = parser.add_argument
    add("--points", type=int, required=True, metavar="N", help="how many")
    add("--out", type=Path, required=True, metavar="FILE", help=f"a new file that ends in {', '.join(FORMATS)}")
    add("--data", default="cities", help="cities, the name of a shape, or the path of a table" + default)
    add("--columns", metavar="X,Y", help="of a table: those of x and y, by name or by number from 0")
    add("--label", metavar="CLASS", help="only points of this class, from a model that is told classes in training")
    add(
        "--classes", metavar="COLUMN", help="of a table: that of the classes; cities have continents, a shape its parts"
    )
    add("--missing", choices=["raise", "drop"], default="raise", help="what becomes of rows without a value" + default)
    add("--epochs", type=int, default=Recipe.epochs, metavar="N", help="how long to train" + default)
    add("--sampler", choices=["ddpm", *SAMPLERS], default="sde", help="way from noise to data" + default)
    steps = ", ".join(f"{steps} for {name}" for name, (_, steps) in SAMPLERS.items())
    add("--steps", type=int, metavar="N", help=f"of the sampler, at most (default: {steps}; ddpm takes all)")
    add("--seed", type=int, default=SEED, metavar="N", help="the same seed gives the same points" + default)
    add("--device", choices=CHOICES, default="cpu", help="where to train and to make the points" + default)
    add("--scheduler", metavar="ADDRESS", help="of a Dask scheduler; without one, this machine's cores do the work")
    add("--quiet", action="store_true", help="no progress bars")
    return parser


def _column_of_classes(options: argparse.Namespace) -> str:
    """Where the classes stand of which one is asked for."""
    if options.classes:
        return str(options.classes)
    if options.data != "cities" and options.data not in SHAPES:
        raise ChunksError(f"--label {options.label} needs --classes, the column of {options.data} with the classes")
    return "continent" if options.data == "cities" else "part"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the points; 0 when they are there, 1 when the disk or the cluster failed, 130 when interrupted."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        _check(options.out, options.points, options.seed)  # before a training that takes minutes
        if options.classes and not options.label:
            raise ChunksError("--classes goes with --label, which says of which class the points should be")
        device_named(options.device)
        schedule = sigmoid()
        sampler = _sampler(schedule, options.sampler, options.steps)
        recipe = Recipe(epochs=options.epochs)
        columns = options.columns.split(",") if options.columns else None
        label = _column_of_classes(options) if options.label else None
        data = dataset(options.data, columns=columns, label=label, missing=options.missing)
        if options.label:
            data.given(options.label)  # whether there are points of it, before a training, too
        network = DiffusionGenerator(schedule=schedule, classes=data.classes)
        model = fit(network, data, recipe, progress=not options.quiet, device=options.device).model()
        generate(
            given(model, options.label) if options.label else model,
            options.points,
            options.out,
            units=data.units,
            seed=options.seed,
            sampler=sampler,
            scheduler=options.scheduler,
            progress=not options.quiet,
            device=options.device,
        )
    except ValueError as error:
        command.error(in_a_line(error))
    except OSError as error:
        print(in_a_line(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(in_a_line(error), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end, too, says how much is kept
    sys.exit(main())
