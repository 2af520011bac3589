"""How image and depth of one picture hang together: shared edges, and what each of two latent codes may change."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import NonPositiveDepth, ShapeMismatch, TooFew, TooSmall
from harness.metrics.samples import Reduction, float_array, in_blocks, reduced

EDGE_CORRELATION = MetricCard(
    "edge_corr",
    unit="1",
    better="higher",
    range=(-1.0, 1.0),
    invariances=frozenset({"joint-permutation", "preds-shift", "preds-scale", "scale", "joint-flip"}),
    floor="the depth of another picture",
    oracle="real images and their depth",
)
CARDS: tuple[MetricCard, ...] = (EDGE_CORRELATION,)


def edge_correlation(images: Array, depth: Array, *, reduction: Reduction = "mean") -> float | np.ndarray:
    """Pearson correlation over pixels of the edge strengths of an image and of the logarithm of its depth.

    ``images`` float [N,3,H,W], ``depth`` float [N,H,W] > 0. Edge strength = length of the central difference, of the
    mean over channels for images; the frame's border is left out. A picture without any edge on either side is NaN and
    left out of the mean. Raises NonPositiveDepth, TooSmall (below 3x3), ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = EDGE_CORRELATION.name
    pictures = float_array(images, "images", (None, 3, None, None), metric=metric)
    z = float_array(depth, "depth", (None, None, None), metric=metric).to(pictures.device)
    if z.shape != pictures[:, 0].shape:
        raise ShapeMismatch(f"images is {tuple(pictures.shape)}, depth is {tuple(z.shape)}", where=metric)
    if min(z.shape[1:]) < 3:
        raise TooSmall(f"depth is {tuple(z.shape)}, expected at least 3x3 pixels", where=metric)
    if bad := int((z <= 0).sum()):
        raise NonPositiveDepth(f"depth is not positive at {bad} pixels", where=metric)

    def correlation(pictures: Tensor, z: Tensor) -> Tensor:
        first, second = (_strength(maps).flatten(1) for maps in (pictures.mean(1), z.log()))
        varies = (first.amax(1) > first.amin(1)) & (second.amax(1) > second.amin(1))
        first, second = (side - side.mean(1, keepdim=True) for side in (first, second))
        lengths = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
        return torch.where(varies, ((first * second).sum(1) / lengths).clamp(-1, 1), math.nan)

    return reduced(in_blocks(correlation, pictures, z), reduction, metric=metric)


def _strength(maps: Tensor) -> Tensor:
    """Length of the central difference of maps [N,H,W] inside the border: [N,H-2,W-2]."""
    return torch.hypot(maps[:, 1:-1, 2:] - maps[:, 1:-1, :-2], maps[:, 2:, 1:-1] - maps[:, :-2, 1:-1])


def change_along(maps: Array, axis: int) -> float:
    """Mean absolute difference of maps from the first one along ``axis``.

    ``maps`` [A,B,...] hold a picture or depth for every pair of two codes; ``axis`` 1 varies the second code with the
    first one fixed, 0 the reverse. Exactly 0 where that code changes nothing. Raises TooFew (one map along the axis),
    ShapeMismatch, EmptyInput, NonFinite.
    """
    values = float_array(maps, "maps", (None,) * max(2, getattr(maps, "ndim", 0)), metric="change_along").double()
    if values.shape[axis] < 2:
        raise TooFew(f"maps is {tuple(values.shape)}, expected at least 2 along axis {axis}", where="change_along")
    first, others = values.narrow(axis, 0, 1), values.narrow(axis, 1, values.shape[axis] - 1)
    return float((others - first).abs().mean())
