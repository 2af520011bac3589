"""Losses and schedules of pi-GAN that other adversarial methods do not share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def top_k_fraction(step: int, interval: float, floor: float) -> float:
    """Share of a batch's fakes that train the generator: max(0.99^(step / interval), floor) (Sinha et al. 2020).

    ``interval`` 0 switches it off (1.0).
    """
    if interval <= 0:
        return 1.0
    return max(0.99 ** (step / interval), floor)


def top_k_generator_loss(scores: Tensor, fraction: float) -> Tensor:
    """Mean softplus(-score) over the ceil(fraction * B) most realistic of scores [B]."""
    keep = max(1, math.ceil(fraction * len(scores) - 1e-9))
    return F.softplus(-scores.topk(keep).values).mean()


def pose_loss(predicted: Tensor, elevation: Tensor, azimuth: Tensor) -> Tensor:
    """Mean squared error of predicted [B,2] against (pitch, yaw) in radians (pi-GAN's position loss)."""
    return F.mse_loss(predicted, torch.stack((elevation, azimuth), 1))


def latent_loss(predicted: Tensor, z: Tensor) -> Tensor:
    """Mean squared error of the latent that the discriminator reads from a fake, both [B,latent]."""
    return F.mse_loss(predicted, z)


def density_noise(progress: float, share: float) -> float:
    """Deviation of the density noise: 1 at the start, linearly to 0 after ``share`` of the budget (0: never any)."""
    return max(0.0, 1.0 - progress / share) if share > 0 else 0.0
