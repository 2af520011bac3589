"""The reader of MVTec-AD's layout on a tree that the test builds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.masks import picked
from harness.data.mvtec import OFFICIAL
from harness.data.views import Split
from harness.types import ConfigError, DataError
from tests.mvtec_tree import SIDE, build, picture, put


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(tmp_path / "tree")


def opened(root: Path, split: str, resolution: int = 32, **options: str) -> Split:
    spec = catalogue.spec("folder/mvtec", root=root, resolution=resolution, **options)
    return open_dataset(spec, root.parent / "cache").split(split)


def test_folders_give_categories_defects_and_splits(tree: Path) -> None:
    spec = catalogue.spec("folder/mvtec", root=tree)
    assert dict(spec.splits) == {"train": 6, "test": 10}
    assert spec.resolution == 64
    assert spec.options["categories"] == 2
    train, test = opened(tree, "train"), opened(tree, "test")
    assert set(train.fields) == {"image", "category"}
    assert set(test.fields) == {"image", "category", "mask", "defect"}
    for split in (train, test):
        assert split.index["categories"] == ["grid", "nut"]
        assert split.index["defects"] == ["good", "bent", "broken", "scratch"]
        assert split.index["stochastic"] == [False, False]
    assert train.array("category").tolist() == [0, 0, 0, 1, 1, 1]
    assert test.array("category").tolist() == [0] * 6 + [1] * 4
    assert test.array("defect").tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 3, 3]


def test_pictures_become_square_colour_images_and_masks_stay_binary(tree: Path) -> None:
    wide = put(tree / "nut" / "train" / "good" / "000.bmp", picture("nut", 9)[:12])
    images = opened(tree, "train").array("image")
    assert np.array_equal(images[0][..., 0], images[0][..., 2])  # grey
    with Image.open(wide) as file:
        expected = np.asarray(file.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(images[3], expected)
    test = opened(tree, "test")
    masks, defect = test.array("mask"), test.array("defect")
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}
    assert np.array_equal(masks.any((1, 2)), defect > 0)


def test_masks_pick_the_nearest_pixel(tree: Path) -> None:
    mask = opened(tree, "test", resolution=16).array("mask")[2]
    rows = (np.arange(16) + 0.5) * SIDE / 16
    inside = (rows >= 4) & (rows < 8), (rows >= 10) & (rows < 16)
    assert np.array_equal(mask.astype(bool), inside[0][:, None] & inside[1])


@pytest.mark.parametrize("sizes", [(24, 24, 7, 9), (5, 9, 16, 16), (33, 20, 32, 64)])
def test_picking_pixels_is_the_exact_nearest_of_torch(sizes: tuple[int, int, int, int]) -> None:
    height, width, high, wide = sizes
    mask = np.random.default_rng(0).random((height, width)) < 0.5
    whole = torch.from_numpy(mask.astype(np.float32))[None, None]
    same = torch.nn.functional.interpolate(whole, (high, wide), mode="nearest-exact")[0, 0].numpy()
    assert np.array_equal(picked(mask, high, wide), same > 0)


def test_a_mask_that_vanishes_leaves_its_image_defective(tree: Path) -> None:
    thin = np.zeros((SIDE, SIDE), np.uint8)
    thin[1, 1] = 255  # centres at 16 px fall into rows 0, 2, 3, 5...
    put(tree / "grid" / "ground_truth" / "bent" / "000_mask.png", thin)
    with pytest.warns(UserWarning, match=r"1 masks have no pixel left at 16 px.*000_mask"):
        test = opened(tree, "test", resolution=16)
    assert test.array("defect")[2] == 1
    assert not test.array("mask")[2].any()


def test_grey_levels_of_a_mask_are_anomalous_and_said(tree: Path) -> None:
    soft = np.zeros((SIDE, SIDE), np.uint8)
    soft[4:8, 10:16] = 255
    soft[3] = 1
    put(tree / "grid" / "ground_truth" / "bent" / "000_mask.png", soft)
    with pytest.warns(UserWarning, match="1 masks have grey levels; every level above 0 counts as anomalous"):
        test = opened(tree, "test", resolution=128)
    assert test.array("mask")[2].mean() == pytest.approx((24 + 24) / SIDE**2, abs=0.01)


def test_one_and_several_categories_can_be_kept(tree: Path) -> None:
    assert opened(tree, "test", only="nut").index["defects"] == ["good", "scratch"]
    assert opened(tree, "test", only="nut+grid").index["categories"] == ["grid", "nut"]
    with pytest.raises(ConfigError, match=r"unknown category 'nuts'.*nut"):
        catalogue.spec("folder/mvtec", root=tree, only="nuts")


def test_masks_may_bear_the_name_of_their_image(tree: Path) -> None:
    for path in (tree / "nut" / "ground_truth" / "scratch").iterdir():
        path.rename(path.with_name(path.name.replace("_mask", "")))
    assert opened(tree, "test").array("mask")[-1].any()


def test_what_is_left_out_is_noted(tree: Path) -> None:
    put(tree / "grid" / "train" / "bent" / "000.png", picture("grid", 1))
    put(tree / "grid" / "ground_truth" / "bent" / "009_mask.png", picture("grid", 1))
    (tree / "grid" / "test" / "good" / "Thumbs.db").write_bytes(b"x")
    (tree / "docs").mkdir()
    (tree / "grid" / "ground_truth" / "good").mkdir()
    text = "\n".join(opened(tree, "train").index["notes"])
    for part in (
        "docs",
        "grid/train/bent",
        "grid/ground_truth/good",
        "1 masks in",
        "009_mask",
        "Thumbs.db",
    ):
        assert part in text


def test_other_counts_than_the_published_ones_are_noted(tree: Path) -> None:
    assert opened(tree, "train").index["notes"] == []  # nut is no category of MVTec-AD, so this is another set
    (tree / "nut").rename(tree / "tile")
    assert any("grid (3, 2, 4) and not (264, 21, 57); tile" in note for note in opened(tree, "train").index["notes"])


def test_official_counts_sum_to_the_published_ones() -> None:
    assert [sum(column) for column in zip(*OFFICIAL.values(), strict=True)] == [3629, 467, 1258]


def test_the_digest_follows_masks_too(tree: Path) -> None:
    before = catalogue.spec("folder/mvtec", root=tree).recipe_digest
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[1, 1] = 255
    put(tree / "grid" / "ground_truth" / "bent" / "000_mask.png", mask)
    assert catalogue.spec("folder/mvtec", root=tree).recipe_digest != before


def drop_mask(root: Path) -> None:
    (root / "nut" / "ground_truth" / "scratch" / "001_mask.png").unlink()


def drop_masks(root: Path) -> None:
    shutil.rmtree(root / "nut" / "ground_truth")


def drop_good(root: Path) -> None:
    shutil.rmtree(root / "nut" / "test" / "good")


def empty_good(root: Path) -> None:
    for path in (root / "nut" / "test" / "good").iterdir():
        path.unlink()


def drop_train(root: Path) -> None:
    shutil.rmtree(root / "nut" / "train")


def two_of_one_name(root: Path) -> None:
    put(root / "nut" / "test" / "scratch" / "001.png", picture("nut", 3))


def one_category(root: Path) -> None:
    for path in (root / "nut").iterdir():
        path.rename(root / path.name)


def nothing(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_mask, r"scratch.001\.bmp: a defective image without its mask.*001_mask\.png"),
        (drop_masks, r"scratch.000\.bmp: a defective image without its mask"),
        (drop_good, r"test.good: category nut has no good test images.*only="),
        (empty_good, r"category nut has no good test images"),
        (drop_train, r"train.good: category nut has no training images"),
        (two_of_one_name, r"001\.png: has the same name as 001\.bmp"),
        (one_category, r"this is one category.*parent folder"),
        (nothing, r"no category found.*Expected <category>/train/good"),
        (shutil.rmtree, r"does not exist"),
    ],
)
def test_a_broken_layout_is_refused(tree: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(tree)
    with pytest.raises(DataError, match=message):
        catalogue.spec("folder/mvtec", root=tree)


MASK = Path("grid", "ground_truth", "broken", "000_mask.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MASK, np.zeros((SIDE, SIDE), np.uint8), r"000_mask\.png: the mask has no anomalous pixel.*test/good"),
        (
            MASK,
            np.full((SIDE, SIDE + 1), 255, np.uint8),
            r"000_mask\.png: the mask is 25x24 px, but its image is 24x24",
        ),
        (MASK, b"text", r"000_mask\.png: is not a mask that can be read"),
        (Path("grid", "test", "good", "001.png"), b"text", r"001\.png: is not an image that can be read"),
        (Path("grid", "train", "good", "001.png"), b"", r"001\.png: is not an image"),
    ],
)
def test_a_broken_file_is_named(tree: Path, name: Path, content: np.ndarray | bytes, message: str) -> None:
    if isinstance(content, bytes):
        (tree / name).write_bytes(content)
    else:
        put(tree / name, content)
    split = "train" if "train" in name.parts else "test"
    with pytest.raises(DataError, match=message):
        opened(tree, split)


def test_a_lossy_mask_is_refused(tree: Path) -> None:
    (tree / MASK).unlink()
    put(tree / MASK.with_suffix(".jpg"), np.full((SIDE, SIDE), 255, np.uint8))
    with pytest.raises(DataError, match=r"000_mask\.jpg: a mask in a lossy format"):
        opened(tree, "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"onyl": "nut"}, "Did you mean only"),
        ({"filter": "nearest"}, "unknown filter"),
        ({"resolution": 100}, "resolution 100 is not supported"),
        ({"splits": {"train": 2}}, "taken whole"),
    ],
)
def test_wrong_options_are_refused(tree: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        catalogue.spec("folder/mvtec", root=tree, **arguments)
