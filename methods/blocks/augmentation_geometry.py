"""The geometric part of ADA's pipe as one affine map per image (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

SHIFT = 0.125
"""Translations as a share of the size: greatest of the whole-pixel one, standard deviation of the fractional one."""
SCALE = 0.2
"""Standard deviation of the binary logarithm of scales."""


def draw_inverse(
    n: int, size: int, probability: Tensor, *, blit: bool, geom: bool, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Inverse maps of ``n`` random transforms: ``linear`` [N,2,2] and ``shift`` [N,2], from result to source.

    Positions are (x, y) in pixels from the middle of the square image. ``blit``: x-flip (half of the time), quarter
    turns (k uniform in 0..3), translation by whole pixels. ``geom``: isotropic scale, rotation, anisotropic scale,
    rotation, fractional translation. Each is applied with ``probability``, but the rotations with 1 - sqrt(1 - p), so
    that p is the probability of at least one. An image goes through them in this order.
    """
    device = probability.device
    u = torch.rand(14, n, generator=generator, device=generator.device).to(device)
    z = torch.randn(4, n, generator=generator, device=generator.device).to(device)
    whole = (u[:3] < probability) & blit
    scales = (u[3:6] < probability) & geom
    turns = (u[6:8] < 1 - (1 - probability.clamp(max=1)).sqrt()) & geom

    one = torch.ones_like(u[0])
    mirror = 1 - 2 * ((u[8] < 0.5) & whole[0]).float()
    quarter = (u[9] * 4).floor().long() * whole[1]
    # Cosine and sine of quarter turns from a table: whole pixels stay whole.
    table = torch.tensor([1.0, 0.0, -1.0, 0.0], device=device)
    cosine, sine = table[quarter], table[(quarter - 1) % 4]
    exact = _diagonal(mirror, one) @ _matrix(cosine, -sine, sine, cosine)
    steps = ((u[10:12] * 2 - 1) * (SHIFT * size)).round() * whole[2]

    isotropic = torch.exp2(-SCALE * z[0] * scales[0])
    stretch = torch.exp2(SCALE * z[1] * scales[1])
    before, after = (_rotation((u[12 + i] * 2 - 1) * math.pi * turns[i]) for i in range(2))
    linear = exact @ before @ _diagonal(isotropic / stretch, isotropic * stretch) @ after
    slide = z[2:4] * (SHIFT * size) * scales[2]
    # p -> exact (before stretch after (p - slide) - steps)
    shift = -(exact @ steps.mT[..., None] + linear @ slide.mT[..., None])
    return linear, shift.squeeze(-1)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([a, b, c, d], -1).view(-1, 2, 2)


def _diagonal(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y], -1))


def _rotation(angle: Tensor) -> Tensor:
    cosine, sine = angle.cos(), angle.sin()
    return _matrix(cosine, -sine, sine, cosine)
