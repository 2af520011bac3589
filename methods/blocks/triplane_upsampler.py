"""Super-resolution of rendered features: two StyleGAN2 blocks driven by the last style code (EG3D, section 4.3)."""

from __future__ import annotations

from typing import Literal, cast

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.resampling import upsample2
from methods.blocks.style_options import StyleOptions
from methods.blocks.style_synthesis import StyleLayer, ToImage

LARGEST_START = 128


def start_size(resolution: int) -> int:
    """Side of what enters the blocks for images of ``resolution`` pixels: 128, or half the image where that is less.

    Raises ConfigError for images that two blocks cannot reach.
    """
    start = min(LARGEST_START, resolution // 2)
    if resolution not in (2 * start, 4 * start):
        raise ConfigError(
            f"super-resolution to {resolution} pixels",
            where="resolution",
            nearest=["256", "512"],
            remedy="Two blocks reach a power of two of at most 512.",
        )
    return start


class SuperResolution(nn.Module):
    """Features and raw image, both resized to ``start_size``, through two blocks with a skip image; no noise.

    Both blocks double the size where the image is four times the start, else only the second does.
    """

    def __init__(
        self, inputs: int, widths: tuple[int, ...], resolution: int, options: StyleOptions, generator: Generator
    ) -> None:
        super().__init__()
        self.start = start_size(resolution)
        ups: tuple[Literal[1, 2], ...] = (2 if resolution == 4 * self.start else 1, 2)
        self.layers = nn.ModuleList()
        self.to_images = nn.ModuleList()
        for width, up in zip(widths, ups, strict=True):
            # Never used here: the smallest buffer of noise there is.
            self.layers.append(StyleLayer(inputs, width, 1, options, generator, up=up))
            self.layers.append(StyleLayer(width, width, 1, options, generator, up=1))
            self.to_images.append(ToImage(width, 3, options.w_dim, generator))
            inputs = width
        for layer in self.layers:
            layer.strength.requires_grad_(False)

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """``features`` [B,C,r,r] in [-1,1], of which the first three are the raw image, and ``w`` [B,W] to fp32
        [B,3,R,R]."""
        x = _resized(features, self.start)
        image = x[:, :3]
        for block, to_image in enumerate(self.to_images):
            for layer in (self.layers[2 * block], self.layers[2 * block + 1]):
                x = layer(x, cast(StyleLayer, layer).style(w), None)
            if x.shape[-1] != image.shape[-1]:
                image = upsample2(image)
            image = image + to_image(x, cast(ToImage, to_image).style(w))
        return image


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=x.shape[-1] > size)
