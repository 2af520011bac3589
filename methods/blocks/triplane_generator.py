"""A generator of three feature planes per scene, volume-rendered from any camera (EG3D, Chan et al. 2022)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from harness.types import Cameras
from methods.blocks.field_rendering import Density, Field, FieldView, Rendering, render_field
from methods.blocks.pose_discriminator import POSE, PoseMapping
from methods.blocks.style_mapping import Mapping
from methods.blocks.style_options import num_ws
from methods.blocks.style_synthesis import Synthesis
from methods.blocks.triplane_decoder import TriplaneDecoder
from methods.blocks.triplane_options import TriplaneOptions
from methods.blocks.triplane_sampling import sample_planes
from methods.blocks.triplane_upsampler import SuperResolution


class TriplaneGenerator(nn.Module):
    """Latents to codes, codes to planes (a scene, shared by all its views), planes and cameras to images.

    Planes come from StyleGAN2's synthesis network with 3 C channels in place of an image's. Raises ConfigError where
    super-resolution cannot reach ``resolution``.
    """

    def __init__(self, options: TriplaneOptions, resolution: int, density: Density, generator: Generator) -> None:
        super().__init__()
        self.options, self.density = options, density
        networks, layers = options.networks, num_ws(options.plane_size)
        self.mapping = Mapping(networks, layers, generator)
        if options.g_pose:
            self.mapping.network = PoseMapping(
                options.z_dim, options.w_dim, options.mapping_layers, options.mapping_rate, POSE, generator
            )
        self.synthesis = Synthesis(networks, options.plane_size, generator, 3 * options.plane_channels)
        self.decoder = TriplaneDecoder(
            options.plane_channels,
            options.decoder_width,
            options.feature_channels,
            generator,
            activation=options.decoder_act,
            scale=options.plane_gain / 3,
            colour_gain=options.colour_gain,
            colour_margin=options.colour_margin,
        )
        self.upsampler: SuperResolution | None = None
        if options.super_resolution:
            self.upsampler = SuperResolution(
                options.feature_channels, options.sr_channels, resolution, networks, generator
            )

    def codes(self, z: Tensor, pose: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Codes [B,L,W] of latents [B,Z]; ``pose`` [B,25] where the options have ``g_pose`` (ConfigError without).

        ``truncation`` moves them towards the running mean of W, which follows the codes of training steps of G.
        """
        following = self.training and torch.is_grad_enabled()
        return self.mapping(z, pose, truncation=truncation, update_average=following)

    def scene(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Planes float32 [B,3,C,H,W] of codes [B,L,W], and the last code [B,W], which drives the super-resolution."""
        image = self.synthesis(codes).image.contiguous()
        return image.unflatten(1, (3, self.options.plane_channels)), codes[:, -1]

    def field(self, scene: tuple[Tensor, Tensor]) -> Field:
        """The field of B scenes: raw density and colour or features in [0,1], the same from every direction."""
        planes, o = scene[0], self.options

        def evaluate(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
            return self.decoder(sample_planes(planes, points / o.box, o.planes, o.outside))

        return evaluate

    def render(
        self,
        scene: tuple[Tensor, Tensor],
        cameras: Cameras,
        resolution: int,
        how: Rendering,
        generator: Generator | None = None,
    ) -> tuple[Tensor, Tensor | None, FieldView]:
        """Images of B scenes from B cameras with ``resolution`` r rays across, and the view of the field.

        Without super-resolution the image [B,3,r,r] and None; with it the image [B,3,R,R] and the rendered image
        [B,3,r,r]: the first three features. All in [-1,1], the upsampled image only about.
        """
        view = render_field(self.field(scene), cameras, resolution, how, self.density, generator)
        features = view.features * 2 - 1
        if self.upsampler is None:
            return features, None, view
        return self.upsampler(features, scene[1]), features[:, :3], view
