"""VolumeGAN as a method of the harness (Xu et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import Cameras, Context, DataSpec
from methods.blocks.pose_discriminator import told_poses
from methods.blocks.radiance_gan import RadianceGan
from methods.blocks.views import Views
from methods.volumegan.discriminator import GrowingDiscriminator
from methods.volumegan.growing import Growth
from methods.volumegan.model import VolumeGenerator
from methods.volumegan.options import parse

if TYPE_CHECKING:
    from harness.types import Batch


class VolumeGAN(RadianceGan):
    """A radiance GAN whose field reads a feature volume and whose pictures a pointwise network makes of features.

    Image size and discriminator may grow; the field is rendered at one resolution throughout.
    """

    name: ClassVar[str] = "volumegan"
    slow: ClassVar[tuple[str, ...]] = ("volume",)  # its weights are not equalised
    generator: VolumeGenerator

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = self.volume_options = parse(config, data)
        first = o.grow_from or data.resolution
        sizes = tuple(first * 2**k for k in range((data.resolution // first).bit_length()))
        self.growth = Growth(sizes, o.grow_hold, o.grow_fade)
        self.mix_from = o.field_depth  # a second style changes the texture, never the shape
        self.step = 0
        radius = data.prior.radius if data.prior else 1.0
        self.unit = 1 / radius if o.length_unit == "camera_radius" else 1.0
        super().__init__(config, data, context)

    def _generator(self, seeded: Generator) -> VolumeGenerator:
        o = self.options
        return VolumeGenerator(
            self.volume_options,
            z_dim=o.z_dim,
            rays=o.rays[-1],
            resolution=self.resolution,
            density=replace(o.density, length=self.unit),
            unit=self.unit,
            generator=seeded,
        )

    def _discriminator(self, seeded: Generator) -> nn.Module:
        if len(self.growth.sizes) == 1:
            return super()._discriminator(seeded)
        o = self.options
        network = GrowingDiscriminator(o.judge, self.growth.sizes, seeded, **self._discriminator_shape())
        return told_poses(network, o.d_pose_layers, seeded) if o.d_pose else network

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One step of the radiance GAN at the image size of ``step``."""
        if self.volume_options.grow_reset and step and self._growth(step)[0] > self._growth(step - 1)[0]:
            for optimiser in (self.optimiser_g, self.optimiser_d):
                optimiser.state.clear()
        return super().train_step(batch, step)

    def _growth(self, step: int) -> tuple[int, float]:
        return self.growth.at(step / max(self.context.total_steps, 1))

    def _at(self, step: int) -> None:
        super()._at(step)
        self.step = step
        size, alpha = self._growth(step)
        for model in (self.generator, cast(VolumeGenerator, self.average.module)):
            model.grow(size, alpha)
        if isinstance(self.discriminator, GrowingDiscriminator):
            self.discriminator.alpha = alpha

    def _real(self, batch: Batch) -> Views:
        real = super()._real(batch)
        return replace(real, rgb=self._reduced(real.rgb))

    def _shown(self, rgb: Tensor, raw: Tensor | None, cameras: Cameras) -> Views:
        return super()._shown(self._reduced(rgb), raw, cameras)

    def _reduced(self, images: Tensor) -> Tensor:
        """Images at the size that the discriminator has reached: means of squares of pixels."""
        return F.avg_pool2d(images, self.resolution // self.generator.size)

    # -------------------------------------------------------------------------------------------------- scoring
    @torch.no_grad()
    def exchanged(self, shapes: Tensor, textures: Tensor) -> Tensor:
        """Codes [N,L,W] with the shape of one set of latents [N,Z] and the texture of another."""
        own, other = self.codes(shapes), self.codes(textures)
        return torch.cat((own[:, : self.mix_from], other[:, self.mix_from :]), 1)

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """The state of a radiance GAN, and the step, which says how far the image has grown."""
        return {**super().state_dict(), "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self._at(int(state["step"]))
