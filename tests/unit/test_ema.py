"""Averages of weights against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.blocks.ema import Ema, decay_of_half_life


def _linear(value: float) -> nn.Linear:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
    return layer


def test_starts_as_a_copy_that_shares_nothing() -> None:
    live = _linear(1.0)
    average = Ema(live, 0.9)
    with torch.no_grad():
        live.weight.zero_()
    assert torch.equal(average.module.weight, torch.ones(2, 3))
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_geometric_sum_without_warmup() -> None:
    live = _linear(0.0)
    average = Ema(live, 0.9, warmup=0)
    with torch.no_grad():
        live.weight.fill_(1.0)
    for step in range(10):
        average.update(step)
    torch.testing.assert_close(average.module.weight, torch.full((2, 3), 1 - 0.9**10))


def test_warmup_forgets_the_start() -> None:
    live = _linear(0.0)
    average = Ema(live, 0.999, warmup=20)
    with torch.no_grad():
        live.weight.fill_(1.0)
    for step in range(100):
        average.update(step)
    assert average.module.weight.min() > 0.99
    assert average.weight(10**9) == 0.999


def test_buffers_are_copied() -> None:
    live = nn.BatchNorm1d(4)
    average = Ema(live, 0.999)
    live(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    average.update(0)
    assert torch.equal(average.module.running_mean, live.running_mean)
    assert average.module.num_batches_tracked == 1


def test_frozen_parameters_are_copied() -> None:
    live = _linear(1.0).requires_grad_(False)
    average = Ema(live, 0.999)
    live.weight.fill_(7.0)
    average.update(1000)
    assert torch.equal(average.module.weight, live.weight)


def test_round_trip_continues_the_same_sequence() -> None:
    live, again = _linear(0.0), _linear(0.0)
    first, second = Ema(live, 0.9), Ema(again, 0.9)
    with torch.no_grad():
        live.weight.fill_(2.0)
        again.weight.fill_(2.0)
    first.update(0)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update(1)
    assert torch.equal(first.module.weight, second.module.weight)


def test_half_life() -> None:
    assert decay_of_half_life(320, 32) ** 10 == pytest.approx(0.5)
    assert decay_of_half_life(0, 32) == 0.0


@pytest.mark.parametrize(("decay", "warmup"), [(1.0, 0), (-0.1, 0), (0.5, -1)])
def test_refuses_impossible_settings(decay: float, warmup: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Ema(_linear(0.0), decay, warmup)
