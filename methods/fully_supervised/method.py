"""The oracle: the hidden labels of the unlabelled stream are learned like any others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.types import Context, DataSpec
from methods.blocks.segmenter import Segmenter

if TYPE_CHECKING:
    from harness.types import Batch


class FullySupervised(Segmenter):
    """Cross entropy on the unlabelled stream with its true labels; within one domain on both streams together."""

    reveals: ClassVar[tuple[str, ...]] = ("label",)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        super().__init__(config, data, context)
        self.both = data.options["setting"] == "ssl"

    def prepare(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set the probabilities of the rows that are trained on, if the preset asks for rare-class sampling."""
        self.weigh_rows("unlabelled", samples["unlabelled_label"])

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update on images of the target domain, or on all of the only domain."""
        images, labels = batch["unlabelled_image"], batch["unlabelled_label"]
        if self.both:
            images, labels = torch.cat((batch["image"], images)), torch.cat((batch["label"], labels))
        return self.learn(images, labels, step)
