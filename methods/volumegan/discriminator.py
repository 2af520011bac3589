"""StyleGAN2's residual discriminator for images of several sizes (progressive growing, Karras et al. 2018)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from methods.blocks.equalised import EqualConv2d
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_options import StyleOptions, channels


class GrowingDiscriminator(StyleDiscriminator):
    """Judges images of any of ``sizes``, the smallest first and the full resolution last.

    A smaller image enters at its own from-RGB layer. While a size fades in (``alpha`` < 1), the output of its first
    block is mixed with what the from-RGB layer below makes of the halved image.
    """

    def __init__(
        self,
        options: StyleOptions,
        sizes: tuple[int, ...],
        generator: Generator,
        image_channels: int = 3,
        classes: int = 0,
    ) -> None:
        super().__init__(options, sizes[-1], generator, image_channels, classes)
        self.sizes, self.alpha = sizes, 1.0
        lrelu: Literal["lrelu"] = "lrelu"
        for size in sizes[:-1]:
            self.network[f"b{size}_from_rgb"] = EqualConv2d(
                image_channels, channels(size, options), 1, generator, activation=lrelu
            )
        self._index = {name: index for index, name in enumerate(self.network)}

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Logits fp32 [N] of ``images`` [N,image_channels,S,S], S one of ``sizes``."""
        first = images.shape[-1]
        x = self._from_image(first, images, None)
        for size in self.block_sizes:
            if size > first:
                continue
            around = self._run(f"b{size}_skip", x, None) if f"b{size}_skip" in self._index else None
            x = self._run(f"b{size}_conv1", self._run(f"b{size}_conv0", x, None), None)
            x = x if around is None else around + x
            if size == first and self.alpha < 1.0 and first > self.sizes[0]:
                below = self._from_image(size // 2, F.avg_pool2d(images, 2), None)
                x = torch.lerp(below.to(x.dtype), x, self.alpha)
        with torch.autocast(x.device.type, enabled=False):
            return self._epilogue(x.float(), label, None)
