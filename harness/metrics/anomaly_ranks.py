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


def rank_scores(anomalous: np.ndarray, normal: np.ndarray, *, limit: float = 1.0) -> RankedScores:
    """Rank ascending anomalous scores [a] among normal scores [n], which are reordered in place.

    Below ``limit`` = 1 only the top ``ceil(limit n) + 1`` normal scores are sorted; whatever lies under all of these
    adds nothing to an area that ends at the limit and gets the count n.
    """
    total = len(normal)
    kept = total if limit >= 1 else min(total, math.ceil(limit * total) + 1)
    if kept < total:
        normal.partition(total - kept)
    rest, top = normal[: total - kept], normal[total - kept :]
    top.sort()
    left = np.searchsorted(top, anomalous)
    at_or_above, above = kept - left, kept - left
    if kept:
        tied = top[np.minimum(left, kept - 1)] == anomalous
        above[tied] = kept - np.searchsorted(top, anomalous[tied], side="right")
    if kept < total:
        at_or_above[anomalous == top[0]] += np.count_nonzero(rest == top[0])
        under = anomalous < top[0]
        above[under] = at_or_above[under] = total
    return RankedScores(anomalous, above, at_or_above, total, limit)
