"""The readers of Cityscapes, GTA5, SYNTHIA, VOC and SBD on trees that the test builds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.segmentation_sheet import label_rows
from harness.data.sheet import write_sheet
from harness.data.views import Dataset, Split
from harness.types import ConfigError, DataError
from tests import cityscapes_tree as trees
from tests.cityscapes_tree import HEIGHT, TRAIN, VAL, numbers, picture, put, put_red16, train_ids

BUILD: dict[str, Callable[[Path], Path]] = {
    "cityscapes": trees.cityscapes,
    "gta_cityscapes": trees.gta,
    "synthia_cityscapes": trees.synthia,
    "voc": trees.voc,
}


def opened(kind: str, root: Path, resolution: int = HEIGHT, **options: str | int) -> Dataset:
    spec = catalogue.spec(f"folder/{kind}", root=root, resolution=resolution, **options)
    return open_dataset(spec, root.parent / "cache")


def rows(split: Split) -> list[tuple[bytes, bytes]]:
    return [(a.tobytes(), b.tobytes()) for a, b in zip(split.array("image"), split.array("label"), strict=True)]


@pytest.mark.parametrize("kind", BUILD)
def test_every_set_gives_four_disjoint_splits(kind: str, tmp_path: Path) -> None:
    data = opened(kind, BUILD[kind](tmp_path / "tree"))
    assert list(data.spec.splits) == ["labelled", "unlabelled", "val", "test"]
    found = [row for name in data.spec.splits for row in rows(data.split(name))]
    assert len(set(found)) == len(found) == sum(data.spec.splits.values())
    for name in data.spec.splits:
        split = data.split(name)
        assert set(split.fields) == {"image", "label"}
        size = (HEIGHT, HEIGHT * (1 if kind == "voc" else 2))
        assert split.array("image").shape == (data.spec.splits[name], *size, 3)
        assert split.array("label").shape == (data.spec.splits[name], *size)
        assert split.array("label").dtype == split.array("image").dtype == np.uint8
        assert len(split.index["classes"]) == len(split.index["palette"]) == data.spec.options["classes"]
        assert split.index["parts"] == split.index["classes"]
        assert split.index["licence"]


@pytest.mark.parametrize(
    ("kind", "setting", "classes", "evaluate"),
    [
        ("cityscapes", "ssl", 19, 19),
        ("gta_cityscapes", "uda", 19, 19),
        ("synthia_cityscapes", "uda", 19, 16),
        ("voc", "ssl", 21, 21),
    ],
)
def test_a_set_decides_its_setting(kind: str, setting: str, classes: int, evaluate: int, tmp_path: Path) -> None:
    root = BUILD[kind](tmp_path / "tree")
    spec = catalogue.spec(f"folder/{kind}", root=root, setting=setting)
    assert spec.options["setting"] == setting
    assert (spec.options["classes"], spec.options["evaluate"]) == (classes, evaluate)
    assert spec.resolution == 64
    other = {"ssl": "uda", "uda": "ssl"}[setting]
    with pytest.raises(ConfigError, match=f"setting={other}, but this set has setting={setting}"):
        catalogue.spec(f"folder/{kind}", root=root, setting=other)


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_labels_become_train_ids(kind: str, tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree", kind)
    data = opened("cityscapes", root)
    assert data.spec.options["ids"] == kind
    test = data.split("test")
    for k in range(VAL):
        seed = TRAIN + k + 1
        assert np.array_equal(test.array("image")[k], picture(seed))
        assert np.array_equal(test.array("label")[k], train_ids(numbers(kind, seed), kind))
    assert (test.array("label")[:, 0] == 255).all()


def test_the_kind_of_label_files_can_be_chosen(tmp_path: Path) -> None:
    root = trees.cityscapes(trees.cityscapes(tmp_path / "tree"), "labelTrainIds")
    assert opened("cityscapes", root).spec.options["ids"] == "labelIds"
    assert opened("cityscapes", root, ids="labelTrainIds").spec.options["ids"] == "labelTrainIds"
    with pytest.raises(ConfigError, match="unknown ids 'color'"):
        opened("cityscapes", root, ids="color")


def test_more_labelled_images_contain_fewer_and_val_stays(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    found = {n: opened("cityscapes", root, labelled=n) for n in (2, 5)}
    few, many = (rows(found[n].split("labelled")) for n in (2, 5))
    assert many[:2] == few
    assert rows(found[2].split("val")) == rows(found[5].split("val"))
    assert len({found[n].spec.recipe_digest for n in found}) == 2
    seeded = catalogue.spec("folder/cityscapes", root=root, resolution=HEIGHT, labelled=2, seed=1)
    assert rows(open_dataset(seeded, tmp_path / "cache").split("labelled")) != few


@pytest.mark.parametrize(
    ("labelled", "expected"), [(3, 3), ("3", 3), ("1/8", 2), ("1/2", 5), (0.5, 5), ("1/9", 1), (8, 8)]
)
def test_shares_are_rounded_up(labelled: str | int, expected: int, tmp_path: Path) -> None:
    if expected == 8:
        with pytest.raises(DataError, match="8 labelled and 1 held-out images leave none unlabelled of 9"):
            opened("cityscapes", trees.cityscapes(tmp_path / "tree"), labelled=labelled)
    else:
        data = opened("cityscapes", trees.cityscapes(tmp_path / "tree"), labelled=labelled)
        assert dict(data.spec.splits) == {"labelled": expected, "unlabelled": 8 - expected, "val": 1, "test": 3}
        assert data.spec.options["labelled"] == expected


def test_published_shares_give_the_published_counts() -> None:
    from harness.data.label_pairs import _number

    assert [_number(f"1/{k}", 2975) for k in (16, 8, 4, 2)] == [186, 372, 744, 1488]
    assert [_number(f"1/{k}", 1464) for k in (16, 8, 4, 2)] == [92, 183, 366, 732]
    assert [_number(f"1/{k}", 10582) for k in (16, 8, 4, 2)] == [662, 1323, 2646, 5291]


def test_lists_name_labelled_and_held_out_images(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    (root / "lists").mkdir()
    (root / "lists" / "labelled.txt").write_text(
        "# two\nleftImg8bit/train/zurich/zurich_000003_000019_leftImg8bit.png gtFine/...\n\naachen_000001_000019\n"
    )
    (root / "lists" / "val.txt").write_text("aachen_000000_000019\n")
    data = opened("cityscapes", root, list="lists/labelled.txt", val="lists/val.txt")
    assert dict(data.spec.splits) == {"labelled": 2, "unlabelled": 6, "val": 1, "test": 3}
    labelled = data.split("labelled").array("image")
    assert np.array_equal(labelled[0], picture(9))
    assert np.array_equal(labelled[1], picture(2))
    assert np.array_equal(data.split("val").array("image")[0], picture(1))
    before = data.spec.recipe_digest
    (root / "lists" / "labelled.txt").write_text("zurich_000003_000019\naachen_000002_000019\n")
    assert opened("cityscapes", root, list="lists/labelled.txt", val="lists/val.txt").spec.recipe_digest != before
    with pytest.raises(ConfigError, match="labelled=3, but the list names 2 images"):
        opened("cityscapes", root, list="lists/labelled.txt", labelled=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aachen_000009_000019\n", r"line 1 names aachen_000009_000019, which cannot be chosen.*Did you mean aachen"),
        ("aachen_000001_000019\naachen_000001_000019\n", "line 2 names aachen_000001_000019, which is listed twice"),
        ("lindau_000000_000019\n", "lindau_000000_000019, which cannot be chosen"),
        ("# nothing\n", "the list names no image"),
        (None, "the list cannot be read"),
    ],
)
def test_broken_lists_are_refused(text: str | None, message: str, tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    if text is not None:
        (root / "some.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        opened("cityscapes", root, list="some.txt")
    with pytest.raises(DataError, match="outside the data's folder"):
        opened("cityscapes", root, list="../some.txt")


def test_gta5_leaves_out_pairs_of_two_sizes_and_says_so(tmp_path: Path) -> None:
    data = opened("gta_cityscapes", trees.gta(tmp_path / "tree"), resolution=30)
    labelled = data.split("labelled")
    assert len(labelled) == trees.SOURCE
    text = "\n".join(labelled.index["notes"])
    for part in ("1 images of another size than their labels are left out", "00005.png", "5 images and not 24,966"):
        assert part in text
    assert data.spec.options["source_ids"] == "gta5"
    expected = train_ids(numbers("gta5", 101, 30, 54), "gta5")
    columns = ((np.arange(60) + 0.5) * 54 / 60).astype(int)
    assert np.array_equal(labelled.array("label")[0], expected[:, columns])


def test_synthia_is_decoded_in_sixteen_bits(tmp_path: Path) -> None:
    data = opened("synthia_cityscapes", trees.synthia(tmp_path / "tree"), resolution=20)
    labels = data.split("labelled").array("label")
    for k in range(trees.SOURCE):
        assert np.array_equal(labels[k], train_ids(numbers("synthia", 200 + k, 20, 40), "synthia"))
    assert not set(np.unique(labels)) & {9, 14, 16}
    assert len(np.unique(labels)) > 10
    assert not [note for note in data.split("labelled").index["notes"] if "no labelled image shows" in note]


@pytest.mark.parametrize("further", ["", "aug", "sbd"])
def test_voc_joins_the_sets_without_its_val(further: str, tmp_path: Path) -> None:
    root = trees.voc(tmp_path / "tree", further)
    data = opened("voc", root, labelled=4)
    pool = 21 if further else 9
    assert data.spec.splits["test"] == 3
    assert sum(data.spec.splits.values()) == pool + 3
    notes = "\n".join(data.split("labelled").index["notes"])
    assert ("only VOC's own training images" in notes) == (not further)
    assert ("VOC and SBD train: 21 images and not 10,582" in notes) == bool(further)


def test_labelled_images_are_drawn_by_the_family(tmp_path: Path) -> None:
    root = trees.voc(tmp_path / "tree", "sbd")
    for family, own in (("classic", True), ("blender", False)):
        data = opened("voc", root, labelled=9, family=family, pad="background")
        bordered = (data.split("labelled").array("label") == 255).any((1, 2))
        assert bordered.all() == own  # only VOC's own labels have pixels that are ignored
    assert opened("voc", root, labelled="1/2").spec.splits["labelled"] == 5
    assert opened("voc", root, labelled="1/2", family="blender").spec.splits["labelled"] == 11
    with pytest.raises(DataError, match="labelled=10, but there are 9 images to choose from"):
        opened("voc", root, labelled=10)
    with pytest.raises(DataError, match=r"family=blender.*SBD is not there"):
        opened("voc", trees.voc(tmp_path / "plain"), family="blender")
    with pytest.raises(ConfigError, match="unknown family"):
        opened("voc", root, family="new")


@pytest.mark.parametrize(("pad", "value"), [("ignore", 255), ("background", 0)])
def test_voc_is_fitted_into_a_square(pad: str, value: int, tmp_path: Path) -> None:
    data = opened("voc", trees.voc(tmp_path / "tree"), resolution=32, pad=pad)
    test = data.split("test")
    for k in range(3):
        high, wide = (20, 32) if (9 + k) % 2 else (32, 20)
        top, left = (32 - high) // 2, (32 - wide) // 2
        inside = np.zeros((32, 32), bool)
        inside[top : top + high, left : left + wide] = True
        assert np.array_equal(test.array("label")[k][inside].reshape(high, wide), numbers("voc", 309 + k, high, wide))
        assert (test.array("label")[k][~inside] == value).all()
        assert (test.array("image")[k][~inside] == (124, 116, 104)).all()


def test_pictures_are_resized_and_labels_pick(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    test = opened("cityscapes", root, resolution=16, filter="box").split("test")
    whole = Image.fromarray(picture(TRAIN + 1)).resize((32, 16), Image.Resampling.BOX)
    assert np.array_equal(test.array("image")[0], np.asarray(whole))
    truth = train_ids(numbers("labelIds", TRAIN + 1), "labelIds")
    picks = [((np.arange(n) + 0.5) * 1.5).astype(int) for n in (16, 32)]
    assert np.array_equal(test.array("label")[0], truth[picks[0][:, None], picks[1]])


def test_classes_that_no_labelled_image_shows_are_named(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    for path in (root / "gtFine" / "train").rglob("*_labelIds.png"):
        put(path, np.full((HEIGHT, 2 * HEIGHT), 7, np.uint8))
    data = opened("cityscapes", root)
    assert "no labelled image shows sidewalk, building, wall" in data.split("labelled").index["notes"][-1]
    assert len(data.split("unlabelled").index["notes"]) == len(data.split("labelled").index["notes"]) - 1


def test_labelled_images_without_a_pixel_that_counts_are_refused(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    for path in (root / "gtFine" / "train").rglob("*_labelIds.png"):
        put(path, np.zeros((HEIGHT, 2 * HEIGHT), np.uint8))
    with (
        pytest.warns(UserWarning, match="no pixel that counts"),
        pytest.raises(DataError, match="none of the 2 labelled images has a pixel that counts"),
    ):
        opened("cityscapes", root).split("labelled")


def test_images_without_a_pixel_that_counts_are_said(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "tree")
    name = "lindau_000001_000019_gtFine_labelIds.png"
    put(root / "gtFine" / "val" / "lindau" / name, np.zeros((HEIGHT, 2 * HEIGHT), np.uint8))
    with pytest.warns(UserWarning, match=rf"1 label files have no pixel that counts, the first is .*{name}"):
        opened("cityscapes", root).split("test")


def test_counts_are_noted_beside_the_official_ones(tmp_path: Path) -> None:
    notes = opened("cityscapes", trees.cityscapes(tmp_path / "tree")).split("test").index["notes"]
    assert notes == ["Cityscapes train: 9 images and not 2,975", "Cityscapes val: 3 images and not 500"]


def test_the_contact_sheet_shows_images_above_labels(tmp_path: Path) -> None:
    spec = catalogue.spec("folder/voc", root=trees.voc(tmp_path / "tree"), resolution=32, labelled=1)
    shown = label_rows(spec)
    assert len(shown) == 2 * 6 * 4
    truth = open_dataset(spec, tmp_path / "cache").split("test")
    assert np.array_equal(shown[36], truth.array("image")[0])
    assert (shown[42][truth.array("label")[0] == 255] == (224, 224, 192)).all()
    assert (shown[42][truth.array("label")[0] == 1] == (128, 0, 0)).all()
    write_sheet(spec, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == (6 * (4 * 32 + 2) + 2, 8 * (4 * 32 + 2) + 2 + 14)


def drop(*parts: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root.joinpath(*parts)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def empty_images(root: Path) -> None:
    for path in (root / "leftImg8bit" / "train").rglob("*.png"):
        path.unlink()


def both_lists(root: Path) -> None:
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("2007_000000\n")


def one_size(root: Path) -> None:
    for path in (root / "gta" / "images").iterdir():
        put(path, picture(1, 5, 5))


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("cityscapes", shutil.rmtree, r"leftImg8bit.train: is not a folder.*Expected leftImg8bit"),
        ("cityscapes", drop("leftImg8bit", "val"), r"leftImg8bit.val: is not a folder"),
        ("cityscapes", empty_images, r"leftImg8bit.train: no images found"),
        ("cityscapes", drop("gtFine"), r"9 of 9 images have no label file, the first is aachen_000000_000019"),
        (
            "cityscapes",
            drop("gtFine", "val", "lindau", "lindau_000002_000019_gtFine_labelIds.png"),
            r"1 of 3 images have no label file, the first is lindau_000002.*Expected .*_gtFine_labelIds\.png",
        ),
        ("gta_cityscapes", drop("gta"), r"gta.images: is not a folder"),
        ("gta_cityscapes", drop("cityscapes"), r"cityscapes.leftImg8bit.train: is not a folder"),
        ("gta_cityscapes", drop("gta", "labels", "00002.png"), r"1 of 5 images have no label file, .*00002\.png"),
        ("gta_cityscapes", one_size, "no image has the size of its label"),
        ("synthia_cityscapes", drop("synthia", "GT"), r"GT.LABELS: is not a folder"),
        ("voc", shutil.rmtree, "the list cannot be read"),
        ("voc", both_lists, "2007_000000 is in train.txt and in val.txt"),
        ("voc", drop("VOCdevkit", "VOC2012", "JPEGImages", "2007_000003.jpg"), r"003\.jpg: a listed image is missing"),
        (
            "voc",
            drop("VOCdevkit", "VOC2012", "SegmentationClass", "2008_000000.png"),
            r"1 of 3 images have no label file, the first is 2008_000000\.jpg",
        ),
    ],
)
def test_a_broken_layout_is_refused(kind: str, damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    root = BUILD[kind](tmp_path / "tree")
    damage(root)
    with pytest.raises(DataError, match=message):
        catalogue.spec(f"folder/{kind}", root=root)


def test_listed_labels_of_sbd_must_be_there(tmp_path: Path) -> None:
    root = trees.voc(tmp_path / "tree", "sbd")
    drop("benchmark_RELEASE", "dataset", "cls", "2009_000004.mat")(root)
    with pytest.raises(DataError, match=r"2009_000004\.mat: 1 listed label files are missing"):
        opened("voc", root)


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        (
            "cityscapes",
            "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png",
            np.full((HEIGHT, 2 * HEIGHT), 77, np.uint8),
            r"_labelIds\.png: label 77 is no number of table labelIds",
        ),
        (
            "cityscapes",
            "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png",
            np.full((HEIGHT, 47), 7, np.uint8),
            r"_labelIds\.png: the labels are 47x24 px, but the image lindau_000000_000019_leftImg8bit\.png is 48x24",
        ),
        ("cityscapes", "leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.png", None, "is not an image"),
        ("voc", "VOCdevkit/VOC2012/SegmentationClass/2008_000001.png", picture(1), "a picture of mode RGB"),
        ("voc", "VOCdevkit/VOC2012/SegmentationClass/2008_000001.png", None, "is not a label image that can be read"),
    ],
)
def test_a_broken_file_is_named(kind: str, name: str, content: np.ndarray | None, message: str, tmp_path: Path) -> None:
    root = BUILD[kind](tmp_path / "tree")
    if content is None:
        (root / name).write_bytes(b"text")
    else:
        put(root / name, content)
    with pytest.raises(DataError, match=message):
        opened(kind, root).split("test")


def test_strange_numbers_of_synthia_are_named(tmp_path: Path) -> None:
    root = trees.synthia(tmp_path / "tree")
    put_red16(root / "synthia" / "GT" / "LABELS" / "0000002.png", np.full((20, 40), 40))
    with pytest.raises(DataError, match=r"0000002\.png: label 40 is no number of table synthia"):
        opened("synthia_cityscapes", root).split("labelled")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": 3}, "unknown option 'labeled'.*Did you mean labelled"),
        ({"labelled": "many"}, "labelled=many is no number of images"),
        ({"labelled": 0}, "labelled=0 is no number"),
        ({"labelled": "3/2"}, "labelled=3/2 is no number"),
        ({"val": 0}, "val=0 is no number"),
        ({"val": -3}, "val=-3 is no number"),
        ({"filter": "nearest"}, "unknown filter"),
        ({"resolution": 8}, "resolution 8 is not supported"),
        ({"splits": {"labelled": 2}}, "taken whole"),
        ({"prior": "ring"}, "no camera pose"),
        ({"classes": 7}, "classes=7, but this set has classes=19"),
    ],
)
def test_wrong_options_are_refused(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        catalogue.spec("folder/cityscapes", root=trees.cityscapes(tmp_path / "tree"), **arguments)
    with pytest.raises(ConfigError, match="root=PATH"):
        catalogue.spec("folder/cityscapes")
