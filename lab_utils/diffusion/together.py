"""Several trainings as one: networks of one build, in a stack, go through one loop.

A step of a small network is a hundred short calls. On a graphics card a call should take about as long for thirty such
networks as for one. So trainings that differ by their seeds alone, and by their points, share the calls: each weight is
a stack of weights, and a product of matrices a batch of products. Each training draws what it would draw alone, learns
from the same numbers, and comes out the same but for rounding. On a processor nothing is gained by it: a step and seed
of the original's training took 2.2 ms alone, and 2.0 to 2.3 ms where two, four or eight went at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import vector_to_parameters

from lab_utils.diffusion.training import Trainer, TrainingLoop, squared_errors


class TogetherError(ValueError):
    """Trainings that can't be done as one; the message says why. Each can be done alone."""


class _Predicting(nn.Module):
    """A network that is called for what it predicts, as `functional_call` calls modules."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *asked: Tensor) -> Tensor:
        answer: Tensor = self.network.predict(*asked)  # type: ignore[operator]
        return answer


class Together(TrainingLoop):
    """Trainers that go through their epochs together, at the same one each.

    >>> for losses in Together(trainers):          # one turn is one epoch of all
    ...     print(losses)

    After each turn every trainer is where it would be alone: its losses, its networks, what `state_dict` gives. So it
    can be saved, sampled from, and gone on with alone, but then not together any more.

    Args:
        trainers: with networks of one class and build, whatever their first weights; with as many points each; on one
            device; with recipes that differ by their seeds alone; after as many epochs.

    Raises:
        TogetherError: there are none, or they differ in more; or the stack of the networks doesn't answer as each of
            them does alone, because `predict` does what `torch.func.vmap` can't, or depends on more than weights and
            tables.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = [*trainers]
        kinds = [kind_of(trainer) for trainer in self.trainers]
        if not kinds:
            raise TogetherError("there are no trainings to be done as one")
        if apart := [what for what, value in kinds[0].items() if any(kind[what] != value for kind in kinds)]:
            raise TogetherError(
                f"trainings are done as one if they differ by their seeds and their points alone; these have other "
                f"{' and '.join(apart)}"
            )
        first = self.trainers[0]
        self.recipe, self.device = first.recipe, first.device
        self.weights = nn.Parameter(torch.stack([trainer.weights.detach() for trainer in self.trainers]))
        self.weights.grad = torch.zeros_like(self.weights)
        self.average = nn.Parameter(torch.stack([trainer.average.detach() for trainer in self.trainers]))
        self._network = _Predicting(first.network)
        self._tables = {
            f"network.{name}": torch.stack([trainer.network.get_buffer(name) for trainer in self.trainers])
            for name, _ in first.network.named_buffers()
        }
        self._check_answers()
        self.optimiser = torch.optim.Adam([self.weights], lr=self.recipe.learning_rate, fused=True)
        states: list[dict[str, Tensor]] = [trainer.optimiser.state[trainer.weights] for trainer in self.trainers]
        if states[0]:
            self.optimiser.state[self.weights] = {
                name: value.clone() if name == "step" else torch.stack([state[name] for state in states])
                for name, value in states[0].items()
            }
        for number, trainer in enumerate(self.trainers):  # from now on its weights are a row of the stack
            for row, vector, network in (
                (self.weights, trainer.weights, trainer.network),
                (self.average, trainer.average, trainer.averaged),
            ):
                vector.data = row.detach()[number]
                vector_to_parameters(vector, network.parameters())

    def _stacked(self) -> dict[str, Tensor]:
        """The stack of each weight, (S, …), which is a view of `weights`, and of each table."""
        named = [*self._network.named_parameters()]
        parts = self.weights.split([weight.numel() for _, weight in named], dim=1)
        views = {name: part.view(-1, *weight.shape) for (name, weight), part in zip(named, parts, strict=True)}
        return {**views, **self._tables}

    def _check_answers(self) -> None:
        """Raise a `TogetherError` unless the stack answers as each network alone."""
        schedule, generator = self.trainers[0].network.schedule, torch.Generator().manual_seed(0)
        t = torch.arange(6) * schedule.timesteps // 6
        asked = [torch.randn(6, 2, generator=generator), t]
        if self.trainers[0].labels is not None:
            asked.append(torch.zeros_like(t))
        asked = [part.to(self.device) for part in asked]
        each = tuple(part.expand(len(self.trainers), *part.shape) for part in asked)
        with torch.no_grad():
            try:
                stacked = vmap(partial(functional_call, self._network))(self._stacked(), each)
            except RuntimeError as error:  # what vmap raises, whatever it can't do
                what = type(self.trainers[0].network).__name__
                raise TogetherError(f"torch.func.vmap can't stack {what}.predict: {error}") from error
            alone = torch.stack([_Predicting(trainer.network)(*asked) for trainer in self.trainers])
        if not torch.allclose(stacked.cpu(), alone.cpu(), rtol=1e-3, atol=1e-4):
            raise TogetherError(
                f"{type(self.trainers[0].network).__name__} doesn't answer in a stack as it does alone; does "
                "`predict` depend on what is neither a weight nor a buffer?"
            )

    @property
    def epoch(self) -> int:
        """How many epochs are done, by each."""
        return self.trainers[0].epoch

    def __iter__(self) -> Iterator[list[float]]:
        """Train epoch after epoch up to the recipe's number; give the mean losses of each, in the trainers' order."""
        while self.epoch < self.recipe.epochs:
            losses: list[float] = self._go_through().tolist()
            state = self.optimiser.state[self.weights]
            for number, (trainer, loss) in enumerate(zip(self.trainers, losses, strict=True)):
                trainer.losses.append(loss)
                trainer.optimiser.state[trainer.weights] = {
                    name: value.clone() if name == "step" else value[number] for name, value in state.items()
                }
            yield losses

    def _batches(self) -> Sequence[Tensor]:
        each = zip(*(trainer._batches() for trainer in self.trainers), strict=True)
        return [torch.stack(batches) for batches in each]

    def _errors(self, batch: Tensor, far: int) -> Tensor:
        noised = [trainer.noised(rows, far) for trainer, rows in zip(self.trainers, batch, strict=True)]
        stacked = {name: torch.stack([each[name] for each in noised]).to(self.device) for name in noised[0]}

        def errors(stack: dict[str, Tensor], noised: dict[str, Tensor]) -> Tensor:
            return squared_errors(lambda *asked: functional_call(self._network, stack, asked), **noised)

        found: Tensor = vmap(errors)(self._stacked(), stacked)
        return found


def kind_of(trainer: Trainer) -> dict[str, Any]:
    """What trainings that are done as one have in common, by names in the plural."""
    network = trainer.network
    shapes = {name: tuple(value.shape) for name, value in (*network.named_parameters(), *network.named_buffers())}
    return {
        "classes": type(network),
        "builds": {name: value for name, value in getattr(network, "config", {}).items() if name != "seed"},
        "schedules": network.schedule.config,
        "weights": shapes,
        "kinds of labels": trainer.labels is None,
        "numbers of points": len(trainer.train),
        "recipes": replace(trainer.recipe, seed=0),
        "devices": trainer.device,
        "numbers of epochs behind them": trainer.epoch,
    }
