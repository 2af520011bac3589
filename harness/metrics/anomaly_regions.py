"""Pixels ranked with the region they belong to: every pixel metric and its breakdowns from one sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from harness.metrics.anomaly_checks import array, binary, fraction, score_maps
from harness.metrics.anomaly_ranks import RankedScores, rank_scores
from harness.metrics.checks import Array
from harness.metrics.errors import ShapeMismatch, UnknownOption

Connectivity = Literal[4, 8]


@dataclass(frozen=True)
class RankedPixels:
    """Anomalous pixels of one category, ranked among all normal pixels, and the regions that they form.

    ``pixels`` ranks the a pixels; ``region`` int [a] is each one's region, from 0; ``sizes`` and ``images`` int64 [R]
    are the pixels of every region and the image it lies in. Undefined metrics are NaN; ``reason`` says why.
    """

    pixels: RankedScores
    region: np.ndarray
    sizes: np.ndarray
    images: np.ndarray

    @property
    def reason(self) -> str:
        """Why AUROC and AUPRO are NaN; empty where they are defined."""
        return self.pixels.reason

    def overlap_areas(self, limit: float) -> np.ndarray:
        """Area under each region's overlap curve up to the false-positive rate ``limit``, over it: float64 [R]."""
        return np.bincount(self.region, self.pixels.area(limit), minlength=len(self.sizes)) / self.sizes

    def overlap_auc(self, limit: float) -> float:
        """Mean of ``overlap_areas``: AUPRO."""
        return math.nan if self.reason else float(self.overlap_areas(limit).mean())

    def select(self, keep: np.ndarray) -> RankedPixels:
        """The regions where ``keep`` bool [R] holds, against all normal pixels: a breakdown by defect or by size."""
        inside = keep[self.region]
        number = np.cumsum(keep) - 1
        return RankedPixels(
            self.pixels.select(inside), number[self.region[inside]], self.sizes[keep], self.images[keep]
        )

    def columns(self, fpr_limits: Sequence[float] = (0.3, 0.05)) -> dict[str, float]:
        """``pixel_auroc``, ``pixel_ap``, ``pixel_f1_max`` and ``aupro[limit=L]`` for each limit L."""
        return {
            "pixel_auroc": self.pixels.auroc(),
            "pixel_ap": self.pixels.average_precision(),
            "pixel_f1_max": self.pixels.f1_max()[0],
            **{f"aupro[limit={limit:g}]": self.overlap_auc(limit) for limit in fpr_limits},
        }


def rank_pixels(scores: Array, masks: Array, *, limit: float = 1.0, connectivity: Connectivity = 8) -> RankedPixels:
    """Rank the anomalous pixels of score maps float [N,H,W] under masks bool [N,H,W].

    With ``limit`` below 1 only areas up to that false-positive rate can be asked, and fewer pixels are sorted. The rate
    counts the normal pixels of all images. Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange, UnknownOption.
    """
    values, stack = score_maps(scores, masks, metric="rank_pixels")
    limit = fraction(limit, "limit", metric="rank_pixels")
    where, region, sizes, images = regions_of(stack, connectivity=connectivity)
    anomalous, normal = split_pixels(values, stack, where)
    order = np.argsort(anomalous)
    return RankedPixels(rank_scores(anomalous[order], normal, limit=limit), region[order], sizes, images)


def label_regions(masks: Array, *, connectivity: Connectivity = 8) -> tuple[np.ndarray, int]:
    """Number the connected regions of masks bool [N,H,W], image by image: int32 [N,H,W] (0: normal) and their count.

    Raises ShapeMismatch, UnknownOption.
    """
    stack = array(masks)
    if stack.ndim != 3:
        raise ShapeMismatch(f"masks are {stack.shape}, expected [N, H, W]", where="label_regions")
    if connectivity not in (4, 8):
        raise UnknownOption(f"connectivity {connectivity!r}", where="label_regions", nearest=("4", "8"))
    stack = binary(stack, "masks", metric="label_regions")
    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)  # nothing joins two images
    labels = np.zeros(stack.shape, np.int32)
    defective = stack.any((1, 2))
    found = np.empty((int(defective.sum()), *stack.shape[1:]), np.int32)
    count = ndimage.label(stack[defective], structure, output=found) if stack.size else 0
    labels[defective] = found
    return labels, int(count)


def regions_of(
    stack: np.ndarray, *, connectivity: Connectivity
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flat indices int64 [a] and regions int [a] of the anomalous pixels, sizes and images int64 [R] of the regions."""
    where = np.flatnonzero(stack)
    labels, count = label_regions(stack, connectivity=connectivity)
    region = labels.ravel()[where] - 1
    images = np.empty(count, np.int64)
    images[region] = where // (stack.shape[1] * stack.shape[2])
    return where, region, np.bincount(region, minlength=count), images


def split_pixels(values: np.ndarray, stack: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores at ``where``, in order, and a copy of all others, in no order.

    The few anomalous ones leave holes that scores from the end fill: half the time of a boolean index.
    """
    flat, inside = values.ravel(), stack.ravel()
    normal = flat[: flat.size - len(where)].copy()
    holes = where[: np.searchsorted(where, normal.size)]
    normal[holes] = flat[normal.size :][~inside[normal.size :]]
    return flat[where], normal
