"""Family ``streets``: the same bytes everywhere, labels that the shift never moves, classes that are all there."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.data import cache as stored
from harness.data import catalogue, streets
from harness.data.sheet import sheet
from harness.data.sources import open_source
from harness.data.streets import CLASSES, IGNORE
from harness.types import ConfigError, DataError, DataSpec

SIGN, SKY, PERSON, CAR = (CLASSES.index(name) for name in ("sign", "sky", "person", "car"))
HELD_OUT = ("image", "label", "depth", "instance", "factors")


def street_spec(**options: object) -> DataSpec:
    return catalogue.spec("streets", tier="micro", **options)  # type: ignore[arg-type]


@cache
def micro(split: str, count: int = 32) -> dict[str, np.ndarray]:
    """The first rows of a split at micro size."""
    return streets.samples(street_spec(), split, 0, count, HELD_OUT)


def shares(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels.ravel(), minlength=256)[: len(CLASSES)] / labels.size


# ---------------------------------------------------------------------------------------------------- determinism
def digest_of_row(row: int) -> bytes:
    record = streets.sample(street_spec(), "test", row)
    return b"".join(record[name].tobytes() for name in HELD_OUT)


def test_a_row_is_the_same_alone_in_any_order_and_in_another_process() -> None:
    here = [digest_of_row(row) for row in (2, 0, 1)]
    together = streets.samples(street_spec(), "test", 0, 3, HELD_OUT)
    for place, row in enumerate((2, 0, 1)):
        assert here[place] == b"".join(together[name][row].tobytes() for name in HELD_OUT)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(digest_of_row, (2, 0, 1))) == here


def test_a_smaller_split_is_the_beginning_of_a_larger_one() -> None:
    small = street_spec(splits={"unlabelled": 2})
    for name, values in streets.samples(small, "unlabelled", 0, 2, ("image", "label")).items():
        assert np.array_equal(values, streets.samples(street_spec(), "unlabelled", 0, 2, (name,))[name])


def test_splits_settings_and_seeds_show_different_scenes() -> None:
    ssl = street_spec(setting="ssl")
    first = [streets.sample(street_spec(), split, 0)["label"] for split in ("labelled", "unlabelled", "val", "test")]
    first += [streets.sample(ssl, split, 0)["label"] for split in ("labelled", "val", "test")]
    first.append(streets.sample(street_spec(seed=1), "labelled", 0)["label"])
    assert len({label.tobytes() for label in first}) == len(first)


# --------------------------------------------------------------------------------------------------------- shift
def test_the_shift_moves_no_label() -> None:
    for row in range(3):
        records = [streets.sample(street_spec(shift=shift), "test", row) for shift in (0.0, 0.3, 1.0)]
        for record in records[1:]:
            for name in ("label", "depth", "instance"):
                assert np.array_equal(record[name], records[0][name])
            assert not np.array_equal(record["image"], records[0]["image"])
            assert np.array_equal(record["factors"][:-1], records[0]["factors"][:-1])
        assert [record["factors"][-1] for record in records] == pytest.approx([0.0, 0.3, 1.0])


def test_the_target_is_darker_bluer_and_paler_far_away() -> None:
    clear, shifted = (street_spec(shift=shift) for shift in (0.0, 1.0))
    pairs = [[streets.sample(spec, "test", row) for spec in (clear, shifted)] for row in range(4)]
    before, after = (np.stack([pair[k]["image"] for pair in pairs]).astype(float) for k in (0, 1))
    assert after.mean() < 0.8 * before.mean()
    assert after.mean() > 50  # not black
    tints = [(picture / picture.mean()).mean((0, 1, 2)) for picture in (before, after)]
    assert tints[1][2] - tints[1][0] > tints[0][2] - tints[0][0] + 0.05
    depth = np.stack([pair[0]["depth"] for pair in pairs])
    near, far = (depth > 0) & (depth < 8), depth > 25
    contrast = [[grey[at].std() / grey[at].mean() for at in (near, far)] for grey in (before.mean(-1), after.mean(-1))]
    assert contrast[1][1] / contrast[0][1] < 0.8 * contrast[1][0] / contrast[0][0]


def test_the_source_has_no_shift_and_ssl_has_all_of_them() -> None:
    uda, ssl = street_spec(), street_spec(setting="ssl", shift=0.8)
    assert [streets.sample(uda, "labelled", row)["factors"][-1] for row in range(3)] == [0, 0, 0]
    assert [streets.sample(uda, "unlabelled", row)["factors"][-1] for row in range(3)] == [1, 1, 1]
    for split in ("labelled", "unlabelled", "val", "test"):
        found = np.array([streets.sample(ssl, split, row)["factors"][-1] for row in range(8)])
        assert ((found >= 0) & (found < 0.8)).all()
        assert np.ptp(found) > 0.1


def test_the_layout_shift_changes_the_target_only() -> None:
    plain, moved = street_spec(), street_spec(layout_shift=1.0)
    same = [np.array_equal(*(streets.sample(s, split, 1)["label"] for s in (plain, moved))) for split in plain.splits]
    assert same == [True, False, False, False]
    cars = [np.mean([streets.sample(s, "test", row)["factors"][2] for row in range(6)]) for s in (plain, moved)]
    assert cars[1] > cars[0]


# -------------------------------------------------------------------------------------------------------- labels
def test_every_class_has_its_share() -> None:
    for split in ("labelled", "test"):
        found = shares(micro(split)["label"])
        assert (found >= 0.015).all()
        assert found[0] > 0.2
        assert found[[SIGN, PERSON, CAR]].max() < 0.08  # a long tail
        present = (micro(split)["label"][..., None] == np.arange(len(CLASSES))).any((1, 2)).mean(0)
        assert (present >= 0.9).all()


def test_labels_are_train_ids_and_some_of_the_border_is_ignored() -> None:
    label = micro("test")["label"]
    assert set(np.unique(label)) == {*range(len(CLASSES)), IGNORE}
    assert 0.008 < (label == IGNORE).mean() < 0.03
    edges = np.zeros(label.shape, bool)
    known = np.where(label == IGNORE, 99, label)
    edges[:, :, 1:] |= known[:, :, 1:] != known[:, :, :-1]
    edges[:, :, :-1] |= edges[:, :, 1:]
    edges[:, 1:] |= known[:, 1:] != known[:, :-1]
    assert edges[label == IGNORE].mean() > 0.99


def test_depth_and_things_agree_with_the_labels() -> None:
    data = micro("test")
    label, depth, instance = data["label"], data["depth"], data["instance"]
    known = label != IGNORE
    assert np.array_equal((depth == 0)[known], (label == SKY)[known])
    assert np.isfinite(depth).all()
    assert depth[depth > 0].min() > 0.5
    things = np.isin(label, (PERSON, CAR))
    assert np.array_equal((instance > 0)[known], things[known])
    assert (instance[known & (label == CAR)] > 100).all()
    assert (instance[known & (label == PERSON)] < 100).all()
    for one in instance[:8]:
        for number in np.unique(one[one > 0]):  # a thing is not scattered over the street
            assert np.ptp(depth[:8][instance[:8] == number]) < 40


def test_seven_classes_merge_the_sidewalk_into_the_road() -> None:
    eight, seven = street_spec(), street_spec(classes=7)
    assert streets.class_names(seven) == tuple(name for name in CLASSES if name != "sidewalk")
    assert len(streets.palette(seven)) == 7
    a, b = (streets.sample(spec, "val", 2)["label"] for spec in (eight, seven))
    both = (a != IGNORE) & (b != IGNORE)
    assert np.array_equal(np.where(a > 0, a - 1, 0)[both], b[both])
    assert np.array_equal(*(streets.sample(spec, "val", 2)["image"] for spec in (eight, seven)))


def test_labels_at_all_sizes_show_one_scene() -> None:
    for rows in (24, 128):
        spec = street_spec(resolution=rows)
        record = streets.sample(spec, "test", 0)
        assert record["image"].shape == (rows, 2 * rows, 3)
        assert np.abs(shares(record["label"]) - shares(streets.sample(street_spec(), "test", 0)["label"])).max() < 0.03


def test_24_rows_are_the_box_of_48() -> None:
    """Without a shift there is no noise: linear light of the small picture is the mean of the large one."""
    small, large = (streets.sample(street_spec(resolution=rows), "labelled", 0)["image"] for rows in (24, 48))
    light = (large / 255.0) ** 1.3
    box = light.reshape(24, 2, 48, 2, 3).mean((1, 3)) ** (1 / 1.3) * 255
    assert np.abs(small - box).max() < 1.5


# ---------------------------------------------------------------------------------------------------- label budget
def test_four_labels_show_every_class() -> None:
    spec = street_spec(setting="ssl", labelled=4)
    assert spec.splits["labelled"] + spec.splits["unlabelled"] == 512
    for row in range(4):
        label = streets.sample(spec, "labelled", row)["label"]
        assert (np.bincount(label.ravel(), minlength=256)[: len(CLASSES)] >= 0.7 * streets.ENOUGH).all()
    assert sorted(streets.training_order(0, 1, 512)) == list(range(512))


# ---------------------------------------------------------------------------------------------------------- spec
def test_sizes_of_the_tiers() -> None:
    tiers = {
        "smoke": (24, (16, 16, 8, 8)),
        "micro": (48, (512, 512, 64, 300)),
        "small": (64, (2000, 2000, 200, 500)),
        "paper": (128, (2000, 2000, 200, 500)),
    }
    for tier, (rows, sizes) in tiers.items():
        spec = catalogue.spec("streets", tier=tier)  # type: ignore[arg-type]
        assert (spec.resolution, tuple(spec.splits.values())) == (rows, sizes)
    assert catalogue.spec("streets", tier="smoke", setting="ssl").splits["labelled"] == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"setting": "sda"}, {"shift": 1.5}, {"shift": "much"}, {"classes": 6}, {"classes": 7.5}, {"colour": 1},
        {"setting": "ssl", "labelled": 512}, {"setting": "ssl", "labelled": 0}, {"setting": "ssl", "layout_shift": 0.5},
        {"setting": "ssl", "splits": {"labelled": 5}}, {"splits": {"train": 5}}, {"splits": {"val": 0}},
        {"resolution": 50}, {"prior": "ring"}, {"layout_shift": -1},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        street_spec(**wrong)


def test_rows_that_do_not_exist_are_refused() -> None:
    with pytest.raises(DataError):
        streets.sample(street_spec(), "test", 300)
    with pytest.raises(DataError):
        open_source(street_spec()).rows("train")


# ------------------------------------------------------------------------------------------------ cache and sheet
def test_the_cache_keeps_what_was_drawn(tmp_path: Path) -> None:
    spec = catalogue.spec("streets", tier="smoke", splits=dict.fromkeys(("labelled", "unlabelled", "val", "test"), 3))
    data = stored.open_dataset(spec, tmp_path)
    for name in spec.splits:
        split = data.split(name)
        assert split.fields == tuple(sorted(HELD_OUT if name in ("val", "test") else ("image", "label")))
        for kept in split.fields:
            assert np.array_equal(split.array(kept), streets.samples(spec, name, 0, 3, (kept,))[kept])
        assert split.index["classes"] == list(CLASSES) == list(split.parts)
        assert split.index["palette"][SKY] == [70, 130, 180]
    assert data.split("test").factor_names[-1] == "shift"


def test_the_sheet_shows_both_domains_and_the_shifts() -> None:
    spec = catalogue.spec("streets", tier="smoke")
    picture = sheet(spec, scale=1)
    lines = 2 * (16 // 6) + 2 * (8 // 6) + 2 + 1  # images and labels of both splits, shifts, depth and things
    assert picture.shape == (lines * (24 + 2) + 2, 6 * (48 + 2) + 2, 3)
