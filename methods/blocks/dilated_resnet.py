"""ResNet-101 for dense prediction: torchvision's, with a deep stem, output stride 8 and a multi-grid last stage."""

from __future__ import annotations

from collections.abc import Mapping

import torchvision
from torch import Generator, Tensor, nn

from harness.backbones.published import ResNetStages

WIDTH = 2048
V1C_STEM, SSL_STEM = (32, 32, 64), (64, 64, 128)
"""Widths of the three 3x3 convolutions that replace the 7x7 one: of ResNet v1c (FST's domain adaptation), and of the
semi-supervised code bases (U2PL, section 3.1)."""


def dilated_resnet101(
    stem: tuple[int, int, int], grids: tuple[int, int, int], ceil_mode: bool, generator: Generator
) -> ResNetStages:
    """The encoder: maps of 256, 512, 1024, 2048 channels at strides 4, 8, 8, 8.

    Stages 3 and 4 trade their stride for dilation 2 and 4, from their second block on; the 3x3 convolutions of stage 4
    multiply theirs by ``grids``. ``ceil_mode`` is that of the max pooling. Initial weights: He-normal by fan-out, batch
    norms 1 and 0, but 0 at the end of each block, so that it starts as the identity.
    """
    network = torchvision.models.resnet101(replace_stride_with_dilation=[False, True, True])
    first, second, third = stem
    network.conv1 = nn.Sequential(
        nn.Conv2d(3, first, 3, 2, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, 1, 1, bias=False),
        nn.BatchNorm2d(second),
        nn.ReLU(inplace=True),
        nn.Conv2d(second, third, 3, 1, 1, bias=False),
    )
    network.bn1 = nn.BatchNorm2d(third)
    network.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=ceil_mode)
    entry = network.layer1[0]
    entry.conv1 = nn.Conv2d(third, 64, 1, bias=False)
    entry.downsample[0] = nn.Conv2d(third, 256, 1, bias=False)
    for block, grid in zip(network.layer4, grids, strict=True):
        dilation = block.conv2.dilation[0] * grid
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    encoder = ResNetStages(network)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, torchvision.models.resnet.Bottleneck):
            nn.init.zeros_(module.bn3.weight)
    return encoder


_STEM = {"0": "conv1.0", "1": "conv1.1", "3": "conv1.3", "4": "conv1.4", "6": "conv1.6", "7": "bn1"}


def resnet_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the encoder's names: v1c files number the layers of the stem as one sequence."""
    named = {}
    for key, value in state.items():
        match key.split(".", 2):
            case ["stem", place, leaf]:
                key = f"{_STEM[place]}.{leaf}"
        named[key] = value
    return named
