"""Score maps made elsewhere: values, gaps, resizing, and files that cannot be used."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from harness.anomaly_maps import read_map
from harness.anomaly_scoring import COLUMNS, AnomalyScores, Settings, score_maps, settings, table, to_csv, to_json
from harness.data.mvtec import Tree, list_tree
from harness.metrics import anomaly
from harness.types import ConfigError, DataError
from tests.mvtec_tree import SIDE, build, put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path / "tree")


def truth(tree: Tree) -> dict[Path, np.ndarray]:
    """The mask of every test image by the image's path: bool [H,W]."""
    return {
        item.path: np.zeros((SIDE, SIDE), bool) if item.mask is None else np.asarray(Image.open(item.mask)) > 0
        for item in tree.test
    }


def write_maps(
    root: Path, folder: Path, ending: str = ".npy", level: str = "test", seed: int = 0
) -> dict[Path, np.ndarray]:
    """Maps that see defects through noise, one file per test image; returns them by the image's path."""
    tree, random = list_tree(root), np.random.default_rng(seed)
    maps = {}
    for path, mask in truth(tree).items():
        defect, category = path.parent.name, path.parents[2].name
        maps[path] = (mask + random.normal(0, 0.6, mask.shape)).astype(np.float32)
        target = folder / category / level / defect / f"{path.stem}{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, maps[path]) if ending == ".npy" else tifffile.imwrite(target, maps[path])
    return maps


def scored(root: Path, folder: Path, only: str = "all", **how: object) -> AnomalyScores:
    return score_maps(folder, root, Settings(**how), only=only)  # type: ignore[arg-type]


def of(root: Path, maps: dict[Path, np.ndarray], category: str) -> tuple[np.ndarray, np.ndarray]:
    masks = truth(list_tree(root, category))
    return np.stack([maps[path] for path in masks]), np.stack(list(masks.values()))


@pytest.mark.parametrize(("ending", "level"), [(".npy", "test"), (".npy", "."), (".tiff", "test"), (".tif", ".")])
def test_values_are_those_of_the_metrics(root: Path, tmp_path: Path, ending: str, level: str) -> None:
    maps = write_maps(root, tmp_path / "maps", ending, level)
    result = scored(root, tmp_path / "maps")
    assert list(result.categories) == ["grid", "nut"]
    for name, entry in result.categories.items():
        stack, masks = of(root, maps, name)
        images, labels = stack.reshape(len(stack), -1).max(1), masks.any((1, 2))
        assert (entry.good, entry.defective) == (2, int(labels.sum()))
        assert entry.columns["image_auroc"] == anomaly.roc_auc_score(images, labels)
        assert entry.columns["image_ap"] == anomaly.average_precision_score(images, labels)
        assert entry.columns["image_f1_max"] == anomaly.f1_max(images, labels)[0]
        assert entry.columns["pixel_auroc"] == anomaly.roc_auc_score(stack.ravel(), masks.ravel())
        assert entry.columns["aupro[limit=0.3]"] == anomaly.per_region_overlap_auc(stack, masks)[0]
        assert entry.columns["mean7"] == anomaly.mean_of_seven(entry.columns)
        assert not entry.note
    for column in COLUMNS:
        two = [entry.columns[column] for entry in result.categories.values()]
        assert result.means[column].value == pytest.approx(sum(two) / 2, abs=1e-15)
    everything = [
        np.concatenate(parts) for parts in zip(*(of(root, maps, name) for name in ("grid", "nut")), strict=True)
    ]
    assert result.pooled["pooled_pixel_auroc"] == anomaly.roc_auc_score(everything[0].ravel(), everything[1].ravel())


def test_a_perfect_and_an_inverted_map(root: Path, tmp_path: Path) -> None:
    for sign, expected in ((1, 1.0), (-1, 0.0)):
        folder = tmp_path / f"maps{sign}"
        for path in write_maps(root, folder):
            mask = truth(list_tree(root))[path]
            np.save(
                folder / path.parents[2].name / "test" / path.parent.name / f"{path.stem}.npy", sign * mask.astype(int)
            )
        means = scored(root, folder).means
        assert means["pixel_auroc"].value == expected
        assert means["aupro[limit=0.3]"].value == expected


