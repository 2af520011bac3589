"""Distances between two point sets or surfaces, overlap of volumes, and points drawn from a surface; all in float64.

Predicted points first, true points second, in one common frame: what they are divided by or aligned with beforehand
belongs to the column's name. d(p, Q) is the distance of p to its nearest neighbour in Q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.metrics.card import Invariance, MetricCard
from harness.metrics.checks import Array, as_tensor
from harness.metrics.draws import RandomSource, uniform
from harness.metrics.errors import EmptyInput, OutOfRange, ShapeMismatch, UnknownOption
from harness.metrics.neighbours import nearest
from harness.metrics.samples import float_array, integer_array

Average = Literal["sum", "half"]
Empty = Literal["worst", "raise"]
Float = NDArray[np.float64]
UNIT_TOLERANCE = 2e-3  # of squared lengths of normals

_RIGID: frozenset[Invariance] = frozenset({"permutation", "rotation", "shift"})
_PROTOCOL = ("n", "unit", "align", "ref")
_BIAS = "falls with n: two samples of one surface do not give 0"
_FLOOR, _ORACLE = "the sphere of the mean radius", "a second sample of the true surface"


def _card(name: str, unit: str, *, symmetric: bool = True) -> MetricCard:
    return MetricCard(
        name,
        unit=unit,
        better="lower",
        range=(0.0, math.inf),
        protocol=_PROTOCOL,
        invariances=_RIGID | {"symmetric"} if symmetric else _RIGID,
        bias=_BIAS,
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=0.0,
    )


def _share(name: str, low: float, *invariances: Invariance) -> MetricCard:
    return MetricCard(
        name,
        unit="share" if low == 0 else "1",
        better="higher",
        range=(low, 1.0),
        protocol=(*_PROTOCOL, "tau"),
        invariances=_RIGID | {"symmetric", *invariances},
        bias="rises with n",
        floor=_FLOOR,
        oracle=_ORACLE,
        identity=1.0,
    )


VOLUME_IOU = MetricCard(
    "volume_iou",
    unit="share",
    better="higher",
    range=(0.0, 1.0),
    protocol=("r", "unit", "align", "ref"),
    invariances=frozenset({"symmetric", "joint-permutation"}),
    bias="error of the order of surface / resolution",
    floor=_FLOOR,
    oracle="the true volume at the same voxel centres",
    identity=1.0,
)
CARDS: tuple[MetricCard, ...] = (
    _card("accuracy", "length", symmetric=False),
    _card("completeness", "length", symmetric=False),
    _card("chamfer_l1", "length"),
    _card("chamfer_l1_sum", "length"),
    _card("chamfer_l2", "squared length"),
    _card("chamfer_l2_half", "squared length"),
    _card("hausdorff", "length"),
    _share("fscore", 0.0),
    _share("normal_consistency", 0.0, "scale"),
    _share("normal_consistency_signed", -1.0, "scale"),
    VOLUME_IOU,
)


# ------------------------------------------------------------------------------------------------ point sets
def nearest_distances(query: Array, data: Array) -> tuple[Float, NDArray[np.int64]]:
    """Exact Euclidean distance of each query point to its nearest neighbour in ``data``, and that neighbour's index.

    ``query`` float [n,3], ``data`` float [m,3]; returns float64 [n] and int64 [n]. Of equally near neighbours any one.
    Raises EmptyInput, ShapeMismatch, NonFinite.
    """
    metric = "nearest_distances"
    return nearest(_points(query, "query", metric), _points(data, "data", metric))


def chamfer_distance(preds: Array, target: Array, *, squared: bool, average: Average) -> float:
    """Chamfer distance of two point sets: the directed means of d, or of d squared, added (``sum``) or averaged.

    ``preds`` float [n,3], ``target`` float [m,3]. The field's names: ``chamfer_l2`` is squared and sum, ``chamfer_l1``
    unsquared and half. Raises UnknownOption, EmptyInput (also for an empty prediction), ShapeMismatch, NonFinite.
    """
    metric = "chamfer"
    if average not in ("sum", "half"):
        raise UnknownOption(f"unknown average {average!r}", where=metric, nearest=("sum", "half"))
    p, t = _points(preds, "preds", metric), _points(target, "target", metric)
    total = sum(float((d * d if squared else d).mean()) for d in (nearest(p, t)[0], nearest(t, p)[0]))
    return total if average == "sum" else total / 2


def surface_scores(
    preds: Array,
    target: Array,
    *,
    taus: Sequence[float],
    preds_normals: Array | None = None,
    target_normals: Array | None = None,
    empty: Empty = "worst",
) -> dict[str, float]:
    """All scores of points on a predicted surface against points on the true one, from one search in each direction.

    ``preds`` float [n,3], ``target`` float [m,3], unit normals of the same shapes. Returns ``accuracy`` = mean d(p, Q),
    ``completeness`` = mean d(q, P), ``chamfer_l1`` = half their sum, ``chamfer_l2`` = the sum of the means of d
    squared, ``hausdorff``; for each tau ``fscore@tau`` = 2 P R / (P + R) of the shares with d < tau (strict, unsquared;
    0 where P + R = 0); with both normals ``normal_consistency`` = half the sum of the mean |n_p . n_nearest| of both
    directions, and ``normal_consistency_signed`` without the absolute value; ``n_empty`` = 1 for an empty prediction.

    An empty prediction, n = 0, is never skipped: ``empty="worst"`` gives every distance the diagonal of the truth's
    bounding box (infinity where that is a point) and 0 to the rest, ``"raise"`` raises EmptyInput, as an empty truth
    always does. Raises UnknownOption, OutOfRange (a tau below 0, normals that are not unit vectors), ShapeMismatch,
    NonFinite. (F-score of surfaces: Knapitsch et al. 2017; normal consistency: Mescheder et al. 2019.)
    """
    metric = "surface_scores"
    if empty not in ("worst", "raise"):
        raise UnknownOption(f"unknown policy {empty!r}", where=metric, nearest=("worst", "raise"))
    if any(not tau >= 0 for tau in taus):
        raise OutOfRange(f"taus are {tuple(taus)}, expected distances of at least 0", where=metric)
    t = _points(target, "target", metric)
    p = _points(preds, "preds", metric, may_be_empty=empty == "worst")
    if (preds_normals is None) != (target_normals is None):
        raise ShapeMismatch("normals are given for one side only", where=metric)
    sides = ((preds_normals, "preds_normals", p), (target_normals, "target_normals", t))
    normals = [_normals(n, name, points, metric) for n, name, points in sides if n is not None]
    if not len(p):
        return _worst(box_diagonal(t), taus, with_normals=bool(normals))
    (to_target, near_p), (to_preds, near_t) = nearest(p, t), nearest(t, p)
    accuracy, completeness = float(to_target.mean()), float(to_preds.mean())
    scores = {
        "accuracy": accuracy,
        "completeness": completeness,
        "chamfer_l1": (accuracy + completeness) / 2,
        "chamfer_l2": float((to_target**2).mean() + (to_preds**2).mean()),
        "hausdorff": float(max(to_target.max(), to_preds.max())),
        **{_fscore_name(tau): _fscore(to_target, to_preds, tau) for tau in taus},
    }
    if normals:
        own, true = normals
        products = [(a * b).sum(1) for a, b in ((own, true[near_p]), (true, own[near_t]))]
        for name, values in (("", [np.abs(x) for x in products]), ("_signed", products)):
            mean = sum(float(x.mean()) for x in values) / 2
            scores[f"normal_consistency{name}"] = min(max(mean, -1.0), 1.0)  # unit vectors only up to rounding
    return {**scores, "n_empty": 0.0}


def box_diagonal(points: Array) -> float:
    """Diagonal of the axis-aligned bounding box of points [n,3]; dividing both sides by the truth's makes scores
    comparable between objects of different size. Raises EmptyInput, ShapeMismatch, NonFinite."""
    p = _points(points, "points", "box_diagonal")
    return float(np.linalg.norm(p.max(0) - p.min(0)))


def _worst(diagonal: float, taus: Sequence[float], *, with_normals: bool) -> dict[str, float]:
    far = diagonal if diagonal > 0 else math.inf
    scores = dict.fromkeys(("accuracy", "completeness", "chamfer_l1", "hausdorff"), far)
    scores |= {"chamfer_l2": 2 * far * far, **{_fscore_name(tau): 0.0 for tau in taus}}
    if with_normals:
        scores |= {"normal_consistency": 0.0, "normal_consistency_signed": 0.0}
    return {**scores, "n_empty": 1.0}


def _fscore_name(tau: float) -> str:
    return f"fscore@{tau:g}"


def _fscore(to_target: Float, to_preds: Float, tau: float) -> float:
    precision, recall = float((to_target < tau).mean()), float((to_preds < tau).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _points(value: Array, name: str, metric: str, *, may_be_empty: bool = False) -> Float:
    if may_be_empty and tuple(as_tensor(value, name, metric=metric).shape) == (0, 3):
        return np.zeros((0, 3))
    return _float64(float_array(value, name, (None, 3), metric=metric))


def _normals(value: Array, name: str, points: Float, metric: str) -> Float:
    normals = _points(value, name, metric, may_be_empty=not len(points))
    if normals.shape != points.shape:
        raise ShapeMismatch(f"{name} is {normals.shape}, its points are {points.shape}", where=metric)
    if (np.abs((normals * normals).sum(1) - 1) > UNIT_TOLERANCE).any():
        raise OutOfRange(f"{name} holds vectors whose length is not 1", where=metric)
    return normals


def _float64(values: Tensor) -> Float:
    return values.double().cpu().numpy()


# --------------------------------------------------------------------------------------- volumes and surfaces
def volume_iou(preds: Array, target: Array) -> float:
    """Intersection over union of two volumes: |A and B| / |A or B| of bool [r,r,r] voxels or bool [P] shared points.

    NaN if both are empty, 0 if one is. Raises ShapeMismatch (not bool, other ranks or different shapes), EmptyInput
    (no voxels at all).
    """
    metric = "volume_iou"
    a, b = (as_tensor(v, name, metric=metric) for v, name in ((preds, "preds"), (target, "target")))
    if a.dtype != torch.bool or b.dtype != torch.bool or a.shape != b.shape or a.ndim not in (1, 3):
        got = f"preds is {a.dtype} {tuple(a.shape)}, target is {b.dtype} {tuple(b.shape)}"
        raise ShapeMismatch(f"{got}, expected bool [r,r,r] or [P] of one shape", where=metric)
    if not a.numel():
        raise EmptyInput(f"preds and target are empty: {tuple(a.shape)}", where=metric)
    b = b.to(a.device)
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else math.nan


def sample_surface(vertices: Array, faces: Array, n: int, *, generator: RandomSource) -> tuple[Float, Float]:
    """Draw ``n`` points uniformly by area from a triangle mesh: points float64 [n,3] and their unit face normals.

    ``vertices`` float [V,3], ``faces`` integer [F,3]; a face's normal follows from the order of its corners by the
    right-hand rule. Three uniform numbers a point, drawn on the CPU. Raises EmptyInput (a mesh without area, n < 1),
    OutOfRange (faces name vertices that do not exist), ShapeMismatch, NonFinite. (Osada et al. 2002, equation 1.)
    """
    metric = "sample_surface"
    v = _points(vertices, "vertices", metric)
    f = integer_array(faces, "faces", (None, 3), metric=metric).cpu().numpy()
    if n < 1:
        raise EmptyInput(f"asked for {n} points", where=metric)
    if f.min() < 0 or f.max() >= len(v):
        raise OutOfRange(f"faces name vertices outside 0..{len(v) - 1}", where=metric)
    a, b, c = (v[f[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    twice = np.linalg.norm(cross, axis=1)
    upto = np.cumsum(twice)
    if not upto[-1] > 0:
        raise EmptyInput("the surface has no area", where=metric)
    which, first, second = uniform(generator, (3, n))
    face = np.searchsorted(upto, which * upto[-1], side="right")
    face = np.minimum(face, np.flatnonzero(twice)[-1])  # rounding may step past the last face that has an area
    root = np.sqrt(first)[:, None]
    share = second[:, None] * root
    points = (1 - root) * a[face] + (root - share) * b[face] + share * c[face]
    return points, cross[face] / twice[face, None]
