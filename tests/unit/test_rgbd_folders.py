"""Pictures with depth maps in folders: pairing, what is refused or left out, sizes, splits, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.cli import main
from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.depth_files import read_depth, resized_depth
from harness.data.fields import flipped
from harness.data.rgbd_export import export
from harness.data.sheet import sheet
from harness.types import ConfigError, DataError, DataSpec

HIGH, WIDE = 20, 30


def put(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def picture(seed: int, high: int = HIGH, wide: int = WIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (high, wide, 3), np.uint8)


def depth(seed: int, high: int = HIGH, wide: int = WIDE) -> np.ndarray:
    return np.random.default_rng((seed, 1)).integers(0, 60001, (high, wide)).astype(np.uint16)


def tree(root: Path, count: int = 12, folder: str = "") -> Path:
    """Pictures of every common ending with their maps."""
    for k in range(count):
        name = f"{k:03d}"
        put(root / folder / "rgb" / f"{name}.{('png', 'jpg', 'webp')[k % 3]}", picture(k))
        put(root / folder / "depth" / f"{name}.png", depth(k))
    return root


def spec(root: Path, **options: str | int | float) -> DataSpec:
    return catalogue.spec("folder/rgbd", root=root, **{"resolution": 16, **options})


def rows(root: Path, cache: Path, split: str = "train", **options: str | int | float) -> dict[str, np.ndarray]:
    return dict(open_dataset(spec(root, **options), cache).split(split).view(("image", "depth_coded", "identity")))


# --------------------------------------------------------------------------------------------------- the way back
def test_exported_rooms_come_back_as_they_were(tmp_path: Path, cache: Path) -> None:
    sizes = {"train": 3, "val": 2, "test": 2}
    rooms = open_dataset(catalogue.spec("rooms", tier="smoke", splits=sizes), cache)
    count, words = export(rooms, tmp_path / "out")
    assert count == 7
    given = dict(word.removeprefix("data.options.").split("=", 1) for word in words.split())
    options = {key: given[key] for key in ("fov", "coding")} | {"depth_unit": float(given["depth_unit"])}
    back = open_dataset(
        catalogue.spec(given["data"], root=given["root"], resolution=int(given["resolution"]), **options), cache
    )
    assert dict(back.spec.splits) == sizes
    for part in sizes:
        ours, theirs = (data.split(part).view(("image", "depth_coded")) for data in (back, rooms))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    for option in options:
        assert back.spec.options[option] == rooms.spec.options[option]
    assert back.spec.prior is not None
    assert rooms.spec.prior is not None
    assert back.spec.prior.azimuth == rooms.spec.prior.azimuth
    assert back.spec.prior.fov == pytest.approx(rooms.spec.prior.fov, abs=1e-3)
    assert (back.spec.prior.near, back.spec.prior.far) == pytest.approx((rooms.spec.prior.near, rooms.spec.prior.far))
    with pytest.raises(DataError, match="is not an empty folder"):
        export(rooms, tmp_path / "out")
    with pytest.raises(DataError, match="only drawn pictures"):
        export(back, tmp_path / "copy")


def test_the_command_writes_folders(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = ["suite=3d_aware", "part=rooms", "tier=smoke", f"cache={cache}"]
    assert main(["data", "export", *suite, f"out={tmp_path / 'out'}"]) == 0
    words = capsys.readouterr().out.split("read them with ")[1].split()
    assert main(["data", "build", *suite, *words]) == 0
    shown = capsys.readouterr().out
    assert "train: " in shown
    assert "note" not in shown


# --------------------------------------------------------------------------------------------------- which files
def test_pairs_are_matched_by_name_and_held_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "set")
    assert dict(spec(root, holdout=0.25).splits) == {"train": 9, "test": 3}
    assert dict(spec(root, holdout=0).splits) == {"train": 12}
    found = rows(root, tmp_path / "cache", holdout=0)
    assert found["depth_coded"].dtype == np.uint16
    assert found["image"].shape == (12, 16, 16, 3)
    assert found["identity"].tolist() == list(range(12))


def test_named_parts_and_lists(tmp_path: Path) -> None:
    root = tree(tree(tmp_path / "set", 5, "train"), 2, "val")
    assert dict(spec(root).splits) == {"train": 5, "test": 2}  # what is held out is the test, as published
    tree(root, 3, "test")
    assert dict(spec(root).splits) == {"train": 5, "val": 2, "test": 3}
    lists = {"rgb_paths": ["train/rgb/002.webp", "train/rgb/000.png"], "depth_paths": ["train/depth/000.png"]}
    (root / "train.json").write_text(
        json.dumps({**lists, "depth_paths": [*lists["depth_paths"], "train/depth/002.png"]})
    )
    assert dict(spec(root, holdout=0).splits) == {"train": 2}
    assert np.array_equal(rows(root, tmp_path / "cache", holdout=0, resolution=16)["image"].shape, (2, 16, 16, 3))
    (root / "train.json").write_text(json.dumps(lists))
    with pytest.raises(
        DataError, match=r"1 of 2 pairs of train cannot be used, the first: .*002\.webp has no depth map"
    ):
        spec(root, holdout=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"the list cannot be read \(KeyError"),
        ("[1", "the list cannot be read"),
        ('{"rgb_paths": [], "depth_paths": []}', "names no picture"),
        ('{"rgb_paths": ["rgb/000.png"], "depth_paths": ["../1.png"]}', r"names '\.\./1\.png'"),
        ('{"rgb_paths": ["rgb/gone.png"], "depth_paths": []}', r"names rgb/gone\.png, which does not exist"),
        ('{"rgb_paths": [3], "depth_paths": []}', "names 3"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    root = tree(tmp_path / "set", 3)
    (root / "train.json").write_text(content)
    with pytest.raises(DataError, match=message):
        spec(root)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root=PATH"):
        catalogue.spec("folder/rgbd")
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"rgb/ is missing.*Expected"):
        spec(tmp_path / "set")
    put(tmp_path / "set" / "rgb" / "a.png", picture(0))
    with pytest.raises(DataError, match="depth/ is missing"):
        spec(tmp_path / "set")
    put(tmp_path / "set" / "depth" / "b.png", depth(0))
    with pytest.raises(DataError, match=r"no picture has a depth map of its name, the first is a\. Did you|first is a"):
        spec(tmp_path / "set")
    put(tmp_path / "set" / "rgb" / "a.jpg", picture(0))
    with pytest.raises(DataError, match="have one name"):
        spec(tmp_path / "set")


# --------------------------------------------------------------------------------------------------- bad pairs
def flaw(root: Path, kind: str) -> None:
    """Spoil pair 004, a JPEG with its map."""
    image, path, good = root / "rgb" / "004.jpg", root / "depth" / "004.png", depth(4)
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "not a picture":
        image.write_text("text")
    elif kind == "jpeg":
        put(root / "depth" / "x.jpg", picture(0)).rename(path)
    else:
        spoilt = {
            "size": good[:-1],
            "8 bits": good.astype(np.uint8),
            "colour": picture(4),
            "zero": good * 0,
            "saturated": good * 0 + np.uint16(60000),
            "infinite": np.where(good > 50000, 65535, good).astype(np.uint16),
        }[kind]
        put(path, spoilt)


FLAWS = {
    "missing": r"004\.jpg has no depth map",
    "size": r"004\.png is 30x19 px, but its picture 004\.jpg is 30x20 px",
    "8 bits": r"004\.png has 8 bits per pixel",
    "colour": r"004\.png has several channels",
    "jpeg": r"004\.png is no PNG",
    "not a picture": r"004\.jpg is not an image that can be read",
    "zero": r"004\.png:? is 0 everywhere, which is no depth",
    "saturated": r"004\.png:? is 60000 everywhere, which is no depth",
    "infinite": r"004\.png:? holds the number 65535, and the format ends at 60000",
    "truncated": r"004\.png:? cannot be decoded",
}


@pytest.mark.parametrize("kind", FLAWS)
def test_a_bad_pair_is_an_error_that_names_it_or_is_left_out(tmp_path: Path, kind: str) -> None:
    root = tree(tmp_path / "set", 6)
    whole = rows(root, tmp_path / "cache", holdout=0)
    flaw(root, kind)
    with pytest.raises(DataError, match=FLAWS[kind]) as raised:
        rows(root, tmp_path / "cache", holdout=0)
    assert "data.options.unusable=skip" in str(raised.value)
    assert "\n" not in str(raised.value)
    split = open_dataset(spec(root, holdout=0, unusable="skip"), tmp_path / "cache").split("train")
    assert len(split) == 5
    assert np.array_equal(split.array("depth_coded"), np.delete(whole["depth_coded"], 4, axis=0))
    assert np.array_equal(split.array("image"), np.delete(whole["image"], 4, axis=0))
    notes = split.index["notes"]
    assert any(note.startswith("train: 1 of 6 pairs left out, the first: ") for note in notes)


def test_when_no_pair_is_left(tmp_path: Path) -> None:
    put(tmp_path / "rgb" / "0.png", picture(0))
    put(tmp_path / "depth" / "0.png", depth(0) * 0)
    with pytest.raises(DataError, match="no pair of train can be used"):
        spec(tmp_path, unusable="skip")


def test_a_map_without_a_picture_is_a_note(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", 4)
    put(root / "depth" / "more.png", depth(9))
    split = open_dataset(spec(root), tmp_path / "cache").split("train")
    assert split.index["notes"] == ["train: 1 depth maps have no picture, the first is more"]


# --------------------------------------------------------------------------------------------------- values
def test_both_are_cropped_to_the_same_square(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(WIDE), (HIGH, 1))
    put(tmp_path / "rgb" / "0.png", np.repeat((ramp * 8).astype(np.uint8)[..., None], 3, -1))
    put(tmp_path / "depth" / "0.png", (ramp * 2000).astype(np.uint16))
    put(tmp_path / "rgb" / "1.png", picture(0, 16, 16))
    put(tmp_path / "depth" / "1.png", depth(0, 16, 16))
    found = rows(tmp_path, tmp_path / "cache", holdout=0)
    assert np.array_equal(found["image"][1], picture(0, 16, 16))
    assert np.array_equal(found["depth_coded"][1], depth(0, 16, 16))
    shown, far = found["image"][0, 8, :, 0] / 8, found["depth_coded"][0, 8] / 2000
    expected = 5 + (np.arange(16) + 0.5) * 20 / 16 - 0.5
    np.testing.assert_allclose(far, expected, atol=1e-3)
    np.testing.assert_allclose(shown[1:-1], expected[1:-1], atol=0.15)
    assert (np.diff(found["image"][0, 8, :, 0].astype(int)) > 0).all()


@pytest.mark.parametrize(("side", "to"), [(20, 16), (8, 16), (16, 16), (33, 4)])
def test_depth_is_resized_bilinearly_at_pixel_centres(side: int, to: int) -> None:
    codes = depth(3, side, side)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(codes.astype(np.float64))[None, None], (to, to), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    assert resized_depth(codes, to).dtype == np.uint16
    np.testing.assert_allclose(resized_depth(codes, to), wanted, atol=0.5 + 1e-6)


def test_a_flip_turns_picture_and_depth_alike(tmp_path: Path) -> None:
    found = rows(tree(tmp_path / "set", 3), tmp_path / "cache", holdout=0)
    turned = flipped(found, ())
    assert np.array_equal(turned["image"], found["image"][:, :, ::-1])
    assert np.array_equal(turned["depth_coded"], found["depth_coded"][:, :, ::-1])


def test_the_contact_sheet_shows_pictures_above_their_depth(tmp_path: Path) -> None:
    shown = sheet(spec(tree(tmp_path / "set", 9), holdout=0), scale=1)
    assert shown.shape == (4 * 18 + 2, 8 * 18 + 2, 3)
    first = rows(tmp_path / "set", tmp_path / "cache", holdout=0)
    assert np.array_equal(shown[2:18, 2:18], first["image"][0])
    assert np.array_equal(shown[20:36, 2:18, 0], np.rint(first["depth_coded"][0] / 60000 * 255))


def test_the_ends_of_the_range_are_kept(tmp_path: Path) -> None:
    codes = depth(0)
    codes[0, 0], codes[0, 1] = 0, 60000
    assert np.array_equal(read_depth(put(tmp_path / "d.png", codes)), codes)


# --------------------------------------------------------------------------------------------------- options
def test_smaller_subsets_are_the_beginning_of_larger_ones(tmp_path: Path) -> None:
    root = tree(tmp_path / "set")
    few, more = (rows(root, tmp_path / "cache", holdout=0, subset=n)["depth_coded"] for n in (4, 9))
    assert len(few) == 4
    assert np.array_equal(few, more[:4])
    other = rows(root, tmp_path / "cache", holdout=0, subset=9, seed=1)["depth_coded"]
    assert not np.array_equal(more, other)
    flaw(root, "zero")
    few, more = (rows(root, tmp_path / "cache", holdout=0, subset=n, unusable="skip")["depth_coded"] for n in (4, 11))
    assert np.array_equal(few, more[:4])
    with pytest.raises(DataError, match="subset=13, but there are 12 training images"):
        spec(root, holdout=0, subset=13)
    with pytest.raises(DataError, match="subset=12, but there are 11 training images"):
        spec(root, holdout=0, subset=12, unusable="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": -1}, "subset=-1 is no number"),
        ({"subset": "few"}, "subset=few is no number"),
        ({"subset": 2.5}, r"subset=2\.5 is no number"),
        ({"subset": float("inf")}, "subset=inf is no number"),
        ({"holdout": 2}, "holdout=2"),
        ({"holdout": float("nan")}, "holdout=nan"),
        ({"resolution": 48}, "resolution 48 is not supported.*16, 32"),
        ({"fov": "wdie"}, "Did you mean wide"),
        ({"coding": "metric"}, "Known: per_image, common"),
        ({"unusable": "ignore"}, "Known: error, skip"),
        ({"filter": "nearest"}, "unknown filter"),
        ({"depth_unit": 0}, "depth_unit is 0"),
        ({"depth_unit": "m"}, "depth_unit is 'm'"),
        ({"depht_unit": 1}, "Did you mean depth_unit"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, str | int | float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spec(tree(tmp_path / "set", 3), **options)


def test_the_digest_follows_the_content_not_the_place(tmp_path: Path) -> None:
    before = spec(tree(tmp_path / "set", 3))
    moved = (tmp_path / "set").rename(tmp_path / "elsewhere")
    assert spec(moved).recipe_digest == before.recipe_digest
    put(moved / "depth" / "001.png", depth(77))
    assert spec(moved).recipe_digest != before.recipe_digest
