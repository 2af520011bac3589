"""Pixel metrics of maps that arrive in batches: exact, and with the number of normal pixels known in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from harness.metrics.anomaly_checks import fraction, score_maps
from harness.metrics.anomaly_ranks import rank_above
from harness.metrics.anomaly_regions import Connectivity, RankedPixels, regions_of
from harness.metrics.checks import Array
from harness.metrics.errors import CountMismatch, EmptyInput, ProtocolMismatch

METRIC, PIXELS = "ScoreCurve", ("anomalous", "region", "sizes", "images")


class ScoreCurve:
    """Accumulator of one category's score maps; equal to one shot on all of them, whatever the batches.

    Without ``n_normal`` it keeps every score and gives all pixel metrics. With ``n_normal``, the number of normal
    pixels to come (masks tell it in advance), it gives AUPRO at ``fpr_limits`` only and keeps no more normal scores
    than twice ``ceil(L n_normal) + 1`` for the largest limit L: lower ones cannot enter the area, and of those dropped
    at the lowest kept value it remembers how many they were. Anomalous scores are kept always.
    """

    def __init__(
        self,
        *,
        fpr_limits: Sequence[float] = (0.3, 0.05),
        n_normal: int | None = None,
        connectivity: Connectivity = 8,
    ) -> None:
        self.fpr_limits = tuple(fraction(limit, "limit", metric=METRIC) for limit in fpr_limits)
        self.n_normal, self.connectivity = n_normal, connectivity
        self._limit = 1.0 if n_normal is None else max(self.fpr_limits)
        self.reset()

    def reset(self) -> None:
        """Forget all maps."""
        self._maps = self._seen = 0
        self._floor, self._at_floor = np.float64(-math.inf), 0
        self._normal: list[np.ndarray] = []
        self._anomalous = np.empty(0, np.float32)
        self._region, self._sizes, self._images = (np.empty(0, np.int64) for _ in range(3))

    def update(self, scores: Array, masks: Array) -> None:
        """Add whole maps: scores float [B,H,W], masks bool [B,H,W]; sizes may differ between batches.

        Raises EmptyInput, ShapeMismatch, NonFinite, CountMismatch (more normal pixels than ``n_normal``).
        """
        values, stack = score_maps(scores, masks, metric=METRIC)
        where, region, sizes, images = regions_of(stack, connectivity=self.connectivity)
        normal = np.compress(~stack.ravel(), values)
        self._see(len(values), len(normal))
        self._append(values.ravel()[where], region, sizes, images + self._maps - len(values))
        if self._floor > -math.inf:
            self._at_floor += int(np.count_nonzero(normal == self._floor))
            normal = np.compress(normal > self._floor, normal)
        self._normal.append(normal)
        if sum(map(len, self._normal)) > 2 * self._capacity:
            self._compact()

    def merge(self, other: Self) -> Self:
        """Add the maps that ``other`` has seen behind the own ones and return self; ProtocolMismatch if it differs."""
        mine, theirs = ((a.fpr_limits, a.n_normal, a.connectivity) for a in (self, other))
        if mine != theirs:
            raise ProtocolMismatch(f"(limits, n_normal, connectivity) {mine} cannot take {theirs}", where=METRIC)
        self._see(other._maps, other._seen)
        self._append(other._anomalous, other._region, other._sizes, other._images + self._maps - other._maps)
        self._normal += other._normal
        floor = np.maximum(self._floor, other._floor)
        self._at_floor = sum(a._at_floor for a in (self, other) if a._floor == floor)
        self._floor = floor
        self._compact()
        return self

    def ranked(self) -> RankedPixels:
        """All anomalous pixels ranked so far, for breakdowns by region. Raises EmptyInput before the first map."""
        if not self._maps:
            raise EmptyInput("no maps yet", where=METRIC)
        self._compact()
        order = np.argsort(self._anomalous)
        pixels = rank_above(
            self._anomalous[order],
            np.concatenate([*self._normal, self._anomalous]),
            floor=float(self._floor),
            normal=self._seen,
            limit=self._limit,
            dropped_at_floor=self._at_floor,
        )
        return RankedPixels(pixels, self._region[order], self._sizes, self._images)

    def compute(self) -> dict[str, float]:
        """The columns of ``pixel_scores``; with ``n_normal`` those of AUPRO alone. Raises EmptyInput."""
        return self.ranked().columns(self.fpr_limits)

    def per_sample(self) -> None:
        """There is no value per sample."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        self._compact()
        return {
            "counts": np.array([self._maps, self._seen, self._at_floor]),
            "floor": np.array([self._floor]),
            "normal": np.concatenate(self._normal) if self._normal else np.empty(0, np.float32),
            **{name: getattr(self, f"_{name}").copy() for name in PIXELS},
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned."""
        self._maps, self._seen, self._at_floor = (int(count) for count in state["counts"])
        self._floor = np.float64(state["floor"][0])
        self._normal = [np.array(state["normal"])]
        for name in PIXELS:
            setattr(self, f"_{name}", np.array(state[name]))

    @property
    def _capacity(self) -> float:
        return math.inf if self.n_normal is None else math.ceil(self._limit * self.n_normal) + 1

    def _see(self, maps: int, normal: int) -> None:
        if self.n_normal is not None and self._seen + normal > self.n_normal:
            raise CountMismatch(f"{self._seen + normal} normal pixels, announced were {self.n_normal}", where=METRIC)
        self._maps += maps
        self._seen += normal

    def _append(self, anomalous: np.ndarray, region: np.ndarray, sizes: np.ndarray, images: np.ndarray) -> None:
        self._anomalous = np.append(self._anomalous, anomalous)
        self._region = np.append(self._region, region + len(self._sizes))
        self._sizes, self._images = np.append(self._sizes, sizes), np.append(self._images, images)

    def _compact(self) -> None:
        """Drop all but the highest normal scores, as many as can matter."""
        normal = np.concatenate(self._normal) if self._normal else np.empty(0, np.float32)
        if len(normal) > self._capacity:
            cut = len(normal) - int(self._capacity)
            normal.partition(cut)
            floor = np.float64(normal[cut])
            known = self._at_floor if floor == self._floor else 0
            self._at_floor = known + int(np.count_nonzero(normal[:cut] == floor))
            self._floor, normal = floor, normal[cut:].copy()
        self._normal = [normal]
