"""Pose control, pose error and identity preservation under changing pose; all statistics in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from harness.metrics.card import Direction, Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import OutOfRange, ShapeMismatch, TooFew
from harness.metrics.samples import Reduction, float_array, float_pair, integer_array, reduced

CONTROLLED_CORRELATION, CONTROLLED_SLOPE, DECIDED_BY_POSE = 0.8, 0.5, 0.5
PoseState = Literal["controlled", "narrow", "folded", "latent_carries_pose", "undefined"]


def _card(
    name: str,
    unit: str,
    better: Direction,
    span: tuple[float, float],
    *invariances: Invariance,
    floor: str = "a generator that ignores the pose: 0",
    identity: float | None = None,
    min_n: int = 1,
) -> MetricCard:
    return MetricCard(
        name,
        unit=unit,
        better=better,
        range=span,
        protocol=("judge", "n", "poses", "prior"),
        invariances=frozenset(invariances),
        min_n=min_n,
        floor=floor,
        oracle="the estimator on held-out renders",
        identity=identity,
    )


_SYMMETRIC: tuple[Invariance, ...] = ("joint-permutation", "symmetric")
_LINEAR: tuple[Invariance, ...] = (*_SYMMETRIC, "preds-scale", "preds-shift")
_UNIT, _POSITIVE, _HALF_TURN = (0.0, 1.0), (0.0, math.inf), (0.0, 180.0)
_UNPOSED, _SHUFFLED = "the mean pose for every image", "shuffled identities"
CARDS: tuple[MetricCard, ...] = (
    _card("pose_corr", "1", "higher", _UNIT, *_LINEAR, identity=1.0, min_n=2),
    _card("pose_rank_corr", "1", "higher", _UNIT, *_LINEAR, identity=1.0, min_n=2),
    _card("pose_slope", "1", "higher", _POSITIVE, "joint-permutation", "scale", "preds-shift", identity=1.0, min_n=2),
    _card("pose_eta2", "1", "higher", _UNIT, identity=1.0, min_n=2),
    _card("pose_spread", "deg", "lower", _POSITIVE, floor="", identity=0.0),
    _card("pose_resultant", "1", "higher", _UNIT, *_SYMMETRIC, floor="sin(a) / a on +-a", identity=1.0),
    _card("pose_mae", "deg", "lower", _HALF_TURN, *_SYMMETRIC, floor=_UNPOSED, identity=0.0),
    _card("pose_mse", "rad^2", "lower", (0.0, math.pi**2), *_SYMMETRIC, "shift", floor=_UNPOSED, identity=0.0),
    _card("pose_geodesic", "deg", "lower", _HALF_TURN, *_SYMMETRIC, floor=_UNPOSED, identity=0.0),
    _card("id_sim", "1", "higher", (-1.0, 1.0), floor="views of different identities"),
    _card("id_gap", "1", "higher", (-2.0, 2.0), floor=_SHUFFLED),
    _card("id_var_ratio", "1", "lower", _POSITIVE, floor=_SHUFFLED, min_n=2),
)


# ----------------------------------------------------------------------------------------------- pose control
def pose_control(requested: Array, estimated: Array) -> dict[str, float]:
    """Agreement of commanded and estimated angles after fitting a mirror sign and an offset.

    ``requested``, ``estimated``: radians float [N]. ``resultant`` = max over s in {1, -1} of
    |mean exp(i (est - s req))|, in [0, 1]; ``sign`` = that s (1 on a tie); ``offset_deg`` = its argument; ``mae_deg`` =
    mean circular error after alignment; ``slope`` = least-squares slope of s * est, unwrapped around the aligned
    request, on req (NaN when all requests are equal). On requests within +-a a generator that ignores the pose has
    resultant sin(a) / a and unwrapping flatters the slope: use ``pose_correlation`` there. Raises ShapeMismatch,
    EmptyInput, NonFinite.
    """
    metric = "pose_control"
    req = float_array(requested, "requested", (None,), metric=metric).double()
    est = _like(estimated, "estimated", req, metric)
    plain, mirrored = (torch.polar(torch.ones_like(req), est - s * req).mean() for s in (1, -1))
    sign, vector = (1, plain) if bool(plain.abs() >= mirrored.abs()) else (-1, mirrored)
    offset = vector.angle()
    residual = _wrapped(est - sign * req - offset)
    unwrapped = req + sign * (residual + offset)
    return {
        "resultant": min(float(vector.abs()), 1.0),
        "sign": float(sign),
        "offset_deg": math.degrees(float(offset)),
        "mae_deg": math.degrees(float(residual.abs().mean())),
        "slope": _slope(req, unwrapped),
    }


@dataclass(frozen=True)
class PoseCorrelation:
    """What ``pose_correlation`` returns: scores as floats, ``mean_curve_deg`` as float64 [P] in the order of requests.

    ``pearson``, ``spearman`` carry their sign; ``correlation``, ``rank_correlation`` are their absolute values.
    """

    pearson: float
    spearman: float
    slope: float
    eta_squared: float
    spread_deg: float
    mean_curve_deg: np.ndarray

    @property
    def correlation(self) -> float:
        return abs(self.pearson)

    @property
    def rank_correlation(self) -> float:
        return abs(self.spearman)

    @property
    def state(self) -> PoseState:
        """How a run ended.

        ``controlled``: correlation and slope reach the limits below. ``narrow``: only the slope falls short.
        ``folded``: the pose decides the estimate (eta squared) but runs through the range more than once.
        ``latent_carries_pose``: it does not decide it. ``undefined``: the estimate never changes.
        """
        if math.isnan(self.pearson):
            return "undefined"
        if self.correlation >= CONTROLLED_CORRELATION:
            return "controlled" if self.slope >= CONTROLLED_SLOPE else "narrow"
        return "folded" if self.eta_squared >= DECIDED_BY_POSE else "latent_carries_pose"


def pose_correlation(requested: Array, estimated: Array) -> PoseCorrelation:
    """Correlation of commanded and estimated angles over K latents x P poses; 0 for a generator that ignores the pose.

    ``requested``: radians float [P], the poses of every latent; ``estimated``: radians float [K,P]. Pearson and
    Spearman over all K P pairs; ``slope`` of the least-squares line without its sign (1 = full range). ``eta_squared``
    = 1 - (mean over poses of the variance over latents) / (total variance): high when the pose decides the estimate,
    also through a folded map. ``spread_deg`` = standard deviation over latents of a latent's mean estimate: high when
    the latent carries the pose. ``mean_curve_deg`` = mean estimate per pose. Population variances. Angles are not
    unwrapped: meant for ranges below a full turn. Constant estimates give NaN correlations and slope 0, constant
    requests NaN for all three. Raises TooFew (P < 2), ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = "pose_correlation"
    req = float_array(requested, "requested", (None,), metric=metric).double().cpu()
    est = float_array(estimated, "estimated", (None, len(req)), metric=metric).double().cpu()
    if len(req) < 2:
        raise TooFew(f"requested has {len(req)} poses, expected at least 2", where=metric)
    x, y = req.expand_as(est).flatten(), est.flatten()
    ranks = (torch.from_numpy(rankdata(a.numpy())) for a in (x, y))
    total = float(y.var(correction=0))
    varies = bool(y.amax() > y.amin())
    curve = est.mean(0)
    return PoseCorrelation(
        pearson=_pearson(x, y),
        spearman=_pearson(*ranks),
        slope=abs(_slope(x, y)),
        eta_squared=min(float(curve.var(correction=0)) / total, 1.0) if varies else math.nan,
        spread_deg=math.degrees(float(est.mean(1).std(correction=0))),
        mean_curve_deg=torch.rad2deg(curve).numpy(),
    )


