"""Laws of StyleGAN2's layers: demodulation, equalised learning rate, minibatch deviation, resampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.equalised import EqualConv2d, EqualLinear
from methods.blocks.minibatch_stddev import minibatch_stddev
from methods.blocks.modulation import demodulation, modulated_conv
from methods.blocks.resampling import conv_down, conv_up, downsample2, upsample2

SEEDS = st.integers(0, 2**31)
WIDTHS = st.integers(1, 5)
SIDES = st.integers(2, 7)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 4), WIDTHS, WIDTHS, SIDES, SIDES, st.sampled_from([1, 2]), st.booleans(), st.booleans(), SEEDS)
@settings(deadline=None, max_examples=40)
def test_scaled_activations_equal_grouped_kernels(
    n: int, inputs: int, outputs: int, height: int, width: int, up: int, demodulate: bool, folded: bool, seed: int
) -> None:
    x, weight = normal(seed, n, inputs, height, width), normal(seed + 1, outputs, inputs, 3, 3)
    styles = 1 + normal(seed + 2, n, inputs)
    shift = normal(seed + 3, 1, outputs, 1, 1)
    scaled, grouped = (
        modulated_conv(
            x,
            weight,
            styles,
            demodulate=demodulate,
            up=up,
            modulation=form,  # type: ignore[arg-type]
            folded=folded,
            gain=1.5,
            shift=shift,
        )
        for form in ("scaled", "grouped")
    )
    assert scaled.shape == (n, outputs, up * height, up * width)
    torch.testing.assert_close(scaled, grouped, atol=2e-5 * float(grouped.abs().max().clamp(min=1)), rtol=0)


@given(WIDTHS, WIDTHS, st.floats(0.1, 10), SEEDS)
@settings(deadline=None, max_examples=25)
def test_demodulation_forgets_the_scale_of_styles_and_weights(
    inputs: int, outputs: int, factor: float, seed: int
) -> None:
    x, weight = normal(seed, 2, inputs, 5, 5), normal(seed + 1, outputs, inputs, 3, 3)
    styles = normal(seed + 2, 2, inputs).sign() * (0.5 + normal(seed + 3, 2, inputs).abs())
    plain = modulated_conv(x, weight, styles)
    torch.testing.assert_close(modulated_conv(x, weight, styles * factor), plain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(modulated_conv(x, weight * factor, styles), plain, atol=1e-4, rtol=1e-4)


@given(WIDTHS, WIDTHS, SEEDS)
@settings(deadline=None, max_examples=25)
def test_the_demodulation_factor_is_that_of_every_samples_kernel(inputs: int, outputs: int, seed: int) -> None:
    weight, styles = normal(seed, outputs, inputs, 3, 3), normal(seed + 1, 3, inputs)
    kernels = weight[None] * styles[:, None, :, None, None]
    expected = (kernels.square().sum((2, 3, 4)) + 1e-8).rsqrt()
    found = demodulation(weight, styles)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(demodulation(weight, styles), found)


@given(SEEDS)
@settings(deadline=None, max_examples=5)
def test_demodulated_white_noise_has_unit_variance(seed: int) -> None:
    x, weight, styles = normal(seed, 8, 16, 32, 32), normal(seed + 1, 4, 16, 3, 3), 1 + normal(seed + 2, 8, 16)
    inside = modulated_conv(x, weight, styles)[:, :, 1:-1, 1:-1]
    assert float((inside.var((0, 2, 3)) - 1).abs().max()) < 0.1


@given(st.sampled_from([1.0, 0.01]), SEEDS)
@settings(deadline=None, max_examples=8)
def test_equalised_layers_keep_unit_variance_at_the_start(rate: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    dense = EqualLinear(256, 256, generator, rate=rate)
    assert abs(float(dense.requires_grad_(False)(normal(seed + 1, 64, 256)).var()) - 1) < 0.15
    convolution = EqualConv2d(64, 64, 3, generator)
    inside = convolution.requires_grad_(False)(normal(seed + 2, 4, 64, 12, 12))[:, :, 1:-1, 1:-1]
    assert abs(float(inside.var()) - 1) < 0.15


@given(SEEDS)
@settings(deadline=None, max_examples=8)
def test_the_rate_scales_learning_and_not_the_function(seed: int) -> None:
    slow, fast = (EqualLinear(6, 5, torch.Generator().manual_seed(seed), rate=rate) for rate in (0.01, 1.0))
    x = normal(seed + 1, 3, 6)
    torch.testing.assert_close(slow(x), fast(x), atol=1e-5, rtol=1e-4)
    for layer in (slow, fast):
        layer(x).sum().backward()
        layer.weight.data -= layer.weight.grad / layer.weight.grad.abs()
    moved = [(layer.weight * layer.weight_gain).detach() for layer in (slow, fast)]
    start = [
        (torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)) / rate * gain)
        for rate, gain in ((0.01, slow.weight_gain), (1.0, fast.weight_gain))
    ]
    torch.testing.assert_close((moved[0] - start[0]) * 100, moved[1] - start[1], atol=1e-3, rtol=1e-3)


@given(st.integers(1, 3), st.sampled_from([1, 2, 4]), SEEDS)
@settings(deadline=None, max_examples=25)
def test_minibatch_deviation_ignores_order_in_groups_and_common_shifts(groups: int, size: int, seed: int) -> None:
    n = groups * size
    x = normal(seed, n, 3, 4, 4)
    statistic = minibatch_stddev(x, size)[:, 3]
    order = torch.arange(n).view(size, groups).flip(0).reshape(-1)
    torch.testing.assert_close(minibatch_stddev(x[order], size)[:, 3], statistic[order])
    shift = normal(seed + 1, 1, 3, 4, 4)
    torch.testing.assert_close(minibatch_stddev(x + shift, size)[:, 3], statistic, atol=1e-4, rtol=1e-4)
    assert torch.equal(statistic, statistic[:, :1, :1].expand_as(statistic))


@given(SIDES, SIDES, SEEDS)
@settings(deadline=None, max_examples=20)
def test_image_resampling_in_its_other_forms(height: int, width: int, seed: int) -> None:
    x = normal(seed, 2, 3, height, width)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(taps, taps) / 64).expand(3, 1, 4, 4)
    torch.testing.assert_close(upsample2(x), F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=3))
    large = upsample2(x)
    torch.testing.assert_close(downsample2(large), F.conv2d(large, kernel, stride=2, padding=1, groups=3))


def test_the_border_of_upsampled_ones() -> None:
    row = upsample2(torch.ones(1, 1, 4, 4))[0, 0, 0]
    torch.testing.assert_close(row, torch.tensor([0.5625, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.5625]))


@given(WIDTHS, WIDTHS, SIDES, SEEDS)
@settings(deadline=None, max_examples=25)
def test_folded_kernels_are_the_same_convolutions(inputs: int, outputs: int, side: int, seed: int) -> None:
    x, weight = normal(seed, 2, inputs, 2 * side, 2 * side), normal(seed + 1, outputs, inputs, 3, 3)
    torch.testing.assert_close(conv_up(x, weight, folded=True), conv_up(x, weight), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(conv_down(x, weight, folded=True), conv_down(x, weight), atol=1e-4, rtol=1e-4)
