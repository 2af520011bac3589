"""``python -m harness score anomaly`` on maps that a script wrote, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data.mvtec import list_tree
from tests.mvtec_tree import build


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    root, maps = build(tmp_path / "tree"), tmp_path / "maps"
    for item in list_tree(root).test:
        folder = maps / item.path.parents[2].name / "test" / item.path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((24, 24)) if item.mask is None else np.asarray(Image.open(item.mask)) / 255
        np.save(folder / f"{item.path.stem}.npy", mask)
    return {"maps": maps, "root": root}


def words(places: dict[str, Path], *more: str) -> list[str]:
    return ["score", "anomaly", *(f"{name}={place}" for name, place in places.items()), *more]


def test_maps_give_a_table_and_files(
    tmp_path: Path, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(places, "size=12", "smoothing=0.5", "score=topk", f"out={tmp_path / 'out'}")) == 0
    shown = capsys.readouterr().out
    for part in ("grid", "nut", "mean", "pooled", "auroc", "10 maps; size of evaluation: 12", "topk (1 %)"):
        assert part in shown
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["mean"]["image_auroc"] == 1.0
    assert (tmp_path / "out" / "scores.csv").read_text().startswith("row,category,good,defective,image_auroc")


def test_a_missing_map_is_one_clear_error(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (places["maps"] / "nut" / "test" / "good" / "001.npy").unlink()
    assert main(words(places)) == 2
    shown = capsys.readouterr()
    assert "the first is nut/test/good/001" in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    ("more", "message"),
    [(["sise=3"], "Did you mean size"), (["size=none"], "must be numbers"), (["only=nuts"], "Did you mean nut")],
)
def test_wrong_words(
    places: dict[str, Path], capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(places, *more)) == 2
    assert message in capsys.readouterr().err


def test_missing_words_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "anomaly", "maps=x"]) == 2
    assert "root=... is missing" in capsys.readouterr().err
    assert main(["score", "anomly"]) == 2
    assert "Did you mean anomaly" in capsys.readouterr().err