def _slope(x: Tensor, y: Tensor) -> float:
    if bool(x.amax() == x.amin()):
        return math.nan
    centred = x - x.mean()
    return float((centred * (y - y.mean())).sum() / centred.square().sum())


def _pearson(x: Tensor, y: Tensor) -> float:
    if bool(x.amax() == x.amin()) or bool(y.amax() == y.amin()):
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    value = float((x * y).sum() / (torch.linalg.vector_norm(x) * torch.linalg.vector_norm(y)))
    return min(max(value, -1.0), 1.0)


# ------------------------------------------------------------------------------------------------- pose error
def pose_error(preds: Array, target: Array) -> dict[str, float]:
    """Error of estimated poses: ``mse`` of (pitch, yaw, roll) in rad^2 and mean ``geodesic_deg`` between rotations.

    Both float [N,3] angles in radians (pitch, yaw, roll) or both rotations [N,3,3]. Each angle difference is wrapped to
    (-pi, pi]. R = Ry(yaw) Rx(-pitch) Rz(roll), so yaw is our azimuth and pitch our elevation. Align sign conventions on
    renders of known pose first. Raises OutOfRange (not rotations), ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = "pose_error"
    shape = (None, 3, 3) if getattr(preds, "ndim", 2) == 3 else (None, 3)
    p, t = (a.double() for a in float_pair(preds, target, shape, metric=metric))
    if p.ndim == 2:
        angles, rotations = (p, t), (_rotation(p), _rotation(t))
    else:
        for name, r in (("preds", p), ("target", t)):
            identity = torch.eye(3, dtype=r.dtype, device=r.device)
            if bool(((r @ r.mT - identity).abs() > 1e-3).any()) or bool((torch.linalg.det(r) < 0).any()):
                raise OutOfRange(f"{name} holds matrices that are not rotations", where=metric)
        angles, rotations = (_angles(p), _angles(t)), (p, t)
    relative = rotations[0] @ rotations[1].mT
    axis = relative - relative.mT
    sine = torch.stack((axis[:, 2, 1], axis[:, 0, 2], axis[:, 1, 0]), dim=-1).norm(dim=-1)
    cosine = relative.diagonal(dim1=1, dim2=2).sum(-1) - 1
    geodesic = torch.atan2(sine, cosine)
    return {
        "mse": float(_wrapped(angles[0] - angles[1]).square().mean()),
        "geodesic_deg": math.degrees(float(geodesic.mean())),
    }


def _rotation(angles: Tensor) -> Tensor:
    sp, sy, sr = angles.sin().unbind(-1)
    cp, cy, cr = angles.cos().unbind(-1)
    rows = (
        *(cy * cr - sy * sp * sr, -cy * sr - sy * sp * cr, sy * cp),
        *(cp * sr, cp * cr, sp),
        *(-sy * cr - cy * sp * sr, sy * sr - cy * sp * cr, cy * cp),
    )
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def _angles(rotation: Tensor) -> Tensor:
    pitch = torch.atan2(rotation[:, 1, 2], torch.hypot(rotation[:, 1, 0], rotation[:, 1, 1]))
    yaw = torch.atan2(rotation[:, 0, 2], rotation[:, 2, 2])
    roll = torch.atan2(rotation[:, 1, 0], rotation[:, 1, 1])
    return torch.stack((pitch, yaw, roll), dim=-1)


# --------------------------------------------------------------------------------------------------- identity
def identity_similarity(embeddings: Array, identities: Array) -> dict[str, float]:
    """Mean cosine of embeddings over pairs of one identity (``same``), of two (``different``), and their ``gap``.

    ``embeddings`` float [N,d], ``identities`` integer [N]. Every unordered pair counts once. A zero embedding is left
    out; with no pair of a kind the mean is NaN. Cost O(N d): sums over pairs come from sums per identity. Raises
    ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = "identity_similarity"
    rows = float_array(embeddings, "embeddings", (None, None), metric=metric).double()
    labels = integer_array(identities, "identities", (len(rows),), metric=metric).to(rows.device)
    length = torch.linalg.vector_norm(rows, dim=1)
    rows, labels = rows[length > 0] / length[length > 0, None], labels[length > 0]
    unique, group = labels.unique(return_inverse=True)
    counts = torch.bincount(group, minlength=len(unique)).double()
    sums = rows.new_zeros(len(unique), rows.shape[1]).index_add_(0, group, rows)
    own = rows.square().sum()  # |row|^2 is 1 only up to rounding
    within = sums.square().sum() - own
    across = rows.sum(0).square().sum() - own - within
    pairs = float((counts * (counts - 1)).sum())
    same = _mean_cosine(float(within), pairs)
    different = _mean_cosine(float(across), len(rows) * (len(rows) - 1) - pairs)
    return {"same": same, "different": different, "gap": same - different}


