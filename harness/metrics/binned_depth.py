"""Depth predicted as one of K equal bins of the coded range, as DepthGAN's discriminator does (Shi et al. 2022)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import OutOfRange, ShapeMismatch
from harness.metrics.samples import Reduction, float_array, in_blocks, reduced

CROSS_ENTROPY = MetricCard(
    "d_depth_ce",
    unit="nat",
    better="lower",
    range=(0.0, math.inf),
    invariances=frozenset({"joint-permutation", "joint-flip", "preds-shift"}),
    floor="ln K for equal logits; the bins' frequencies per pixel",
    oracle="0",
)


def depth_bins(depth: Tensor, bins: int) -> Tensor:
    """Bin numbers int64 of coded depths d: clamp(floor((d + 1) / 2 bins), 0, bins - 1); any shape."""
    return ((depth + 1) / 2 * bins).floor().long().clamp(0, bins - 1)


def binned_cross_entropy(logits: Array, depth: Array, *, reduction: Reduction = "mean") -> float | np.ndarray:
    """Mean over pixels of the cross-entropy of the true bin, per image, then over images.

    ``logits`` float [N,K,H,W]; ``depth`` float [N,H,W], the coded depth d (values beyond [-1,1] fall into the outer
    bins). Equal logits give ln K. Raises ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = CROSS_ENTROPY.name
    scores = float_array(logits, "logits", (None, None, None, None), metric=metric)
    truth = float_array(depth, "depth", (None, None, None), metric=metric).to(scores.device)
    if truth.shape != scores[:, 0].shape:
        raise ShapeMismatch(f"logits is {tuple(scores.shape)}, depth is {tuple(truth.shape)}", where=metric)

    def cross_entropy(scores: Tensor, truth: Tensor) -> Tensor:
        chosen = scores.log_softmax(1).gather(1, depth_bins(truth, scores.shape[1])[:, None])
        return -chosen.flatten(1).mean(1)

    return reduced(in_blocks(cross_entropy, scores, truth), reduction, metric=metric)


def frequency_logits(depth: Array, bins: int) -> Tensor:
    """Log-frequencies float64 [bins,H,W] of the bins at every pixel of coded depths [N,H,W], one count added to each:
    the logits of a predictor that never looks at the image. Raises OutOfRange (bins below 2), ShapeMismatch, NonFinite.
    """
    if bins < 2:
        raise OutOfRange(f"{bins} bins, expected at least 2", where="frequency_logits")
    found = depth_bins(float_array(depth, "depth", (None, None, None), metric="frequency_logits"), bins)
    counts = torch.stack([(found == k).sum(0) for k in range(bins)]).double() + 1
    return (counts / counts.sum(0)).log()


CARDS: tuple[MetricCard, ...] = (CROSS_ENTROPY,)
