"""StyleGAN2's discriminator told from where an image was seen (EG3D, Chan et al. 2022, section 4.4)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Generator, Tensor

from harness.types import Cameras, ConfigError
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_mapping import MappingNetwork

POSE = 25  # numbers of a pose label

D = TypeVar("D", bound=StyleDiscriminator)


def pose_label(cameras: Cameras) -> Tensor:
    """The pose as EG3D's networks read it, [N,25]: camera-to-world [4,4], then normalised intrinsics [3,3]."""
    return torch.cat((cameras.cam2world.flatten(1), cameras.intrinsics.flatten(1)), 1)


class PoseMapping(MappingNetwork):
    """A mapping network whose label is a float vector [N,``pose``] in place of a class, embedded linearly."""

    def __init__(self, z_dim: int, outputs: int, layers: int, rate: float, pose: int, generator: Generator) -> None:
        super().__init__(z_dim, outputs, layers, rate, pose, generator)

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """[N,z_dim] (None where z_dim is 0) and [N,pose] to [N,outputs], in fp32. ConfigError without a label."""
        if label is None or self.embedding is None:
            raise ConfigError("a network that is told the pose needs a camera", where="mapping")
        with torch.autocast(label.device.type, enabled=False):
            parts = [] if z is None else [_normalised(z.float())]
            x = torch.cat([*parts, _normalised(self.embedding(label.float()))], 1)
            for layer in self.layers:
                x = layer(x)
            return x


def told_poses(network: D, layers: int, generator: Generator) -> D:
    """``network``, built with ``POSE`` classes, with float pose labels [N,25] in place of classes.

    The logit is the product of what the network sees with what ``layers`` layers make of the pose (Miyato & Koyama
    2018). Works in place, on subclasses too. Raises ConfigError for a network without classes.
    """
    if network.embedding is None or network.embedding.classes != POSE:
        raise ConfigError(f"a discriminator of poses is built with {POSE} classes", where="discriminator")
    outputs = network.layers[-1][1].weight.shape[0]
    network.embedding = PoseMapping(0, outputs, layers, network.options.mapping_rate, POSE, generator)
    return network


def _normalised(x: Tensor) -> Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()
