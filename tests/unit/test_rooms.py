"""Family ``rooms``: the same bytes everywhere, exact depth, normals and labels, and options that are checked."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.codedigest import imports
from harness.data import cache as stored
from harness.data import catalogue, rooms, rooms_source
from harness.data.fields import FIELDS, flipped
from harness.data.rooms_furniture import LABELS
from harness.data.sheet import sheet
from harness.data.sources import open_source
from harness.types import ConfigError, DataError, DataSpec

ROOT = Path(__file__).resolve().parents[2]
TRAIN = (
    "image", "label", "coverage", "depth", "depth_coded", "cam2world", "K", "pose", "pivot", "light", "factors",
    "identity", "view",
)  # fmt: skip
HELD_OUT = (*TRAIN, "normal")


def room_spec(**options: object) -> DataSpec:
    return catalogue.spec("rooms", tier="micro", **options)  # type: ignore[arg-type]


@cache
def micro(count: int = 64) -> dict[str, np.ndarray]:
    """The first test rows at micro size."""
    return rooms.samples(room_spec(), "test", 0, count, HELD_OUT)


# ---------------------------------------------------------------------------------------------------- determinism
def digest_of_row(row: int) -> bytes:
    record = rooms.sample(room_spec(), "test", row)
    return b"".join(record[name].tobytes() for name in HELD_OUT)


def test_a_row_is_the_same_alone_in_any_order_and_in_another_process() -> None:
    here = [digest_of_row(row) for row in (2, 0, 1)]
    for place, row in enumerate((2, 0, 1)):
        assert here[place] == b"".join(micro()[name][row].tobytes() for name in HELD_OUT)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(digest_of_row, (2, 0, 1))) == here


def test_a_smaller_split_is_the_beginning_of_a_larger_one() -> None:
    small = room_spec(splits={"test": 2, "multiview": 10})
    for name, values in rooms.samples(small, "test", 0, 2, HELD_OUT).items():
        assert np.array_equal(values, micro()[name][:2])
    one, other = (rooms.sample(spec, "multiview", 6)["image"] for spec in (small, room_spec()))
    assert np.array_equal(one, other)


def test_splits_and_seeds_show_different_rooms() -> None:
    spec = room_spec()
    found = [rooms.furnish(spec, rooms.address(spec, split, 0)[0]) for split in rooms.SPLIT_IDS]
    other = room_spec(seed=1)
    found.append(rooms.furnish(other, rooms.address(other, "train", 0)[0]))
    assert len({(room.room.width, room.room.wall_hue, room.pose.yaw) for room in found}) == len(found)


def test_options_of_the_code_change_nothing_else() -> None:
    spec, published = room_spec(), room_spec(coding="per_image", depth_unit=7.0)
    a, b = (rooms.sample(one, "test", 3) for one in (spec, published))
    assert [name for name in HELD_OUT if not np.array_equal(a[name], b[name])] == ["depth_coded"]


# --------------------------------------------------------------------------------------------------------- records
def test_fields_have_their_declared_shape_and_type() -> None:
    sizes: dict[str | int, int] = {"H": 32, "W": 32, "F": len(rooms.FACTORS)}
    for name, values in micro().items():
        assert values.dtype == FIELDS[name].dtype, name
        assert values.shape[1:] == tuple(sizes.get(side, side) for side in FIELDS[name].shape), name
    assert (micro()["coverage"] == 255).all()
    assert np.array_equal(micro()["identity"], np.arange(64))


def test_every_label_has_pixels_and_every_pixel_a_label() -> None:
    counts = np.bincount(micro()["label"].ravel(), minlength=len(LABELS))
    assert len(counts) == len(LABELS)
    assert counts[0] == 0
    assert (counts[1:] >= 300).all()
    assert 0.3 < counts[LABELS.index("wall")] / counts.sum() < 0.55


def test_every_view_shows_three_things() -> None:
    spec = room_spec()
    assert spec.prior is not None
    for row in range(24):
        found = rooms.furnish(spec, rooms.address(spec, "multiview", 5 * row)[0])
        for view in range(5):
            things = found.scene.things(found.camera(rooms.yaw_of_view(spec, view)), spec.prior.fov, 32)
            assert (np.bincount(things)[1:] >= 5).sum() >= 3


def test_points_unprojected_from_depth_lie_on_the_walls_and_furniture() -> None:
    spec, data = room_spec(), micro()
    for row in range(4):
        scene = rooms.furnish(spec, rooms.address(spec, "test", row)[0]).scene
        cam2world, K = data["cam2world"][row].astype(float), data["K"][row].astype(float)
        centres = np.stack([*np.meshgrid((np.arange(32) + 0.5) / 32, (np.arange(32) + 0.5) / 32), np.ones((32, 32))])
        local = (np.linalg.inv(K) @ centres.reshape(3, -1)).T * data["depth"][row].reshape(-1, 1)
        points = local @ cam2world[:3, :3].T + cam2world[:3, 3]
        assert scene.caster.distance(points.astype(np.float32)).max() < 1e-3


def test_normals_are_unit_face_the_camera_and_agree_with_depth_on_walls() -> None:
    data, focal = micro(), 0.5 / np.tan(np.radians(52.4) / 2)
    normal, side = data["normal"].astype(float), (np.arange(32) + 0.5) / 32 - 0.5
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
    rays = np.stack([*np.meshgrid(side / focal, side / focal), np.ones((32, 32))], -1)
    assert ((normal * rays).sum(-1) < 0).all()
    points = rays * data["depth"][..., None]
    found = np.cross(points[:, :-2, 1:-1] - points[:, 2:, 1:-1], points[:, 1:-1, 2:] - points[:, 1:-1, :-2])
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    wall = data["label"] == LABELS.index("wall")
    inner = wall[:, 1:-1, 1:-1] & wall[:, :-2, 1:-1] & wall[:, 2:, 1:-1] & wall[:, 1:-1, :-2] & wall[:, 1:-1, 2:]
    cosine = np.abs((found * normal[:, 1:-1, 1:-1]).sum(-1))[inner]
    assert np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))) < 1


def test_the_camera_stands_in_the_room_and_looks_at_the_pivot() -> None:
    data = micro()
    names = [factor.name for factor in rooms.FACTORS]
    width, height, *pivot = (
        data["factors"][:, names.index(name)] for name in ("width", "height", "pivot_x", "pivot_y", "pivot_z")
    )
    origin, forward = data["cam2world"][:, :3, 3], data["cam2world"][:, :3, 2]
    assert (np.abs(origin[:, 0]) < width / 2 - 0.14).all()
    assert (origin[:, 1] < height - 0.1).all()
    yaw, elevation, radius = data["pose"].T
    np.testing.assert_allclose(origin + forward * radius[:, None], np.stack(pivot, 1), atol=1e-5)
    np.testing.assert_allclose(np.arctan2(-forward[:, 0], -forward[:, 2]), yaw, atol=1e-5)
    np.testing.assert_allclose(-np.arcsin(forward[:, 1]), elevation, atol=1e-5)
    assert (np.abs(yaw) <= np.pi / 12).all()
    assert np.abs(yaw).max() > 0.9 * np.pi / 12


def test_multiview_turns_one_room_by_even_steps() -> None:
    data = rooms.samples(room_spec(), "multiview", 5, 5, ("pose", "factors", "identity", "view", "light"))
    np.testing.assert_allclose(np.degrees(data["pose"][:, 0]), [-15, -7.5, 0, 7.5, 15], atol=1e-4)
    assert (data["factors"] == data["factors"][0]).all()
    assert data["identity"].tolist() == [1] * 5
    assert data["view"].tolist() == [0, 1, 2, 3, 4]
    assert len(np.unique(data["light"][:, 0])) == 5  # the lamp stays in the room, so it turns in the camera's frame


def test_codes_mean_depth() -> None:
    depth, code, spec = micro()["depth"].astype(float), micro()["depth_coded"] / 30000 - 1, room_spec()
    unit = float(spec.options["depth_unit"])
    np.testing.assert_allclose(((code + 1) / 2 + 0.13) * unit, depth, atol=unit / 60000)
    assert code.min() > -1
    assert code.max() < 1
    relative = rooms.coded(micro()["depth"], room_spec(coding="per_image")).astype(float)
    assert (relative.max((1, 2)) == 60000).all()
    np.testing.assert_allclose(relative / 60000, depth / depth.max((1, 2), keepdims=True), atol=1e-5)
    far = rooms.coded(np.array([[0.1, 100.0]], np.float32), spec)
    assert far.tolist() == [[0, 60000]]  # clipped


def test_the_stored_pivot_is_the_middle_of_the_visible_points() -> None:
    data = micro()
    assert np.abs(data["pivot"][:, 1] - (data["depth"].max((1, 2)) + data["depth"].min((1, 2))) / 2).max() < 1e-5
    assert np.abs(data["pivot"][:, 1] - data["pose"][:, 2]).mean() < 0.5  # near the pivot that the camera turns about
    mirrored = flipped({name: data[name] for name in ("pivot", "depth_coded")}, ())
    assert np.array_equal(mirrored["pivot"][:, 0], -data["pivot"][:, 0])
    assert np.array_equal(mirrored["depth_coded"], data["depth_coded"][:, :, ::-1])


def test_32_pixels_are_the_box_of_64() -> None:
    for row in range(3):
        small, large = micro()["image"][row], rooms.sample(room_spec(resolution=64), "test", row)["image"]
        light = (large / 255.0) ** 1.3
        box = light.reshape(32, 2, 32, 2, 3).mean((1, 3)) ** (1 / 1.3) * 255
        assert np.abs(small - box).max() < 1.5


# ------------------------------------------------------------------------------------------------------------ spec
def test_sizes_of_the_tiers() -> None:
    tiers = {
        "smoke": (32, (64, 16, 32, 64, 20)),
        "micro": (32, (16384, 1024, 2048, 4096, 640)),
        "small": (64, (20480, 2048, 2048, 8192, 1280)),
        "paper": (128, (50000, 2048, 10000, 20480, 1280)),
    }
    for tier, (side, sizes) in tiers.items():
        spec = catalogue.spec("rooms", tier=tier)  # type: ignore[arg-type]
        assert spec.resolution == side
        assert tuple(spec.splits[name] for name in ("train", "val", "test", "oracle", "multiview")) == sizes
    wide, narrow = room_spec().prior, room_spec(fov="narrow", views=3).prior
    assert wide is not None
    assert narrow is not None
    assert wide.name == "yaw15"
    assert [0.5 / np.tan(prior.fov / 2) for prior in (wide, narrow)] == pytest.approx([1.016, 2.03], rel=1e-3)
    assert room_spec(views=3).splits["multiview"] == 384


@pytest.mark.parametrize(
    "wrong",
    [
        {"fov": "tele"}, {"coding": "relative"}, {"depth_unit": 0}, {"depth_unit": "far"}, {"views": 0}, {"views": 2.5},
        {"fow": "wide"}, {"resolution": 48}, {"prior": "ring"}, {"splits": {"train": 0}}, {"splits": {"pairs": 2}},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        room_spec(**wrong)


def test_rows_beyond_a_split_are_refused() -> None:
    with pytest.raises(DataError):
        rooms.sample(room_spec(), "test", 2048)
    with pytest.raises(DataError):
        open_source(room_spec()).rows("pairs")


# ----------------------------------------------------------------------------------------------- cache and sheet
def test_the_cache_keeps_what_was_drawn(tmp_path: Path) -> None:
    spec = catalogue.spec("rooms", tier="smoke", splits={"train": 3, "test": 2, "multiview": 5})
    data = stored.open_dataset(spec, tmp_path)
    for name, rows in (("train", 3), ("test", 2), ("multiview", 5)):
        split = data.split(name)
        assert split.fields == tuple(sorted(TRAIN if name == "train" else HELD_OUT))
        drawn = rooms.samples(spec, name, 0, rows, split.fields)
        for kept in split.fields:
            assert np.array_equal(split.array(kept), drawn[kept])
        assert split.parts == LABELS
    assert data.split("train").factor_names == tuple(factor.name for factor in rooms.FACTORS)
    assert not stored.verify(spec, tmp_path, full=True).problems


def test_every_module_that_draws_is_in_the_digest_of_the_cache() -> None:
    pending, found = ["harness.data.rooms"], set[str]()
    while pending:
        module = pending.pop()
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if module.startswith("harness.data.") and module not in found and path.is_file():
            found.add(module)
            pending += imports(path, module)
    assert {name.rpartition(".")[2] for name in found} - {"fields"} == set(rooms_source._CODE)


def test_the_sheet_shows_rooms_depth_labels_and_yaws() -> None:
    picture = sheet(catalogue.spec("rooms", tier="smoke", resolution=16, splits={"train": 50}), scale=1)
    assert picture.shape == ((4 + 3 + 6) * 18 + 2, 10 * 18 + 2, 3)
