"""Columns of anomaly detection: images, pixels, and what a reconstruction does with defects."""

from __future__ import annotations

from harness.tables.column_style import ColumnStyle

DETECTION, LOCALISATION, SHORTCUT, LEARNING = "Detection", "Localisation", "Identical shortcut", "Learning"
GROUPS = (DETECTION, LOCALISATION, SHORTCUT, LEARNING)

PARTS = {
    "category": "one kind of object or texture, good and defective images",
    "defect": "defects of one kind against everything good",
    "size": "defective regions by their share of the image: small up to 1 %, medium up to 4 %",
}
"""What the parts of the test data hold that columns name."""

STYLES: dict[str, ColumnStyle] = {
    "image_auroc": ColumnStyle(
        "higher", DETECTION, 3, "chance that a defective image scores above a good one; mean over categories"
    ),
    "image_ap": ColumnStyle("higher", DETECTION, 3, "average precision over images; mean over categories"),
    "image_f1_max": ColumnStyle("higher", DETECTION, 3, "F1 over images at its best threshold; mean over categories"),
    "pooled_image_auroc": ColumnStyle(
        "higher", DETECTION, 3, "the image AUROC with all categories in one pool: their scores must share one scale"
    ),
    "pixel_auroc": ColumnStyle(
        "higher", LOCALISATION, 3, "chance that a pixel of a defect scores above another; mean over categories"
    ),
    "pixel_ap": ColumnStyle("higher", LOCALISATION, 3, "average precision over pixels; mean over categories"),
    "pixel_f1_max": ColumnStyle(
        "higher", LOCALISATION, 3, "F1 over pixels at its best threshold; mean over categories"
    ),
    "aupro": ColumnStyle(
        "higher",
        LOCALISATION,
        3,
        "mean share of every defect region found, over false-positive rates up to the limit; mean over categories",
    ),
    "pooled_pixel_auroc": ColumnStyle("higher", LOCALISATION, 3, "the pixel AUROC with all categories in one pool"),
    "mean7": ColumnStyle(
        "higher", LOCALISATION, 3, "mean of AUROC, AP and F1-max of images, the same of pixels, and AUPRO"
    ),
    "shortcut_ratio": ColumnStyle(
        "higher",
        SHORTCUT,
        3,
        "squared error of the rebuilt features of a defect to its own features, relative to that to its clean twin's: "
        "0 copies the defect, above 1 is nearer to the twin",
    ),
    "error_defect": ColumnStyle("none", SHORTCUT, 3, "squared feature error on defects; falls where a net copies"),
    "error_good": ColumnStyle("none", SHORTCUT, 3, "squared feature error on good images; low for a copying net too"),
    "error_ratio": ColumnStyle("higher", SHORTCUT, 2, "the error on defects relative to that on good images"),
    # The page shows these with the curves they come from.
    "image_auroc_peak": ColumnStyle("none", LEARNING, 3, "highest image AUROC along the training", page=False),
    "image_auroc_fall": ColumnStyle("lower", LEARNING, 3, "its peak less its end", ranked=False, page=False),
    "pixel_auroc_peak": ColumnStyle("none", LEARNING, 3, "highest pixel AUROC along the training", page=False),
    "pixel_auroc_fall": ColumnStyle("lower", LEARNING, 3, "its peak less its end", ranked=False, page=False),
    "loss_final": ColumnStyle("none", LEARNING, 4, "training loss at the end", page=False),
    "loss_after_peak": ColumnStyle(
        "none", LEARNING, 3, "training loss at the end relative to that at the peak of the pixel AUROC", page=False
    ),
}
