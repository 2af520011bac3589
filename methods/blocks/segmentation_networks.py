"""The segmentation networks by name: their preset keys, and how one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, nn

from harness.types import Context
from methods.blocks.convolution import to_channels_last
from methods.blocks.micro_attention import micro_attention
from methods.blocks.micro_conv import micro_conv
from methods.blocks.segmentation_layers import Norm, SegmentationOutput

__all__ = ["NetworkName", "NetworkOptions", "SegmentationOutput", "build_network"]

NetworkName = Literal[
    "micro_conv", "micro_attention", "deeplab_v2_red", "deeplab_v2", "deeplab_v3plus", "pspnet", "daformer"
]


@dataclass(frozen=True)
class NetworkOptions:
    """Preset keys of every method that trains a segmentation network.

    ``width`` and ``norm`` shape the micro networks only; ``pretrained`` is "none" or the name of a local weights file;
    ``representation`` is the width of the embedding head (0: none); ``auxiliary`` adds the auxiliary classifier;
    ``dropout`` is the probability with which a channel before a classifier is dropped.
    """

    network: NetworkName
    width: int
    norm: Norm
    pretrained: str
    representation: int
    auxiliary: bool
    dropout: float


def build_network(options: NetworkOptions, classes: int, context: Context, generator: Generator) -> nn.Module:
    """The network on ``context.device``, channels-last, with initial weights from the CPU ``generator`` alone.

    Raises ConfigError for a part that the network does not have, MissingAsset for weights that are not here.
    """
    o = options
    with torch.random.fork_rng(devices=[]):  # the layers' own initial weights are overwritten
        build = micro_conv if o.network == "micro_conv" else micro_attention
        network = build(classes, o.width, o.norm, o.representation, o.dropout, generator)
    return to_channels_last(network).to(context.device)
