"""Flow matching as its authors do it in the plane: the example for a 2-D checkerboard of Lipman et al. 2024's library.

From there are all numbers: four layers of 512 with SiLU, Adam at a rate of 0.001, batches of 4096, t drawn evenly, the
squared error of the velocity on the straight path, and nine steps of the midpoint method. Written out here, because
there is little of it. Their example draws fresh points for each batch; here are a few thousand, so they are drawn with
replacement. Another example of theirs has four layers of 64, the output's with them; a tuning may choose that width.

Time runs as theirs does: from the noise at t = 0 to the data at t = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.contender import Contender, Settings

Field = Callable[[Tensor, Tensor], Tensor]  # (n, 2) points and t, (n, 1) or (1, 1) → their velocity, (n, 2)
DEPTH = 4


class Velocity(nn.Module):
    """Layers of SiLU between (x, t) and the velocity; the three numbers enter as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(3, width), nn.SiLU()]
        for _ in range(DEPTH - 1):
            layers += [nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(n, 2) points and their t, (n, 1) or (1, 1) → (n, 2)."""
        return self.layers(torch.cat([x, t.expand(len(x), 1)], dim=1))


def euler(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """A step of Euler's between each two of the rising `times`: (n, 2) → (n, 2)."""
    for now, after in pairwise(times):
        x = x + (after - now) * field(x, now.view(1, 1))
    return x


def midpoint(field: Field, x: Tensor, times: Tensor) -> Tensor:
    """A step of the midpoint method between each two of the rising `times`, each of which asks twice."""
    for now, after in pairwise(times):
        half = (after - now) / 2
        middle = x + half * field(x, now.view(1, 1))
        x = x + (after - now) * field(middle, (now + half).view(1, 1))
    return x


METHODS = {"midpoint": midpoint, "Euler": euler}


class FlowMatching(Contender):
    """Flow matching with independent pairs, the straight path, and a plain network."""

    name = "flow matching"
    defaults: ClassVar[Settings] = {"learning_rate": 1e-3, "batch_size": 4096, "width": 512}
    choices: ClassVar[dict[str, tuple[int, ...]]] = {"width": (512, 64)}
    samplers: ClassVar[dict[str, int]] = {  # the longest asks twice a step, as `evaluations` says
        **{f"midpoint, {steps} steps": 2 * steps for steps in (9, 25, 50)},
        **{f"Euler, {steps} steps": steps for steps in (10, 20, 50)},
    }
    evaluations = 2

    def build(self) -> None:
        self.network = Velocity(self.settings["width"])
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.settings["learning_rate"])

    def turns(self) -> Iterator[int]:
        n = self.settings["batch_size"]
        while True:
            data = self.train[torch.randint(0, len(self.train), (n,))]
            noise, t = torch.randn_like(data), torch.rand(n, 1)
            self.descend(self.optimiser, mse_loss(self.network((1 - t) * noise + t * data, t), data - noise))
            yield n

    def draw(self, n: int, sampler: str, steps: int | None) -> Tensor:
        method, _, count = sampler.removesuffix(" steps").partition(", ")
        times = torch.linspace(0, 1, int(count) + 1)
        return METHODS[method](self.network, torch.randn(n, 2), times if steps is None else times[: steps + 1])

    def ask(self, n: int) -> Callable[[float], Tensor]:
        return lambda way: self.network(torch.zeros(n, 2), torch.full((1, 1), way))
