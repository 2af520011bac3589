"""Columns of confusion matrices: mean IoU, its subsets, and accuracies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.metrics import segmentation as metrics
from suites.protocols.generation.sheet import Sheet

HEAD = 0.05
"""Classes with at least this share of the true pixels are the head, the others the tail."""


def score_matrices(sheet: Sheet, matrices: dict[str, NDArray[np.int64]], names: tuple[str, ...]) -> None:
    """Enter the columns of the matrices [C,C] by network, the shipped one first (``""``: no network);
    ``names`` are the classes."""
    for network, counted in matrices.items():
        if network:
            sheet.put(f"miou[network={network}]", metrics.mean_iou(counted))
    matrix = next(iter(matrices.values()))
    sheet.put("miou", metrics.mean_iou(matrix))
    shares = matrix.sum(1) / matrix.sum()
    present = shares > 0
    groups = {"head": present & (shares >= HEAD), "tail": present & (shares < HEAD)}
    for group, members in groups.items():
        chosen = tuple(np.flatnonzero(members).tolist())
        value = metrics.mean_iou(matrix, classes=chosen) if chosen else float("nan")
        sheet.put(f"miou[classes={group}]", value, f"no class belongs to the {group}")
    for name, value in zip(names, metrics.iou_per_class(matrix), strict=True):
        sheet.put(f"iou[class={name}]", float(value), "neither in the truth nor predicted")
    sheet.put("pixel_acc", metrics.pixel_accuracy(matrix))
    sheet.put("class_acc", float(np.nanmean(metrics.class_accuracy(matrix))))
    sheet.put("fw_iou", metrics.frequency_weighted_iou(matrix))
    if len(names) == len(metrics.CITYSCAPES_19):
        for count, chosen in ((16, metrics.SYNTHIA_16), (13, metrics.SYNTHIA_13)):
            sheet.put(f"miou[classes={count}]", metrics.mean_iou(matrix, classes=chosen))
            kept_rows = metrics.mean_iou(matrix, classes=chosen, missing="ignore")
            sheet.put(f"miou[classes={count}|missing=ignore]", kept_rows)
