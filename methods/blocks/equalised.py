"""Linear layers and convolutions with equalised learning rate (Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.resampling import conv_down, conv_up, downsample2, upsample2

Activation = Literal["linear", "lrelu"]
SLOPE = 0.2
_GAINS: dict[Activation, float] = {"linear": 1.0, "lrelu": math.sqrt(2.0)}


class EqualLinear(nn.Module):
    """``activation(x W^T + b)``; W is drawn from N(0, 1) / rate and multiplied by rate / sqrt(fan in) in every call.

    The bias starts at ``bias_start`` and is multiplied by ``rate`` too, which thereby scales the learning rate.
    ``gain`` multiplies the result (None: sqrt 2 behind lrelu, else 1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generator: Generator,
        *,
        bias: bool = True,
        bias_start: float = 0.0,
        rate: float = 1.0,
        activation: Activation = "linear",
        gain: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=generator) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias_start / rate)) if bias else None
        self.fan_in = inputs
        self.rate = rate
        self.weight_gain = rate / math.sqrt(inputs)
        self.activation = activation
        self.gain = _GAINS[activation] if gain is None else gain

    def forward(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """[N,inputs] to [N,outputs]; ``weight`` and ``bias`` replace the run-time ones (any width, already scaled)."""
        # A positive gain commutes with the activation: on the small tensors it is free.
        gain = self.gain
        weight = self.weight * (self.weight_gain * gain) if weight is None else _scaled(weight, gain)
        if bias is None and self.bias is not None:
            bias = self.bias * self.rate
        y = F.linear(x, weight, None if bias is None else _scaled(bias, gain))
        return F.leaky_relu_(y, SLOPE) if self.activation == "lrelu" else y


class EqualConv2d(nn.Module):
    """Convolution with padding that keeps the size, then filtered x2 up or down, bias, activation and ``gain``.

    Weights [outputs,inputs,kernel,kernel] are drawn from N(0, 1) and multiplied by 1 / sqrt(fan in) in every call.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Literal[1, 3],
        generator: Generator,
        *,
        bias: bool = True,
        activation: Activation = "linear",
        up: Literal[1, 2] = 1,
        down: Literal[1, 2] = 1,
        gain: float = 1.0,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.fan_in = inputs * kernel**2
        self.weight_gain = 1.0 / math.sqrt(self.fan_in)
        self.kernel = kernel
        self.up, self.down = up, down
        self.activation = activation
        self.gain = _GAINS[activation] * gain
        self.folded = folded

    def forward(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """[N,inputs,H,W] to [N,outputs,H',W']; ``weight``, ``bias`` replace the run-time ones (any width, scaled)."""
        gain = self.gain
        weight = self.weight * (self.weight_gain * gain) if weight is None else _scaled(weight, gain)
        bias = self.bias if bias is None else bias
        bias = None if bias is None else _scaled(bias, gain)
        y = self._convolve(x, weight, bias)
        return F.leaky_relu_(y, SLOPE) if self.activation == "lrelu" else y

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.up == 2:
            y = conv_up(x, weight, folded=self.folded) if self.kernel == 3 else upsample2(F.conv2d(x, weight))
            return y if bias is None else y + bias.view(-1, 1, 1).to(y.dtype)
        if self.down == 2:
            if self.kernel == 3:
                return conv_down(x, weight, bias, folded=self.folded)
            return F.conv2d(downsample2(x), weight, bias)
        return F.conv2d(x, weight, bias, padding=self.kernel // 2)


def _scaled(value: Tensor, gain: float) -> Tensor:
    return value if gain == 1.0 else value * gain
