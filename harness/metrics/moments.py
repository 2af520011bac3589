"""Streaming state of feature sets: first two moments, and banks of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from harness.metrics.checks import Array, feature_rows
from harness.metrics.errors import OutOfRange, ProtocolMismatch, ShapeMismatch, TooFew
from harness.metrics.products import scatter


@dataclass(frozen=True)
class Moments:
    """Count ``n``, ``mean`` float64 [d] and ``cov`` float64 [d,d] (divisor n - 1) of a feature set."""

    n: int
    mean: Array
    cov: Array


def moments(features: Array) -> Moments:
    """Return the moments of float rows [n,d] in float64; TooFew when n < 2."""
    rows = feature_rows(features, "features", metric="moments", minimum=2).double()
    mean = rows.mean(0)
    return Moments(len(rows), mean, scatter(rows - mean).div_(len(rows) - 1))


class FeatureMoments:
    """Mean and scatter of features that arrive in batches, in float64: O(d^2) memory.

    ``space`` is the digest of the feature space; only accumulators of the same ``d`` and ``space`` merge. Batches join
    by the pairwise rule of Chan, Golub and LeVeque (1979): M2 += M2_b + delta delta^T n n_b / (n + n_b).
    """

    def __init__(self, d: int, *, space: str = "", device: torch.device | str = "cpu") -> None:
        self.d, self.space, self.device = d, space, torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        self.n = 0
        self.mean = torch.zeros(self.d, dtype=torch.float64, device=self.device)
        self.m2 = torch.zeros(self.d, self.d, dtype=torch.float64, device=self.device)

    def update(self, features: Array) -> None:
        """Add float rows [b,d]; an empty batch changes nothing. Raises ShapeMismatch, NonFinite."""
        rows = _batch(features, self.d)
        if rows is None:
            return
        rows = rows.to(self.device, torch.float64)
        mean = rows.mean(0)
        self._join(len(rows), mean, scatter(rows - mean))

    def merge(self, other: Self) -> Self:
        """Add the rows that ``other`` has seen and return self; ProtocolMismatch for another d or space."""
        if (self.d, self.space) != (other.d, other.space):
            raise ProtocolMismatch(
                f"d={self.d}, space={self.space!r} cannot take d={other.d}, space={other.space!r}",
                where="FeatureMoments",
            )
        if other.n:
            self._join(other.n, other.mean.to(self.device), other.m2.to(self.device))
        return self

    def compute(self) -> Moments:
        """Return the moments so far; TooFew when fewer than two rows were seen."""
        if self.n < 2:
            raise TooFew(f"{self.n} rows, expected at least 2", where="FeatureMoments")
        return Moments(self.n, self.mean.clone(), self.m2 / (self.n - 1))

    def per_sample(self) -> None:
        """There is no value per sample."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        return {"n": np.array([self.n]), "mean": self.mean.cpu().numpy(), "m2": self.m2.cpu().numpy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned; ShapeMismatch for another d."""
        mean, m2 = np.asarray(state["mean"], np.float64), np.asarray(state["m2"], np.float64)
        if mean.shape != (self.d,) or m2.shape != (self.d, self.d):
            raise ShapeMismatch(f"state has mean {mean.shape} and m2 {m2.shape}, d={self.d}", where="FeatureMoments")
        self.n = int(np.asarray(state["n"]).reshape(-1)[0])
        self.mean = torch.tensor(mean, device=self.device)
        self.m2 = torch.tensor(m2, device=self.device)

    def _join(self, n: int, mean: Tensor, m2: Tensor) -> None:
        total = self.n + n
        delta = mean - self.mean
        self.m2 = self.m2 + m2 + torch.outer(delta, delta) * (self.n * n / total)
        self.mean = (self.mean * self.n + mean * n) / total
        self.n = total


class FeatureBank:
    """Rows of features that arrive in batches, float32, for metrics that need them all (KID, PRDC, low-rank FID).

    ``capacity`` is the most rows it may hold; more raise OutOfRange, nothing is dropped silently. Merging appends.
    """

    def __init__(self, d: int, *, capacity: int | None = None, space: str = "") -> None:
        self.d, self.capacity, self.space = d, capacity, space
        self.reset()

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def reset(self) -> None:
        """Forget all rows."""
        self._parts: list[Tensor] = []

    def update(self, features: Array) -> None:
        """Append float rows [b,d] (copied to the CPU); raises ShapeMismatch, NonFinite, OutOfRange when it is full."""
        rows = _batch(features, self.d)
        if rows is not None:
            self._append(rows)

    def merge(self, other: Self) -> Self:
        """Append the rows of ``other`` and return self; ProtocolMismatch for another d, capacity or space."""
        mine, theirs = (self.d, self.capacity, self.space), (other.d, other.capacity, other.space)
        if mine != theirs:
            raise ProtocolMismatch(f"(d, capacity, space) {mine} cannot take {theirs}", where="FeatureBank")
        if len(other):
            self._append(other.compute())
        return self

    def compute(self) -> Tensor:
        """Return all rows, float32 [n,d], in the order of arrival."""
        if len(self._parts) != 1:
            self._parts = [torch.cat(self._parts)] if self._parts else [torch.empty(0, self.d)]
        return self._parts[0].clone()

    def per_sample(self) -> None:
        """There is no value per sample."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the rows as one array."""
        return {"rows": self.compute().numpy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned; ShapeMismatch for another d."""
        self.reset()
        self.update(np.asarray(state["rows"], np.float32))

    def _append(self, rows: Tensor) -> None:
        held = len(self)
        if self.capacity is not None and held + len(rows) > self.capacity:
            raise OutOfRange(f"holds {held} of {self.capacity} rows, {len(rows)} more do not fit", where="FeatureBank")
        self._parts.append(rows.to("cpu", torch.float32, copy=True))


def _batch(features: Array, d: int) -> Tensor | None:
    """Return checked rows [b,d], or None for an empty batch."""
    if features.ndim == 2 and features.shape == (0, d):
        return None
    rows = feature_rows(features, "features", metric="update")
    if rows.shape[1] != d:
        raise ShapeMismatch(f"features are {tuple(rows.shape)}, expected [b, {d}]", where="update")
    return rows
