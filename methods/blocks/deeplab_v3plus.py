"""DeepLab v3+ as the semi-supervised methods use it: ASPP, a low-level branch and parallel heads at stride 4.

Source: U2PL, section 3.1; Chen et al. (2018).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from harness.backbones.published import ResNetStages
from methods.blocks.dilated_resnet import WIDTH
from methods.blocks.segmentation_layers import (
    SegmentationOutput,
    Standardise,
    conv_norm_relu,
    draw_default,
    drop_channels,
    resize,
)

RATES = (12, 24, 36)
MIDDLE = 256


class PyramidPooling(nn.Module):
    """ASPP: the image's mean, a 1x1 and three dilated 3x3 convolutions of 256 channels, concatenated in this order."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.image = conv_norm_relu(inputs, MIDDLE, 1, "batch")
        self.point = conv_norm_relu(inputs, MIDDLE, 1, "batch")
        self.dilated = nn.ModuleList(conv_norm_relu(inputs, MIDDLE, 3, "batch", dilation=rate) for rate in RATES)

    def forward(self, x: Tensor) -> Tensor:
        image = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return torch.cat([image, self.point(x), *(branch(x) for branch in self.dilated)], 1)


class DroppedStack(nn.Module):
    """3x3 convolutions with norm, ReLU and channel dropout each, then a 1x1 convolution to ``outputs``."""

    def __init__(self, inputs: int, outputs: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.layers = nn.ModuleList(
            conv_norm_relu(MIDDLE if place else inputs, MIDDLE, 3, "batch", bias=True) for place in range(depth)
        )
        self.last = nn.Conv2d(MIDDLE, outputs, 1)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        for layer in self.layers:
            x = drop_channels(layer(x), self.dropout, generator)
        return self.last(x)


class DeepLabV3Plus(nn.Module):
    """Logits at stride 4; ``representation`` adds a parallel head of so many channels, ``auxiliary`` one on stage 3.

    The heads keep PyTorch's default initial weights.
    """

    align_corners = True

    def __init__(
        self,
        encoder: ResNetStages,
        classes: int,
        representation: int,
        auxiliary: bool,
        dropout: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.standardise = Standardise()
        self.encoder = encoder
        self.decoder = nn.ModuleDict(
            {
                "aspp": PyramidPooling(WIDTH),
                "high": conv_norm_relu((2 + len(RATES)) * MIDDLE, MIDDLE, 3, "batch"),
                "low": conv_norm_relu(WIDTH // 8, MIDDLE, 1, "batch", bias=True),
                "classifier": DroppedStack(2 * MIDDLE, classes, 2, dropout),
            }
        )
        if representation:
            self.decoder["representation"] = DroppedStack(2 * MIDDLE, representation, 2, dropout)
        if auxiliary:
            self.decoder["auxiliary"] = DroppedStack(WIDTH // 2, classes, 1, dropout)
        draw_default(self.decoder, generator)

    def forward(self, images: Tensor, generator: Generator | None = None) -> SegmentationOutput:
        """Images [B,3,H,W] in [-1,1] -> logits and representation at stride 4, auxiliary logits and features
        [B,2048,h,w] at stride 8."""
        generator = generator if self.training else None
        finest, _, third, features = self.encoder(self.standardise(images))
        parts = self.decoder
        high = drop_channels(parts["high"](parts["aspp"](features)), self.dropout, generator)
        joined = torch.cat((parts["low"](finest), resize(high, finest.shape[-2:], self.align_corners)), 1)
        return SegmentationOutput(
            parts["classifier"](joined, generator),
            features,
            parts["representation"](joined, generator) if "representation" in parts else None,
            parts["auxiliary"](third, generator) if "auxiliary" in parts else None,
        )

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the encoder."""
        return self.decoder.parameters()
