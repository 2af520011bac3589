"""How anomalous scores rank among the normal ones: all that AUROC, AP, F1-max and AUPRO need.

With F_hi and F_lo, the shares of normal scores strictly above, and at or above, an anomalous score, the area under the
curve up to a false-positive rate is a sum over anomalous scores, and precision changes only at them. So there is no
sweep over thresholds, and ties are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from harness.metrics.errors import OutOfRange
from harness.metrics.guide_table import GuideTable

SAMPLE = 1 << 16


@dataclass(frozen=True)
class RankedScores:
    """Anomalous scores and, for each, how many normal scores lie above and at or above it.

    ``scores`` float [a], ascending; ``above`` and ``at_or_above`` int64 [a]; ``normal`` the number of all normal
    scores; ``limit`` the false-positive rate up to which the counts are exact. Undefined metrics are NaN, and
    ``reason`` says why.
    """

    scores: np.ndarray
    above: np.ndarray
    at_or_above: np.ndarray
    normal: int
    limit: float = 1.0

    @property
    def reason(self) -> str:
        """Why AUROC and AUPRO are NaN; empty where they are defined."""
        return "" if len(self.scores) and self.normal else "nothing anomalous" if self.normal else "nothing normal"

    def area(self, limit: float) -> np.ndarray:
        """Area under each score's own step of the ROC curve up to the rate ``limit``, over ``limit``: float64 [a].

        The trapezoid through distinct thresholds: a group of ties is one straight segment, cut at the limit. The mean
        is the partial AUROC; weighted by 1 / (R |region|) the sum is AUPRO. NaN without normal scores.
        """
        self._require(limit)
        if not self.normal:
            return np.full(len(self.scores), math.nan)
        low, high = self.above / self.normal, self.at_or_above / self.normal
        whole = 1 - (low + high) / (2 * limit)
        cut = (limit - low) ** 2 / (2 * limit * np.where(high > low, high - low, 1.0))
        return np.where(high <= limit, whole, np.where(low < limit, cut, 0.0))

    def auroc(self, max_fpr: float = 1.0) -> float:
        """P(s+ > s-) + P(s+ = s-) / 2, or the area up to ``max_fpr`` divided by it."""
        return math.nan if self.reason else float(self.area(max_fpr).mean())

    def average_precision(self) -> float:
        """Sum over distinct thresholds of the recall step times the precision; 1 without normal scores."""
        if not len(self.scores):
            return math.nan
        true, false, _ = self._counts
        steps = true - np.append(true[1:], 0)
        return float((steps * (true / (true + false))).sum() / true[0])

    def f1_max(self) -> tuple[float, float]:
        """Largest F1 of "anomalous when score >= t", and the largest such t."""
        if not len(self.scores):
            return math.nan, math.nan
        true, false, scores = self._counts
        f1 = 2 * true / (true + false + true[0])
        best = len(f1) - 1 - int(f1[::-1].argmax())
        return float(f1[best]), float(scores[best])

    def select(self, keep: np.ndarray) -> RankedScores:
        """The anomalous scores where ``keep`` bool [a] holds, against all normal ones."""
        return replace(self, scores=self.scores[keep], above=self.above[keep], at_or_above=self.at_or_above[keep])

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True positives, false positives and threshold at each distinct anomalous score, ascending."""
        self._require(1.0)
        first = np.flatnonzero(np.append(True, self.scores[1:] != self.scores[:-1]))
        return len(self.scores) - first, self.at_or_above[first], self.scores[first]

    def _require(self, limit: float) -> None:
        if limit > self.limit:
            raise OutOfRange(f"ranks are exact up to the rate {self.limit:g}, {limit:g} is asked", where="RankedScores")


def rank_scores(anomalous: np.ndarray, scores: np.ndarray, *, limit: float = 1.0) -> RankedScores:
    """Rank ascending anomalous scores [a] among the others of ``scores`` [n], which holds them all, float32 or float64.

    With ``limit`` below 1 the counts are exact up to that false-positive rate only, and fewer scores are looked at.
    """
    normal = len(scores) - len(anomalous)
    floor = _floor(scores, anomalous, limit) if limit < 1 else -math.inf
    kept = scores if floor == -math.inf else np.compress(scores >= floor, scores)
    return rank_above(anomalous, kept, floor=floor, normal=normal, limit=limit)


def rank_above(
    anomalous: np.ndarray, kept: np.ndarray, *, floor: float, normal: int, limit: float, dropped_at_floor: int = 0
) -> RankedScores:
    """Rank ascending anomalous scores when only the scores ``kept``, at ``floor`` or above, are at hand.

    ``kept`` holds the anomalous ones, too. Of the ``normal`` others at least the share ``limit`` lies at the floor or
    above; ``dropped_at_floor`` of these are equal to it and not in ``kept``. An anomalous score under the floor adds
    nothing to an area up to ``limit`` and gets the count ``normal``.
    """
    above, at_or_above = np.full((2, len(anomalous)), normal, np.int64)
    start = int(np.searchsorted(anomalous, floor))
    if start < len(anomalous):
        scores = anomalous[start:]
        new = np.append(True, scores[1:] != scores[:-1])
        first = np.append(np.flatnonzero(new), len(scores))
        over, ties = GuideTable(scores[new]).count(kept)
        over -= len(scores) - first[1:]  # the anomalous scores themselves
        ties -= np.diff(first)
        value = np.cumsum(new) - 1
        above[start:] = over[value]
        at_or_above[start:] = (over + ties)[value] + np.where(scores == floor, dropped_at_floor, 0)
    return RankedScores(anomalous, above, at_or_above, normal, limit)


def _floor(scores: np.ndarray, anomalous: np.ndarray, limit: float) -> float:
    """A value with at least ``limit`` of the normal scores at it or above: guessed from a sample, then counted."""
    sample = scores[:: max(1, len(scores) // SAMPLE)]
    top = math.ceil((1.1 * limit + len(anomalous) / len(scores)) * len(sample)) + 1
    if top >= len(sample):
        return -math.inf
    floor = np.partition(sample, len(sample) - top)[len(sample) - top]
    reached = np.count_nonzero(scores >= floor) - (len(anomalous) - int(np.searchsorted(anomalous, floor)))
    return float(floor) if reached >= limit * (len(scores) - len(anomalous)) else -math.inf
