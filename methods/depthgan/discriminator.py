"""The switchable discriminator of DepthGAN: judges RGBD, and predicts the depth of RGB alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.equalised import EqualConv2d
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_options import channels
from methods.depthgan.options import Options


class SwitchableDiscriminator(nn.Module):
    """A residual StyleGAN2 discriminator with a stem for RGB, one for depth, and a head that predicts depth.

    ``score`` takes pictures with depth [N,4,R,R] (stems added) or without [N,3,R,R] (the depth stem is not even
    applied, since its bias would reach the sum); ``depth`` looks at RGB only. With ``stems: concat4`` one stem sees
    four channels, RGB alone then stands beside a depth of 0; with ``d_input: rgb`` depth is never looked at.
    """

    def __init__(self, options: Options, resolution: int, generator: Generator) -> None:
        super().__init__()
        o = options
        self.sees_depth = o.d_input == "rgbd"
        self.joint = self.sees_depth and o.stems == "concat4"
        self.taps = o.depth_taps
        self.trunk = StyleDiscriminator(o.style, resolution, generator, image_channels=4 if self.joint else 3)
        self.depth_stem = None
        if self.sees_depth and not self.joint:
            self.depth_stem = EqualConv2d(1, channels(resolution, o.style), 1, generator, activation="lrelu")
        widths = [channels(tap, o.style) for tap in o.depth_taps]
        self.head = DepthHead(widths, o.num_bins if o.depth_target == "bins" else 1, generator)

    def features(self, images: Tensor) -> Tensor:
        """What the body starts from, [N,C,R,R], for images [N,3,R,R] or [N,4,R,R]."""
        if not self.sees_depth:
            return self.trunk.stem(images[:, :3])
        if self.joint:
            return self.trunk.stem(images if images.shape[1] == 4 else F.pad(images, (0, 0, 0, 0, 0, 1)))
        x = self.trunk.stem(images[:, :3])
        if self.depth_stem is None or images.shape[1] == 3:
            return x
        return x + self.depth_stem(images[:, 3:])

    def score(self, images: Tensor) -> Tensor:
        """Logits float32 [N] of images [N,3,R,R] or [N,4,R,R], higher for what looks real."""
        return self.trunk.body(self.features(images)).logits

    def depth(self, images: Tensor) -> Tensor:
        """Depth that the head reads off RGB [N,3,R,R]: logits float32 [N,K,R,R] of the bins, or [N,1,R,R] itself."""
        taps = self.trunk.body(self.features(images[:, :3]), taps=self.taps).taps
        made = self.head([taps[size] for size in self.taps])
        scale = images.shape[-1] // self.taps[0]
        made = made.float()
        return F.interpolate(made, scale_factor=scale, mode="bilinear", align_corners=False) if scale > 1 else made


class DepthHead(nn.Module):
    """From features of falling size to maps [N,outputs,h,w] at the first one's: up from the last, joining on the way.

    At every size a 3x3 convolution to half the width of the features there, then a residual block. The last 1x1
    convolution has an activation too, as published: logits below zero are five times smaller.
    """

    def __init__(self, widths: list[int], outputs: int, generator: Generator) -> None:
        super().__init__()
        halves = [max(1, width // 2) for width in widths]
        inputs = [below + width for below, width in zip(halves[1:], widths[:-1], strict=True)] + [widths[-1]]
        self.entries = nn.ModuleList(
            EqualConv2d(i, o, 3, generator, activation="lrelu") for i, o in zip(inputs, halves, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(half, generator) for half in halves)
        self.last = EqualConv2d(halves[0], outputs, 1, generator, activation="lrelu")

    def forward(self, features: list[Tensor]) -> Tensor:
        x: Tensor | None = None
        for level in reversed(range(len(features))):
            tap = features[level]
            if x is not None:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                tap = torch.cat((x, tap), dim=1)
            x = self.blocks[level](self.entries[level](tap))
        return self.last(x)


class ResidualBlock(nn.Module):
    """x + conv(lrelu(conv(x))) with 3x3 convolutions."""

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        self.first = EqualConv2d(width, width, 3, generator, activation="lrelu")
        self.second = EqualConv2d(width, width, 3, generator, activation="linear")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))
