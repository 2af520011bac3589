"""The kernel of structural similarity: four filtered maps, separable taps, a few channels at a time in cache."""

from __future__ import annotations

import math

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03
# Pixels per map and block: on a CPU the maps of a block stay in the core's second-level cache.
BLOCK_ELEMENTS, BLOCK_ELEMENTS_ACCELERATOR = 1 << 15, 1 << 22
# Channels of up to this many pixels are taken in float64: a flat window far from the mid-range cancels to 3e-5 in
# float32, which only the average over many windows hides.
SMALL = 64 * 64


def ssim_per_channel(
    x: Tensor, y: Tensor, *, low: float, high: float, window: int, sigma: float, elements: int | None = None
) -> Tensor:
    """Mean structural similarity (Wang et al. 2004) of channels [M,H,W] over the valid region, float64 [M].

    Gaussian window, population variances, data range ``high - low``. The second moments are shift invariant, so values
    are taken about the mid-range, which keeps float32 round-off near 1e-7 (3e-5 in flat windows); x^2 + y^2 needs one
    filter, not two. The channels of a block lie innermost, so that every shifted slice is made of long contiguous runs.
    """
    span, middle = high - low, (high + low) / 2
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    taps = _gaussian_taps(window, sigma)
    if elements is None:
        elements = BLOCK_ELEMENTS if x.device.type == "cpu" else BLOCK_ELEMENTS_ACCELERATOR
    _, height, width = x.shape
    if height * width <= SMALL:
        x, y = x.double(), y.double()
    means = []
    for a, b in zip(*(m.split(max(1, elements // (height * width))) for m in (x, y)), strict=True):
        maps = torch.empty(4, height, width, len(a), dtype=x.dtype, device=x.device)
        torch.sub(a.permute(1, 2, 0), middle, out=maps[0])
        torch.sub(b.permute(1, 2, 0), middle, out=maps[1])
        torch.mul(maps[0], maps[0], out=maps[2]).addcmul_(maps[1], maps[1])
        torch.mul(maps[0], maps[1], out=maps[3])
        mean_x, mean_y, squares, product = _filtered(_filtered(maps, taps, dim=1), taps, dim=2)
        # Numerator and denominator take the same rounding steps, so that equal images give exactly 1.
        cross, own, total = mean_x * mean_y, (mean_x * mean_x).addcmul_(mean_y, mean_y), mean_x + mean_y
        similarity = product.sub_(cross).mul_(2).add_(c2).div_(squares.sub_(own).add_(c2))
        cross.add_(total, alpha=middle).add_(middle**2).mul_(2).add_(c1)
        own.add_(total, alpha=2 * middle).add_(2 * middle**2).add_(c1)
        similarity.mul_(cross.div_(own))
        means.append(similarity.sum((0, 1), dtype=torch.float64) / math.prod(similarity.shape[:2]))
    return torch.cat(means).clamp_(-1.0, 1.0)


def _gaussian_taps(window: int, sigma: float) -> list[float]:
    radius = window // 2
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    return [weight / sum(weights) for weight in weights]


def _filtered(maps: Tensor, taps: list[float], dim: int) -> Tensor:
    """Valid correlation of ``maps`` along ``dim``, one fused multiply-add per tap."""
    size = maps.shape[dim] - len(taps) + 1
    out = maps.narrow(dim, 0, size) * taps[0]
    for i, tap in enumerate(taps[1:], start=1):
        out.add_(maps.narrow(dim, i, size), alpha=tap)
    return out
