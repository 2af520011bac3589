"""Published folders for image generation: LSUN, official parts, classes, nested subsets, and words that do not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.camera_conversions import to_eg3d
from harness.cameras import look_at
from harness.data import catalogue, objects
from harness.data.cache import open_dataset
from harness.data.views import Split
from harness.priors import named_prior
from harness.types import ConfigError, DataError, DataSpec


@pytest.fixture(scope="module")
def heads() -> np.ndarray:
    """24 pictures; the first are drawn heads, so that what is read can be compared with the family's own rows."""
    spec = catalogue.spec("objects/head", resolution=16, background="sky")
    return np.concatenate([objects.samples(spec, "train", 0, 6, ("image",))["image"]] * 4) // np.uint8(2) + np.repeat(
        np.arange(4, dtype=np.uint8) * 9, 6
    ).reshape(-1, 1, 1, 1)


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def opened(spec: DataSpec, cache: Path, split: str = "train") -> Split:
    return open_dataset(spec, cache).split(split)


def spec(name: str, root: Path, **options: str | int | float) -> DataSpec:
    return catalogue.spec(f"folder/{name}", root=root, **{"resolution": 16, **options})


# --------------------------------------------------------------------------------------------------- LSUN
@pytest.fixture
def lsun(tmp_path: Path, heads: np.ndarray) -> Path:
    """Kitchens as an export of the LMDB leaves them: folders by hash, lossless webp."""
    for number, image in enumerate(heads[:20]):
        put(tmp_path / "lsun" / "kitchen_train" / f"{number % 3:x}" / f"{number * 7:04x}.webp", image)
    for number, image in enumerate(heads[20:23]):
        put(tmp_path / "lsun" / "kitchen_val" / f"{number:04x}.webp", image)
    return tmp_path / "lsun"


def test_lsun_is_read_in_the_order_of_paths(tmp_path: Path, lsun: Path, heads: np.ndarray) -> None:
    found = spec("lsun", lsun)
    assert dict(found.splits) == {"train": 19, "test": 1, "val": 3}
    train = opened(found, tmp_path / "cache")
    order = sorted(range(20), key=lambda k: (k % 3, f"{k * 7:04x}"))
    assert np.array_equal(train.array("image"), heads[order[:19]])
    assert np.array_equal(opened(found, tmp_path / "cache", "val").array("image"), heads[20:23])
    notes = train.index["notes"]
    assert notes == ["20 images found, LSUN kitchen train has 2212277", "3 images found, LSUN kitchen val has 300"]
    assert train.index["licence"].startswith("research only")
    assert found.prior is None
    assert dict(spec("lsun", lsun / "kitchen_train", holdout=0.2).splits) == {"train": 16, "test": 4}


