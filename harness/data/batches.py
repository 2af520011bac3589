"""Batches for the training loop, drawn from images that live on the training device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.types import DataError


class ResidentBatches:
    """Endless shuffled batches of images held as bytes on ``device``.

    Every epoch is one permutation drawn from ``generator`` (on the CPU); a batch may span two epochs, so that every
    image is used equally often. ``images``: uint8 [N,H,W,3]. State dicts resume at the exact batch.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        batch_size: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
            raise DataError(
                f"images are {images.dtype} {list(images.shape)}",
                where="ResidentBatches",
                remedy="Expected uint8 [N,H,W,3] with N > 0.",
            )
        if batch_size < 1:
            raise DataError(f"batch size {batch_size} is below 1", where="ResidentBatches")
        self.batch_size, self.generator, self.channels_last = batch_size, generator, channels_last
        self._images = torch.from_numpy(np.array(images)).to(device)
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def __len__(self) -> int:
        return len(self._images)

    def next(self) -> dict[str, Tensor]:
        """The next batch: ``image`` float32 [B,3,H,W] in [-1, 1]."""
        index = self._draw()
        pixels = self._images.index_select(0, index.to(self._images.device)).permute(0, 3, 1, 2)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return {"image": pixels.to(torch.float32, memory_format=layout).div_(127.5).sub_(1.0)}

    def _draw(self) -> Tensor:
        pieces, wanted = [], self.batch_size
        while wanted:
            if self._position == len(self._order):
                self._order, self._position = torch.randperm(len(self._images), generator=self.generator), 0
            piece = self._order[self._position : self._position + wanted]
            self._position += len(piece)
            wanted -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def state_dict(self) -> dict[str, Any]:
        """Position in the epoch, its order and the generator's state."""
        return {"order": self._order.clone(), "position": self._position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where ``state`` was taken; raises DataError if it belongs to a set of another size."""
        order = torch.as_tensor(state["order"], dtype=torch.int64)
        if len(order) not in (0, len(self._images)):
            raise DataError(
                f"the state belongs to {len(order)} images, not {len(self._images)}", where="ResidentBatches"
            )
        self._order, self._position = order.clone(), int(state["position"])
        self.generator.set_state(state["generator"].cpu())
