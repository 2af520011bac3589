"""Batches for the training loop, drawn from samples that live on the training device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.types import DataError


class ResidentBatches:
    """Endless shuffled batches of images held as bytes on ``device``.

    Every epoch is one permutation drawn from ``generator`` (on the CPU); a batch may span two epochs, so that every
    image is used equally often. ``images``: uint8 [N,H,W,3]; ``labels``: further fields of numbers [N,...] by name.
    With ``groups`` [N] batch t holds samples of one group only, the (t mod K)-th of the K values that occur, and every
    group has epochs of its own. With ``weights`` [N] rows are drawn with replacement, in proportion to them. State
    dicts resume at the exact batch.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        batch_size: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
        *,
        labels: Mapping[str, NDArray[Any]] | None = None,
        groups: NDArray[Any] | None = None,
        weights: NDArray[Any] | None = None,
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
        self._labels = {name: _resident(name, values, len(images), device) for name, values in (labels or {}).items()}
        members = [np.arange(len(images))]
        if groups is not None:
            members = [np.flatnonzero(groups == value) for value in np.unique(groups)]
        self._epochs = [_Epochs(torch.from_numpy(rows)) for rows in members]
        if weights is not None:
            self._epochs = [_Weighted(_probabilities(weights, len(images)))]
        self._turn = 0

    def __len__(self) -> int:
        return len(self._images)

    def next(self) -> dict[str, Tensor]:
        """The next batch: ``image`` float32 [B,3,H,W] in [-1, 1], ``index`` int64 [B] and the labels [B,...], int64 or
        float32."""
        index = self._epochs[self._turn].draw(self.batch_size, self.generator).to(self._images.device)
        self._turn = (self._turn + 1) % len(self._epochs)
        pixels = self._images.index_select(0, index).permute(0, 3, 1, 2)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        image = pixels.to(torch.float32, memory_format=layout).div_(127.5).sub_(1.0)
        labels = {name: _wide(values.index_select(0, index)) for name, values in self._labels.items()}
        return {"image": image, "index": index, **labels}

    def state_dict(self) -> dict[str, Any]:
        """Position in every group's epoch, its order, whose turn it is and the generator's state."""
        return {
            "orders": [epochs.order.clone() for epochs in self._epochs],
            "positions": [epochs.position for epochs in self._epochs],
            "turn": self._turn,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where ``state`` was taken; raises DataError if it belongs to a set of another size."""
        orders = [torch.as_tensor(order, dtype=torch.int64) for order in state["orders"]]
        sizes, known = [len(order) for order in orders], [len(epochs.rows) for epochs in self._epochs]
        if len(sizes) != len(known) or any(size not in (0, own) for size, own in zip(sizes, known, strict=False)):
            raise DataError(
                f"the state belongs to groups of {_listed(sizes)} images, not {_listed(known)}", where="ResidentBatches"
            )
        for epochs, order, position in zip(self._epochs, orders, state["positions"], strict=True):
            epochs.order, epochs.position = order.clone(), int(position)
        self._turn = int(state["turn"])
        self.generator.set_state(state["generator"].cpu())


class _Epochs:
    """Endless permutations of some rows."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.order = torch.empty(0, dtype=torch.int64)
        self.position = 0

    def draw(self, wanted: int, generator: torch.Generator) -> Tensor:
        pieces = []
        while wanted:
            if self.position == len(self.order):
                self.order, self.position = torch.randperm(len(self.rows), generator=generator), 0
            piece = self.order[self.position : self.position + wanted]
            self.position += len(piece)
            wanted -= len(piece)
            pieces.append(piece)
        return self.rows[pieces[0] if len(pieces) == 1 else torch.cat(pieces)]


class _Weighted(_Epochs):
    """Independent draws of rows; it has no order to remember."""

    def __init__(self, probabilities: Tensor) -> None:
        super().__init__(torch.arange(len(probabilities)))
        self.probabilities = probabilities

    def draw(self, wanted: int, generator: torch.Generator) -> Tensor:
        return torch.multinomial(self.probabilities, wanted, replacement=True, generator=generator)


class JoinedBatches:
    """Several sources read in step: the fields of source ``name`` stand in the batch as ``name_field``, those of the
    source ``""`` under their own names."""

    def __init__(self, sources: Mapping[str, ResidentBatches]) -> None:
        self._sources = dict(sources)

    def next(self) -> dict[str, Tensor]:
        """The next batch of every source, in one mapping."""
        parts = {name: source.next() for name, source in self._sources.items()}
        return {
            f"{name}_{field}" if name else field: value for name, part in parts.items() for field, value in part.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The states of all sources."""
        return {"sources": {name: source.state_dict() for name, source in self._sources.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where ``state`` was taken; raises DataError for other sources."""
        if set(state["sources"]) != set(self._sources):
            raise DataError(f"the state belongs to sources {sorted(state['sources'])}", where="JoinedBatches")
        for name, source in self._sources.items():
            source.load_state_dict(state["sources"][name])


def _resident(name: str, values: NDArray[Any], n: int, device: torch.device | str) -> Tensor:
    if values.shape[:1] != (n,) or values.dtype.kind not in "iuf":
        raise DataError(
            f"field {name} is {values.dtype} {list(values.shape)}",
            where="ResidentBatches",
            remedy=f"Expected numbers [{n},...], one entry per image.",
        )
    # Maps of labels and depths stay small until a batch is drawn; torch cannot index 16-bit unsigned numbers.
    small = {"uint8": np.uint8, "uint16": np.int32, "float16": np.float16, "float32": np.float32}
    usual = np.float32 if values.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.array(values, small.get(values.dtype.name, usual))).to(device)


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values.long()


def _probabilities(weights: NDArray[Any], n: int) -> Tensor:
    values = np.asarray(weights, np.float64)
    if values.shape != (n,) or not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise DataError(
            f"row weights are {values.dtype} {list(values.shape)}",
            where="ResidentBatches",
            remedy=f"Expected [{n}] finite numbers from 0 on, not all 0.",
        )
    return torch.from_numpy(values)


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))
