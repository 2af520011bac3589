"""Learning-rate factors at their corners."""

from __future__ import annotations

import pytest
import torch

from methods.blocks.schedule import rate_factor, set_rate


def test_constant() -> None:
    assert {rate_factor(step, 10, "constant") for step in range(10)} == {1.0}


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (50, 1.0), (75, 0.5), (99, 0.02), (200, 0.02)])
def test_linear_to_zero(step: int, factor: float) -> None:
    assert rate_factor(step, 100, "linear_to_zero", hold=0.5, floor=0.02) == pytest.approx(factor)


def test_no_steps_at_all() -> None:
    assert rate_factor(0, 0, "linear_to_zero") == 1.0


def test_every_group_gets_the_rate() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimiser = torch.optim.Adam([{"params": [p]} for p in parameters], lr=1.0)
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
