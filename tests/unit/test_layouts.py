"""Published layouts: tiny trees with the names, modes and quirks of the originals, built from procedural heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import catalogue, objects
from harness.data.cache import open_dataset
from harness.data.pictures import resized
from harness.data.sheet import sheet
from harness.data.views import Split
from harness.types import ConfigError, DataError, DataSpec


@pytest.fixture(scope="module")
def heads() -> np.ndarray:
    spec = catalogue.spec("objects/head", resolution=32, background="sky")
    return objects.samples(spec, "train", 0, 6, ("image",))["image"]


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def opened(spec: DataSpec, cache: Path, split: str = "train") -> Split:
    return open_dataset(spec, cache).split(split)


@pytest.fixture
def ffhq(tmp_path: Path, heads: np.ndarray) -> Path:
    root = tmp_path / "ffhq"
    for number, image in zip((0, 999, 1000, 60000, 69999), heads, strict=False):
        put(root / "thumbnails128x128" / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png", image)
    (root / "LICENSE.txt").write_text("CC")
    return root


def test_ffhq_keeps_the_order_of_numbers_and_the_official_parts(tmp_path: Path, ffhq: Path, heads: np.ndarray) -> None:
    spec = catalogue.spec("folder/ffhq", root=ffhq, resolution=32)
    assert dict(spec.splits) == {"train": 3, "test": 2}
    assert spec.prior is not None
    assert spec.prior.name == "front_gauss"
    train, test = (opened(spec, tmp_path / "cache", name) for name in ("train", "test"))
    assert np.array_equal(train.view(("image",))["image"], heads[:3])
    assert np.array_equal(test.view(("image",))["image"], heads[3:5])
    assert train.index["notes"] == ["5 images found, FFHQ has 70000"]
    everything = catalogue.spec("folder/ffhq", root=ffhq, resolution=32, use="all")
    assert dict(everything.splits) == {"train": 5, "test": 5}


def test_a_folder_split_has_the_interface_of_the_procedural_ones(tmp_path: Path, ffhq: Path) -> None:
    split = opened(catalogue.spec("folder/ffhq", root=ffhq, resolution=32), tmp_path / "cache")
    assert set(split.fields) == {"image", "identity"}
    assert split.factor_names == ()
    with pytest.raises(DataError, match="'depth' is not kept"):
        split.view(("image", "depth"))
    with pytest.raises(DataError, match="no split 'oracle'"):
        opened(split.spec, tmp_path / "cache", "oracle")


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path, ffhq: Path, heads: np.ndarray) -> None:
    before = catalogue.spec("folder/ffhq", root=ffhq, resolution=32)
    moved = ffhq.rename(tmp_path / "elsewhere")
    after = catalogue.spec("folder/ffhq", root=moved, resolution=32)
    assert before.recipe_digest == after.recipe_digest
    put(moved / "thumbnails128x128" / "00000" / "00000.png", heads[5])
    assert catalogue.spec("folder/ffhq", root=moved, resolution=32).recipe_digest != before.recipe_digest


@pytest.mark.parametrize(("second", "ending"), [("val", "jpg"), ("test", "png")])
def test_afhq_versions_and_domains(tmp_path: Path, heads: np.ndarray, second: str, ending: str) -> None:
    root = tmp_path / "afhq"
    for part in ("train", second):
        for number, kind in enumerate(("cat", "dog", "wild")):
            put(root / part / kind / f"flickr_{kind}_000001.{ending}", heads[number])
    spec = catalogue.spec("folder/afhq", root=root, resolution=16)
    train = opened(spec, tmp_path / "cache").view(("image", "category"))
    assert train["category"].tolist() == [0, 1, 2]
    assert train["image"].shape == (3, 16, 16, 3)
    dogs = catalogue.spec("folder/afhq", root=root, resolution=16, domain="dog")
    assert opened(dogs, tmp_path / "cache", "test").view(("category",))["category"].tolist() == [1]
    with pytest.raises(ConfigError, match=r"unknown domain 'dogs'.*dog"):
        catalogue.spec("folder/afhq", root=root, domain="dogs")


def test_afhq_says_which_folder_is_missing(tmp_path: Path, heads: np.ndarray) -> None:
    put(tmp_path / "train" / "cat" / "a.png", heads[0])
    with pytest.raises(DataError, match=r"dog"):
        catalogue.spec("folder/afhq", root=tmp_path)
    put(tmp_path / "other" / "a.png", heads[0])
    with pytest.raises(DataError, match=r"train is missing.*Expected"):
        catalogue.spec("folder/afhq", root=tmp_path / "other")


@pytest.fixture
def celeba(tmp_path: Path, heads: np.ndarray) -> Path:
    """178x218 pictures whose centre is a head, with the header lines of the original lists."""
    root = tmp_path / "celeba"
    names = [f"{k:06d}.jpg" for k in range(1, 6)]
    for name, head in zip(names, heads, strict=False):
        canvas = np.full((218, 178, 3), 90, np.uint8)
        canvas[45:173, 25:153] = head.repeat(4, 0).repeat(4, 1)
        put(root / "Img" / "img_align_celeba" / name, canvas)
    (root / "Anno").mkdir()
    (root / "Eval").mkdir()
    parts = "".join(f"{name} {part}\n" for name, part in zip(names, (0, 0, 0, 1, 2), strict=True))
    (root / "Eval" / "list_eval_partition.txt").write_text(parts)
    rows = "".join(f"{name} -1  1\n" for name in names)
    (root / "Anno" / "list_attr_celeba.txt").write_text(f"5\n5_o_Clock_Shadow Smiling \n{rows}")
    columns = (
        "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    )
    rows = "".join(f"{name} 69 109 106 113 88 135 73 152 102 153\n" for name in names)
    (root / "Anno" / "list_landmarks_align_celeba.txt").write_text(f"5\n{columns} \n{rows}")
    return root


def test_celeba_partition_attributes_landmarks_and_crop(tmp_path: Path, celeba: Path, heads: np.ndarray) -> None:
    spec = catalogue.spec("folder/celeba", root=celeba, resolution=32, crop=128)
    assert dict(spec.splits) == {"train": 3, "val": 1, "test": 1}
    split = opened(spec, tmp_path / "cache")
    view = split.view(("image", "attributes", "kp2d"))
    assert np.abs(view["image"].astype(int) - heads[:3]).mean() < 4  # JPEG
    assert view["attributes"].tolist() == [[-1, 1]] * 3
    assert split.index["attributes"] == ["5_o_Clock_Shadow", "Smiling"]
    assert split.keypoints == ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    np.testing.assert_allclose(view["kp2d"][0, 2], [(88.5 - 25) / 128, (135.5 - 45) / 128], rtol=1e-6)


def test_celeba_without_its_partition_names_the_missing_file(celeba: Path) -> None:
    (celeba / "Eval" / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"Eval/list_eval_partition\.txt is missing"):
        catalogue.spec("folder/celeba", root=celeba)


def test_flat_folders_hold_out_an_evenly_spread_share(tmp_path: Path, heads: np.ndarray) -> None:
    for number in range(20):
        put(tmp_path / "flat" / f"{number:02d}.png", heads[number % 6])
    spec = catalogue.spec("folder/flat", root=tmp_path / "flat", resolution=32)
    assert dict(spec.splits) == {"train": 18, "test": 2}
    assert spec.prior is None
    none = catalogue.spec("folder/flat", root=tmp_path / "flat", resolution=32, holdout=0.0)
    assert dict(none.splits) == {"train": 20}
    few = catalogue.spec("folder/flat", root=tmp_path / "flat", resolution=32, splits={"train": 4})
    assert len(opened(few, tmp_path / "cache")) == 4
    assert sheet(few).shape[2] == 3


def test_a_bad_file_in_the_folder_is_named(tmp_path: Path, heads: np.ndarray) -> None:
    put(tmp_path / "flat" / "a.png", heads[0])
    (tmp_path / "flat" / "b.png").write_bytes((tmp_path / "flat" / "a.png").read_bytes()[:200])
    spec = catalogue.spec("folder/flat", root=tmp_path / "flat", holdout=0.0)
    with pytest.raises(DataError, match=r"b\.png: cannot be decoded"):
        opened(spec, tmp_path / "cache")


def test_a_crop_that_does_not_fit_is_named(tmp_path: Path, heads: np.ndarray) -> None:
    put(tmp_path / "flat" / "a.png", heads[0])
    spec = catalogue.spec("folder/flat", root=tmp_path / "flat", holdout=0.0, crop=64)
    with pytest.raises(DataError, match=r"a\.png: a crop of 64 px does not fit into 32x32 px"):
        opened(spec, tmp_path / "cache")


def test_box_reduction_averages_whole_blocks() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, 1:3] = 100
    assert resized(Image.fromarray(image), 2)[:, :, 0].tolist() == [[100, 0], [100, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "objects/haed"}, "Did you mean objects/head"),
        ({"name": "objects/head", "prior": "wide6"}, "wide60"),
        ({"name": "objects/head", "ligth": "camera"}, "Did you mean light"),
        ({"name": "objects/head", "light": "camra"}, "Did you mean camera"),
        ({"name": "objects/head", "background": "blue"}, "Known: random, sky"),
        ({"name": "objects/head", "tier": "mico"}, "Did you mean micro"),
        ({"name": "objects/head", "splits": {"trian": 3}}, "Did you mean train"),
        ({"name": "objects/head", "resolution": 33}, "resolution 33"),
        ({"name": "objects/head", "views": 0}, "at least 1"),
        ({"name": "folder/flat"}, "root=PATH"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest_ones(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        catalogue.spec(**arguments)
