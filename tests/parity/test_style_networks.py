"""StyleGAN2's layers against a slow reference: explicit zero insertion, explicit filters, one sample at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.modulation import modulated_conv
from methods.blocks.resampling import conv_down, conv_up, downsample2, upsample2
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_generator import StyleGenerator
from methods.blocks.style_options import StyleOptions

TINY = StyleOptions(z_dim=12, w_dim=10, mapping_layers=2, channel_base=96, channel_max=7, noise="const", mbstd_group=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def upfirdn(x: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 1.0) -> Tensor:
    """Insert zeros, pad, convolve with the outer product of [1,3,3,1], keep every ``down``-th sample; by loops."""
    n, c, h, w = x.shape
    before, after = pad
    canvas = x.new_zeros(n, c, h * up + before + after, w * up + before + after)
    canvas[:, :, before : before + h * up : up, before : before + w * up : up] = x
    taps = (1.0, 3.0, 3.0, 1.0)
    height, width = canvas.shape[2] - 3, canvas.shape[3] - 3
    y = x.new_zeros(n, c, height, width)
    for i, a in enumerate(taps):
        for j, b in enumerate(taps):
            y = y + a * b / 64 * gain * canvas[:, :, i : i + height, j : j + width]
    return y[:, :, ::down, ::down]


def transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Add ``weight`` [Co,Ci,3,3], scaled by each sample, at every second position: [N,Ci,H,W] to [N,Co,2H+1,2W+1]."""
    n, _, h, w = x.shape
    y = x.new_zeros(n, weight.shape[0], 2 * h + 1, 2 * w + 1)
    for i in range(3):
        for j in range(3):
            y[:, :, i : i + 2 * h : 2, j : j + 2 * w : 2] += torch.einsum("nchw,oc->nohw", x, weight[:, :, i, j])
    return y


def slow_conv_up(x: Tensor, weight: Tensor) -> Tensor:
    return upfirdn(transposed(x, weight), pad=(1, 1), gain=4.0)


