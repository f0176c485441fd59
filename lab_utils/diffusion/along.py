"""The network for sampling: the same answers as in training, as fast as the processor's matrix products allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from lab_utils.diffusion.conditional import NO_CLASS
from lab_utils.diffusion.denoiser import place_of
from lab_utils.diffusion.schedules import check_timesteps

if TYPE_CHECKING:  # the network imports this module
    from lab_utils.diffusion.network import DiffusionGenerator


class Along:
    """A network on its way along known timesteps, all points at the same one: what sampling asks a thousand times.

    It answers as `epsilon` does, but for rounding, and much faster: what depends on time and class is worked out once,
    waves that have faded to nothing are left out, a bias is one more column of its matrix, and a block of points has
    its tensors made once. In those a feature is a row, so that each result lies where the next matrix reads it.

    Args:
        network: a network; what it learns later is not seen here.
        timesteps: in the order in which they will be asked.
        label: the class that the network is told, a place in its `classes`, or `NO_CLASS`.

    Raises:
        ValueError: for a timestep that the network's schedule doesn't have.
    """

    @torch.inference_mode()
    def __init__(self, network: DiffusionGenerator, timesteps: Sequence[int], label: int = NO_CLASS) -> None:
        here = place_of(network)
        t = torch.tensor(timesteps, dtype=torch.int64, device=here)
        check_timesteps(t, network.schedule.timesteps, len(t))
        layers = cast("list[nn.Linear]", [*network.layers])
        first, *rest = network.shifts(t, None if label == NO_CLASS else torch.tensor([label], device=here))
        self.omega = network.omega.unsqueeze(1)
        self.skip = network.skip[t].flatten().cpu().tolist()
        self.hidden = torch.stack([torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1) for layer in layers])
        self.biases = torch.stack([layer.bias + shift for layer, shift in zip(layers, rest, strict=True)], dim=1)
        leave = torch.cat([network.leave.weight, network.leave.bias.unsqueeze(1)], dim=1)
        self.leave = network.scale[t].unsqueeze(2) * leave
        # How much is left of each wave goes into its weights: fewer numbers than the waves of all points.
        of_points, of_waves = network.enter.weight[:, :2], network.enter.weight[:, 2:].unflatten(1, (4, -1))
        waves = len(self.omega)
        left = (
            torch.ones(len(t), waves, dtype=network.dtype, device=here)
            if network.fading is None
            else network.fading[t, 2 : 2 + waves]
        )
        self.alive = (left > 0).sum(dim=1).cpu().tolist()  # the long ones, which come first
        self.enter = [
            torch.cat([bias.unsqueeze(1), of_points, (of_waves[..., :alive] * row[:alive]).flatten(1)], dim=1)
            for bias, row, alive in zip(network.enter.bias + first, left, self.alive, strict=True)
        ]

    def block(self, n: int) -> Callable[[Tensor, int], Tensor]:
        """For one block of n points: (n, 2) x_t, number of its timestep → (n, 2) predicted noise, as x_t is."""
        width, waves, made = self.hidden.shape[1], len(self.omega), self.hidden.new_ones
        seen = made(3 + 4 * waves, n)  # the first row stays 1, for the bias
        angles = made(2, waves, n)
        h = made(width + 1, n)  # the last row stays 1
        neurons, more = h[:width], made(width, n)
        hidden = self.hidden.clone()

        def epsilon(x_t: Tensor, k: int) -> Tensor:
            alive = self.alive[k]
            here, inside = seen[: 3 + 4 * alive], angles[:, :alive]
            sines, cosines = here[3:].view(2, 2, alive, n)
            here[1:3] = x_t.T
            torch.mul(here[1:3].unsqueeze(1), self.omega[:alive], out=inside)
            torch.sin(inside, out=sines)
            torch.cos(inside, out=cosines)
            silu(torch.mm(self.enter[k], here, out=neurons), inplace=True)
            hidden[:, :, -1] = self.biases[k]
            for matrix in hidden:
                neurons.add_(silu(torch.mm(matrix, h, out=more), inplace=True))
            return torch.add(torch.mm(self.leave[k], h).T.to(x_t), x_t, alpha=self.skip[k])

        return epsilon
