"""Procedural family ``rooms``: furnished rooms with exact depth, seen by a camera that turns about a pivot inside.

Stands in for photographs of bedrooms and kitchens with estimated depth: no object in the middle, depth fills the
frame, layouts differ.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.factors import Factor, choice, shape
from harness.data.fields import Array
from harness.data.rooms_layout import DEPTH, HEIGHT, WIDTH, Planner, Room, Sight
from harness.data.rooms_render import Scene, camera_at
from harness.data.textures import encode
from harness.types import DataError, DataSpec

VERSION = "1"  # raise it when a recipe changes the pictures
MARGIN = 0.13  # of the depth unit: depth codes begin there
CODES = 60000
ENOUGH = 0.01  # share of the rays that shows a thing
VISIBLE = 3  # things that every view shows
WALL_GAP = 0.15  # metres between the camera and a side wall
PIVOT_X, PIVOT_Z, PIVOT_Y = (-0.25, 0.25), (0.22, 0.40), (0.8, 1.15)  # shares of width and depth; metres
RADIUS = (2.6, 3.6)  # metres
FACTORS = (
    shape("width", *WIDTH),
    shape("height", *HEIGHT),
    shape("depth", *DEPTH),
    choice("main", "shape", 0.2, 0.4, 0.4),
    shape("furniture", 0, 6),
    choice("windows", "shape", 0.4, 0.3, 0.3),
    choice("pictures", "shape", 0.4, 0.3, 0.3),
    choice("rug", "shape", 0.5, 0.5),
    Factor("wall_hue", "appearance", kind="circular"),
    Factor("floor_hue", "appearance", kind="circular"),
    Factor("light_x", "appearance", -2.8, 2.8),
    Factor("light_y", "appearance", 1.6, 2.6),
    Factor("light_z", "appearance", 0.0, 5.4),
    Factor("pivot_x", "articulation", -1.4, 1.4),
    Factor("pivot_y", "articulation", *PIVOT_Y),
    Factor("pivot_z", "articulation", 0.8, 2.2),
)

Group = Literal["pose", "layout", "appearance", "texture"]
# Frozen integers: a stored data set depends on them. Add names at the end, never change a number.
FAMILY_ID = 4
GROUP_IDS: dict[Group, int] = {"pose": 1, "layout": 2, "appearance": 3, "texture": 4}
SPLIT_IDS = {"train": 1, "val": 2, "test": 3, "oracle": 4, "multiview": 5}


@dataclass(frozen=True)
class Address:
    """Which room a row shows: number ``index`` of a split under the master ``seed``."""

    seed: int
    version: int
    split: str
    index: int


@dataclass(frozen=True)
class Pose:
    """The camera about its pivot: ``yaw`` and ``elevation`` (radians), ``radius`` and the pivot's height (metres)."""

    yaw: float
    elevation: float
    radius: float
    pivot_y: float


@dataclass(frozen=True)
class Furnished:
    """A room ready to be seen, and the pose drawn for it."""

    scene: Scene
    room: Room
    pose: Pose

    def camera(self, yaw: float) -> NDArray[np.float64]:
        """``cam2world`` [4,4] at a ``yaw`` (radians)."""
        pivot = np.array([self.room.pivot_x, self.pose.pivot_y, self.room.pivot_z])
        return camera_at(pivot, yaw, self.pose.elevation, self.pose.radius)


def address(spec: DataSpec, split: str, row: int) -> tuple[Address, int]:
    """The room of a row and the number of its view; raises DataError for a row that the split does not have."""
    if split not in spec.splits or not 0 <= row < spec.splits[split]:
        raise DataError(f"no row {row} in split '{split}'", where=spec.name)
    index, view = divmod(row, int(spec.options["views"])) if split == "multiview" else (row, 0)
    return Address(spec.seed, int(spec.version), split, index), view


def stream(place: Address, group: Group) -> np.random.Generator:
    """The Philox stream of one factor group of one room.

    The 128-bit key holds the master seed and the packed ids (8 bits family, 8 version, 16 split, 16 group); the
    counter's upper word holds the index.
    """
    packed = FAMILY_ID << 56 | (place.version & 0xFF) << 48 | SPLIT_IDS[place.split] << 16 | GROUP_IDS[group]
    key = np.array([place.seed & 0xFFFFFFFFFFFFFFFF, packed], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, place.index], np.uint64)))


def yaw_of_view(spec: DataSpec, view: int) -> float:
    """Yaw (radians) of view ``view`` of ``multiview``: evenly spaced over the prior, ends included."""
    assert spec.prior is not None
    views = int(spec.options["views"])
    return spec.prior.azimuth[1] * (2 * view / (views - 1) - 1 if views > 1 else 0.0)


