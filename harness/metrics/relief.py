"""Whether a depth map has the right relief: flat cards, hollow faces and fog, which a depth error alone may not tell.

Per image, then mean over images, all in float64. A reprojection error of a flat card is low: print these beside it.
Relief is depth less the plane in space that fits it best.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import Direction, Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import NonPositiveDepth, OutOfRange
from harness.metrics.samples import Reduction, bool_mask, float_array, float_pair, in_blocks, masked_mean, reduced

FLAT = 1e-6  # of the depth: a smaller residual of the plane fit is round-off of float32 input
SOFT = (0.1, 0.9)

_PROTOCOL = ("ref", "n")
_FLOOR, _ORACLE = "constant plane at the mean depth", "the reference depth itself"


def _card(
    name: str,
    better: Direction,
    span: tuple[float, float],
    *invariances: Invariance,
    identity: float | None = None,
    floor: str = _FLOOR,
    oracle: str = _ORACLE,
) -> MetricCard:
    return MetricCard(
        name,
        unit="share" if span == (0.0, 1.0) else "1",
        better=better,
        range=span,
        protocol=_PROTOCOL,
        invariances=frozenset({"joint-permutation", *invariances}),
        floor=floor,
        oracle=oracle,
        identity=identity,
    )


STD_RATIO = _card("std_ratio", "none", (0.0, math.inf), "scale", "preds-shift", identity=1.0)
RELIEF_RATIO = _card("relief_ratio", "none", (0.0, math.inf), "scale", identity=1.0)
RELIEF_CORR = _card("relief_corr", "higher", (-1.0, 1.0), "scale", "preds-scale", identity=1.0)
CONCAVE = _card("concave", "lower", (0.0, 1.0), "scale", "preds-scale", identity=0.0)
OPACITY_SOFT = _card("opacity_soft", "lower", (0.0, 1.0), floor="opacity uniform in [0,1]: 0.8", oracle="exact masks")
CARDS: tuple[MetricCard, ...] = (STD_RATIO, RELIEF_RATIO, RELIEF_CORR, CONCAVE, OPACITY_SOFT)


def depth_std_ratio(
    preds: Array, target: Array, *, mask: Array | None = None, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Flatness: standard deviation of the predicted depth over the mask divided by that of the true depth.

    ``preds``, ``target``: float [N,H,W]; ``mask`` bool [N,H,W], None: everywhere. 0 for a card that faces the camera
    (one at an angle varies in depth: see ``relief_ratio``), 1 for the right range, above for too much. A sample with
    fewer than two valid pixels or a constant truth is NaN and left out of the mean. Raises EmptyInput, ShapeMismatch,
    NonFinite.
    """
    metric = "std_ratio"
    p, t, m = _pair(preds, target, mask, metric)

    def ratio(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        spread = [_centred(d, m) for d in (p, t)]
        own, true = (masked_mean(d.square(), m).sqrt() for d in spread)
        return torch.where((m.flatten(1).sum(1) < 2) | (true == 0), torch.nan, own / true)

    return reduced(in_blocks(ratio, p, t, m), reduction, metric=metric)


def relief_ratio(
    preds: Array, target: Array, *, mask: Array | None = None, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Standard deviation of the predicted relief over the mask divided by that of the true one.

    ``preds``, ``target``: float [N,H,W], positive inside ``mask`` (bool [N,H,W]). Unlike ``depth_std_ratio`` it is 0
    for a card at any angle. A sample whose truth is a plane, as that of two pixels always is, is NaN and left out of
    the mean. Raises NonPositiveDepth, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "relief_ratio"
    p, t, m = _pair(preds, target, mask, metric, positive=True)

    def ratio(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        own, true = (torch.linalg.vector_norm(_relief(d, m), dim=1) for d in (p, t))
        return torch.where(true == 0, torch.nan, own / true)

    return reduced(in_blocks(ratio, p, t, m), reduction, metric=metric)


def relief_correlation(
    preds: Array, target: Array, *, mask: Array | None = None, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Pearson correlation over the mask of predicted and true relief.

    ``preds``, ``target``: float [N,H,W], positive inside ``mask`` (bool [N,H,W]). 1 for the right relief of any
    strength, negative for a hollow one, 0 for a plane against a curved truth. A sample whose truth is a plane, as
    that of two pixels always is, is NaN and left out of the mean. Raises NonPositiveDepth, EmptyInput, ShapeMismatch,
    NonFinite.
    """
    metric = "relief_corr"
    p, t, m = _pair(preds, target, mask, metric, positive=True)

    def correlation(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        own, true = (_relief(d, m) for d in (p, t))
        sizes = [torch.linalg.vector_norm(relief, dim=1) for relief in (own, true)]
        value = ((own * true).sum(1) / (sizes[0] * sizes[1])).clamp(-1, 1)
        return torch.where(sizes[1] == 0, torch.nan, torch.where(sizes[0] == 0, 0.0, value))

    return reduced(in_blocks(correlation, p, t, m), reduction, metric=metric)


def concave_share(preds: Array, target: Array, *, mask: Array | None = None) -> float:
    """Share of the samples with a defined relief correlation where it is negative: shapes turned inside out.

    Arguments as in ``relief_correlation``; NaN when it is defined for no sample. Raises NonPositiveDepth, EmptyInput,
    ShapeMismatch, NonFinite.
    """
    values = np.asarray(relief_correlation(preds, target, mask=mask, reduction="none"))
    known = values[~np.isnan(values)]
    return float((known < 0).mean()) if len(known) else math.nan


def opacity_soft(opacity: Array, *, reduction: Reduction = "mean") -> float | np.ndarray:
    """Share of rays that are neither background nor surface: 0.1 < opacity < 0.9 (fog, or a pixel on a silhouette).

    ``opacity`` float [N,H,W] in [0,1]. Raises OutOfRange, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "opacity_soft"
    a = float_array(opacity, "opacity", (None, None, None), metric=metric)
    if bool(((a < -1e-5) | (a > 1 + 1e-5)).any()):
        raise OutOfRange("opacity leaves [0,1]", where=metric)
    low, high = SOFT
    return reduced(((a > low) & (a < high)).flatten(1).double().mean(1), reduction, metric=metric)


def _pair(
    preds: Array, target: Array, mask: Array | None, metric: str, *, positive: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    p, t = float_pair(preds, target, (None, None, None), metric=metric)
    m = bool_mask(mask, tuple(p.shape), p.device, metric=metric)
    for name, depth in (("preds", p), ("target", t)):
        bad = int(((depth <= 0) & m).sum())
        if bad and positive:
            raise NonPositiveDepth(f"{name} has {bad} depths <= 0 inside the mask", where=metric)
    return p, t, m


def _centred(depth: Tensor, mask: Tensor) -> Tensor:
    """Depth minus its mean over the mask, exactly 0 where it is constant there and outside the mask."""
    centred = torch.where(mask, depth - masked_mean(depth, mask)[:, None, None], 0.0)
    top = torch.where(mask, depth, -torch.inf).flatten(1).amax(1)
    flat = top == torch.where(mask, depth, torch.inf).flatten(1).amin(1)
    return torch.where(flat[:, None, None], 0.0, centred)


def _relief(depth: Tensor, mask: Tensor) -> Tensor:
    """Relief [N,H W]: how far depth lies behind the plane in space that fits it best over the mask, to first order.

    A pinhole camera sees planes as linear functions of the pixel in 1 / depth, so there the plane q is fitted, and the
    relief is z (q z - 1): exactly 0 for a plane at any angle. Its mean is taken out; it is 0 outside the mask, and
    everywhere where it is nothing but round-off.
    """
    height, width = depth.shape[1:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=depth.dtype, device=depth.device),
        torch.linspace(-1, 1, width, dtype=depth.dtype, device=depth.device),
        indexing="ij",
    )
    weight = mask.flatten(1).to(depth.dtype)
    z = torch.where(mask, depth, 1.0).flatten(1)
    basis = torch.stack((x, y, torch.ones_like(x)), dim=-1).reshape(1, -1, 3) * weight[..., None]
    # Pixels on one line leave a direction of the plane open; the pseudo-inverse takes the smallest of the best planes.
    inverse = torch.linalg.pinv(basis.mT @ basis, rtol=1e-12, hermitian=True)
    plane = basis @ (inverse @ (basis.mT @ (1 / z)[..., None]))
    relief = _centred((z * (plane[..., 0] * z - 1)).reshape(depth.shape), mask).flatten(1)
    nothing = relief.abs().amax(1) <= FLAT * torch.where(mask, depth, 0.0).flatten(1).amax(1)
    return torch.where(nothing[:, None], 0.0, relief)
