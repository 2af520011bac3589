"""Columns of confusion matrices: mean IoU, its subsets, and accuracies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from harness.metrics import segmentation as metrics
from suites.protocols.generation.sheet import Sheet


def score_matrices(
    sheet: Sheet, matrices: dict[str, NDArray[np.int64]], names: tuple[str, ...], evaluated: int | None = None
) -> None:
    """Enter the columns of the matrices [C,C] by network, the shipped one first (``""``: no network).

    ``names`` are the classes; ``evaluated`` 16 leaves those that SYNTHIA lacks out of ``miou``.
    """
    listed = metrics.SYNTHIA_16 if evaluated == len(metrics.SYNTHIA_16) else None
    for network, counted in matrices.items():
        if network:
            sheet.put(f"miou[network={network}]", metrics.mean_iou(counted, classes=listed))
    matrix = next(iter(matrices.values()))
    sheet.put("miou", metrics.mean_iou(matrix, classes=listed))
    for group, chosen in zip(("head", "tail"), metrics.head_and_tail(matrix), strict=True):
        value = metrics.mean_iou(matrix, classes=chosen) if chosen else math.nan
        sheet.put(f"miou[classes={group}]", value, f"no class belongs to the {group}")
    for name, value in zip(names, metrics.iou_per_class(matrix), strict=True):
        sheet.put(f"iou[class={name}]", float(value), "neither in the truth nor predicted")
    for name, value in metrics.overall_columns(matrix).items():
        if name != "miou":
            sheet.put(name, value)
    if len(names) == len(metrics.CITYSCAPES_19):
        for subset in (metrics.SYNTHIA_16, metrics.SYNTHIA_13):
            sheet.put(f"miou[classes={len(subset)}]", metrics.mean_iou(matrix, classes=subset))
            value = metrics.mean_iou(matrix, classes=subset, missing="ignore")
            sheet.put(f"miou[classes={len(subset)}|missing=ignore]", value)
