"""The training loop: a `Recipe` says how, a `Trainer` does it, one epoch a turn.

All that is drawn, and all that depends on the points, is worked out on the processor. The network, its gradient and its
optimiser may be on another device. So there it learns from the same numbers, and differs by rounding alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lab_utils import SEED
from lab_utils.base.arguments import check_as_many, check_points, is_number, is_whole
from lab_utils.base.devices import device_named
from lab_utils.diffusion.conditional import given, labels_for, leave_out
from lab_utils.diffusion.couplings import COUPLINGS, GIVEN, couple
from lab_utils.diffusion.denoiser import Denoiser, DenoisingModule, check_answers, check_denoiser
from lab_utils.diffusion.tail import Tail
from lab_utils.diffusion.weights import TIMESTEPS, WEIGHTS, loss_weights, timestep_probabilities

CHECKPOINTS = (200, 500, 1000)  # after which the 2023 report looked at its model, besides the last epoch


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Which paper's training is which choice of `timesteps`, `weights` and `coupling`, together with the network's
    schedule and target, stands in a table at the top of `weights`. Flow matching, for example, is
    `Recipe(weights="velocity")` for `DiffusionGenerator(schedule=flow(), target="velocity")`.

    Attributes:
        epochs: how often every point is used.
        batch_size: points in one step of the optimiser.
        learning_rate: of Adam, constant after the warm-up, so that the model of 500 epochs is also what a training
            of 500 epochs would have given …
        decay: … unless it falls to 0 along half a cosine, over all epochs (Loshchilov & Hutter 2017, eq. 5).
        warmup: steps during which the learning rate rises to its value.
        ema_decay: of the moving average of the weights, which is what samples are drawn with; in the first steps the
            average is over a tenth of the way so far.
        checkpoints: epochs whose averaged weights are kept; unless given, those of `CHECKPOINTS` that come before the
            last epoch, and the last.
        timesteps: how t is drawn, one of `TIMESTEPS`.
        weights: how much the squared error of ε at t counts, one of `WEIGHTS`: as much as if t were drawn that way; or
            as much as makes it the error of "x", "v" or the "velocity", which is then the loss that is told.
        coupling: which noise goes with which point of a batch, one of `COUPLINGS`. With another one than "independent"
            the best answer is another one, too, so `tail` and `fixed_noises` must be 0.
        noises: how often each point is noised in an epoch; so an epoch has that many times the steps.
        fixed_noises: how many pairs of a timestep and a noise each point has for good; 0 for fresh ones every time.
        tail: which share of each batch is noised up to three times as much as its timesteps say, with exact targets;
            see `tail.Tail`. The loss that is told is that of the others.
        label_dropout: of how large a share of the points the label is left out, of a network with classes; so it also
            learns the denoiser of all classes together. With 0 that one is not learnt.
        seed: of the order of the points, the timesteps and the noise.

    Raises:
        ValueError: for a number that makes no sense, named.
    """

    epochs: int = 2000
    batch_size: int = 500
    learning_rate: float = 4e-3
    decay: bool = False
    warmup: int = 200
    ema_decay: float = 0.9995
    checkpoints: tuple[int, ...] = None  # type: ignore[assignment]  # which __post_init__ turns into epochs
    timesteps: str = "uniform"
    weights: str = "uniform"
    coupling: str = "independent"
    noises: int = 1
    fixed_noises: int = 0
    tail: float = 0.0
    label_dropout: float = 0.1
    seed: int = SEED

    def __post_init__(self) -> None:
        """Check, and make NumPy's numbers Python's own."""
        least = {"epochs": 1, "batch_size": 1, "noises": 1, "warmup": 0, "fixed_noises": 0, "seed": 0}
        for name, smallest in least.items():
            if not is_whole(value := getattr(self, name), smallest):
                raise ValueError(f"{name} must be a whole number of {smallest} or more, not {value!r}")
            object.__setattr__(self, name, int(value))
        if not (is_number(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a number greater than 0, not {self.learning_rate!r}")
        if not (is_number(self.ema_decay) and 0 <= self.ema_decay < 1):
            raise ValueError(f"ema_decay must lie in [0, 1); got {self.ema_decay!r}")
        if not (is_number(self.tail) and 0 <= self.tail < 1):
            raise ValueError(f"tail must lie in [0, 1), a share of each batch; got {self.tail!r}")
        if not (is_number(self.label_dropout) and 0 <= self.label_dropout < 1):
            raise ValueError(f"label_dropout must lie in [0, 1), a share of the points; got {self.label_dropout!r}")
        if not isinstance(self.decay, bool):
            raise ValueError(f"decay must be True or False, not {self.decay!r}")
        for name, choices in {"timesteps": TIMESTEPS, "weights": WEIGHTS, "coupling": COUPLINGS}.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if self.coupling != "independent" and (self.tail or self.fixed_noises):
            raise ValueError(
                f"with coupling {self.coupling!r}, tail and fixed_noises must be 0: the exact answers of the tail are "
                f"those of independent pairs, and pairs are fresh in each epoch; got tail = {self.tail} and "
                f"fixed_noises = {self.fixed_noises}"
            )
        for name in ("learning_rate", "ema_decay", "tail", "label_dropout"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "checkpoints", self._epochs_to_keep())

    def _epochs_to_keep(self) -> tuple[int, ...]:
        if self.checkpoints is None:
            return (*(epoch for epoch in CHECKPOINTS if epoch < self.epochs), self.epochs)
        if isinstance(self.checkpoints, str) or not isinstance(self.checkpoints, Iterable):
            raise ValueError(f"checkpoints must be several epochs, such as (200, 500); got {self.checkpoints!r}")
        given = tuple(self.checkpoints)
        wrong = [epoch for epoch in given if not is_whole(epoch, 1) or not epoch <= self.epochs]
        if wrong:
            raise ValueError(f"checkpoints must lie in 1 … {self.epochs} epochs; got {wrong}")
        return tuple(int(epoch) for epoch in given)


def in_one(network: nn.Module) -> nn.Parameter:
    """All weights of `network` in one vector, of which they become views, as their gradients become of its gradient.

    The network is small: what Adam and the moving average do to a dozen tensors one by one takes as long as the
    backward pass. To one vector they do it in no time.
    """
    weights = [*network.parameters()]
    whole = nn.Parameter(parameters_to_vector(weights).detach())
    whole.grad = torch.zeros_like(whole)
    vector_to_parameters(whole, weights)
    for weight, gradient in zip(weights, whole.grad.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = gradient.view_as(weight)
    return whole


def check_trainable(network: Any) -> None:
    """Raise an error that says why a network can't be trained.

    What `Trainer` needs is an nn.Module that keeps the contract of `denoiser` and has `predict(x_t, t)`: the noise in
    (n, 2) float32 points at (n,) int64 timesteps, with its derivatives by float32 weights. `DiffusionGenerator` is one,
    and so is any `DenoisingModule`. If it has `classes`, it has `predict(x_t, t, label)`; see `conditional`. `fit`,
    which finds a training again, also asks how the network can be built again: by `config`, in words and numbers, and
    the classmethod `from_config(config)`.

    Raises:
        TypeError: something is missing.
        ValueError: its answers break a promise of the contract.
    """
    what = type(network).__name__
    base = "derive your network from DenoisingModule, and give it `predict(x_t, t)`"
    if not isinstance(network, nn.Module):
        raise TypeError(f"{what} can't be trained: it is no torch.nn.Module; {base}")
    check_denoiser(network)
    if not callable(getattr(network, "predict", None)):
        raise TypeError(f"{what} can't be trained: it has no method `predict(x_t, t)`; {base}")
    if not (types := {weight.dtype for weight in network.parameters()}):
        raise TypeError(f"{what} can't be trained: it has no weights")
    if types != {torch.float32}:
        raise TypeError(f"{what} can't be trained: its weights are {', '.join(map(str, types))}; they must be float32")
    check_answers(cast("Denoiser", network))
    if classes := getattr(network, "classes", ()):
        check_answers(given(network, classes[0]))


def squared_errors(
    predict: Callable[..., Tensor],
    x_t: Tensor,
    t: Tensor,
    target: Tensor,
    label: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """The simple loss (Ho et al. 2020, eq. 14) of each point, (n, 2): how far the predicted noise is from the right.

    Args:
        predict: what a network predicts of noised points, timesteps and, if it is told any, labels.
        x_t: (n, 2) noised points.
        t: (n,) int64, their timesteps.
        target: (n, 2), the right noise.
        label: (n,) int64, what is told of their classes, if anything is.
        counts: (n, 1), how much each point counts; all alike unless given.
    """
    errors = (predict(x_t, t, *([] if label is None else [label])) - target).square()
    return errors if counts is None else errors * counts


class TrainingLoop(ABC):
    """An epoch of training: of one network, see `Trainer`, or of several at once, see `together`.

    Attributes:
        recipe: how to train.
        device: where the weights are.
        weights: all weights in one vector, (W,), or of several networks, (S, W); with a gradient.
        average: their moving average, of the same shape.
        optimiser: of the weights.
    """

    recipe: Recipe
    device: torch.device
    weights: nn.Parameter
    average: nn.Parameter
    optimiser: torch.optim.Optimizer

    @property
    @abstractmethod
    def epoch(self) -> int:
        """How many epochs are done."""

    @abstractmethod
    def _batches(self) -> Sequence[Tensor]:
        """The points of an epoch, by their numbers: (n,) int64 for each step, or (S, n)."""

    @abstractmethod
    def _errors(self, batch: Tensor, far: int) -> Tensor:
        """The squared errors of a batch, (n, 2) or (S, n, 2); its first `far` points get more noise, see `tail`."""

    def _learning_rate(self, step: int, steps: int) -> float:
        rise = min(1, (step + 1) / (self.recipe.warmup + 1))
        fall = (1 + math.cos(math.pi * step / steps)) / 2 if self.recipe.decay else 1
        return self.recipe.learning_rate * rise * fall

    def _ema_decay(self, step: int) -> float:
        return min(self.recipe.ema_decay, (1 + step) / (10 + step)) if step else 0

    def _go_through(self) -> Tensor:
        """Train one epoch; give the mean loss, () float64, or that of each network, (S,)."""
        batches = self._batches()
        losses = []
        for number, batch in enumerate(batches):
            step, steps = self.epoch * len(batches) + number, self.recipe.epochs * len(batches)
            self.optimiser.param_groups[0]["lr"] = self._learning_rate(step, steps)
            points = batch.shape[-1]
            far = int(self.recipe.tail * points)  # fewer than all
            errors = self._errors(batch, far)
            cast("Tensor", self.weights.grad).zero_()
            errors.mean(dim=(-2, -1)).sum().backward()  # no network's weights touch another one's loss
            self.optimiser.step()
            with torch.no_grad():
                self.average.lerp_(self.weights, 1 - self._ema_decay(step))
            losses.append(errors.detach()[..., far:, :].mean(dim=(-2, -1)) * points)
        told = torch.stack(losses).cpu().double()  # from another device once an epoch; some have no float64
        total = torch.zeros_like(told[0])
        for loss in told:
            total += loss
        return total / sum(batch.shape[-1] for batch in batches)


class Trainer(TrainingLoop):
    """The training loop of Ho et al. 2020, algorithm 1, on (n, 2) float32 points in normalised units.

    >>> trainer = Trainer(DiffusionGenerator(schedule=sigmoid()), data.train)
    >>> for loss in trainer:          # one turn is one epoch
    ...     print(trainer.epoch, loss)

    Stop between two turns and iterate again, and it goes on with the next epoch. `averaged` is the model with the
    moving average of the weights, to sample from. `state_dict` and `load_state_dict` carry everything that the next
    epoch depends on, so a trainer that was saved and loaded goes on with the same bits.

    Args:
        network: see `check_trainable`; its weights are changed.
        train: (n, 2) float32 points.
        recipe: how to train; the original's unless given.
        labels: (n,) whole numbers, the place of each point's class in `network.classes`, if the network has classes.
        noises: (n, 2) float32, the noise that goes with each point, for good; see `reflow`. Fresh noise in each epoch
            unless given. The recipe's coupling is then "independent", and its tail and fixed_noises are 0.
        device: where the network learns, "cpu", "cuda", "mps" or "auto", see `base.devices`. It is taken there, and so
            is its average; what `state_dict` gives is on the processor.

    Raises:
        DeviceError: this machine has no such device.
        TypeError: the network lacks something that training needs; the message names it.
        ValueError: if the points are none, of another shape than (n, 2), or not float32; the labels aren't those that
            the network needs; the noises are not as many, or the recipe pairs them, too; or the network's answers break
            a promise of the contract of `denoiser`.
    """

    def __init__(
        self,
        network: DenoisingModule,
        train: Tensor,
        recipe: Recipe | None = None,
        labels: Tensor | None = None,
        *,
        noises: Tensor | None = None,
        device: str = "cpu",
    ) -> None:
        self.device = device_named(device)
        check_points(train, "training points")
        if train.dtype != torch.float32 or not len(train):
            raise ValueError(f"training points must be float32, and at least one; got {len(train)} of {train.dtype}")
        check_trainable(network)
        self.network, self.train, self.recipe = network, train, recipe or Recipe()
        self.labels = labels_for(network, labels, len(train))
        if noises is not None:
            self._check_pairs(noises)
        self.noises = noises
        network.coupling = self.recipe.coupling if noises is None else GIVEN  # whoever measures it must know
        network.to(self.device)
        self.averaged = deepcopy(network)
        self.weights, self.average = in_one(network), in_one(self.averaged)
        self.optimiser = torch.optim.Adam([self.weights], lr=self.recipe.learning_rate, fused=True)
        self.generator = torch.Generator().manual_seed(self.recipe.seed)
        self.chances = timestep_probabilities(network.schedule, self.recipe.timesteps)
        counts = loss_weights(network.schedule, self.recipe.weights)
        kept = network.schedule.alphas_cumprod.unsqueeze(1)
        self.signal, self.noise = kept.sqrt().float(), (1 - kept).sqrt().float()
        self.counts = None if self.recipe.weights == "uniform" else counts.float().unsqueeze(1)
        self.fixed = self._draw(len(train) * self.recipe.fixed_noises) if self.recipe.fixed_noises else None
        self.tail = Tail(train, self.labels)
        self.losses: list[float] = []

    def _check_pairs(self, noises: Tensor) -> None:
        check_as_many(self.train, noises, "training points", "noises")
        if noises.dtype != torch.float32:
            raise ValueError(f"the noises must be float32, as the points are; got {noises.dtype}")
        due = {"coupling": "independent", "tail": 0.0, "fixed_noises": 0}
        asked = {name: getattr(self.recipe, name) for name in due}
        wrong = [f"{name} = {value!r}" for name, value in asked.items() if value != due[name]]
        if wrong:
            raise ValueError(
                f"where each point has a noise of its own, the recipe pairs none: coupling must be 'independent', tail "
                f"and fixed_noises 0; got {', '.join(wrong)}"
            )

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    def __iter__(self) -> Iterator[float]:
        """Train epoch after epoch up to the recipe's number; give the mean loss of each."""
        while self.epoch < self.recipe.epochs:
            self.losses.append(self._train_one_epoch())
            yield self.losses[-1]

    def _train_one_epoch(self) -> float:
        return float(self._go_through())

    def _batches(self) -> Sequence[Tensor]:
        n = len(self.train)
        order = torch.cat([torch.randperm(n, generator=self.generator) for _ in range(self.recipe.noises)])
        batches: Sequence[Tensor] = order.split(self.recipe.batch_size)
        return batches

    def _draw(self, n: int) -> tuple[Tensor, Tensor]:
        """`n` timesteps, (n,), and as many noises, (n, 2)."""
        if self.recipe.timesteps == "uniform":
            t = torch.randint(0, self.network.schedule.timesteps, (n,), generator=self.generator)
        else:
            t = torch.multinomial(self.chances, n, replacement=True, generator=self.generator)
        return t, torch.randn(n, 2, generator=self.generator)

    def _errors(self, batch: Tensor, far: int) -> Tensor:
        noised = {name: part.to(self.device) for name, part in self.noised(batch, far).items()}
        return squared_errors(self.network.predict, **noised)

    def noised(self, batch: Tensor, far: int) -> dict[str, Tensor]:
        """The points of a batch, noised, as `squared_errors` takes them by name; on the processor.

        The right noise is the one that was added; of the first `far` points, which get more of it, it is the exact
        answer.

        Args:
            batch: (n,) int64, numbers of points.
            far: how many of them get more noise.
        """
        if self.fixed is None:
            t, epsilon = self._draw(len(batch))
            if self.noises is None:
                classes = None if self.labels is None else self.labels[batch]
                epsilon = couple(self.recipe.coupling, self.train[batch], epsilon, classes)
            else:
                epsilon = self.noises[batch]
        else:
            which = torch.randint(0, self.recipe.fixed_noises, (len(batch),), generator=self.generator)
            t, epsilon = (table[batch * self.recipe.fixed_noises + which] for table in self.fixed)
        signal, noise = self.signal[t], self.noise[t]
        if far:
            epsilon = torch.cat([epsilon[:far] * self.tail.spread(far, self.generator), epsilon[far:]])
        x_t = signal * self.train[batch] + noise * epsilon  # q_sample, from tables in float32
        told = self._told(batch)
        if far:
            exact = self.tail.epsilon(x_t[:far], signal[:far], noise[:far], *(label[:far] for label in told))
            epsilon = torch.cat([exact, epsilon[far:]])
        noised = {"x_t": x_t, "t": t, "target": epsilon, **({"label": told[0]} if told else {})}
        return noised if self.counts is None else {**noised, "counts": self.counts[t]}

    def _told(self, batch: Tensor) -> tuple[Tensor, ...]:
        """What the network is told besides x_t and t: the labels but for those left out, (n,), or nothing."""
        if self.labels is None:
            return ()
        return (leave_out(self.labels[batch], self.recipe.label_dropout, self.generator),)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on."""
        adam: dict[str, Tensor] = self.optimiser.state[self.weights]
        return {
            "weights": self.weights.detach().cpu(),
            "average": self.average.detach().cpu(),
            **{f"adam: {name}": tensor.cpu() for name, tensor in adam.items()},
            "generator": self.generator.get_state(),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a state that `state_dict` gave, of a trainer with the same network, points and recipe."""
        with torch.no_grad():
            self.weights.copy_(state["weights"])
            self.average.copy_(state["average"])
        self.optimiser.state[self.weights] = {
            name.removeprefix("adam: "): tensor.to(self.device, copy=True)
            for name, tensor in state.items()
            if name.startswith("adam: ")
        }
        self.generator.set_state(state["generator"])
        self.losses = state["losses"].tolist()
