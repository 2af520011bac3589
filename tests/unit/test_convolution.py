"""SAME geometry against its definition, and folded upsampling against the two steps it replaces."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from methods.blocks.convolution import SameConv2d, SameConvTranspose, UpsampleConv, same_crop, to_channels_last


@pytest.mark.parametrize(
    ("kernel", "stride", "crop"),
    [(4, 2, (1, 1)), (4, 1, (1, 2)), (3, 2, (0, 1)), (3, 1, (1, 1)), (1, 1, (0, 0)), (5, 2, (1, 2))],
)
def test_crops_of_the_released_layers(kernel: int, stride: int, crop: tuple[int, int]) -> None:
    assert same_crop(kernel, stride) == crop


def test_a_kernel_with_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="gaps"):
        same_crop(1, 2)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (4, 1), (3, 2), (3, 1), (5, 2)])
def test_transposed_is_the_cropped_full_one(dims: int, kernel: int, stride: int) -> None:
    layer = SameConvTranspose(dims, 2, 3, kernel, stride)
    x = torch.randn(2, 2, *[4] * dims, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    assert y.shape == (2, 3, *[4 * stride] * dims)
    full = (F.conv_transpose2d if dims == 2 else F.conv_transpose3d)(x, layer.layer.weight, layer.layer.bias, stride)
    start, end = same_crop(kernel, stride)
    keep = slice(start, full.shape[-1] - end)
    torch.testing.assert_close(y, full[(slice(None), slice(None)) + (keep,) * dims], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kernel", [4, 5])
def test_strided_convolution_halves_and_pads_the_end_more(kernel: int) -> None:
    layer = SameConv2d(1, 1, kernel, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        assert layer.bias is not None
        layer.bias.zero_()
    y = layer(torch.ones(1, 1, 8, 8))
    assert y.shape == (1, 1, 4, 4)
    line = y[0, 0, 1] / kernel
    # One sample of padding at the start; at the end as many as are missing.
    assert line[0] == kernel - 1
    assert line[-1] == kernel - (kernel - 2) // 2 - (kernel - 2) % 2


@pytest.mark.parametrize("dims", [2, 3])
def test_folded_upsampling_is_exact_in_value_and_gradient(dims: int) -> None:
    folded, plain = UpsampleConv(dims, 3, 4, folded=True), UpsampleConv(dims, 3, 4, folded=False)
    plain.load_state_dict(folded.state_dict())
    x = torch.randn(2, 3, *[4] * dims, generator=torch.Generator().manual_seed(0))
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = folded(one), plain(two)
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    (a**2).sum().backward()
    (b**2).sum().backward()
    torch.testing.assert_close(one.grad, two.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(folded.layer.weight.grad, plain.layer.weight.grad, atol=1e-3, rtol=1e-4)


def test_channels_last_changes_layout_only() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(2, 2, 3))
    before = [p.detach().clone() for p in module.parameters()]
    to_channels_last(module)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
