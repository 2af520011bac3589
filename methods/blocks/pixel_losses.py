"""Cross entropies of segmentation: which pixels count, and by what the sum is divided."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
"""Label of pixels that no loss looks at."""

PixelRule = Literal["all", "valid", "ohem"]


def resized(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Logits fp32 [N,C,H,W] of [N,C,h,w], bilinear; nothing is resampled where the size fits already."""
    logits = logits.float()
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


def mean_over_all(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross entropy summed over labelled pixels, times ``weights`` [N,H,W] if given, divided by the number of all
    pixels: ignored ones add nothing but stay in the denominator (FST, trap T8)."""
    if weights is None:
        return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / labels.numel()
    return (F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none") * weights).mean()


def mean_over_valid(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the labelled pixels; 0 where there is none."""
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def reliable_ratio(logits: Tensor, labels: Tensor) -> Tensor:
    """N / R times the mean over the R labelled ones of N pixels: it grows as fewer are kept (U2PL, section 4.2)."""
    kept = (labels != IGNORE).sum().clamp(min=1)
    return mean_over_valid(logits, labels) * (labels.numel() / kept)


def hard_examples(logits: Tensor, labels: Tensor, threshold: float, least: int) -> Tensor:
    """Mean cross entropy of the hard pixels of a batch (online hard example mining; U2PL, section 4.1).

    A pixel is hard if the probability of its true class is at most max(``threshold``, the ``least``-th smallest of the
    batch); with fewer than ``least`` labelled pixels all of them count.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").flatten()
    valid = labels.flatten() != IGNORE
    # Ignored pixels get a probability above every real one; the loss is -log of the true class's probability.
    probability = torch.where(valid, (-losses.detach()).exp(), 2.0)
    if least > len(probability):
        hard = valid
    else:
        smallest = probability.kthvalue(max(least, 1)).values
        hard = valid & (probability <= smallest.clamp(min=threshold))
    return (losses * hard).sum() / hard.sum().clamp(min=1)
