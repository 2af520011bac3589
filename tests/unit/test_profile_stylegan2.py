"""The counted work of StyleGAN2 at 256 pixels against the sum over its layers and the published size."""

from __future__ import annotations

import pytest
import torch

from harness import registry
from harness.metrics.flops import count_work
from harness.running import devices, training
from harness.types import Budget, Cell, DataSpec

SIDES = (4, 8, 16, 32, 64, 128, 256)
Z = W = 512


def width(side: int) -> int:
    return min(16384 // side, 512)


def generator_macs() -> int:
    """Mapping, styles, modulated convolutions with demodulation, the 4x4 blur after each upsampling, and to-RGB."""
    total = 8 * Z * W
    for side in SIDES:
        c, before = width(side), width(side // 2)
        if side > 4:
            total += W * before + 9 * before * c * (side // 2) ** 2 + before * c + 16 * c * side**2
        total += W * c + 9 * c * c * side**2 + c * c
        total += W * c + 3 * c * side**2
    return total


def discriminator_macs() -> int:
    """From-RGB, residual blocks with a blur before each strided layer, and the last block with the minibatch statistic.

    The blur of the shortcut has one row and column less than the picture, that of the main path one more.
    """
    total = 3 * width(256) * 256**2
    for side in reversed(SIDES[1:]):
        c, after = width(side), width(side // 2)
        total += 16 * c * (side - 1) ** 2 + c * after * (side // 2) ** 2
        total += 9 * c * c * side**2 + 16 * c * (side + 1) ** 2 + 9 * c * after * (side // 2) ** 2
    return total + 9 * 513 * 512 * 16 + 512 * 16 * 512 + 512


def test_the_counted_work_is_the_sum_over_layers_and_agrees_with_the_published_size() -> None:
    preset = registry.find("stylegan2").preset("paper") | {"batch_size": 1}
    data = DataSpec("folder/images", 256, {"train": 1})
    cell = Cell("t", "t", "stylegan2", "paper", 0, Budget("t", 1000), data, config=preset, precision="fp32")
    context = devices.make_context(cell, torch.device("cpu"), "train", 1000)
    method = training.build_method(cell, registry.load("stylegan2"), context)
    latents = method.latents(1, torch.Generator())  # type: ignore[attr-defined]
    generated = count_work(lambda: method.sample(latents, None)).flops / 2  # type: ignore[attr-defined]
    with torch.no_grad():
        judged = count_work(lambda: method.discriminator(torch.zeros(1, 3, 256, 256), None)).flops / 2  # type: ignore[attr-defined]
    assert generated == generator_macs()
    assert judged == discriminator_macs()
    # 15.0 and 15.6 GMAC of the official networks in this configuration.
    assert generated / 1e9 == pytest.approx(15.0, abs=0.05)
    assert judged / 1e9 == pytest.approx(15.6, abs=0.05)
