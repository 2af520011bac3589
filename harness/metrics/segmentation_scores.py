"""What a confusion matrix says: IoU, Dice, accuracies and means over subsets of classes.

Rows are truth and columns predictions. Sums over the whole set come first and ratios after: IoUs of images or batches
are never averaged. A class absent from truth and prediction has no IoU (NaN) and is skipped in means; one that is only
predicted has IoU 0 and counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from harness.metrics.checks import Array, as_tensor
from harness.metrics.errors import EmptyInput, OutOfRange, ShapeMismatch, UnknownOption

Missing = Literal["row", "ignore"]
Absent = Literal["skip", "zero"]

# Train-ids of Cityscapes in the lists that published tables average over: SYNTHIA has no terrain (9), truck (14) and
# train (16), and its list of 13 leaves out wall (3), fence (4) and pole (5) as well.
CITYSCAPES_19 = tuple(range(19))
SYNTHIA_16 = tuple(label for label in CITYSCAPES_19 if label not in (9, 14, 16))
SYNTHIA_13 = tuple(label for label in SYNTHIA_16 if label not in (3, 4, 5))
HEAD_SHARE = 0.05


def iou_per_class(matrix: Array, *, classes: Sequence[int] | None = None, missing: Missing = "row") -> np.ndarray:
    """Intersection over union of ``classes`` (all): float64 [C], NaN where a class is in neither truth nor prediction.

    ``missing`` says what becomes of truth outside ``classes``: "row" keeps the false positives that it causes, "ignore"
    drops it. A prediction outside ``classes`` is a false negative in both. Raises EmptyInput (no pixels), ShapeMismatch
    (not an integer [C,C]), OutOfRange (no such class), UnknownOption.
    """
    counts = checked(matrix, metric="iou_per_class")
    if missing not in ("row", "ignore"):
        raise UnknownOption(f"unknown missing {missing!r}", where="iou_per_class", remedy="Rules: row, ignore.")
    chosen = list(range(len(counts)) if classes is None else classes)
    if strangers := [label for label in chosen if not 0 <= label < len(counts)]:
        raise OutOfRange(f"classes {strangers} are not among 0..{len(counts) - 1}", where="iou_per_class")
    hits = np.diagonal(counts)
    predicted = (counts if missing == "row" else counts[chosen]).sum(0)
    return _ratio(hits, counts.sum(1) + predicted - hits)[chosen]


def mean_iou(
    matrix: Array,
    *,
    classes: Sequence[int] | None = None,
    missing: Missing = "row",
    absent: Absent = "skip",
) -> float:
    """Mean IoU over ``classes`` (all); ``missing`` as in ``iou_per_class``.

    ``absent`` says what becomes of classes without IoU: "skip" leaves them out, "zero" counts them as 0 as some
    published scripts do. NaN when no class is left. Raises what ``iou_per_class`` raises.
    """
    values = iou_per_class(matrix, classes=classes, missing=missing)
    if absent == "zero":
        values = np.nan_to_num(values)
    elif absent != "skip":
        raise UnknownOption(f"unknown absent {absent!r}", where="mean_iou", remedy="Rules: skip, zero.")
    return nan_mean(values)


def dice(matrix: Array) -> np.ndarray:
    """Dice coefficient 2 TP / (2 TP + FP + FN) of every class: float64 [C], NaN where a class is in neither map.

    Raises EmptyInput, ShapeMismatch.
    """
    counts = checked(matrix, metric="dice")
    return _ratio(2 * np.diagonal(counts), counts.sum(0) + counts.sum(1))


def pixel_accuracy(matrix: Array) -> float:
    """Share of valid pixels whose prediction is right. Raises EmptyInput, ShapeMismatch."""
    counts = checked(matrix, metric="pixel_accuracy")
    return float(np.trace(counts) / counts.sum())


def class_accuracy(matrix: Array) -> np.ndarray:
    """Recall of every class: float64 [C], NaN where the truth lacks it. Raises EmptyInput, ShapeMismatch."""
    counts = checked(matrix, metric="class_accuracy")
    return _ratio(np.diagonal(counts), counts.sum(1))


def frequency_weighted_iou(matrix: Array) -> float:
    """Sum of the classes' IoUs, each weighted by its share of the truth. Raises EmptyInput, ShapeMismatch."""
    counts = checked(matrix, metric="frequency_weighted_iou")
    return float(counts.sum(1) @ np.nan_to_num(iou_per_class(counts)) / counts.sum())


def head_and_tail(matrix: Array, *, share: float = HEAD_SHARE) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the classes of the truth into those with at least ``share`` of its pixels and the rarer ones.

    Classes that the truth lacks are in neither. Raises EmptyInput, ShapeMismatch.
    """
    truth = checked(matrix, metric="head_and_tail").sum(1)
    head = truth >= share * truth.sum()
    return tuple(np.flatnonzero(head).tolist()), tuple(np.flatnonzero(~head & (truth > 0)).tolist())


def overall_columns(matrix: Array) -> dict[str, float]:
    """``miou``, ``pixel_acc``, ``class_acc`` (mean recall) and ``fw_iou``. Raises EmptyInput, ShapeMismatch."""
    return {
        "miou": mean_iou(matrix),
        "pixel_acc": pixel_accuracy(matrix),
        "class_acc": nan_mean(class_accuracy(matrix)),
        "fw_iou": frequency_weighted_iou(matrix),
    }


def checked(matrix: Array, *, metric: str) -> np.ndarray:
    """Return a confusion matrix as int64 [C,C]. Raises ShapeMismatch, OutOfRange (negative), EmptyInput (all zero)."""
    counts = as_tensor(matrix, "matrix", metric=metric).cpu().numpy()
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
        raise ShapeMismatch(f"matrix is {counts.dtype} {counts.shape}, expected integers [C, C]", where=metric)
    if counts.size and counts.min() < 0:
        raise OutOfRange(f"matrix holds the count {counts.min()}", where=metric)
    if not counts.any():
        raise EmptyInput("no valid pixel: all are ignored, or none was counted", where=metric)
    return counts.astype(np.int64)


def nan_mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN when none is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), math.nan), where=whole > 0)
