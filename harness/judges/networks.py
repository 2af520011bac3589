"""Three small networks that read generated pictures: pose, attributes (feature space ``proc-v1``) and depth.

All take float32 images [N,3,H,W] in [-1,1] with H = W a multiple of 8. Scales are buffers, so that a weights file
is complete.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 64
POSE_WIDTHS = (32, 64, 96, 128)
DEPTH_WIDTHS = (16, 32, 64, 96)
DEPTH_GAIN = 20.0  # the depth net predicts log(z / camera distance) times this, so that outputs are of order one


def _trunk(resolution: int) -> nn.Sequential:
    """3x3 convolution, then 4x4-stride-2 convolutions with batch norm until the grid is 4x4; linear to 64."""
    layers: list[nn.Module] = [nn.Conv2d(3, POSE_WIDTHS[0], 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
    width, grid, level = POSE_WIDTHS[0], resolution, 1
    while grid > 4:
        out = POSE_WIDTHS[min(level, len(POSE_WIDTHS) - 1)]
        layers += [
            nn.Conv2d(width, out, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.LeakyReLU(0.1, inplace=True),
        ]
        width, grid, level = out, grid // 2, level + 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * grid * grid, FEATURES))


class PoseNet(nn.Module):
    """Azimuth and elevation of the camera; the azimuth as a point on the circle, so any prior is served."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.trunk = _trunk(resolution)
        self.head = nn.Linear(FEATURES, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N,3,H,W] -> [N,3]: sine and cosine of the azimuth, and the elevation in radians."""
        return self.head(F.leaky_relu(self.trunk(images), 0.1))

    @staticmethod
    def angles(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs [N,3] -> azimuth in (-pi, pi] and elevation, both [N] radians."""
        return torch.atan2(outputs[:, 0], outputs[:, 1]), outputs[:, 2]


class AttributeNet(nn.Module):
    """Standardised procedural attributes; its 64-d layer before the last is the feature space ``proc-v1``."""

    centre: Tensor
    scale: Tensor

    def __init__(self, resolution: int, attributes: int) -> None:
        super().__init__()
        self.trunk = _trunk(resolution)
        self.head = nn.Linear(FEATURES, attributes)
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))

    def features(self, images: Tensor) -> Tensor:
        """Images [N,3,H,W] -> [N,64], each column standardised on real images: distances are in squared sd."""
        return (self.trunk(images) - self.centre) / self.scale

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Set centre and scale from features [N,64] of real images (taken while they are 0 and 1)."""
        self.centre.copy_(features.double().mean(0))
        self.scale.copy_(features.double().std(0).clamp(min=1e-6))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N,3,H,W] -> [N,A] standardised attributes."""
        return self.head(F.leaky_relu(self.trunk(images), 0.1))


class _Block(nn.Module):
    """Two 3x3 convolutions with group norm (8 channels a group)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(outputs // 8, outputs),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(outputs // 8, outputs),
            nn.LeakyReLU(0.1, inplace=True),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


class DepthNet(nn.Module):
    """U-Net for z-depth inside the object; what it says about the background means nothing."""

    radius: Tensor

    def __init__(self, radius: float) -> None:
        super().__init__()
        widths = DEPTH_WIDTHS
        self.down = nn.ModuleList(_Block(i, o) for i, o in zip((3, *widths[:-1]), widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_Block(below + skip, skip) for below, skip in pairs)
        self.head = nn.Conv2d(widths[0], 1, 1)
        self.register_buffer("radius", torch.tensor(float(radius)))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N,3,H,W] -> [N,H,W]: log(z / camera distance) times ``DEPTH_GAIN``."""
        skips, h = [], images
        for level, block in enumerate(self.down):
            h = block(F.avg_pool2d(h, 2) if level else h)
            skips.append(h)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            h = block(torch.cat([F.interpolate(h, scale_factor=2, mode="nearest"), skip], dim=1))
        return self.head(h)[:, 0]

    def depth(self, images: Tensor) -> Tensor:
        """Images [N,3,H,W] -> z-depth [N,H,W] in object radii."""
        return torch.exp(self(images) / DEPTH_GAIN) * self.radius
