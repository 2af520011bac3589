"""Our own streets, exported in Cityscapes' layout and read back through the published reader, as a user would."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.cli import main


def test_exported_streets_are_trained_on_and_scored(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, store = tmp_path / "tree", tmp_path / "runs"
    suite = ["suite=segmentation", "setting=ssl", "tier=smoke", f"cache={cache}"]
    assert main(["data", "export", *suite, f"out={tree}"]) == 0
    assert len(list(tree.rglob("*_leftImg8bit.png"))) == len(list(tree.rglob("*_gtFine_labelIds.png"))) > 0
    words = [*suite, "data=folder/cityscapes", f"root={tree}", "data.options.labelled=4", f"store={store}"]
    assert main(["run", *words, "methods=[supervised]", "references=[floor:majority]", "budget=16"]) == 0
    with (store / "tables" / "smoke" / "segmentation" / "leaderboard.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert 0 < float(rows["supervised"]["miou"]) <= 1
    assert float(rows["supervised"]["miou[classes=13]"]) <= 1
    assert not list(store.rglob("*predictions*.png"))  # published images are not copied into results
    capsys.readouterr()


def test_data_of_the_other_setting_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "leftImg8bit").mkdir()
    words = ["run", "suite=segmentation", "setting=uda", "data=folder/cityscapes", f"root={tmp_path}"]
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err
