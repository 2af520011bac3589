"""The contrastive term of U2PL with its memory: queues, prototypes and a random stream of its own."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from harness.types import ConfigError
from methods.blocks.class_queues import ClassQueues
from methods.blocks.pixel_contrast import (
    ContrastBatch,
    NegativeSource,
    anchor_candidates,
    by_pixel,
    class_centres,
    confident_members,
    cosines,
    info_nce,
    members,
    negative_candidates,
    pick,
)


@dataclass(frozen=True)
class ContrastOptions:
    """Preset keys of the contrastive term; README.md explains each."""

    lambda_c: float
    negatives: NegativeSource
    rank_low: int
    rank_high: int
    anchors: int
    keys_per_anchor: int
    temperature: float
    anchor_threshold: float
    queue: int
    queue_first: int
    positive: Literal["centre", "prototype"]
    official_quirks: bool

    def __post_init__(self) -> None:
        if not 0 < self.rank_low < self.rank_high:
            raise ConfigError(
                f"ranks from {self.rank_low} to {self.rank_high}",
                where="u2pl.rank_low",
                remedy="Use 0 < rank_low < rank_high.",
            )
        if min(self.anchors, self.keys_per_anchor) < 1 or self.temperature <= 0:
            raise ConfigError(
                f"{self.anchors} anchors, {self.keys_per_anchor} keys, temperature {self.temperature}",
                where="u2pl.anchors",
                remedy="All must be above 0.",
            )


class UnreliableContrast:
    """Anchors of each class against its centre and against keys of its queue.

    ``width`` is that of the representation. Draws come from a generator that is seeded from ``seed`` and kept in the
    state, so that the term leaves all other draws alone. Where there are no more classes than ``rank_low``, no class is
    unlikely anywhere: the term is 0 (``active`` is False) and a warning says so.
    """

    def __init__(self, options: ContrastOptions, classes: int, width: int, device: torch.device, seed: int) -> None:
        self.options, self.classes = options, classes
        self.active = options.lambda_c > 0
        if self.active and classes <= options.rank_low:
            warnings.warn(
                f"u2pl.rank_low={options.rank_low} leaves no negatives among {classes} classes: no contrastive term",
                stacklevel=2,
            )
            self.active = False
        digest = hashlib.sha256(f"{seed} contrast".encode()).digest()
        self.generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:4]))
        self.queues = ClassQueues(classes, options.queue, options.queue_first, width, device)
        self.prototypes = torch.zeros(classes, width, device=device)
        self.updates = 0

    def __call__(self, batch: ContrastBatch, features: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of the student's ``features`` [B,R,h,w], and its margin: two scalars.

        The margin is the mean cosine of anchors with their centre minus that with their keys.

        The queues are filled before they are drawn from. Averaged over the classes with an anchor and a key; 0, with
        working gradients, where there is none.
        """
        o = self.options
        keys = by_pixel(batch.keys.detach().float())
        self.queues.push(keys, self.negatives(batch))
        candidates = anchor_candidates(batch, o.anchor_threshold)
        centres = class_centres(confident_members(batch) if o.official_quirks else candidates, keys)
        contributes = candidates.any(1)
        if o.positive == "prototype":
            centres = self._prototypes(centres, contributes)
        owner, counted = self._owners(batch)
        contributes = contributes & counted & (self.queues.count[owner] > 0)

        rows = pick(candidates, self._uniform(o.anchors))
        anchors = by_pixel(features).float().index_select(0, rows.flatten()).view(*rows.shape, -1)
        negatives = self.queues.draw(self._uniform(o.anchors * o.keys_per_anchor), owner)
        negatives = negatives.view(self.classes, o.anchors, o.keys_per_anchor, -1)
        positive, negative = cosines(anchors, centres, negatives)
        losses = info_nce(positive, negative, o.temperature)
        margins = positive.detach().mean(1) - negative.detach().mean((1, 2))
        total = contributes.sum().clamp(min=1)
        divisor = counted.sum().clamp(min=1) if o.official_quirks else total
        return (losses * contributes).sum() / divisor, (margins * contributes).sum() / total

    def negatives(self, batch: ContrastBatch) -> Tensor:
        """Mask bool [C,P] of the pixels that enter each queue."""
        mask = negative_candidates(batch, self.options.rank_low, self.options.rank_high)
        if self.options.official_quirks:
            # The released mask is also tied to the (pseudo-)label being c itself, which leaves no labelled pixel.
            mask = mask & members(batch.labels, self.classes)
        return mask

    def _owners(self, batch: ContrastBatch) -> tuple[Tensor, Tensor]:
        """Which queue class i draws from, int64 [C], and which classes count in the average, bool [C]."""
        classes = torch.arange(self.classes, device=batch.labels.device)
        if not self.options.official_quirks:
            return classes, torch.ones_like(classes, dtype=torch.bool)
        # The released loop runs over the first V indices, V classes being present, and pairs the anchors and the centre
        # of class i with the queue of the i-th present class; with a single class it stops.
        present = confident_members(batch).any(1)
        number = present.sum()
        return torch.argsort(~present, stable=True), (classes < number) & (number > 1)

    def _prototypes(self, centres: Tensor, present: Tensor) -> Tensor:
        self.updates += 1
        decay = min(1.0 - 1.0 / self.updates, 0.999)
        moved = self.prototypes * decay + centres * (1.0 - decay)
        self.prototypes = torch.where(present[:, None], moved, self.prototypes)
        return self.prototypes

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(self.classes, count, generator=self.generator, device=self.generator.device)

    def state_dict(self) -> dict[str, Any]:
        """Queues, prototypes and the state of the random stream."""
        return {
            "queues": self.queues.state_dict(),
            "prototypes": self.prototypes,
            "updates": self.updates,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.queues.load_state_dict(state["queues"])
        self.prototypes = state["prototypes"].to(self.prototypes.device).clone()
        self.updates = int(state["updates"])
        self.generator.set_state(state["generator"].cpu())
