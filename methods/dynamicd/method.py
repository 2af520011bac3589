"""DynamicD as a method of the harness: StyleGAN2 whose discriminator changes its width during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor

from harness.types import Context, DataSpec
from methods.blocks.dynamic_discriminator import DynamicDiscriminator
from methods.blocks.fresh_moments import FreshMoments
from methods.blocks.style_gan import StyleGAN
from methods.dynamicd.options import parse

if TYPE_CHECKING:
    from harness.types import Batch


class DynamicD(StyleGAN):
    """Trains a StyleGAN2 whose discriminator uses a moving share of its channels (Yang et al., NeurIPS 2022).

    Equal seeds give the images, latents and noise of ``stylegan2``; at ratio 1 the training is the same bit for bit.
    """

    name: ClassVar[str] = "dynamicd"
    discriminator: DynamicDiscriminator

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.dynamic, self.width = parse(config)
        self.images_seen = 0
        super().__init__(config, data, context)
        self.ages = FreshMoments(self.optimiser_d) if self.dynamic.adam_state == "fresh" else None

    @property
    def total_images(self) -> int:
        """Images of the whole run, over which the ratio moves."""
        return self.context.total_steps * self.options.batch_size

    def _discriminator(self, seeded: Generator) -> DynamicDiscriminator:
        o = self.options
        network = DynamicDiscriminator(
            o.networks, self.resolution, seeded, classes=self.classes, width=self.width, seed=self.context.seed
        )
        network.freeze(o.freeze_d)
        return network

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One step of StyleGAN2 at the ratio of ``step``."""
        width = self.discriminator.width
        if width is None:
            return super().train_step(batch, step)
        width.begin(step, self.options.batch_size, self.total_images)
        log = super().train_step(batch, step)
        return {**log, "ratio": torch.full((), width.ratio, device=self.context.device)}

    def _after_step(self, step: int) -> None:
        self.images_seen = (step + 1) * self.options.batch_size

    def discriminate(self, images: Tensor) -> Tensor:
        """Logits [N] as of StyleGAN2, by the first channels at the ratio that training has reached."""
        if self.width is not None:
            self.discriminator.set_ratio(self.width.ratio(self.images_seen, self.total_images))
        self.discriminator.eval()
        try:
            return super().discriminate(images)
        finally:
            self.discriminator.train()

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """The state of StyleGAN2, the images seen and, with ``adam_state=fresh``, the ages of weights."""
        return {**super().state_dict(), "images_seen": self.images_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.images_seen = int(state["images_seen"])

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        return parts if self.ages is None else {**parts, "ages": self.ages}
