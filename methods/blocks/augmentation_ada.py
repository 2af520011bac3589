"""Adaptive discriminator augmentation (Karras et al. 2020): the pipe of transforms and its probability's control."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from harness.types import ConfigError, DataError
from methods.blocks.affine_resampling import rearrange, resample
from methods.blocks.augmentation_colour import recolour
from methods.blocks.augmentation_corruption import add_noise, cut_out, filter_bands
from methods.blocks.augmentation_geometry import draw_inverse

PIPES: dict[str, tuple[str, ...]] = {
    "blit": ("blit",),
    "geom": ("geom",),
    "color": ("color",),
    "filter": ("filter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": ("blit", "geom"),
    "bgc": ("blit", "geom", "color"),
    "bgcf": ("blit", "geom", "color", "filter"),
    "bgcfn": ("blit", "geom", "color", "filter", "noise"),
    "bgcfnc": ("blit", "geom", "color", "filter", "noise", "cutout"),
}
INTERVAL = 4
"""Training steps between two changes of the probability."""


def augment(images: Tensor, pipe: str, probability: Tensor, generator: Generator) -> Tensor:
    """Square ``images`` [N,C,S,S] through every transform of ``pipe``, each with the scalar ``probability``.

    The pipe ``blit`` alone moves pixels without resampling them. A fourth channel is moved and cut, nothing else.
    Raises DataError for another number of channels or images that are not square.
    """
    n, channels, height, width = images.shape
    if channels not in (1, 3, 4) or height != width:
        raise DataError(
            f"images of shape {tuple(images.shape)}", where="augmentation", remedy="1, 3 or 4 channels, square."
        )
    parts = PIPES[pipe]
    with torch.autocast(images.device.type, enabled=False):
        blit, geom = "blit" in parts, "geom" in parts
        if blit or geom:
            linear, shift = draw_inverse(n, height, probability, blit=blit, geom=geom, generator=generator)
            images = (resample if geom else rearrange)(images, linear, shift)
        colour = images[:, :3]
        for name, transform in (("color", recolour), ("filter", filter_bands), ("noise", add_noise)):
            if name in parts:
                colour = transform(colour, probability, generator)
        images = torch.cat([colour, images[:, 3:]], 1) if channels == 4 else colour
        return cut_out(images, probability, generator) if "cutout" in parts else images


class PipeAugmentation:
    """``augment`` at a probability p that is constant (``speed_images`` 0) or follows the discriminator's overfitting.

    Every fourth step p rises by batch * 4 / ``speed_images`` if r_t, the mean sign of the logits of real images since
    the last change, exceeds ``target``, and falls by as much, not below 0, if it does not reach it. p may exceed 1 and
    acts as 1 then.
    """

    def __init__(
        self, pipe: str, probability: float, device: torch.device, *, target: float = 0.6, speed_images: int = 0
    ) -> None:
        if pipe not in PIPES:
            close = difflib.get_close_matches(pipe, PIPES, n=2)
            raise ConfigError(f"{pipe!r} is not one of {', '.join(PIPES)}", where="augmentation.pipe", nearest=close)
        if not 0 <= probability <= 1:
            raise ConfigError(f"{probability} is not in [0, 1]", where="augmentation.probability")
        if speed_images < 0:
            raise ConfigError(f"{speed_images} is negative", where="augmentation.speed_images")
        self.pipe, self.target, self.speed_images = pipe, target, speed_images
        self.probability = torch.tensor(probability, dtype=torch.float64, device=device)
        self._signs = torch.zeros_like(self.probability)
        self._seen = 0
        self._never = probability == 0 and not speed_images

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transformed ``images`` [N,C,S,S]; the images themselves as long as p is known to be 0."""
        # On an accelerator the question would wait for the device; there p = 0 takes the whole way and gives the same.
        if self._never or (self.probability.device.type == "cpu" and not self.probability):
            return images
        return augment(images, self.pipe, self.probability, generator)

    def observe(self, logits_real: Tensor) -> None:
        """Add the signs of logits [N] of augmented real images to r_t."""
        self._signs += logits_real.detach().sign().sum()
        self._seen += logits_real.numel()

    @torch.no_grad()
    def update(self, step: int, batch_size: int) -> None:
        """Change p at the end of every fourth step; ``step`` counts from 0. Without observations p stays."""
        if (step + 1) % INTERVAL or not self.speed_images or not self._seen:
            return
        direction = (self._signs / self._seen - self.target).sign()
        self.probability.add_(direction, alpha=batch_size * INTERVAL / self.speed_images).clamp_(min=0)
        self._signs.zero_()
        self._seen = 0

    def state_dict(self) -> dict[str, Any]:
        """p and the observations since it last changed."""
        return {"probability": self.probability.clone(), "signs": self._signs.clone(), "seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, onto this augmentation's device."""
        self.probability.copy_(state["probability"])
        self._signs.copy_(state["signs"])
        self._seen = int(state["seen"])
