"""Segmentation metrics against torchmetrics and scikit-learn, where they are installed, and other published rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import calibration, segmentation
from harness.metrics.segmentation import confusion_matrix

MODEST = settings(deadline=None, max_examples=60)
IGNORED = 255
seeds = st.integers(0, 2**32 - 1)


def label_maps(seed: int, *, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray, int]:
    """Predictions and truth of two maps with two to six classes, of which some may be absent."""
    rng = np.random.default_rng(seed)
    classes, shape = int(rng.integers(2, 7)), (2, int(rng.integers(1, 9)), 7)
    truth, preds = (rng.choice(classes, shape, p=rng.dirichlet(np.full(classes, 0.5))) for _ in range(2))
    preds = np.where(rng.random(shape) < 0.5, truth, preds)
    truth = np.where(rng.random(shape) < ignored, IGNORED, truth)
    truth.flat[0] = preds.flat[0]
    return preds, truth, classes


# ------------------------------------------------------------------------------------------------ torchmetrics
@MODEST
@given(seeds)
def test_matrices_and_ious_equal_torchmetrics(seed: int) -> None:
    peer = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not a dependency")
    preds, truth, classes = label_maps(seed)
    matrix = confusion_matrix(preds, truth, num_classes=classes)
    pair, options = (torch.tensor(preds), torch.tensor(truth)), {"num_classes": classes, "ignore_index": IGNORED}
    np.testing.assert_array_equal(matrix, peer.multiclass_confusion_matrix(*pair, **options).numpy())
    ious = peer.multiclass_jaccard_index(*pair, average=None, **options).numpy()
    np.testing.assert_allclose(np.nan_to_num(segmentation.iou_per_class(matrix)), ious, atol=1e-6)
    macro = float(peer.multiclass_jaccard_index(*pair, average="macro", **options))
    assert segmentation.mean_iou(matrix) == pytest.approx(macro, abs=1e-6)
    micro = float(peer.multiclass_accuracy(*pair, average="micro", **options))
    assert segmentation.pixel_accuracy(matrix) == pytest.approx(micro, abs=1e-6)


@MODEST
@given(seeds, st.sampled_from(["l1", "max"]))
def test_calibration_errors_equal_torchmetrics(seed: int, norm: str) -> None:
    peer = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not a dependency")
    rng = np.random.default_rng(seed)
    values = rng.random(200)  # of class 1, so the peer's confidence is the larger of it and the rest
    labels = (rng.random(200) < values).astype(int)
    confidence, correct = np.maximum(values, 1 - values), (values > 0.5) == labels
    theirs = peer.multiclass_calibration_error(
        torch.tensor(np.stack([1 - values, values], 1)), torch.tensor(labels), num_classes=2, n_bins=15, norm=norm
    )
    assert calibration.calibration_error(confidence, correct, norm=norm) == pytest.approx(float(theirs), abs=1e-6)


# ------------------------------------------------------------------------------------------------ scikit-learn
@MODEST
@given(seeds)
def test_matrices_and_ious_equal_scikit_learn(seed: int) -> None:
    peer = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not a dependency")
    preds, truth, classes = label_maps(seed)
    matrix = confusion_matrix(preds, truth, num_classes=classes)
    kept = truth != IGNORED
    flat, labels = (truth[kept], preds[kept]), range(classes)
    np.testing.assert_array_equal(matrix, peer.confusion_matrix(*flat, labels=labels))
    for average, found in ((None, np.nan_to_num(segmentation.iou_per_class(matrix))),
                           ("macro", segmentation.mean_iou(matrix, absent="zero"))):  # fmt: skip
        theirs = peer.jaccard_score(*flat, labels=labels, average=average, zero_division=0)
        np.testing.assert_allclose(found, theirs, atol=1e-12)
    dice = peer.f1_score(*flat, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(np.nan_to_num(segmentation.dice(matrix)), dice, atol=1e-12)
    recall = peer.recall_score(*flat, labels=labels, average=None, zero_division=np.nan)
    np.testing.assert_allclose(segmentation.class_accuracy(matrix), recall, atol=1e-12)
    weighted = peer.jaccard_score(*flat, labels=labels, average="weighted", zero_division=0)
    assert segmentation.frequency_weighted_iou(matrix) == pytest.approx(weighted, abs=1e-12)


# -------------------------------------------------------------------------------- published rules, typed again
@MODEST
@given(seeds)
def test_areas_of_intersection_and_union(seed: int) -> None:
    """Three histograms of the valid pixels, the quotient with NaN for 0 / 0 and its nanmean: mmsegmentation's rule."""
    preds, truth, classes = label_maps(seed)
    found, real = (torch.tensor(labels[truth != IGNORED]).float() for labels in (preds, truth))
    parts = (found[found == real], found, real)
    both, predicted, true = (torch.histc(part, classes, 0, classes - 1).double() for part in parts)
    ious = (both / (predicted + true - both)).numpy()
    matrix = confusion_matrix(preds, truth, num_classes=classes)
    np.testing.assert_allclose(segmentation.iou_per_class(matrix), ious, atol=1e-12)
    assert segmentation.mean_iou(matrix) == pytest.approx(float(np.nanmean(ious)), abs=1e-12)


@MODEST
@given(seeds)
def test_sums_with_a_small_denominator(seed: int) -> None:
    """Predictions on ignored pixels set to the ignored label, 1e-10 in the denominator, plain mean: U2PL's rule."""
    preds, truth, classes = label_maps(seed)
    found = np.where(truth == IGNORED, IGNORED, preds)
    ious = []
    for label in range(classes):
        both = np.sum((found == label) & (truth == label))
        union = np.sum(found == label) + np.sum(truth == label) - both
        ious.append(both / (union + 1e-10))
    matrix = confusion_matrix(preds, truth, num_classes=classes)
    assert segmentation.mean_iou(matrix, absent="zero") == pytest.approx(np.mean(ious), abs=1e-9)


def test_where_conventions_part() -> None:
    """One pair of maps, three published numbers: the mean over classes present, over all, and the pooled quotient."""
    matrix = confusion_matrix(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), num_classes=3)
    union = matrix.sum(0) + matrix.sum(1) - np.diagonal(matrix)
    assert segmentation.mean_iou(matrix) == pytest.approx(7 / 12)
    assert segmentation.mean_iou(matrix, absent="zero") == pytest.approx(7 / 18)
    assert np.trace(matrix) / union.sum() == pytest.approx(0.6)
    assert segmentation.pixel_accuracy(matrix) == 0.75
    assert math.isnan(segmentation.iou_per_class(matrix)[2])
