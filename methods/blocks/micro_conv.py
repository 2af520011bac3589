"""The small convolutional segmentation network."""

from __future__ import annotations

from torch import Generator, Tensor, nn

from methods.blocks.micro_network import MicroNetwork
from methods.blocks.segmentation_layers import Norm, conv_norm_relu, draw_default


class DilatedStage(nn.Module):
    """Two 3x3 convolutions of dilation 2 and 4 with norm and ReLU on [B,C,h,w]."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(conv_norm_relu(channels, channels, 3, norm, dilation=dilation) for dilation in (2, 4))
        )

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        return self.layers(x)


def micro_conv(
    classes: int, width: int, norm: Norm, representation: int, dropout: float, generator: Generator
) -> MicroNetwork:
    """The network with a dilated deepest stage: 141,735 parameters at 7 classes and width 16, PyTorch's default initial
    weights drawn from ``generator``."""
    network = MicroNetwork(DilatedStage(4 * width, norm), classes, width, norm, representation, dropout)
    draw_default(network, generator)
    return network
