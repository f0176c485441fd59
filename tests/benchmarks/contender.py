"""What all contenders have in common, and the network that two of them share."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from lab_utils import SEED

Settings = dict[str, Any]


class Contender:
    """One way to train a diffusion model of points in the plane, and to sample from it, on (n, 2) normalised points.

    A kind of contender says its name, its defaults and its samplers, and has `build`, `turns`, `draw` and `ask`.

    Attributes:
        name: what it is called.
        package: what must be installed for it, besides the lab itself.
        defaults: its settings, among them `learning_rate` and `batch_size`.
        choices: what else its tuning may choose, setting → values, the default first.
        samplers: its samplers and how often each asks the network.
        usual: the one of them that it is used with: the first, unless it is told otherwise.
        evaluations: how often one step of its samplers asks the network.
        block: how many points enter the network at once while it samples; all of them, where it is None.
        workers: how many blocks are sampled at the same time.
        settings: the defaults, and what was set otherwise.
        seconds: of a processor core that its training has taken, so what else the machine does is nobody's loss.
        points: how many training points it has used, each as often as it was used.
        loss: of the last turn.
    """

    name: ClassVar[str]
    package: ClassVar[str] = "torch"
    defaults: ClassVar[Settings]
    choices: ClassVar[dict[str, tuple[int, ...]]] = {}
    evaluations: ClassVar[int] = 1
    block: ClassVar[int | None] = None
    workers: ClassVar[int] = 1
    samplers: dict[str, int]

    def __init__(self, train: Tensor, seed: int = SEED, usual: str | None = None, **settings: Any) -> None:
        self.train, self.seed, self.settings = train, seed, {**self.defaults, **settings}
        self.seconds, self.points, self.loss = 0.0, 0, math.nan
        torch.manual_seed(seed)  # libraries draw from the global generator
        self.build()
        self.usual = usual or next(iter(self.samplers))
        self._turns = self.turns()

    @classmethod
    def load(cls) -> Any:
        """Import what it needs; raise what the import raises."""
        return importlib.import_module(cls.package)

    def build(self) -> None:
        """Make the network and what trains it."""
        raise NotImplementedError

    def turns(self) -> Iterator[int]:
        """Train, step after step or epoch after epoch, without end; give how many points each turn has used."""
        raise NotImplementedError

    def draw(self, n: int, sampler: str, steps: int | None) -> Tensor:
        """What `sample` gives."""
        raise NotImplementedError

    def ask(self, n: int) -> Callable[[float], Tensor]:
        """What asks the network once about `n` points, as the longest sampler does so far on its way, 0 … 1."""
        raise NotImplementedError

    def turn(self) -> int:
        """Train one turn, on the clock; give how many points it used."""
        started = time.process_time()
        points = next(self._turns)
        self.seconds += time.process_time() - started
        self.points += points
        return points

    def train_until(self, seconds: float) -> None:
        """Train until it has trained so many seconds in all; what happens between two calls doesn't count."""
        while self.seconds < seconds:
            self.turn()

    @torch.no_grad()
    def sample(self, n: int, seed: int = SEED, sampler: str | None = None, steps: int | None = None) -> Tensor:
        """`n` points, (n, 2) float32 in normalised units.

        Args:
            n: how many.
            seed: of the noise.
            sampler: one of `samplers`, the usual one unless given.
            steps: take only so many of the sampler's steps, to measure how fast they are.
        """
        torch.manual_seed(seed)
        return self.draw(n, sampler or self.usual, steps)

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        """One step of an optimiser."""
        self.loss = loss.detach()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def batches(self) -> Iterator[Tensor]:
        """The training points in batches, shuffled for each epoch, without end.

        Straight from the tensor: a `DataLoader` collates point by point, and would take most of the time.
        """
        while True:
            yield from self.train[torch.randperm(len(self.train))].split(self.settings["batch_size"])


def sinusoids(x: Tensor, size: int, scale: float) -> Tensor:
    """(n,) → (n, size): sines and cosines at frequencies from 1 down to 1/10 000 (Vaswani et al. 2017, section 3.5)."""
    half = size // 2
    frequencies = torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))
    angles = scale * x.unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ResidualNetwork(nn.Module):
    """The network that tiny-diffusion has made popular for points in the plane: 3 residual layers of 128.

    Each coordinate, times 25, and the time enter as 128 sinusoids.

    Args:
        time_scale: what the time is multiplied by: 1 for timesteps, more for a time that runs over a few units.
        size: neurons in each layer, and sinusoids of each input.
        depth: residual layers.
    """

    def __init__(self, time_scale: float = 1.0, size: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.time_scale, self.size = time_scale, size
        self.enter = nn.Linear(3 * size, size)
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(depth))
        self.leave = nn.Linear(size, 2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(n, 2) points and their times, (n,) or (1,) → (n, 2)."""
        seen = [sinusoids(coordinate, self.size, 25.0) for coordinate in x.unbind(1)]
        time = sinusoids(time, self.size, self.time_scale).expand(len(x), -1)
        h = gelu(self.enter(torch.cat([*seen, time], dim=1)))
        for layer in self.layers:
            h = h + gelu(layer(h))
        return self.leave(h)
