"""Scores of folders of label images: known values, names that fit, and one clear error for everything else."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness.label_folders import find_pairs
from harness.segmentation_scoring import SegmentationScores, score_folders, settings, table, to_csv, to_json
from harness.types import ConfigError, DataError
from tests.cityscapes_tree import put


def scored(root: Path, **words: str | int) -> SegmentationScores:
    return score_folders(root / "pred", root / "target", settings(**{"classes": 3, **words}))  # type: ignore[arg-type]


def write(root: Path, truth: list[list[int]], preds: list[list[int]], palette: bool = False) -> Path:
    """One image of one row per list."""
    for k, (wanted, found) in enumerate(zip(truth, preds, strict=True)):
        put(root / "target" / f"{k}.png", np.array([wanted], np.uint8), palette=palette)
        put(root / "pred" / f"{k}.png", np.array([found], np.uint8))
    return root


@pytest.mark.parametrize("palette", [False, True])
def test_the_oracle_of_both_conventions(tmp_path: Path, palette: bool) -> None:
    write(tmp_path, [[0, 0], [1, 1]], [[0, 1], [1, 1]], palette)
    scores = scored(tmp_path, names="a+b+c")
    assert scores.columns["miou"] == pytest.approx(7 / 12)
    assert scored(tmp_path, absent="zero").columns["miou[absent=zero]"] == pytest.approx(7 / 18)
    assert scores.columns["pixel_acc"] == 0.75
    assert scores.matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scores.notes == ("in neither truth nor prediction, left out of the mean: c",)


def test_ignored_pixels_count_nowhere(tmp_path: Path) -> None:
    write(tmp_path, [[0, 0, 1, 255]], [[0, 1, 1, 2]])
    scores = scored(tmp_path)
    assert scores.columns["miou"] == pytest.approx(0.5)
    assert scores.matrix.sum() == 3


@pytest.mark.parametrize(("missing", "expected"), [(None, 2 / 16), ("row", 2 / 16), ("ignore", 2.5 / 16)])
def test_subsets_keep_or_drop_other_truth(tmp_path: Path, missing: str | None, expected: float) -> None:
    words = {} if missing is None else {"missing": missing}
    # Truth 0, 0, 1 and a truck (14, which the list of 16 lacks); prediction 0, 1, 1, 1.
    write(tmp_path, [[0, 0, 1, 14, 14]], [[0, 0, 1, 1, 255]])
    with pytest.raises(DataError, match="label 255"):
        scored(tmp_path, classes=19, subset=16, absent="zero", **words)
    write(tmp_path, [[0, 0, 1, 14, 255]], [[0, 1, 1, 1, 255]])
    scores = scored(tmp_path, classes=19, subset=16, absent="zero", **words)
    ious = (1 / 2, 1 / 2 if missing == "ignore" else 1 / 3)
    assert next(iter(scores.columns.values())) == pytest.approx(sum(ious) / 16)
    name = "miou[classes=16|missing=ignore|absent=zero]" if missing == "ignore" else "miou[classes=16|absent=zero]"
    assert name in scores.columns
    assert "sidewalk *" in table(scores)
    assert "truck *" not in table(scores)
    shown = {row["name"]: row["iou"] for row in csv.DictReader(io.StringIO(to_csv(scores).decode()))}
    assert float(shown["sidewalk"]) == pytest.approx(ious[1])  # the IoUs shown are those of the mean


def test_one_matrix_and_no_mean_of_images(tmp_path: Path) -> None:
    write(tmp_path, [[0] * 8, [1]], [[0] * 8, [0]])
    assert scored(tmp_path).columns["miou"] == pytest.approx((8 / 9 + 0) / 2)


def test_images_without_a_pixel_that_counts_are_said_and_never_zero(tmp_path: Path) -> None:
    write(tmp_path, [[0, 1], [255, 255]], [[0, 1], [2, 2]])
    scores = scored(tmp_path)
    assert scores.columns["miou"] == 1
    assert "1 label images hold only the ignored label and add nothing, the first is 1" in scores.notes
    put(tmp_path / "target" / "0.png", np.full((1, 2), 255, np.uint8))
    with pytest.raises(DataError, match=r"no pixel counts: all of 2 label images.*ignore="):
        scored(tmp_path)


def test_files_say_the_same_as_the_table(tmp_path: Path) -> None:
    write(tmp_path, [[0, 0, 1]], [[0, 1, 1]])
    scores = scored(tmp_path, names="sky+ground+car")
    lines = list(csv.DictReader(io.StringIO(to_csv(scores).decode())))
    assert [line["name"] for line in lines[:3]] == ["sky", "ground", "car"]
    assert [line["iou"] for line in lines[:3]] == ["0.5", "0.5", ""]
    assert {line["name"]: line["value"] for line in lines[3:]}["miou"] == "0.5"
    content = json.loads(to_json(scores))
    assert content["classes"]["car"] == {"iou": None, "acc": None}
    assert content["matrix"] == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert content["facts"]["images"] == 1
    for part in ("sky", "66.67", "0.5000", "n/a", "1 images, 3 pixels; label 255 ignored; mean over all classes"):
        assert part in table(scores)
    assert math.isnan(scores.columns["miou[classes=tail]"])


def test_cityscapes_names_fit_whatever_follows_the_frame(tmp_path: Path) -> None:
    value = np.array([[7, 0]], np.uint8)
    for kind in ("labelIds", "instanceIds", "color"):
        put(tmp_path / "target" / "bad-honnef" / f"bad-honnef_000001_000019_gtFine_{kind}.png", value)
    put(tmp_path / "pred" / "bad-honnef_000001_000019_leftImg8bit_pred.png", value * 0)
    with pytest.raises(DataError, match=r"no files _gtFine_labelTrainIds\.png, but color, instanceIds, .*ids=labelIds"):
        scored(tmp_path, classes=19)
    scores = scored(tmp_path, classes=19, ids="labelIds")
    assert (scores.columns["pixel_acc"], scores.matrix.sum()) == (1, 1)
    put(tmp_path / "target" / "bad-honnef" / "bad-honnef_000001_000019_gtFine_labelTrainIds.png", value * 0)
    assert scored(tmp_path, classes=19).matrix.sum() == 2


def test_equal_paths_fit_first(tmp_path: Path) -> None:
    for place in ("a", "b"):
        for side in ("pred", "target"):
            put(tmp_path / side / place / "0.png", np.full((1, 1), place == "b", np.uint8))
    assert scored(tmp_path).columns["pixel_acc"] == 1
    put(tmp_path / "pred" / "c" / "0.png", np.zeros((1, 1), np.uint8))
    assert scored(tmp_path).notes[0] == "1 predictions belong to no label image and are left out, the first is c/0"
    (tmp_path / "pred" / "a" / "0.png").unlink()
    with pytest.raises(DataError, match="two files are called 0"):
        scored(tmp_path)


def test_missing_predictions_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [[0], [1], [2]], [[0], [1], [2]])
    (tmp_path / "pred" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 label images have no prediction, the first is 1.*1\.png below pred="):
        scored(tmp_path)
    with pytest.raises(DataError, match="predictions and truth are one folder"):
        find_pairs(tmp_path / "target", tmp_path / "target")
    with pytest.raises(DataError, match="does not exist"):
        find_pairs(tmp_path / "nothing", tmp_path / "target")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no PNG files"):
        find_pairs(tmp_path / "empty", tmp_path / "target")


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        ([[0, 1]], [[0, 3]], r"pred.0\.png: preds has label 3 at index \(0, 1\), expected 0\.\.2"),
        ([[0, 9]], [[0, 1]], r"target.0\.png: target has label 9 at index \(0, 1\)"),
        (
            [[0, 1]],
            [[0, 1, 1]],
            r"pred.0\.png: the prediction is 3x1 px, but its truth 0\.png is 2x1 px.*Resize logits",
        ),
    ],
)
def test_labels_and_sizes_that_do_not_fit_are_named(
    tmp_path: Path, truth: list[list[int]], found: list[list[int]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scored(write(tmp_path, truth, found))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"classes": None}, r"classes=\.\.\. is missing"),
        ({"classes": "many"}, "classes=many must be a whole number"),
        ({"classes": 0}, "classes=0 must be"),
        ({"ignore": 2}, "ignore=2 is one of 3 classes"),
        ({"subset": 16}, "subset=16 of 3 classes"),
        ({"classes": 19, "subset": 12}, "subset=12 of 19 classes"),
        ({"missing": "ignore"}, "missing= is about truth outside subset="),
        ({"classes": 19, "subset": 16, "missing": "drop"}, r"unknown missing=drop.*row, ignore"),
        ({"absent": "nan"}, r"unknown absent=nan.*skip, zero"),
        ({"names": "a+b"}, "names=a[+]b are 2 different names for 3 classes"),
        ({"names": "a+b+b"}, "are 2 different names"),
        ({"ids": "labelIds"}, r"ids=labelIds with classes=3.*classes=19"),
        ({"ids": "synthia"}, "ids=synthia"),
    ],
)
def test_wrong_words_are_refused(words: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**{"classes": 3, **words})
