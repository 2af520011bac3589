"""Sizes of the inverse renderer's networks and its perceptual features."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.types import ConfigError, MissingAsset
from methods.blocks import inverse_losses
from methods.blocks.inverse_losses import PerceptualFeatures, smoothness
from methods.blocks.inverse_networks import InverseNetworks, InverseSizes


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes() -> None:
    with torch.device("meta"):
        networks = InverseNetworks(InverseSizes())
    millions = {name: _count(net) / 1e6 for name, net in networks.named_children()}
    published = {"depth": 12.98, "albedo": 12.98, "light": 1.74, "view": 1.74, "confidence": 7.68}
    assert millions == pytest.approx(published, abs=0.006)
    assert _count(networks) == pytest.approx(37.12e6, rel=1e-3)


def test_small_sizes() -> None:
    with torch.device("meta"):
        networks = InverseNetworks(InverseSizes(32, 16, 64, 16))
    assert _count(networks) == 1_044_800


@pytest.mark.parametrize("size", [16, 32, 64])
def test_shapes_ranges_and_groups_of_four(size: int) -> None:
    networks = InverseNetworks(InverseSizes(size, 8, 16, 8))
    images = torch.rand(2, 3, size, size) * 2 - 1
    assert networks.depth(images).shape == (2, 1, size, size)
    assert networks.albedo(images).shape == (2, 3, size, size)
    assert networks.light(images).shape == (2, 4)
    assert networks.view(images).shape == (2, 6)
    assert networks.view(images).abs().max() < 1
    fine, coarse = networks.confidence(images)
    assert fine.shape == (2, 2, size, size)
    assert coarse.shape == (2, 2, size // 4, size // 4)
    assert fine.min() > 0
    assert coarse.min() > 0
    groups = [layer for layer in networks.modules() if isinstance(layer, nn.GroupNorm)]
    assert groups
    assert all(layer.num_channels == 4 * layer.num_groups for layer in groups)
    convolutions = [m for m in networks.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert all(layer.bias is None for layer in convolutions)


@pytest.mark.parametrize("sizes", [(48, 16), (8, 16), (32, 6), (32, 0)])
def test_sizes_that_cannot_be_built_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"power of two|multiple of 4"):
        InverseSizes(*sizes)


def test_the_untrained_features_are_frozen_and_the_same_every_time() -> None:
    before = torch.get_rng_state()
    first, second = PerceptualFeatures("random"), PerceptualFeatures("random").train()
    assert torch.equal(before, torch.get_rng_state())
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    assert first(images).shape == (2, 48, 8, 8)
    torch.testing.assert_close(first(images), second.eval()(images))
    assert not any(parameter.requires_grad for parameter in first.parameters())
    (gradient,) = torch.autograd.grad(first(images).sum(), images)
    assert gradient.abs().max() > 0


def test_the_published_features_need_their_file(tmp_path: Path) -> None:
    with pytest.raises(MissingAsset, match="vgg16"):
        PerceptualFeatures("vgg16", tmp_path)
    with pytest.raises(ConfigError, match="unknown feature space"):
        PerceptualFeatures("vgg19")  # type: ignore[arg-type]


def test_the_published_features_are_the_third_rectifier_of_the_third_block(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = [3, 64, 64, "pool", 128, 128, "pool", 256, 256, 256]
    state, layer, last, generator = {"classifier.6.bias": torch.zeros(1000)}, 0, 3, torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images / 2 + 0.5 - mean[:, None, None]) / deviation[:, None, None]
    for width in widths[1:]:
        if not isinstance(width, int):
            layer, expected = layer + 1, nn.functional.max_pool2d(expected, 2)
            continue
        weight = torch.randn(width, last, 3, 3, generator=generator) / (3 * last**0.5)
        state |= {f"features.{layer}.weight": weight, f"features.{layer}.bias": torch.full((width,), 0.1)}
        expected = nn.functional.conv2d(expected, weight, torch.full((width,), 0.1), padding=1).relu()
        layer, last = layer + 2, width
    buffer = io.BytesIO()
    torch.save(state, buffer)
    monkeypatch.setattr(inverse_losses, "read_weights", lambda wanted, place: buffer.getvalue())
    found = PerceptualFeatures("vgg16")(images)
    assert found.shape == (1, 256, 4, 4)
    torch.testing.assert_close(found, expected)


def test_smoothness_counts_both_directions_in_units_of_the_range() -> None:
    ramp = torch.arange(4.0).expand(1, 4, 4)
    assert float(smoothness(ramp, 2.0)) == pytest.approx(0.5)
    assert float(smoothness(ramp + 3 * ramp.transpose(1, 2), 1.0)) == pytest.approx(4.0)
