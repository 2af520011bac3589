"""Kernel distance: the unbiased squared maximum mean discrepancy with a polynomial kernel (Binkowski et al. 2018).

k(a, b) = (gamma a.b + coef0)^degree, gamma = 1/d by default; may be negative near zero and is never clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array, feature_pair
from harness.metrics.draws import RandomSource, subset
from harness.metrics.errors import OutOfRange, TooFew
from harness.metrics.products import gram

_BLOCK = 1024
_SMALL_D = 64  # up to it float64 costs little, and float32 would lose digits for nothing
_LARGEST = 1e30  # kernel values from here on are summed in float64 throughout: float32 would overflow

KID = MetricCard(
    name="kid",
    unit="squared kernel unit",
    better="lower",
    range=(-math.inf, math.inf),
    protocol=("n", "n_fake", "n_real", "ref", "resize", "mirror", "psi", "subsets", "subset_size", "seed"),
    invariances=frozenset({"batch", "rotation"}),
    bias="none; the spread over subsets is not a standard error",
    min_n=2,
    floor="pixel noise with the data's mean and variance; the mean image",
    oracle="real images against disjoint real images; about 0",
)
KID_FULL = MetricCard(
    name="kid_full",
    unit="squared kernel unit",
    better="lower",
    range=(-math.inf, math.inf),
    protocol=("n", "n_fake", "n_real", "ref", "resize", "mirror", "psi"),
    invariances=frozenset({"symmetric", "permutation", "split-merge", "batch", "rotation"}),
    bias="none",
    min_n=2,
    floor="as kid",
    oracle="as kid",
)
CARDS: tuple[MetricCard, ...] = (KID, KID_FULL)


@dataclass(frozen=True)
class _Kernel:
    degree: float
    gamma: float
    coef0: float

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        return gram(a, b).mul_(self.gamma).add_(self.coef0).pow_(self.degree)


def kernel_distance(
    fake: Array,
    real: Array,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    degree: float = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    allow_unequal: bool = False,
    generator: RandomSource,
) -> tuple[float, float]:
    """Return mean and population standard deviation of the kernel distance over random subsets of float rows [n,d].

    Each subset draws ``subset_size`` rows of fake, then of real, without replacement; with a ``RandomState`` these are
    the subsets that torch-fidelity draws. Subsets overlap, so the deviation is not a standard error. A subset of all
    rows gives (value on all rows, NaN). Raises TooFew when ``subset_size`` exceeds n, CountMismatch, ShapeMismatch,
    NonFinite, OutOfRange.
    """
    x, y, kernel = _prepare(fake, real, degree, gamma, coef0, "kid", allow_unequal)
    n, m, size = len(x), len(y), subset_size
    if subsets < 1 or size < 2:
        raise OutOfRange(f"subsets = {subsets}, subset_size = {size}: expected >= 1 and >= 2", where="kid")
    if size > min(n, m):
        raise TooFew(f"subset_size {size} exceeds n = {min(n, m)}", where="kid")
    if size == n == m:
        return float(_distance(x, y, kernel)), math.nan
    drawn = [(subset(generator, n, size), subset(generator, m, size)) for _ in range(subsets)]
    if 2 * max(n, m) ** 2 < 3 * subsets * size**2:
        # each subset's sum is a quadratic form of one Gram matrix with the subset's indicator
        u = torch.zeros(n, subsets).scatter_(0, torch.stack([i for i, _ in drawn], 1), 1.0)
        w = torch.zeros(m, subsets).scatter_(0, torch.stack([j for _, j in drawn], 1), 1.0)
        sums = (form.diagonal() for form in _forms(x, y, u, w, kernel))
        values = _unbiased(*sums, n=size, m=size)
    else:
        parts = ((x[i.to(x.device)], y[j.to(x.device)]) for i, j in drawn)
        values = torch.stack([_distance(a, b, kernel) for a, b in parts])
    return float(values.mean()), float(values.std(correction=0))


def kernel_distance_full(
    fake: Array,
    real: Array,
    *,
    degree: float = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    blocks: int = 20,
    allow_unequal: bool = False,
) -> tuple[float, float]:
    """Return the kernel distance on all rows and its standard error from a block jackknife.

    The rows of each side fall into ``blocks`` contiguous disjoint blocks, left out in turn; with fewer than
    ``max(blocks, 4)`` rows the standard error is NaN. Raises TooFew (n < 2), CountMismatch, ShapeMismatch, NonFinite.
    """
    x, y, kernel = _prepare(fake, real, degree, gamma, coef0, "kid_full", allow_unequal)
    if blocks < 2:
        raise OutOfRange(f"blocks = {blocks}, expected at least 2", where="kid_full")
    n, m = len(x), len(y)
    if min(n, m) < max(blocks, 4):
        return float(_distance(x, y, kernel)), math.nan
    u, w = (torch.eye(blocks)[torch.arange(len(side)) * blocks // len(side)] for side in (x, y))
    forms = _forms(x, y, u, w, kernel)
    value = _unbiased(*(form.sum() for form in forms), n=n, m=m)
    # leaving block b out takes away its row and its column, which share the diagonal entry
    rest = (form.sum() - form.sum(0) - form.sum(1) + form.diagonal() for form in forms)
    left = _unbiased(*rest, n=n - u.sum(0).to(value), m=m - w.sum(0).to(value))
    stderr = ((left - left.mean()).square().sum() * (blocks - 1) / blocks).sqrt()
    return float(value), float(stderr)


def _prepare(
    fake: Array, real: Array, degree: float, gamma: float | None, coef0: float, metric: str, allow_unequal: bool
) -> tuple[Tensor, Tensor, _Kernel]:
    x, y = feature_pair(fake, real, metric=metric, minimum=2, allow_unequal=allow_unequal)
    d = x.shape[1]
    gamma = 1 / d if gamma is None else gamma
    longest = torch.stack([torch.linalg.vector_norm(side, dim=1).max() for side in (x, y)]).max().double()
    largest = (longest.square() * abs(gamma) + abs(coef0)).pow(degree)
    if d <= _SMALL_D or not bool(largest < _LARGEST):
        x, y = x.double(), y.double()
    return x, y, _Kernel(degree, gamma, coef0)


def _distance(x: Tensor, y: Tensor, kernel: _Kernel) -> Tensor:
    forms = _forms(x, y, torch.ones(len(x), 1), torch.ones(len(y), 1), kernel)
    return _unbiased(*(form[0, 0] for form in forms), n=len(x), m=len(y))


def _unbiased(within_x: Tensor, within_y: Tensor, between: Tensor, *, n: int | Tensor, m: int | Tensor) -> Tensor:
    """MMD^2_u from sums over distinct pairs within each side and over all pairs between them (Gretton et al. 2012)."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)


