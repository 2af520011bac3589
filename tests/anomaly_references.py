"""Slow definitions of the anomaly metrics, and random maps full of ties to compare them on."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LIMITS = (0.3, 0.05, 1.0)


def label(masks: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, int]:
    """Number the regions image by image."""
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels, total = np.zeros(masks.shape, int), 0
    for image, mask in zip(labels, masks, strict=True):
        found, count = ndimage.label(mask, structure)
        image[mask] = found[mask] + total
        total += count
    return labels, total


def by_thresholds(scores: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Every pixel metric from its definition, one distinct threshold after the other."""
    labels, count = label(masks)
    recall, precision, f1, fpr, overlap = [0.0], [1.0], [], [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        hits, alarms = (flagged & masks).sum(), (flagged & ~masks).sum()
        recall.append(hits / masks.sum())
        precision.append(hits / (hits + alarms))
        f1.append(2 * hits / (2 * hits + alarms + (~flagged & masks).sum()))
        fpr.append(alarms / (~masks).sum())
        overlap.append(np.mean([flagged[labels == region].mean() for region in range(1, count + 1)]))
    values = {
        "pixel_auroc": area(fpr, recall, 1.0),
        "pixel_ap": float(np.sum(np.diff(recall) * np.array(precision[1:]))),
        "pixel_f1_max": float(max(f1)),
    }
    return values | {f"aupro[limit={limit:g}]": area(fpr, overlap, limit) for limit in LIMITS}


def by_sorting(scores: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Sort all pixels once, accumulate counts and overlaps, keep the last of equal scores (MVTec's own way)."""
    labels, count = label(masks)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    weights = np.where(masks, 1 / (count * sizes[labels]), 0).ravel()
    order = np.argsort(-scores.ravel(), kind="stable")
    ordered, truth = scores.ravel()[order], masks.ravel()[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    hits, alarms = truth.cumsum()[last], (~truth).cumsum()[last]
    fpr, recall = np.append(0, alarms / (~truth).sum()), np.append(0, hits / truth.sum())
    overlap = np.append(0, weights[order].cumsum()[last])
    values = {
        "pixel_auroc": area(fpr, recall, 1.0),
        "pixel_ap": float((np.diff(recall) * hits / (hits + alarms)).sum()),
        "pixel_f1_max": float((2 * hits / (hits + alarms + truth.sum())).max()),
    }
    return values | {f"aupro[limit={limit:g}]": area(fpr, overlap, limit) for limit in LIMITS}


def area(x: list[float] | np.ndarray, y: list[float] | np.ndarray, limit: float) -> float:
    """Trapezoid area under a curve up to x = limit, cut there by linear interpolation, divided by the limit."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    step, rise = np.diff(x), np.diff(y)
    width = np.clip(limit - x[:-1], 0, step)
    end = y[:-1] + rise * np.divide(width, step, out=np.ones_like(step), where=step > 0)
    return float((width * (y[:-1] + end) / 2).sum() / limit)


def tied_maps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of few distinct values and masks with at least one pixel of each kind."""
    shape = tuple(rng.integers((1, 2, 2), (5, 8, 8)))
    levels = int(rng.choice([1, 2, 3, 5, 9, 50]))
    scores = (rng.integers(0, levels, shape) - rng.integers(0, levels)).astype(rng.choice(["f4", "f8"]))
    masks = rng.random(shape) < rng.choice([0.1, 0.3, 0.6])
    masks.flat[rng.choice(masks.size, 2, replace=False)] = (True, False)
    if rng.random() < 0.5:  # a detector that sees something
        scores += masks * scores.dtype.type(rng.integers(1, 3))
    return scores, masks
