"""Exactness and invariances of the segmentation metrics and of the scores of pseudo-labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import calibration, segmentation
from harness.metrics.calibration import CalibrationBins
from harness.metrics.segmentation import ConfusionMatrix, confusion_matrix, iou_per_class, mean_iou
from tests.properties.card_properties import Pair, Subject, properties_of

MODEST = settings(deadline=None, max_examples=60)
IGNORED, CLASSES = 255, 4
seeds = st.integers(0, 2**32 - 1)


def label_maps(seed: int, *, ignored: float = 0.2, classes: int | None = None) -> tuple[np.ndarray, np.ndarray, int]:
    """Predictions and truth of one to three maps up to 8 x 8 with one to five classes, some absent, some ignored."""
    rng = np.random.default_rng(seed)
    classes = classes or int(rng.integers(1, 6))
    shape = (int(rng.integers(1, 4)), *rng.integers(1, 9, 2))
    weights = rng.dirichlet(np.full(classes, 0.5))
    truth = rng.choice(classes, shape, p=weights)
    preds = np.where(rng.random(shape) < 0.6, truth, rng.choice(classes, shape))
    truth = np.where(rng.random(shape) < ignored, IGNORED, truth)
    truth.flat[0] = preds.flat[0]
    return preds, truth, classes


def by_pixels(preds: np.ndarray, truth: np.ndarray, classes: int) -> tuple[np.ndarray, list[float]]:
    """Confusion matrix and IoUs from their definitions, one pixel after the other."""
    matrix = np.zeros((classes, classes), int)
    for found, real in zip(preds.flat, truth.flat, strict=True):
        if real != IGNORED:
            matrix[real, found] += 1
    ious = []
    for label in range(classes):
        pixels = [(p == label, t == label) for p, t in zip(preds.flat, truth.flat, strict=True) if t != IGNORED]
        union = sum(p or t for p, t in pixels)
        ious.append(sum(p and t for p, t in pixels) / union if union else math.nan)
    return matrix, ious


def counted(preds: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    return confusion_matrix(preds, truth, num_classes=classes)


def close(value: float) -> object:
    return pytest.approx(value, abs=1e-12, nan_ok=True)


# ------------------------------------------------------------------------------------------------ definitions
@settings(deadline=None, max_examples=300)
@given(seeds, st.sampled_from(["u1", "i2", "i8"]))
def test_equals_a_loop_over_pixels(seed: int, kind: str) -> None:
    preds, truth, classes = label_maps(seed)
    matrix, ious = by_pixels(preds, truth, classes)
    found = counted(preds.astype(kind), truth.astype(kind), classes)
    np.testing.assert_array_equal(found, matrix)
    np.testing.assert_allclose(iou_per_class(found), ious, atol=1e-12)
    present = [value for value in ious if not math.isnan(value)]
    assert mean_iou(found) == close(sum(present) / len(present))
    assert mean_iou(found, absent="zero") == close(sum(present) / classes)


@MODEST
@given(seeds)
def test_iou_is_bounded_by_precision_and_recall_and_tied_to_dice(seed: int) -> None:
    matrix = counted(*label_maps(seed))
    ious, dice = iou_per_class(matrix), segmentation.dice(matrix)
    with np.errstate(invalid="ignore"):
        recall, precision = (np.diagonal(matrix) / matrix.sum(axis) for axis in (1, 0))
    for bound in (recall, precision):
        assert np.all(ious[~np.isnan(bound)] <= bound[~np.isnan(bound)] + 1e-12)
    assert np.all(np.isnan(ious) | ((ious >= 0) & (ious <= 1)))
    np.testing.assert_allclose(ious, dice / (2 - dice), atol=1e-12)


@MODEST
@given(seeds)
def test_pixel_accuracy_is_recall_weighted_by_frequency(seed: int) -> None:
    matrix = counted(*label_maps(seed))
    recall = np.nan_to_num(segmentation.class_accuracy(matrix))
    assert segmentation.pixel_accuracy(matrix) == close(float(matrix.sum(1) / matrix.sum() @ recall))


# ------------------------------------------------------------------------------------------------ invariances
@MODEST
@given(seeds)
def test_renaming_classes_permutes_their_ious(seed: int) -> None:
    preds, truth, classes = label_maps(seed)
    base = counted(preds, truth, classes)
    names = np.random.default_rng(seed).permutation(classes)
    renamed = counted(names[preds], np.where(truth == IGNORED, IGNORED, names[truth % classes]), classes)
    np.testing.assert_array_equal(iou_per_class(renamed)[names], iou_per_class(base))
    assert segmentation.overall_columns(renamed) == close(segmentation.overall_columns(base))


@MODEST
@given(seeds)
def test_a_perfect_prediction(seed: int) -> None:
    _, truth, classes = label_maps(seed)
    preds = np.where(truth == IGNORED, 0, truth)
    assert set(segmentation.overall_columns(counted(preds, truth, classes)).values()) == {1.0}


@MODEST
@given(seeds)
def test_swapping_truth_and_prediction_keeps_every_iou(seed: int) -> None:
    preds, truth, classes = label_maps(seed, ignored=0)
    one, two = counted(preds, truth, classes), counted(truth, preds, classes)
    np.testing.assert_array_equal(one, two.T)
    np.testing.assert_array_equal(iou_per_class(one), iou_per_class(two))


@MODEST
@given(seeds)
def test_what_is_predicted_on_ignored_pixels_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    preds, truth, classes = label_maps(seed)
    base = counted(preds, truth, classes)
    anything = np.where(truth == IGNORED, rng.integers(-3, 300, truth.shape), preds)
    np.testing.assert_array_equal(counted(anything, truth, classes), base)
    more = np.full_like(truth, IGNORED)
    stacked = counted(np.concatenate([preds, preds]), np.concatenate([truth, more]), classes)
    np.testing.assert_array_equal(stacked, base)


@MODEST
@given(seeds)
def test_sets_may_be_split_and_merged_in_any_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    preds, truth, classes = label_maps(seed)
    base = counted(preds, truth, classes)
    parts = [ConfusionMatrix(classes) for _ in range(3)]
    pixels = list(zip(np.array_split(preds.ravel(), 5), np.array_split(truth.ravel(), 5), strict=True))
    for found, real in pixels:
        if found.size:
            parts[rng.integers(3)].update(found, torch.tensor(real))
    left, right = parts[0].state_dict(), parts[2].state_dict()
    np.testing.assert_array_equal(parts[0].merge(parts[1]).merge(parts[2]).matrix, base)
    for part, state in zip((parts[0], parts[2]), (left, right), strict=True):
        part.load_state_dict(state)
    np.testing.assert_array_equal(parts[2].merge(parts[0].merge(parts[1])).matrix, base)
    images = ConfusionMatrix(classes, per_image=True)
    images.update(preds, truth)
    np.testing.assert_array_equal(images.matrix, base)
    for image, *pair in zip(images.per_sample(), preds, truth, strict=True):
        np.testing.assert_array_equal(image, counted(*pair, classes))


# -------------------------------------------------------------------------------------------- lists of classes
@MODEST
@given(seeds)
def test_ignoring_truth_outside_the_list_never_lowers_an_iou(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = counted(*label_maps(seed, classes=5))
    chosen = rng.permutation(5)[: rng.integers(1, 6)]
    row, ignore = (iou_per_class(matrix, classes=chosen, missing=rule) for rule in ("row", "ignore"))
    np.testing.assert_array_equal(row, iou_per_class(matrix)[chosen])
    both = ~np.isnan(ignore)
    assert np.all(row[both] <= ignore[both])
    assert np.all(np.isnan(ignore[np.isnan(row)]))
    assert np.all(row[~both & ~np.isnan(row)] == 0)  # only predicted, and only on truth that is now ignored
    whole = iou_per_class(matrix, classes=range(5), missing="ignore")
    np.testing.assert_array_equal(whole, iou_per_class(matrix))


@MODEST
@given(seeds)
def test_head_and_tail_share_the_mean(seed: int) -> None:
    matrix = counted(*label_maps(seed))
    head, tail = segmentation.head_and_tail(matrix)
    present = sorted(head + tail)
    assert present == np.flatnonzero(matrix.any(1)).tolist()
    assert head
    sums = [len(part) * mean_iou(matrix, classes=part) for part in (head, tail) if part]
    assert mean_iou(matrix, classes=present) == close(sum(sums) / len(present))


@MODEST
@given(seeds)
def test_matching_finds_renamed_classes_and_never_loses_to_the_given_names(seed: int) -> None:
    preds, truth, classes = label_maps(seed)
    names = np.random.default_rng(seed).permutation(classes)
    sizes = {"num_segments": classes, "num_classes": classes}
    value = segmentation.matched_iou(preds, truth, **sizes)
    assert segmentation.matched_iou(names[preds], truth, **sizes) == close(value)
    perfect = np.where(truth == IGNORED, 0, truth)
    assert segmentation.matched_iou(names[perfect], truth, **sizes) == 1
    matrix = counted(preds, truth, classes)
    present = np.flatnonzero(matrix.any(1))
    assert value >= mean_iou(matrix, classes=present) - 1e-12


# ------------------------------------------------------------------------------------------------- calibration
def confident(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    values = rng.integers(0, 21, n) / 20 if rng.random() < 0.5 else rng.random(n)
    return values, rng.random(n) < values


@settings(deadline=None, max_examples=200)
@given(seeds, st.integers(1, 20), st.integers(2, 5))
def test_calibration_errors_grow_as_bins_are_divided_and_stay_in_their_bounds(seed: int, bins: int, by: int) -> None:
    values, correct = confident(seed)
    coarse = calibration.calibration_error(values, correct, bins=bins)
    assert abs(correct.mean() - values.mean()) - 1e-12 <= coarse <= 1
    assert calibration.calibration_error(values, correct, bins=bins * by) >= coarse - 1e-12
    assert calibration.calibration_error(values, correct, bins=bins, norm="max") >= coarse - 1e-12
    direct = 0.0
    for low, high in zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, strict=True):
        inside = (values <= high) & ((values > low) | (low == 0))
        if inside.any():
            direct += inside.mean() * abs(correct[inside].mean() - values[inside].mean())
    assert coarse == close(direct)


@MODEST
@given(seeds)
def test_thresholds_equal_their_definitions(seed: int) -> None:
    values, correct = confident(seed)
    kept = [values >= threshold for threshold in np.unique(values)]
    for share in (0.01, 0.3, 0.5, 0.9, 1.0):
        coverage = max((k.mean() for k in kept if correct[k].mean() >= share), default=0.0)
        assert calibration.coverage_at_accuracy(values, correct, accuracy=share) == close(coverage)
        narrow = min((k for k in kept if k.mean() >= share), key=np.sum)
        assert calibration.accuracy_at_coverage(values, correct, coverage=share) == close(correct[narrow].mean())
    area = calibration.risk_coverage_auc(values, correct)
    assert 0 <= area <= 1
    rng, risks = np.random.default_rng(seed), []
    for _ in range(200):  # ties in random order, on average
        order = np.lexsort((rng.random(len(values)), -values))
        risks.append(np.mean(1 - np.cumsum(correct[order]) / np.arange(1, len(values) + 1)))
    assert area == pytest.approx(np.mean(risks), abs=0.05)
    ranks = np.searchsorted(np.unique(values), values) / len(values)
    assert calibration.risk_coverage_auc(ranks, correct) == close(area)


@MODEST
@given(seeds)
def test_pseudo_label_scores_are_those_of_the_pixels_kept(seed: int) -> None:
    preds, truth, classes = label_maps(seed)
    kept = np.random.default_rng(seed).random(preds.shape) < 0.5
    found = calibration.pseudo_label_scores(preds, truth, kept, num_classes=classes)
    valid, right = truth != IGNORED, preds == truth

    def share(part: np.ndarray, of: np.ndarray) -> object:
        return close(part[of].mean() if of.any() else math.nan)

    assert found["pl_acc"] == share(right, valid)
    assert found["pl_kept_acc"] == share(right, valid & kept)
    assert found["unreliable_error"] == share(~right, valid & ~kept)
    assert found["pl_coverage"] == share(kept, valid)
    assert found["pl_miou"] == mean_iou(counted(preds, truth, classes))


# --------------------------------------------------------------------------------------------- from the cards
@st.composite
def two_maps(draw: st.DrawFn) -> Pair:
    preds, truth, _ = label_maps(draw(seeds), ignored=0, classes=CLASSES)
    return preds.astype("f8"), truth.astype("f8")


@st.composite
def judged(draw: st.DrawFn) -> Pair:
    values, correct = confident(draw(seeds))
    return values, correct.astype("f8")


def integers(labels: Any) -> Any:
    return labels.long() if isinstance(labels, torch.Tensor) else labels.astype("i8")


def card_of(cards: Sequence[Any], name: str, metric: Callable[..., float], **more: Any) -> type:
    card = next(card for card in cards if card.name == name)
    return properties_of(Subject(card, metric, paired=True, exact=1e-12, **more))


def of_matrix(name: str, score: Callable[[np.ndarray], float]) -> type:
    def metric(preds: Any, truth: Any) -> float:
        return score(confusion_matrix(integers(preds), integers(truth), num_classes=CLASSES))

    def merged(parts: Sequence[Pair]) -> float:
        matrices = [ConfusionMatrix(CLASSES) for _ in parts]
        for matrix, (preds, truth) in zip(matrices, parts, strict=True):
            if len(preds):
                matrix.update(integers(preds), integers(truth))
        return score(reduce(ConfusionMatrix.merge, matrices).matrix)

    skip = frozenset({"not-finite"})  # labels are integers
    return card_of(segmentation.CARDS, name, metric, pairs=two_maps(), merged=merged, skip=skip)


def of_labels(name: str) -> type:
    def metric(labels: Any, truth: Any) -> float:
        kept = np.ones(truth.shape, bool)
        return calibration.pseudo_label_scores(integers(labels), integers(truth), kept, num_classes=CLASSES)[name]

    skip = frozenset({"not-finite"})
    return card_of(calibration.CARDS, name, metric, pairs=two_maps(), skip=skip)


def merged_bins(parts: Sequence[Pair]) -> float:
    tables = [CalibrationBins() for _ in parts]
    for table, (values, correct) in zip(tables, parts, strict=True):
        if len(values):
            table.update(values, correct)
    return reduce(CalibrationBins.merge, tables).compute()["pl_ece"]


TestMiou = of_matrix("miou", mean_iou)
TestIou = of_matrix("iou", lambda matrix: float(np.nan_to_num(iou_per_class(matrix), nan=1.0)[0]))
TestPixelAcc = of_matrix("pixel_acc", segmentation.pixel_accuracy)
TestClassAcc = of_matrix("class_acc", lambda matrix: segmentation.overall_columns(matrix)["class_acc"])
TestFwIou = of_matrix("fw_iou", segmentation.frequency_weighted_iou)
TestPlAcc = of_labels("pl_acc")
TestPlMiou = of_labels("pl_miou")
TestPlKeptAcc = of_labels("pl_kept_acc")
TestAgreement = card_of(
    calibration.CARDS,
    "agreement",
    lambda one, two: calibration.agreement(integers(one), integers(two)),
    pairs=two_maps(),
    skip=frozenset({"not-finite"}),
)
TestPlEce = card_of(
    calibration.CARDS,
    "pl_ece",
    calibration.calibration_error,
    pairs=judged(),
    merged=merged_bins,
    skip=frozenset({"asymmetric", "float32"}),  # truth is binary; rounding moves a confidence across an edge
)
