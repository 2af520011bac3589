"""A frozen feature network: images in, one map for each stage out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from harness.metrics.products import full_precision
from harness.types import DataError

CHUNK_PIXELS = 64 * 64 * 64
"""Pixels of the images that pass the network at once: memory stays bounded and small maps stay in the CPU's cache."""


@dataclass(frozen=True)
class Backbone:
    """A frozen network whose ``stages`` turn images into feature maps.

    ``network`` yields its maps for images in [-1,1], the finest first, and computes each when it is asked for.
    ``digest`` is the SHA-256 over name and weights; ``wanted`` are the maps among those of ``network``, 1 the finest;
    ``channels`` and ``strides`` (pixels of the image) have one entry for each of them; ``report`` tells how the network
    was trained, where the harness trained it: held-out ``accuracy``, ``steps``, CPU-``seconds``.
    """

    name: str
    digest: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    wanted: tuple[int, ...]
    network: nn.Module = field(repr=False, compare=False)
    device: torch.device = field(default=torch.device("cpu"), compare=False)
    report: Mapping[str, float] = field(default_factory=dict, compare=False)

    @torch.no_grad()
    def stages(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images float32 [B,3,H,W] in [-1,1] -> float32 maps [B,channels,H/stride,W/stride], on ``device``.

        Always in full precision, also inside an autocast block; up to rounding, an image's maps do not depend on
        the others of its batch. Raises DataError unless H and W are multiples of the largest stride.
        """
        multiple = max(self.strides)
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % multiple or images.shape[3] % multiple:
            raise DataError(
                f"images [B,3,H,W] with H and W multiples of {multiple} are needed, not {list(images.shape)}",
                where=self.name,
            )
        rows = max(1, CHUNK_PIXELS // math.prod(images.shape[2:]))
        with full_precision(self.device):
            parts = [self._maps(part) for part in images.split(rows)]
        return tuple(torch.cat(maps) for maps in zip(*parts, strict=True))

    def _maps(self, images: Tensor) -> list[Tensor]:
        images = images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        maps = list(islice(self.network(images), max(self.wanted)))  # later stages are never computed
        return [maps[stage - 1].contiguous() for stage in self.wanted]
