"""Losses between depth maps [B,H,W]: of log depth, of bins of depth, and up to scale and shift; all in fp32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-6


def log_depth_loss(predicted: Tensor, depth: Tensor) -> Tensor:
    """Mean |predicted - log depth| over the pixels with ``depth`` > 0; ``predicted`` is a log depth [B,H,W]."""
    inside = depth > 0
    target = torch.where(inside, depth, 1.0).log()
    return torch.where(inside, (predicted - target).abs(), 0.0).sum() / inside.sum().clamp(min=1)


def depth_bins(depth: Tensor, near: float, far: float, bins: int) -> Tensor:
    """Indices int64 of equal bins of z-depth between ``near`` and ``far``; beyond them the outermost (DepthGAN)."""
    return ((depth - near) * (bins / (far - near))).floor().clamp(0, bins - 1).long()


def bin_loss(logits: Tensor, depth: Tensor, near: float, far: float) -> Tensor:
    """Mean cross entropy of ``logits`` [B,K,H,W] over the pixels with ``depth`` > 0, whose bins are the targets.

    No gradient reaches ``depth``: a generator learns through the picture that the logits were read from (DepthGAN).
    """
    target = depth_bins(depth.detach(), near, far, logits.shape[1]).masked_fill(depth <= 0, -1)
    total = F.cross_entropy(logits.float(), target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def scale_shift_loss(predicted: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of two depths [B,H,W] inside ``mask`` [B,H,W], each brought to its own scale and shift.

    Per image the masked mean becomes 0 and the masked mean absolute deviation 1, so that the loss lies in [0, 2] and
    neither a factor > 0 nor an offset of either side changes it. Images with an empty mask count as 0.
    """
    mask = mask.to(predicted.dtype)
    count = mask.sum((1, 2), keepdim=True).clamp(min=1)

    def standardised(values: Tensor) -> Tensor:
        values = values - (values * mask).sum((1, 2), keepdim=True) / count
        spread = (values.abs() * mask).sum((1, 2), keepdim=True) / count
        return values / spread.clamp(min=_EPSILON)

    difference = (standardised(predicted) - standardised(depth)).abs() * mask
    return (difference.sum((1, 2), keepdim=True) / count).mean()
