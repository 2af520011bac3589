"""EfficientNet-b4 as UniAD uses it: torchvision's blocks with the padding and batch norm of the published weights.

The weights were converted from TensorFlow, so that strided convolutions pad as TensorFlow's "same" does at the nominal
resolution of 380 px, whatever the input's size is, and batch norm's epsilon is 1e-3 (You et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

NOMINAL = 380
TAPS = (1, 5, 9, 21, 31)
"""Blocks whose outputs are the maps: the last ones at strides 2, 4, 8, 16, 32."""


class PaddedConv2d(nn.Conv2d):
    """A convolution that pads ``before`` and ``after`` in both axes, which may differ."""

    def __init__(self, plain: nn.Conv2d, before: int, after: int) -> None:
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size[0],
            stride=plain.stride[0],
            groups=plain.groups,
            bias=plain.bias is not None,
        )
        self.before, self.after = before, after

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.pad(images, (self.before, self.after) * 2))


class EfficientNetB4(nn.Module):
    """Stem and 32 MBConv blocks, without head and classifier."""

    def __init__(self) -> None:
        super().__init__()
        whole = torchvision.models.efficientnet_b4(norm_layer=partial(nn.BatchNorm2d, eps=1e-3))
        self.stem, *stages, _ = whole.features.children()
        self.blocks = nn.ModuleList(block for stage in stages for block in stage.children())
        layers = [self.stem, *(layer for block in self.blocks for layer in next(block.children()).children())]
        size = NOMINAL
        for layer in layers:
            size = _pad_statically(layer, size)

    def forward(self, images: Tensor) -> Iterator[Tensor]:
        """Standardised images [B,3,H,W] -> outputs of blocks ``TAPS``, no activation after the last batch norm; each
        is computed when asked for."""
        h = self.stem(images)
        for place, block in enumerate(self.blocks):
            h = block(h)
            if place in TAPS:
                yield h


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of ``size`` with which a convolution returns ceil(size / stride) values."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad_statically(layer: nn.Module, size: int) -> int:
    """Give the convolution that opens ``layer`` the padding for an input of ``size``; return the size behind it."""
    if not isinstance(layer, nn.Sequential) or not isinstance(layer[0], nn.Conv2d):
        return size
    kernel, stride = layer[0].kernel_size[0], layer[0].stride[0]
    layer[0] = PaddedConv2d(layer[0], *same_padding(size, kernel, stride))
    return math.ceil(size / stride)


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published state dict under the names of ``EfficientNetB4``; head and classifier are left out."""
    blocks: dict[str, Tensor] = {}
    expanded = {key.split(".")[1] for key in state if "._expand_conv." in key}
    for key, value in state.items():
        match key.split("."):
            case ["_conv_stem" | "_bn0" as part, leaf]:
                blocks[f"stem.{'0' if part == '_conv_stem' else '1'}.{leaf}"] = value
            case ["_blocks", place, part, leaf]:
                layer, module = _PARTS[part]
                blocks[f"blocks.{place}.block.{layer - (place not in expanded)}.{module}.{leaf}"] = value
    return blocks


_PARTS = {
    "_expand_conv": (0, "0"),
    "_bn0": (0, "1"),
    "_depthwise_conv": (1, "0"),
    "_bn1": (1, "1"),
    "_se_reduce": (2, "fc1"),
    "_se_expand": (2, "fc2"),
    "_project_conv": (3, "0"),
    "_bn2": (3, "1"),
}
"""Part of a block in the file -> layer of torchvision's block that has an expansion, and module within it."""
