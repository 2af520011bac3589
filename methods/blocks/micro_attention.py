"""The small segmentation network with self-attention: a convolutional stem, then transformer blocks at stride 4."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from methods.blocks.micro_network import MicroNetwork
from methods.blocks.mix_transformer import EPS, MixBlock, draw_transformer
from methods.blocks.segmentation_layers import Norm, draw_default

BLOCKS, HEADS, RATIO = 2, 2, 2


class AttentionStage(nn.Module):
    """Transformer blocks with full attention and Mix-FFN on [B,C,h,w], then a layer norm.

    They stand in the place of the dilated convolutions, with as many weights; zero padding tells them where they are.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MixBlock(channels, HEADS, 1, RATIO, 0.0) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(channels, EPS)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        grid = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            grid = block(grid, generator)
        return self.norm(grid).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def micro_attention(
    classes: int, width: int, norm: Norm, representation: int, dropout: float, generator: Generator
) -> MicroNetwork:
    """The network with two transformer blocks as its deepest stage; the convolutions outside them start as those of
    ``micro_conv``, the blocks as SegFormer's."""
    stage = AttentionStage(4 * width)
    network = MicroNetwork(stage, classes, width, norm, representation, dropout)
    draw_default(network, generator)
    draw_transformer(stage, generator)
    return network
