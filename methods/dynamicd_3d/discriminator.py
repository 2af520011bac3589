"""DynamicD's discriminator where it is told the pose of an image in place of its class."""

from __future__ import annotations

import copy

import torch
from torch import Generator

from methods.blocks.dynamic_discriminator import DynamicDiscriminator
from methods.blocks.pose_discriminator import POSE
from methods.blocks.style_discriminator import StyleDiscriminator


class PosedDynamicDiscriminator(DynamicDiscriminator):
    """A DynamicDiscriminator whose embedding of a class may have been replaced by one of poses (``told_poses``)."""

    @torch.no_grad()
    def extract_subnet(self, ratio: float) -> StyleDiscriminator:
        """As the base class; what embeds the pose is not thinned."""
        poses = self.embedding
        if poses is None:
            return super().extract_subnet(ratio)
        plain = StyleDiscriminator(self.options, self.block_sizes[0], Generator(), self.image_channels, POSE)
        self.embedding = plain.embedding  # of the layers that the base class builds and copies
        try:
            made = super().extract_subnet(ratio)
        finally:
            self.embedding = poses
        made.embedding = copy.deepcopy(poses)
        return made
