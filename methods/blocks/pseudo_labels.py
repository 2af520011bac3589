"""Labels that a network gives to unlabelled pixels, and which of them its student learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.types import ConfigError, PseudoLabels
from methods.blocks.entropy_partition import AlphaSchedule, alpha_at, entropy, partition
from methods.blocks.pixel_losses import IGNORE

Quality = Literal["image_weight", "threshold", "entropy", "none"]


@dataclass(frozen=True)
class QualityOptions:
    """Preset keys of the rule that trusts pixels.

    ``quality``: ``image_weight`` keeps all and weighs them by the batch's share of pixels with confidence >= ``tau``
    (DACS), ``threshold`` keeps those pixels only (FixMatch), ``entropy`` those below the quantile of entropy at level
    1 - alpha (U2PL; ``alpha`` falls to 0 or stays), ``none`` all. ``reweight`` multiplies the loss by all / kept
    pixels. ``ignored_rows`` [top, bottom] never count.
    """

    quality: Quality
    tau: float
    alpha: float
    alpha_schedule: AlphaSchedule
    reweight: bool
    ignored_rows: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ignored_rows) != 2 or min(self.ignored_rows) < 0:
            raise ConfigError(f"{list(self.ignored_rows)} is not [top, bottom]", where="ignored_rows")
        for name, value in (("tau", self.tau), ("alpha", self.alpha)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{value} is not in 0 to 1", where=name)


def label_pixels(logits: Tensor, o: QualityOptions, progress: float) -> PseudoLabels:
    """Classes, confidence and kept pixels of ``logits`` f32 [N,C,H,W] at ``progress`` in [0,1] of the training."""
    probabilities = logits.softmax(1)
    confidence, labels = probabilities.max(1)
    if o.quality == "entropy":
        everything = torch.ones_like(labels, dtype=torch.bool)
        alpha = alpha_at(progress, o.alpha, o.alpha_schedule)
        kept = partition(entropy(probabilities), everything, alpha).reliable
    elif o.quality == "none":
        kept = torch.ones_like(labels, dtype=torch.bool)
    else:
        kept = confidence >= o.tau
    return PseudoLabels(labels, confidence, kept)


def targets(pseudo: PseudoLabels, o: QualityOptions) -> tuple[Tensor, Tensor | None]:
    """What the student is asked for: labels int64 [N,H,W] with 255 where it is asked nothing, and the scalar weight of
    all the others (None: 1)."""
    labels, weight = pseudo.labels, None
    if o.quality == "image_weight":
        weight = pseudo.kept.float().mean()
    elif o.quality != "none":
        labels = labels.masked_fill(~pseudo.kept, IGNORE)
    top, bottom = o.ignored_rows
    if top or bottom:
        labels = labels.clone()
        labels[:, :top] = IGNORE
        labels[:, labels.shape[1] - bottom :] = IGNORE
    return labels, weight
