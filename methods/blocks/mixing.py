"""Masks that paste parts of one image into another: class-mix, CutMix, CutOut (DACS; CutMix; U2PL, section 4.6)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

VALUES = 256
"""Values a label may have: 255, "ignored", is one of them and can be chosen like a class."""


def class_mask(labels: Tensor, generator: Generator, scope: Literal["batch", "image"], *, up: bool = True) -> Tensor:
    """bool [N,H,W]: the pixels of ``labels`` int64 [N,H,W] whose value was chosen for their image.

    For every image half of the n values that occur in it (``scope`` image) or in the batch are chosen without
    replacement: ceil(n / 2) of them, or floor(n / 2) if not ``up``.
    """
    n = len(labels)
    flat = labels.flatten(1)
    occurs = torch.zeros(n, VALUES, dtype=torch.bool, device=labels.device).scatter_(1, flat, True)
    if scope == "batch":
        occurs = occurs.any(0, keepdim=True).expand(n, -1)
    order = torch.rand(n, VALUES, generator=generator, device=labels.device).masked_fill(~occurs, 2.0)
    rank = order.argsort(1).argsort(1)
    half = (occurs.sum(1, keepdim=True) + int(up)) // 2
    return (rank < half).gather(1, flat).view_as(labels)


def rectangle_mask(n: int, height: int, width: int, generator: Generator) -> Tensor:
    """bool [N,H,W]: in every image one rectangle of half the area, up to rounding.

    Its width is uniform in width // 2 + 1 .. width - 1, its height the rounded rest, its position uniform.
    """
    device = generator.device
    u = torch.rand(3, n, generator=generator, device=device)
    first = width // 2 + 1
    wide = first + (u[0] * max(width - first, 1)).floor()
    high = (0.5 * height * width / wide).round().clamp(max=height)
    left = (u[1] * (width - wide + 1)).floor()
    top = (u[2] * (height - high + 1)).floor()
    x = torch.arange(width, device=device)
    y = torch.arange(height, device=device)
    across = (x >= left[:, None]) & (x < (left + wide)[:, None])
    down = (y >= top[:, None]) & (y < (top + high)[:, None])
    return down[:, :, None] & across[:, None, :]


def sometimes(mask: Tensor, probability: float, generator: Generator) -> Tensor:
    """``mask``, or an empty one with probability 1 - ``probability``: one draw for the whole batch."""
    if probability >= 1.0:
        return mask
    return mask & (torch.rand((), generator=generator, device=mask.device) < probability)
