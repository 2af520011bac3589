"""Geometry heads of the configuration, and how well one reads depth that is known."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from harness.types import PosePrior
from methods.blocks.geometry_head import RELEASED_BINS, GeometryHead, SceneHead, SupervisedHead
from methods.blocks.inverse_head import InverseHead, InverseWeights
from methods.blocks.inverse_losses import PerceptualFeatures
from methods.blocks.inverse_networks import InverseSizes
from methods.blocks.inverse_rendering import InverseRanges, ranges_of
from methods.geod.options import Options


def build_head(options: Options, prior: PosePrior, generator: Generator) -> GeometryHead:
    """The head that ``options`` ask for, with weights drawn from ``generator``.

    Raises ConfigError for sizes that cannot be built, and MissingAsset where the perceptual loss asks for a published
    network that is not on this machine.
    """
    o = options
    if o.head == "depth_supervised":
        return SupervisedHead(prior, generator, o.head_widths)
    if o.head == "scene":
        return SceneHead(prior, generator, o.head_widths, bins=RELEASED_BINS if o.scene_target == "bins" else 0)
    head = InverseHead(
        prior,
        generator,
        InverseSizes(o.head_size, o.head_width, o.head_bottleneck, o.head_encoder_width),
        ranges=_ranges(o, prior),
        weights=InverseWeights(o.symmetry, o.perceptual_weight, o.smoothness),
        features=None if o.perceptual == "none" else PerceptualFeatures(o.perceptual),
    )
    if not o.confidence:
        head.networks.confidence = EvenConfidence()  # type: ignore[assignment]
    return head


def _ranges(o: Options, prior: PosePrior) -> InverseRanges:
    """The head's ranges of depth; the border that is clamped shrinks with the image (2 columns of 64)."""
    ranges = ranges_of(prior)
    if o.head_range:
        nearest, farthest, centre = (prior.radius + depth for depth in o.head_range)
        ranges = replace(ranges, nearest=nearest, farthest=farthest, centre=centre)
    return replace(ranges, border=max(1, o.head_size // 32))


class EvenConfidence(nn.Module):
    """In place of the confidence network: every pixel of images [B,3,S,S] counts alike."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Ones [B,2,S,S] and [B,2,S/4,S/4]."""
        n, side = len(images), images.shape[-1]
        return images.new_ones(n, 2, side, side), images.new_ones(n, 2, side // 4, side // 4)


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
