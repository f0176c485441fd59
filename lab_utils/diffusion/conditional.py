"""Classes: a network that can be told which class a point is of, and the denoiser of one class that it then is.

A network with `classes` predicts with a label or without: `predict(x_t, t, label)`. The label is (1,) or (n,) int64,
the places of the points' classes in `classes`, and `NO_CLASS` where nothing is told. The network learns both at once,
because training leaves out the label of a share of the points (`Recipe.label_dropout`; Ho & Salimans 2022, algorithm
1). So one network holds the denoiser of all classes together, and that of each class.

Nothing else in the lab knows of classes. What samples, measures and writes takes a denoiser, and that of a class is
`given(network, label)`, which keeps the contract of `denoiser`. The network itself, asked as any denoiser is, is told
no class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.base.arguments import check_labels, class_number
from lab_utils.diffusion.couplings import coupling_of
from lab_utils.diffusion.denoiser import Answer, DenoisingModule, check_denoiser, one_by_one

NO_CLASS = -1


class Given(DenoisingModule):
    """A network that is always told the same class; see `given`."""

    def __init__(self, network: DenoisingModule, label: str) -> None:
        super().__init__(network.schedule)
        self.number = class_number(label, network.classes)
        self.network, self.label, self.coupling = network, label, coupling_of(network)

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise, as documented there."""
        label = torch.tensor([self.number], device=t.device)
        answer: Tensor = self.network.predict(x_t, t, label)  # type: ignore[call-arg]
        return answer

    def along(self, timesteps: Sequence[int]) -> Callable[[int], Answer]:
        """The network's own fast way with this class, `along(timesteps, label)`, where it has one."""
        own: Any = getattr(self.network, "along", None)
        way: Callable[[int], Answer] = one_by_one(self, timesteps) if own is None else own(timesteps, self.number)
        return way


def given(network: Any, label: str) -> DenoisingModule:
    """The denoiser of one class: `network`, told that every point is of that class.

    >>> model = fit(DiffusionGenerator(schedule=sigmoid(), classes=data.classes), data).model()
    >>> sample(given(model, "Africa"), 1000)

    Args:
        network: a network with classes, a `DiffusionGenerator` or a `DenoisingModule` of one's own. It is used, not
            copied.
        label: the name of the class.

    Raises:
        TypeError: it is no denoiser.
        ValueError: it knows no classes, or none of that name; the message has those that it knows.
    """
    check_denoiser(network)
    if not getattr(network, "classes", ()):
        raise ValueError(
            f"{type(network).__name__} knows no classes, so it can't be told {label!r}; train one that does: "
            "DiffusionGenerator(classes=data.classes, …)"
        )
    return Given(network, label)


def labels_for(network: Any, labels: Any, count: int) -> Tensor | None:
    """The labels of `count` training points, as a network needs them: (count,) int64, or None if it knows no classes.

    Raises:
        ValueError: it knows classes, and there are no labels or other ones; or the other way round.
    """
    classes = getattr(network, "classes", ())
    if labels is None and not classes:
        return None
    if labels is None:
        raise ValueError(
            f"the network knows the classes {', '.join(classes)}, so training needs the label of each point: "
            "labels=data.train_labels"
        )
    if not classes:
        raise ValueError(f"{type(network).__name__} knows no classes, so it can't learn from labels; leave them out")
    return check_labels(labels, count, len(classes))


def leave_out(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels, (n,) int64, of which each is `NO_CLASS` with that chance; nothing is drawn for a share of 0."""
    if not share:
        return labels
    return labels.masked_fill(torch.rand(len(labels), generator=generator) < share, NO_CLASS)
