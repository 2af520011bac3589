"""The segmentation networks by name: their preset keys, and how one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator

from harness.types import ConfigError, Context
from methods.blocks.convolution import to_channels_last
from methods.blocks.daformer import DaFormer
from methods.blocks.deeplab_v2 import DeepLabV2
from methods.blocks.deeplab_v3plus import DeepLabV3Plus
from methods.blocks.dilated_resnet import SSL_STEM, V1C_STEM, dilated_resnet101, resnet_names
from methods.blocks.micro_attention import micro_attention
from methods.blocks.micro_conv import micro_conv
from methods.blocks.micro_network import MicroNetwork
from methods.blocks.mix_transformer import transformer_names
from methods.blocks.pretrained_encoder import load_pretrained
from methods.blocks.pspnet import PspNet
from methods.blocks.segmentation_layers import Norm, SegmentationOutput

__all__ = ["NetworkName", "NetworkOptions", "SegmentationOutput", "build_network", "check_network"]

NetworkName = Literal[
    "micro_conv", "micro_attention", "deeplab_v2_red", "deeplab_v2", "deeplab_v3plus", "pspnet", "daformer"
]

SegmentationNetwork = MicroNetwork | DeepLabV2 | DeepLabV3Plus | PspNet | DaFormer
"""What ``build_network`` returns: modules with ``align_corners`` and ``head_parameters()``."""


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


_HAS = {
    "representation": ("micro_conv", "micro_attention", "deeplab_v3plus"),
    "auxiliary": ("deeplab_v3plus",),
    "dropout": ("micro_conv", "micro_attention", "deeplab_v3plus", "daformer"),
}
"""Optional part -> the networks that have it."""

_MICRO = ("micro_conv", "micro_attention")


def build_network(options: NetworkOptions, classes: int, context: Context, generator: Generator) -> SegmentationNetwork:
    """The network on ``context.device``, channels-last, with initial weights from the CPU ``generator`` alone.

    Its ``forward(images [B,3,H,W] in [-1,1], generator=None)`` returns a ``SegmentationOutput``; in training mode
    dropout draws from ``generator`` (on the network's device) and is off without one. ``align_corners`` says how its
    logits are resized, ``head_parameters()`` lists the parameters behind the encoder. Raises ConfigError for a part
    that the network does not have, MissingAsset for weights that are not here.
    """
    check_network(options)
    with torch.random.fork_rng(devices=[]):  # the layers' own initial weights are overwritten
        network = _build(options, classes, generator)
    if options.pretrained != "none":
        rename = transformer_names if options.network == "daformer" else resnet_names
        load_pretrained(network.get_submodule("encoder"), options.pretrained, rename)
    to_channels_last(network)
    return network.to(context.device)


def check_network(options: NetworkOptions) -> None:
    """Raise ConfigError where the options ask for what the network does not have."""
    o = options
    for part, having in _HAS.items():
        if getattr(o, part) and o.network not in having:
            remedy = f"Set {part}={type(getattr(o, part))()}, or choose {', '.join(having)}."
            raise ConfigError(f"{o.network} has no {part}", where=part, remedy=remedy)
    if not 0.0 <= o.dropout < 1.0:
        raise ConfigError(f"{o.dropout} is not a probability below 1", where="dropout")
    if o.representation < 0:
        raise ConfigError(f"must not be negative, got {o.representation}", where="representation")
    if o.network in _MICRO:
        if o.width < 1:
            raise ConfigError(f"must be positive, got {o.width}", where="width")
        if o.pretrained != "none":
            raise ConfigError(f"there are no published weights of {o.network}", where="pretrained", remedy="Set none.")
    elif o.norm != "batch":
        raise ConfigError(f"{o.network} has batch norm, not {o.norm} norm", where="norm", remedy="Set norm=batch.")


def _build(o: NetworkOptions, classes: int, generator: Generator) -> SegmentationNetwork:
    match o.network:
        case "micro_conv":
            return micro_conv(classes, o.width, o.norm, o.representation, o.dropout, generator)
        case "micro_attention":
            return micro_attention(classes, o.width, o.norm, o.representation, o.dropout, generator)
        case "daformer":
            return DaFormer(classes, o.dropout, generator)
        case "deeplab_v2_red":
            encoder = dilated_resnet101(V1C_STEM, (1, 1, 1), False, generator)
            return DeepLabV2(encoder, classes, (6, 12), False, generator)
    encoder = dilated_resnet101(SSL_STEM, (2, 2, 4), True, generator)
    match o.network:
        case "deeplab_v2":
            return DeepLabV2(encoder, classes, (6, 12, 18, 24), True, generator)
        case "pspnet":
            return PspNet(encoder, classes, generator)
        case "deeplab_v3plus":
            return DeepLabV3Plus(encoder, classes, o.representation, o.auxiliary, o.dropout, generator)
