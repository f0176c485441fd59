"""The lab and those it is set beside: diffusers, smalldiffusion, the recipe of EDM, and flow matching."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar
from unittest.mock import MagicMock

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from benchmarks.contender import Contender, ResidualNetwork, Settings
from benchmarks.edm import EDM
from benchmarks.flow_matching import FlowMatching
from lab_utils import WORKERS
from lab_utils.diffusion.along import Along
from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.samplers import ancestral, dpm_solver, sde_dpm_solver, usual
from lab_utils.diffusion.sampling import BLOCK
from lab_utils.diffusion.sampling import sample as draw
from lab_utils.diffusion.schedules import sigmoid
from lab_utils.diffusion.training import Recipe, Trainer

# The lab's settings in the race: a small network that is soon through its steps, with the waves and the timesteps of
# the better recipe, and without a falling learning rate, which would have to know when the race ends. Chosen by hand on
# the draw that the peers are tuned on, never on that of the race.
LAB_NETWORK: Settings = {
    "width": 64,
    "depth": 2,
    "input_frequencies": 32,
    "max_frequency": 256.0,
    "fading": True,
}
LAB: Settings = {**LAB_NETWORK, "learning_rate": 4e-3, "batch_size": 500, "timesteps": "detail", "warmup": 50}


class Lab(Contender):
    """The lab with the settings `LAB`. A turn is an epoch."""

    name = "lab"
    defaults: ClassVar[Settings] = LAB
    block = BLOCK
    workers = WORKERS

    def build(self) -> None:
        network = {name: value for name, value in self.settings.items() if name in LAB_NETWORK}
        recipe = {name: value for name, value in self.settings.items() if name not in LAB_NETWORK}
        model = DiffusionGenerator(schedule=sigmoid(), seed=self.seed, **network)
        self.trainer = Trainer(model, self.train, Recipe(**recipe, epochs=10**9, checkpoints=(), seed=self.seed))
        ways = [("SDE-DPM-Solver++(2M)", usual(model.schedule))]  # the one that it is used with
        ways += [("SDE-DPM-Solver++(2M)", sde_dpm_solver(model.schedule, steps)) for steps in (10, 20, 30, 100)]
        ways += [("DPM-Solver++(2M)", dpm_solver(model.schedule, steps)) for steps in (10, 20, 50)]
        ways += [("DDPM", ancestral(model.schedule))]
        self.ways = {f"{name}, {len(way)} steps": way for name, way in ways}
        self.samplers = {name: len(way) for name, way in self.ways.items()}

    def turns(self) -> Iterator[int]:
        for loss in self.trainer:
            self.loss = loss
            yield len(self.train) * self.trainer.recipe.noises

    def sample(self, n: int, seed: int = 0, sampler: str | None = None, steps: int | None = None) -> Tensor:
        way = self.ways[sampler or self.usual]
        if steps is not None:  # from all over the way: the later ones take longer, for more waves are left in them
            k = torch.arange(steps) * len(way) // steps
            rows = {"coefficients": way.coefficients[k], "estimates": way.estimates[k]}
            way = replace(way, timesteps=tuple(way.timesteps[i] for i in k.tolist()), **rows)
        return draw(self.trainer.averaged, n, seed=seed, sampler=way)

    def ask(self, n: int) -> Callable[[float], Tensor]:
        longest = max(self.ways.values(), key=len)
        epsilon, x = Along(self.trainer.averaged, longest.timesteps).block(n), torch.zeros(n, 2)
        return lambda way: epsilon(x, int(way * len(longest)))


class LabAsItComes(Lab):
    """The lab with the network and the recipe that it has unless told otherwise: those of notebook 4."""

    name = "lab, as it comes"
    defaults: ClassVar[Settings] = {"learning_rate": Recipe.learning_rate, "batch_size": Recipe.batch_size}


class LabOfThatSize(Lab):
    """The lab with layers like those of the network that diffusers is given, for sampling alone."""

    name = "lab, 3 × 128"
    defaults: ClassVar[Settings] = {**LAB, "width": 128, "depth": 3}


SDE = "sde-dpmsolver++"  # diffusers' name of it


class Diffusers(Contender):
    """diffusers' schedulers with the residual network, trained as tiny-diffusion trains it, T = 1000."""

    name = "diffusers"
    package = "diffusers"
    defaults: ClassVar[Settings] = {"learning_rate": 1e-3, "batch_size": 256}
    # All 1000 steps come first: of networks so young, those without noise leave some points far outside, and their
    # energy distance is a multiple of this one's.
    samplers: ClassVar[dict[str, int]] = {
        "DDPMScheduler, 1000 steps": 1000,
        "DDIMScheduler, 50 steps": 50,
        **{f"DPMSolverMultistepScheduler, {steps} steps": steps for steps in (10, 20, 50)},
        **{f"DPMSolverMultistepScheduler, {SDE}, {steps} steps": steps for steps in (10, 20, 30, 50, 100)},
    }

    def build(self) -> None:
        self.library = self.load()
        # clipping is for pictures, whose values end at ±1
        self.noising = self.library.DDPMScheduler(num_train_timesteps=1000, clip_sample=False)
        self.network = ResidualNetwork()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=self.settings["learning_rate"])

    def turns(self) -> Iterator[int]:
        for x_0 in self.batches():
            noise = torch.randn_like(x_0)
            t = torch.randint(0, self.noising.config.num_train_timesteps, (len(x_0),))
            loss = mse_loss(self.network(self.noising.add_noise(x_0, noise, t), t), noise)
            self.descend(self.optimiser, loss)
            yield len(x_0)

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        self.loss = loss.detach()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        optimiser.step()

    def draw(self, n: int, sampler: str, steps: int | None) -> Tensor:
        kind = getattr(self.library, sampler.partition(",")[0])
        scheduler = kind.from_config(self.noising.config, **({"algorithm_type": SDE} if SDE in sampler else {}))
        scheduler.set_timesteps(self.samplers[sampler])
        x = torch.randn(n, 2)
        for t in scheduler.timesteps[:steps]:
            x = scheduler.step(self.network(x, t.view(1)), t, x).prev_sample
        return x

    def ask(self, n: int) -> Callable[[float], Tensor]:
        return lambda way: self.network(torch.zeros(n, 2), torch.tensor([500]))


