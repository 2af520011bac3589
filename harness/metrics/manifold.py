"""Improved precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

All four count pairs inside closed balls around each row that reach to its k-th nearest neighbour on its own side.
Large d goes through float32 Gram blocks; every pair near a ball's surface is decided again in float64, so that the
counts are those of exact arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array, feature_pair, feature_rows
from harness.metrics.errors import OutOfRange, TooFew
from harness.metrics.products import gram

_BLOCK = 1024
_SMALL_D = 64  # up to it exact differences are as cheap as a product
_SPARE = 4  # neighbours kept beyond the k-th, so that rounding cannot hide the true one
_CLOSE = 1e-5  # float32 squared distances are trusted outside this times (|x|^2 + |y|^2)
_PAIRS = 64  # pairs measured in float64 at once: few enough to stay in cache


def _card(name: str, high: float, bias: str, identity: float | None) -> MetricCard:
    return MetricCard(
        name=name,
        unit="share",
        better="higher",
        range=(0.0, high),
        protocol=("k", "n", "n_fake", "n_real", "ref", "resize", "mirror", "psi"),
        invariances=frozenset({"permutation", "split-merge", "batch", "rotation", "shift", "scale"}),
        bias=bias,
        min_n=2,
        floor="pixel noise with the data's mean and variance",
        oracle="real images against disjoint real images",
        identity=identity,
    )


PRECISION = _card("precision", 1.0, "rises with the number of real rows", 1.0)
RECALL = _card("recall", 1.0, "rises with the number of generated rows", 1.0)
DENSITY = _card("density", math.inf, "mean about 1 for equal laws; at most m / k", None)
COVERAGE = _card("coverage", 1.0, "falls with fewer generated rows", 1.0)
CARDS: tuple[MetricCard, ...] = (PRECISION, RECALL, DENSITY, COVERAGE)


@dataclass(frozen=True)
class PRDC:
    """Precision, recall and coverage in [0,1]; density in [0, m/k]. Higher is better."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(fake: Array, real: Array, *, k: int) -> PRDC:
    """Return all four shares for float rows [n,d] and [m,d]; k = 3 is usual for the first two, 5 for the others.

    precision: generated rows inside some real ball; recall: real rows inside some generated ball; density: real balls
    that hold a generated row, mean over rows / k; coverage: real balls that hold some generated row. Raises TooFew when
    k >= n or k >= m, OutOfRange (k < 1), ShapeMismatch, NonFinite.
    """
    x, y = feature_pair(fake, real, metric="prdc")
    _require_neighbours(x, k, "prdc")
    _require_neighbours(y, k, "prdc")
    factor = _normal(x, y)
    x, y = x * factor, y * factor
    x, radius_x, weight_x = _distinct(x, _radii(x, k))
    y, radius_y, weight_y = _distinct(y, _radii(y, k))
    n, m = float(weight_x.sum()), float(weight_y.sum())
    precise = density = x.new_zeros((), dtype=torch.float64)
    covered = recalled = torch.zeros(len(y), dtype=torch.bool, device=x.device)
    for block, in_real, in_fake in _inside(x, y, radius_x, radius_y):
        precise = precise + weight_x[block] @ in_real.any(1).double()
        density = density + weight_x[block] @ (in_real.double() @ weight_y)
        covered, recalled = covered | in_real.any(0), recalled | in_fake.any(0)
    return PRDC(
        precision=float(precise) / n,
        recall=float(weight_y @ recalled.double()) / m,
        density=float(density) / (k * n),
        coverage=float(weight_y @ covered.double()) / m,
    )


def kth_neighbour_distance(features: Array, *, k: int) -> np.ndarray:
    """Return float64 [n]: each row's distance to its k-th nearest other row. Raises TooFew when k >= n."""
    rows = feature_rows(features, "features", metric="kth_neighbour_distance")
    _require_neighbours(rows, k, "kth_neighbour_distance")
    factor = _normal(rows)
    return _radii(rows * factor, k).cpu().numpy() / factor


def _require_neighbours(rows: Tensor, k: int, metric: str) -> None:
    if k < 1:
        raise OutOfRange(f"k = {k}, expected at least 1", where=metric)
    if k >= len(rows):
        raise TooFew(f"{len(rows)} rows have no {k}-th other neighbour", where=metric)


def _normal(*sides: Tensor) -> float:
    """Return the power of two that brings the largest magnitude near one, so that no square leaves float32.

    Products with it are exact, and shares do not depend on a common factor.
    """
    _, exponent = math.frexp(max(abs(float(end)) for side in sides for end in torch.aminmax(side)))
    limit = 120 if sides[0].dtype == torch.float32 else 1000  # the factor itself must be a normal number
    return math.ldexp(1.0, max(-limit, min(-exponent, limit)))


