"""The segmentation protocol: columns against hand-made answers, pseudo-labels, references, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
from harness.types import Budget, Cell, ConfigError, Context, PseudoLabels, Scores
from suites.protocols import segmentation as protocol
from suites.protocols.generation.sheet import Sheet
from suites.protocols.segmentations import accuracy, pseudo, references, sheets

CLASSES, IGNORE = 8, 255


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(catalogue.spec("streets", tier="smoke", setting="uda"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def cell(dataset: Dataset) -> Cell:
    return Cell("s", "segmentation", "m", "smoke", 0, Budget("b", 8), dataset.spec, config={"batch_size": 2})


@pytest.fixture(scope="module")
def context(cell: Cell) -> Context:
    return devices.make_context(cell, torch.device("cpu"), "predict", 4)


class Seer:
    """Knows the truth of one split by heart; ``wrong`` rows of every image are given to class 0."""

    networks: Sequence[str] = ("student", "teacher")

    def __init__(self, dataset: Dataset, split: str, wrong: int = 0) -> None:
        view = dataset.split(split).view(("image", "label"))
        self.known = {
            np.asarray(image).tobytes(): np.asarray(label) for image, label in zip(*view.values(), strict=True)
        }
        self.wrong = wrong

    def segment(self, images: Tensor, network: str) -> Tensor:
        labels = torch.from_numpy(np.stack([self._label(image) for image in images])).long()
        labels[:, : self.wrong if network == "student" else 0] = 0
        return torch.nn.functional.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()

    def _label(self, image: Tensor) -> np.ndarray:
        pixels = ((image.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
        return np.where(self.known[pixels.tobytes()] == IGNORE, 0, self.known[pixels.tobytes()])


class Labeller(Seer):
    """Keeps the lower half of the picture, is sure of everything."""

    def pseudo_labels(self, images: Tensor) -> PseudoLabels:
        labels = self.segment(images, "student").argmax(1)
        kept = torch.zeros_like(labels, dtype=torch.bool)
        kept[:, labels.shape[1] // 2 :] = True
        return PseudoLabels(labels, torch.ones_like(labels, dtype=torch.float32), kept)

    def negatives(self, images: Tensor) -> tuple[Tensor, Tensor]:
        right = self.segment(images, "teacher").bool()
        return ~right, torch.ones_like(right[:, 0])


def scores_of(model: object, dataset: Dataset, cell: Cell, context: Context, curves: dict | None = None) -> Scores:
    predictions = protocol.predict(model, dataset, {}, context)  # type: ignore[arg-type]
    return protocol.score({**predictions, **(curves or {})}, dataset, {}, Path(), cell)


def test_a_perfect_segmenter_has_ones(dataset: Dataset, cell: Cell, context: Context) -> None:
    scores = scores_of(Seer(dataset, "test"), dataset, cell, context)
    values = [v for name, v in scores.metrics.items() if not name.startswith(("pl_", "unrel", "agree", "queue"))]
    assert values
    assert set(values) == {1.0}
    assert scores.notes["network"] == "student"


def test_columns_have_cards(dataset: Dataset, cell: Cell, context: Context) -> None:
    known = {card.name: set(card.protocol) for card in protocol.METRICS}
    for name in scores_of(Seer(dataset, "test"), dataset, cell, context).metrics:
        column = parse_column(name)
        assert set(column.protocol) <= known[column.metric], name


def test_the_shipped_network_is_scored_and_every_network_named(dataset: Dataset, cell: Cell, context: Context) -> None:
    scores = scores_of(Seer(dataset, "test", wrong=10), dataset, cell, context)
    assert scores.metrics["miou"] == scores.metrics["miou[network=student]"] < 1
    assert scores.metrics["miou[network=teacher]"] == 1
    matrices = scores.per_sample["confusion"]
    assert matrices.shape == (dataset.spec.splits["test"], CLASSES, CLASSES)
    truth = np.asarray(dataset.split("test").view(("label",))["label"])
    assert matrices.sum() == (truth != IGNORE).sum()
    right = np.trace(matrices.sum(0)) / matrices.sum()
    assert scores.metrics["pixel_acc"] == pytest.approx(right, abs=1e-12)


def test_head_and_tail_split_at_five_percent() -> None:
    sheet = Sheet()
    matrix = np.diag([90, 6, 2])
    matrix[2, 0] = 2
    accuracy.score_matrices(sheet, {"": matrix}, ("a", "b", "c"))
    assert sheet.metrics["miou[classes=head]"] == pytest.approx((90 / 92 + 1) / 2)
    assert sheet.metrics["miou[classes=tail]"] == pytest.approx(0.5)
    assert sheet.metrics["iou[class=c]"] == pytest.approx(0.5)
    assert "miou[network=]" not in sheet.metrics


def test_classes_that_synthia_lacks_are_left_out_of_its_mean() -> None:
    names, matrix = tuple(f"c{k}" for k in range(19)), np.diag(np.full(19, 10))
    matrix[[9, 14, 16]] = 0
    matrix[9, 8] = 10  # terrain, called vegetation
    columns = {}
    for evaluated in (19, 16):
        sheet = Sheet()
        accuracy.score_matrices(sheet, {"": matrix}, names, evaluated)
        columns[evaluated] = sheet.metrics
    assert columns[16]["miou"] == columns[16]["miou[classes=16]"] == pytest.approx(15.5 / 16)
    assert columns[19]["miou"] == pytest.approx(15.5 / 17)
    assert columns[19]["miou[classes=13]"] == pytest.approx(12.5 / 13)
    assert columns[19]["miou[classes=16|missing=ignore]"] == 1


def test_pseudo_labels_are_judged_on_fixed_unlabelled_images(dataset: Dataset, context: Context) -> None:
    split = dataset.split("unlabelled")
    rows = pseudo.probed_rows(split, 5)
    assert len(rows) == 5
    assert (rows[0], rows[-1]) == (0, len(split) - 1)
    measured = pseudo.measure(Labeller(dataset, "unlabelled", wrong=6), split, 5, CLASSES, IGNORE, context)
    truth = np.asarray(split.view(("label",))["label"][rows])
    valid = truth != IGNORE
    right = truth.copy()
    right[:, :6] = 0
    half = np.zeros_like(valid)
    half[:, truth.shape[1] // 2 :] = True
    assert measured["pl_acc"] == pytest.approx((right == truth)[valid].mean())
    assert measured["pl_kept_acc"] == 1.0
    assert measured["pl_coverage"] == pytest.approx((valid & half).sum() / valid.sum())
    assert measured["unreliable_error"] == pytest.approx((right != truth)[valid & ~half].mean())
    assert measured["pl_ece"] == pytest.approx(1 - measured["pl_acc"])
    assert 0 < measured["agreement"] < 1
    assert measured["queue_fnr"] == 0
    wrong = (measured["pl_acc"] - 1) * -1  # a wrong label leaves the true class among the seven others
    assert 0.5 * wrong / (CLASSES - 1) < measured["queue_fnr_any"] < 1.5 * wrong / (CLASSES - 1)


def test_a_segmenter_that_labels_nothing_has_its_own_curve_only(dataset: Dataset, context: Context) -> None:
    measured = pseudo.measure(Seer(dataset, "unlabelled"), dataset.split("unlabelled"), 4, CLASSES, IGNORE, context)
    assert measured == {"miou": 1.0}


class Labels:
    """A data set of one split, ``label`` uint8 [N,H,W] below grey images."""

    fields = ("image", "label")

    def __init__(self, label: np.ndarray) -> None:
        self.held = {"image": np.zeros((*label.shape, 3), np.uint8), "label": label}

    def __len__(self) -> int:
        return len(self.held["label"])

    def split(self, name: str) -> Labels:
        return self

    def view(self, fields: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: self.held[name] for name in fields}


def test_unlabelled_images_with_nothing_but_ignored_pixels_have_no_curves(dataset: Dataset, context: Context) -> None:
    blank = Labels(np.full((2, 4, 8), IGNORE, np.uint8))
    assert pseudo.measure(Labeller(dataset, "unlabelled"), blank, 2, CLASSES, IGNORE, context) == {}


def test_the_stride_oracle_takes_pictures_of_odd_height() -> None:
    label = np.random.default_rng(0).integers(0, CLASSES, (2, 5, 7), np.uint8)
    counted = references.reference("oracle:stride", Labels(label), CLASSES, IGNORE)
    said = label[:, [1, 1, 3, 3, 4]][:, :, [1, 1, 3, 3, 5, 5, 6]]
    expected = np.zeros((2, CLASSES, CLASSES), np.int64)
    for image, (truth, found) in enumerate(zip(label, said, strict=True)):
        np.add.at(expected[image], (truth, found), 1)
    assert np.array_equal(counted, expected)


def test_quarters_of_a_curve() -> None:
    sheet, step = Sheet(), np.arange(1, 9) * 10.0
    rising = np.arange(8) / 10
    names = (*pseudo.CURVES, "queue_fnr")
    pseudo.score_curves(sheet, {"probe_step": step} | {f"probe_{name}": rising for name in names})
    assert [sheet.metrics[f"pl_acc[quarter={k}]"] for k in (1, 2, 3, 4)] == pytest.approx([0.05, 0.25, 0.45, 0.65])
    assert sheet.metrics["pl_acc"] == pytest.approx(0.35)
    assert sheet.metrics["queue_fnr"] == pytest.approx(0.55)
    assert math.isnan(sheet.metrics["queue_fnr[negatives=any]"])
    assert sheet.notes["queue_fnr[negatives=any]"] == pseudo.NO_NEGATIVES


def test_a_method_without_pseudo_labels_says_so(dataset: Dataset, cell: Cell, context: Context) -> None:
    scores = scores_of(
        Seer(dataset, "test"), dataset, cell, context, {"probe_step": np.ones(1), "probe_miou": np.ones(1)}
    )
    assert math.isnan(scores.metrics["pl_acc"])
    assert scores.notes["pl_acc"] == pseudo.NO_LABELS
    assert "probe_miou" in scores.per_sample


def test_references(dataset: Dataset, cell: Cell) -> None:
    rows = {}
    for name in ("floor:majority", "floor:position", "oracle:stride"):
        reference = replace(cell, method=name)
        predictions = protocol.predict_reference(name, dataset, {}, 0)
        rows[name] = protocol.score(predictions, dataset, {}, Path(), reference).metrics
    assert rows["floor:majority"]["miou"] < rows["floor:position"]["miou"] < rows["oracle:stride"]["miou"] < 1
    assert not any(name.startswith("pl_") for name in rows["floor:majority"])
    labelled = np.asarray(dataset.split("labelled").view(("label",))["label"])
    frequent = np.bincount(labelled[labelled != IGNORE], minlength=CLASSES).argmax()
    truth = np.asarray(dataset.split("test").view(("label",))["label"])
    assert rows["floor:majority"]["pixel_acc"] == pytest.approx((truth[truth != IGNORE] == frequent).mean())
    with pytest.raises(ConfigError, match="unknown reference"):
        references.reference("floor:colour", dataset, CLASSES, IGNORE)


def test_the_picture_shows_what_was_said(dataset: Dataset, cell: Cell, context: Context) -> None:
    split = dataset.split("test")
    plain = scores_of(Seer(dataset, "test"), dataset, cell, context).pictures["predictions"]
    height = 64 if dataset.spec.resolution * 2 < 64 else dataset.spec.resolution
    lines = plain.shape[0] // 3
    assert plain.shape[0] == 3 * lines
    assert lines >= height // 2
    rows = sheets.shown_rows(split, IGNORE)
    assert len(rows) == sheets.SHOWN
    truth, said = plain[lines : 2 * lines], plain[2 * lines :]
    assert ((truth == said).all(-1) | (truth == 0).all(-1)).all()
    labeller = Labeller(dataset, "test")
    assert scores_of(labeller, dataset, cell, context).pictures["predictions"].shape[0] == 5 * lines


def test_published_images_are_not_copied(dataset: Dataset, cell: Cell, context: Context) -> None:
    predictions = protocol.predict(Seer(dataset, "test"), dataset, {}, context)
    published = Dataset(replace(dataset.spec, name="folder/cityscapes"), dataset.split)
    assert protocol.score(predictions, published, {}, Path(), cell).pictures == {}
