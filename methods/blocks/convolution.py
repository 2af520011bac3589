"""Convolutions with TensorFlow's SAME geometry and nearest-neighbour upsampling folded into the kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def same_crop(kernel: int, stride: int) -> tuple[int, int]:
    """Samples that SAME removes at the (start, end) of a full transposed convolution, so that output = stride x input.

    The full output has (n - 1) stride + kernel samples; the larger half of the excess kernel - stride goes at the end.
    """
    if kernel < stride:
        raise ValueError(f"a kernel of {kernel} leaves gaps at stride {stride}")
    excess = kernel - stride
    return excess // 2, excess - excess // 2


class SameConvTranspose(nn.Module):
    """Transposed convolution in ``dims`` (2 or 3) dimensions with SAME crops: [N,C,n,...] to [N,C',stride n,...]."""

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        start, end = same_crop(kernel, stride)
        layer = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        self.layer = layer(inputs, outputs, kernel, stride, padding=start)
        # torch crops both ends by the same amount; what is left over comes off the end.
        self.surplus = end - start

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self.surplus:
            keep = slice(None, -self.surplus)
            y = y[(slice(None), slice(None)) + (keep,) * (y.dim() - 2)]
        return y


class SameConv2d(nn.Conv2d):
    """Strided 2D convolution with SAME padding on sizes that the stride divides: an odd sample goes to the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel, stride)
        start, end = same_crop(kernel, stride)
        self.edges = (start, end, start, end)
        self.symmetric = start if start == end else None

    def forward(self, x: Tensor) -> Tensor:
        if self.symmetric is not None:
            return F.conv2d(x, self.weight, self.bias, self.stride, self.symmetric)
        return super().forward(F.pad(x, self.edges))


def upsampling_kernel(weight: Tensor) -> Tensor:
    """Kernel of the stride-2, padding-1 transposed convolution that equals nearest x2 upsampling, then ``weight``.

    ``weight`` [O,I,3,...] is a padding-1 convolution's; the result is [I,O,4,...]: the flipped kernel convolved with a
    box of two along every axis. It needs (4/2)^d instead of 3^d products per output.
    """
    kernel = weight.flip(tuple(range(2, weight.dim()))).transpose(0, 1)
    for axis in range(2, weight.dim()):
        edge = [0, 0] * (weight.dim() - 1 - axis) + [1, 1]
        padded = F.pad(kernel, edge)
        kernel = padded.narrow(axis, 0, 4) + padded.narrow(axis, 1, 4)
    return kernel


class UpsampleConv(nn.Module):
    """Nearest x2 upsampling followed by a 3x3(x3) convolution with padding 1: [N,C,n,...] to [N,C',2n,...].

    ``folded`` computes both in one transposed convolution: the same function with 2.25 (2D) or 3.4 (3D) times fewer
    products.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, folded: bool = True) -> None:
        super().__init__()
        self.layer = (nn.Conv2d if dims == 2 else nn.Conv3d)(inputs, outputs, 3, padding=1)
        self.folded = folded

    def forward(self, x: Tensor) -> Tensor:
        if not self.folded:
            return self.layer(F.interpolate(x, scale_factor=2, mode="nearest"))
        transposed = F.conv_transpose2d if x.dim() == 4 else F.conv_transpose3d
        return transposed(x, upsampling_kernel(self.layer.weight), self.layer.bias, stride=2, padding=1)


def to_channels_last(module: nn.Module) -> nn.Module:
    """Lay out the 2D and 3D convolution weights of ``module`` channels-last, in place; returns it."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        elif parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return module
