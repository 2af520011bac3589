"""A field of modulated pointwise layers (StyleGAN2's modulation on points; VolumeGAN, Xu et al. 2022, section 3.2)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.equalised import SLOPE, EqualLinear

EPSILON = 1e-8


def octave_encoding(points: Tensor, octaves: int) -> Tensor:
    """Points [...,3], then sine and cosine of 2^k times them, k < octaves: [...,3 (1 + 2 octaves)] (no factor pi)."""
    parts = [points]
    for k in range(octaves):
        angle = points * 2.0**k
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, -1)


class ModulatedLinear(nn.Module):
    """Rows [N,P,inputs] to [N,P,outputs]: W scaled by a style per sample, each output's weights then of unit norm, plus
    a bias. The style is an equalised linear layer of the code that starts at 1; ``gain`` multiplies the result."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, generator: Generator, gain: float = 1.0) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, inputs, generator, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = gain

    def kernels(self, w: Tensor) -> Tensor:
        """Weights [N,outputs,inputs] in fp32 of the codes [N,w_dim]."""
        with torch.autocast(w.device.type, enabled=False):
            kernels = self.weight * self.affine(w.float())[:, None, :]
            return kernels * (kernels.square().sum(2, keepdim=True) + EPSILON).rsqrt() * self.gain

    def forward(self, rows: Tensor, w: Tensor) -> Tensor:
        # One kernel per sample and a product of matrices: cheaper than scaling all rows.
        y = torch.bmm(rows, self.kernels(w).to(rows.dtype).transpose(1, 2))
        return y + (self.bias * self.gain).to(y.dtype)


class ModulatedField(nn.Module):
    """Point features [N,P,inputs] and codes [N,depth,w_dim] to raw densities [N,P] and features [N,P,outputs], fp32.

    ``depth`` modulated layers of ``width`` with leaky ReLU 0.2 (times sqrt 2), then one plain equalised layer for the
    density and the features: no activation, no view direction.
    """

    def __init__(self, inputs: int, width: int, depth: int, outputs: int, w_dim: int, generator: Generator) -> None:
        super().__init__()
        self.depth = depth
        sizes = pairwise([inputs] + [width] * depth)
        self.layers = nn.ModuleList(ModulatedLinear(a, b, w_dim, generator, math.sqrt(2)) for a, b in sizes)
        self.density = EqualLinear(width, 1, generator)
        self.features = EqualLinear(width, outputs, generator)

    def forward(self, rows: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(torch.get_autocast_dtype(rows.device.type))
        for index, layer in enumerate(self.layers):
            rows = F.leaky_relu_(layer(rows, codes[:, index]), SLOPE)
        return self.density(rows).float().squeeze(-1), self.features(rows).float()
