"""Geometry heads of GeoD (Shi et al. 2022): networks that learn from real images alone to read geometry from an image.

All have one interface. What they say of a generated image is compared with what the generator itself has rendered.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import DataError, PosePrior
from methods.blocks.depth_losses import bin_loss, log_depth_loss, scale_shift_loss
from methods.blocks.depth_normals import depth_normals
from methods.blocks.depth_unet import DepthUnet

LOG_GAIN = 0.1  # one unit of a network's output in log depth: outputs are then of order one
COVERAGE_WEIGHT = 0.02
RELEASED_BINS = 10
BIN_WEIGHTS = (0.8, 0.001)
"""Weights of the cross entropy of bins on real and on generated images (DepthGAN)."""


@dataclass(frozen=True)
class Geometry:
    """What a head reads from images: z-depth ``depth`` [B,h,w] in world units as seen in the image, and ``mask``, float
    [B,1,h,w], the pixels where it means something (no gradient)."""

    depth: Tensor
    mask: Tensor


class GeometryHead(nn.Module):
    """Reads depth and normals from images [B,3,H,W] in [-1,1] seen by the cameras of ``prior``.

    Everything is differentiable with respect to the images and works with frozen parameters. Networks run in the
    caller's autocast, everything behind them in fp32.
    """

    def __init__(self, prior: PosePrior) -> None:
        super().__init__()
        self.fov = prior.fov

    @abstractmethod
    def learn(self, images: Tensor, depth: Tensor | None) -> dict[str, Tensor]:
        """Losses on real images: ``total``, to be back-propagated by the caller, and its parts, detached.

        ``depth``: exact z-depth [B,H,W], 0 where there is no object; None for heads that learn from images alone.
        """

    @abstractmethod
    def geometry(self, images: Tensor) -> Geometry:
        """Depth and its mask."""

    def confidence(self, images: Tensor) -> Tensor | None:
        """How wrong the head expects to be, [B,1,h,w] > 0, or None for heads that have no such output."""
        return None

    def depth(self, images: Tensor) -> Tensor:
        """z-depth [B,h,w] in world units."""
        return self.geometry(images).depth

    def normals(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unit normals [B,3,h,w] in the view of the image, and where they mean something, float [B,1,h,w]: never in the
        outermost ring, which has no central differences."""
        seen = self.geometry(images)
        return depth_normals(seen.depth, self.fov), F.pad(seen.mask[:, :, 1:-1, 1:-1], (1, 1, 1, 1))


class SupervisedHead(GeometryHead):
    """``depth_supervised``: a U-Net that learns log depth from pairs of real image and exact depth.

    A second output learns where the object is. It tests the mechanism of GeoD, not learning without labels.
    """

    def __init__(self, prior: PosePrior, generator: Generator, widths: tuple[int, ...] = (16, 32, 48, 64)) -> None:
        super().__init__(prior)
        self.radius = prior.radius
        self.network = DepthUnet(widths, 2, generator).to(memory_format=torch.channels_last)

    def learn(self, images: Tensor, depth: Tensor | None) -> dict[str, Tensor]:
        """Mean L1 of log depth over the object's pixels, and a cross entropy of the object's mask."""
        depth = _needed(depth, images)
        level, logit = self._outputs(images)
        error = log_depth_loss(level, depth / self.radius)
        coverage = F.binary_cross_entropy_with_logits(logit, (depth > 0).float())
        total = error / LOG_GAIN + COVERAGE_WEIGHT * coverage
        return {"total": total, "log_depth": error.detach(), "coverage": coverage.detach()}

    def geometry(self, images: Tensor) -> Geometry:
        """Depth everywhere; the mask holds the pixels that look like the object's."""
        level, logit = self._outputs(images)
        return Geometry(level.exp() * self.radius, (logit.detach() > 0).float()[:, None])

    def _outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log of depth over camera distance, and logit of being the object's, [B,H,W]."""
        level, logit = self.network(images.contiguous(memory_format=torch.channels_last)).float().unbind(1)
        return level * LOG_GAIN, logit


class SceneHead(GeometryHead):
    """``scene``: a U-Net for depth up to scale and shift, by regression of its logarithm or by ``bins`` of depth.

    ``bins`` 0 regresses; 10 is the discriminator's branch of DepthGAN, which reports the mean depth of its bins.
    """

    def __init__(
        self, prior: PosePrior, generator: Generator, widths: tuple[int, ...] = (16, 32, 48, 64), bins: int = 0
    ) -> None:
        super().__init__(prior)
        self.near, self.far, self.bins = prior.near, prior.far, bins
        self.network = DepthUnet(widths, bins or 1, generator).to(memory_format=torch.channels_last)

    def learn(self, images: Tensor, depth: Tensor | None) -> dict[str, Tensor]:
        """L1 of log depth, or 0.8 times the cross entropy of bins, over the pixels that have a depth."""
        depth = _needed(depth, images)
        outputs = self._outputs(images)
        if self.bins:
            entropy = bin_loss(outputs, depth, self.near, self.far)
            return {"total": BIN_WEIGHTS[0] * entropy, "bins": entropy.detach()}
        error = log_depth_loss(self._level(outputs), depth / self.near)
        return {"total": error / LOG_GAIN, "log_depth": error.detach()}

    def geometry(self, images: Tensor) -> Geometry:
        """Depth everywhere, with a full mask."""
        depth = self._depth(self._outputs(images))
        return Geometry(depth, torch.ones_like(depth)[:, None])

    def compare(self, images: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
        """Loss of generated images whose rendered z-depth is ``depth`` [B,H,W], inside ``mask`` [B,H,W].

        Regression: L1 of both depths, each brought to its own scale and shift. Bins: 0.001 times their cross entropy,
        which reaches the generator through its picture only.
        """
        outputs = self._outputs(images)
        if self.bins:
            inside = torch.where(mask > 0, depth, 0.0)
            return BIN_WEIGHTS[1] * bin_loss(outputs, inside, self.near, self.far)
        return scale_shift_loss(self._depth(outputs), depth, mask)

    def _outputs(self, images: Tensor) -> Tensor:
        return self.network(images.contiguous(memory_format=torch.channels_last)).float()

    def _level(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0] * LOG_GAIN

    def _depth(self, outputs: Tensor) -> Tensor:
        if not self.bins:
            return self._level(outputs).exp() * self.near
        centres = (torch.arange(self.bins, device=outputs.device) + 0.5) * ((self.far - self.near) / self.bins)
        return (outputs.softmax(1) * (self.near + centres)[:, None, None]).sum(1)


def _needed(depth: Tensor | None, images: Tensor) -> Tensor:
    if depth is None or depth.shape != (len(images), *images.shape[2:]):
        shape = None if depth is None else list(depth.shape)
        raise DataError(
            f"depth is {shape}, images are {list(images.shape)}",
            where="geometry head",
            remedy="A head that learns depth needs the field `depth` [B,H,W] of its images.",
        )
    return depth.float()
