"""DeepLab v2: the sum of parallel dilated convolutions on a dilated ResNet-101 (Chen et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from harness.backbones.published import ResNetStages
from methods.blocks.dilated_resnet import WIDTH
from methods.blocks.segmentation_layers import SegmentationOutput, Standardise


class DeepLabV2(nn.Module):
    """Logits at stride 8: one 3x3 convolution with bias per dilation in ``rates``, summed; weights N(0, 0.01^2)."""

    def __init__(
        self, encoder: ResNetStages, classes: int, rates: tuple[int, ...], align_corners: bool, generator: Generator
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.standardise = Standardise()
        self.encoder = encoder
        classifiers = [nn.Conv2d(WIDTH, classes, 3, 1, rate, rate) for rate in rates]
        self.classifiers = nn.ModuleList(classifiers)
        for layer in classifiers:
            nn.init.normal_(layer.weight, 0.0, 0.01, generator=generator)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, images: Tensor, generator: Generator | None = None) -> SegmentationOutput:
        """Images [B,3,H,W] in [-1,1] -> logits [B,C,H/8,W/8], features [B,2048,H/8,W/8]; there is no dropout."""
        *_, features = self.encoder(self.standardise(images))
        return SegmentationOutput(torch.stack([layer(features) for layer in self.classifiers]).sum(0), features)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the encoder."""
        return self.classifiers.parameters()
