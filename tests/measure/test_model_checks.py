"""The checks pass a sound model and each finds the mistake that it is there for."""

import pytest
import torch
from torch import nn

from lab_utils.diffusion.network import DiffusionGenerator
from lab_utils.diffusion.schedules import linear, sigmoid
from lab_utils.measure.model_checks import CHECKS, Finding


class _TimeIgnored(DiffusionGenerator):
    def forward(self, x_t, t):
        return super().forward(x_t, torch.full_like(t, 500))


class _AxisIgnored(DiffusionGenerator):
    def forward(self, x_t, t):
        return super().forward(x_t * torch.tensor([0.0, 1.0]), t)


class _RowsMixed(DiffusionGenerator):
    def forward(self, x_t, t):
        return super().forward(x_t + 1e-2 * x_t.mean(dim=0), t)


class _DeadGradients(DiffusionGenerator):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        nn.init.constant_(self.layers[1].bias, -1000.0)


class _FrozenAtZero(DiffusionGenerator):
    def forward(self, x_t, t):
        return 0 * super().forward(x_t, t)


BROKEN = [
    (_TimeIgnored, "time"),
    (_AxisIgnored, "axes"),
    (_RowsMixed, "rows"),
    (_DeadGradients, "gradients"),
    (_FrozenAtZero, "noise"),
]


@pytest.mark.parametrize("schedule", [linear(), sigmoid()], ids=lambda s: s.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_sound_model_passes_every_check(schedule, seed):
    model = DiffusionGenerator(schedule=schedule, seed=seed)
    assert all(check(model).sound for check in CHECKS.values())


def test_a_trained_model_passes_every_check():
    model = DiffusionGenerator(schedule=sigmoid())
    nn.init.normal_(model.leave.weight, std=0.3)  # as good as trained, for these checks: no weight is 0 any more
    assert all(check(model).sound for check in CHECKS.values())


@pytest.mark.parametrize(("kind", "check"), BROKEN, ids=[check for _, check in BROKEN])
def test_a_broken_model_passes_the_shape_check_and_fails_its_own(kind, check):
    model = kind(schedule=sigmoid())
    assert CHECKS["shape"](model).sound
    assert not CHECKS[check](model).sound


def test_a_model_of_another_shape_fails_the_shape_check():
    class OneColumn(DiffusionGenerator):
        def forward(self, x_t, t):
            return super().forward(x_t, t)[:, :1]

    assert not CHECKS["shape"](OneColumn(schedule=linear())).sound


def test_a_check_leaves_the_model_as_it_was():
    model = DiffusionGenerator(schedule=sigmoid())
    before = [weight.clone() for weight in model.parameters()]
    for check in CHECKS.values():
        check(model)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_finding_reads_as_mark_and_number():
    assert str(Finding(0.5, True)) == "✓ 0.5"
    assert str(Finding(0.0, False)) == "✗ 0"
