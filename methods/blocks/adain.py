"""Adaptive instance normalisation (Huang and Belongie 2017) as HoloGAN uses it, with a fused CPU-friendly form."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

StyleActivation = Literal["none", "relu"]


def adain(x: Tensor, scale: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """``scale (x - mean) / sqrt(var + eps) + bias`` with mean and biased variance per sample and channel.

    ``x`` [N,C,...] with any number of spatial axes, ``scale`` and ``bias`` [N,C]. Statistics in fp32; returns fp32.
    """
    x = x.float()
    axes = tuple(range(2, x.dim()))
    shape = (*scale.shape, *(1 for _ in axes))
    variance, mean = torch.var_mean(x, axes, unbiased=False, keepdim=True)
    gain = scale.view(shape) * torch.rsqrt(variance + eps)
    return (x - mean) * gain + bias.view(shape)


def _rows(x: Tensor) -> Tensor:
    """[N,C,...] as [N,S,C]: a view where memory is channels-last."""
    return x.movedim(1, -1).reshape(x.shape[0], -1, x.shape[1])


def _mean(rows: Tensor) -> Tensor:
    """Mean over S of fp32 [N,S,C] as a matrix product, several times faster than a strided reduction; [N,1,C]."""
    n, count, _ = rows.shape
    return torch.bmm(rows.new_full((1, 1, count), 1.0 / count).expand(n, 1, count), rows)


class _AdainLeakyRelu(torch.autograd.Function):
    """AdaIN followed by leaky ReLU in one operation with its own backward pass (once differentiable)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor, slope: float, eps: float) -> Tensor:
        rows = _rows(x)
        values = rows.float()
        mean = _mean(values)
        centred = values - mean
        inverse = torch.rsqrt(_mean(centred.square()) + eps)
        y = torch.addcmul(bias[:, None], centred, inverse * scale[:, None])
        y = F.leaky_relu_(y, slope).to(x.dtype)
        ctx.save_for_backward(rows, mean, inverse, scale, y)
        ctx.slope = slope
        return y.view(x.shape[0], *x.shape[2:], x.shape[1]).movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor, None, None]:
        rows, mean, inverse, scale, y = ctx.saved_tensors
        (g,) = gradients
        # The sign of the output is the sign of the input for any slope > 0, and for slope 0 zero stays zero.
        inner = torch.ops.aten.leaky_relu_backward(_rows(g), y, ctx.slope, True).float()
        values = rows.float()
        mean_g = _mean(inner)
        mean_gn = (_mean(inner * values) - mean * mean_g) * inverse
        # dx = gain (g - mean_g - normal mean_gn), multiplied out so that two passes over memory are enough.
        gain = inverse * scale[:, None]
        tilt = -gain * inverse * mean_gn
        dx = torch.addcmul(-gain * mean_g - tilt * mean, inner, gain)
        dx = dx.addcmul_(values, tilt)
        count = rows.shape[1]
        dx = dx.to(rows.dtype).view(g.shape[0], *g.shape[2:], g.shape[1]).movedim(-1, 1)
        return dx, mean_gn[:, 0] * count, mean_g[:, 0] * count, None, None


def adain_leaky_relu(x: Tensor, scale: Tensor, bias: Tensor, slope: float = 0.2, eps: float = 1e-5) -> Tensor:
    """``leaky_relu(adain(x, scale, bias, eps), slope)`` in ``x``'s own type, statistics in fp32, one fused operation.

    Shapes as ``adain``; fastest on channels-last memory. Slope 0 is the plain ReLU.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _AdainLeakyRelu.apply(x, scale.float(), bias.float(), slope, eps)


class StyledNorm(nn.Module):
    """AdaIN whose scale and bias are one linear layer of the style vector, then leaky ReLU.

    ``activation="relu"`` rectifies scale and bias as the released HoloGAN does; ``"none"`` uses scale = 1 + raw.
    ``forward(x [N,C,...], style [N,S])`` keeps shape and type.
    """

    def __init__(
        self,
        style_width: int,
        channels: int,
        *,
        activation: StyleActivation = "none",
        slope: float = 0.2,
        eps: float = 1e-5,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.mapping = nn.Linear(style_width, 2 * channels)
        self.activation, self.slope, self.eps, self.fused = activation, slope, eps, fused

    def styles(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and bias [N,C] in fp32."""
        with torch.autocast(style.device.type, enabled=False):
            scale, bias = self.mapping(style.float()).chunk(2, dim=1)
        if self.activation == "relu":
            return F.relu(scale), F.relu(bias)
        return 1 + scale, bias

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, bias = self.styles(style)
        if self.fused:
            return adain_leaky_relu(x, scale, bias, self.slope, self.eps)
        return F.leaky_relu(adain(x, scale, bias, self.eps), self.slope).to(x.dtype)