def _mean_cosine(total: float, pairs: float) -> float:
    return min(max(total / pairs, -1.0), 1.0) if pairs else math.nan  # without pairs the total is round-off


def identity_variance_ratio(attributes: Array, *, reduction: Reduction = "mean") -> float | np.ndarray:
    """How much turning an object changes its attributes, relative to how much objects differ.

    ``attributes`` float [K,P,F]: K identities at the same P poses. Per attribute, (mean over identities of the variance
    over poses) / (variance over identities of the mean over poses), population variances; then the mean over
    attributes. An attribute that never varies is NaN and left out; one that varies with the pose alone is inf. Raises
    TooFew (K or P below 2), ShapeMismatch, EmptyInput, NonFinite. (HoloGAN, Nguyen-Phuoc et al. 2019, claim H2 as
    operationalised here.)
    """
    metric = "id_var_ratio"
    values = float_array(attributes, "attributes", (None, None, None), metric=metric).double()
    if min(values.shape[:2]) < 2:
        raise TooFew(f"attributes is {tuple(values.shape)}, expected at least 2 identities and 2 poses", where=metric)
    pose = values.var(1, correction=0).mean(0)
    identity = values.mean(1).var(0, correction=0)
    varies = values.amax((0, 1)) > values.amin((0, 1))  # round-off of a mean would hide a constant
    return reduced(torch.where(varies, pose / identity, torch.nan), reduction, metric=metric)


def _like(value: Array, name: str, other: Tensor, metric: str) -> Tensor:
    tensor = float_array(value, name, (None,) * other.ndim, metric=metric).to(other.device).double()
    if tensor.shape != other.shape:
        raise ShapeMismatch(f"{name} is {tuple(tensor.shape)}, expected {tuple(other.shape)}", where=metric)
    return tensor


def _wrapped(angle: Tensor) -> Tensor:
    """Angles brought to (-pi, pi]."""
    return math.pi - torch.remainder(math.pi - angle, 2 * math.pi)
