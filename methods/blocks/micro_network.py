"""A small encoder-decoder for dense prediction whose deepest stage is convolutional or made of attention."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from methods.blocks.segmentation_layers import (
    Norm,
    SegmentationOutput,
    conv_norm_relu,
    drop_channels,
    resize,
)


class MicroNetwork(nn.Module):
    """Encoder at strides 1, 2 and 4 with ``width``, 2 ``width``, 4 ``width`` channels; decoder back to full size.

    ``deep`` maps [B,4 width,H/4,W/4] to the same shape. Every convolution but the last has a norm and a ReLU and no
    bias. ``representation`` adds a head of so many channels on the decoder's map at half resolution.
    """

    align_corners = False

    def __init__(
        self, deep: nn.Module, classes: int, width: int, norm: Norm, representation: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.encode_full = conv_norm_relu(3, width, 3, norm)
        self.encode_half = nn.Sequential(
            conv_norm_relu(width, 2 * width, 3, norm, stride=2), conv_norm_relu(2 * width, 2 * width, 3, norm)
        )
        self.encode_quarter = conv_norm_relu(2 * width, 4 * width, 3, norm, stride=2)
        self.deep = deep
        self.decode_half = conv_norm_relu(6 * width, 2 * width, 3, norm)
        self.decode_full = conv_norm_relu(3 * width, width, 3, norm)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.represent = (
            nn.Sequential(conv_norm_relu(2 * width, 2 * width, 3, norm), nn.Conv2d(2 * width, representation, 1))
            if representation
            else None
        )

    def forward(self, images: Tensor, generator: Generator | None = None) -> SegmentationOutput:
        """Images [B,3,H,W] in [-1,1] -> logits [B,C,H,W], features [B,4 width,H/4,W/4], representation at half size."""
        generator = generator if self.training else None
        # (x - 0.45) / 0.25 of colours in [0,1]
        full = self.encode_full((images * 2.0 + 0.2).contiguous(memory_format=torch.channels_last))
        half = self.encode_half(full)
        features = self.deep(self.encode_quarter(half), generator)
        up = resize(features, half.shape[-2:], self.align_corners)
        middle = self.decode_half(torch.cat((up, half), 1))
        up = resize(middle, full.shape[-2:], self.align_corners)
        last = self.decode_full(torch.cat((up, full), 1))
        logits = self.classifier(drop_channels(last, self.dropout, generator))
        return SegmentationOutput(logits, features, None if self.represent is None else self.represent(middle))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the encoder."""
        heads = (self.decode_half, self.decode_full, self.classifier, self.represent)
        return (parameter for head in heads if head is not None for parameter in head.parameters())
