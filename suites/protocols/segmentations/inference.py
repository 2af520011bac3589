"""What a segmenter says of every image of a split, counted as it is said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.views import Split
from harness.metrics.segmentation import ConfusionMatrix
from harness.types import Context, Segments

LOGITS = 1 << 24
"""Logits held at once: what an image of 1024 x 2048 with 19 classes needs is 40 million, so those go one by one."""


def confusions(
    model: Segments, network: str, split: Split, classes: int, ignore: int, context: Context
) -> NDArray[np.int64]:
    """Confusion matrices int64 [N,C,C] of every image of ``split``, rows the truth."""
    counted = ConfusionMatrix(classes, ignore_index=ignore, per_image=True)
    truth = split.view(("label",))["label"]
    for rows, images in chunks(split, classes, context):
        counted.update(model.segment(images, network).argmax(1).byte().cpu().numpy(), np.asarray(truth[rows]))
    matrices = counted.per_sample()
    assert matrices is not None
    return matrices


def chunks(split: Split, classes: int, context: Context) -> Iterator[tuple[slice, Tensor]]:
    """Rows and images float32 [n,3,H,W] in [-1,1] of a split, in order."""
    images = split.view(("image",))["image"]
    size = max(1, LOGITS // (classes * images.shape[1] * images.shape[2]))
    for first in range(0, len(images), size):
        rows = slice(first, first + size)
        yield rows, loaded(images[rows], context)


def loaded(images: NDArray[np.uint8], context: Context) -> Tensor:
    """uint8 [n,H,W,3] as float32 [n,3,H,W] in [-1,1] on the device."""
    pixels = torch.from_numpy(np.array(images)).to(context.device).permute(0, 3, 1, 2)
    return pixels.float().div_(127.5).sub_(1.0)
