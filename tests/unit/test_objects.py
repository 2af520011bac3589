"""Procedural objects: geometry, labels, cameras and randomness agree with one another."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.cameras import look_at, unproject
from harness.data import atlas, catalogue, objects, shading
from harness.data.fields import FIELDS, flipped
from harness.data.randomness import CLASS_IDS, GROUP_IDS
from harness.data.raycast import Caster
from harness.data.solids import Surface
from harness.data.splits import SPLIT_IDS, stored
from harness.data.textures import decode
from harness.types import Cameras, DataSpec

CLASSES = tuple(objects.CLASSES)
ROWS = 10
EVERY = tuple(name for name in FIELDS if any(name in stored(split) for split in SPLIT_IDS))


@pytest.fixture(scope="module", params=CLASSES)
def spec(request: pytest.FixtureRequest) -> DataSpec:
    return catalogue.spec(f"objects/{request.param}", resolution=32)


@pytest.fixture(scope="module")
def record(spec: DataSpec) -> dict[str, np.ndarray]:
    return objects.samples(spec, "test", 0, ROWS, EVERY)


def cameras_of(record: dict[str, np.ndarray], spec: DataSpec) -> Cameras:
    assert spec.prior is not None
    azimuth, elevation = (torch.from_numpy(record["pose"][:, k].copy()) for k in (0, 1))
    return look_at(azimuth, elevation, spec.prior)


def digest(arrays: dict[str, np.ndarray]) -> str:
    parts = [hashlib.sha256(np.ascontiguousarray(arrays[name]).tobytes()).hexdigest() for name in sorted(arrays)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_fields_have_their_declared_shapes_and_types(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    kind = objects.class_of(spec)
    sizes = {"H": 32, "W": 32, "P": len(kind.keypoints), "F": len(kind.factors)}
    for name, values in record.items():
        shape = tuple(sizes[s] if isinstance(s, str) else s for s in FIELDS[name].shape)
        assert values.shape == (ROWS, *shape), name
        assert values.dtype == FIELDS[name].dtype, name


def test_one_sample_alone_equals_the_same_in_a_batch(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    for index in (7, 2):
        alone = objects.sample(spec, "test", index, EVERY)
        assert all(np.array_equal(alone[name], record[name][index]) for name in EVERY)


def test_labels_and_depth_agree(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    assert np.array_equal(record["label"] > 0, record["depth"] > 0)
    assert np.array_equal(record["label"] > 0, (record["normal"] != 0).any(-1))
    assert record["label"].max() < len(objects.class_of(spec).parts)
    assert (record["coverage"][record["label"] > 0] > 0).all()


def test_the_frame_s_border_stays_empty(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    ring = np.ones((32, 32), bool)
    ring[1:-1, 1:-1] = False
    assert (record["coverage"][:, ring] == 0).all()


def test_the_object_fills_the_unit_sphere(spec: DataSpec) -> None:
    for index in range(4):
        solid = objects.build_solid(spec, "train", index)
        radius = np.linalg.norm(solid.vertices, axis=1)
        assert radius.max() == pytest.approx(1, abs=1e-4)
        assert radius.max() <= 1 + 1e-6


def test_unprojected_depth_lies_on_the_mesh(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    points = unproject(torch.from_numpy(record["depth"]), cameras_of(record, spec)).numpy()
    for index in range(4):
        solid = objects.build_solid(spec, "test", index)
        seen = points[index][record["depth"][index] > 0]
        assert Caster(solid.vertices, solid.faces).distance(seen).max() < 1e-3


def test_stored_cameras_are_those_of_the_camera_module(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    cameras = cameras_of(record, spec)
    np.testing.assert_allclose(record["cam2world"], cameras.cam2world.numpy(), atol=2e-6)
    np.testing.assert_allclose(record["K"], cameras.intrinsics.numpy(), atol=1e-6)


def test_normals_are_unit_and_face_the_camera(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    seen = record["depth"] > 0
    normals = record["normal"][seen]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-4)
    pixel = (np.arange(32) + 0.5) / 32 - 0.5
    focal = record["K"][0, 0, 0]
    rays = np.stack(np.broadcast_arrays(pixel[None] / focal, pixel[:, None] / focal, 1.0), -1)
    towards = np.einsum("nk,nk->n", normals, np.broadcast_to(rays, (ROWS, 32, 32, 3))[seen])
    assert (towards < 0).all()


def test_normals_agree_with_the_depth_map_inside_smooth_parts() -> None:
    spec = catalogue.spec("objects/head", resolution=64, background="sky")
    record = objects.sample(spec, "test", 1, ("depth", "normal", "K"))
    depth = record["depth"].astype(np.float64)
    pixel = ((np.arange(64) + 0.5) / 64 - 0.5) / record["K"][0, 0]
    points = np.stack([pixel[None] * depth, pixel[:, None] * depth, depth], -1)
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    measured = np.cross(down, across)
    measured /= np.maximum(np.linalg.norm(measured, axis=-1, keepdims=True), 1e-12)
    jump = np.maximum(np.abs(across[..., 2]), np.abs(down[..., 2]))
    inside = (depth[1:-1, 1:-1] > 0) & (jump < 0.1) & (depth[2:, 1:-1] > 0) & (depth[:-2, 1:-1] > 0)
    cosine = np.einsum("ijk,ijk->ij", measured, record["normal"][1:-1, 1:-1])[inside]
    assert np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))) < 3


def test_projected_keypoints_are_the_stored_ones(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    for index in range(ROWS):
        local = np.linalg.inv(record["cam2world"][index].astype(np.float64))
        camera = record["kp3d"][index] @ local[:3, :3].T + local[:3, 3]
        pixels = camera @ record["K"][index].T.astype(np.float64)
        np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], record["kp2d"][index], atol=1e-5)


def test_visible_keypoints_lie_on_the_depth_map(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    seen = record["kp_vis"] > 0
    assert seen.mean() > 0.25
    for index in range(ROWS):
        columns, rows = (record["kp2d"][index, seen[index]].T * 32).astype(int)
        around = np.pad(record["coverage"][index], 1)
        nearby = [around[r : r + 3, c : c + 3].max() for r, c in zip(rows, columns, strict=True)]
        assert (np.array(nearby) > 0).all()


def test_32_pixels_are_the_box_average_of_64(spec: DataSpec) -> None:
    small = objects.sample(spec, "val", 3, ("image", "coverage"))
    large = objects.sample(replace(spec, resolution=64), "val", 3, ("image", "coverage"))
    box = decode(large["image"]).reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(box - decode(small["image"])).max() < 1.5 / 255
    share = large["coverage"].reshape(32, 2, 32, 2).mean((1, 3))
    assert np.abs(share - small["coverage"]).max() <= 1


def test_views_of_one_identity_differ_in_pose_only() -> None:
    spec = catalogue.spec("objects/car", tier="smoke")
    record = objects.samples(spec, "multiview", 0, 12, ("identity", "view", "factors", "pose", "image"))
    assert record["identity"].tolist() == [0] * 6 + [1] * 6
    assert record["view"].tolist() == [*range(6), *range(6)]
    assert (record["factors"][:6] == record["factors"][0]).all()
    assert len(np.unique(record["pose"][:6, 0])) == 6
    assert (record["factors"][0] != record["factors"][6]).any()


@pytest.mark.parametrize("prior", ["ring", "wide60", "front_gauss", "front_uniform", "hemisphere"])
def test_poses_follow_the_prior(prior: str) -> None:
    spec = catalogue.spec("objects/head", prior=prior, background="sky")
    assert spec.prior is not None
    drawn = np.array([objects.draw_angles(spec.prior, objects.streams(spec, "train", k)("pose")) for k in range(400)])
    reach = 2.5 if spec.prior.kind == "gauss" else 1.0
    for column, (middle, spread) in enumerate((spec.prior.azimuth, spec.prior.elevation)):
        assert (np.abs(drawn[:, column] - middle) <= spread * reach + 1e-9).all()
        width = spread if spec.prior.kind == "gauss" else spread / np.sqrt(3)
        assert drawn[:, column].std() == pytest.approx(width, rel=0.25)
    grid = np.array([objects.grid_angles(spec.prior, 24, k) for k in range(24)])
    assert len(np.unique(grid.round(6), axis=0)) == 24


def test_a_mirrored_head_is_the_flipped_image_under_a_mirrored_light() -> None:
    spec = catalogue.spec("objects/head", resolution=64, background="sky")
    index = next(k for k in range(20) if not objects.scenario(spec, "train", k).factors["asymmetric"])
    scene, solid = objects.scenario(spec, "train", index), objects.build_solid(spec, "train", index)
    pictures = []
    for sign in (1.0, -1.0):
        camera = objects.camera_matrix(sign * scene.azimuth, scene.elevation, scene.radius)
        direction = scene.light.direction * np.array([sign, 1, 1])
        light = shading.Light(direction, scene.light.ambient, scene.light.diffuse)
        pictures.append(shading.render(solid, shading.View(camera, scene.view.fov), light, scene.background, 64))
    there, back = pictures
    assert np.quantile(np.abs(there.colour - back.colour[:, ::-1]), 0.98) < 0.01
    assert (there.label == back.label[:, ::-1]).mean() > 0.99
    np.testing.assert_allclose(there.coverage, back.coverage[:, ::-1], atol=0.26)


def test_flipping_a_record_flips_its_geometry(spec: DataSpec, record: dict[str, np.ndarray]) -> None:
    mirror = objects.class_of(spec).mirror
    turned = flipped(record, mirror)
    again = flipped(turned, mirror)
    assert all(np.allclose(again[name], record[name], atol=1e-6) for name in record)
    local = np.linalg.inv(turned["cam2world"].astype(np.float64))
    camera = np.einsum("nij,npj->npi", local[:, :3, :3], turned["kp3d"]) + local[:, None, :3, 3]
    pixels = np.einsum("nij,npj->npi", turned["K"].astype(np.float64), camera)
    np.testing.assert_allclose(pixels[..., :2] / pixels[..., 2:], turned["kp2d"], atol=1e-5)
    np.testing.assert_array_equal(turned["pose"][:, 0], -record["pose"][:, 0])


def test_the_two_samples_of_a_pair_differ_in_one_factor(spec: DataSpec) -> None:
    kind = objects.class_of(spec)
    for pair in range(len(kind.factors)):
        first, second = (objects.scenario(spec, "pairs", 2 * pair + side) for side in (0, 1))
        changed = [name for name in first.factors if first.factors[name] != second.factors[name]]
        assert changed == [kind.factors[pair].name]
        assert first.pair_factor == second.pair_factor == pair
        assert (first.azimuth, first.elevation) == (second.azimuth, second.elevation)
        assert np.array_equal(first.background, second.background)


def test_no_two_splits_share_a_factor_vector(spec: DataSpec) -> None:
    names = [name for name in spec.splits if name not in ("pairs", "multiview")]
    rows = [tuple(objects.scenario(spec, name, index).factors.values()) for name in names for index in range(6)]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    "split", ["domainB", "domainC", "ood_accessory", "ood_shift", "ood_background", "ood_asymmetric"]
)
def test_altered_splits_render_whole_objects(spec: DataSpec, split: str) -> None:
    record = objects.samples(spec, split, 0, 4, ("image", "label", "coverage", "depth", "kp2d", "kp_vis", "kp3d"))
    assert np.array_equal(record["label"] > 0, record["depth"] > 0)
    ring = np.ones((32, 32), bool)
    ring[1:-1, 1:-1] = False
    assert (record["coverage"][:, ring] == 0).all()
    accessory = len(objects.class_of(spec).parts)
    assert ((record["label"] == accessory).any()) == (split == "ood_accessory")


def test_every_part_is_seen_in_a_split() -> None:
    for name, kind in objects.CLASSES.items():
        spec = catalogue.spec(f"objects/{name}", resolution=64, prior="ring")
        labels = {int(v) for k in range(30) for v in np.unique(objects.sample(spec, "train", k, ("label",))["label"])}
        assert labels == set(range(len(kind.parts))), name


def test_the_texture_atlas_shows_the_paint(spec: DataSpec) -> None:
    solid = objects.build_solid(spec, "train", 2)
    uv = atlas.unwrap(solid)
    assert uv.min() >= 0
    assert uv.max() <= 1
    texture = atlas.bake(solid, uv)
    corners = solid.faces
    middle = Surface(solid.part, solid.primitive, solid.canonical[corners].mean(1), solid.normals[corners].mean(1))
    albedo, _ = solid.paint(middle)
    column, row = (uv.mean(1).T * atlas.SIDE).astype(int)
    sides = (uv[:, 1:] - uv[:, :1]).astype(np.float64)
    area = np.abs(np.linalg.det(sides))
    close = np.abs(texture[row, column] - albedo * 255).max(1) < 26
    assert np.average(close, weights=area) > 0.85
    assert len(np.unique(atlas.charts(solid)[0])) <= 6 * len(np.unique(solid.primitive))


def test_unlit_objects_show_their_albedo() -> None:
    spec = catalogue.spec("objects/car", resolution=64, light="albedo", background="sky")
    record = objects.sample(spec, "train", 0, ("image", "albedo", "coverage", "light"))
    full = record["coverage"] == 255
    difference = np.abs(decode(record["image"]) * 255 - record["albedo"])[full]
    assert np.median(difference) < 3
    assert record["light"][4] == 0


def test_frozen_ids_are_unique() -> None:
    for table in (SPLIT_IDS, CLASS_IDS, GROUP_IDS):
        assert len(set(table.values())) == len(table)
    assert SPLIT_IDS["train"] == 1
    assert CLASS_IDS == {"car": 1, "creature": 2, "head": 3, "chair": 4}


def test_another_process_renders_the_same_bytes() -> None:
    program = "import json; from tests.unit.test_objects import here; print(json.dumps(here()))"
    root = Path(__file__).resolve().parents[2]
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root
    ).stdout
    assert json.loads(output) == here()


def here() -> dict[str, str]:
    """Digests of a few records of each class, as this process renders them."""
    found = {}
    for name in CLASSES:
        spec = catalogue.spec(f"objects/{name}", resolution=32)
        found[name] = digest(objects.samples(spec, "train", 5, 2, EVERY))
    return found
