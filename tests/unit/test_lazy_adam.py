"""The lazy correction of Adam at its published values, and the cleaning of gradients."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from methods.blocks.lazy_adam import clean_gradients, lazy_adam


@pytest.mark.parametrize(
    ("interval", "rate", "beta2"), [(4, 0.002, 0.99199), (16, 0.002352941, 0.99059), (0, 0.0025, 0.99)]
)
def test_values_of_the_published_configuration(interval: int, rate: float, beta2: float) -> None:
    (group,) = lazy_adam([nn.Parameter(torch.zeros(2))], 0.0025, interval).param_groups
    assert group["lr"] == pytest.approx(rate, rel=1e-6)
    assert group["betas"][0] == 0.0
    assert group["betas"][1] == pytest.approx(beta2, abs=1e-5)
    assert group["eps"] == 1e-8


@pytest.mark.parametrize("interval", [1, 4, 16])
def test_a_period_forgets_and_moves_as_much_as_without_the_extra_step(interval: int) -> None:
    (group,) = lazy_adam([nn.Parameter(torch.zeros(1))], 0.01, interval, betas=(0.5, 0.99)).param_groups
    assert (interval + 1) * group["lr"] == pytest.approx(interval * 0.01)
    for beta, plain in zip(group["betas"], (0.5, 0.99), strict=True):
        assert beta ** (interval + 1) == pytest.approx(plain**interval)


def test_refuses_a_negative_interval() -> None:
    with pytest.raises(ValueError, match="interval"):
        lazy_adam([nn.Parameter(torch.zeros(1))], 0.01, -1)


def test_cleaning_touches_nothing_but_what_is_not_finite() -> None:
    clean, dirty, absent = (nn.Parameter(torch.zeros(4)) for _ in range(3))
    clean.grad = torch.tensor([1e30, -3.0, 0.0, 1e-30])
    dirty.grad = torch.tensor([math.nan, math.inf, -math.inf, 2.0])
    before = clean.grad.clone()
    clean_gradients([clean, dirty, absent])
    assert torch.equal(clean.grad, before)
    assert dirty.grad.tolist() == [0.0, 1e5, -1e5, 2.0]
    assert absent.grad is None


@pytest.mark.parametrize("fused", [True, False])
def test_a_loaded_state_continues_bit_for_bit_in_any_layout(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(8, 4, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last)
    steps = [torch.randn(8, 4, 3, 3, generator=generator) for _ in range(4)]
    one, two = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    first, second = (lazy_adam([p], 0.01, 4, fused=fused) for p in (one, two))
    _walk(one, first, steps[:2])
    with torch.no_grad():
        two.copy_(one)
    state = copy.deepcopy(first.state_dict())
    for values in state["state"].values():  # as a file gives them back
        values.update({key: values[key].contiguous() for key in ("exp_avg", "exp_avg_sq")})
    second.load_state_dict(state)
    _walk(one, first, steps[2:])
    _walk(two, second, steps[2:])
    assert torch.equal(one, two)


def test_fused_and_foreach_take_the_same_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    start, steps = torch.randn(5, 3, generator=generator), [torch.randn(5, 3, generator=generator) for _ in range(5)]
    one, two = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    _walk(one, lazy_adam([one], 0.01, 16, fused=True), steps)
    _walk(two, lazy_adam([two], 0.01, 16, fused=False), steps)
    torch.testing.assert_close(one, two)


def _walk(parameter: nn.Parameter, optimiser: torch.optim.Optimizer, gradients: list[torch.Tensor]) -> None:
    for gradient in gradients:
        parameter.grad = gradient.clone(memory_format=torch.preserve_format).contiguous(
            memory_format=torch.channels_last if gradient.dim() == 4 else torch.contiguous_format
        )
        optimiser.step()
