"""Pixels ranked with the region they belong to: every pixel metric and its breakdowns from one sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
        """``pixel_auroc``, ``pixel_ap``, ``pixel_f1_max`` and ``aupro[limit=L]`` for each limit L.

        Where the ranks are exact up to a false-positive rate only, AUPRO alone.
        """
        overlap = {f"aupro[limit={limit:g}]": self.overlap_auc(limit) for limit in fpr_limits}
        if self.pixels.limit < 1:
            return overlap
        pixels = self.pixels
        scores = (pixels.auroc(), pixels.average_precision(), pixels.f1_max()[0])
        return dict(zip(("pixel_auroc", "pixel_ap", "pixel_f1_max"), scores, strict=True)) | overlap


def rank_pixels(scores: Array, masks: Array, *, limit: float = 1.0, connectivity: Connectivity = 8) -> RankedPixels:
    """Rank the anomalous pixels of score maps float [N,H,W] under masks bool [N,H,W].

    With ``limit`` below 1 only areas up to that false-positive rate can be asked, and fewer are looked up. The rate
    counts the normal pixels of all images. Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange, UnknownOption.
    """
    values, stack = score_maps(scores, masks, metric="rank_pixels")
    limit = fraction(limit, "limit", metric="rank_pixels")
    where, region, sizes, images = regions_of(stack, connectivity=connectivity)
    pixels = values.ravel()
    anomalous = pixels[where]
    order = np.argsort(anomalous)
    return RankedPixels(rank_scores(anomalous[order], pixels, limit=limit), region[order], sizes, images)


def label_regions(masks: Array, *, connectivity: Connectivity = 8) -> tuple[np.ndarray, int]:
    """Number the connected regions of masks bool [N,H,W], image by image: int32 [N,H,W] (0: normal) and their count.

    Regions are numbered in the order of their first pixel, rows first. Raises ShapeMismatch, UnknownOption.
    """
    stack = array(masks)
    if stack.ndim != 3:
        raise ShapeMismatch(f"masks are {stack.shape}, expected [N, H, W]", where="label_regions")
    stack = binary(stack, "masks", metric="label_regions")
    where, region, sizes, _ = regions_of(stack, connectivity=connectivity)
    labels = np.zeros(stack.size, np.int32)
    labels[where] = region + 1
    return labels.reshape(stack.shape), len(sizes)


def regions_of(
    stack: np.ndarray, *, connectivity: Connectivity
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flat indices and regions (from 0) of the anomalous pixels, int64 [a]; sizes and images of the regions, int64 [R].

    Joins runs of pixels instead of pixels: the cost follows the anomalous pixels, a few per cent of all.
    """
    if connectivity not in (4, 8):
        raise UnknownOption(f"connectivity {connectivity!r}", where="label_regions", nearest=("4", "8"))
    height, width = stack.shape[1:]
    where = np.flatnonzero(stack)
    if not len(where):
        return where, where, where, where
    new = np.append(True, (np.diff(where) > 1) | (where[1:] % width == 0))
    start, stop = where[new], where[np.append(new[1:], True)]
    reach = 1 if connectivity == 8 else 0
    low = start + width - reach * (start % width > 0)  # what a run touches in the next row of its image
    high = stop + width + reach * (stop % width < width - 1)
    first, last = np.searchsorted(stop, low), np.searchsorted(start, high, side="right")
    touched = np.where(start // width % height < height - 1, np.maximum(last - first, 0), 0)
    upper = np.repeat(np.arange(len(start)), touched)
    lower = np.arange(len(upper)) + np.repeat(first - (touched.cumsum() - touched), touched)
    graph = coo_array((np.ones(len(upper), bool), (upper, lower)), shape=(len(start), len(start)))
    count, of_run = connected_components(graph, directed=False)
    region = of_run.astype(np.int64)[new.cumsum() - 1]
    images = np.empty(count, np.int64)
    images[region] = where // (height * width)
    return where, region, np.bincount(region, minlength=count), images
