"""Noised points where training hardly goes, and what is exactly right there.

A sampler's points go astray now and then: to where the noised training points are few, in the tail of the noise or in a
gap of the data. There the network was hardly ever asked, it answers anything, and the next steps lead farther out. So
it is worth while to ask it there on purpose. The ordinary target, the noise that was added, would be wrong for points
that were noised more than their timestep says; but which answer is right is known for every place of the plane: the
mean of the training points that x_t may have come from (Karras et al. 2022, eq. 57; as targets: Xu et al. 2023). An
ordinary training aims at the same answer, in the mean over its draws. Of a point whose class the network is told, it is
the mean over the points of that class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from lab_utils.diffusion.conditional import NO_CLASS

FARTHEST = 3.0  # times the noise of the timestep, at most; at least it is once


class Tail:
    """Noises points too much, and says which noise the best denoiser of all training points sees in them.

    It looks at all training points for each of its own. With 5000 of them that is a tenth of a training step of the
    better recipe, and with 50 000 it is as long as the step.

    Args:
        train: (N, 2) float32 training points.
        labels: (N,) int64, their classes, if the network is told any.
    """

    def __init__(self, train: Tensor, labels: Tensor | None = None) -> None:
        self._labels = labels
        self._across = train.T.contiguous()
        self._products = torch.cat([train, train.square().sum(dim=1, keepdim=True) / -2], dim=1).T.contiguous()

    def spread(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 1) factors of the noise, even between 1 and `FARTHEST`."""
        return 1 + (FARTHEST - 1) * torch.rand(n, 1, generator=generator)

    def epsilon(self, x_t: Tensor, signal: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """E[ε | x_t] of the training points, all equally likely: what `exact.BestDenoiser` says, but in float32.

        Args:
            x_t: (n, 2) float32, any points.
            signal: (n, 1) float32, √ᾱ at the timestep of each.
            noise: (n, 1) float32, √(1−ᾱ) there.
            label: (n,) int64, the class that each is told to be of, or `NO_CLASS`; of any unless given.
        """
        # log weights −|x_t − √ᾱ x|²/2(1−ᾱ), less what is the same for all x
        log_weights = torch.cat([signal * x_t, signal.square()], dim=1) / noise.square() @ self._products
        if label is not None and self._labels is not None:
            told = label.unsqueeze(1)
            log_weights = log_weights.masked_fill((told != NO_CLASS) & (told != self._labels), -torch.inf)
        mean = linear(torch.softmax(log_weights, dim=1), self._across)
        return (x_t - signal * mean) / noise
