"""PSPNet with learnt sub-pixel upsampling, as in FST's semi-supervised experiments (FST, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.backbones.published import ResNetStages
from methods.blocks.dilated_resnet import WIDTH
from methods.blocks.segmentation_layers import SegmentationOutput, Standardise, conv_norm_relu, draw_default, resize

BINS = (1, 2, 3, 6)
MIDDLE = 512
UPSAMPLINGS = 3


class PspNet(nn.Module):
    """Logits at full resolution (stride 8, then three doublings), from means over 1, 4, 9 and 36 regions.

    Initial weights: PyTorch's default; He-uniform in the fusing convolution; every doubling starts as He-normal nearest
    upsampling (ICNR, Aitken et al. 2017). The sizes of the output are the next multiples of 8.
    """

    align_corners = True

    def __init__(self, encoder: ResNetStages, classes: int, generator: Generator) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.encoder = encoder
        self.pools = nn.ModuleList(conv_norm_relu(WIDTH, WIDTH // len(BINS), 1, "batch") for _ in BINS)
        self.fuse = conv_norm_relu(2 * WIDTH, MIDDLE, 3, "batch")
        self.classifier = nn.Conv2d(MIDDLE, classes, 1, bias=False)
        doublings = [nn.Conv2d(classes, 4 * classes, 1) for _ in range(UPSAMPLINGS)]
        self.doublings = nn.ModuleList(doublings)
        for part in (self.pools, self.fuse, self.classifier, self.doublings):
            draw_default(part, generator)
        nn.init.kaiming_uniform_(self.fuse.get_parameter("0.weight"), nonlinearity="relu", generator=generator)
        for layer in doublings:
            kernel = torch.empty(classes, classes, 1, 1, device=layer.weight.device)
            nn.init.kaiming_normal_(kernel, nonlinearity="relu", generator=generator)
            with torch.no_grad():
                layer.weight.copy_(kernel.repeat_interleave(4, 0))

    def forward(self, images: Tensor, generator: Generator | None = None) -> SegmentationOutput:
        """Images [B,3,H,W] in [-1,1] -> logits [B,C,8h,8w], features [B,2048,h,w] at stride 8; there is no dropout."""
        *_, features = self.encoder(self.standardise(images))
        pooled = [pool(F.adaptive_avg_pool2d(features, bins)) for pool, bins in zip(self.pools, BINS, strict=True)]
        context = [resize(part, features.shape[-2:], False) for part in pooled]
        logits = self.classifier(self.fuse(torch.cat((features, *context), 1)))
        for layer in self.doublings:
            logits = F.pixel_shuffle(F.relu(layer(logits)), 2)
        return SegmentationOutput(logits, features)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the encoder."""
        heads = (self.pools, self.fuse, self.classifier, self.doublings)
        return (parameter for head in heads for parameter in head.parameters())
