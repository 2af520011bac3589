"""DiffAugment (Zhao et al. 2020): colour, translation and cutout of every image, fused into few passes over pixels."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from harness.types import ConfigError

TRANSFORMS = ("color", "translation", "cutout")
SHIFT = 0.125
"""Largest translation, as a share of the image's size."""
CUT = 0.5
"""Side of the cut-out square, as a share of the image's size."""


class DiffAugment:
    """The transforms of ``policy`` (names separated by commas; always in the order of ``TRANSFORMS``), never left out.

    Colour: brightness + U(-.5,.5), saturation x U(0,2) about the pixel's mean, contrast x U(.5,1.5) about the image's
    mean. Translation by whole pixels, uniform up to an eighth of the size, and a cut-out square of half the size about
    a uniform centre; both fill with 0. A fourth channel is translated and cut, its colour is not changed.
    """

    def __init__(self, policy: str, device: torch.device) -> None:
        names = [name.strip() for name in policy.split(",") if name.strip()]
        for name in names:
            if name not in TRANSFORMS:
                close = difflib.get_close_matches(name, TRANSFORMS, n=1)
                raise ConfigError(
                    f"{name!r} is not one of {', '.join(TRANSFORMS)}", where="augmentation.policy", nearest=close
                )
        if not names:
            raise ConfigError("names no transform", where="augmentation.policy", remedy="Use kind none for none.")
        self.policy = tuple(name for name in TRANSFORMS if name in names)
        self.probability = torch.ones((), dtype=torch.float64, device=device)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transformed ``images`` [N,C,H,W], C = 1, 3 or 4."""
        n, _, height, width = images.shape
        u = torch.rand(7, n, 1, generator=generator, device=generator.device).to(images.device, images.dtype)
        with torch.autocast(images.device.type, enabled=False):
            if "color" in self.policy:
                images = jitter(images, u[0] - 0.5, u[1] * 2, u[2] + 0.5)
            keep: Tensor | None = None
            if "translation" in self.policy:
                images, keep = translated(images, _whole(u[3], height), _whole(u[4], width))
            if "cutout" in self.policy:
                cut = _cut(u[5], height)[:, :, None] & _cut(u[6], width)[:, None, :]
                keep = ~cut if keep is None else keep & ~cut
            # A product, not a choice: a pixel that is not finite stays visible even where it is cut away.
            return images if keep is None else images * keep[:, None]

    def observe(self, logits_real: Tensor) -> None:
        """Nothing to adapt."""

    def update(self, step: int, batch_size: int) -> None:
        """Nothing to adapt."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def jitter(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness (added), then saturation, then contrast (factors), [N,1] each, of ``images`` [N,C,H,W].

    Saturation keeps a pixel's mean over channels and brightness passes both, so that all three are one matrix over
    channels, c (s I + (1 - s)/3), and one offset per image, b + (1 - c) mean(image).
    """
    colour = images[:, :3]
    flat = colour.flatten(2)
    offset = brightness + (1 - contrast) * flat.mean((1, 2)).unsqueeze(1)
    if colour.shape[1] == 1:
        made = torch.addcmul(offset[..., None], contrast[..., None], flat)
    else:
        grey = flat.mean(1, keepdim=True)
        made = torch.addcmul(offset[..., None], (contrast * saturation)[..., None], flat)
        made = torch.addcmul(made, (contrast * (1 - saturation))[..., None], grey)
    made = made.view_as(colour)
    return made if images.shape[1] < 4 else torch.cat([made, images[:, 3:]], 1)


def translated(images: Tensor, down: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """``images`` [N,C,H,W] rolled by whole pixels [N,1], and bool [N,H,W]: where no pixel came round the border."""
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) - down
    columns = torch.arange(width, device=images.device) - right
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    index = (rows % height * width)[:, :, None] + (columns % width)[:, None, :]
    index = index.view(n, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).view_as(images), inside


def _whole(u: Tensor, size: int) -> Tensor:
    """A whole number of pixels, uniform up to +- ``SHIFT`` of ``size``, from ``u`` in [0,1)."""
    most = int(size * SHIFT + 0.5)
    return (u * (2 * most + 1)).floor().long() - most


def _cut(u: Tensor, size: int) -> Tensor:
    """bool [N,size]: the pixels of one axis within the square whose centre ``u`` [N,1] places."""
    side = int(size * CUT + 0.5)
    # An even square has its centre on a line between pixels, the image's borders included.
    centre = (u * (size + 1 - side % 2)).floor()
    first = centre - side // 2
    line = torch.arange(size, device=u.device)
    return (line >= first) & (line < first + side)
