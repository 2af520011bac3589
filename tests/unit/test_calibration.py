"""Scores of pseudo-labels and calibration on cases with known answers, degenerate input and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics import calibration
from harness.metrics.calibration import CalibrationBins, calibration_error, pseudo_label_scores
from harness.metrics.card import column_name, parse_column
from harness.metrics.errors import (
    EmptyInput,
    NonFinite,
    OutOfRange,
    ProtocolMismatch,
    ShapeMismatch,
    UnknownOption,
)
from harness.metrics.label_counts import LabelOutOfRange

CONFIDENCE, CORRECT = np.array([0.95, 0.85, 0.65, 0.45]), np.array([True, True, False, False])


def close(value: float) -> object:
    return pytest.approx(value, abs=1e-12)


# ------------------------------------------------------------------------------------------------------ oracles
def test_four_pixels_in_ten_bins() -> None:
    assert calibration_error(CONFIDENCE, CORRECT, bins=10) == close(0.325)
    assert calibration_error(CONFIDENCE, CORRECT, bins=10, norm="max") == close(0.65)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_confidence_that_equals_accuracy(bins: int) -> None:
    assert calibration_error(np.ones(5), np.ones(5, bool), bins=bins) == 0
    assert calibration_error(np.zeros(5), np.zeros(5, bool), bins=bins) == 0
    assert calibration_error(np.full(4, 0.75), np.array([1, 1, 0, 1]), bins=bins) == close(0)
    assert calibration_error(np.ones(4), np.array([1, 0, 0, 0]), bins=bins) == close(0.75)


@pytest.mark.parametrize("bins", [3, 7, 10, 15, 49, 100])
def test_bins_are_closed_on_the_right_and_zero_is_in_the_first(bins: int) -> None:
    table = CalibrationBins(bins)
    table.update(np.arange(bins + 1) / bins, np.ones(bins + 1, bool))
    np.testing.assert_array_equal(table.counts, [2, *[1] * (bins - 1)])
    above = np.nextafter(np.arange(bins) / bins, 2)
    table.reset()
    table.update(above, np.zeros(bins, bool))
    np.testing.assert_array_equal(table.counts, np.ones(bins))


def test_pseudo_labels_of_all_valid_kept_and_dropped_pixels() -> None:
    labels, truth = np.array([[0, 1, 1, 2], [2, 2, 0, 0]]), np.array([[0, 0, 1, 255], [2, 1, 0, 255]])
    kept = np.array([[1, 0, 1, 1], [1, 1, 0, 0]], bool)
    assert pseudo_label_scores(labels, truth, kept, num_classes=3) == {
        "pl_acc": close(4 / 6),
        "pl_miou": close((2 / 3 + 1 / 3 + 1 / 2) / 3),
        "pl_kept_acc": close(3 / 4),
        "pl_coverage": close(4 / 6),
        "unreliable_error": close(1 / 2),
    }


def test_nothing_and_everything_kept() -> None:
    labels, truth = np.array([0, 1]), np.array([0, 0])
    found = pseudo_label_scores(labels, truth, np.zeros(2, bool), num_classes=2)
    assert (found["pl_coverage"], found["unreliable_error"], found["pl_acc"]) == (0, 0.5, 0.5)
    assert math.isnan(found["pl_kept_acc"])
    found = pseudo_label_scores(labels, truth, np.ones(2, bool), num_classes=2)
    assert (found["pl_coverage"], found["pl_kept_acc"]) == (1, 0.5)
    assert math.isnan(found["unreliable_error"])
    only_ignored_kept = pseudo_label_scores(labels, np.array([0, 255]), np.array([False, True]), num_classes=2)
    assert only_ignored_kept["pl_coverage"] == 0
    assert math.isnan(only_ignored_kept["pl_kept_acc"])


def test_queues_with_pixels_of_their_own_class() -> None:
    truth = np.array([[[0, 1], [2, 255]]])
    negatives = np.zeros((1, 3, 2, 2), bool)
    negatives[0, 0] = True  # queue 0 takes all pixels: one of three valid ones is of class 0
    assert calibration.queue_false_negative_rate(negatives, truth) == close(1 / 3)
    negatives[0, 1, 1] = True  # queue 1 takes the lower row: its one valid pixel is of class 2
    assert calibration.queue_false_negative_rate(torch.tensor(negatives), torch.tensor(truth)) == 0.25
    everything = calibration.queue_false_negative_rate(np.ones_like(negatives), truth)
    assert everything == close(1 / 3)  # every pixel in every queue: one over the number of classes
    assert math.isnan(calibration.queue_false_negative_rate(np.zeros_like(negatives), truth))


def test_agreement_of_two_networks() -> None:
    assert calibration.agreement(np.array([0, 1, 2, 3]), torch.tensor([0, 1, 2, 2])) == 0.75
    with pytest.raises(ShapeMismatch):
        calibration.agreement(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(ShapeMismatch):
        calibration.agreement(np.zeros(3), np.zeros(3, int))
    with pytest.raises(EmptyInput):
        calibration.agreement(np.zeros(0, int), np.zeros(0, int))


def test_thresholds_trade_coverage_for_accuracy() -> None:
    assert calibration.risk_coverage_auc(CONFIDENCE, CORRECT) == close((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert calibration.risk_coverage_auc(1 - CONFIDENCE, CORRECT) == close((1 + 1 + 2 / 3 + 1 / 2) / 4)
    assert calibration.risk_coverage_auc(np.full(4, 0.5), CORRECT) == close(0.5)  # one tie: the error rate
    for accuracy, coverage in ((1.0, 0.5), (0.7, 0.5), (2 / 3, 0.75), (0.5, 1.0)):
        assert calibration.coverage_at_accuracy(CONFIDENCE, CORRECT, accuracy=accuracy) == coverage
    assert calibration.coverage_at_accuracy(CONFIDENCE, ~CORRECT, accuracy=0.9) == 0
    for coverage, accuracy in ((0.1, 1.0), (0.5, 1.0), (0.51, 2 / 3), (1.0, 0.5)):
        assert calibration.accuracy_at_coverage(CONFIDENCE, CORRECT, coverage=coverage) == close(accuracy)
    assert calibration.accuracy_at_coverage(np.full(4, 0.5), CORRECT, coverage=0.01) == 0.5  # ties are kept together


# -------------------------------------------------------------------------------------------------- degenerate
def test_confidences_outside_their_range() -> None:
    for value in (-0.01, 1.01):
        with pytest.raises(OutOfRange, match=r"\[0, 1\]"):
            calibration_error(np.array([0.5, value]), np.array([1, 0]))
    with pytest.raises(NonFinite):
        calibration_error(np.array([0.5, math.nan]), np.array([1, 0]))
    with pytest.raises(ShapeMismatch, match="other than 0 and 1"):
        calibration_error(CONFIDENCE, np.array([0, 1, 2, 0]))
    with pytest.raises(ShapeMismatch):
        calibration_error(CONFIDENCE, CORRECT[:3])
    for score in (calibration_error, calibration.risk_coverage_auc):
        with pytest.raises(EmptyInput):
            score(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(UnknownOption, match="l1, max"):
        calibration_error(CONFIDENCE, CORRECT, norm="l2")
    with pytest.raises(OutOfRange):
        CalibrationBins(0)
    with pytest.raises(OutOfRange):
        calibration.coverage_at_accuracy(CONFIDENCE, CORRECT, accuracy=0)
    with pytest.raises(OutOfRange):
        calibration.accuracy_at_coverage(CONFIDENCE, CORRECT, coverage=1.5)


def test_pseudo_labels_that_do_not_fit() -> None:
    labels, kept = np.array([0, 1]), np.ones(2, bool)
    with pytest.raises(EmptyInput):
        pseudo_label_scores(labels, np.full(2, 255), kept, num_classes=2)
    with pytest.raises(EmptyInput):
        pseudo_label_scores(labels[:0], labels[:0], kept[:0], num_classes=2)
    with pytest.raises(LabelOutOfRange, match=r"label 1 at index \(1,\)"):
        pseudo_label_scores(labels, labels, kept, num_classes=1)
    for pair in ((labels, labels[:1], kept), (labels, labels, kept[:1]), (labels, labels.astype(float), kept)):
        with pytest.raises(ShapeMismatch):
            pseudo_label_scores(*pair, num_classes=2)
    for negatives, truth in ((np.ones((1, 2, 3), bool), np.zeros((1, 4), int)), (np.ones(3, bool), np.zeros(3, int))):
        with pytest.raises(ShapeMismatch):
            calibration.queue_false_negative_rate(negatives, truth)
    with pytest.raises(EmptyInput):
        calibration.queue_false_negative_rate(np.ones((0, 2, 3), bool), np.zeros((0, 3), int))


def test_bins_are_merged_and_restored() -> None:
    table = CalibrationBins(10)
    with pytest.raises(EmptyInput):
        table.compute()
    assert table.per_sample() is None
    table.update(CONFIDENCE[:1], CORRECT[:1])
    other = CalibrationBins(10)
    other.update(torch.tensor(CONFIDENCE[1:]), torch.tensor(CORRECT[1:]))
    again = CalibrationBins(10)
    again.load_state_dict(table.merge(other).state_dict())
    assert again.compute() == {"pl_ece": close(0.325)}
    np.testing.assert_array_equal(again.counts, [0, 0, 0, 0, 1, 0, 1, 0, 1, 1])
    np.testing.assert_array_equal(again.hits, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    with pytest.raises(ProtocolMismatch):
        table.merge(CalibrationBins(15))
    with pytest.raises(ShapeMismatch):
        table.load_state_dict(CalibrationBins(15).state_dict())


def test_column_names_come_from_the_cards() -> None:
    cards = {card.name: card for card in calibration.CARDS}
    found = pseudo_label_scores(np.array([0, 1]), np.array([0, 1]), np.ones(2, bool), num_classes=2)
    for name in (*found, "pl_ece", "agreement", "queue_fnr"):
        assert name in cards
    for name in ("pl_acc[quarter=1]", "pl_miou[quarter=4]", "queue_fnr[negatives=any]"):
        parsed = parse_column(name)
        assert column_name(cards[parsed.metric], parsed.space, parsed.protocol) == name
