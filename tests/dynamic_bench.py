"""Small dynamic discriminators for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods.blocks.dynamic_discriminator import DynamicDiscriminator
from methods.blocks.dynamic_width import DynamicWidth, WidthOptions
from methods.blocks.style_options import StyleOptions

SMALL = StyleOptions(z_dim=8, w_dim=8, mapping_layers=1, channel_base=256, channel_max=16, mbstd_group=4)
"""At 32 pixels 8, 16, 16 and 16 channels at 32, 16, 8 and 4."""
MICRO = StyleOptions(z_dim=64, w_dim=64, mapping_layers=2, channel_base=1024, channel_max=64, mbstd_group=4)
"""The widths of the micro preset: 32, 64, 64, 64."""


def judge(
    ratio: float = 1.0, options: StyleOptions = SMALL, resolution: int = 32, seed: int = 0, **width: Any
) -> DynamicDiscriminator:
    """A discriminator held at ``ratio``, with biases that are not zero."""
    chosen = WidthOptions(r_start=ratio, r_end=ratio, **width)
    generator = torch.Generator().manual_seed(seed)
    made = DynamicDiscriminator(options, resolution, generator, width=chosen, seed=seed)
    with torch.no_grad():
        for _, layer in made.layers:
            if layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)
    return made


def width_of(network: DynamicDiscriminator) -> DynamicWidth:
    """Its width, which every network of these tests has."""
    assert network.width is not None
    return network.width


def noise(n: int = 8, resolution: int = 32, seed: int = 1) -> Tensor:
    """White images [N,3,R,R]."""
    return torch.randn(n, 3, resolution, resolution, generator=torch.Generator().manual_seed(seed))


def gradients(network: DynamicDiscriminator, images: Tensor) -> dict[str, Tensor]:
    """Gradients of the summed squared logits by every parameter."""
    network.zero_grad(set_to_none=True)
    network(images).square().sum().backward()
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad
    return found
