"""Drawn streets written as folders come back as the same images and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main
from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.cityscapes_export import export, file_numbers
from harness.data.label_ids import CITYSCAPES, TABLES
from harness.data.views import Dataset, Split
from harness.types import DataError
from tests.cityscapes_tree import cityscapes

SPLITS = {"labelled": 3, "unlabelled": 4, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["ssl", "uda"])
def drawn(request: pytest.FixtureRequest, cache: Path) -> Dataset:
    sizes = {name: n for name, n in SPLITS.items() if request.param == "uda" or name != "labelled"}
    options = {"labelled": 2} if request.param == "ssl" else {}
    spec = catalogue.spec("streets", tier="smoke", setting=request.param, splits=sizes, **options)
    return open_dataset(spec, cache)


@pytest.fixture(scope="module")
def folder(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("export")
    count, words = export(drawn, root)
    assert count == sum(drawn.spec.splits.values())
    return root, words


def read_back(folder: tuple[Path, str], cache: Path) -> Dataset:
    """The data set that the words of the export name."""
    words = dict(word.removeprefix("data.options.").split("=") for word in folder[1].split())
    name, resolution = words.pop("data"), int(words.pop("resolution"))
    return open_dataset(catalogue.spec(name, resolution=resolution, **words), cache)


def in_cityscapes(split: Split) -> np.ndarray:
    """Labels as train-ids of Cityscapes."""
    lookup = np.full(256, 255, np.uint8)
    for label, name in enumerate(split.index["classes"]):
        lookup[label] = CITYSCAPES.index("traffic sign" if name == "sign" else name)
    return lookup[split.array("label")]


def test_the_reader_gives_back_what_was_written(drawn: Dataset, folder: tuple[Path, str], cache: Path) -> None:
    back = read_back(folder, cache)
    assert back.spec.options["setting"] == drawn.spec.options["setting"]
    assert dict(back.spec.splits) == dict(drawn.spec.splits)
    for name in drawn.spec.splits:
        assert np.array_equal(back.split(name).array("image"), drawn.split(name).array("image"))
        assert np.array_equal(back.split(name).array("label"), in_cityscapes(drawn.split(name)))
    assert set(np.unique(back.split("test").array("label"))) <= {0, 1, 2, 7, 8, 10, 11, 13, 255}


def test_files_bear_the_names_modes_and_numbers_of_the_published_sets(drawn: Dataset, folder: tuple[Path, str]) -> None:
    root, setting = folder[0], drawn.spec.options["setting"]
    place = root if setting == "ssl" else root / "cityscapes"
    path = place / "gtFine" / "val" / "test" / "test_000001_000000_gtFine_labelIds.png"
    assert (place / "leftImg8bit" / "val" / "test" / "test_000001_000000_leftImg8bit.png").is_file()
    with Image.open(path) as labels:
        assert labels.mode == "L"
        assert set(np.unique(np.asarray(labels))) <= {0, 7, 8, 11, 20, 21, 23, 24, 26}
    if setting == "uda":
        with Image.open(root / "gta" / "labels" / "00001.png") as labels:
            assert labels.mode == "P"
            assert labels.getpalette()[7 * 3 : 8 * 3] == [128, 64, 128]
            assert set(np.unique(np.asarray(labels))) <= {0, 7, 8, 11, 20, 21, 23, 24, 26}


def test_merged_classes_go_where_they_belong() -> None:
    numbers = file_numbers(("road", "building", "sign", "car"), "streets")
    assert numbers[:4].tolist() == [7, 11, 20, 26]
    assert not numbers[4:].any()
    assert {TABLES["labelIds"].file_id(k) for k in range(19)} == set(TABLES["labelIds"].train)
    with pytest.raises(DataError, match="streets: Cityscapes has no class tram"):
        file_numbers(("road", "tram"), "streets")


def test_nothing_is_overwritten(drawn: Dataset, folder: tuple[Path, str]) -> None:
    with pytest.raises(DataError, match="is not an empty folder"):
        export(drawn, folder[0])


def test_published_sets_are_not_copied(tmp_path: Path) -> None:
    data = open_dataset(catalogue.spec("folder/cityscapes", root=cityscapes(tmp_path / "tree")), tmp_path / "cache")
    with pytest.raises(DataError, match="only drawn streets"):
        export(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_folders(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "export", "suite=segmentation", "methods=[supervised]", "setting=ssl", "tier=smoke"]
    assert main([*words, f"cache={cache}", f"out={tmp_path / 'out'}"]) == 0
    shown = capsys.readouterr().out
    assert "read them with setting=ssl data=folder/cityscapes data.options.list=lists/labelled.txt" in shown
    again = shown.split("read them with ")[1].split()
    build = ["data", "build", "suite=segmentation", "methods=[supervised]", "tier=smoke", f"cache={cache}"]
    assert main([*build, *again]) == 0
    shown = capsys.readouterr().out
    for part in ("labelled: ", "unlabelled: ", "val: ", "test: ", "note: Cityscapes val: 8 images and not 500"):
        assert part in shown
