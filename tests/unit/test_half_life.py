"""The half life of averaged weights, and its ramp."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.blocks.half_life import HalfLifeEma


def _live(value: float) -> nn.Linear:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
    return layer


def test_start_counts_half_after_the_half_life() -> None:
    live = _live(1.0)
    average = HalfLifeEma(live, images=320, batch_size=16)
    with torch.no_grad():
        live.weight.zero_()
    for step in range(320 // 16):
        average.update(step)
    torch.testing.assert_close(average.module.weight, torch.full((1, 2), 0.5))


def test_ramp_copies_first_and_ends_at_the_half_life() -> None:
    average = HalfLifeEma(_live(1.0), images=500_000, batch_size=64, ramp=0.05)
    assert average.weight(0) == 0.0
    # After 1000 batches half the weight lies in the last 5 % of the images seen.
    assert average.weight(1000) ** (0.05 * 1000) == pytest.approx(0.5)
    assert average.weight(10**6) == average.decay == pytest.approx(0.5 ** (64 / 500_000))


def test_no_half_life_means_no_average() -> None:
    live = _live(1.0)
    average = HalfLifeEma(live, images=0, batch_size=16)
    with torch.no_grad():
        live.weight.fill_(3.0)
    average.update(0)
    assert torch.equal(average.module.weight, live.weight)
