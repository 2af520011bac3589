"""A tri-plane generator in the training of radiance-field GANs (EG3D, Chan et al., CVPR 2022)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Generator

from harness.types import ConfigError, Context, DataSpec
from methods.blocks.radiance_gan import RadianceGan
from methods.blocks.triplane_generator import TriplaneGenerator
from methods.blocks.triplane_options import parse_triplane


class TriplaneGan(RadianceGan):
    """``RadianceGan`` whose scenes are three planes of features, decoded by a small network."""

    name: ClassVar[str] = "triplane"

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.networks = parse_triplane(config, self.name)
        self.upsamples = self.networks.super_resolution
        super().__init__(config, data, context)
        if not self.upsamples and (self.options.dual or self.options.rays[-1] != data.resolution):
            raise ConfigError(
                "what is rendered is the image",
                where=f"{self.name}.super_resolution",
                remedy=f"Let rays end with {data.resolution} and use dual=false, or turn super_resolution on.",
            )
        if self.options.path_weight:
            raise ConfigError(
                "the path length needs second derivatives, which bilinear samples of planes lack",
                where=f"{self.name}.path_weight",
                remedy="Use path_weight=0.",
            )

    def _generator(self, seeded: Generator) -> TriplaneGenerator:
        return TriplaneGenerator(self.networks, self.resolution, self.options.density, seeded)
