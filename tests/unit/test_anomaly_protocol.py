"""The anomaly protocol: columns against hand-made truth, the numbers of copying, references and overlays."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.views import Dataset
from harness.metrics.card import parse_column
from harness.running import devices
from harness.types import AnomalyMaps, Budget, Cell, Context, Unsupported
from suites.protocols import anomaly
from suites.protocols.anomalies import copying, detection, overlays, references
from suites.protocols.generation.sheet import Sheet


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    spec = catalogue.spec("defects", tier="smoke", categories=2)
    return open_dataset(spec, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def context(dataset: Dataset) -> Context:
    cell = Cell("s", "anomaly", "m", "smoke", 0, Budget("b", 8), dataset.spec, config={"batch_size": 2})
    return devices.make_context(cell, torch.device("cpu"), "predict", 4)


class Rebuilder:
    """Pools images to 4 x 4 cells as features; rebuilds what ``copies`` of them says, the rest as zero."""

    separate = False

    def __init__(self, copies: float) -> None:
        self.copies = copies

    def features(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 4)

    def reconstruct(self, features: Tensor, categories: Tensor | None) -> Tensor:
        assert categories is None, "a unified model was shown labels"
        return features * self.copies

    def anomaly(self, images: Tensor, categories: Tensor | None) -> AnomalyMaps:
        maps = images.square().mean(1)
        return AnomalyMaps(maps.amax((1, 2)), maps)


def made_truth(whole: bool = False) -> detection.Truth:
    """Two categories of three 8 x 8 images: good, a hole of 2 x 2, a scratch of 1 x 6."""
    masks = np.zeros((6, 8, 8), bool)
    masks[[1, 4], 2:4, 2:4] = True
    masks[[2, 5], 6, 1:7] = True
    group, defect = np.repeat([0, 1], 3), np.array([0, 1, 2, 0, 1, 2])
    return detection.Truth(masks, group, defect, ("weave", "nut"), ("good", "hole", "scratch"), whole)


def scored(scores: np.ndarray, maps: np.ndarray, truth: detection.Truth) -> Sheet:
    sheet = Sheet()
    detection.score_detection(sheet, scores.astype(np.float32), maps.astype(np.float32), truth)
    return sheet


def test_a_perfect_detector_has_ones_everywhere() -> None:
    truth = made_truth()
    sheet = scored(truth.anomalous, truth.masks, truth)
    assert {column for column, value in sheet.metrics.items() if math.isnan(value)} == {
        f"{metric}[{limit}size={size}]"
        for metric, limit in (("pixel_auroc", ""), ("aupro", "limit=0.3|"))
        for size in ("small", "medium")
    }
    assert {value for value in sheet.metrics.values() if not math.isnan(value)} == {1.0}
    named = {parse_column(name).metric for name in sheet.metrics}
    assert named == {card.name for card in anomaly.metrics.CARDS}
    for name in ("image_auroc[defect=hole]", "pixel_auroc[defect=scratch]", "aupro[limit=0.3|category=nut]"):
        assert sheet.metrics[name] == 1.0


def test_means_are_unweighted_over_categories_and_pooled_values_are_not_means() -> None:
    truth = made_truth()
    scores = np.array([0.0, 1.0, 2.0, 13.0, 11.0, 12.0])  # the second category is upside down and higher
    sheet = scored(scores, truth.masks, truth)
    assert sheet.metrics["image_auroc[category=weave]"] == 1.0
    assert sheet.metrics["image_auroc[category=nut]"] == 0.0
    assert sheet.metrics["image_auroc"] == 0.5
    assert sheet.metrics["pooled_image_auroc"] == pytest.approx(4 / 8)


def test_a_category_without_good_images_is_left_out_and_named() -> None:
    truth = made_truth()
    truth = detection.Truth(
        truth.masks[1:], truth.group[1:], truth.defect[1:], truth.groups, truth.defects, truth.whole
    )
    sheet = scored(np.arange(5.0), truth.masks, truth)
    assert "weave" in sheet.notes["image_auroc"]
    assert not math.isnan(sheet.metrics["image_auroc"])
    assert sheet.metrics["image_auroc"] == sheet.metrics["image_auroc[category=nut]"]


def test_where_whole_images_are_anomalous_there_is_one_group_and_no_localisation() -> None:
    truth = made_truth()
    whole = detection.Truth(
        np.repeat(truth.anomalous, 64).reshape(6, 8, 8),
        np.zeros(6, np.int64),
        truth.defect,
        ("all",),
        truth.defects,
        True,
    )
    sheet = scored(truth.anomalous, truth.masks, whole)
    assert sheet.metrics["image_auroc"] == 1.0
    assert math.isnan(sheet.metrics["pooled_pixel_auroc"])
    assert "pixel_auroc" not in sheet.metrics
    assert overlays.overlays(None, truth.masks.astype(np.float32), whole) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("copies", "low", "high"), [(1.0, 0.0, 0.0), (0.9, 0.0, 0.5)])
def test_a_network_that_copies_has_a_small_shortcut_ratio(
    copies: float, low: float, high: float, dataset: Dataset, context: Context
) -> None:
    measured = anomaly.probe(Rebuilder(copies), dataset, {}, context)
    assert low <= measured["shortcut_ratio"] <= high
    assert 0.0 <= measured["image_auroc"] <= 1.0


def test_the_ideal_network_rebuilds_the_twin() -> None:
    errors = {"to_input": np.array([2.0, np.nan]), "to_twin": np.array([0.5, np.nan]), "good": np.array([np.nan, 0.25])}
    found = copying.copying(errors)
    assert found == {"shortcut_ratio": 4.0, "error_defect": 2.0, "error_good": 0.25, "error_ratio": 8.0}


def test_curves_give_peak_fall_and_whether_the_loss_kept_falling() -> None:
    sheet = Sheet()
    curve = np.array([0.5, 0.9, 0.8])
    losses = np.array([1.0, 0.5, 0.25])
    copying.score_curves(
        sheet, {"probe_image_auroc": curve, "probe_pixel_auroc": curve, "probe_loss": losses, "maps": np.zeros(3)}
    )
    assert sheet.metrics["pixel_auroc_peak"] == 0.9
    assert sheet.metrics["pixel_auroc_fall"] == pytest.approx(0.1)
    assert sheet.metrics["loss_after_peak"] == 0.5
    assert set(sheet.per_sample) == {"probe_image_auroc", "probe_pixel_auroc", "probe_loss"}


def test_a_detector_without_reconstruction_lacks_the_numbers_of_copying() -> None:
    sheet = Sheet()
    copying.score_copying(sheet, {})
    copying.score_curves(sheet, {"probe_step": np.arange(2.0)})
    assert all(math.isnan(sheet.metrics[name]) for name in (*copying.COPYING, *copying.CURVES))
    assert sheet.notes["shortcut_ratio"] == copying.NO_RECONSTRUCTION


def test_one_model_per_category_cannot_judge_other_classes(context: Context, tmp_path: Path) -> None:
    spec = catalogue.spec("defects", tier="smoke", categories=2, task="semantic")
    semantic = open_dataset(spec, tmp_path)
    with pytest.raises(Unsupported, match="twins"):
        references.reference("oracle:clean_twin", semantic, 0)
    model = Rebuilder(0.5)
    assert "errors_to_twin" not in anomaly.predict(model, semantic, {}, context)
    model.separate = True
    with pytest.raises(Unsupported, match="per category"):
        anomaly.predict(model, semantic, {}, context)


def test_predictions_are_scored_to_the_declared_columns(dataset: Dataset, context: Context, tmp_path: Path) -> None:
    predictions = anomaly.predict(Rebuilder(0.5), dataset, {}, context)
    assert predictions["maps"].shape == (len(dataset.split("test")), 32, 32)
    cell = Cell("s", "anomaly", "m", "smoke", 0, Budget("b", 8), dataset.spec)
    made = anomaly.score(predictions, dataset, {}, tmp_path, cell)
    known = {card.name: card for card in anomaly.METRICS}
    for column, value in made.metrics.items():
        low, high = known[parse_column(column).metric].range
        assert math.isnan(value) or low <= value <= high, column
    assert "features" not in made.notes
    text = np.frombuffer(b"proc-features 0123", np.uint8)
    noted = anomaly.score({**predictions, "features": text}, dataset, {}, tmp_path, cell).notes
    assert noted["features"] == "proc-features 0123"
    assert made.pictures["overlays"].dtype == np.uint8
    assert made.pictures["overlays"].shape[0] % 3 == 0


def test_references_bound_the_range(dataset: Dataset) -> None:
    truth = detection.truth_of(dataset.split("test"))
    values = {}
    for name in ("floor:random", "floor:pixel_gaussian", "oracle:clean_twin"):
        made = references.reference(name, dataset, 0)
        values[name] = scored(made["scores"], made["maps"], truth).metrics
    assert values["oracle:clean_twin"]["image_auroc"] == 1.0
    assert values["oracle:clean_twin"]["pixel_auroc"] > 0.99
    assert 0.3 < values["floor:random"]["pixel_auroc"] < 0.7


def test_an_unknown_reference_and_data_without_twins_are_refused(dataset: Dataset) -> None:
    with pytest.raises(Exception, match="floor:nothing"):
        references.reference("floor:nothing", dataset, 0)

    class Bare:
        def split(self, name: str) -> Bare:
            return self

        fields = ("image", "mask")

    with pytest.raises(Unsupported, match="twins"):
        references.reference("oracle:clean_twin", Bare(), 0)  # type: ignore[arg-type]


def test_overlays_show_the_same_images_whatever_the_maps(dataset: Dataset) -> None:
    split = dataset.split("test")
    truth = detection.truth_of(split)
    maps = np.random.default_rng(0).random((2, *truth.masks.shape), np.float32)
    first, second = (overlays.overlays(split, m, truth) for m in maps)
    assert first is not None
    assert second is not None
    upper = 2 * first.shape[0] // 3
    assert np.array_equal(first[:upper], second[:upper])
    assert not np.array_equal(first[upper:], second[upper:])
