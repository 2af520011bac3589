"""Defects written as folders come back as the same images, masks and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.mvtec_export import export
from harness.data.views import Dataset, Split
from harness.types import DataError
from tests.mvtec_tree import picture, put


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def drawn(cache: Path) -> Dataset:
    return open_dataset(catalogue.spec("defects", tier="smoke", categories=2), cache)


@pytest.fixture(scope="module")
def folder(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    assert export(drawn, root) == sum(len(drawn.split(name)) for name in ("train", "test"))
    return root


def rows(split: Split) -> dict[tuple[str, str], list[tuple[bytes, bytes]]]:
    """Images and masks by category and defect, in order."""
    view = split.view([name for name in ("image", "category", "mask", "defect") if name in split.fields])
    found: dict[tuple[str, str], list[tuple[bytes, bytes]]] = {}
    for k, image in enumerate(view["image"]):
        defect = split.index["defects"][view["defect"][k]] if "defect" in view else "good"
        mask = view["mask"][k].tobytes() if "mask" in view else b""
        found.setdefault((split.index["categories"][view["category"][k]], defect), []).append((image.tobytes(), mask))
    return found


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_reader_gives_back_what_was_written(drawn: Dataset, folder: Path, cache: Path, name: str) -> None:
    spec = catalogue.spec("folder/mvtec", root=folder, resolution=drawn.spec.resolution)
    assert rows(open_dataset(spec, cache).split(name)) == rows(drawn.split(name))


def test_twins_lie_beside_the_defects(drawn: Dataset, folder: Path) -> None:
    test = drawn.split("test")
    row = int(np.flatnonzero(test.array("defect"))[0])
    category = test.index["categories"][test.array("category")[row]]
    defect = test.index["defects"][test.array("defect")[row]]
    place = folder / category / "clean" / defect / "000.png"
    assert np.array_equal(np.asarray(Image.open(place)), test.array("twin")[row])
    for part in ("train", "test", "ground_truth", "clean"):
        assert (folder / category / part).is_dir()
    with Image.open(folder / category / "ground_truth" / defect / "000_mask.png") as mask:
        assert mask.mode == "L"
        assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_nothing_is_overwritten(drawn: Dataset, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an empty folder"):
        export(drawn, folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is not an empty folder"):
        export(drawn, tmp_path / "file")


def test_data_without_masks_are_refused(cache: Path, tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / "flat" / f"{number}.png", picture("nut", number))
    pictures = open_dataset(catalogue.spec("folder/flat", root=tmp_path / "flat", resolution=32), cache)
    with pytest.raises(DataError, match="only data with masks"):
        export(pictures, tmp_path / "out")


def test_whole_images_of_another_class_are_refused(cache: Path, tmp_path: Path) -> None:
    semantic = open_dataset(catalogue.spec("defects", tier="smoke", categories=2, task="semantic"), cache)
    with pytest.raises(DataError, match=r"has no training images.*semantic"):
        export(semantic, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_folders(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "export", "suite=anomaly", "tier=smoke", "data.options.categories=2", f"cache={cache}"]
    assert main([*words, f"out={tmp_path / 'out'}"]) == 0
    assert "data=folder/mvtec" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*/test/good/*.png"))) == 8
    assert main(words) == 2
    assert "out=... is missing" in capsys.readouterr().err
