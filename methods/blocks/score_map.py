"""From scores on a grid of cells to a smooth map at image resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REFERENCE = 256
"""Image side in pixels that ``smoothing`` refers to."""
REACH = 4.0
"""Standard deviations after which the kernel is cut."""


def to_pixels(cells: Tensor, size: tuple[int, int], smoothing: float) -> Tensor:
    """Scores [N,g,g] upsampled bilinearly, corner to corner, to [N,H,W], then blurred by a Gaussian.

    Its standard deviation is ``smoothing`` pixels of a 256-pixel image and scales with the image's height; 0 leaves the
    blur out. A constant stays what it was: borders are reflected.
    """
    maps = F.interpolate(cells[:, None], size=size, mode="bilinear", align_corners=True)
    sigma = smoothing * size[0] / REFERENCE
    if sigma:
        maps = blur(maps, sigma)
    return maps[:, 0]


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Maps [N,1,H,W] convolved with a Gaussian of ``sigma`` pixels, one axis after the other."""
    reach = min(int(REACH * sigma + 0.5), maps.shape[2] - 1, maps.shape[3] - 1)
    steps = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps, (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
