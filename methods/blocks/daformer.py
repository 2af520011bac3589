"""DAFormer: a MiT-B5 encoder and a context-aware fusion of its four scales (Hoyer et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from methods.blocks.mix_transformer import B5, MixTransformer, draw_transformer
from methods.blocks.segmentation_layers import (
    SegmentationOutput,
    Standardise,
    conv_norm_relu,
    drop_channels,
    resize,
)

MIDDLE = 256
RATES = (6, 12, 18)
PATH = 0.1


def _separable(inputs: int, rate: int) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, 3, 1, rate, rate, groups=inputs, bias=False)
    return nn.Sequential(
        depthwise, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), conv_norm_relu(inputs, MIDDLE, 1, "batch")
    )


class FusionHead(nn.Module):
    """Embeds every scale, resizes it to the finest, fuses all by an ASPP with depthwise-separable convolutions."""

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embeds = nn.ModuleList(nn.Linear(width, MIDDLE) for width in B5.widths)
        fused = MIDDLE * len(B5.widths)
        self.branches = nn.ModuleList(
            [conv_norm_relu(fused, MIDDLE, 1, "batch"), *(_separable(fused, rate) for rate in RATES)]
        )
        self.bottleneck = conv_norm_relu(MIDDLE * (1 + len(RATES)), MIDDLE, 3, "batch")
        self.classifier = nn.Conv2d(MIDDLE, classes, 1)

    def forward(self, maps: list[Tensor], generator: Generator | None) -> Tensor:
        embedded = [
            embed(scale.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for embed, scale in zip(self.embeds, maps, strict=True)
        ]
        joined = torch.cat([resize(x, maps[0].shape[-2:], DaFormer.align_corners) for x in embedded], 1)
        fused = self.bottleneck(torch.cat([branch(joined) for branch in self.branches], 1))
        return self.classifier(drop_channels(fused, self.dropout, generator))


class DaFormer(nn.Module):
    """Logits at stride 4. Initial weights as SegFormer's throughout, N(0, 0.01^2) in the classifier."""

    align_corners = False

    def __init__(self, classes: int, dropout: float, generator: Generator) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.encoder = MixTransformer(B5, PATH)
        self.head = FusionHead(classes, dropout)
        draw_transformer(self, generator)
        nn.init.normal_(self.head.classifier.weight, 0.0, 0.01, generator=generator)

    def forward(self, images: Tensor, generator: Generator | None = None) -> SegmentationOutput:
        """Images [B,3,H,W] in [-1,1] -> logits [B,C,H/4,W/4], features [B,512,H/32,W/32]."""
        generator = generator if self.training else None
        maps = self.encoder(self.standardise(images), generator)
        return SegmentationOutput(self.head(maps, generator), maps[-1])

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the encoder."""
        return self.head.parameters()
