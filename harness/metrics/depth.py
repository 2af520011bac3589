"""Errors of depth maps and of the normals they imply; per image, then mean over images, all in float64.

Depth is z-depth unless a caller says otherwise. Definitions: Eigen et al. 2014 (scale-invariant log error), Wu et al.
2020 (SIDE and MAD as used for unsupervised shape), Chan et al. 2022 (per-image standardised depth).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import NonPositiveDepth, OutOfRange, UnknownOption
from harness.metrics.samples import (
    Reduction,
    bool_mask,
    float_array,
    float_pair,
    in_blocks,
    masked_mean,
    reduced,
)

Alignment = Literal["none", "median", "scale", "affine", "affine_disp"]
ALIGNMENTS: tuple[Alignment, ...] = ("none", "median", "scale", "affine", "affine_disp")
DELTA_BASE = 1.25

_JOINT: frozenset[Invariance] = frozenset({"joint-permutation", "scale"})
_JOINT_SYMMETRIC: frozenset[Invariance] = frozenset({"joint-permutation", "scale", "symmetric"})
_UNSCALED: frozenset[Invariance] = frozenset({"joint-permutation", "symmetric"})
_FLOOR, _ORACLE = "constant plane at the mean depth", "the reference depth itself"
CARDS: tuple[MetricCard, ...] = (
    MetricCard(
        "side",
        unit="log depth",
        better="lower",
        range=(0.0, math.inf),
        protocol=("align", "ref"),
        invariances=_JOINT_SYMMETRIC | {"preds-scale"},
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=0.0,
    ),
    MetricCard(
        "mad",
        unit="deg",
        better="lower",
        range=(0.0, 180.0),
        protocol=("erode", "ref"),
        invariances=frozenset({"joint-permutation", "rotation", "symmetric"}),
        floor="normals of a fronto-parallel plane",
        oracle=_ORACLE,
        identity=0.0,
    ),
    MetricCard(
        "depth_mse_std",
        unit="1",
        better="lower",
        range=(0.0, 4.0),
        protocol=("eps", "ref"),
        invariances=_JOINT_SYMMETRIC | {"preds-shift", "preds-scale"},
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=0.0,
    ),
    *(
        MetricCard(
            name,
            unit=unit,
            better="lower",
            range=(0.0, math.inf),
            protocol=("align", "ref"),
            invariances=invariances,
            floor=_FLOOR,
            oracle=_ORACLE,
            identity=0.0,
        )
        for name, unit, invariances in (
            ("abs_rel", "1", _JOINT),
            ("rmse", "world", _UNSCALED),
            ("rmse_log", "log depth", _JOINT_SYMMETRIC),
        )
    ),
    *(
        MetricCard(
            f"delta{k}",
            unit="share",
            better="higher",
            range=(0.0, 1.0),
            protocol=("align", "ref"),
            invariances=_JOINT_SYMMETRIC,
            floor=_FLOOR,
            oracle=_ORACLE,
            identity=1.0,
        )
        for k in (1, 2, 3)
    ),
)


def scale_invariant_depth_error(
    preds: Array, target: Array, *, mask: Array | None = None, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Scale-invariant depth error (SIDE): standard deviation over the mask of delta = log preds - log target.

    ``preds``, ``target``: float [N,H,W], positive inside ``mask`` (bool [N,H,W], None: everywhere). Invariant to a
    factor on either side, not to a shift; tables print it times 100. A sample with fewer than two valid pixels is NaN
    and left out of the mean. Raises NonPositiveDepth, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "side"
    p, t, m = _depth_pair(preds, target, mask, metric)

    def spread_of_logs(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        delta = torch.where(m, p, 1.0).log() - torch.where(m, t, 1.0).log()
        return _masked_sd(delta, m)

    return reduced(in_blocks(spread_of_logs, p, t, m), reduction, metric=metric)


def standardised_depth_error(
    preds: Array, target: Array, *, mask: Array | None = None, eps: float = 0.0, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Mean squared difference of depths standardised per image over the mask: 2 (1 - Pearson correlation).

    ``preds``, ``target``: float [N,H,W] of any sign; ``mask`` bool [N,H,W]. Population standard deviation plus ``eps``
    (a peer uses 1e-8, which gives 1 when one side is constant). With eps = 0 a constant side makes a NaN sample, as do
    fewer than two valid pixels. Raises EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "depth_mse_std"
    p, t = float_pair(preds, target, (None, None, None), metric=metric)
    m = bool_mask(mask, tuple(p.shape), p.device, metric=metric)

    def error(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        return masked_mean((_standardised(p, m, eps) - _standardised(t, m, eps)).square(), m)

    return reduced(in_blocks(error, p, t, m), reduction, metric=metric)


def mean_angle_deviation(
    preds: Array, target: Array, *, mask: Array | None = None, erode: int = 1, reduction: Reduction = "mean"
) -> float | np.ndarray:
    """Mean angle between predicted and true normals (MAD) in degrees.

    ``preds``, ``target``: unit normals float [N,H,W,3]; ``mask`` bool [N,H,W], None: where both are non-zero. A pixel
    counts if its (2 erode + 1)-square lies in the mask; outside the image counts as unmasked. The angle is
    atan2(|p x t|, p . t) in float64, exact near 0 where arccos is not. Empty eroded mask: NaN sample. Raises OutOfRange
    (not unit length inside the eroded mask), EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "mad"
    p, t = float_pair(preds, target, (None, None, None, 3), metric=metric)
    valid = ((p != 0).any(-1) & (t != 0).any(-1)) if mask is None else mask
    m = eroded(bool_mask(valid, tuple(p.shape[:3]), p.device, metric=metric), erode)
    for name, normals in (("preds", p), ("target", t)):
        if bool((((normals.double().square().sum(-1) - 1).abs() > 2e-3) & m).any()):
            raise OutOfRange(f"{name} holds normals inside the mask whose length is not 1", where=metric)

    def angle(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        sine = torch.linalg.vector_norm(torch.linalg.cross(p, t), dim=-1)
        return masked_mean(torch.rad2deg(torch.atan2(sine, (p * t).sum(-1))), m)

    return reduced(in_blocks(angle, p, t, m), reduction, metric=metric)


def eroded(mask: Tensor, pixels: int) -> Tensor:
    """The mask [N,H,W] without pixels closer than ``pixels`` (square neighbourhood) to an unmasked one or the frame."""
    outside = torch.nn.functional.pad(~mask, (pixels,) * 4, value=True)
    near = torch.nn.functional.max_pool2d(outside.float()[:, None], 2 * pixels + 1, stride=1)
    return near[:, 0] == 0


def normals_from_depth(depth: Array, intrinsics: Array) -> Array:
    """Unit normals [N,H,W,3] of z-depth maps: back-projection, central differences, cross product.

    ``depth`` float [N,H,W], not positive where nothing is hit; ``intrinsics`` float [N,3,3], normalised by image width
    and height. Camera frame with OpenCV axes, pointing at the camera; (0, 0, 0) on the frame's border and where the
    pixel or one of its four neighbours is not hit. Container and dtype of ``depth``. Raises ShapeMismatch, NonFinite.
    """
    metric = "normals_from_depth"
    z = float_array(depth, "depth", (None, None, None), metric=metric)
    k = float_array(intrinsics, "intrinsics", (len(z), 3, 3), metric=metric).to(z.device)
    normals = in_blocks(_normals, z, k).to(z.dtype)
    return normals if isinstance(depth, Tensor) else normals.numpy()


def _normals(depth: Tensor, k: Tensor) -> Tensor:
    n, height, width = depth.shape
    normals = depth.new_zeros(n, height, width, 3)
    if height < 3 or width < 3:
        return normals
    u = (torch.arange(width, device=depth.device, dtype=depth.dtype) + 0.5) / width
    v = (torch.arange(height, device=depth.device, dtype=depth.dtype) + 0.5) / height
    y = (v - k[:, 1, 2, None]) / k[:, 1, 1, None]
    x = (u - k[:, 0, 2, None, None] - k[:, 0, 1, None, None] * y[..., None]) / k[:, 0, 0, None, None]
    points = torch.stack((x * depth, y[..., None] * depth, depth), dim=-1)
    along_x = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    along_y = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normal = torch.nn.functional.normalize(torch.linalg.cross(along_y, along_x), dim=-1, eps=1e-300)
    away = (normal * points[:, 1:-1, 1:-1]).sum(-1, keepdim=True) > 0
    hit = depth > 0
    whole = hit[:, 1:-1, 1:-1] & hit[:, 1:-1, 2:] & hit[:, 1:-1, :-2] & hit[:, 2:, 1:-1] & hit[:, :-2, 1:-1]
    normals[:, 1:-1, 1:-1] = torch.where(whole[..., None], torch.where(away, -normal, normal), 0.0)
    return normals


def depth_errors(preds: Array, target: Array, *, mask: Array | None = None, align: Alignment) -> dict[str, float]:
    """The depth benchmarks' errors: abs_rel, rmse, rmse_log and delta1..3 (strict), each a mean over images.

    ``preds``, ``target``: float [N,H,W], positive inside ``mask`` (bool [N,H,W]). ``align`` fits each prediction to its
    truth over the mask first: ``median`` (ratio of medians), ``scale`` and ``affine`` (least squares in depth),
    ``affine_disp`` (least squares in 1 / depth). Where an affine fit turns a depth non-positive, rmse_log is NaN for
    that image and the pixel fails every delta; a non-positive fitted disparity makes all its errors NaN. Fewer than
    two valid pixels: NaN sample. Raises NonPositiveDepth, UnknownOption, EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "depth_errors"
    if align not in ALIGNMENTS:
        raise UnknownOption(f"unknown alignment {align!r}", where=metric, nearest=ALIGNMENTS)
    p, t, m = _depth_pair(preds, target, mask, metric)

    def errors(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
        p, t, m = (a.flatten(1) for a in (p, t, m))
        p, t = _aligned(torch.where(m, p, 1.0), torch.where(m, t, 1.0), m, align), torch.where(m, t, 1.0)
        log_ratio = (p / t).log()  # NaN for a non-positive fit
        ratio = torch.where(p > 0, torch.maximum(p / t, t / p), torch.inf)
        within = [masked_mean((ratio < DELTA_BASE**k).double(), m) for k in (1, 2, 3)]
        rows = [
            masked_mean((p - t).abs() / t, m),
            masked_mean((p - t).square(), m).sqrt(),
            masked_mean(log_ratio.square(), m).sqrt(),
            *(torch.where(torch.where(m, p, 1.0).isnan().any(1), torch.nan, share) for share in within),
        ]
        return torch.where(m.sum(1)[:, None] < 2, torch.nan, torch.stack(rows, dim=1))

    means = in_blocks(errors, p, t, m).nanmean(0).tolist()
    return dict(zip(("abs_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3"), means, strict=True))


def _aligned(p: Tensor, t: Tensor, m: Tensor, align: Alignment) -> Tensor:
    if align == "median":
        return p * (_masked_median(t, m) / _masked_median(p, m))[:, None]
    if align == "scale":
        return p * (masked_mean(p * t, m) / masked_mean(p * p, m))[:, None]
    if align == "affine":
        return _affine_fit(p, t, m)
    if align == "affine_disp":
        disparity = _affine_fit(1 / p, 1 / t, m)
        return torch.where(disparity > 0, 1 / disparity, torch.nan)
    return p


def _affine_fit(p: Tensor, t: Tensor, m: Tensor) -> Tensor:
    """Least squares a p + b to t over the mask; a constant p gives the constant mean of t."""
    mean_p, mean_t = masked_mean(p, m)[:, None], masked_mean(t, m)[:, None]
    variance = masked_mean((p - mean_p).square(), m)
    slope = masked_mean((p - mean_p) * (t - mean_t), m) / variance
    return torch.where(_constant(p, m) | (variance == 0), 0.0, slope)[:, None] * (p - mean_p) + mean_t


def _masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """Median over the mask per row (mean of the middle two); NaN for an empty mask."""
    ordered = torch.where(mask, values, torch.inf).sort(dim=1).values
    count = mask.sum(1, keepdim=True)
    low = ordered.gather(1, ((count - 1) // 2).clamp_min(0))
    high = ordered.gather(1, (count // 2).clamp_max(values.shape[1] - 1))
    return torch.where(count > 0, (low + high) / 2, torch.nan)[:, 0]


def _depth_pair(preds: Array, target: Array, mask: Array | None, metric: str) -> tuple[Tensor, Tensor, Tensor]:
    p, t = float_pair(preds, target, (None, None, None), metric=metric)
    m = bool_mask(mask, tuple(p.shape), p.device, metric=metric)
    for name, depth in (("preds", p), ("target", t)):
        bad = (depth <= 0) & m
        if bool(bad.any()):
            first = tuple(bad.nonzero()[0].tolist())
            raise NonPositiveDepth(
                f"{name} has {int(bad.sum())} depths <= 0 inside the mask, the first at {first}", where=metric
            )
    return p, t, m


def _masked_sd(values: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation over the mask per sample, centred first; NaN below two valid pixels."""
    values, mask = values.flatten(1), mask.flatten(1)
    centred = values - masked_mean(values, mask)[:, None]
    sd = torch.where(_constant(values, mask), 0.0, masked_mean(centred.square(), mask).sqrt())
    return torch.where(mask.sum(1) < 2, torch.nan, sd)


def _standardised(values: Tensor, mask: Tensor, eps: float) -> Tensor:
    centred = values - masked_mean(values, mask)[:, None, None]
    return centred / (_masked_sd(values, mask) + eps)[:, None, None]


def _constant(values: Tensor, mask: Tensor) -> Tensor:
    """Whether all valid values of a sample are equal: round-off of the mean would hide it."""
    values, mask = values.flatten(1), mask.flatten(1)
    top = torch.where(mask, values, -torch.inf).amax(1)
    return top == torch.where(mask, values, torch.inf).amin(1)
