"""Anomaly metrics on cases with known answers, degenerate input and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics import anomaly
from harness.metrics.anomaly_curves import ScoreCurve
from harness.metrics.anomaly_histogram import ScoreHistogram, quantile_edges
from harness.metrics.card import column_name, parse_column
from harness.metrics.errors import (
    CountMismatch,
    EmptyInput,
    MetricError,
    NonFinite,
    OutOfRange,
    ProtocolMismatch,
    ShapeMismatch,
    UnknownOption,
)

SCORES = np.array([[[0.9, 0.8, 0.1, 0.2], [0.3, 0.7, 0.05, 0.6]]])
MASKS = np.array([[[1, 1, 0, 0], [0, 0, 0, 1]]], bool)


def close(value: float) -> object:
    return pytest.approx(value, abs=1e-12)


# ------------------------------------------------------------------------------------------------------ oracles
def test_two_regions_and_five_normal_pixels() -> None:
    found = anomaly.pixel_scores(SCORES, MASKS, fpr_limits=(0.3, 0.5, 1))
    assert found == {
        "pixel_auroc": close(14 / 15),
        "pixel_ap": close(11 / 12),
        "pixel_f1_max": close(6 / 7),
        "aupro[limit=0.3]": close(2 / 3),
        "aupro[limit=0.5]": close(0.8),
        "aupro[limit=1]": close(0.9),
    }
    value, per_region = anomaly.per_region_overlap_auc(SCORES, MASKS)
    assert value == close(2 / 3)
    np.testing.assert_allclose(per_region, [1, 1 / 3], atol=1e-12)
    assert anomaly.f1_max(SCORES.ravel(), MASKS.ravel()) == (close(6 / 7), 0.6)
    assert anomaly.roc_auc_score(SCORES.ravel(), MASKS.ravel()) == close(14 / 15)
    assert anomaly.average_precision_score(SCORES.ravel(), MASKS.ravel()) == close(11 / 12)


def test_four_images() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert anomaly.image_columns(scores, labels) == {
        "image_auroc": close(0.75),
        "image_ap": close(5 / 6),
        "image_f1_max": close(0.8),
    }
    assert anomaly.f1_max(scores, labels)[1] == 0.35


@pytest.mark.parametrize("prevalence", [0.25, 0.5])
def test_a_constant_map(prevalence: float) -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks.reshape(2, -1)[:, : int(16 * prevalence)] = True
    found = anomaly.pixel_scores(np.full(masks.shape, 0.7, "f4"), masks)
    assert found["pixel_auroc"] == 0.5
    assert found["pixel_ap"] == close(prevalence)  # a trapezoid over recall would give (1 + p) / 2
    assert found["pixel_f1_max"] == close(2 * prevalence / (1 + prevalence))
    assert found["aupro[limit=0.3]"] == close(0.15)
    assert found["aupro[limit=0.05]"] == close(0.025)


def test_perfect_and_opposite_maps() -> None:
    truth = MASKS.astype("f4")
    assert set(anomaly.pixel_scores(truth, MASKS).values()) == {1.0}
    opposite = anomaly.pixel_scores(-truth, MASKS)
    assert opposite["pixel_auroc"] == 0  # and not 1: nothing is flipped
    assert opposite["aupro[limit=0.3]"] == 0


def test_small_and_large_regions_count_alike_in_aupro_only() -> None:
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 0, 0] = masks[0, 5:16, 5:14] = True
    scores = np.where(masks, -1.0, 0.0)
    scores[0, 0, 0] = 1
    found = anomaly.pixel_scores(scores, masks)
    assert found["aupro[limit=0.3]"] == close(0.5)
    assert found["pixel_auroc"] == close(0.01)


def test_diagonal_neighbours_join_with_eight_only() -> None:
    masks = np.zeros((1, 4, 5), bool)
    masks[0, [0, 1, 1, 1], [0, 1, 2, 3]] = True
    scores = np.where(masks, 2.0, 1.0)
    scores[0, 0, 0] = 0
    for connectivity, count, value in ((8, 1, 0.75), (4, 2, 0.5)):
        assert anomaly.label_regions(masks, connectivity=connectivity)[1] == count
        assert anomaly.per_region_overlap_auc(scores, masks, connectivity=connectivity)[0] == close(value)


def test_ties_across_the_limit() -> None:
    scores, masks = np.zeros((1, 1, 11)), np.zeros((1, 1, 11), bool)
    scores[0, 0, :5], masks[0, 0, 0] = 1, True  # four of ten normal pixels tied with the anomalous one
    assert anomaly.pixel_scores(scores, masks)["aupro[limit=0.3]"] == close(0.375)
    assert anomaly.per_region_overlap_auc(scores, masks)[0] == close(0.375)
    assert anomaly.roc_auc_score(scores.ravel(), masks.ravel(), max_fpr=0.3) == close(0.375)


def test_scores_beyond_one_are_not_squashed() -> None:
    assert anomaly.roc_auc_score(np.array([20.0, 30, 40, 50]), np.array([0, 1, 0, 1])) == 0.75


def test_the_sign_of_zero_is_no_difference() -> None:
    scores, labels = np.array([0.0, -0.0, -0.0, 0.0], "f4"), np.array([1, 0, 1, 0])
    assert anomaly.roc_auc_score(scores, labels) == 0.5
    assert anomaly.average_precision_score(scores, labels) == 0.5


# ----------------------------------------------------------------------------------------------------- regions
def test_regions_never_join_across_images_or_row_ends() -> None:
    masks = np.zeros((3, 2, 3), bool)
    masks[0, 1], masks[1, 0] = True, True  # the last row of one image, the first of the next
    masks[2, 0, 2] = masks[2, 1, 0] = True  # the end of a row and the start of the next
    labels, count = anomaly.label_regions(masks)
    assert count == 4
    assert labels.dtype == np.int32
    assert labels.reshape(-1)[masks.ravel()].tolist() == [1, 1, 1, 2, 2, 2, 3, 4]
    np.testing.assert_array_equal(anomaly.rank_pixels(masks * 1.0, masks).images, [0, 1, 2, 2])
    assert anomaly.label_regions(np.zeros((2, 3, 3), bool))[1] == 0


@pytest.mark.parametrize("connectivity", [4, 8])
def test_regions_are_those_of_scipy(connectivity: int) -> None:
    from scipy import ndimage

    structure = np.zeros((3, 3, 3), bool)
    structure[1] = ndimage.generate_binary_structure(2, connectivity // 4)
    rng = np.random.default_rng(0)
    for density in (0.02, 0.2, 0.4, 0.6, 0.9, 1.0):
        masks = rng.random((5, 17, 13)) < density
        expected, count = ndimage.label(masks, structure)
        labels, found = anomaly.label_regions(masks, connectivity=connectivity)
        assert found == count
        np.testing.assert_array_equal(labels, expected)


# -------------------------------------------------------------------------------------------------- degenerate
def test_undefined_values_are_nan_with_a_reason() -> None:
    scores = np.arange(8.0).reshape(1, 2, 4)
    for masks, reason in ((np.zeros, "nothing anomalous"), (np.ones, "nothing normal")):
        ranked = anomaly.rank_pixels(scores, masks(scores.shape, bool))
        assert ranked.reason == reason
        columns = ranked.columns()
        assert all(math.isnan(columns[name]) for name in ("pixel_auroc", "aupro[limit=0.3]", "aupro[limit=0.05]"))
        assert columns["pixel_ap"] == pytest.approx(math.nan if masks is np.zeros else 1, nan_ok=True)
    assert anomaly.rank_pixels(SCORES, MASKS).reason == ""
    value, per_region = anomaly.per_region_overlap_auc(scores, np.zeros(scores.shape, bool))
    assert math.isnan(value)
    assert per_region.shape == (0,)
    assert math.isnan(anomaly.per_region_overlap_auc(scores, np.ones(scores.shape, bool))[0])
    for labels in (np.zeros(8, int), np.ones(8, int)):
        assert all(math.isnan(v) for v in anomaly.image_columns(scores.ravel(), labels).values())
    assert all(math.isnan(v) for v in anomaly.f1_max(scores.ravel(), np.zeros(8, bool)))


def test_errors() -> None:
    labels = np.array([0, 1])
    with pytest.raises(NonFinite, match=r"1 NaN or infinite values, the first at index \(1,\)"):
        anomaly.roc_auc_score(np.array([0.0, np.nan]), labels)
    with pytest.raises(NonFinite, match=r"\(0, 1, 2\)"):
        anomaly.pixel_scores(np.where(np.arange(8).reshape(1, 2, 4) == 6, np.inf, SCORES), MASKS)
    with pytest.raises(ShapeMismatch, match=r"\(1, 2, 4\) and masks \(1, 2, 3\)"):
        anomaly.pixel_scores(SCORES, MASKS[..., 1:])
    with pytest.raises(ShapeMismatch, match="values other than 0 and 1"):
        anomaly.pixel_scores(SCORES, MASKS.astype("u1") * 255)
    with pytest.raises(ShapeMismatch, match="expected numbers"):
        anomaly.roc_auc_score(np.array(["a", "b"]), labels)
    for empty in (np.empty(0), np.empty((0, 4, 4))):
        metric = anomaly.roc_auc_score if empty.ndim == 1 else anomaly.pixel_scores
        with pytest.raises(EmptyInput):
            metric(empty, empty.astype(bool))
    for limit in (0.0, 1.01, math.nan):
        with pytest.raises(OutOfRange, match="outside"):
            anomaly.per_region_overlap_auc(SCORES, MASKS, fpr_limit=limit)
    with pytest.raises(UnknownOption, match="Did you mean 4 or 8"):
        anomaly.label_regions(MASKS, connectivity=6)
    ranked = anomaly.rank_pixels(SCORES, MASKS, limit=0.3)
    with pytest.raises(OutOfRange, match=r"exact up to the rate 0\.3"):
        ranked.overlap_auc(0.5)
    with pytest.raises(OutOfRange, match="exact up to"):
        ranked.pixels.average_precision()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i4", "i8"])
def test_dtypes_and_tensors(dtype: str) -> None:
    scores = np.rint(SCORES * 20).astype(dtype)
    expected = anomaly.pixel_scores(scores.astype("f8"), MASKS)
    assert anomaly.pixel_scores(scores, MASKS) == expected
    assert anomaly.pixel_scores(torch.from_numpy(scores), torch.from_numpy(MASKS)) == expected
    assert anomaly.pixel_scores(np.asfortranarray(scores), MASKS.astype("u1")) == expected
    assert anomaly.pixel_scores(scores[:, ::-1], MASKS[:, ::-1]) == expected
    single = torch.from_numpy(SCORES).bfloat16()
    assert anomaly.pixel_scores(single, MASKS) == anomaly.pixel_scores(single.float(), MASKS)


# ------------------------------------------------------------------------------------------------ image scores
def test_image_score_rules() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, 9, 7)).astype("f4")
    flat = maps.reshape(3, -1).astype("f8")
    windows = np.lib.stride_tricks.sliding_window_view(maps.astype("f8"), (4, 4), axis=(1, 2))
    expected = {
        "max": flat.max(1),
        "mean": flat.mean(1),
        "std": flat.std(1),
        "topk": np.sort(flat, axis=1)[:, -6:].mean(1),
        "pooled_max": windows.mean((-1, -2)).max((1, 2)),
    }
    for rule, values in expected.items():
        found = anomaly.image_score(torch.from_numpy(maps), rule=rule, window=4, top=0.1)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, values, atol=1e-12)
    np.testing.assert_allclose(anomaly.image_score(maps, rule="pooled_max"), flat.mean(1), atol=1e-12)
    np.testing.assert_allclose(anomaly.image_score(maps, rule="topk", top=1e-6), flat.max(1))


def test_image_score_errors() -> None:
    with pytest.raises(UnknownOption, match="pooled_max, max, mean, topk, std"):
        anomaly.image_score(SCORES, rule="median")
    with pytest.raises(OutOfRange, match="window 0"):
        anomaly.image_score(SCORES, rule="pooled_max", window=0)
    with pytest.raises(ShapeMismatch, match="expected"):
        anomaly.image_score(SCORES[0], rule="max")
    with pytest.raises(NonFinite):
        anomaly.image_score(np.full((1, 2, 2), np.nan), rule="max")


# --------------------------------------------------------------------------------------------- over categories
def test_category_means_leave_nan_out_and_name_it() -> None:
    columns = {"weave": {"a": 0.5, "b": 1.0}, "rings": {"a": math.nan, "b": 0.5}, "gear": {"a": 0.7}}
    means = anomaly.category_means(columns)
    assert means["a"] == anomaly.CategoryMean(close(0.6), 3, ("rings",))
    assert means["b"] == anomaly.CategoryMean(0.75, 3, ("gear",))
    assert math.isnan(anomaly.category_means({"weave": {"a": math.nan}})["a"].value)
    with pytest.raises(EmptyInput):
        anomaly.category_means({})


def test_mean_of_seven() -> None:
    columns = {name: 0.1 * i for i, name in enumerate(anomaly.MEAN7, 1)}
    assert anomaly.mean_of_seven({**columns, "aupro[limit=0.05]": 0.9}) == close(0.4)
    assert math.isnan(anomaly.mean_of_seven({**columns, "pixel_ap": math.nan}))
    assert math.isnan(anomaly.mean_of_seven({}))


def test_column_names_come_from_the_cards() -> None:
    cards = {card.name: card for card in anomaly.CARDS}
    names = [*anomaly.image_columns(np.zeros(2), np.array([0, 1])), *anomaly.pixel_scores(SCORES, MASKS)]
    for name in (*names, *anomaly.MEAN7, "aupro[limit=0.3|defect=hole]", "image_auroc[category=weave]"):
        parsed = parse_column(name)
        assert column_name(cards[parsed.metric], parsed.space, parsed.protocol) == name


# --------------------------------------------------------------------------------------------------- streaming
def test_curves_refuse_what_does_not_fit() -> None:
    curve = ScoreCurve(n_normal=5)
    with pytest.raises(EmptyInput):
        curve.compute()
    curve.update(SCORES, MASKS)
    assert curve.compute() == {"aupro[limit=0.3]": close(2 / 3), "aupro[limit=0.05]": close(0.5)}
    with pytest.raises(CountMismatch, match="10 normal pixels, announced were 5"):
        curve.update(SCORES, MASKS)
    assert curve.compute()["aupro[limit=0.3]"] == close(2 / 3)  # the refused batch left no trace
    with pytest.raises(ProtocolMismatch):
        curve.merge(ScoreCurve())
    curve.reset()
    with pytest.raises(EmptyInput):
        curve.compute()


def test_histograms_refuse_what_does_not_fit() -> None:
    histogram = ScoreHistogram(np.array([0.25, 0.5]))
    with pytest.raises(EmptyInput):
        histogram.compute()
    with pytest.raises(ShapeMismatch, match="ascend"):
        ScoreHistogram(np.array([0.5, 0.5]))
    with pytest.raises(ProtocolMismatch):
        histogram.merge(ScoreHistogram(np.array([0.25, 0.6])))
    with pytest.raises(OutOfRange):
        quantile_edges(SCORES.ravel(), 1)
    histogram.update(SCORES, MASKS)
    again = ScoreHistogram(np.array([0.25, 0.5]))
    again.load_state_dict(histogram.state_dict())
    assert again.compute() == histogram.compute()
    with pytest.raises(UnknownOption, match="pixel_ap"):
        histogram.refine(columns=("pixel_ap",))
    second = histogram.refine(columns=("aupro[limit=0.3]",))
    with pytest.raises(CountMismatch, match="the first pass had"):
        second.compute()
    second.update(SCORES, MASKS)
    assert second.compute() == {"aupro[limit=0.3]": close(2 / 3)}
    assert second.bound() == {"aupro[limit=0.3]": 0}


@pytest.mark.parametrize("kind", [ScoreCurve, lambda: ScoreHistogram(np.array([0.5]))])
def test_accumulators_without_anomalous_or_normal_pixels(kind: type) -> None:
    for masks in (np.zeros_like(MASKS), np.ones_like(MASKS)):
        accumulator = kind()
        accumulator.update(SCORES, masks)
        values = accumulator.compute()
        assert math.isnan(values["pixel_auroc"])
        assert math.isnan(values["aupro[limit=0.3]"])
        assert accumulator.per_sample() is None


def test_every_error_is_a_metric_error() -> None:
    with pytest.raises(MetricError, match="rank_pixels"):
        anomaly.rank_pixels(SCORES[0], MASKS[0])
