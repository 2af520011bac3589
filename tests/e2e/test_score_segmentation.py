"""``python -m harness score segmentation`` on label images that a script wrote, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.data.label_files import read_numbers
from harness.data.label_ids import TABLES, to_train_ids
from tests.cityscapes_tree import cityscapes, put


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Perfect predictions but for one image that says road everywhere."""
    target = cityscapes(tmp_path / "tree") / "gtFine" / "val"
    for k, path in enumerate(sorted(target.rglob("*_labelIds.png"))):
        labels = to_train_ids(read_numbers(path), TABLES["labelIds"], path)
        name = path.name.replace("_gtFine_labelIds", "_leftImg8bit")
        put(tmp_path / "pred" / name, labels * 0 if k == 2 else np.where(labels == 255, 3, labels))
    return {"pred": tmp_path / "pred", "target": target}


def words(places: dict[str, Path], *more: str) -> list[str]:
    return ["score", "segmentation", *(f"{name}={place}" for name, place in places.items()), "classes=19", *more]


def test_label_images_give_a_table_and_files(
    tmp_path: Path, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(places, "ids=labelIds", "subset=16", f"out={tmp_path / 'out'}")) == 0
    shown = capsys.readouterr().out
    for part in ("road *", "terrain  ", "miou[classes=16]", "3 images, 3,312 pixels", "mean over 16 classes"):
        assert part in shown
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    matrix = np.array(content["matrix"])
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    part = [k for k in range(19) if k not in (9, 14, 16)]
    expected = (np.diag(matrix) / union)[part].mean()
    assert content["values"]["miou[classes=16]"] == pytest.approx(expected)
    assert 0.5 < expected < 1
    assert (tmp_path / "out" / "scores.csv").read_text().startswith("row,name,truth,predicted,iou,acc,value\n")


def test_a_missing_prediction_is_one_clear_error(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (places["pred"] / "lindau_000001_000019_leftImg8bit.png").unlink()
    assert main(words(places, "ids=labelIds")) == 2
    shown = capsys.readouterr()
    assert "1 of 3 label images have no prediction, the first is lindau_000001_000019" in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["clases=3"], "Did you mean classes"),
        (["subset=12"], "subset=12"),
        ([], "Write ids=labelIds"),
        (["names=voc"], "21 different names for 19 classes"),
    ],
)
def test_wrong_words(
    places: dict[str, Path], capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(places, *more)) == 2
    assert message in capsys.readouterr().err


def test_missing_words_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "segmentation", "pred=x", "classes=3"]) == 2
    assert "target=... is missing" in capsys.readouterr().err
    assert main(["score", "segmentation", "pred=x", "target=y"]) == 2
    assert "classes=... is missing" in capsys.readouterr().err
    assert main(["score", "segmentaton"]) == 2
    assert "Did you mean segmentation" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "keys of segmentation:" in capsys.readouterr().out