def test_constant_maps_are_legal(root: Path, tmp_path: Path) -> None:
    for path in write_maps(root, tmp_path / "maps"):
        target = tmp_path / "maps" / path.parents[2].name / "test" / path.parent.name / f"{path.stem}.npy"
        np.save(target, np.full((3, 5), 7, np.uint8))
    columns = scored(root, tmp_path / "maps").categories["nut"].columns
    assert columns["image_auroc"] == columns["pixel_auroc"] == 0.5
    assert columns["pixel_ap"] == pytest.approx(2 * 24 / (4 * SIDE**2))
    assert columns["aupro[limit=0.3]"] == pytest.approx(0.15)


def test_maps_are_resized_and_masks_are_not(root: Path, tmp_path: Path) -> None:
    maps = write_maps(root, tmp_path / "maps")
    for path, values in maps.items():
        target = tmp_path / "maps" / path.parents[2].name / "test" / path.parent.name / f"{path.stem}.npy"
        np.save(target, values[::4, ::4])
    stack, masks = of(root, maps, "grid")
    small = torch.from_numpy(stack[:, None, ::4, ::4].copy())
    large = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear")[:, 0].numpy()
    entry = scored(root, tmp_path / "maps").categories["grid"]
    assert entry.columns["pixel_auroc"] == pytest.approx(anomaly.roc_auc_score(large.ravel(), masks.ravel()), abs=1e-6)
    assert scored(root, tmp_path / "maps", size=16).facts["mask_resize"] == "nearest"


def test_smoothing_connectivity_and_rule(root: Path, tmp_path: Path) -> None:
    diagonal = np.zeros((SIDE, SIDE), np.uint8)
    diagonal[4, 4] = diagonal[5, 5] = diagonal[5, 6] = 255
    put(root / "grid" / "ground_truth" / "bent" / "000_mask.png", diagonal)
    stack, masks = of(root, write_maps(root, tmp_path / "maps"), "grid")

    def column(name: str, **how: object) -> float:
        return scored(root, tmp_path / "maps", **how).categories["grid"].columns[name]

    smooth = np.stack([gaussian_filter(one, 2) for one in stack])
    assert column("pixel_auroc", smoothing=2.0) == anomaly.roc_auc_score(smooth.ravel(), masks.ravel())
    two, one = (anomaly.per_region_overlap_auc(stack, masks, connectivity=n)[0] for n in (4, 8))
    assert (column("aupro[limit=0.3]", connectivity=4), column("aupro[limit=0.3]")) == (two, one)
    assert two != one
    by_mean = anomaly.roc_auc_score(stack.mean((1, 2), np.float64), masks.any((1, 2)))
    assert column("image_auroc", score="mean") == by_mean != column("image_auroc")


def test_double_precision_is_kept(root: Path, tmp_path: Path) -> None:
    for path in write_maps(root, tmp_path / "maps"):
        target = tmp_path / "maps" / path.parents[2].name / "test" / path.parent.name / f"{path.stem}.npy"
        np.save(target, 1 + 1e-12 * truth(list_tree(root))[path])
    assert scored(root, tmp_path / "maps").means["pixel_auroc"].value == 1.0


def test_a_category_without_good_images_is_left_out_of_the_mean(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "nut" / "test" / "good")
    write_maps(root, tmp_path / "maps")
    with pytest.warns(UserWarning, match=r"image_auroc.* leaves out nut \(no good test images"):
        result = scored(root, tmp_path / "maps")
    nut = result.categories["nut"]
    assert all(math.isnan(nut.columns[name]) for name in ("image_auroc", "image_ap", "image_f1_max", "mean7"))
    assert 0 < nut.columns["pixel_auroc"] <= 1
    assert result.means["image_auroc"].value == result.categories["grid"].columns["image_auroc"]
    assert result.means["image_auroc"].missing == ("nut",)
    assert "n/a" in table(result)
    assert "note: nut: no good test images" in table(result)


