"""Images at another size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, size: int) -> Tensor:
    """``images`` [N,C,H,W] at ``size`` x ``size`` pixels, bilinear, anti-aliased where they shrink."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=images.shape[-1] > size)
