"""Views of one room from several yaws: the sanity gate of DepthGAN's rotation (its sign, pivot and depth code), exact
reprojection, and nothing but the view that tells the yaw."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import pytest

from harness.data import rooms
from tests.unit.test_independence import explained
from tests.unit.test_rooms import micro, room_spec

ROOMS, VIEWS = 14, 5


@cache
def several(fov: str = "wide") -> dict[str, np.ndarray]:
    """Rooms from five yaws each, fields [ROOMS,5,...]."""
    names = ("image", "depth", "cam2world", "K", "pose")
    data = rooms.samples(room_spec(fov=fov), "multiview", 0, ROOMS * VIEWS, names)
    return {name: values.reshape(ROOMS, VIEWS, *values.shape[1:]) for name, values in data.items()}


# -------------------------------------------------------------------------------------------------------- the gate
def bilinear(maps: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """``maps`` [H,W,C] at pixel coordinates (centres at +0.5), zero beyond the frame."""
    x, y, side = column - 0.5, row - 0.5, len(maps)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    found = np.zeros((*x.shape, maps.shape[-1]))
    for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at, down = left + j, top + i
        weight = (1 - np.abs(x - at)) * (1 - np.abs(y - down))
        weight = weight * ((at >= 0) & (at < side) & (down >= 0) & (down < side))
        found += weight[..., None] * maps[np.clip(down, 0, side - 1), np.clip(at, 0, side - 1)]
    return found


def rotation_sums(first: np.ndarray, second: np.ndarray, theta: float, focal: float) -> tuple[float, float, int]:
    """Sums of |D2 - Z'| and, over three channels, of |I2 - I1| over the pixels in frame, and their number.

    Maps [H,W,4] hold depth and colour. View 1 is turned by ``theta`` about the mid-range of its points (depthgan.md
    section 4, pixel centres at +0.5).
    """
    side = len(first)
    row, column = np.mgrid[:side, :side] + 0.5
    z = first[..., 0]
    x, y = (column - side / 2) * z / focal, (row - side / 2) * z / focal
    middle_x, middle_z = (x.max() + x.min()) / 2, (z.max() + z.min()) / 2
    c, s = np.cos(theta), np.sin(theta)
    turned_x = c * (x - middle_x) + s * (z - middle_z) + middle_x
    turned_z = -s * (x - middle_x) + c * (z - middle_z) + middle_z
    u, v = focal * turned_x / (turned_z + 1e-8) + side / 2, focal * y / (turned_z + 1e-8) + side / 2
    inside = (u >= 0) & (u <= side) & (v >= 0) & (v <= side)
    sampled = bilinear(second, u, v)
    difference = np.abs(sampled - np.concatenate([turned_z[..., None], first[..., 1:]], -1))[inside]
    return float(difference[:, 0].sum()), float(difference[:, 1:].sum()), int(inside.sum())


def rotation_errors(fov: str, coding: str) -> dict[str, tuple[float, float]]:
    """(e_depth, e_rgb) of every ordered pair of views, under the true angle and three wrong ones."""
    data, spec = several(fov), room_spec(fov=fov, coding=coding)
    depth = rooms.coded(data["depth"].reshape(-1, 32, 32), spec).reshape(data["depth"].shape) / rooms.CODES
    maps = np.concatenate([depth[..., None] + rooms.MARGIN, data["image"] / 127.5 - 1], -1)
    yaw, focal = data["pose"][..., 0].astype(float), 32 * float(data["K"][0, 0, 0, 0])
    sums = {name: np.zeros(3) for name in ("true", "zero", "flipped", "shuffled")}
    for room in range(ROOMS):
        for a, b in list(permutations(range(VIEWS), 2))[room % 2 :: 2]:
            theta = yaw[room, b] - yaw[room, a]
            first, second, other = maps[room, a], maps[room, b], maps[(room + 1) % ROOMS, b]
            sums["true"] += rotation_sums(first, second, theta, focal)
            sums["zero"] += rotation_sums(first, second, 0.0, focal)
            sums["flipped"] += rotation_sums(first, second, -theta, focal)
            sums["shuffled"] += rotation_sums(first, other, theta, focal)
    return {name: (depth / count, colour / count) for name, (depth, colour, count) in sums.items()}


@pytest.mark.parametrize("fov", ["wide", "narrow"])
def test_the_true_rotation_beats_none_and_none_beats_the_wrong_sign(fov: str) -> None:
    found = rotation_errors(fov, "common")
    for error in (0, 1):
        true, zero, flipped, shuffled = (found[name][error] for name in ("true", "zero", "flipped", "shuffled"))
        assert true < 0.97 * zero
        assert zero < 0.9 * flipped
        assert flipped < 0.9 * shuffled
    assert found["true"][1] < 0.8 * found["zero"][1]


def test_no_rotation_is_the_identity() -> None:
    maps = np.concatenate([several()["depth"][0, 2, ..., None], several()["image"][0, 2] / 255], -1)
    depth, colour, count = rotation_sums(maps, maps, 0.0, 32.5)
    assert depth / count < 1e-7
    assert colour / count < 1e-7
    assert count == 32 * 32


# ---------------------------------------------------------------------------------------------------- reprojection
def test_a_view_warped_by_its_depth_matches_another_where_nothing_hides_it() -> None:
    data, side = several(), 32
    near, seen, colour = [], [], []
    for room in range(ROOMS):
        for a, b in ((1, 2), (2, 3), (2, 0)):
            K = data["K"][room, a].astype(float)
            row, column = (np.mgrid[:side, :side] + 0.5) / side
            rays = np.stack([column, row, np.ones_like(row)], -1) @ np.linalg.inv(K).T
            poses = data["cam2world"][room].astype(float)
            world = rays * data["depth"][room, a][..., None] @ poses[a, :3, :3].T + poses[a, :3, 3]
            local = (world - poses[b, :3, 3]) @ poses[b, :3, :3]
            pixel = (local @ K.T)[..., :2] / local[..., 2:] * side
            inside = ((pixel > 1) & (pixel < side - 1)).all(-1)
            at = np.floor(pixel[inside]).astype(int)
            patch = np.stack(
                [data["depth"][room, b][at[:, 1] + i, at[:, 0] + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
            )
            z = local[inside][:, 2]
            near.append(z > patch.min(0) * 0.97)  # nothing stands in front of what was seen
            same = np.abs(z / patch[4] - 1) < 0.02
            seen.append(z < patch.max(0) * 1.03)
            difference = np.abs(data["image"][room, b][at[:, 1], at[:, 0]] / 255 - data["image"][room, a][inside] / 255)
            colour.append(difference[same].mean(-1))
    assert np.concatenate(near).mean() > 0.995
    assert np.concatenate(seen).mean() > 0.85  # the rest is hidden
    assert np.median(np.concatenate(colour)) < 0.02  # the light stays with the room
    assert np.concatenate(colour).mean() < 0.06


def test_near_things_move_against_far_ones() -> None:
    """The pivot stays in the middle; what is nearer moves one way, what is farther the other."""
    data = several()
    shifts = []
    for room in range(ROOMS):
        a, b = data["cam2world"][room, 1].astype(float), data["cam2world"][room, 3].astype(float)
        radius = float(data["pose"][room, 0, 2])
        for distance in (0.6 * radius, radius, 1.5 * radius):
            point = a[:3, 3] + a[:3, 2] * distance
            local = b[:3, :3].T @ (point - b[:3, 3])
            shifts.append(local[0] / local[2])
    near, middle, far = np.array(shifts).reshape(ROOMS, 3).T
    assert (near < -0.05).all()
    assert np.abs(middle).max() < 1e-6
    assert (far > 0.05).all()


# ---------------------------------------------------------------------------------------------------- no shortcuts
@cache
def drawn(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Factors and pose (yaw, elevation, radius) of rooms, without pictures."""
    spec = room_spec()
    found = [rooms.furnish(spec, rooms.address(spec, "train", row)[0]) for row in range(count)]
    factors = [
        (one.room.width, one.room.height, one.room.depth, *one.room.counts, one.room.wall_hue, one.room.floor_hue,
         *one.scene.lamp.position, one.room.pivot_x, one.pose.pivot_y, one.room.pivot_z)
        for one in found
    ]  # fmt: skip
    poses = [(one.pose.yaw, one.pose.elevation, one.pose.radius) for one in found]
    return np.array(factors), np.array(poses)


