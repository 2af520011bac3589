"""Rendering a room: one point light with shadows, ambient occlusion, exact depth, normals and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data import meshes
from harness.data.raycast import Caster, Float, Hits
from harness.data.rooms_materials import Painter
from harness.data.rooms_pieces import Geometry, Pieces

SHADOW = np.float32(0.8)  # share of the direct light that an occluder takes away
FALL = np.float32(0.12)  # the light falls as 1 / (1 + FALL d^2), d in metres
OFFSET, REACH = np.float32(5e-3), np.float32(0.55)  # metres: where rays start, and the length of those of the occlusion
_TILT = 1.0
_X, _Y = np.eye(3, dtype=np.float32)[:2]
_FAN = np.array(
    [(0.0, 1.0, 0.0)]
    + [(np.sin(_TILT) * np.cos(a), np.cos(_TILT), np.sin(_TILT) * np.sin(a)) for a in 0.3 + 1.2566 * np.arange(5)],
    np.float32,
)  # directions about +Y, the normal


@dataclass(frozen=True)
class Lamp:
    """A point light at ``position`` [3] (metres) of a linear ``colour`` [3]; ``ambient`` and ``diffuse`` strengths."""

    position: Float
    colour: Float
    ambient: float
    diffuse: float


@dataclass(frozen=True)
class Picture:
    """A view at resolution R: ``colour`` linear [R,R,3] is a box average; the rest is taken at pixel centres: ``label``
    uint8, number of the ``thing`` (0 = the room), z-``depth`` (metres), camera-frame ``normal``."""

    colour: Float
    label: NDArray[np.uint8]
    thing: NDArray[np.intp]
    depth: Float
    normal: Float


class RoomCaster(Caster):
    """Adds rays of limited length."""

    def interrupted(self, origins: Float, steps: Float) -> NDArray[np.bool_]:
        """Whether anything lies between ``origins`` and ``origins + steps``, each [N,3]."""
        rays = np.empty((len(origins), 6), np.float32)
        rays[:, :3] = origins
        rays[:, 3:] = steps
        return self._scene.test_occlusions(self._tensor(rays), tfar=1.0, nthreads=1).numpy()


class Scene:
    """A furnished room ready to be seen from anywhere."""

    def __init__(self, pieces: Pieces, lamp: Lamp, texture: np.random.Generator) -> None:
        self.geometry: Geometry = pieces.geometry()
        self.caster = RoomCaster(self.geometry.vertices, self.geometry.faces)
        self.lamp, self._painter = lamp, Painter(pieces, texture)
        self._labels, self._things = np.array(pieces.labels, np.uint8), np.array(pieces.things)

    def things(self, cam2world: NDArray[np.float64], fov: float, side: int) -> NDArray[np.intp]:
        """Number of the thing seen by each of ``side`` x ``side`` rays (0 = the room)."""
        hits = self.caster.cast(cam2world[:3, 3].astype(np.float32), _rays(cam2world, fov, side))
        return self._things[self.geometry.piece[hits.face]]

    def render(self, cam2world: NDArray[np.float64], fov: float, resolution: int) -> Picture:
        """The view of a camera [4,4] with full angle ``fov`` (radians) at ``resolution`` pixels per side."""
        side = master_side(resolution)
        fine, coarse = _rays(cam2world, fov, side), _rays(cam2world, fov, resolution)
        origin = cam2world[:3, 3].astype(np.float32)
        rays = np.concatenate([fine, coarse])
        hits = self.caster.cast(origin, rays)
        assert len(hits.ray) == len(rays), "a ray left the room"
        normal, outward = self._normals(hits, rays)
        piece = self.geometry.piece[hits.face]
        first, last = slice(None, len(fine)), slice(len(fine), None)
        position = origin + hits.distance[first, None] * fine
        colour = self._painter(piece[first], position, normal[first])
        glow = self._painter.glow[piece[first], None]
        light = self._light(position, normal[first], outward[first], side)
        colour = np.minimum(colour * np.where(glow > 0, glow, light), 1).reshape(side, side, 3)
        shape = (resolution, resolution)
        return Picture(
            _box(colour, resolution),
            self._labels[piece[last]].reshape(shape),
            self._things[piece[last]].reshape(shape),
            hits.distance[last].reshape(shape),
            (normal[last] @ cam2world[:3, :3].astype(np.float32)).reshape(*shape, 3),
        )

    def _normals(self, hits: Hits, seen: Float) -> tuple[Float, Float]:
        """Interpolated normals that never turn away from the viewer, and those of the faces."""
        corners = self.geometry.normals[self.geometry.faces].reshape(-1, 9).take(hits.face, axis=0, mode="clip")
        b, c = hits.barycentric[:, :1], hits.barycentric[:, 1:]
        normal = corners[:, :3] * (1 - b - c) + corners[:, 3:6] * b + corners[:, 6:] * c
        along, length = (np.einsum("ij,ij->i", vectors, seen) for vectors in (normal, seen))
        away = np.flatnonzero(along > -0.02 * length)
        normal[away] -= (along[away] / length[away] + np.float32(0.02))[:, None] * seen[away]
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None]
        turned = np.einsum("ij,ij->i", hits.normal, seen)[:, None] > 0
        return normal, np.where(turned, -hits.normal, hits.normal)

    def _light(self, position: Float, normal: Float, outward: Float, side: int) -> Float:
        """What falls on points of a ``side`` x ``side`` picture: ambient light and the lamp's, [M,3]."""
        start = position + outward * OFFSET
        towards = self.lamp.position - start
        square = np.einsum("ij,ij->i", towards, towards)
        facing = np.einsum("ij,ij->i", normal, towards) / np.sqrt(square)
        lit = np.flatnonzero(facing > 0)
        blocked = self.caster.interrupted(start[lit], towards[lit] * np.float32(0.97))
        direct = np.zeros(len(position), np.float32)
        direct[lit] = facing[lit] * (1 - SHADOW * blocked) / (1 + FALL * square[lit])
        ambient = np.float32(self.lamp.ambient) * (
            np.float32(0.45) + np.float32(0.55) * self._openness(start, normal, side)
        )
        return ambient[:, None] + (np.float32(self.lamp.diffuse) * direct)[:, None] * self.lamp.colour

    def _openness(self, start: Float, normal: Float, side: int) -> Float:
        """Share of a fan of short rays that meets nothing, at every second ray or fewer, smoothed over 3 x 3: [M]."""
        step = max(side // 64, 2) if side <= 256 else side // 128
        rows = np.arange(side).reshape(-1, step)[:, 0]
        at = (rows[:, None] * side + rows).ravel()
        up, begin = normal[at], start[at]
        aside = np.where(np.abs(up[:, 1:2]) > 0.9, _X, _Y)
        across = meshes.normalised(meshes.cross(aside, up))
        frames = np.concatenate([across, up, meshes.cross(up, across)], 1)  # [n,9]
        steps = (_FAN * REACH) @ frames.reshape(-1, 3, 3)
        blocked = self.caster.interrupted(np.repeat(begin, len(_FAN), 0), steps.reshape(-1, 3))
        met = blocked.reshape(-1, len(_FAN)).sum(-1).reshape(len(rows), len(rows))
        open_share = 1 - met.astype(np.float32) / np.float32(len(_FAN))
        padded = np.pad(open_share, 1, mode="edge")
        count = len(rows)
        smooth = sum(padded[i : i + count, j : j + count] for i in range(3) for j in range(3)) / np.float32(9)
        return np.repeat(np.repeat(smooth, step, 0), step, 1).ravel()


def master_side(resolution: int) -> int:
    """Rays per image side: 128 up to 64 px, so that small sizes are box reductions of one master; 2 per pixel above."""
    return 128 if resolution <= 64 else 2 * resolution


def camera_at(pivot: NDArray[np.float64], yaw: float, elevation: float, radius: float) -> NDArray[np.float64]:
    """``cam2world`` [4,4] of a camera (OpenCV axes) on the sphere around ``pivot`` [3] that looks at it."""
    sin_a, cos_a, sin_e, cos_e = np.sin(yaw), np.cos(yaw), np.sin(elevation), np.cos(elevation)
    backward = np.array([sin_a * cos_e, sin_e, cos_a * cos_e])
    matrix = np.eye(4)
    matrix[:3, 0] = cos_a, 0.0, -sin_a
    matrix[:3, 1] = sin_a * sin_e, -cos_e, cos_a * sin_e
    matrix[:3, 2], matrix[:3, 3] = -backward, pivot + radius * backward
    return matrix


def _rays(cam2world: NDArray[np.float64], fov: float, side: int) -> Float:
    """Directions [side * side, 3] through pixel centres, 1 along the view: lengths along them are z-depth."""
    across = ((np.arange(side) + 0.5) / side - 0.5) * 2 * np.tan(fov / 2)
    local = np.ones((side, side, 3))
    local[..., 0], local[..., 1] = across, across[:, None]
    return (local.reshape(-1, 3) @ cam2world[:3, :3].T).astype(np.float32)


def _box(image: Float, resolution: int) -> Float:
    """Mean over square blocks, by slices: ten times faster than a mean over strided axes."""
    factor = len(image) // resolution
    rows = sum(image[k::factor] for k in range(1, factor)) + image[::factor]
    return (sum(rows[:, k::factor] for k in range(1, factor)) + rows[:, ::factor]) * np.float32(1 / factor**2)
