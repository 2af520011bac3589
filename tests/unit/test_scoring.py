"""Scores of two folders of pictures: values, intervals, unequal counts, words that cannot be used."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness import scoring
from harness.metrics.features import FeatureSpace, feature_space
from harness.metrics.fid import frechet_distance
from harness.metrics.kid import kernel_distance_full
from harness.types import ConfigError, DataError, HarnessError, MissingAsset


def space(dim: int = 4) -> FeatureSpace:
    return FeatureSpace.from_network(
        "flat", lambda x: x.mean((2, 3)), dim=dim, input_size=8, resize="clean", weights_digest="0"
    )


def rows(n: int, seed: int, dim: int = 4) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def folder(path: Path, count: int, seed: int, side: int = 8) -> Path:
    path.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(path / f"{number}.png")
    return path


def by_metric(scores: scoring.SetScores) -> dict[str, scoring.Line]:
    return {line.column.partition("[")[0]: line for line in scores.lines}


def test_values_are_those_of_the_metrics() -> None:
    fake, real = rows(60, 0), rows(60, 1)
    lines = by_metric(scoring.score_sets(fake, real, space()))
    assert lines["fid"].value == frechet_distance(fake, real)
    assert lines["kid_full"].value == kernel_distance_full(fake, real)[0]
    assert lines["fid"].low < lines["fid"].value < lines["fid"].high
    assert set(lines) == {"fid", "kid_full", "precision", "recall", "density", "coverage"}
    assert all("n=60" in line.column and "resize=clean" in line.column for line in lines.values())


def test_equal_sets_are_perfect() -> None:
    same = rows(40, 0)
    lines = by_metric(scoring.score_sets(same, same, space()))
    assert lines["fid"].value == pytest.approx(0, abs=1e-9)
    assert [lines[name].value for name in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]


def test_unequal_counts_stand_in_every_name_and_are_pointed_out() -> None:
    scores = scoring.score_sets(rows(30, 0), rows(50, 1), space())
    assert all("n_fake=30|n_real=50" in line.column for line in scores.lines)
    assert "counts differ" in scoring.table(scores)
    assert "counts differ" not in scoring.table(scoring.score_sets(rows(30, 0), rows(30, 1), space()))


def test_too_few_for_one_metric_leaves_the_others() -> None:
    lines = by_metric(scoring.score_sets(rows(4, 0), rows(4, 1), space()))
    assert math.isfinite(lines["precision"].value)
    assert math.isnan(lines["coverage"].value)
    assert "neighbour" in lines["coverage"].note
    assert "no interval" in lines["fid"].note


def test_files_hold_what_the_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = folder(tmp_path / "real", 8, 0), folder(tmp_path / "fake", 8, 1)
    assert scoring.generation(real, fake, features="random", out=str(tmp_path / "out")) == 0
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "scores.csv").read_text())))
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert {line["metric"] for line in lines} == set(stored["metrics"])
    assert stored["facts"]["features"] == "random"
    assert float(lines[0]["value"]) == pytest.approx(stored["metrics"][lines[0]["metric"]]["value"], rel=1e-9)
    assert lines[0]["metric"] in capsys.readouterr().out


def test_the_same_folders_give_the_same_bytes(tmp_path: Path) -> None:
    real, fake = folder(tmp_path / "real", 8, 0), folder(tmp_path / "fake", 8, 1)
    for name in ("a", "b"):
        scoring.generation(real, fake, features="random", out=str(tmp_path / name))
    for file in ("scores.csv", "scores.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_folders_of_different_sizes_meet_in_the_feature_space(tmp_path: Path) -> None:
    real, fake = folder(tmp_path / "real", 7, 0, side=12), folder(tmp_path / "fake", 7, 1, side=20)
    assert scoring.generation(real, fake, features="random") == 0


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({"features": "pixel"}, HarnessError),
        ({"features": "proc-v1"}, HarnessError),
        ({"features": "random", "resize": "nearest"}, HarnessError),
        ({"features": "random", "resolution": "big"}, ConfigError),
        ({"features": "random", "resolution": "0"}, ConfigError),
    ],
)
def test_wrong_words_are_refused(tmp_path: Path, words: dict[str, str], kind: type[HarnessError]) -> None:
    real = folder(tmp_path / "real", 3, 0)
    with pytest.raises(kind):
        scoring.generation(real, real, **words)


def test_missing_weights_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingAsset, match="weights-inception"):
        scoring.generation(tmp_path, tmp_path, features="inception")


@pytest.mark.parametrize("content", [b"no picture", b""])
def test_unreadable_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    real, fake = folder(tmp_path / "real", 3, 0), folder(tmp_path / "fake", 3, 1)
    (fake / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png"):
        scoring.generation(real, fake, features="random")


def test_an_empty_folder_and_a_single_picture_are_refused(tmp_path: Path) -> None:
    real, one, empty = folder(tmp_path / "real", 3, 0), folder(tmp_path / "one", 1, 1), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="empty"):
        scoring.generation(real, empty, features="random")
    with pytest.raises(HarnessError, match="1"):
        scoring.generation(real, one, features="random")


def test_pixels_space_is_documented_by_its_digest(tmp_path: Path) -> None:
    real = folder(tmp_path / "real", 3, 0)
    scoring.generation(real, real, features="pixels", out=str(tmp_path / "out"))
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert stored["facts"]["digest"] == feature_space("pixels").digest