def test_a_category_without_defects_or_images_is_left_out_of_the_mean(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "nut" / "test" / "scratch")
    (root / "empty" / "train").mkdir(parents=True)
    write_maps(root, tmp_path / "maps")
    with pytest.warns(UserWarning, match=r"leaves out empty \(no test images\); nut \(no defective test images\)"):
        result = scored(root, tmp_path / "maps")
    assert all(math.isnan(value) for value in result.categories["nut"].columns.values())
    assert result.means["pixel_ap"].missing == ("empty", "nut")


def test_a_mask_that_vanishes_at_the_size_is_said(root: Path, tmp_path: Path) -> None:
    thin = np.zeros((SIDE, SIDE), np.uint8)
    thin[1, 1] = 255
    put(root / "grid" / "ground_truth" / "bent" / "000_mask.png", thin)
    write_maps(root, tmp_path / "maps")
    result = scored(root, tmp_path / "maps", size=16)
    assert result.categories["grid"].defective == 4
    assert any("1 masks of grid have no pixel left" in note for note in result.notes)


def test_extra_maps_are_noted(root: Path, tmp_path: Path) -> None:
    write_maps(root, tmp_path / "maps")
    np.save(tmp_path / "maps" / "nut" / "test" / "good" / "777.npy", np.zeros((2, 2)))
    notes = scored(root, tmp_path / "maps").notes
    assert any("1 score maps belong to no test image" in note and "777.npy" in note for note in notes)


def test_some_categories_can_be_scored_alone(root: Path, tmp_path: Path) -> None:
    write_maps(root, tmp_path / "maps")
    shutil.rmtree(tmp_path / "maps" / "grid")
    assert list(scored(root, tmp_path / "maps", only="nut").categories) == ["nut"]


def test_files_hold_the_same_numbers(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "nut" / "test" / "good")
    write_maps(root, tmp_path / "maps")
    with pytest.warns(UserWarning, match="leaves out nut"):
        result = scored(root, tmp_path / "maps")
    rows = list(csv.DictReader(io.StringIO(to_csv(result).decode())))
    assert [row["row"] for row in rows] == ["category", "category", "mean", "pooled"]
    assert float(rows[0]["pixel_ap"]) == pytest.approx(result.categories["grid"].columns["pixel_ap"], rel=1e-9)
    assert rows[1]["image_auroc"] == ""
    assert float(rows[3]["pooled_pixel_auroc"]) == pytest.approx(result.pooled["pooled_pixel_auroc"], rel=1e-9)
    content = json.loads(to_json(result))
    assert content["categories"]["nut"]["metrics"]["image_auroc"] is None
    assert content["left_out_of_mean"]["image_auroc"] == ["nut"]
    assert content["facts"]["connectivity"] == 8


# ------------------------------------------------------------------------------------------------- bad input
PLACE = Path("nut", "test", "scratch", "001.npy")


def without(folder: Path) -> None:
    (folder / PLACE).unlink()


def twice(folder: Path) -> None:
    tifffile.imwrite((folder / PLACE).with_suffix(".tiff"), np.zeros((4, 4), np.float32))


def holding(value: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = np.load(folder / PLACE)
        values[3, 4] = value
        np.save(folder / PLACE, values)

    return damage


def shaped(*shape: int) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / PLACE, np.zeros(shape, np.float32))


def objects(folder: Path) -> None:
    np.save(folder / PLACE, np.array([[None, 1]], dtype=object), allow_pickle=True)


def text(folder: Path) -> None:
    np.save(folder / PLACE, np.array([["a", "b"]]))


def archive(folder: Path) -> None:
    with (folder / PLACE).open("wb") as file:
        np.savez(file, a=np.zeros((2, 2)))


def cut(folder: Path) -> None:
    (folder / PLACE).write_bytes((folder / PLACE).read_bytes()[:200])


