"""Detection and localisation per category, defect type and region size, and their means over categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Split
from harness.metrics import anomaly
from harness.metrics.card import parse_column
from suites.protocols.generation.sheet import Sheet

LIMITS = (0.3, 0.05)
SIZES: tuple[tuple[str, float, float], ...] = (("small", 0.0, 0.01), ("medium", 0.01, 0.04), ("large", 0.04, 1.0))
"""Sizes of a defective region as shares of the image: above the first, up to the second number."""
WHOLE = "the whole image is anomalous"


@dataclass(frozen=True)
class Truth:
    """What the test split says: ``masks`` bool [N,H,W], ``group`` int [N] (one evaluation each), ``defect`` int [N]
    (0 = good) and the names of both; ``whole`` where an anomaly is an image of another class, not a region."""

    masks: NDArray[np.bool_]
    group: NDArray[np.int64]
    defect: NDArray[np.int64]
    groups: tuple[str, ...]
    defects: tuple[str, ...]
    whole: bool

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Which images are not good, by folder or recipe and never by a resized mask: bool [N]."""
        return self.defect > 0


def truth_of(split: Split) -> Truth:
    """The truth of a split; where every anomalous image is so as a whole, all images make one evaluation group."""
    view = split.view(("mask", "category", "defect"))
    masks, defect = np.asarray(view["mask"]) > 0, np.asarray(view["defect"], np.int64)
    category = np.asarray(view["category"], np.int64)
    whole = bool((defect > 0).any() and masks[defect > 0].all())
    return Truth(
        masks=masks,
        group=np.zeros_like(category) if whole else category,
        defect=defect,
        groups=("all",) if whole else tuple(split.index["categories"]),
        defects=tuple(split.index["defects"]),
        whole=whole,
    )


def score_detection(sheet: Sheet, scores: NDArray[np.float32], maps: NDArray[np.float32], truth: Truth) -> None:
    """Enter every column of scores [N] and maps [N,H,W]: per category, their means, breakdowns and pooled values."""
    per_category = {
        name: _category(scores[rows], maps[rows], truth, rows)
        for number, name in enumerate(truth.groups)
        if (rows := truth.group == number).any()
    }
    means = anomaly.category_means(per_category)
    for column, mean in means.items():
        lacking = f"left out of the mean: {', '.join(mean.missing)}" if mean.missing else ""
        sheet.put(column, mean.value, WHOLE if truth.whole and not column.startswith("image") else lacking)
        if lacking and not math.isnan(mean.value):
            sheet.notes[column] = lacking
    sheet.put("mean7", anomaly.mean_of_seven(sheet.metrics), "one of the seven is undefined")
    for name, columns in per_category.items() if len(per_category) > 1 else ():
        for column, value in columns.items():
            if "=" not in column or column == "aupro[limit=0.3]":
                sheet.put(_with(column, "category", name), value)
    pooled = anomaly.image_columns(scores, truth.anomalous)
    sheet.put("pooled_image_auroc", pooled["image_auroc"])
    everywhere = math.nan if truth.whole else anomaly.roc_auc_score(maps.ravel(), truth.masks.ravel())
    sheet.put("pooled_pixel_auroc", everywhere, WHOLE)


def _category(
    scores: NDArray[np.float32], maps: NDArray[np.float32], truth: Truth, rows: NDArray[np.bool_]
) -> dict[str, float]:
    """All columns of one category: image metrics, pixel metrics, and both by defect type, pixels also by size."""
    anomalous, defect, masks = truth.anomalous[rows], truth.defect[rows], truth.masks[rows]
    columns = anomaly.image_columns(scores, anomalous)
    for kind in _kinds(defect):
        chosen = ~anomalous | (defect == kind)
        name = truth.defects[kind]
        columns[f"image_auroc[defect={name}]"] = anomaly.image_columns(scores[chosen], anomalous[chosen])["image_auroc"]
    if truth.whole:
        return columns
    ranked = anomaly.rank_pixels(maps, masks)
    columns |= ranked.columns(LIMITS)
    for kind in _kinds(defect):
        columns |= _breakdown(ranked.select(defect[ranked.images] == kind), "defect", truth.defects[kind])
    area = ranked.sizes / masks[0].size
    for name, above, upto in SIZES:
        columns |= _breakdown(ranked.select((area > above) & (area <= upto)), "size", name)
    return columns


def _breakdown(ranked: anomaly.RankedPixels, field: str, member: str) -> dict[str, float]:
    values: Mapping[str, float] = ranked.columns(LIMITS[:1])
    kept = ("pixel_auroc", "aupro[limit=0.3]")
    return {_with(column, field, member): values[column] for column in kept}


def _kinds(defect: NDArray[np.int64]) -> Sequence[int]:
    return [int(kind) for kind in np.unique(defect) if kind]


def _with(column: str, field: str, member: str) -> str:
    """The column with one more protocol field: ``aupro[limit=0.3]`` -> ``aupro[limit=0.3|defect=hole]``."""
    parsed = parse_column(column)
    return str(type(parsed)(parsed.metric, parsed.space, {**parsed.protocol, field: member}))
