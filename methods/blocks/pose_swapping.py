"""Generator pose conditioning: a generator that is told the camera, or another image's (EG3D, section 4.4)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def swap_probability(images_seen: int, floor: float, kimg: float) -> float:
    """Probability of telling another pose: from 1 linearly to ``floor`` at ``kimg`` thousand images."""
    progress = min(images_seen / (1000.0 * kimg), 1.0) if kimg > 0 else 1.0
    return 1.0 + (floor - 1.0) * progress


def swapped(labels: Tensor, probability: float, generator: Generator) -> Tensor:
    """Labels [N,P], each replaced by its neighbour's in the batch at the toss of a coin of ``probability``."""
    coin = torch.rand(len(labels), 1, generator=generator, device=generator.device) < probability
    return torch.where(coin.to(labels.device), labels.roll(1, 0), labels)
