"""Weak augmentation: random scale, flip, crop and padding of images and their labels, one transform per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from methods.blocks.pixel_losses import IGNORE


@dataclass(frozen=True)
class WeakOptions:
    """Preset keys: ``scale`` [least, greatest] or [], ``flip`` a probability, ``crop`` [height, width] or [] for whole
    images."""

    scale: tuple[float, ...]
    flip: float
    crop: tuple[int, ...]

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.scale or self.flip or self.crop)


def weaken(
    images: Tensor, labels: Tensor | None, options: WeakOptions, generator: Generator
) -> tuple[Tensor, Tensor | None]:
    """Scaled, flipped and cropped ``images`` f32 [N,3,H,W] (bilinear) and ``labels`` int64 [N,H,W] (nearest).

    Half of the scales are drawn below 1 and half above (U2PL, section 4.6). Where the scaled image is smaller than the
    crop it lies in its middle; what is outside is mean grey and ignored.
    """
    if not options.active:
        return images, labels
    n, _, height, width = images.shape
    crop = (options.crop[0], options.crop[1]) if options.crop else (height, width)
    draws = torch.rand(5, n, generator=generator, device=images.device)
    scale = torch.ones(n, device=images.device)
    if options.scale:
        least, greatest = options.scale
        scale = torch.where(draws[0] < 0.5, least + (1 - least) * draws[1], 1 + (greatest - 1) * draws[1])
    sign = torch.where(draws[2] < options.flip, -1.0, 1.0)
    # Half extents of the crop in units of the scaled image's half extents, and how far its centre may move.
    rows, columns = crop[0] / (height * scale), crop[1] / (width * scale)
    down = (1 - rows).clamp(min=0) * (2 * draws[3] - 1)
    across = (1 - columns).clamp(min=0) * (2 * draws[4] - 1)
    nothing = torch.zeros_like(rows)
    theta = torch.stack([columns * sign, nothing, across, nothing, rows, down], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, *crop], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if labels is not None:
        # Labels are raised by one, so that the zeros of the padding can be told from class 0.
        raised = labels[:, None].float() + 1
        moved = F.grid_sample(raised, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0].long()
        labels = torch.where(moved == 0, IGNORE, moved - 1)
    return images, labels
