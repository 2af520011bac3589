"""Rare-class sampling: which rows of a labelled split to draw (DAFormer; FST, section 4.8)."""

from __future__ import annotations

import numpy as np


def row_weights(labels: np.ndarray, classes: int, temperature: float, least: int) -> np.ndarray:
    """Probabilities float64 [N] of the rows of ``labels`` uint8 [N,H,W].

    They belong to this draw: a class with P(c) ~ exp((1 - f_c) / temperature), f_c its share of the labelled pixels,
    then one of the images with at least ``least`` pixels of it, all equally likely. A class without such an image is
    never drawn; where that holds for all, every row is equally likely.
    """
    counts = np.stack([(labels == c).sum((1, 2)) for c in range(classes)], 1).astype(np.float64)
    holds = counts >= max(least, 1)
    images = holds.sum(0)
    if not images.any():
        return np.full(len(labels), 1.0 / len(labels))
    score = (1.0 - counts.sum(0) / counts.sum()) / temperature
    chance = np.where(images > 0, np.exp(score - score.max()), 0.0)
    chance /= chance.sum()
    weights = holds @ (chance / np.maximum(images, 1))
    return np.asarray(weights / weights.sum(), np.float64)
