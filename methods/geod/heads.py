"""Geometry heads of the configuration, and how well one reads depth that is known."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from harness.types import PosePrior
from methods.blocks.geometry_head import GeometryHead, SceneHead, SupervisedHead
from methods.geod.options import Options

BINS = 10


def build_head(options: Options, prior: PosePrior, generator: Generator) -> GeometryHead:
    """The head that ``options`` ask for, with weights drawn from ``generator``."""
    o = options
    if o.head == "depth_supervised":
        return SupervisedHead(prior, generator, o.head_widths)
    if o.head == "scene":
        return SceneHead(prior, generator, o.head_widths, bins=BINS if o.scene_target == "bins" else 0)
    from methods.blocks.inverse_renderer import InverseRenderer

    return InverseRenderer(prior, generator)


def learns_depth(head: str) -> bool:
    """Whether a head of this name is shown exact depth of real images."""
    return head in ("depth_supervised", "scene")


def reading_errors(read: Tensor, depth: Tensor) -> Tensor:
    """How well z-depth ``read`` matches ``depth`` [B,H,W] where that is positive: [3], means over images.

    SIDE (standard deviation of the log ratio), that of a constant depth, and the correlation of the two log depths.
    """
    mask = (depth > 0).float()
    count = mask.sum((1, 2)).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        logs = torch.where(depth > 0, values, 1.0).log()
        return (logs - ((logs * mask).sum((1, 2)) / count)[:, None, None]) * mask

    def mean(values: Tensor) -> Tensor:
        return values.sum((1, 2)) / count

    a, b = centred(read), centred(depth)
    spread = mean(a.square()).sqrt() * mean(b.square()).sqrt()
    errors = (mean((a - b).square()).sqrt(), mean(b.square()).sqrt(), mean(a * b) / spread.clamp(min=1e-12))
    return torch.stack(errors).mean(1)
