"""Initial weights drawn from an explicit generator, so that equal seeds give equal networks on every device."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn

WeightRule = Literal["he", "normal", "truncated"]

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def draw_weights(weight: Tensor, rule: WeightRule, generator: Generator, *, fan_in: int, slope: float = 0.2) -> None:
    """Fill ``weight`` in place.

    ``he``: N(0, 2 / ((1 + slope^2) fan_in)) for leaky ReLU (He et al. 2015); ``normal``: N(0, 0.02^2) (Radford et al.
    2016); ``truncated``: the same cut at two standard deviations.
    """
    with torch.no_grad():
        if rule == "he":
            weight.normal_(0.0, math.sqrt(2.0 / ((1.0 + slope**2) * fan_in)), generator=generator)
        elif rule == "normal":
            weight.normal_(0.0, 0.02, generator=generator)
        else:
            nn.init.trunc_normal_(weight, 0.0, 0.02, -0.04, 0.04, generator=generator)


def initialise(
    module: nn.Module, generator: Generator, *, convolution: WeightRule, linear: WeightRule, slope: float = 0.2
) -> None:
    """Draw every convolution's and linear layer's weights in ``module``; their biases become 0.

    A layer whose name of class is not one of torch's convolution and linear layers keeps its values. The fan-in of a
    transposed convolution with stride s counts the k^d / s^d taps that reach one output.
    """
    for layer in module.modules():
        if isinstance(layer, _CONVOLUTIONS):
            inputs = layer.in_channels * math.prod(layer.kernel_size)
            if layer.transposed:
                inputs = max(1, inputs // math.prod(layer.stride))
            draw_weights(layer.weight, convolution, generator, fan_in=inputs, slope=slope)
        elif isinstance(layer, nn.Linear):
            draw_weights(layer.weight, linear, generator, fan_in=layer.in_features, slope=slope)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
