"""A thin U-Net that draws what another camera sees of an object, from one picture and the relative pose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.initial import initialise

POSE = 6
SLOPE = 0.2


class ViewNetwork(nn.Module):
    """Three grids of ``width``, 2 and 4 times that many channels; the pose stands beside the features of the coarsest.

    Sides of pictures must be multiples of 4. What is added to the picture starts at 0.
    """

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the layers' own initial weights are overwritten
            self.stem = nn.Conv2d(3, width, 3, padding=1)
            self.down = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
            self.bottom = nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)
            self.turn = nn.Conv2d(4 * width + POSE, 4 * width, 3, padding=1)
            self.up = nn.Conv2d(6 * width, 2 * width, 3, padding=1)
            self.top = nn.Conv2d(3 * width, width, 3, padding=1)
            self.last = nn.Conv2d(width, 3, 3, padding=1)
        initialise(self, generator, convolution="he", linear="he", slope=SLOPE)
        with torch.no_grad():
            self.last.weight.zero_()
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """What the first two layers see in images [N,3,H,W]: [N,2 width,H/2,W/2]."""
        return _act(self.down(_act(self.stem(images))))

    def forward(self, images: Tensor, pose: Tensor) -> Tensor:
        """Images [N,3,H,W] in [-1,1] and relative poses [N,6] to images [N,3,H,W]."""
        fine = _act(self.stem(images.contiguous(memory_format=torch.channels_last)))
        half = _act(self.down(fine))
        low = _act(self.bottom(half))
        beside = pose[:, :, None, None].expand(-1, -1, *low.shape[2:])
        low = _act(self.turn(torch.cat((low, beside.to(low.dtype)), dim=1)))
        half = _act(self.up(torch.cat((_grown(low), half), dim=1)))
        fine = _act(self.top(torch.cat((_grown(half), fine), dim=1)))
        return images + self.last(fine)


def _act(inputs: Tensor) -> Tensor:
    return F.leaky_relu(inputs, SLOPE)


def _grown(inputs: Tensor) -> Tensor:
    return F.interpolate(inputs, scale_factor=2.0, mode="nearest")
