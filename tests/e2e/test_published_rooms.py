"""Our own rooms, exported as pictures beside depth maps and read back through the published reader, as a user would."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.cli import main


def test_exported_rooms_are_trained_on_and_scored(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, store = tmp_path / "tree", tmp_path / "runs"
    suite = ["suite=3d_aware", "part=rooms", "tier=smoke", f"cache={cache}"]
    assert main(["data", "export", *suite, f"out={tree}"]) == 0
    words = [*suite, *capsys.readouterr().out.split("read them with ")[1].split(), f"store={store}"]
    run = ["run", *words, "methods=[depthgan]", "references=[oracle:held_out]", "budget=32"]
    (tree / "train" / "depth" / "000007.png").unlink()
    assert main(run) == 2
    said = capsys.readouterr().err
    assert "1 of 64 pairs of train cannot be used, the first: " in said
    assert "000007.png has no depth map" in said
    assert main([*run, "data.options.unusable=skip"]) == 0
    capsys.readouterr()
    with (store / "tables" / "smoke" / "3d_aware" / "leaderboard.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert float(rows["depthgan"]["depth_std"]) > 0
    pictures = {path.parent.parent.name: path for path in store.rglob("samples.png")}
    assert len(pictures) == 1  # depthgan's own: images of a published folder are not copied into results
