"""Frechet distance between Gaussians fitted to two feature sets, with its bias and uncertainty.

F = |mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^{1/2}, covariances with divisor n - 1 (Dowson and Landau 1982;
Heusel et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array, as_tensor, feature_pair, require_finite
from harness.metrics.draws import RandomSource, resample, subset
from harness.metrics.errors import (
    NotCovariance,
    OutOfRange,
    ShapeMismatch,
    SingularCovariance,
    TooFew,
    UnknownOption,
)
from harness.metrics.moments import Moments, moments
from harness.metrics.products import product_eigenvalues

Route = Literal["auto", "cholesky", "eigh", "lowrank"]
_EPS = torch.finfo(torch.float64).eps

FID = MetricCard(
    name="fid",
    unit="squared feature unit",
    better="lower",
    range=(0.0, math.inf),
    protocol=("n", "n_fake", "n_real", "ref", "resize", "mirror", "psi"),
    invariances=frozenset({"symmetric", "permutation", "split-merge", "batch", "rotation", "shift"}),
    identity=0.0,
    bias="falls with n roughly as s^2 d (d + 4) / (2 n): compare equal n only",
    min_n=2,
    floor="pixel noise with the data's mean and variance; the mean image",
    oracle="real images against disjoint real images at the same n",
)
FID_INF = MetricCard(
    name="fid_inf",
    unit="squared feature unit",
    better="lower",
    range=(-math.inf, math.inf),
    protocol=("n", "points", "ref", "resize", "mirror", "psi", "seed"),
    bias="the first-order bias is extrapolated away; noisier than fid",
    min_n=8,
    floor="as fid",
    oracle="as fid; about 0",
)
CARDS: tuple[MetricCard, ...] = (FID, FID_INF)


# ---------------------------------------------------------------------------------------------------- distance
def frechet_distance(fake: Array, real: Array, *, allow_unequal: bool = False, method: Route = "auto") -> float:
    """Return the Frechet distance of float rows [n,d] and [m,d], computed in float64.

    ``auto`` takes the exact low-rank route when n <= d or m <= d, else Cholesky, else (singular covariance) symmetric
    eigenvalues. Not clipped: equal sets may give -1e-10. Raises CountMismatch (n != m unless ``allow_unequal``), TooFew
    (n < 2), ShapeMismatch, NonFinite, SingularCovariance (``cholesky`` asked for a singular one).
    """
    if method not in get_args(Route):
        raise UnknownOption(f"unknown method {method!r}", where="fid", nearest=get_args(Route))
    x, y = feature_pair(fake, real, metric="fid", minimum=2, allow_unequal=allow_unequal)
    return _distance(x.double(), y.double(), method)


def frechet_distance_from_moments(fake: Moments, real: Moments) -> float:
    """Return the Frechet distance of two Gaussians given by mean [d] and covariance [d,d].

    Counts are not compared: moments may be exact ones. Raises ShapeMismatch, NonFinite, NotCovariance (eigenvalue
    below -1e-8 times the largest).
    """
    sides: list[Tensor] = []
    for name, side in (("fake", fake), ("real", real)):
        mean, cov = (as_tensor(part, name, metric="fid").double() for part in (side.mean, side.cov))
        if mean.ndim != 1 or cov.shape != (len(mean), len(mean)) or (sides and len(mean) != len(sides[0])):
            expected = f"mean [d] and cov [d, d] of one d{f' = {len(sides[0])}' if sides else ''}"
            raise ShapeMismatch(
                f"{name} has mean {tuple(mean.shape)} and cov {tuple(cov.shape)}, expected {expected}", where="fid"
            )
        require_finite(mean, f"{name} mean", metric="fid")
        require_finite(cov, f"{name} covariance", metric="fid")
        sides += [mean.to(sides[0].device) if sides else mean, cov.to(sides[0].device) if sides else cov]
    mean_x, cov_x, mean_y, cov_y = sides
    return _from_parts(mean_x - mean_y, cov_x, cov_y, "auto")


def _distance(x: Tensor, y: Tensor, method: Route = "auto") -> float:
    d = x.shape[1]
    if method == "lowrank" or (method == "auto" and min(len(x), len(y)) <= d):
        return _low_rank(x, y)
    fitted_x, fitted_y = moments(x), moments(y)
    delta, cov_x, cov_y = (torch.as_tensor(p) for p in (fitted_x.mean - fitted_y.mean, fitted_x.cov, fitted_y.cov))
    return _from_parts(delta, cov_x, cov_y, method)


def _from_parts(delta: Tensor, cov_x: Tensor, cov_y: Tensor, method: Route) -> float:
    values = None if method == "eigh" else product_eigenvalues(cov_x, cov_y)
    if values is None:
        if method == "cholesky":
            raise SingularCovariance("the covariance of fake is singular", where="fid", remedy="Use method='auto'.")
        root = _square_root(cov_x)  # S_x = R R^T: the eigenvalues of S_x S_y are those of R^T S_y R
        values = torch.linalg.eigvalsh(root.T @ cov_y @ root)
    cross_trace = _nonnegative(values).sqrt().sum()
    return float(delta @ delta + cov_x.trace() + cov_y.trace() - 2 * cross_trace)


def _low_rank(x: Tensor, y: Tensor) -> float:
    """Frechet distance without a d x d covariance: tr (S_x S_y)^{1/2} = |A B^T|_* / sqrt((n-1)(m-1)) for centred A, B.

    Singular values of A B^T keep all digits, roots of the eigenvalues of its Gram matrix only half of them. A side with
    more rows than dimensions is first reduced to its triangular factor, which has the same Gram matrix.
    """
    mean_x, mean_y = x.mean(0), y.mean(0)
    a, b = x - mean_x, y - mean_y
    delta = mean_x - mean_y
    trace_x, trace_y = a.square().sum() / (len(x) - 1), b.square().sum() / (len(y) - 1)
    a, b = (torch.linalg.qr(rows, mode="r").R if len(rows) > rows.shape[1] else rows for rows in (a, b))
    nuclear = torch.linalg.svdvals(a @ b.T).sum() / math.sqrt((len(x) - 1) * (len(y) - 1))
    return float(delta @ delta + trace_x + trace_y - 2 * nuclear)


def _square_root(cov: Tensor) -> Tensor:
    """Return R [d,r] with R R^T = cov; directions whose eigenvalue is round-off are left out."""
    values, vectors = torch.linalg.eigh(cov)
    values = _nonnegative(values)
    kept = values > values[-1] * len(values) * _EPS
    return vectors[:, kept] * values[kept].sqrt()


def _nonnegative(values: Tensor) -> Tensor:
    """Return ascending eigenvalues with small negative ones set to zero; NotCovariance below -1e-8 x the largest."""
    if len(values) and float(values[0]) < -1e-8 * float(values.abs().max()):
        raise NotCovariance(
            f"eigenvalue {float(values[0]):.3g} beside a largest of {float(values[-1]):.3g}", where="fid"
        )
    return values.clamp_min(0)


# ------------------------------------------------------------------------------------------------- uncertainty
def frechet_distance_stderr(fake: Array, real: Array) -> float:
    """Return the standard error of the Frechet distance from its influence functions, without resampling.

    psi_x = 2 D.a + a^T (I - T) a with a = x - mu_x, D = mu_x - mu_y and T the optimal map of S_x to S_y; psi_y with -D
    and T^{-1}; SE^2 = var(psi_x) / n + var(psi_y) / m. Float rows [n,d], [m,d]; raises TooFew unless n, m > d,
    SingularCovariance, ShapeMismatch, NonFinite.
    """
    x, y = feature_pair(fake, real, metric="fid_se", minimum=2)
    return _stderr(x.double(), y.double())


def _stderr(x: Tensor, y: Tensor) -> float:
    d = x.shape[1]
    if min(len(x), len(y)) <= d:
        raise TooFew(f"{len(x)} and {len(y)} rows, expected more than d = {d}", where="fid_se")
    mean_x, mean_y = x.mean(0), y.mean(0)
    a, b, delta = x - mean_x, y - mean_y, mean_x - mean_y
    values, vectors = torch.linalg.eigh(torch.as_tensor(moments(x).cov))
    root = vectors * values.clamp_min(0).sqrt()
    inner, rotation = torch.linalg.eigh(root.T @ torch.as_tensor(moments(y).cov) @ root)
    floors = torch.stack([values[0] / values[-1], inner[0] / inner[-1]]).nan_to_num(0.0)
    if float(floors.min()) <= d * _EPS:
        raise SingularCovariance("the influence function needs regular covariances", where="fid_se")
    quarter = inner.pow(0.25)  # T = P g^{1/2} P^T with P = V w^{-1/2} U; its inverse is Q g^{-1/2} Q^T, Q = V w^{1/2} U
    forward = (vectors / values.sqrt()) @ rotation * quarter
    backward = root @ rotation / quarter
    psi_x = 2 * a @ delta + a.square().sum(1) - (a @ forward).square().sum(1)
    psi_y = -2 * b @ delta + b.square().sum(1) - (b @ backward).square().sum(1)
    return math.sqrt(float(psi_x.var() / len(x) + psi_y.var() / len(y)))


def frechet_distance_interval(
    fake: Array,
    real: Array,
    *,
    level: float = 0.95,
    method: Literal["auto", "influence", "shifted"] = "auto",
    resamples: int = 200,
    generator: RandomSource,
) -> tuple[float, float]:
    """Return a confidence interval (low, high) for the expected distance at this n.

    ``influence`` is the estimate +- z SE; ``shifted`` the percentiles of ``resamples`` bootstraps of the rows of both
    sides, moved by (estimate - bootstrap mean), because repeated rows add a second copy of the bias: the raw percentile
    interval misses. ``auto`` takes the former when n, m > d and the covariances are regular. For n < d the shifted
    interval is not validated: print the interval of ``kernel_distance_full`` beside it.
    """
    if method not in ("auto", "influence", "shifted"):
        raise UnknownOption(f"unknown method {method!r}", where="fid", nearest=("auto", "influence", "shifted"))
    if not 0 < level < 1 or resamples < 2:
        raise OutOfRange(f"level {level}, resamples {resamples}: expected 0 < level < 1, resamples >= 2", where="fid")
    x, y = (side.double() for side in feature_pair(fake, real, metric="fid", minimum=2))
    estimate = _distance(x, y)
    if method != "shifted":
        try:
            margin = NormalDist().inv_cdf(0.5 + level / 2) * _stderr(x, y)
            return estimate - margin, estimate + margin
        except (TooFew, SingularCovariance):
            if method == "influence":
                raise
    draws = [_distance(x[_at(x, resample, generator)], y[_at(y, resample, generator)]) for _ in range(resamples)]
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    shift = estimate - float(np.mean(draws))
    return float(low) + shift, float(high) + shift


def frechet_distance_extrapolated(
    fake: Array, real: Array, *, points: int = 10, generator: RandomSource
) -> tuple[float, float]:
    """Return (intercept, slope) of the least-squares line of the distance against 1/n.

    ``points`` sizes in [n/4, n] are drawn without replacement; the intercept estimates the distance at infinite n
    (Chong and Forsyth 2020). Raises TooFew when n < 8, OutOfRange when points < 2.
    """
    if points < 2:
        raise OutOfRange(f"points = {points}, expected at least 2", where="fid_inf")
    x, y = (side.double() for side in feature_pair(fake, real, metric="fid_inf", minimum=8))
    largest = min(len(x), len(y))
    sizes = np.unique(np.linspace(largest / 4, largest, points).round().astype(int))
    values = [_distance(x[_at(x, subset, generator, n)], y[_at(y, subset, generator, n)]) for n in sizes.tolist()]
    slope, intercept = np.polyfit(1 / sizes, values, 1)
    return float(intercept), float(slope)


def _at(rows: Tensor, draw: Callable[..., Tensor], generator: RandomSource, *size: int) -> Tensor:
    return draw(generator, len(rows), *size).to(rows.device)


# --------------------------------------------------------------------------------------------------- per class
def frechet_distance_per_class(
    fake: Array,
    fake_labels: Array,
    real: Array,
    real_labels: Array,
    *,
    n_per_class: int | None = None,
    generator: RandomSource,
) -> dict[int, float]:
    """Return the Frechet distance of each class's rows, every class at the same n because the bias depends on n.

    Labels are int [n] and [m]. ``n_per_class`` defaults to the smallest count of a class over both sides, among classes
    with two rows or more; larger classes are subsampled. A class with fewer than two rows on a side gets NaN. Raises
    TooFew when a class has fewer rows than a given ``n_per_class``, ShapeMismatch, NonFinite.
    """
    x, y = (side.double() for side in feature_pair(fake, real, metric="fid_class"))
    label_x = _labels(fake_labels, "fake_labels", len(x)).to(x.device)
    label_y = _labels(real_labels, "real_labels", len(y)).to(x.device)
    classes = torch.cat([label_x, label_y]).unique().tolist()
    members = {c: ((label_x == c).nonzero()[:, 0], (label_y == c).nonzero()[:, 0]) for c in classes}
    counts = {c: min(len(own_x), len(own_y)) for c, (own_x, own_y) in members.items()}
    defined = {c: count for c, count in counts.items() if count >= 2}
    n = n_per_class if n_per_class is not None else min(defined.values(), default=2)
    short = sorted(c for c, count in defined.items() if count < n)
    if short or n < 2:
        raise TooFew(f"classes {short} have fewer than n_per_class = {n} rows, which must be >= 2", where="fid_class")
    result = dict.fromkeys(classes, math.nan)
    for c in defined:
        own_x, own_y = members[c]
        result[c] = _distance(x[own_x[_at(own_x, subset, generator, n)]], y[own_y[_at(own_y, subset, generator, n)]])
    return result


def _labels(labels: Array, name: str, n: int) -> Tensor:
    values = as_tensor(labels, name, metric="fid_class")
    if values.shape != (n,) or values.is_floating_point():
        raise ShapeMismatch(f"{name} is {values.dtype} {tuple(values.shape)}, expected int [{n}]", where="fid_class")
    return values.long()
