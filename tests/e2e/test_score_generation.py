"""``python -m harness score generation`` on ordinary PNG folders, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main


def folder(path: Path, count: int, seed: int) -> Path:
    path.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(path / f"{number}.png")
    return path


def test_two_folders_give_a_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = folder(tmp_path / "real", 9, 0), folder(tmp_path / "fake", 9, 1)
    words = ["score", "generation", f"real={real}", f"fake={fake}", "features=pixels", f"out={tmp_path / 'out'}"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name in ("fid[pixels|n=9|resize=clean]", "kid_full[pixels", "precision[pixels|k=3", "coverage[pixels|k=5"):
        assert name in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.csv", "scores.json"}


@pytest.mark.parametrize("missing", ["real", "fake"])
def test_a_missing_folder_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    places = {"real": folder(tmp_path / "real", 3, 0), "fake": folder(tmp_path / "fake", 3, 1)}
    places[missing] = tmp_path / "nowhere"
    words = [f"{name}={place}" for name, place in places.items()]
    assert main(["score", "generation", *words, "features=pixels"]) == 2
    shown = capsys.readouterr().err
    assert "nowhere" in shown
    assert shown.count("error:") == 1
    assert "Traceback" not in shown


def test_a_sixteen_bit_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, fake = folder(tmp_path / "real", 3, 0), folder(tmp_path / "fake", 3, 1)
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(fake / "deep.png")
    assert main(["score", "generation", f"real={real}", f"fake={fake}", "features=pixels"]) == 2
    assert "deep.png" in capsys.readouterr().err