def slow_conv_down(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(upfirdn(x, pad=(2, 2)), weight, stride=2)


def slow_modulated(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: int) -> Tensor:
    results = []
    for one, style in zip(x.expand(len(styles), -1, -1, -1), styles, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = one[None]
        results.append(slow_conv_up(one, kernel) if up == 2 else F.conv2d(one, kernel, padding=kernel.shape[-1] // 2))
    return torch.cat(results)


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def test_image_resampling_equals_zero_insertion_and_filter() -> None:
    x = torch.randn(2, 3, 6, 5, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(upsample2(x), upfirdn(x, up=2, pad=(2, 1), gain=4.0))
    torch.testing.assert_close(downsample2(upsample2(x)), upfirdn(upsample2(x), down=2, pad=(1, 1)))


@pytest.mark.parametrize("folded", [False, True])
def test_resampling_convolutions_equal_their_parts(folded: bool) -> None:
    x = torch.randn(2, 3, 6, 8, generator=seeded(), dtype=torch.float64)
    weight = torch.randn(5, 3, 3, 3, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(conv_up(x, weight, folded=folded), slow_conv_up(x, weight))
    torch.testing.assert_close(conv_down(x, weight, folded=folded), slow_conv_down(x, weight))


def test_upsampling_kernel_is_mirrored_seen_from_the_upsampled_map() -> None:
    x = torch.randn(1, 2, 8, 8, generator=seeded(), dtype=torch.float64)
    weight = torch.randn(3, 2, 3, 3, generator=seeded(1), dtype=torch.float64)
    inside = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    mirrored = F.conv2d(upsample2(x), weight.flip(2, 3), padding=1)
    torch.testing.assert_close(conv_up(x, weight)[inside], mirrored[inside])
    plain = F.conv2d(upsample2(x), weight, padding=1)
    assert (conv_up(x, weight) - plain)[inside].abs().max() > 0.1


def derivatives(conv, x: Tensor, weight: Tensor, styles: Tensor) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """Value, gradients, and the gradients of the squared gradients (as R1 and path lengths need them)."""
    inputs = [value.detach().requires_grad_(True) for value in (x, weight, styles)]
    y = conv(*inputs)
    target = torch.randn(y.shape, generator=seeded(9)).to(y.dtype)
    first = torch.autograd.grad((y * target).sum() + y.square().sum() / 2, inputs, create_graph=True)
    second = torch.autograd.grad(sum(slope.square().sum() for slope in first), inputs)
    return [value.detach() for value in (y, *first, *second)]


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("folded", [False, True])
def test_both_forms_of_modulation_equal_a_kernel_per_sample(up: int, demodulate: bool, folded: bool) -> None:
    x = torch.randn(3, 4, 5, 5, generator=seeded())
    weight = torch.randn(6, 4, 3, 3, generator=seeded(1)) / 6
    styles = 1 + torch.randn(3, 4, generator=seeded(2))
    truth = derivatives(
        lambda *inputs: slow_modulated(*inputs, demodulate, up), x.double(), weight.double(), styles.double()
    )
    for modulation in ("scaled", "grouped"):
        found = derivatives(
            lambda *inputs, form=modulation: modulated_conv(
                *inputs, demodulate=demodulate, up=up, modulation=form, folded=folded
            ),
            x,
            weight,
            styles,
        )
        for ours, reference in zip(found, truth, strict=True):
            assert (ours.double() - reference).abs().max() <= 1e-5 * max(1.0, float(reference.abs().max()))


def slow_style_layer(layer, x: Tensor, w: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    style = w @ layer.affine.weight.t() / math.sqrt(w.shape[1]) + layer.affine.bias
    y = slow_modulated(x, layer.weight, style, True, layer.up)
    return lrelu(y + layer.strength * layer.noise + layer.bias[:, None, None])


def slow_image(layer, x: Tensor, w: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    style = w @ layer.affine.weight.t() / math.sqrt(w.shape[1]) + layer.affine.bias
    weight = layer.weight / math.sqrt(x.shape[1])
    return slow_modulated(x, weight, style, False, 1) + layer.bias[:, None, None]


def slow_generator(network: StyleGenerator, z: Tensor, architecture: str) -> Tensor:
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for dense in network.mapping.network.layers:
        rate = 0.01
        w = lrelu(w @ (dense.weight * rate / math.sqrt(w.shape[1])).t() + dense.bias * rate)
    synthesis = network.synthesis
    x, image = slow_style_layer(synthesis.layers[0], synthesis.constant, w), None
    if architecture == "skip":
        image = slow_image(synthesis.to_images[0], x, w)
    for block in range(1, len(synthesis.layers) // 2 + 1):
        first, second = synthesis.layers[2 * block - 1], synthesis.layers[2 * block]
        y = slow_style_layer(second, slow_style_layer(first, x, w), w)
        if architecture == "resnet":
            around = F.conv2d(x, synthesis.skips[block - 1].weight / math.sqrt(x.shape[1]))
            y = (y + upfirdn(around, up=2, pad=(2, 1), gain=4.0)) / math.sqrt(2)
        x = y
        if architecture == "skip":
            assert image is not None
            image = upfirdn(image, up=2, pad=(2, 1), gain=4.0) + slow_image(synthesis.to_images[block], x, w)
    return slow_image(synthesis.to_images[-1], x, w) if image is None else image


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("modulation", ["scaled", "grouped"])
def test_generator_equals_the_reference(architecture: str, modulation: str) -> None:
    options = replace(TINY, g_architecture=architecture, modulation=modulation)
    network = StyleGenerator(options, 16, seeded()).double()
    with torch.no_grad():
        for layer in network.synthesis.layers:
            layer.strength.fill_(0.3)
            layer.bias.normal_(generator=seeded(1))
        z = torch.randn(3, 12, generator=seeded(2), dtype=torch.float64)
        # The styles are computed in fp32 whatever the weights are: a generator in fp64 would show its own rounding.
        network.float()
        found = network(z.float())
        network.double()
        torch.testing.assert_close(found.double(), slow_generator(network, z, architecture), rtol=1e-4, atol=1e-4)


def slow_deviation(x: Tensor, group: int) -> Tensor:
    n = len(x)
    result = torch.zeros(n, 1, *x.shape[2:], dtype=x.dtype)
    groups = n // group
    for g in range(groups):
        members = [g + groups * k for k in range(group)]
        mean = sum(x[m] for m in members) / group
        variance = sum((x[m] - mean).square() for m in members) / group
        result[members] = (variance + 1e-8).sqrt().mean()
    return torch.cat((x, result), 1)


def slow_discriminator(network: StyleDiscriminator, images: Tensor, architecture: str) -> Tensor:
    layers = dict(network.layers)

    def weight(name: str) -> Tensor:
        value = layers[name].weight
        return value / math.sqrt(value[0].numel())

    def bias(name: str) -> Tensor:
        return layers[name].bias[:, None, None]

    def seen(size: int) -> Tensor:
        return lrelu(F.conv2d(images, weight(f"b{size}_from_rgb")) + bias(f"b{size}_from_rgb"))

    x = seen(16)
    for size in (16, 8):
        y = lrelu(F.conv2d(x, weight(f"b{size}_conv0"), padding=1) + bias(f"b{size}_conv0"))
        y = lrelu(slow_conv_down(y, weight(f"b{size}_conv1")) + bias(f"b{size}_conv1"))
        if architecture == "resnet":
            around = F.conv2d(upfirdn(x, down=2, pad=(1, 1)), weight(f"b{size}_skip"))
            y = (y + around) / math.sqrt(2)
        x = y
        if architecture == "skip":
            images = upfirdn(images, down=2, pad=(1, 1))
            x = x + seen(size // 2)
    x = lrelu(F.conv2d(slow_deviation(x, 2), weight("b4_conv"), padding=1) + bias("b4_conv"))
    x = lrelu(x.flatten(1) @ weight("b4_fc").t() + layers["b4_fc"].bias)
    return (x @ weight("b4_out").t() + layers["b4_out"].bias)[:, 0]


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("folded", [False, True])
def test_discriminator_equals_the_reference(architecture: str, folded: bool) -> None:
    network = StyleDiscriminator(replace(TINY, d_architecture=architecture, folded=folded), 16, seeded())
    images = torch.randn(4, 3, 16, 16, generator=seeded(1))
    with torch.no_grad():
        for _, layer in network.layers:
            if layer.bias is not None:
                layer.bias.normal_(generator=seeded(3))
        found = network(images)
        torch.testing.assert_close(
            found.double(), slow_discriminator(network.double(), images.double(), architecture), rtol=1e-4, atol=1e-4
        )
