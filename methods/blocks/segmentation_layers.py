"""Layers that the segmentation networks share: normalised convolutions, resizing and dropout of whole channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.backbones.published import MEAN, STD
from harness.types import ConfigError

Norm = Literal["group", "batch"]

GROUPS = 8


@dataclass(frozen=True)
class SegmentationOutput:
    """What a segmentation network returns for images [B,3,H,W].

    ``logits`` [B,C,h,w] at the network's own output resolution; ``features`` [B,D,h',w'] of the last encoder stage;
    ``representation`` [B,R,h,w] where the network has that head; ``auxiliary`` logits where it has that head.
    """

    logits: Tensor
    features: Tensor
    representation: Tensor | None = None
    auxiliary: Tensor | None = None


class Standardise(nn.Module):
    """From [-1,1] to standardised ImageNet colours, channels-last."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        scale = torch.tensor([0.5 / s for s in STD]).view(3, 1, 1)
        shift = torch.tensor([(0.5 - m) / s for m, s in zip(MEAN, STD, strict=True)]).view(3, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.scale + self.shift).contiguous(memory_format=torch.channels_last)


def norm_layer(kind: Norm, channels: int) -> nn.Module:
    """Group norm of 8 groups or batch norm; raises ConfigError where 8 does not divide ``channels``."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if channels % GROUPS:
        raise ConfigError(f"{GROUPS} groups do not divide {channels} channels", where="width", remedy="Use 8, 16, ...")
    return PlanarGroupNorm(GROUPS, channels)


class PlanarGroupNorm(nn.GroupNorm):
    """Group norm that computes on planes: its CPU kernel needs a multiple of the time for channels-last gradients."""

    def forward(self, x: Tensor) -> Tensor:
        normalised = F.group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)
        return normalised.contiguous(memory_format=torch.channels_last)


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int, norm: Norm, *, stride: int = 1, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, a norm and a ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=bias),
        norm_layer(norm, outputs),
        nn.ReLU(inplace=True),
    )


def resize(x: Tensor, size: tuple[int, int] | torch.Size, align_corners: bool) -> Tensor:
    """Bilinear resizing of [B,C,h,w] to [B,C,*size]; nothing where the size is that already."""
    if x.shape[-2:] == tuple(size):
        return x
    # Autocast on CPU would resize bf16 maps in fp32, and a concatenation would promote the rest.
    with torch.autocast("cpu", enabled=False):
        resized = F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    if resized.requires_grad:
        # A slice of a concatenation's gradient has gaps, with which the backward pass takes ten times as long.
        resized.register_hook(_dense)
    return resized


def _dense(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def drop_channels(x: Tensor, probability: float, generator: Generator | None) -> Tensor:
    """Zero whole channels of [B,C,h,w] with ``probability`` and scale the others up; nothing without a generator."""
    return _drop(x, probability, (len(x), x.shape[1], 1, 1), generator)


def drop_path(x: Tensor, probability: float, generator: Generator | None) -> Tensor:
    """Zero whole samples of [B,...] with ``probability`` and scale the others up; nothing without a generator."""
    return _drop(x, probability, (len(x),) + (1,) * (x.dim() - 1), generator)


def _drop(x: Tensor, probability: float, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    if generator is None or not probability:
        return x
    kept = torch.empty(shape, device=x.device).bernoulli_(1.0 - probability, generator=generator)
    return x * (kept / (1.0 - probability)).to(x.dtype)


def draw_default(module: nn.Module, generator: Generator) -> None:
    """Redraw PyTorch's default of every convolution in ``module``: weight and bias uniform in +-1/sqrt(fan-in)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
