"""Losses of the inverse renderer on real images (Unsup3D, Wu et al. 2020; GeoD, section 4.2)."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbones.convnet import untrained
from harness.metrics.weights import WeightsFile, read_weights
from harness.types import ConfigError

VGG16 = WeightsFile(
    "vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "torchvision's VGG16_Weights.IMAGENET1K_V1",
)
RELU3_3 = 16  # layers of VGG16 up to and with this rectifier, at a quarter of the side
RANDOM_STAGES = 2  # of the untrained network: also a quarter of the side
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0,1]
_EPSILON = 1e-7

PerceptualSpace = Literal["vgg16", "random"]


class PerceptualFeatures(nn.Module):
    """Frozen feature maps at a quarter of the side, for images [B,3,S,S] in [-1,1].

    ``vgg16``: relu3_3 of the published ImageNet network, as in Unsup3D; raises MissingAsset where its file is not on
    this machine. ``random``: a small untrained network with the harness' fixed seed, for machines and budgets without
    the published one. Raises ConfigError for another name.
    """

    def __init__(self, space: PerceptualSpace, weights: Path | None = None) -> None:
        super().__init__()
        if space not in ("vgg16", "random"):
            raise ConfigError(f"unknown feature space {space!r}", where="perceptual loss", nearest=["vgg16", "random"])
        layers = _vgg16(weights) if space == "vgg16" else untrained().stages[:RANDOM_STAGES]
        self.layers = nn.Sequential(*layers.children())
        self.standardise = space == "vgg16"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps [B,C,S/4,S/4] in fp32, differentiable with respect to the images."""
        if self.standardise:
            mean, deviation = (images.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
            h = (images / 2 + 0.5 - mean) / deviation
        else:
            h = images / 2
        return self.layers(h).float()


def laplacian_loss(image: Tensor, rendered: Tensor, scale: Tensor, mask: Tensor) -> Tensor:
    """Masked mean of sqrt(2) |image - rendered| / scale + log(scale), a Laplacian's negative log likelihood.

    Images [B,3,S,S], ``scale`` > 0 and ``mask`` [B,1,S,S]; every channel counts. Least at scale = sqrt(2) |difference|.
    """
    scale = scale + _EPSILON
    return _masked_mean(math.sqrt(2) * (image - rendered).abs() / scale + scale.log(), mask)


def feature_loss(features: Tensor, rendered: Tensor, scale: Tensor, mask: Tensor) -> Tensor:
    """Masked mean of (features - rendered)^2 / (2 scale^2) + log(scale) of maps [B,C,s,s].

    ``scale`` [B,1,s,s]; ``mask`` [B,1,S,S] of the image, brought to the maps' size by averages.
    """
    mask = F.adaptive_avg_pool2d(mask, (features.shape[2], features.shape[3]))
    gauss = (features - rendered).square() / (2 * scale.square() + _EPSILON) + (scale + _EPSILON).log()
    return _masked_mean(gauss, mask)


def smoothness(depth: Tensor, extent: float) -> Tensor:
    """Mean absolute first differences of depth [B,S,S] along both axes, over ``extent``, the width of its range."""
    return (depth.diff(dim=2).abs().mean() + depth.diff(dim=1).abs().mean()) / extent


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    mask = mask.expand_as(values)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _vgg16(weights: Path | None) -> nn.Module:
    from torchvision import models  # slow to import, and needed by this space alone

    payload = read_weights(VGG16, weights)
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # initial weights would cost seconds and draw from the global generator
        layers = models.vgg16(weights=None).features[:RELU3_3]
    layers.load_state_dict({k[9:]: v for k, v in state.items() if k[9:] in layers.state_dict()}, assign=True)
    # In-place rectifiers are safe here: no map but the last is kept.
    return layers
