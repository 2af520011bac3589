"""Progressive discriminators of CoordConv residual blocks (Liu et al. 2018; pi-GAN, Chan et al. 2021, supplement)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class CoordConv2d(nn.Conv2d):
    """A convolution that also sees column and row coordinates in [-1,1], as its last two input channels."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels_in + 2, channels_out, size, stride=stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        # The coordinates' share is the same for all images: once is enough, and x keeps its well-aligned channel count.
        height, width = x.shape[-2:]
        rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype).view(1, 1, height, 1)
        columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).view(1, 1, 1, width)
        place = torch.cat((columns.expand(1, 1, height, width), rows.expand(1, 1, height, width)), 1)
        image, coordinates = self.weight.split([x.shape[1], 2], 1)
        shift = F.conv2d(place, coordinates, self.bias, self.stride, self.padding)
        return F.conv2d(x, image, None, self.stride, self.padding) + shift


class ResidualBlock(nn.Module):
    """Halves the image: two 3x3 convolutions with LReLU 0.2 beside a 1x1 skip, sum / sqrt(2).

    ``pool``: average pooling of both branches, the skip is projected only where the widths differ. Otherwise the second
    convolution has stride 2 and the skip is always projected, with stride 2.
    """

    def __init__(self, channels_in: int, channels_out: int, *, pool: bool, coordinates: bool) -> None:
        super().__init__()
        conv = CoordConv2d if coordinates else nn.Conv2d
        self.first = conv(channels_in, channels_out, 3, padding=1)
        self.second = conv(channels_out, channels_out, 3, padding=1, stride=1 if pool else 2)
        self.pool = pool
        project = not pool or channels_in != channels_out
        self.skip = nn.Conv2d(channels_in, channels_out, 1, stride=1 if pool else 2) if project else None
        if not pool:
            for layer in (self.first, self.second):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE, mode="fan_in", nonlinearity="leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.first(x), SLOPE)
        y = F.leaky_relu(self.second(y), SLOPE)
        if self.pool:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        if self.skip is not None:
            x = self.skip(x)
        return (x + y) / math.sqrt(2)


class ProgressiveDiscriminator(nn.Module):
    """Image [B,3,R,R] in [-1,1] -> [B,outputs] for any R of ``widths`` (resolution -> channels), down to 2x2.

    ``alpha`` fades a resolution in: after its first block, alpha * features + (1 - alpha) * from_rgb(half-size image).
    ``minibatch_groups`` > 0 adds the deviation over groups of that many images as one channel (0 in pi-GAN).
    """

    def __init__(
        self,
        widths: Mapping[int, int],
        *,
        outputs: int = 1,
        pool: bool = True,
        coordinates: bool = True,
        minibatch_groups: int = 0,
    ) -> None:
        super().__init__()
        sizes = sorted(widths, reverse=True)
        expected = [2**k for k in range(int(math.log2(sizes[0])), 0, -1)]
        if sizes != expected:
            raise ValueError(f"widths must name every resolution {expected}, got {sizes}")
        self.sizes = sizes
        self.from_rgb = nn.ModuleDict({str(size): nn.Conv2d(3, widths[size], 1) for size in sizes})
        self.blocks = nn.ModuleDict(
            {
                str(a): ResidualBlock(widths[a], widths[b], pool=pool, coordinates=coordinates)
                for a, b in itertools.pairwise(sizes)
            }
        )
        self.minibatch_groups = minibatch_groups
        self.final = nn.Conv2d(widths[2] + (minibatch_groups > 0), outputs, 2)

    def _entry(self, image: Tensor) -> Tensor:
        return F.leaky_relu(self.from_rgb[str(image.shape[-1])](image), SLOPE)

    def forward(self, image: Tensor, alpha: float = 1.0) -> Tensor:
        size = image.shape[-1]
        if size not in self.sizes[:-1]:
            raise ValueError(f"no entry for images of {size} pixels, only {self.sizes[:-1]}")
        x = self._entry(image)
        for k in self.sizes[self.sizes.index(size) : -1]:
            x = self.blocks[str(k)](x)
            if k == size and alpha < 1:
                half = F.interpolate(image, scale_factor=0.5, mode="nearest")
                x = alpha * x + (1 - alpha) * self._entry(half)
        if self.minibatch_groups:
            x = torch.cat((x, self._deviation(x)), 1)
        return self.final(x).flatten(1).float()

    def _deviation(self, x: Tensor) -> Tensor:
        """Deviation within a group of consecutive images, averaged over features in float32: one constant channel."""
        groups = math.gcd(self.minibatch_groups, len(x))
        grouped = x.float().view(-1, groups, *x.shape[1:])
        spread = (grouped.var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        return spread.repeat_interleave(groups).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:]).to(x.dtype)
