"""Rates as a function of the step, and who learns at which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from methods.blocks.segmentation_optimiser import OptimiserOptions, make_optimiser, rate_factor, set_rates


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        return self.head.parameters()


def _options(kind: str = "adamw") -> OptimiserOptions:
    return OptimiserOptions(kind, 0.1, 10.0, 0.01, 0.9, 4, 1.0)  # type: ignore[arg-type]


def test_rates_rise_then_fall_to_zero() -> None:
    assert [rate_factor(step, 100, 4, 1.0) for step in range(4)] == pytest.approx([0.25, 0.5 * 0.99, 0.75 * 0.98, 0.97])
    assert rate_factor(50, 100, 4, 1.0) == pytest.approx(0.5)
    assert rate_factor(50, 100, 0, 0.9) == pytest.approx(0.5**0.9)
    assert rate_factor(0, 100, 0, 0.9) == 1.0
    assert rate_factor(100, 100, 4, 0.9) == rate_factor(110, 100, 4, 0.9) == 0.0


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_head_and_norms_have_their_own_settings(kind: str) -> None:
    network = _Network()
    optimiser = make_optimiser(network, _options(kind))
    set_rates(optimiser, 0.02)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for p in g["params"]}
    assert len(found) == 6
    assert found[id(network.head.weight)] == pytest.approx((0.2, 0.01))
    assert found[id(network.encoder[0].weight)] == pytest.approx((0.02, 0.01))
    assert found[id(network.encoder[1].weight)] == pytest.approx((0.02, 0.0))


def test_sgd_has_its_momentum() -> None:
    assert all(g["momentum"] == 0.9 for g in make_optimiser(_Network(), _options("sgd")).param_groups)
