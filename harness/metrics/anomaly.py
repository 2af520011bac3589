"""Anomaly detection and localisation: exact AUROC, average precision, F1-max and AUPRO, ties included.

Rule: anomalous when score >= t. Nothing is flipped when it falls below 0.5. Breakdowns by defect or size come from
``rank_pixels(...).select(...)``; maps that do not fit into memory go through ``ScoreCurve`` or ``ScoreHistogram``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.metrics.anomaly_checks import array, finite, fraction, labelled_scores
from harness.metrics.anomaly_curves import ScoreCurve
from harness.metrics.anomaly_histogram import ScoreHistogram
from harness.metrics.anomaly_ranks import RankedScores, rank_scores
from harness.metrics.anomaly_regions import Connectivity, RankedPixels, label_regions, rank_pixels
from harness.metrics.card import Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import EmptyInput, OutOfRange, ShapeMismatch, UnknownOption

__all__ = [
    "CARDS",
    "MEAN7",
    "CategoryMean",
    "RankedPixels",
    "RankedScores",
    "ScoreCurve",
    "ScoreHistogram",
    "average_precision_score",
    "category_means",
    "f1_max",
    "image_columns",
    "image_score",
    "label_regions",
    "mean_of_seven",
    "per_region_overlap_auc",
    "pixel_scores",
    "rank_images",
    "rank_pixels",
    "roc_auc_score",
]


def _card(name: str, floor: str, *more: Invariance, protocol: tuple[str, ...] = ("category", "defect")) -> MetricCard:
    return MetricCard(
        name,
        unit="1",
        better="higher",
        range=(0.0, 1.0),
        protocol=protocol,
        invariances=frozenset({"joint-permutation", "preds-shift", "preds-scale", *more}),
        floor=floor,
        oracle="score = truth: 1",
        identity=1.0,
    )


_PIXEL = ("category", "defect", "size")
_STREAMS: tuple[Invariance, ...] = ("joint-flip", "split-merge")
_CHANCE, _PREVALENCE, _ALL_POSITIVE = "random scores: 0.5", "random scores: prevalence p", "constant scores: 2p/(1+p)"
CARDS: tuple[MetricCard, ...] = (
    _card("image_auroc", _CHANCE),
    _card("image_ap", _PREVALENCE),
    _card("image_f1_max", _ALL_POSITIVE),
    _card("pixel_auroc", _CHANCE, *_STREAMS, protocol=_PIXEL),
    _card("pixel_ap", _PREVALENCE, *_STREAMS, protocol=_PIXEL),
    _card("pixel_f1_max", _ALL_POSITIVE, *_STREAMS, protocol=_PIXEL),
    _card("aupro", "constant or random maps: limit / 2", *_STREAMS, protocol=("limit", *_PIXEL)),
    _card("mean7", "see the seven", protocol=("category",)),
    _card("pooled_image_auroc", _CHANCE, protocol=()),
    _card("pooled_pixel_auroc", _CHANCE, "joint-flip", protocol=()),
)
MEAN7 = (
    *("image_auroc", "image_ap", "image_f1_max"),
    *("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro[limit=0.3]"),
)


# ------------------------------------------------------------------------------------------- scores with labels
def rank_images(scores: Array, labels: Array) -> RankedScores:
    """Rank the scores float [n] whose labels bool [n] are true. Raises EmptyInput, ShapeMismatch, NonFinite."""
    return _ranked(scores, labels, 1.0, "rank_images")


def roc_auc_score(scores: Array, labels: Array, *, max_fpr: float | None = None) -> float:
    """Area under the ROC curve, P(s+ > s-) + P(s+ = s-) / 2, of scores float [n] with labels bool [n].

    With ``max_fpr`` the area up to that false-positive rate, divided by it (not standardised after McClish). NaN when
    only one class is present. Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange.
    """
    limit = 1.0 if max_fpr is None else fraction(max_fpr, "max_fpr", metric="roc_auc_score")
    return _ranked(scores, labels, limit, "roc_auc_score").auroc(limit)


def average_precision_score(scores: Array, labels: Array) -> float:
    """Sum over distinct thresholds of the recall step times the precision (no trapezoid): float [n], bool [n].

    NaN without positives, 1 without negatives. Raises EmptyInput, ShapeMismatch, NonFinite.
    """
    return _ranked(scores, labels, 1.0, "average_precision_score").average_precision()


def f1_max(scores: Array, labels: Array) -> tuple[float, float]:
    """Largest F1 over all thresholds, and the largest threshold that reaches it: float [n], bool [n].

    The threshold is an oracle: it was chosen on these labels. (NaN, NaN) without positives. Raises EmptyInput,
    ShapeMismatch, NonFinite.
    """
    return _ranked(scores, labels, 1.0, "f1_max").f1_max()


def _ranked(scores: Array, labels: Array, limit: float, metric: str) -> RankedScores:
    values, positive = labelled_scores(scores, labels, metric=metric)
    return rank_scores(np.sort(values[positive]), values, limit=limit)


# ------------------------------------------------------------------------------------------- maps with masks
def per_region_overlap_auc(
    scores: Array, masks: Array, *, fpr_limit: float = 0.3, connectivity: Connectivity = 8
) -> tuple[float, np.ndarray]:
    """Area under the mean overlap of regions against the false-positive rate up to ``fpr_limit``, divided by it: AUPRO.

    ``scores`` float [N,H,W], ``masks`` bool [N,H,W]. Returns the value and one value per region, float64 [R], of which
    it is the mean. The rate counts the normal pixels of all images. NaN without a region or a normal pixel. Raises
    EmptyInput, ShapeMismatch, NonFinite, OutOfRange, UnknownOption. (Bergmann et al., IJCV 2021.)
    """
    ranked = rank_pixels(scores, masks, limit=fpr_limit, connectivity=connectivity)
    return ranked.overlap_auc(fpr_limit), ranked.overlap_areas(fpr_limit)


def pixel_scores(
    scores: Array, masks: Array, *, fpr_limits: Sequence[float] = (0.3, 0.05), connectivity: Connectivity = 8
) -> dict[str, float]:
    """All pixel metrics of score maps float [N,H,W] under masks bool [N,H,W], by column name, from one sort.

    ``pixel_auroc``, ``pixel_ap``, ``pixel_f1_max``, ``aupro[limit=L]``; NaN where undefined. Raises what
    ``per_region_overlap_auc`` raises.
    """
    for limit in fpr_limits:
        fraction(limit, "limit", metric="pixel_scores")
    return rank_pixels(scores, masks, connectivity=connectivity).columns(fpr_limits)


def image_columns(scores: Array, labels: Array) -> dict[str, float]:
    """``image_auroc``, ``image_ap`` and ``image_f1_max`` of image scores float [N] with labels bool [N].

    With one class all three are NaN: precision among defective images alone says nothing. Raises EmptyInput,
    ShapeMismatch, NonFinite.
    """
    ranked = rank_images(scores, labels)
    values = (ranked.auroc(), ranked.average_precision(), ranked.f1_max()[0])
    return {name: math.nan if ranked.reason else value for name, value in zip(MEAN7, values, strict=False)}


def image_score(
    maps: Array,
    *,
    rule: Literal["pooled_max", "max", "mean", "topk", "std"],
    window: int = 16,
    top: float = 0.01,
) -> np.ndarray:
    """One score per image from score maps float [N,H,W]: float64 [N].

    ``pooled_max`` is the largest mean of a ``window`` x ``window`` square (stride 1, no padding, cut to the map);
    ``topk`` the mean of the top share ``top`` of the pixels (at least one); ``std`` the population deviation. Raises
    ShapeMismatch, EmptyInput, NonFinite, OutOfRange, UnknownOption.
    """
    values = array(maps)
    if values.ndim != 3:
        raise ShapeMismatch(f"maps are {values.shape}, expected [N, H, W]", where="image_score")
    values = finite(values, "maps", metric="image_score")
    flat = values.reshape(len(values), -1)
    if rule == "max":
        return flat.max(1).astype(np.float64)
    if rule == "mean":
        return flat.mean(1, dtype=np.float64)
    if rule == "std":
        return flat.std(1, dtype=np.float64)
    if rule == "topk":
        k = max(1, round(fraction(top, "top", metric="image_score") * flat.shape[1]))
        return np.partition(flat, flat.shape[1] - k, axis=1)[:, -k:].mean(1, dtype=np.float64)
    if rule == "pooled_max":
        if window < 1:
            raise OutOfRange(f"window {window} is below 1", where="image_score")
        return _window_means(_window_means(values, window).swapaxes(1, 2), window).max((1, 2))
    raise UnknownOption(
        f"unknown rule {rule!r}", where="image_score", remedy="Rules: pooled_max, max, mean, topk, std."
    )


def _window_means(values: np.ndarray, window: int) -> np.ndarray:
    """Means over ``window`` neighbours along the last axis, as differences of cumulative sums."""
    width = min(window, values.shape[-1])
    sums = np.cumsum(values, axis=-1, dtype=np.float64)
    sums[..., width:] -= sums[..., :-width].copy()
    return sums[..., width - 1 :] / width


# ------------------------------------------------------------------------------------------- over categories
@dataclass(frozen=True)
class CategoryMean:
    """Unweighted mean of a column over the categories that have it; ``missing`` names those whose value is NaN."""

    value: float
    total: int
    missing: tuple[str, ...] = ()


def category_means(columns: Mapping[str, Mapping[str, float]]) -> dict[str, CategoryMean]:
    """Mean over categories of every column: ``columns`` maps a category to its columns by name.

    A category whose value is NaN, or that lacks the column, is left out of the mean and named; with none left the mean
    is NaN. Raises EmptyInput without categories.
    """
    if not columns:
        raise EmptyInput("no categories", where="category_means")
    means = {}
    for name in dict.fromkeys(name for row in columns.values() for name in row):
        values = {category: row.get(name, math.nan) for category, row in columns.items()}
        present = [value for value in values.values() if not math.isnan(value)]
        missing = tuple(category for category, value in values.items() if math.isnan(value))
        means[name] = CategoryMean(math.fsum(present) / len(present) if present else math.nan, len(values), missing)
    return means


def mean_of_seven(columns: Mapping[str, float]) -> float:
    """``mean7``: the mean of the columns ``MEAN7`` (called mAD by some); NaN when one of them is NaN or absent."""
    return math.fsum(columns.get(name, math.nan) for name in MEAN7) / len(MEAN7)
