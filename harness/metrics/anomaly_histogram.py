"""Pixel AUROC and AUPRO in fixed memory: a histogram with a computed error bound, and a second pass that removes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from harness.metrics.anomaly_checks import array, finite, fraction, score_maps
from harness.metrics.anomaly_ranks import RankedScores, rank_above
from harness.metrics.anomaly_regions import Connectivity, regions_of
from harness.metrics.checks import Array
from harness.metrics.errors import (
    CountMismatch,
    EmptyInput,
    OutOfRange,
    ProtocolMismatch,
    ShapeMismatch,
    UnknownOption,
)
from harness.metrics.guide_table import BLOCK, GuideTable

METRIC, STATE = "ScoreHistogram", ("normal", "anomalous", "overlap", "regions")


def quantile_edges(scores: Array, bins: int) -> np.ndarray:
    """Edges that split a sample of (normal) scores float [n] into ``bins`` of about equal count: float32 [<= bins - 1].

    Equal counts make every step of the false-positive rate small, which equal widths do not under heavy tails. Raises
    EmptyInput, ShapeMismatch, NonFinite, OutOfRange (fewer than two bins).
    """
    if bins < 2:
        raise OutOfRange(f"{bins} bins, expected at least 2", where="quantile_edges")
    sample = finite(array(scores), "scores", metric="quantile_edges").ravel()
    return np.unique(np.quantile(sample, np.linspace(0, 1, bins + 1)[1:-1], method="lower").astype(np.float32))


class ScoreHistogram:
    """Accumulator of one category's score maps in bins between ``edges``, ascending float32 [B - 1]; the ends are open.

    A bin counts as one group of ties. ``bound()`` says how far ``compute()`` can be from the exact value: half the area
    of the boxes that the curve crosses, (1 / 2L) sum over bins of its step in the false-positive rate times its step in
    overlap (in recall for AUROC). ``refine()`` starts the second pass.
    """

    def __init__(
        self, edges: Array, *, fpr_limits: Sequence[float] = (0.3, 0.05), connectivity: Connectivity = 8
    ) -> None:
        self.edges = finite(array(edges), "edges", metric=METRIC).astype(np.float32)
        if self.edges.ndim != 1 or not np.all(np.diff(self.edges) > 0):
            raise ShapeMismatch("edges must be a vector that ascends in float32", where=METRIC)
        self.fpr_limits = tuple(fraction(limit, "limit", metric=METRIC) for limit in fpr_limits)
        self.connectivity = connectivity
        self.reset()

    def reset(self) -> None:
        """Forget all maps."""
        size = len(self.edges) + 1
        self.normal, self.anomalous = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.overlap, self.regions = np.zeros(size), np.zeros(1, np.int64)

    def update(self, scores: Array, masks: Array) -> None:
        """Add whole maps: scores float [B,H,W], masks bool [B,H,W]. Raises EmptyInput, ShapeMismatch, NonFinite."""
        values, stack = score_maps(scores, masks, metric=METRIC)
        where, region, sizes, _ = regions_of(stack, connectivity=self.connectivity)
        pixels, table = values.ravel(), GuideTable(self.edges.astype(values.dtype))
        bins, size = bins_of(pixels[where], table), len(self.normal)
        anomalous = np.bincount(bins, minlength=size)
        over, ties = table.count(pixels)
        below = np.append(len(pixels) - over - ties, len(pixels))
        self.normal += np.diff(below, prepend=0) - anomalous
        self.anomalous += anomalous
        self.overlap += np.bincount(bins, 1 / sizes[region], minlength=size)
        self.regions += len(sizes)

    def merge(self, other: Self) -> Self:
        """Add the counts of ``other`` and return self; ProtocolMismatch for other edges, limits or connectivity."""
        same = (self.fpr_limits, self.connectivity) == (other.fpr_limits, other.connectivity)
        if not same or not np.array_equal(self.edges, other.edges):
            raise ProtocolMismatch("edges, limits or connectivity differ", where=METRIC)
        for name in STATE:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def compute(self) -> dict[str, float]:
        """``pixel_auroc`` and ``aupro[limit=L]`` with every bin as one group of ties. Raises EmptyInput."""
        bins = self.ranked()
        return {name: float((bins.area(limit) * rise).sum()) for name, (limit, rise) in self.curves().items()}

    def bound(self) -> dict[str, float]:
        """Largest distance of each value of ``compute()`` from the exact one. Raises EmptyInput."""
        return {name: float(errors.sum()) for name, errors in self.errors().items()}

    def errors(self) -> dict[str, np.ndarray]:
        """What each bin adds to the bound of each column: float64 [B]."""
        bins = self.ranked()
        if not bins.normal:
            return {name: np.full(len(self.normal), math.nan) for name in self.curves()}
        return {
            name: np.where(bins.above < limit * bins.normal, self.normal / bins.normal * rise / (2 * limit), 0.0)
            for name, (limit, rise) in self.curves().items()
        }

    def curves(self) -> dict[str, tuple[float, np.ndarray]]:
        """Limit of each column and how far its curve rises in each bin, float64 [B]; NaN without anomalous pixels."""
        with np.errstate(invalid="ignore"):
            recall, overlap = self.anomalous / self.anomalous.sum(), self.overlap / self.regions
        return {"pixel_auroc": (1.0, recall)} | {
            f"aupro[limit={limit:g}]": (limit, overlap) for limit in self.fpr_limits
        }

    def ranked(self) -> RankedScores:
        """The bins as scores: how many normal pixels lie above each, and above or in it. Raises EmptyInput."""
        normal = int(self.normal.sum())
        if not normal and not self.regions:
            raise EmptyInput("no maps yet", where=METRIC)
        at_or_above = self.normal[::-1].cumsum()[::-1]
        return RankedScores(np.arange(len(self.normal)), at_or_above - self.normal, at_or_above, normal)

    def refine(self, tolerance: float = 0.0, *, columns: Sequence[str] | None = None) -> SecondPass:
        """A second pass over the same maps that brings the bounds of ``columns`` (all) down to ``tolerance``, 0: exact.

        It keeps the raw scores of the bins that add most to the bounds, no others. Raises EmptyInput, UnknownOption.
        """
        return SecondPass(self, tolerance, tuple(self.curves()) if columns is None else tuple(columns))

    def per_sample(self) -> None:
        """There is no value per sample."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the counts as arrays."""
        return {name: getattr(self, name).copy() for name in STATE}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned; ShapeMismatch for another number of bins."""
        if len(state["normal"]) != len(self.normal):
            raise ShapeMismatch(f"state has {len(state['normal'])} bins, not {len(self.normal)}", where=METRIC)
        for name in STATE:
            setattr(self, name, np.array(state[name]))


class SecondPass:
    """Raw scores of the bins of a ``ScoreHistogram`` in which ties would blur the curve; made by its ``refine``.

    ``update`` it with the same maps again, in any batches. ``compute`` and ``bound`` are those of the histogram for the
    columns asked, with the chosen bins exact.
    """

    def __init__(self, histogram: ScoreHistogram, tolerance: float, columns: tuple[str, ...]) -> None:
        errors = histogram.errors()
        for name in columns:
            if name not in errors:
                raise UnknownOption(f"unknown column {name!r}", where="SecondPass", nearest=tuple(errors))
        worst = np.max([errors[name] for name in columns], axis=0)
        order = np.argsort(worst)
        self.histogram, self.columns = histogram, columns
        self.open = np.empty(len(worst), bool)
        self.open[order] = ~(worst[order].cumsum() <= tolerance)
        self._normal, self._anomalous, self._weight = ([np.empty(0, np.float32)] for _ in range(3))

    def update(self, scores: Array, masks: Array) -> None:
        """Add whole maps, as the histogram saw them. Raises EmptyInput, ShapeMismatch, NonFinite."""
        values, stack = score_maps(scores, masks, metric="SecondPass")
        where, region, sizes, _ = regions_of(stack, connectivity=self.histogram.connectivity)
        table = GuideTable(self.histogram.edges.astype(values.dtype))
        inside, weight = values.ravel()[where], 1 / sizes[region]
        kept = self.open[bins_of(inside, table)]
        self._anomalous.append(inside[kept])
        self._weight.append(weight[kept])
        normal = np.compress(~stack.ravel(), values)
        self._normal.append(np.compress(self.open[bins_of(normal, table)], normal))

    def compute(self) -> dict[str, float]:
        """The columns asked. Raises CountMismatch unless the same maps were seen as in the first pass."""
        first, bins = self.histogram, self.histogram.ranked()
        normal, anomalous, weight = (np.concatenate(a) for a in (self._normal, self._anomalous, self._weight))
        expected = int(first.normal[self.open].sum()), int(first.anomalous[self.open].sum())
        if (len(normal), len(anomalous)) != expected:
            got = f"{len(normal)} normal and {len(anomalous)} anomalous scores in the open bins"
            raise CountMismatch(f"{got}, the first pass had {expected[0]} and {expected[1]}", where="SecondPass")
        order = np.argsort(anomalous)
        inside = bins_of(anomalous[order], GuideTable(first.edges.astype(anomalous.dtype)))
        hidden = bins.above - (np.where(self.open, first.normal, 0)[::-1].cumsum()[::-1] - first.normal * self.open)
        kept = rank_above(
            anomalous[order], np.concatenate([normal, anomalous]), floor=-math.inf, normal=bins.normal, limit=1.0
        )
        kept = replace(kept, above=kept.above + hidden[inside], at_or_above=kept.at_or_above + hidden[inside])
        values = {}
        for name in self.columns:
            limit, rise = first.curves()[name]
            share = 1 / max(1, first.anomalous.sum()) if name == "pixel_auroc" else weight[order] / first.regions
            closed = np.where(self.open, 0.0, bins.area(limit) * rise)
            values[name] = float(closed.sum() + (kept.area(limit) * share).sum())
        return values

    def bound(self) -> dict[str, float]:
        """Largest distance of each value of ``compute()`` from the exact one: 0 when every mixed bin is open."""
        errors = self.histogram.errors()
        return {name: float(errors[name][~self.open].sum()) for name in self.columns}


def bins_of(values: np.ndarray, table: GuideTable) -> np.ndarray:
    """Bin of each value [n]: the number of edges at it or below, int32 [n]."""
    blocks = [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]
    parts = [place + tied for place, tied in map(table.locate, blocks)]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)
