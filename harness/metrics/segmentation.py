"""Semantic segmentation: confusion matrices of label maps, and mIoU and its relatives from them.

Truth is a map of classes 0..C-1 and an ignored label, 255; what is predicted on ignored pixels counts nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.metrics.card import Invariance, MetricCard
from harness.metrics.checks import Array, as_tensor
from harness.metrics.errors import EmptyInput, OutOfRange, ProtocolMismatch, ShapeMismatch
from harness.metrics.label_counts import LabelOutOfRange, count_pairs
from harness.metrics.segmentation_scores import (
    CITYSCAPES_19,
    SYNTHIA_13,
    SYNTHIA_16,
    class_accuracy,
    dice,
    frequency_weighted_iou,
    head_and_tail,
    iou_per_class,
    mean_iou,
    overall_columns,
    pixel_accuracy,
)

__all__ = [
    "CARDS",
    "CITYSCAPES_19",
    "SYNTHIA_13",
    "SYNTHIA_16",
    "ConfusionMatrix",
    "LabelOutOfRange",
    "class_accuracy",
    "confusion_matrix",
    "dice",
    "frequency_weighted_iou",
    "head_and_tail",
    "iou_per_class",
    "matched_iou",
    "mean_iou",
    "overall_columns",
    "pixel_accuracy",
]


def _card(name: str, floor: str, *more: Invariance, protocol: tuple[str, ...] = ()) -> MetricCard:
    return MetricCard(
        name,
        unit="1",
        better="higher",
        range=(0.0, 1.0),
        protocol=(*protocol, "network"),
        invariances=frozenset({"joint-permutation", "joint-flip", "split-merge", *more}),
        bias="a ratio of sums: consistent, and noisy for classes of few pixels; use the full split",
        floor=floor,
        oracle="prediction = truth: 1; truth reduced and enlarged by the network's stride is what can be reached",
        identity=1.0,
    )


_SOURCE_ONLY = "the most frequent class everywhere, and the model trained on labelled data alone"
CARDS: tuple[MetricCard, ...] = (
    _card("miou", _SOURCE_ONLY, "symmetric", protocol=("classes", "missing", "absent")),
    _card("iou", "0 for all classes but the most frequent", "symmetric", protocol=("class",)),
    _card("pixel_acc", "the share of the most frequent class", "symmetric"),
    _card("class_acc", "one over the number of classes"),
    _card("fw_iou", "the squared share of the most frequent class"),
)


def confusion_matrix(preds: Array, target: Array, *, num_classes: int, ignore_index: int | None = 255) -> np.ndarray:
    """Count pairs of labels: int64 [C,C], rows = truth, columns = prediction.

    ``preds`` and ``target`` are maps of one shape and of any integer type, on any device. Pixels whose truth is
    ``ignore_index`` count nowhere, whatever was predicted there; None ignores nothing. All pixels ignored gives zeros,
    so that parts of a set can be added. Raises EmptyInput (no pixels), ShapeMismatch, LabelOutOfRange with the value
    and its index, OutOfRange (fewer than one class).
    """
    return count_pairs(
        preds, target, rows=num_classes, columns=num_classes, ignore_index=ignore_index, metric="confusion_matrix"
    )


def matched_iou(
    preds: Array, target: Array, *, num_segments: int, num_classes: int, ignore_index: int | None = 255
) -> float:
    """Mean IoU of unnamed segments, each class matched with at most one segment so that the mean is largest.

    ``preds`` are maps of segments 0..num_segments-1, ``target`` maps of classes. The mean runs over the classes of the
    truth; one left without a segment counts as 0. Hungarian algorithm on the IoUs of all pairs. Raises what
    ``confusion_matrix`` raises, and EmptyInput when all pixels are ignored.
    """
    counts = count_pairs(
        preds, target, rows=num_classes, columns=num_segments, ignore_index=ignore_index, metric="matched_iou"
    )
    counts = counts[counts.any(1)]
    if not len(counts):
        raise EmptyInput("no valid pixel: all are ignored", where="matched_iou")
    overlap = counts / (counts.sum(1, keepdims=True) + counts.sum(0) - counts)
    return math.fsum(overlap[linear_sum_assignment(overlap, maximize=True)]) / len(counts)


class ConfusionMatrix:
    """Accumulator of the confusion matrix int64 [C,C] of a set; its memory does not grow with the number of pixels.

    With ``per_image`` the first axis of the maps counts images and ``per_sample`` returns their matrices [N,C,C] in the
    order seen, of which ``matrix`` is the sum: what a bootstrap over images needs.
    """

    def __init__(self, num_classes: int, *, ignore_index: int | None = 255, per_image: bool = False) -> None:
        if num_classes < 1:
            raise OutOfRange(f"{num_classes} classes, expected at least 1", where="ConfusionMatrix")
        self.num_classes, self.ignore_index, self.per_image = num_classes, ignore_index, per_image
        self.reset()

    def reset(self) -> None:
        """Forget all maps."""
        self.matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        self._images: list[np.ndarray] = []

    def update(self, preds: Array, target: Array) -> None:
        """Add maps of integers of one shape, [N,...] with ``per_image``. Raises what ``confusion_matrix`` raises."""
        if not self.per_image:
            self.matrix += self._count(preds, target, "ConfusionMatrix")
            return
        found, truth = (as_tensor(labels, "maps", metric="ConfusionMatrix") for labels in (preds, target))
        if found.ndim < 2 or found.shape != truth.shape:
            got = f"preds are {tuple(found.shape)} and target {tuple(truth.shape)}"
            raise ShapeMismatch(f"{got}, expected one shape [N, ...]", where="ConfusionMatrix")
        if not len(found):
            raise EmptyInput("no images", where="ConfusionMatrix")
        pairs = zip(found, truth, strict=True)
        images = [self._count(*pair, f"ConfusionMatrix, image {i}") for i, pair in enumerate(pairs)]
        self._images += images
        self.matrix += np.sum(images, axis=0)

    def _count(self, preds: Array, target: Array, metric: str) -> np.ndarray:
        size = self.num_classes
        return count_pairs(preds, target, rows=size, columns=size, ignore_index=self.ignore_index, metric=metric)

    def merge(self, other: Self) -> Self:
        """Add what ``other`` has counted and return self; ProtocolMismatch for other classes, ignored label or kind."""
        mine, theirs = ((a.num_classes, a.ignore_index, a.per_image) for a in (self, other))
        if mine != theirs:
            raise ProtocolMismatch(
                f"(classes, ignored, per image) {mine} cannot take {theirs}", where="ConfusionMatrix"
            )
        self.matrix = self.matrix + other.matrix
        self._images = self._images + other._images
        return self

    def compute(self) -> dict[str, float]:
        """``miou``, ``pixel_acc``, ``class_acc`` and ``fw_iou`` of all maps. Raises EmptyInput without valid pixels."""
        return overall_columns(self.matrix)

    def per_sample(self) -> np.ndarray | None:
        """Return the matrices of the images, int64 [N,C,C]; None without ``per_image``."""
        if not self.per_image:
            return None
        return np.stack(self._images) if self._images else np.empty((0, *self.matrix.shape), np.int64)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays."""
        images = self.per_sample()
        return {"matrix": self.matrix.copy()} | ({} if images is None else {"images": images})

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned. Raises ShapeMismatch (other classes), ProtocolMismatch (other kind)."""
        if state["matrix"].shape != self.matrix.shape:
            got, expected = state["matrix"].shape, self.matrix.shape
            raise ShapeMismatch(f"state holds a matrix {got}, expected {expected}", where="ConfusionMatrix")
        if ("images" in state) != self.per_image:
            raise ProtocolMismatch("one of state and accumulator is per image", where="ConfusionMatrix")
        self.matrix = np.array(state["matrix"], np.int64)
        self._images = [np.array(image, np.int64) for image in state.get("images", ())]
