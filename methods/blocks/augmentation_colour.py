"""The colour part of ADA's pipe as one matrix per image, in closed form (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0
"""Standard deviations: of the added brightness and of the binary logarithms of the two factors."""


def recolour(images: Tensor, probability: Tensor, generator: Generator) -> Tensor:
    """``images`` [N,C,H,W], C = 1 or 3, in [-1,1] with random colours, each change with ``probability``; not clamped.

    In this order: brightness added, contrast multiplied, luma flipped (half of the time), hue turned by any angle,
    saturation multiplied. One channel is a grey image: it has no hue and no saturation.
    """
    n = len(images)
    device = probability.device
    u = torch.rand(7, n, generator=generator, device=generator.device).to(device)
    z = torch.randn(3, n, generator=generator, device=generator.device).to(device)
    on = u[:5] < probability
    matrix, offset = colour_matrix(
        brightness=BRIGHTNESS * z[0] * on[0],
        contrast=torch.exp2(CONTRAST * z[1] * on[1]),
        luma=1 - 2 * ((u[5] < 0.5) & on[2]).float(),
        hue=(2 * u[6] - 1) * math.pi * on[3],
        saturation=torch.exp2(SATURATION * z[2] * on[4]),
    )
    matrix, offset = matrix.to(images.dtype), offset.to(images.dtype)[:, None, None]
    flat = images.flatten(2)
    if images.shape[1] == 1:
        # What the matrix does to (v, v, v): every row has the same sum.
        return torch.addcmul(offset, matrix[:, :1].sum(2, keepdim=True), flat).view_as(images)
    return torch.baddbmm(offset, matrix, flat).view_as(images)


def colour_matrix(
    *, brightness: Tensor, contrast: Tensor, luma: Tensor, hue: Tensor, saturation: Tensor
) -> tuple[Tensor, Tensor]:
    """The product of the five maps as ``matrix`` [N,3,3] and ``offset`` [N], the same for all channels.

    ``luma`` is 1 or -1 (the reflection I - 2 v v^T), ``hue`` an angle about the grey axis v = (1,1,1)/sqrt 3, radians.
    All five map the grey axis and the plane of chroma onto themselves, so that the product needs three numbers: on v it
    is contrast * luma, on the plane contrast * saturation times a rotation.
    """
    grey = contrast * luma
    along, across = contrast * saturation * hue.cos(), contrast * saturation * hue.sin() / math.sqrt(3)
    same, rest = along + (grey - along) / 3, (grey - along) / 3
    lower, upper = rest + across, rest - across
    rows = [same, upper, lower, lower, same, upper, upper, lower, same]
    return torch.stack(rows, -1).view(-1, 3, 3), grey * brightness
