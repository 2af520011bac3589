"""A thin U-Net that reads depth from a picture, quick enough on one CPU core to be trained beside a generator."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.initial import initialise

SLOPE = 0.1


class DepthUnet(nn.Module):
    """U-Net without normalisation: one convolution at full resolution each way, the work is done on coarser grids.

    ``widths`` are the channels per level, the finest first; each further level halves the grid by a strided 4x4
    convolution, followed by a 3x3 one. Sides must be multiples of 2^(levels - 1). Weights are He-normal, drawn from
    ``generator``; the last layer starts at a tenth of that.
    """

    def __init__(self, widths: tuple[int, ...], outputs: int, generator: Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the layers' own initial weights are overwritten
            self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
            pairs = list(pairwise(widths))
            self.down = nn.ModuleList(_Down(above, below) for above, below in pairs)
            self.up = nn.ModuleList(nn.Conv2d(above + below, above, 3, padding=1) for above, below in pairs[::-1])
            self.head = nn.Conv2d(widths[0], outputs, 1)
        initialise(self, generator, convolution="he", linear="he", slope=SLOPE)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W] in [-1,1] -> fp32 [B,outputs,H,W]; the last layer runs in fp32, as normals need it."""
        h = _act(self.stem(images))
        skips = [h]
        for down in self.down:
            h = down(h)
            skips.append(h)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            h = _act(up(torch.cat((F.interpolate(h, scale_factor=2.0, mode="nearest"), skip), dim=1)))
        with torch.autocast(h.device.type, enabled=False):
            return self.head(h.float())


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.halve = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.refine = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return _act(self.refine(_act(self.halve(inputs))))


def _act(inputs: Tensor) -> Tensor:
    return F.leaky_relu(inputs, SLOPE)
