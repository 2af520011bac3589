"""A feature volume drawn from a style code, and its trilinear samples (VolumeGAN, Xu et al. 2022, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.adain import adain, adain_leaky_relu
from methods.blocks.convolution import UpsampleConv
from methods.blocks.equalised import SLOPE

START = 4  # voxels along the side of the constant
STYLE_GAIN = 0.25
EPSILON = 1e-8

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Corners of an axis-aligned box: smallest and largest x, y, z."""


class FeatureVolume(nn.Module):
    """Style codes [N,w_dim] to features [N,widths[-1],G,G,G] with G = 4 * 2 ** (len(widths) - 1).

    A learnt constant of ``start`` channels, of ones at first, passes through one stage per width: nearest x2 (not
    before the first), 3x3x3 convolution, instance norm (epsilon 1e-8), scale and shift, leaky ReLU 0.2. Scales (raw,
    not 1 + raw) and shifts of all stages are ONE linear layer of the code, Kaiming times 0.25; convolutions start as
    the framework's do. ``fused``: norm and activation in one operation, which is faster and differentiable only once.
    """

    def __init__(
        self, start: int, widths: Sequence[int], w_dim: int, generator: Generator, *, fused: bool = False
    ) -> None:
        super().__init__()
        self.widths, self.fused = tuple(widths), fused
        self.size = START * 2 ** (len(self.widths) - 1)
        self.constant = nn.Parameter(torch.ones(start, START**3))
        self.first = nn.Conv3d(start, self.widths[0], 3, padding=1)
        self.growing = nn.ModuleList(UpsampleConv(3, a, b) for a, b in pairwise(self.widths))
        self.style = nn.Linear(w_dim, 2 * sum(self.widths))
        with torch.no_grad():
            for layer in (module for module in self.modules() if isinstance(module, (nn.Conv3d, nn.Linear))):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for value in layer.parameters():
                    value.uniform_(-bound, bound, generator=generator)
            deviation = STYLE_GAIN * math.sqrt(2 / ((1 + SLOPE**2) * w_dim))
            self.style.weight.normal_(0.0, deviation, generator=generator)

    def forward(self, w: Tensor) -> Tensor:
        with torch.autocast(w.device.type, enabled=False):
            scales, shifts = self.style(w.float()).chunk(2, 1)
        x = self.constant.view(-1, START, START, START).expand(len(w), -1, -1, -1, -1)
        stages = (self.first, *self.growing), scales.split(self.widths, 1), shifts.split(self.widths, 1)
        for conv, scale, shift in zip(*stages, strict=True):
            x = conv(x)
            if self.fused:
                x = adain_leaky_relu(x, scale, shift, SLOPE, EPSILON)
            else:
                x = F.leaky_relu(adain(x, scale, shift, EPSILON), SLOPE).to(x.dtype)
        return x.float()


def sample_volume(volume: Tensor, points: Tensor, box: Box) -> Tensor:
    """Trilinear samples [N,P,C] of ``volume`` [N,C,D,H,W] at ``points`` [N,P,3], in fp32.

    Corners of ``box`` fall on the corner voxels (x along W, y along H, z along D); outside it the nearest border value
    holds. Differentiable with respect to the volume, any number of times, and not with respect to the points.
    """
    low, high = (points.new_tensor(corner) for corner in box)
    place = (points.detach().float() - low) * (2 / (high - low)) - 1
    with torch.autocast(volume.device.type, enabled=False):
        sampled = _Gather.apply(volume.float(), place[:, :, None, None])
    return sampled.flatten(2).transpose(1, 2)


class _Gather(torch.autograd.Function):
    """Samples [N,C,P,1,1] at places in [-1,1]^3; torch's own operation has no second derivative."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.shape = volume.shape
        return F.grid_sample(volume, place, mode="bilinear", padding_mode="border", align_corners=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return _Scatter.apply(gradients[0], ctx.saved_tensors[0], ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The adjoint of ``_Gather``: linear in what is scattered."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, place: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(place)
        empty = values.new_empty(shape)  # its values do not matter to the gradient of the volume
        bilinear, border = 0, 1
        adjoint = torch.ops.aten.grid_sampler_3d_backward
        return adjoint(values.contiguous(), empty, place, bilinear, border, True, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return _Gather.apply(gradients[0], ctx.saved_tensors[0]), None, None
