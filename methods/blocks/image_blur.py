"""Gaussian blur of what a discriminator sees early in training (Karras et al. 2021; EG3D, Chan et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blurred(images: Tensor, sigma: float) -> Tensor:
    """``images`` [N,C,H,W] convolved with weights 2^-(x / sigma)^2, |x| <= floor(3 sigma), zeros outside; fp32."""
    radius = int(3 * sigma)
    if radius < 1:
        return images
    steps = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    taps = (-(steps / sigma).square()).exp2()
    kernel = (taps / taps.sum()).expand(images.shape[1], 1, -1)
    with torch.autocast(images.device.type, enabled=False):
        rows = F.conv2d(images.float(), kernel[:, :, None], padding=(0, radius), groups=images.shape[1])
        return F.conv2d(rows, kernel[..., None], padding=(radius, 0), groups=images.shape[1])


def blur_at(images_seen: int, sigma: float, kimg: float) -> float:
    """Deviation in pixels after ``images_seen`` training images: from ``sigma`` linearly to 0 at ``kimg`` thousand."""
    return max(1.0 - images_seen / (1000.0 * kimg), 0.0) * sigma if kimg > 0 else 0.0
