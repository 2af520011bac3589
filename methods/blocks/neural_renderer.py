"""From composited features to an image by pointwise modulated layers (VolumeGAN, Xu et al. 2022, section 3.3).

A skip generator as StyleGAN2's whose convolutions are 1x1: what it adds to a pixel depends on the features that fall on
it, mixed with its neighbours' only by the x2 upsampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.equalised import SLOPE
from methods.blocks.modulated_field import ModulatedLinear
from methods.blocks.resampling import upsample2
from methods.blocks.style_synthesis import ToImage

Edge = Literal["zero", "replicate"]
COLOURS = 3


def upsampled(x: Tensor, edge: Edge) -> Tensor:
    """[N,C,H,W] at twice the size through the filter [1,3,3,1]; outside lie zeros, or the border's values."""
    if edge == "zero":
        return upsample2(x)
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class PointwiseLayer(nn.Module):
    """Modulated and demodulated 1x1 convolution, x2 upsampling where ``up``, noise (strength 0 at first), bias, leaky
    ReLU 0.2 times sqrt 2: [N,inputs,H,W] to [N,outputs,size,size]."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, size: int, w_dim: int, generator: Generator, *, up: bool, edge: Edge
    ) -> None:
        super().__init__()
        self.linear = ModulatedLinear(inputs, outputs, w_dim, generator, math.sqrt(2))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(size, size, generator=generator))
        self.up, self.edge, self.size = up, edge, size

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """``noise`` broadcasts to [N,1,size,size]; None adds none."""
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        # The bias survives the upsampling only away from a border of zeros: it is added behind it.
        y = torch.bmm(rows, self.linear.kernels(w).to(rows.dtype).transpose(1, 2))
        y = y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        if self.up:
            y = upsampled(y, self.edge)
        y = y + (self.linear.bias * self.linear.gain).to(y.dtype)[:, None, None]
        if noise is not None:
            y = y + (noise * (self.strength * self.linear.gain)).to(y.dtype)
        return F.leaky_relu_(y, SLOPE)


class NeuralRenderer(nn.Module):
    """Features [N,C,r,r] and codes [N,codes,w_dim] to images [N,3,R,R], fp32 and not clamped.

    ``widths`` maps the resolutions above r, each twice the one before, to channels. Every one has two layers, the first
    of which upsamples, and a to-RGB layer without demodulation whose result is added to the upsampled image of the
    resolution below. The start image is the first three features, or with ``learnt_start`` a to-RGB layer of all.
    Codes are counted as in StyleGAN2: resolution k (r is 0) has its layers at 2 k - 1 and 2 k, to-RGB at 2 k + 1; the
    first code is used by nothing.
    """

    def __init__(
        self,
        features: int,
        start: int,
        widths: Mapping[int, int],
        w_dim: int,
        generator: Generator,
        *,
        edge: Edge = "zero",
        learnt_start: bool = False,
    ) -> None:
        super().__init__()
        sizes = sorted(widths)
        if sizes != [start * 2 ** (k + 1) for k in range(len(sizes))]:
            raise ValueError(f"resolutions must double from {start}, got {sizes}")
        if not learnt_start and features < COLOURS:
            raise ValueError(f"the start image needs {COLOURS} features, got {features}")
        self.start, self.sizes, self.edge = start, tuple(sizes), edge
        self.codes = 2 * len(sizes) + 2
        self.first = ToImage(features, COLOURS, w_dim, generator) if learnt_start else None
        self.layers = nn.ModuleList()
        self.to_images = nn.ModuleList()
        inputs = features
        for size in sizes:
            outputs = widths[size]
            self.layers.append(PointwiseLayer(inputs, outputs, size, w_dim, generator, up=True, edge=edge))
            self.layers.append(PointwiseLayer(outputs, outputs, size, w_dim, generator, up=False, edge=edge))
            self.to_images.append(ToImage(outputs, COLOURS, w_dim, generator))
            inputs = outputs

    def forward(
        self,
        features: Tensor,
        codes: Tensor,
        *,
        noise: Literal["random", "const", "none"] = "const",
        generator: Generator | None = None,
        resolution: int = 0,
        alpha: float = 1.0,
    ) -> Tensor:
        """``resolution``: where to stop (0: at the end); ``alpha`` < 1 fades its to-RGB layer in.

        ``random`` noise is drawn from ``generator`` (ConfigError without), ``const`` noise is the stored one.
        """
        end = resolution or (self.start, *self.sizes)[-1]
        image = features[:, :COLOURS].float() if self.first is None else self._to_image(self.first, features, codes, 1)
        x = features
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        for k, size in enumerate(self.sizes, start=1):
            if size > end:
                break
            for index in (2 * k - 1, 2 * k):
                layer = self.layers[index - 1]
                x = layer(x, codes[:, index], self._noise(layer, len(x), noise, generator))
            more = self._to_image(self.to_images[k - 1], x, codes, 2 * k + 1)
            image = upsampled(image, self.edge) + (more if size < end or alpha == 1.0 else alpha * more)
        return image

    def _to_image(self, layer: nn.Module, x: Tensor, codes: Tensor, index: int) -> Tensor:
        with torch.autocast(codes.device.type, enabled=False):
            style = layer.style(codes[:, index].float())  # type: ignore[operator]
        return layer(x, style)

    def _noise(self, layer: nn.Module, n: int, kind: str, generator: Generator | None) -> Tensor | None:
        if kind == "none":
            return None
        if kind == "const":
            return layer.noise  # type: ignore[return-value]
        if generator is None:
            raise ConfigError("random noise needs a generator", where="renderer")
        drawn = torch.randn(n, 1, layer.size, layer.size, generator=generator, device=generator.device)  # type: ignore
        return drawn.to(layer.noise.device)
