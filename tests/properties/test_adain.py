"""Laws of adaptive instance normalisation."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.adain import adain, adain_leaky_relu


@st.composite
def features(draw: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Features [N,C,...] in two or three dimensions with scale and bias."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)), *[4] * draw(st.sampled_from([2, 3])))
    x = torch.randn(shape, generator=g) * draw(st.floats(0.1, 10)) + draw(st.floats(-10, 10))
    return x, torch.randn(shape[:2], generator=g), torch.randn(shape[:2], generator=g)


@given(features())
@settings(deadline=None, max_examples=40)
def test_mean_is_the_bias_and_deviation_the_scale(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, scale, bias = inputs
    y = adain(x, scale, bias, 1e-8).flatten(2)
    torch.testing.assert_close(y.mean(2), bias, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(y.std(2, correction=0), scale.abs(), atol=1e-3, rtol=1e-3)


@given(features(), st.floats(0.2, 5), st.floats(-5, 5))
@settings(deadline=None, max_examples=40)
def test_blind_to_gain_and_offset(inputs: tuple[Tensor, Tensor, Tensor], gain: float, offset: float) -> None:
    x, scale, bias = inputs
    for function in (adain, adain_leaky_relu):
        before, after = (function(v, scale, bias, eps=1e-8) for v in (x, gain * x + offset))
        torch.testing.assert_close(after, before, atol=5e-3, rtol=1e-3)


@given(features())
@settings(deadline=None, max_examples=20)
def test_a_constant_input_becomes_the_bias(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, scale, bias = inputs
    y = adain(torch.full_like(x, 3.0), scale, bias)
    assert torch.equal(y, bias.view(*bias.shape, *[1] * (x.dim() - 2)).expand_as(y))


@given(features())
@settings(deadline=None, max_examples=30)
def test_fused_is_the_plain_form(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, scale, bias = inputs
    plain = torch.nn.functional.leaky_relu(adain(x, scale, bias), 0.2)
    torch.testing.assert_close(adain_leaky_relu(x, scale, bias), plain, atol=1e-3, rtol=1e-3)


@given(features())
@settings(deadline=None, max_examples=20)
def test_gradient_is_orthogonal_to_what_the_norm_ignores(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    x, scale, bias = inputs
    x = x.clone().requires_grad_()
    y = adain_leaky_relu(x, scale, bias)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    gradient = x.grad.flatten(2)
    size = gradient.abs().sum(2) + 1e-3
    # Offsets of the input change nothing, so the gradient sums to zero over space.
    assert (gradient.sum(2).abs() / size).max() < 1e-3