class SmallDiffusion(Contender):
    """smalldiffusion as its README and its toy example use it: network, loader, schedule, loop and sampler."""

    name = "smalldiffusion"
    package = "smalldiffusion"
    defaults: ClassVar[Settings] = {"learning_rate": 1e-3, "batch_size": 2048}
    samplers: ClassVar[dict[str, int]] = {  # its accelerated sampler, which is DDIM's with a longer step, and DDPM's
        **{f"gam = 2, {steps} steps": steps for steps in (20, 10, 50)},
        **{f"gam = 1, mu = 0.5, {steps} steps": steps for steps in (20, 50, 200)},
    }

    @classmethod
    def load(cls) -> Any:
        """Import it, with a stand-in for torchvision, which it imports for its sets of pictures alone.

        torchvision is made for one build of torch, and can't be imported beside another one.
        """
        importlib.import_module("accelerate")  # first, for it looks for a real torchvision
        absent = "torchvision" not in sys.modules
        sys.modules.setdefault("torchvision", MagicMock())
        try:
            return importlib.import_module(cls.package)
        finally:
            if absent:
                del sys.modules["torchvision"]

    def build(self) -> None:
        self.library = self.load()
        self.library.diffusion.tqdm = iter  # its bar of epochs would run through ours
        self.network = self.library.TimeInputMLP(hidden_dims=(16, 128, 128, 128, 128, 16))
        self.schedule = self.library.ScheduleLogLinear(N=200, sigma_min=0.005, sigma_max=10)

    def turns(self) -> Iterator[int]:
        loader = DataLoader(self.train, batch_size=self.settings["batch_size"])
        loop = self.library.training_loop(
            loader, self.network, self.schedule, epochs=10**9, lr=self.settings["learning_rate"]
        )
        for state in loop:  # it stops before the step of its optimiser, which the next turn takes
            self.loss = state.loss.detach()
            yield len(state.x0)

    def draw(self, n: int, sampler: str, steps: int | None) -> Tensor:
        levels = self.schedule.sample_sigmas(self.samplers[sampler])[: None if steps is None else steps + 1]
        kind = {"gam": 2} if sampler.startswith("gam = 2") else {"gam": 1, "mu": 0.5}
        *_, x = self.library.samples(self.network, levels, **kind, batchsize=n)
        return x

    def ask(self, n: int) -> Callable[[float], Tensor]:
        return lambda way: self.network(torch.zeros(n, 2), torch.tensor(1.0))


PEERS: tuple[type[Contender], ...] = (Diffusers, SmallDiffusion, EDM, FlowMatching)
CONTENDERS: dict[str, type[Contender]] = {kind.name: kind for kind in (Lab, LabAsItComes, LabOfThatSize, *PEERS)}


def missing() -> dict[str, str]:
    """The peers that can't be used, each with the reason: every one is tried, so that none breaks a long run."""
    found = {}
    for kind in PEERS:
        try:
            one = kind(torch.zeros(10, 2))
            one.turn()
            one.sample(2, steps=1)
        except Exception as error:  # a package that is there but broken is as good as missing
            found[kind.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return found
