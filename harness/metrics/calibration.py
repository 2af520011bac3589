"""Pseudo-labels against hidden truth: how many are right, how many are used, and whether confidence means anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal, Self

import numpy as np

from harness.metrics.anomaly_checks import array, binary, finite, fraction
from harness.metrics.card import Direction, Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import EmptyInput, OutOfRange, ProtocolMismatch, ShapeMismatch, UnknownOption
from harness.metrics.label_counts import count_pairs
from harness.metrics.segmentation_scores import mean_iou, pixel_accuracy

STATE = ("counts", "hits", "confidence")


def _card(
    name: str,
    better: Direction,
    floor: str,
    *more: Invariance,
    identity: float | None = 1.0,
    bias: str = "pixels of one image are not independent: compare on the same images",
    protocol: tuple[str, ...] = ("quarter",),
) -> MetricCard:
    return MetricCard(
        name,
        unit="1",
        better=better,
        range=(0.0, 1.0),
        protocol=protocol,
        invariances=frozenset({"joint-permutation", "joint-flip", *more}),
        bias=bias,
        floor=floor,
        oracle="none" if identity is None else f"labels = truth: {identity:g}",
        identity=identity,
    )


_ECE_BIAS = "upwards by about sqrt(2 B / (pi n)) times the deviation of correctness: 1e5 pixels or more, equal B"
CARDS: tuple[MetricCard, ...] = (
    _card("pl_acc", "higher", "the share of the most frequent class", "symmetric"),
    _card("pl_miou", "higher", "the most frequent class everywhere", "symmetric"),
    _card("pl_kept_acc", "higher", "pl_acc: the rule keeps no better than chance", "symmetric"),
    _card("pl_coverage", "none", "0: nothing is used", identity=None),
    _card("pl_ece", "lower", "confidence 1: one minus accuracy", "split-merge", identity=0.0, bias=_ECE_BIAS),
    _card("unreliable_error", "none", "one minus pl_acc: the rule drops no worse than chance", identity=None),
    _card("agreement", "none", "chance agreement of two maps", "symmetric"),
    _card("queue_fnr", "lower", "share of the class: any pixel", identity=0.0, protocol=("negatives",)),
)


# ------------------------------------------------------------------------------------------------- pseudo-labels
def pseudo_label_scores(
    labels: Array, truth: Array, kept: Array, *, num_classes: int, ignore_index: int | None = 255
) -> dict[str, float]:
    """Score pseudo-labels against hidden truth, by column name, over all images together.

    ``labels`` and ``truth`` integer [...], ``kept`` bool [...]: the pixels that training uses. ``pl_acc`` and
    ``pl_miou`` are of all valid pixels, ``pl_kept_acc`` of the kept ones (NaN: none is), ``pl_coverage`` the kept share
    of the valid ones and ``unreliable_error`` the share of wrong labels among those dropped (NaN: none is). Raises
    EmptyInput (also without valid pixels), ShapeMismatch, LabelOutOfRange.
    """
    metric, found, hidden = "pseudo_label_scores", array(labels), array(truth)
    used = binary(array(kept), "kept", metric=metric)
    if used.shape != hidden.shape:
        raise ShapeMismatch(f"kept is {used.shape} and truth {hidden.shape}", where=metric)
    count = partial(count_pairs, rows=num_classes, columns=num_classes, ignore_index=ignore_index, metric=metric)
    whole = count(found, hidden)
    part = count(found[used], hidden[used]) if used.any() else np.zeros_like(whole)
    valid, correct, n_kept, kept_correct = (int(n) for m in (whole, part) for n in (m.sum(), np.trace(m)))
    dropped = valid - n_kept
    return {
        "pl_acc": pixel_accuracy(whole),
        "pl_miou": mean_iou(whole),
        "pl_kept_acc": kept_correct / n_kept if n_kept else math.nan,
        "pl_coverage": n_kept / valid,
        "unreliable_error": (dropped - (correct - kept_correct)) / dropped if dropped else math.nan,
    }


def agreement(labels: Array, others: Array) -> float:
    """Share of pixels on which two label maps integer [...] agree. Raises EmptyInput, ShapeMismatch."""
    one, two = array(labels), array(others)
    if one.shape != two.shape or {one.dtype.kind, two.dtype.kind} - set("iub"):
        raise ShapeMismatch(f"{one.dtype} {one.shape} against {two.dtype} {two.shape}", where="agreement")
    if not one.size:
        raise EmptyInput(f"maps are empty: {one.shape}", where="agreement")
    return float(np.mean(one == two))


def queue_false_negative_rate(negatives: Array, truth: Array, *, ignore_index: int | None = 255) -> float:
    """``queue_fnr``: the share of the entries of class queues whose hidden class is the queue's own.

    ``negatives`` bool [N,C,...] says which pixels enter the queue of which class, ``truth`` integer [N,...]; ignored
    pixels are left out. NaN when no valid pixel enters. (What U2PL assumes to be few: Wang et al., CVPR 2022.)
    Raises EmptyInput, ShapeMismatch.
    """
    entries, hidden = binary(array(negatives), "negatives", metric="queue_fnr"), array(truth)
    if entries.ndim < 2 or entries.shape[:1] + entries.shape[2:] != hidden.shape or hidden.dtype.kind not in "iu":
        got = f"negatives are {entries.shape} and truth {hidden.dtype} {hidden.shape}"
        raise ShapeMismatch(f"{got}, expected [N, C, ...] and integers [N, ...]", where="queue_fnr")
    if not entries.size:
        raise EmptyInput(f"negatives are empty: {entries.shape}", where="queue_fnr")
    if ignore_index is not None:
        entries = entries & (hidden != ignore_index)[:, None]
    classes = np.arange(entries.shape[1]).reshape(-1, *[1] * (hidden.ndim - 1))
    total = int(entries.sum())
    return int((entries & (hidden[:, None] == classes)).sum()) / total if total else math.nan


# ---------------------------------------------------------------------------------------------------- calibration
def calibration_error(confidence: Array, correct: Array, *, bins: int = 15, norm: Literal["l1", "max"] = "l1") -> float:
    """Distance between confidence and accuracy in equal-width bins: expected ("l1") or largest ("max").

    ``confidence`` float [...] in [0,1], ``correct`` bool [...]. Bins are closed on the right, 0 is in the first. (Guo
    et al., ICML 2017.) Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange, UnknownOption.
    """
    table = CalibrationBins(bins)
    table.update(confidence, correct)
    return table.error(norm)


class CalibrationBins:
    """Accumulator of confidences in ``bins`` equal-width bins of [0,1]: the reliability diagram and its error.

    ``counts`` and ``hits`` int64 [B] are the pixels and the right ones of each bin, ``confidence`` float64 [B] the sum
    of their confidences.
    """

    def __init__(self, bins: int = 15) -> None:
        if bins < 1:
            raise OutOfRange(f"{bins} bins, expected at least 1", where="CalibrationBins")
        self.bins = bins
        self.reset()

    def reset(self) -> None:
        """Forget all pixels."""
        self.counts, self.hits = np.zeros(self.bins, np.int64), np.zeros(self.bins, np.int64)
        self.confidence = np.zeros(self.bins)

    def update(self, confidence: Array, correct: Array) -> None:
        """Add confidences float [...] in [0,1] and whether each was right, bool [...].

        Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange.
        """
        values, right = confidences(confidence, correct, metric="CalibrationBins")
        bins = np.searchsorted(np.arange(1, self.bins) / self.bins, values)
        self.counts += np.bincount(bins, minlength=self.bins)
        self.hits += np.bincount(bins[right], minlength=self.bins)
        self.confidence += np.bincount(bins, values, minlength=self.bins)

    def error(self, norm: Literal["l1", "max"] = "l1") -> float:
        """Expected ("l1") or largest ("max") calibration error. Raises EmptyInput, UnknownOption."""
        total = self.counts.sum()
        if not total:
            raise EmptyInput("no pixels yet", where="CalibrationBins")
        gaps = np.abs(self.hits - self.confidence)
        if norm == "l1":
            return float(gaps.sum() / total)
        if norm == "max":
            return float((gaps / np.maximum(self.counts, 1)).max())
        raise UnknownOption(f"unknown norm {norm!r}", where="calibration_error", remedy="Norms: l1, max.")

    def merge(self, other: Self) -> Self:
        """Add what ``other`` has counted and return self; ProtocolMismatch for another number of bins."""
        if self.bins != other.bins:
            raise ProtocolMismatch(f"{self.bins} bins cannot take {other.bins}", where="CalibrationBins")
        for name in STATE:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def compute(self) -> dict[str, float]:
        """``pl_ece``, the expected calibration error. Raises EmptyInput."""
        return {"pl_ece": self.error()}

    def per_sample(self) -> None:
        """There is no value per sample."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the sums as arrays."""
        return {name: getattr(self, name).copy() for name in STATE}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned; ShapeMismatch for another number of bins."""
        if len(state["counts"]) != self.bins:
            raise ShapeMismatch(f"state has {len(state['counts'])} bins, not {self.bins}", where="CalibrationBins")
        for name in STATE:
            setattr(self, name, np.array(state[name]))


# ---------------------------------------------------------------------------------------- thresholds on confidence
def risk_coverage_auc(confidence: Array, correct: Array) -> float:
    """Mean, over all n coverages, of the error among the k most confident of n pixels, k = 1..n; lower is better.

    Within ties errors count as spread evenly, so that the order does not matter. ``confidence`` float [...] in [0,1],
    ``correct`` bool [...]. Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange. (Geifman & El-Yaniv, NeurIPS 2017.)
    """
    kept, right = _kept_by_threshold(confidence, correct, "risk_coverage_auc")
    k = np.arange(1, kept[-1] + 1)
    return float(np.mean(1 - np.interp(k, np.append(0, kept), np.append(0, right)) / k))


def coverage_at_accuracy(confidence: Array, correct: Array, *, accuracy: float) -> float:
    """Largest share of pixels that a threshold can keep with at least this accuracy; 0 when none reaches it.

    ``confidence`` float [...] in [0,1], ``correct`` bool [...]. The threshold is an oracle: it was chosen on this
    truth. Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange.
    """
    aim = fraction(accuracy, "accuracy", metric="coverage_at_accuracy")
    kept, right = _kept_by_threshold(confidence, correct, "coverage_at_accuracy")
    return float(np.max(np.where(right / kept >= aim, kept / kept[-1], 0.0)))


def accuracy_at_coverage(confidence: Array, correct: Array, *, coverage: float) -> float:
    """Accuracy of the pixels kept by the highest threshold that keeps at least this share; ties are kept together.

    ``confidence`` float [...] in [0,1], ``correct`` bool [...]. Raises EmptyInput, ShapeMismatch, NonFinite,
    OutOfRange.
    """
    aim = fraction(coverage, "coverage", metric="accuracy_at_coverage")
    kept, right = _kept_by_threshold(confidence, correct, "accuracy_at_coverage")
    first = int(np.argmax(kept / kept[-1] >= aim))
    return float(right[first] / kept[first])


def _kept_by_threshold(confidence: Array, correct: Array, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """How many pixels each distinct confidence keeps as a threshold, falling, and how many of them are right."""
    values, right = confidences(confidence, correct, metric=metric)
    order = np.argsort(-values)
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    return last + 1, np.cumsum(right[order])[last]


def confidences(confidence: Array, correct: Array, *, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences float64 [n] and correctness bool [n] of maps of one shape.

    Raises EmptyInput, ShapeMismatch, NonFinite, OutOfRange (outside [0,1]).
    """
    values, right = array(confidence), array(correct)
    if values.shape != right.shape:
        raise ShapeMismatch(f"confidence is {values.shape} and correct {right.shape}", where=metric)
    values = finite(values, "confidence", metric=metric).astype(np.float64)
    if values.min() < 0 or values.max() > 1:
        raise OutOfRange(f"confidence spans {values.min():g} to {values.max():g}, expected [0, 1]", where=metric)
    return values.ravel(), binary(right, "correct", metric=metric).ravel()
