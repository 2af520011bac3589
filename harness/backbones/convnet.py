"""A small convolutional feature network: three stages of two 3x3 convolutions at strides 2, 4 and 8."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (24, 48, 64)
STRIDES = (2, 4, 8)
_SEED = 0


class ConvFeatures(nn.Module):
    """Maps of the last ReLU of each stage, for images [B,3,H,W] in [-1,1] with H and W multiples of 8."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the layers' own initial weights are overwritten
            self.stages = nn.ModuleList(_stage(i, o) for i, o in pairwise((3, *WIDTHS)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)

    def forward(self, images: Tensor) -> Iterator[Tensor]:
        """Images [B,3,H,W] in [-1,1] -> maps [B,24,H/2,W/2], [B,48,H/4,W/4], [B,64,H/8,W/8], all >= 0, as asked for."""
        h = images * 0.5  # the range [0,1] around its middle
        for stage in self.stages:
            h = stage(h)
            yield h


def untrained() -> ConvFeatures:
    """The network with He-normal weights of a fixed seed; its batch norms pass everything unchanged."""
    return ConvFeatures(torch.Generator().manual_seed(_SEED)).eval()


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
