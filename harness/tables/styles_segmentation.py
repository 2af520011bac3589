"""Columns of semantic segmentation: pixels, pseudo-labels against hidden truth, negatives of contrastive queues."""

from __future__ import annotations

from harness.tables.column_style import ColumnStyle

PIXELS, LABELS, NEGATIVES = "Segmentation", "Pseudo-labels", "Negatives"
GROUPS = (PIXELS, LABELS, NEGATIVES)

PARTS = {
    "class": "intersection over union of one class; `all` is the mean over the classes",
    "quarter": "mean over the points of a quarter of the training; `all` is the whole training",
}
"""What the parts hold that columns name."""

MEANS = {"iou": "miou"}
"""Metrics that exist only in parts, and the column that is their mean."""

STYLES: dict[str, ColumnStyle] = {
    "miou": ColumnStyle(
        "higher",
        PIXELS,
        3,
        "intersection over union of truth and prediction, mean over classes, from one confusion matrix of all test "
        "pixels; of the network that the method ships unless one is named; head: classes with at least 5 % of the "
        "truth, tail: the others",
    ),
    "iou": ColumnStyle("higher", PIXELS, 3, "intersection over union of one class"),
    "pixel_acc": ColumnStyle("higher", PIXELS, 3, "share of pixels whose class is right; frequent classes decide it"),
    "class_acc": ColumnStyle("higher", PIXELS, 3, "share of a class's pixels that are found, mean over classes"),
    "fw_iou": ColumnStyle("higher", PIXELS, 3, "intersection over union, weighted by the share of the class"),
    "pl_acc": ColumnStyle(
        "higher",
        LABELS,
        3,
        "share of all pixels of fixed unlabelled images whose pseudo-label is right, mean over the training",
    ),
    "pl_miou": ColumnStyle("higher", LABELS, 3, "mIoU of the pseudo-labels, mean over the training"),
    "pl_kept_acc": ColumnStyle(
        "higher", LABELS, 3, "the accuracy of the pixels that the method keeps; few kept ones are easy", ranked=False
    ),
    "pl_coverage": ColumnStyle("none", LABELS, 3, "share of pixels that the method keeps"),
    "pl_ece": ColumnStyle("lower", LABELS, 3, "calibration error of the confidence, 15 bins of equal width"),
    "unreliable_error": ColumnStyle("none", LABELS, 3, "share of the pixels not kept whose pseudo-label is wrong"),
    "agreement": ColumnStyle("none", LABELS, 3, "share of the pixels of these images where student and teacher agree"),
    "queue_fnr": ColumnStyle(
        "lower",
        NEGATIVES,
        3,
        "share of the pixels queued as negatives of a class that are of this class, all queues together, mean over the "
        "second half of the training; `negatives=any`: had every unreliable pixel been queued for every class but the "
        "one of its pseudo-label",
    ),
}