def empty(folder: Path) -> None:
    (folder / PLACE).write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without, r"1 of 10 test images have no score map, the first is nut/test/scratch/001.*Expected"),
        (twice, r"nut/test/scratch/001 has 2 score maps"),
        (holding(math.nan), r"001\.npy: the score map holds 1 NaN or infinite values"),
        (holding(-math.inf), r"001\.npy: the score map holds 1 NaN or infinite values"),
        (shaped(1, 24, 24), r"001\.npy: the score map has shape \[1, 24, 24\]"),
        (shaped(24), r"001\.npy: the score map has shape \[24\]"),
        (shaped(0, 3), r"001\.npy: the score map has shape \[0, 3\]"),
        (objects, r"001\.npy: cannot be read as a score map \(Object arrays"),
        (text, r"001\.npy: the score map holds <U1, not numbers"),
        (archive, r"001\.npy: cannot be read as a score map \(it is an archive"),
        (cut, r"001\.npy: cannot be read as a score map"),
        (empty, r"001\.npy: cannot be read as a score map"),
        (shutil.rmtree, r"maps: does not exist"),
    ],
)
def test_maps_that_cannot_be_used_are_refused(
    root: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    write_maps(root, tmp_path / "maps")
    damage(tmp_path / "maps")
    with pytest.raises(DataError, match=message):
        scored(root, tmp_path / "maps")


def test_images_are_not_taken_for_their_maps(root: Path) -> None:
    for path in (root / "grid" / "test").rglob("*.png"):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".tiff"))
        path.unlink()
    with pytest.raises(DataError, match=r"000\.tiff: this is the image itself"):
        scored(root, root, only="grid")


@pytest.mark.parametrize("content", [b"", b"II*\x00", b"no tiff at all", "cut"])
def test_a_damaged_tiff_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "000.tiff"
    tifffile.imwrite(path, np.random.default_rng(0).random((20, 20), np.float32))
    path.write_bytes(path.read_bytes()[:-100] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"000\.tiff: cannot be read as a score map"):
        read_map(path)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "int32"])
def test_types_of_numbers_are_kept_exactly(tmp_path: Path, kind: str) -> None:
    values = (100 * np.random.default_rng(0).random((6, 7))).astype(kind)
    tifffile.imwrite(tmp_path / "a.tiff", values)
    np.save(tmp_path / "a.npy", values)
    for ending in ("tiff", "npy"):
        found = read_map(tmp_path / f"a.{ending}")
        assert found.dtype in (np.float32, np.float64)
        assert np.array_equal(found, values)


def test_a_mask_that_cannot_be_used_is_refused(root: Path, tmp_path: Path) -> None:
    write_maps(root, tmp_path / "maps")
    mask = root / "nut" / "ground_truth" / "scratch" / "001_mask.png"
    put(mask, np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match=r"001_mask\.png: the mask has no anomalous pixel"):
        scored(root, tmp_path / "maps")
    put(mask, np.full((SIDE, SIDE - 1), 255, np.uint8))
    with pytest.raises(DataError, match=r"001_mask\.png: the mask is 23x24 px"):
        scored(root, tmp_path / "maps")
    mask.unlink()
    with pytest.raises(DataError, match=r"001\.bmp: a defective image without its mask"):
        scored(root, tmp_path / "maps")


def test_images_of_two_sizes_need_a_size(root: Path, tmp_path: Path) -> None:
    write_maps(root, tmp_path / "maps")
    put(root / "nut" / "test" / "good" / "001.bmp", np.zeros((30, 20, 3), np.uint8))
    with pytest.raises(DataError, match=r"001\.bmp: the image is 20x30 px, but 000\.bmp is 24x24 px.*size="):
        scored(root, tmp_path / "maps")
    assert scored(root, tmp_path / "maps", size=24).categories["nut"].good == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size": "0"}, "size=0 must be a positive"),
        ({"size": "big"}, "must be numbers"),
        ({"smoothing": "-1"}, "smoothing=-1"),
        ({"smoothing": "nan"}, "smoothing=nan"),
        ({"connectivity": "6"}, "connectivity=6 is not 4 or 8"),
        ({"score": "median"}, "unknown score=median.*pooled_max"),
    ],
)
def test_wrong_words_are_refused(words: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**words)  # type: ignore[arg-type]