def _forms(x: Tensor, y: Tensor, u: Tensor, w: Tensor, kernel: _Kernel) -> tuple[Tensor, Tensor, Tensor]:
    """Return U^T K_xx U and W^T K_yy W without the diagonals of K, and U^T K_xy W, for 0/1 indicators [n,s], [m,s].

    Gram matrices are built block by block, the symmetric ones by halves, and discarded: O(block x n) memory. Blocks
    have the dtype of the features, sums are float64 [s,s].
    """
    u, w = u.to(x), w.to(x)
    between = x.new_zeros(u.shape[1], w.shape[1], dtype=torch.float64)
    for rows, chosen in zip(x.split(_BLOCK), u.split(_BLOCK), strict=True):
        between += chosen.T.double() @ (kernel(rows, y) @ w).double()
    return _within(x, u, kernel), _within(y, w, kernel), between


def _within(x: Tensor, u: Tensor, kernel: _Kernel) -> Tensor:
    total = x.new_zeros(u.shape[1], u.shape[1], dtype=torch.float64)
    for start in range(0, len(x), _BLOCK):
        stop = min(start + _BLOCK, len(x))
        rows, chosen = x[start:stop], u[start:stop]
        own = kernel(rows, rows)
        own.diagonal().zero_()
        total += chosen.T.double() @ (own @ chosen).double()
        if stop < len(x):
            above = chosen.T.double() @ (kernel(rows, x[stop:]) @ u[stop:]).double()
            total += above + above.T
    return total
