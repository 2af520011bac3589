"""Reliable and unreliable pixels: a threshold on the teacher's uncertainty that moves with the training.

U2PL (Wang et al., CVPR 2022, arXiv 2203.03884). A pixel is reliable iff its uncertainty is strictly below
the quantile gamma_t of the batch at level 1 - alpha_t, so that at alpha 0 the most uncertain pixel alone is unreliable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

AlphaSchedule = Literal["linear", "constant"]
Criterion = Literal["entropy", "max_prob", "none"]


@dataclass(frozen=True)
class Partition:
    """Masks bool [N,H,W] that are disjoint and cover the valid pixels, the threshold gamma_t (scalar) and ``weight``
    = pixels / reliable pixels (scalar; 0 / 0 counts as 1 where nothing is reliable)."""

    reliable: Tensor
    unreliable: Tensor
    threshold: Tensor
    weight: Tensor


def alpha_at(progress: float, alpha: float, schedule: AlphaSchedule) -> float:
    """Share of unreliable pixels at ``progress`` in [0,1]: alpha (1 - progress), as in the paper, or constant."""
    return alpha if schedule == "constant" else alpha * (1.0 - min(max(progress, 0.0), 1.0))


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats [N,H,W] of probabilities [N,C,H,W], with 0 log 0 = 0."""
    return torch.special.entr(probabilities).sum(1)


def uncertainty(probabilities: Tensor, criterion: Criterion) -> Tensor:
    """What is compared with the threshold [N,H,W]: entropy, or 1 - the largest probability; 0 without a criterion."""
    if criterion == "entropy":
        return entropy(probabilities)
    if criterion == "max_prob":
        return 1.0 - probabilities.amax(1)
    return torch.zeros_like(probabilities[:, 0])


def partition(scores: Tensor, valid: Tensor, alpha: float, criterion: Criterion = "entropy") -> Partition:
    """Divide the ``valid`` pixels (bool [N,H,W]) by their ``scores`` [N,H,W], higher where less certain.

    gamma_t is the linearly interpolated quantile at level 1 - ``alpha`` over all valid pixels of the batch, found
    without leaving the device. Criterion ``none`` calls every valid pixel reliable. Without a valid pixel both masks
    are empty.
    """
    if criterion == "none":
        threshold = torch.full((), torch.inf, device=scores.device)
    else:
        threshold = torch.nanquantile(scores.detach().float().masked_fill(~valid, torch.nan), 1.0 - alpha)
    below = scores < threshold
    reliable = valid & below
    weight = reliable.numel() / reliable.sum().clamp(min=1).to(torch.float32)
    return Partition(reliable, valid & ~below, threshold, weight)