def test_the_room_does_not_tell_the_yaw() -> None:
    factors, poses = drawn()
    waves = np.sin(2 * np.pi * factors[:, 7:9])
    features = np.concatenate([factors, factors**2, waves], 1)
    generator = np.random.default_rng(0)
    for target in (poses[:, :1], np.abs(poses[:, :1])):
        chance = [explained(features, generator.permutation(target), 30.0) for _ in range(99)]
        assert explained(features, target, 30.0) <= np.quantile(chance, 0.99) + 0.02
    width, hue = factors[:, 0], factors[:, 7]
    for nuisance in (width, np.sin(2 * np.pi * hue), np.cos(2 * np.pi * hue)):
        assert abs(np.corrcoef(nuisance, poses[:, 0])[0, 1]) < 0.17  # 1 % quantile of chance


def test_yaws_elevations_and_radii_fill_their_ranges() -> None:
    _, poses = drawn()
    for values, (low, high) in zip(poses.T, ((-np.pi / 12, np.pi / 12), (0.02, 0.28), rooms.RADIUS), strict=True):
        share = (values - low) / (high - low)
        assert share.min() > 0
        assert share.max() < 1
        assert np.abs(np.sort(share) - (np.arange(len(share)) + 0.5) / len(share)).max() < 0.11  # Kolmogorov, 1 %


def test_the_brightest_pixel_does_not_tell_depth() -> None:
    data = micro()
    count = len(data["image"])
    light, depth = data["image"].mean(-1).reshape(count, -1), data["depth"].reshape(count, -1)
    at = light.argmax(1)
    rank = (depth < depth[np.arange(count), at][:, None]).mean(1)
    assert 0.3 < rank.mean() < 0.7
    assert rank.std() > 0.15
    place = np.stack([at % 32, at // 32, light.max(1)], 1).astype(float)
    assert explained(place, depth.mean(1)[:, None], 3.0) < 0.2