def _distinct(rows: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distinct rows, their radii and multiplicities: copies share every answer, however many there are."""
    distinct, inverse, counts = torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    return distinct, torch.empty_like(radii[: len(counts)]).scatter_(0, inverse, radii), counts.double()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Return float64 [.., p, q] distances by differences, so that equal pairs give equal bits in every call."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _pair_distances(a: Tensor, b: Tensor, i: Tensor, j: Tensor) -> Tensor:
    parts = zip(i.split(_PAIRS), j.split(_PAIRS), strict=True)
    return torch.cat([_distances(a[p, None], b[q, None])[:, 0, 0] for p, q in parts])


def _centred(rows: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return float32 rows about ``centre``, which keeps the digits of their differences, and their squared norms."""
    low = (rows - centre).float()
    return low, torch.linalg.vector_norm(low, dim=1).square()


def _squared(a: Tensor, b: Tensor, norm_a: Tensor, norm_b: Tensor) -> Tensor:
    """Return float32 squared distances [n,m] by the Gram matrix, from rows and their squared norms."""
    return gram(a, b).mul_(-2).add_(norm_a[:, None]).add_(norm_b)


def _inside(x: Tensor, y: Tensor, radius_x: Tensor, radius_y: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield blocks of rows of x with bool [b,m]: inside the ball of each y, and each y inside the ball of the row."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(x), _BLOCK)]
    if x.shape[1] <= _SMALL_D:
        for block in blocks:
            distance = _distances(x[block], y)
            yield block, distance <= radius_y, distance <= radius_x[block, None]
        return
    centre = y.mean(0)
    (low_x, norm_x), (low_y, norm_y) = _centred(x, centre), _centred(y, centre)
    slack_x, slack_y = _CLOSE * (norm_x + norm_y.max()), _CLOSE * (norm_y + norm_x.max())
    for block in blocks:
        square = _squared(low_x[block], low_y, norm_x[block], norm_y)
        in_real, near_real = _decide(square, radius_y.square(), slack_y)
        in_fake, near_fake = _decide(square, radius_x[block, None].square(), slack_x[block, None])
        i, j = (near_real | near_fake).nonzero().unbind(1)
        if len(i):
            exact = _pair_distances(x[block], y, i, j)
            in_real[i, j], in_fake[i, j] = exact <= radius_y[j], exact <= radius_x[block][i]
        yield block, in_real, in_fake


def _decide(square: Tensor, limit: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """Return where float32 squared distances are below the limit, and where they are too close to it to tell."""
    surely = square <= (limit - slack).float()
    return surely, (square <= (limit + slack).float()) ^ surely


def _radii(rows: Tensor, k: int) -> Tensor:
    """Return float64 [n], the exact distance of each row to its k-th nearest other row."""
    if rows.shape[1] <= _SMALL_D:
        return torch.cat([_kth(part, rows, k) for part in rows.split(_BLOCK)])
    centred, norms = _centred(rows, rows.mean(0))
    best, index = _nearest(centred, norms, min(k + _SPARE, len(rows) - 1))
    slack = 2 * _CLOSE * (norms + norms.max())[:, None]
    kth = best[:, k - 1 : k]
    open_pairs = (best - kth).abs() <= slack  # nearer ones are certain, and so are farther ones
    i, j = open_pairs.nonzero().unbind(1)
    ranked = torch.where(best < kth, -math.inf, math.inf).double()
    ranked[i, j] = _pair_distances(rows, rows, i, index[i, j])
    radii = ranked.kthvalue(k, dim=1).values
    unsure = open_pairs[:, -1].nonzero()[:, 0] if best.shape[1] < len(rows) - 1 else i[:0]
    if len(unsure):  # more rows at nearly one distance than were kept, as among copies of one image
        distinct, inverse = torch.unique(rows[unsure], dim=0, return_inverse=True)
        radii[unsure] = torch.cat([_kth(part, rows, k) for part in distinct.split(_BLOCK)])[inverse]
    return radii


def _kth(part: Tensor, rows: Tensor, k: int) -> Tensor:
    """Return the k-th nearest other row's distance for members ``part`` of ``rows``; the nearest is the row itself."""
    return _distances(part, rows).topk(k + 1, dim=1, largest=False).values[:, k]


def _nearest(centred: Tensor, norms: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Return float32 squared distances and indices [n,kept] of each row's nearest others, ascending.

    Each block of the symmetric Gram matrix is built once and serves its rows and its columns.
    """
    n = len(centred)
    best = centred.new_full((n, kept), math.inf)
    index = torch.zeros((n, kept), dtype=torch.long, device=centred.device)

    def keep(where: slice, candidates: Tensor, offset: int) -> None:
        values, at = candidates.topk(min(kept, candidates.shape[1]), dim=1, largest=False)
        values, at = torch.cat([best[where], values], 1), torch.cat([index[where], at + offset], 1)
        best[where], order = values.topk(kept, dim=1, largest=False)
        index[where] = at.gather(1, order)

    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        rows, norm = centred[start:stop], norms[start:stop]
        own = _squared(rows, rows, norm, norm)
        own.diagonal().fill_(math.inf)
        keep(slice(start, stop), own, start)
        if stop < n:
            above = _squared(rows, centred[stop:], norm, norms[stop:])
            keep(slice(start, stop), above, stop)
            keep(slice(stop, n), above.T.contiguous(), start)
    return best, index