def test_lsun_that_cannot_be_read(tmp_path: Path, lsun: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown domain 'kitchne'\. Did you mean kitchen"):
        spec("lsun", lsun, domain="kitchne")
    (lsun / "kitchen_train").rename(lsun / "church_outdoor_train")
    with pytest.raises(ConfigError, match=r"holds church_outdoor, kitchen\. Say data\.options\.domain=church_outdoor"):
        spec("lsun", lsun)
    with pytest.raises(DataError, match="kitchen_val is there, and no folder of training pictures"):
        spec("lsun", lsun, domain="kitchen")
    assert dict(spec("lsun", lsun, domain="church_outdoor").splits) == {"train": 19, "test": 1}
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(b"")
    with pytest.raises(DataError, match=r"is an LMDB\. Export it"):
        spec("lsun", tmp_path / "lmdb")


# --------------------------------------------------------------------------------------------------- subsets
def test_a_smaller_subset_is_the_beginning_of_a_larger_one(tmp_path: Path, lsun: Path) -> None:
    few, more, other = (
        opened(spec("lsun", lsun, subset=n, seed=s), tmp_path / "cache").array("image")
        for n, s in ((5, 0), (17, 0), (17, 1))
    )
    assert len(few) == 5
    assert np.array_equal(few, more[:5])
    assert not np.array_equal(more, other)
    assert len(opened(spec("lsun", lsun, subset=5), tmp_path / "cache", "test")) == 1  # others stay whole
    assert spec("lsun", lsun, subset=5).recipe_digest != spec("lsun", lsun, subset=5, seed=1).recipe_digest


@pytest.mark.parametrize("value", [-1, 0.5, "many", True])
def test_a_subset_that_is_no_number(lsun: Path, value: str | float) -> None:
    with pytest.raises(ConfigError, match=f"subset={value} is no number of images"):
        spec("lsun", lsun, subset=value)


def test_a_subset_larger_than_the_folder(lsun: Path) -> None:
    with pytest.raises(DataError, match="subset=20, but there are 19 training images"):
        spec("lsun", lsun, subset=20)
    with pytest.raises(ConfigError, match="25 rows of split train, which has 19"):
        catalogue.spec("folder/lsun", root=lsun, splits={"train": 25})
    with pytest.raises(ConfigError, match="says no numbers of rows"):
        catalogue.spec("folder/lsun", root=lsun, splits={"train": 0})


# --------------------------------------------------------------------------------------------------- FFHQ
@pytest.fixture
def ffhq(tmp_path: Path, heads: np.ndarray) -> Path:
    for number, image in zip((0, 999, 1000, 60000, 69999), heads, strict=False):
        big = image.repeat(4, 0).repeat(4, 1)
        put(tmp_path / "ffhq" / "images1024x1024" / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png", big)
    return tmp_path / "ffhq"


def test_ffhq_reduces_by_box_and_follows_the_official_list(tmp_path: Path, ffhq: Path, heads: np.ndarray) -> None:
    assert np.array_equal(opened(spec("ffhq", ffhq), tmp_path / "cache").array("image"), heads[:3])
    entries = {str(n): {"category": "validation" if n == 999 else "training"} for n in (0, 999, 1000, 60000, 69999)}
    (ffhq / "ffhq-dataset-v2.json").write_text(json.dumps(entries))
    listed = spec("ffhq", ffhq)
    assert dict(listed.splits) == {"train": 4, "test": 1}
    assert np.array_equal(opened(listed, tmp_path / "cache", "test").array("image"), heads[1:2])
    everything = spec("ffhq", ffhq, use="all")
    assert dict(everything.splits) == {"train": 5, "test": 5}
    assert "the test images are the training images" in opened(everything, tmp_path / "cache").index["notes"][1]


def test_ffhq_that_cannot_be_read(tmp_path: Path, ffhq: Path, heads: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="unknown use 'al'"):
        spec("ffhq", ffhq, use="al")
    (ffhq / "ffhq-dataset-v2.json").write_text('{"0": {"category": "test"}}')
    with pytest.raises(DataError, match=r"ffhq-dataset-v2\.json: cannot be read"):
        spec("ffhq", ffhq)
    put(tmp_path / "late" / "65000.png", heads[0])
    with pytest.raises(DataError, match=r"no image of the training part. Say data\.options\.use=all"):
        spec("ffhq", tmp_path / "late")


# --------------------------------------------------------------------------------------------------- classes
@pytest.fixture
def afhq(tmp_path: Path, heads: np.ndarray) -> Path:
    for kind, first, count in (("cat", 0, 4), ("dog", 6, 2), ("wild", 12, 3)):
        for number in range(count):
            put(tmp_path / "afhq" / "train" / kind / f"{number}.png", heads[first + number])
        put(tmp_path / "afhq" / "test" / kind / "0.png", heads[first + 5])
    return tmp_path / "afhq"


def test_afhq_takes_its_kinds_in_turn(tmp_path: Path, afhq: Path, heads: np.ndarray) -> None:
    found = spec("afhq", afhq)
    train = opened(found, tmp_path / "cache")
    assert found.options["classes"] == 3
    assert train.array("category").tolist() == [0, 1, 2, 0, 1, 2, 0, 2, 0]
    assert np.array_equal(train.array("image"), heads[[0, 6, 12, 1, 7, 13, 2, 14, 3]])
    assert train.index["categories"] == ["cat", "dog", "wild"]
    assert train.index["notes"][0] == "4 images found, AFHQ v2 train/cat has 5065"
    assert "classes" not in spec("afhq", afhq, domain="dog").options
    assert spec("afhq", afhq, classes=3) == found
    with pytest.raises(ConfigError, match="classes=2, but its images are of 3 classes"):
        spec("afhq", afhq, classes=2)
    part = opened(spec("afhq", afhq, subset=6), tmp_path / "cache")
    own = {image.tobytes(): kind for image, kind in zip(train.array("image"), train.array("category"), strict=True)}
    assert [own[image.tobytes()] for image in part.array("image")] == part.array("category").tolist()


def test_classes_of_a_plain_folder(tmp_path: Path, heads: np.ndarray) -> None:
    for number in range(6):
        put(tmp_path / "set" / "00000" / f"img{number:08d}.png", heads[number])
    names = {f"00000/img{number:08d}.png": number % 3 for number in range(6)}
    assert "classes" not in spec("flat", tmp_path / "set").options
    path = tmp_path / "set" / "dataset.json"
    path.write_text(json.dumps({"labels": list(names.items())}))
    found = spec("flat", tmp_path / "set", holdout=0)
    assert found.options["classes"] == 3
    assert opened(found, tmp_path / "cache").array("category").tolist() == [0, 1, 2, 0, 1, 2]
    path.write_text('{"labels": null}')
    assert "classes" not in spec("flat", tmp_path / "set").options
    path.write_text(json.dumps({"labels": [["00000/img00000000.png", 0]]}))
    with pytest.raises(DataError, match=r"says nothing of 00000/img00000001\.png"):
        spec("flat", tmp_path / "set")
    path.write_text("[]")
    with pytest.raises(DataError, match=r"dataset\.json: cannot be read"):
        spec("flat", tmp_path / "set")


def test_poses_of_a_plain_folder_in_the_form_of_eg3d(tmp_path: Path, heads: np.ndarray) -> None:
    cameras = look_at(torch.tensor([0.4, -0.2, 0.0]), torch.tensor([0.1, -0.3, 0.0]), named_prior("wide60"))
    labels = [(f"{number}.png", label) for number, label in enumerate(to_eg3d(cameras).tolist())]
    for number in range(3):
        put(tmp_path / "set" / f"{number}.png", heads[number])
    path = tmp_path / "set" / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    found = opened(spec("flat", tmp_path / "set", holdout=0), tmp_path / "cache")
    assert "category" not in found.fields
    expected = np.stack((cameras.azimuth, cameras.elevation, np.full(3, cameras.radius)), 1)
    np.testing.assert_allclose(found.array("pose"), expected, atol=1e-5)
    first = spec("flat", tmp_path / "set").content
    path.write_text(json.dumps({"labels": [(name, labels[0][1]) for name, _ in labels]}))
    assert spec("flat", tmp_path / "set").content != first
    for wrong, message in (
        ([1.0] * 24, "25 finite numbers"),
        ([math.nan] * 25, "25 finite numbers"),
        ([0.0] * 25, "stands at the origin"),
        (["x"] * 25, "25 finite numbers"),
        (3, "25 finite numbers"),
    ):
        path.write_text(json.dumps({"labels": [*labels[:2], ("2.png", wrong)]}))
        with pytest.raises(DataError, match=message):
            spec("flat", tmp_path / "set")


# --------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 48}, "resolution 48 is not supported. Use 16, 32, 64, 128, 256, 512 or 1024"),
        ({"crop": -1}, "crop=-1 is no number of pixels"),
        ({"crop": "all"}, "crop=all is no number of pixels"),
        ({"holdout": 0.9}, r"holdout=0\.9 is not in"),
        ({"holdout": "tenth"}, "holdout=tenth is not in"),
        ({"filter": "bocks"}, "unknown filter"),
        ({"domain": "cat"}, "unknown option of folder/flat 'domain'"),
    ],
)
def test_wrong_options(tmp_path: Path, heads: np.ndarray, options: dict[str, str | int | float], message: str) -> None:
    put(tmp_path / "a.png", heads[0])
    with pytest.raises(ConfigError, match=message):
        spec("flat", tmp_path, **options)


def test_an_empty_folder_and_one_of_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder holds no images"):
        spec("flat", tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match="the folder holds no images"):
        spec("lsun", tmp_path)
    (tmp_path / "a.png").write_text("no image either")
    with pytest.raises(DataError, match=r"a\.png: is not an image that can be read"):
        opened(spec("flat", tmp_path, holdout=0), tmp_path / "cache")


@pytest.mark.parametrize("side", [512, 1024])
def test_the_sizes_of_the_papers(tmp_path: Path, heads: np.ndarray, side: int) -> None:
    big = heads[0].repeat(side // 16, 0).repeat(side // 16, 1)
    put(tmp_path / "a.png", big)
    assert np.array_equal(opened(spec("flat", tmp_path, resolution=side), tmp_path / "cache").array("image")[0], big)
