"""DynamicD over the tri-plane generator: a radiance-field GAN whose discriminator changes its width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor

from harness.types import Context, DataSpec
from methods.blocks.dynamic_scheme import parse_dynamic
from methods.blocks.fresh_moments import FreshMoments
from methods.blocks.pose_discriminator import told_poses
from methods.blocks.triplane_gan import TriplaneGan
from methods.dynamicd_3d.discriminator import PosedDynamicDiscriminator

if TYPE_CHECKING:
    from harness.types import Batch


class DynamicD3D(TriplaneGan):
    """Trains ``triplane`` with a discriminator that uses a moving share of its channels (Yang et al., NeurIPS 2022).

    Equal seeds give the images, latents, cameras and jitter of ``triplane``; at ratio 1 the training is the same bit
    for bit.
    """

    name: ClassVar[str] = "dynamicd_3d"
    discriminator: PosedDynamicDiscriminator

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.dynamic, self.width = parse_dynamic(config, self.name)
        super().__init__(config, data, context)
        if self.width is not None and self.width.select != "prefix" and self.width.resample == "forward":
            self.options = replace(self.options, d_passes=2)  # fakes and reals are judged by different channels
        self.ages = FreshMoments(self.optimiser_d) if self.dynamic.adam_state == "fresh" else None

    def _discriminator(self, seeded: Generator) -> PosedDynamicDiscriminator:
        o = self.options
        network = PosedDynamicDiscriminator(
            o.judge,
            self.resolution,
            seeded,
            **self._discriminator_shape(),
            width=self.width,
            seed=self.context.seed,
        )
        return told_poses(network, o.d_pose_layers, seeded) if o.d_pose else network

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One step of ``triplane`` at the ratio of ``step``."""
        width = self.discriminator.width
        if width is None:
            return super().train_step(batch, step)
        batch_size = self.options.batch_size
        width.begin(step, batch_size, self.context.total_steps * batch_size)
        log = super().train_step(batch, step)
        return {**log, "ratio": torch.full((), width.ratio, device=self.context.device)}

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        return parts if self.ages is None else {**parts, "ages": self.ages}
