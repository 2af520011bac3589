"""Segmentation metrics on cases with known answers, degenerate input and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.data.label_ids import CITYSCAPES
from harness.metrics import label_counts, segmentation
from harness.metrics.card import column_name, parse_column
from harness.metrics.errors import (
    EmptyInput,
    MetricError,
    OutOfRange,
    ProtocolMismatch,
    ShapeMismatch,
    UnknownOption,
)
from harness.metrics.segmentation import ConfusionMatrix, LabelOutOfRange, confusion_matrix

LACKING = ("terrain", "truck", "train")  # classes of Cityscapes that SYNTHIA has not
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


def close(value: float) -> object:
    return pytest.approx(value, abs=1e-12)


def counted(preds: list[int], target: list[int], classes: int = 3) -> np.ndarray:
    return confusion_matrix(np.array(preds), np.array(target), num_classes=classes)


# ------------------------------------------------------------------------------------------------------ oracles
def test_a_class_in_neither_map_is_skipped_or_counts_as_zero() -> None:
    matrix = counted([0, 1, 1, 1], [0, 0, 1, 1])
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(segmentation.iou_per_class(matrix), [1 / 2, 2 / 3, math.nan], atol=1e-12)
    assert segmentation.mean_iou(matrix) == close(7 / 12)
    assert segmentation.mean_iou(matrix, absent="zero") == close(7 / 18)
    assert segmentation.pixel_accuracy(matrix) == 0.75
    np.testing.assert_allclose(segmentation.class_accuracy(matrix), [1 / 2, 1, math.nan])
    np.testing.assert_allclose(segmentation.dice(matrix), [2 / 3, 4 / 5, math.nan])
    assert segmentation.frequency_weighted_iou(matrix) == close(7 / 12)


def test_predictions_on_ignored_pixels_count_nowhere() -> None:
    matrix = counted([0, 1, 1, 2], [0, 0, 1, 255])
    np.testing.assert_allclose(segmentation.iou_per_class(matrix), [1 / 2, 1 / 2, math.nan])
    assert segmentation.mean_iou(matrix) == 0.5
    np.testing.assert_array_equal(counted([0, 1, 1, 77], [0, 0, 1, 255]), matrix)


def test_a_class_that_is_only_predicted_has_iou_zero_and_counts() -> None:
    matrix = counted([0, 2], [0, 0])
    np.testing.assert_allclose(segmentation.iou_per_class(matrix), [1 / 2, math.nan, 0])
    assert segmentation.mean_iou(matrix) == 0.25


def test_truth_outside_the_list_causes_false_positives_unless_ignored() -> None:
    matrix = counted([0, 1, 1, 1], [0, 0, 1, 2])
    assert segmentation.mean_iou(matrix, classes=(0, 1)) == close(5 / 12)
    assert segmentation.mean_iou(matrix, classes=(0, 1), missing="ignore") == 0.5
    # A prediction outside the list on a kept truth pixel is a false negative in both.
    matrix = counted([0, 2, 1], [0, 0, 1])
    for missing in ("row", "ignore"):
        found = segmentation.iou_per_class(matrix, classes=(1, 0), missing=missing)
        np.testing.assert_array_equal(found, [1, 0.5])


def test_head_and_tail_split_at_the_share_of_the_truth() -> None:
    matrix = np.diag([95, 4, 1, 0])
    assert segmentation.head_and_tail(matrix) == ((0,), (1, 2))  # the truth lacks class 3
    assert segmentation.head_and_tail(matrix, share=0.04) == ((0, 1), (2,))
    assert segmentation.head_and_tail(np.diag([95, 5]))[1] == ()


def test_published_class_lists() -> None:
    assert tuple(range(19)) == segmentation.CITYSCAPES_19
    assert set(segmentation.CITYSCAPES_19) - set(segmentation.SYNTHIA_16) == {CITYSCAPES.index(c) for c in LACKING}
    left = {CITYSCAPES.index(name) for name in ("wall", "fence", "pole")}
    assert set(segmentation.SYNTHIA_16) - set(segmentation.SYNTHIA_13) == left
    assert (len(segmentation.SYNTHIA_16), len(segmentation.SYNTHIA_13)) == (16, 13)


def test_sixteen_of_nineteen_by_the_published_conversion() -> None:
    """mIoU19 x 19/16 is mIoU16 only where the three classes are present with IoU 0."""
    chosen, lost = segmentation.SYNTHIA_16, [CITYSCAPES.index(name) for name in LACKING]
    matrix = np.diag(np.arange(1, 20)) * 10 + 1
    assert segmentation.mean_iou(matrix) * 19 / 16 > segmentation.mean_iou(matrix, classes=chosen)
    matrix[lost, lost] = 0
    assert segmentation.mean_iou(matrix) * 19 / 16 == close(segmentation.mean_iou(matrix, classes=chosen))
    assert segmentation.mean_iou(matrix, classes=chosen) < segmentation.mean_iou(
        matrix, classes=chosen, missing="ignore"
    )
    matrix[lost] = matrix[:, lost] = 0
    # Absent, the three are skipped, and there is nothing to convert.
    assert segmentation.mean_iou(matrix) == close(segmentation.mean_iou(matrix, classes=chosen))


def test_column_names_come_from_the_cards() -> None:
    cards = {card.name: card for card in segmentation.CARDS}
    others = ("miou[network=student]", "miou[classes=16|missing=ignore|network=teacher]", "miou[absent=zero]")
    for name in (*segmentation.overall_columns(np.eye(2, dtype=int)), *others, "iou[class=traffic_light]"):
        parsed = parse_column(name)
        assert column_name(cards[parsed.metric], parsed.space, parsed.protocol) == name
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 1]), np.array([0, 0]))
    assert set(cards) == {*matrix.compute(), "iou"}


def test_segments_without_names_are_matched_one_to_one() -> None:
    target = np.array([0, 0, 0, 1, 1, 255])
    assert segmentation.matched_iou(1 - target.clip(0, 1), target, num_segments=2, num_classes=2) == 1
    # Segment 0 overlaps both classes; matching it with class 0 leaves class 1 the worse segment.
    found = np.array([0, 0, 1, 0, 1, 1])
    assert segmentation.matched_iou(found, target, num_segments=2, num_classes=2) == close((2 / 4 + 1 / 3) / 2)
    assert segmentation.matched_iou(found * 0, target, num_segments=4, num_classes=3) == close(3 / 5 / 2)
    with pytest.raises(EmptyInput):
        segmentation.matched_iou(found, target * 0 + 255, num_segments=2, num_classes=2)
    with pytest.raises(LabelOutOfRange):
        segmentation.matched_iou(found + 1, target, num_segments=2, num_classes=2)


# ------------------------------------------------------------------------------------------ types, sizes, devices
@pytest.mark.parametrize("kind", INTEGERS)
def test_any_integer_type_as_array_and_tensor(kind: str) -> None:
    rng = np.random.default_rng(0)
    preds, target = rng.integers(0, 5, (2, 3, 7, 5)).astype(kind)
    expected = np.zeros((5, 5), int)
    np.add.at(expected, (target, preds), 1)
    for pair in ((preds, target), (torch.tensor(preds), torch.tensor(target)), (preds, torch.tensor(target))):
        found = confusion_matrix(*pair, num_classes=5)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)
    views = preds[:, ::-1, ::2], target[:, ::-1, ::2]
    np.testing.assert_array_equal(confusion_matrix(*views, num_classes=5), confusion_matrix(
        *(np.ascontiguousarray(view) for view in views), num_classes=5
    ))  # fmt: skip


def test_booleans_are_two_classes() -> None:
    truth = np.array([True, False, True])
    np.testing.assert_array_equal(confusion_matrix(~truth, truth, num_classes=2), [[0, 1], [2, 0]])


@pytest.mark.parametrize("classes", [1, 2, 19, 30, 31, 32, 33, 150, 255, 300])
@pytest.mark.parametrize("ignored", [255, 0, -1, 1000, None])
def test_any_number_of_classes_and_any_ignored_label(
    classes: int, ignored: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_counts, "BLOCK", 1024)
    monkeypatch.setattr(label_counts, "WIDE_BLOCK", 1000)
    rng = np.random.default_rng(classes)
    preds, target = rng.integers(0, classes, (2, 2501))
    if ignored is not None:
        hidden = rng.random(len(target)) < 0.2
        target[hidden], preds[hidden] = ignored, rng.integers(-5, 400, hidden.sum())
    kept = target != ignored if ignored is not None else np.ones(len(target), bool)
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (target[kept], preds[kept]), 1)
    found = confusion_matrix(preds, target, num_classes=classes, ignore_index=ignored)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_labels_on_an_accelerator() -> None:
    rng = np.random.default_rng(0)
    preds, target = rng.integers(0, 19, (2, 4, 33, 65), np.uint8)
    target[rng.random(target.shape) < 0.1] = 255
    expected = confusion_matrix(preds, target, num_classes=19)
    for kind in (torch.uint8, torch.int64):
        moved = [torch.tensor(labels).to("cuda", kind) for labels in (preds, target)]
        np.testing.assert_array_equal(confusion_matrix(*moved, num_classes=19), expected)
    with pytest.raises(LabelOutOfRange, match=r"label 19 at index \(0, 0, 0\)"):
        confusion_matrix(moved[0] * 0 + 19, moved[1].clamp(max=18), num_classes=19)


# -------------------------------------------------------------------------------------------------- degenerate
@pytest.mark.parametrize("kind", ["u1", "i8"])
@pytest.mark.parametrize("classes", [3, 40])
def test_labels_out_of_range_are_named_with_their_place(kind: str, classes: int) -> None:
    good = np.zeros((2, 4, 5), kind)
    bad = good.copy()
    bad[1, 2, 3] = 77
    with pytest.raises(LabelOutOfRange, match=r"target has label 77 at index \(1, 2, 3\)"):
        confusion_matrix(good, bad, num_classes=classes)
    with pytest.raises(LabelOutOfRange, match=r"preds has label 77 at index \(1, 2, 3\)"):
        confusion_matrix(bad, good, num_classes=classes)
    with pytest.raises(LabelOutOfRange, match="label 255"):
        confusion_matrix(good, good + 255, num_classes=classes, ignore_index=None)
    with pytest.raises(LabelOutOfRange, match=f"label {classes} at index"):
        confusion_matrix(good + classes, good, num_classes=classes)


@pytest.mark.parametrize("value", [-1, 256, 2**32, 2**40 + 1])
def test_labels_are_never_wrapped(value: int) -> None:
    good, bad = np.zeros(4, "i8"), np.array([0, 0, value, 0])
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(LabelOutOfRange, match=f"label {value} "):
            confusion_matrix(*pair, num_classes=2)


def test_empty_sets_and_ignored_ones() -> None:
    with pytest.raises(EmptyInput):
        confusion_matrix(np.empty((0, 4, 4), int), np.empty((0, 4, 4), int), num_classes=2)
    ignored = confusion_matrix(np.zeros(4, int), np.full(4, 255), num_classes=2)
    assert not ignored.any()  # a part of a set may be ignored as a whole
    scores = (
        *(segmentation.iou_per_class, segmentation.mean_iou, segmentation.dice, segmentation.pixel_accuracy),
        *(segmentation.class_accuracy, segmentation.frequency_weighted_iou, segmentation.head_and_tail),
    )
    for score in scores:
        with pytest.raises(EmptyInput, match="no valid pixel"):
            score(ignored)
    with pytest.raises(EmptyInput):
        ConfusionMatrix(2).compute()


def test_a_single_class() -> None:
    matrix = counted([0, 0], [0, 0], classes=1)
    assert segmentation.overall_columns(matrix) == {"miou": 1, "pixel_acc": 1, "class_acc": 1, "fw_iou": 1}
    assert segmentation.mean_iou(counted([1, 1], [1, 1], 5)) == 1


def test_shapes_types_and_options() -> None:
    labels = np.zeros((2, 3), int)
    with pytest.raises(ShapeMismatch, match=r"\(2, 3\) and target \(3, 2\)"):
        confusion_matrix(labels, labels.T, num_classes=2)
    for wrong in (labels.astype(float), labels.astype(complex), [[0, 0, 0]] * 2):
        with pytest.raises(ShapeMismatch):
            confusion_matrix(labels, wrong, num_classes=2)
    with pytest.raises(OutOfRange):
        confusion_matrix(labels, labels, num_classes=0)
    for matrix in (np.ones((2, 3), int), np.ones((2, 2)), np.ones(4, int)):
        with pytest.raises(ShapeMismatch, match="integers"):
            segmentation.mean_iou(matrix)
    with pytest.raises(OutOfRange, match="-1"):
        segmentation.mean_iou(-np.eye(2, dtype=int))
    matrix = np.eye(2, dtype=int)
    with pytest.raises(OutOfRange, match="not among"):
        segmentation.mean_iou(matrix, classes=(0, 2))
    with pytest.raises(UnknownOption, match="skip, zero"):
        segmentation.mean_iou(matrix, absent="nan")
    with pytest.raises(UnknownOption, match="row, ignore"):
        segmentation.mean_iou(matrix, missing="drop")
    assert math.isnan(segmentation.mean_iou(matrix, classes=()))
    assert issubclass(LabelOutOfRange, MetricError)


# --------------------------------------------------------------------------------------------------- streaming
def test_counts_stay_exact_beyond_thirty_one_and_fifty_three_bits() -> None:
    matrix = ConfusionMatrix(2)
    matrix.load_state_dict({"matrix": np.array([[2**62, 1], [0, 2**31]])})
    matrix.update(np.array([0, 1, 1]), np.array([0, 0, 1]))
    np.testing.assert_array_equal(matrix.matrix, [[2**62 + 1, 2], [0, 2**31 + 1]])
    assert matrix.compute()["pixel_acc"] == close(1)
    np.testing.assert_allclose(segmentation.iou_per_class(matrix.matrix), [1, 1], atol=1e-9)


def test_an_accumulator_keeps_its_images() -> None:
    preds, target = np.array([[[0, 1]], [[1, 1]]]), np.array([[[0, 0]], [[1, 255]]])
    whole = ConfusionMatrix(2, per_image=True)
    whole.update(preds, target)
    np.testing.assert_array_equal(whole.per_sample(), [[[1, 1], [0, 0]], [[0, 0], [0, 1]]])
    np.testing.assert_array_equal(whole.matrix, whole.per_sample().sum(0))
    again = ConfusionMatrix(2, per_image=True)
    assert again.per_sample().shape == (0, 2, 2)
    again.load_state_dict(whole.state_dict())
    again.update(torch.tensor(preds), torch.tensor(target))
    assert again.per_sample().shape == (4, 2, 2)
    assert again.compute() == whole.compute()
    assert ConfusionMatrix(2).per_sample() is None
    state = again.state_dict()
    again.reset()
    assert not again.matrix.any()
    assert state["matrix"].sum() == 6  # a copy


def test_accumulators_refuse_what_does_not_fit() -> None:
    matrix, images = ConfusionMatrix(2), ConfusionMatrix(2, per_image=True)
    for other in (ConfusionMatrix(3), ConfusionMatrix(2, ignore_index=0), images):
        with pytest.raises(ProtocolMismatch):
            matrix.merge(other)
    with pytest.raises(ProtocolMismatch):
        images.load_state_dict(matrix.state_dict())
    with pytest.raises(ShapeMismatch):
        matrix.load_state_dict(ConfusionMatrix(3).state_dict())
    with pytest.raises(ShapeMismatch, match="N"):
        images.update(np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(EmptyInput):
        images.update(np.zeros((0, 3), int), np.zeros((0, 3), int))
    with pytest.raises(OutOfRange):
        ConfusionMatrix(0)
    with pytest.raises(LabelOutOfRange, match=r"image 1: preds has label 5 at index \(1,\)"):
        images.update(np.array([[0, 1], [0, 5]]), np.zeros((2, 2), int))
    assert not images.matrix.any()  # the refused batch left no trace
    assert len(images.per_sample()) == 0
