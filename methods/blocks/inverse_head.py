"""The geometry head of GeoD for objects: the inverse renderer of Unsup3D (Wu et al. 2020), learnt from images alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from harness.types import PosePrior
from methods.blocks.geometry_head import Geometry, GeometryHead
from methods.blocks.inverse_losses import PerceptualFeatures, feature_loss, laplacian_loss, smoothness
from methods.blocks.inverse_networks import InverseNetworks, InverseSizes
from methods.blocks.inverse_rendering import (
    InverseRanges,
    canonical_depth,
    canonical_image,
    pose_of,
    ranges_of,
    reproject,
    view_depth,
    with_mirrored,
)


@dataclass(frozen=True)
class InverseWeights:
    """Weights of the mirrored copy against the direct one, of the perceptual term and of smoothness."""

    mirrored: float = 0.5
    perceptual: float = 1.0
    smoothness: float = 0.0


class InverseHead(GeometryHead):
    """``inverse_renderer``: images are explained by a symmetric, lit surface seen from a free view.

    ``features`` None leaves out the perceptual term. Images of another side than ``sizes.size`` are resized by plain
    bilinear interpolation, so that geometry has that side. Weights are drawn from ``generator``'s next number.
    """

    def __init__(
        self,
        prior: PosePrior,
        generator: Generator,
        sizes: InverseSizes,
        *,
        ranges: InverseRanges | None = None,
        weights: InverseWeights | None = None,
        features: PerceptualFeatures | None = None,
    ) -> None:
        super().__init__(prior)
        self.sizes, self.ranges = sizes, ranges or ranges_of(prior)
        self.weights = weights or InverseWeights()
        seed = int(torch.randint(1 << 31, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = InverseNetworks(sizes).to(memory_format=torch.channels_last)
        # In a list so that the frozen network is neither saved nor trained with the head.
        self._features = [features] if features is not None and self.weights.perceptual > 0 else []

    def learn(self, images: Tensor, depth: Tensor | None = None) -> dict[str, Tensor]:
        """Confidence-weighted reconstruction by the direct and the mirrored canonical view; ``depth`` is not read."""
        images = self._sized(images)
        count = len(images)
        networks, ranges, weights = self.networks, self.ranges, self.weights
        canonical = canonical_depth(networks.depth(images)[:, 0], ranges)
        albedo = torch.tanh(networks.albedo(images))
        light, view = networks.light(images), networks.view(images)
        fine, coarse = networks.confidence(images)
        pose = pose_of(view.repeat(2, 1), ranges)
        both = with_mirrored(canonical)
        lit = canonical_image(with_mirrored(albedo), both, light.repeat(2, 1), ranges)
        seen, mask = view_depth(both, pose, ranges)
        mask = (mask[:count] * mask[count:]).repeat(2, 1, 1, 1)  # a pixel counts where both copies explain it
        rendered = reproject(lit, seen, pose, ranges) * mask
        losses = {}
        for name, part, channel in (("direct", slice(0, count), 0), ("mirrored", slice(count, None), 1)):
            scale = fine[:, channel : channel + 1]
            losses[name] = laplacian_loss(images, rendered[part], scale, mask[part])
        total = losses["direct"] + weights.mirrored * losses["mirrored"]
        if self._features:
            direct, mirrored = self._perceptual(images, rendered, coarse, mask)
            losses["perceptual"] = direct + weights.mirrored * mirrored
            total = total + weights.perceptual * losses["perceptual"]
        if weights.smoothness > 0:
            losses["smoothness"] = smoothness(canonical, ranges.farthest - ranges.nearest)
            total = total + weights.smoothness * losses["smoothness"]
        return {"total": total, **{name: loss.detach() for name, loss in losses.items()}}

    def geometry(self, images: Tensor) -> Geometry:
        """Depth of the direct copy in the view of the image; the mask holds the pixels that both copies cover."""
        images = self._sized(images)
        canonical = canonical_depth(self.networks.depth(images)[:, 0], self.ranges)
        pose = pose_of(self.networks.view(images), self.ranges)
        depth, mask = view_depth(canonical, pose, self.ranges)
        with torch.no_grad():  # a mask has no gradient
            _, mirrored = view_depth(with_mirrored(canonical)[len(images) :], pose, self.ranges)
        return Geometry(depth, mask * mirrored)

    def confidence(self, images: Tensor) -> Tensor:
        """Expected absolute error of the direct reconstruction, [B,1,S,S]: the scale of its Laplacian."""
        return self.networks.confidence(self._sized(images))[0][:, :1]

    def _perceptual(self, images: Tensor, rendered: Tensor, coarse: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        (features,) = self._features
        features = features.to(images.device)
        with torch.no_grad():
            wanted = features(images)
        direct, mirrored = features(rendered).chunk(2)
        mask = mask[: len(images)]
        return (
            feature_loss(wanted, direct, coarse[:, :1], mask),
            feature_loss(wanted, mirrored, coarse[:, 1:], mask),
        )

    def _sized(self, images: Tensor) -> Tensor:
        size = self.sizes.size
        if images.shape[-1] != size:
            images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        return images.contiguous(memory_format=torch.channels_last)