def furnish(spec: DataSpec, place: Address) -> Furnished:
    """The room at ``place``: drawn anew until at least three things are seen from both ends and the middle of the yaws.

    Yaw, elevation, radius and the pivot's place are drawn once, from their own stream, before the room is known, so
    that neither the room's size nor its colours tell the yaw.
    """
    assert spec.prior is not None
    generator, most = stream(place, "pose"), spec.prior.azimuth[1]
    yaw, elevation, radius, pivot_y, along = generator.uniform(
        (-most, spec.prior.elevation[0] - spec.prior.elevation[1], RADIUS[0], PIVOT_Y[0], PIVOT_Z[0]),
        (most, spec.prior.elevation[0] + spec.prior.elevation[1], RADIUS[1], PIVOT_Y[1], PIVOT_Z[1]),
    ).tolist()  # fmt: skip
    pose = Pose(yaw, elevation, radius, pivot_y)
    away, aside = radius * np.cos(elevation) * np.cos(most), radius * np.cos(elevation) * np.sin(most)
    layout, paint, texture = stream(place, "layout"), stream(place, "appearance"), stream(place, "texture")
    fov = spec.prior.fov
    while True:
        across = float(generator.uniform(*PIVOT_X))
        planner = Planner(Sight(across, along, float(away), float(np.tan(fov / 2))), layout, paint)
        if abs(planner.pivot_x) + aside > planner.half - WALL_GAP:
            continue
        room = planner.furnish()
        found = Furnished(Scene(planner.pieces, room.lamp, texture), room, pose)
        if all(_shown(found.scene.things(found.camera(angle), fov, 24)) >= VISIBLE for angle in (-most, 0.0, most)):
            return found


def _shown(things: NDArray[np.intp]) -> int:
    """How many things have at least one in a hundred of the rays."""
    return int((np.bincount(things.ravel())[1:] >= ENOUGH * things.size).sum())


def coded(depth: Array, spec: DataSpec) -> NDArray[np.uint16]:
    """z-``depth`` [...,H,W] (metres) as integers from 0 to 60000, 30000 (d + 1).

    Coding ``common``: z = ((d + 1) / 2 + 0.13) depth_unit; what lies outside is clipped. ``per_image``:
    z = (d + 1) / 2 times the largest depth of the image, the published form.
    """
    if spec.options["coding"] == "common":
        share = depth / float(spec.options["depth_unit"]) - MARGIN
    else:
        share = depth / depth.max((-2, -1), keepdims=True)
    return np.rint(np.clip(share.astype(np.float64), 0, 1) * CODES).astype(np.uint16)


def sample(
    spec: DataSpec, split: str, row: int, *, furnished: Furnished | None = None, yaw: float | None = None
) -> dict[str, Array]:
    """One row with all its fields.

    ``image`` uint8 [R,R,3]; ``label``, ``coverage`` uint8 [R,R]; ``depth`` float32 [R,R] (z, metres); ``depth_coded``
    uint16 [R,R]; ``normal`` float32 [R,R,3]; ``cam2world`` [4,4], ``K`` [3,3]; ``pose`` [3] (yaw, elevation, radius);
    ``pivot`` [2]; ``light`` [5]; ``factors`` [F]; ``identity``, ``view`` int32. ``furnished`` saves building the room
    again, ``yaw`` (radians) replaces the row's.
    """
    place, view = address(spec, split, row)
    assert spec.prior is not None
    found = furnished or furnish(spec, place)
    if yaw is None:
        yaw = yaw_of_view(spec, view) if split == "multiview" else found.pose.yaw
    cam2world, fov, resolution = found.camera(yaw), spec.prior.fov, spec.resolution
    picture = found.scene.render(cam2world, fov, resolution)
    focal, room, lamp = 0.5 / np.tan(fov / 2), found.room, found.scene.lamp
    pivot = np.array([room.pivot_x, found.pose.pivot_y, room.pivot_z])
    towards = lamp.position - pivot
    towards = cam2world[:3, :3].T @ (towards / np.linalg.norm(towards))
    sizes = (room.width, room.height, room.depth, room.main, *room.counts, room.wall_hue, room.floor_hue)
    across = picture.depth * ((np.arange(resolution) + 0.5) / resolution - 0.5) / focal
    return {
        "image": encode(picture.colour),
        "label": picture.label,
        "coverage": np.full((resolution, resolution), 255, np.uint8),
        "depth": picture.depth,
        "depth_coded": coded(picture.depth, spec),
        "normal": picture.normal,
        "cam2world": cam2world.astype(np.float32),
        "K": np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], np.float32),
        "pose": np.array([yaw, found.pose.elevation, found.pose.radius], np.float32),
        "pivot": np.array([(values.max() + values.min()) / 2 for values in (across, picture.depth)], np.float32),
        "light": np.array([*towards, lamp.ambient, lamp.diffuse], np.float32),
        "factors": np.array([*sizes, *lamp.position, *pivot], np.float32),
        "identity": np.array(place.index, np.int32),
        "view": np.array(view, np.int32),
    }


def samples(spec: DataSpec, split: str, first: int, count: int, fields: Collection[str]) -> dict[str, Array]:
    """Rows ``first`` to ``first + count`` stacked field by field: the same bytes as ``sample`` one at a time."""
    rows: list[dict[str, Array]] = []
    known: tuple[Address, Furnished] | None = None
    for row in range(first, first + count):
        place = address(spec, split, row)[0]
        if known is None or known[0] != place:
            known = place, furnish(spec, place)
        record = sample(spec, split, row, furnished=known[1])
        rows.append({name: record[name] for name in fields})
    return {name: np.stack([row[name] for row in rows]) for name in fields}
