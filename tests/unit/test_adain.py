"""AdaIN against its definition, and the fused form against autograd through the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.adain import StyledNorm, adain, adain_leaky_relu


def _inputs(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = (torch.randn(shape, generator=g) * 2 + 0.5).to(dtype)
    style = [torch.randn(shape[:2], generator=g) for _ in range(2)]
    return [t.requires_grad_() for t in (x, *style)]


@pytest.mark.parametrize("shape", [(2, 5, 4, 4, 4), (3, 4, 6, 5)])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("last", [False, True])
def test_fused_value_and_gradients(shape: tuple[int, ...], slope: float, last: bool) -> None:
    ours, theirs = _inputs(shape), _inputs(shape)
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    x = ours[0].contiguous(memory_format=layout) if last else ours[0]
    fused = adain_leaky_relu(x, ours[1], ours[2], slope)
    plain = F.leaky_relu(adain(*theirs), slope)
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    (fused * weights).sum().backward()
    (plain * weights).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-4, rtol=1e-4)


def test_fused_keeps_bf16_and_takes_statistics_in_fp32() -> None:
    x, scale, bias = _inputs((2, 3, 16, 16), dtype=torch.bfloat16)
    y = adain_leaky_relu(x, scale, bias)
    assert y.dtype == torch.bfloat16
    expected = F.leaky_relu(adain(x.float(), scale, bias), 0.2)
    torch.testing.assert_close(y.float(), expected, atol=2e-2, rtol=1e-2)


def test_fused_ignores_autocast() -> None:
    inputs = _inputs((2, 3, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        inside = adain_leaky_relu(*inputs)
    assert torch.equal(inside, adain_leaky_relu(*inputs))


@pytest.mark.parametrize("fused", [False, True])
def test_rectified_styles_are_not_negative_and_raw_ones_start_at_one(fused: bool) -> None:
    style = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    rectified = StyledNorm(6, 5, activation="relu", fused=fused)
    assert all((part >= 0).all() for part in rectified.styles(style))
    plain = StyledNorm(6, 5, activation="none", fused=fused)
    with torch.no_grad():
        plain.mapping.weight.zero_()
        plain.mapping.bias.zero_()
    scale, bias = plain.styles(style)
    assert torch.equal(scale, torch.ones(4, 5))
    assert torch.equal(bias, torch.zeros(4, 5))


def test_both_forms_of_the_layer_agree() -> None:
    style = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    fast, slow = StyledNorm(6, 3, fused=True), StyledNorm(6, 3, fused=False)
    slow.load_state_dict(fast.state_dict())
    x = _inputs((2, 3, 4, 4, 4))[0]
    torch.testing.assert_close(fast(x, style), slow(x, style), atol=1e-5, rtol=1e-5)
