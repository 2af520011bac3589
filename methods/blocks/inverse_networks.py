"""The five networks of the inverse renderer (Unsup3D, Wu et al. 2020), for square images of any power of two from 16.

Nothing has a bias and initial weights are the framework's. At 64 pixels, width 64 and bottlenecks 256 and 128 they are
the published ones, 37.12 M parameters; smaller images take one level less, always 4 channels to a normalisation group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.types import ConfigError

GROUP = 4
SLOPE = 0.2


@dataclass(frozen=True)
class InverseSizes:
    """Sizes of the networks: side of the images ``size``, ``width`` and ``bottleneck`` of depth and albedo (confidence
    has the same width and half the bottleneck), ``encoder_width`` of light and view.

    Raises ConfigError for sides that are no power of two from 16 and widths that are no multiple of 4.
    """

    size: int = 64
    width: int = 64
    bottleneck: int = 256
    encoder_width: int = 32

    def __post_init__(self) -> None:
        if self.size < 16 or self.size & (self.size - 1):
            raise ConfigError(f"size {self.size} is no power of two from 16", where="inverse renderer")
        if self.width < GROUP or self.width % GROUP:
            raise ConfigError(f"width {self.width} is no positive multiple of {GROUP}", where="inverse renderer")

    @property
    def levels(self) -> int:
        """Halvings between the image and the 4x4 grid."""
        return self.size.bit_length() - 3


class InverseNetworks(nn.Module):
    """Depth, albedo, light, view and confidence of images [B,3,S,S] in [-1,1]; each network reads the image alone."""

    def __init__(self, sizes: InverseSizes) -> None:
        super().__init__()
        self.depth = EncoderDecoder(sizes, 1)
        self.albedo = EncoderDecoder(sizes, 3)
        self.light = Encoder(sizes.levels, sizes.encoder_width, 4)
        self.view = Encoder(sizes.levels, sizes.encoder_width, 6)
        self.confidence = ConfidenceNetwork(sizes)


class EncoderDecoder(nn.Module):
    """Images [B,3,S,S] -> raw maps fp32 [B,outputs,S,S]; the last layer runs in fp32, as normals need it."""

    def __init__(self, sizes: InverseSizes, outputs: int) -> None:
        super().__init__()
        widths = _widths(sizes)
        layers = [*_contracting(sizes), *_up(sizes.bottleneck, widths[-1], first=True), *_conv(widths[-1], widths[-1])]
        for above, below in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [*_up(above, below), *_conv(below, below, normalised=True)]
        narrow = widths[0]
        layers += [nn.Upsample(scale_factor=2.0, mode="nearest"), *_conv(narrow, narrow, normalised=True)]
        self.layers = nn.Sequential(*layers, *_conv(narrow, narrow, 5, normalised=True))
        self.output = nn.Conv2d(narrow, outputs, 5, padding=2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        h = self.layers(images)
        with torch.autocast(h.device.type, enabled=False):
            return self.output(h.float())


class Encoder(nn.Module):
    """Images [B,3,S,S] -> numbers [B,outputs] in (-1,1)."""

    def __init__(self, levels: int, width: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for level in range(levels):
            layers += [nn.Conv2d(inputs, width << level, 4, 2, 1, bias=False), nn.ReLU(inplace=True)]
            inputs = width << level
        hidden = 8 * width
        layers += [nn.Conv2d(inputs, hidden, 4, bias=False), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(hidden, outputs, 1, bias=False), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten(1).float()


class ConfidenceNetwork(nn.Module):
    """Images [B,3,S,S] -> scales > 0 of the L1 [B,2,S,S] and of the perceptual term [B,2,S/4,S/4]: direct, mirrored."""

    def __init__(self, sizes: InverseSizes) -> None:
        super().__init__()
        widths = _widths(sizes)
        bottleneck = sizes.bottleneck // 2
        trunk = [*_contracting(sizes, bottleneck), *_up(bottleneck, widths[-1], first=True)]
        # Two transposed convolutions lie between the coarse maps, at a quarter of the side, and the image's grid.
        for above, below in zip(widths[:1:-1], widths[-2:0:-1], strict=True):
            trunk += _up(above, below)
        middle, narrow = widths[1], widths[0]
        self.trunk = nn.Sequential(*trunk)
        self.fine = nn.Sequential(
            *_up(middle, narrow), *_up(narrow, narrow), nn.Conv2d(narrow, 2, 5, padding=2, bias=False)
        )
        self.coarse = nn.Conv2d(middle, 2, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(images)
        return F.softplus(self.fine(h).float()), F.softplus(self.coarse(h).float())


def _widths(sizes: InverseSizes) -> tuple[int, ...]:
    return tuple(sizes.width << level for level in range(sizes.levels))


def _contracting(sizes: InverseSizes, bottleneck: int = 0) -> list[nn.Module]:
    """Image -> bottleneck [B,Z,1,1]; the last of the strided convolutions is not normalised."""
    layers: list[nn.Module] = []
    inputs = 3
    for level, width in enumerate(_widths(sizes)):
        layers.append(nn.Conv2d(inputs, width, 4, 2, 1, bias=False))
        layers += [_norm(width)] if level < sizes.levels - 1 else []
        layers.append(nn.LeakyReLU(SLOPE, inplace=True))
        inputs = width
    return [*layers, nn.Conv2d(inputs, bottleneck or sizes.bottleneck, 4, bias=False), nn.ReLU(inplace=True)]


def _up(inputs: int, outputs: int, *, first: bool = False) -> list[nn.Module]:
    """Transposed convolution: from 1x1 to 4x4 (``first``, not normalised), or to twice the side."""
    if first:
        return [nn.ConvTranspose2d(inputs, outputs, 4, bias=False), nn.ReLU(inplace=True)]
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), _norm(outputs), nn.ReLU(inplace=True)]


def _conv(inputs: int, outputs: int, kernel: int = 3, *, normalised: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, *([_norm(outputs)] if normalised else []), nn.ReLU(inplace=True)]


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(width // GROUP, width)
