"""Rendering a street: rectangular pictures, Lambert light with one shadow ray, a sky with clouds, exact depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.meshes import Array
from harness.data.raycast import Caster, Hits
from harness.data.solids import Float
from harness.data.streets_materials import Painter, Points
from harness.data.streets_pieces import Geometry, Pieces
from harness.data.textures import Waves, hsv

FOV = np.radians(44)  # vertical
AMBIENT, DIFFUSE, SHADOW = (np.float32(value) for value in (0.48, 0.68, 0.75))
OFFSET = np.float32(5e-3)  # metres off the surface where a shadow ray starts


@dataclass(frozen=True)
class Eye:
    """A pinhole camera at ``origin`` [3] (metres); columns of ``rotation`` [3,3] point right, down and forward."""

    origin: Float
    rotation: Array

    def rays(self, rows: int, columns: int) -> Float:
        """Directions [rows * columns, 3] through pixel centres, 1 along the view: lengths along them are z-depth."""
        scale = 2 * np.tan(FOV / 2) / rows
        local = np.ones((rows, columns, 3))
        local[..., 0] = (np.arange(columns) + 0.5 - columns / 2) * scale
        local[..., 1] = ((np.arange(rows) + 0.5 - rows / 2) * scale)[:, None]
        return (local.reshape(-1, 3) @ self.rotation.T).astype(np.float32)


@dataclass(frozen=True)
class Weather:
    """The sun (unit ``direction`` towards it), the sky's hue and its clouds."""

    direction: Float
    hue: float
    clouds: Waves
    cover: float


@dataclass(frozen=True)
class Picture:
    """``colour`` linear [h,w,3] and z-``depth`` [h,w] (infinity = sky) of the fine rays; at the pixel centres ``label``
    and ``instance`` uint8 and z-``centre_depth`` float32 (0 = sky), each [H,W]."""

    colour: Float
    depth: Float
    label: NDArray[np.uint8]
    instance: NDArray[np.uint8]
    centre_depth: Float


def look(origin: Array, yaw: float, pitch: float) -> Eye:
    """An eye that looks along -z, turned to the right by ``yaw`` and down by ``pitch`` (radians)."""
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, np.sin(yaw)])
    return Eye(origin.astype(np.float32), np.stack([right, np.cross(forward, right), forward], 1))


def master_rows(resolution: int) -> int:
    """Rows of fine rays: 96 up to 48 px, so that 24 px is a box reduction of 48 px; two per pixel above."""
    return 96 if resolution in (24, 48) else 2 * resolution


def render(
    pieces: Pieces, eye: Eye, weather: Weather, texture: np.random.Generator, sky: int, resolution: int
) -> Picture:
    """The scene in H = ``resolution`` rows and 2 H columns; ``sky`` is the label of rays that hit nothing."""
    geometry = pieces.geometry()
    caster, rows = Caster(geometry.vertices, geometry.faces), master_rows(resolution)
    fine, centres = eye.rays(rows, 2 * rows), eye.rays(resolution, 2 * resolution)
    colour, depth, _ = _shaded(caster, geometry, Painter(pieces, texture), eye, weather, fine)
    seen = caster.cast(eye.origin, centres)
    piece = geometry.piece[seen.face]
    label, instance = (np.full(len(centres), value, np.uint8) for value in (sky, 0))
    label[seen.ray] = np.array(pieces.labels, np.uint8)[piece]
    instance[seen.ray] = np.array(pieces.instances, np.uint8)[piece]
    shape = (resolution, 2 * resolution)
    return Picture(
        colour.reshape(rows, 2 * rows, 3),
        depth.reshape(rows, 2 * rows),
        label.reshape(shape),
        instance.reshape(shape),
        _spread(len(centres), seen, np.float32(0)).reshape(shape),
    )


def _spread(count: int, hits: Hits, empty: np.float32) -> Float:
    depth = np.full(count, empty, np.float32)
    depth[hits.ray] = hits.distance
    return depth


def _shaded(
    caster: Caster, geometry: Geometry, painter: Painter, eye: Eye, weather: Weather, rays: Float
) -> tuple[Float, Float, Hits]:
    hits = caster.cast(eye.origin, rays)
    seen = rays[hits.ray]
    points, outward = _points(geometry, hits, seen, eye.origin)
    facing = np.clip(points.normal @ weather.direction, 0, 1)
    lit = np.flatnonzero(facing > 0)
    start = points.position[lit] + outward[lit] * OFFSET
    facing[lit] *= 1 - SHADOW * caster.blocked(start, weather.direction)
    light = AMBIENT * (np.float32(0.75) + np.float32(0.25) * points.normal[:, 1]) + DIFFUSE * facing
    depth = _spread(len(rays), hits, np.float32(np.inf))
    colour = np.empty((len(rays), 3), np.float32)
    colour[hits.ray] = painter(points) * light[:, None]
    open_sky = np.flatnonzero(~np.isfinite(depth))
    colour[open_sky] = _sky(rays[open_sky], weather)
    return np.clip(colour, 0, 1), depth, hits


def _points(geometry: Geometry, hits: Hits, seen: Float, origin: Float) -> tuple[Points, Float]:
    """Surface points with interpolated normals that never turn away from the viewer, and the faces' own normals."""
    corners = geometry.faces[hits.face]
    weights = np.empty((len(seen), 3), np.float32)
    weights[:, 1:] = hits.barycentric
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    both = np.concatenate([geometry.normals, geometry.canonical], 1)
    mixed = np.einsum("nc,nck->nk", weights, both[corners])
    normal, length = mixed[:, :3], np.einsum("ij,ij->i", seen, seen)
    along = np.einsum("ij,ij->i", normal, seen)
    away = np.flatnonzero(along > -0.02 * length)
    normal[away] -= (along[away] / length[away] + np.float32(0.02))[:, None] * seen[away]
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None]
    outward = np.where(np.einsum("ij,ij->i", hits.normal, seen)[:, None] > 0, -hits.normal, hits.normal)
    position = origin + hits.distance[:, None] * seen
    return Points(geometry.piece[hits.face], position, mixed[:, 3:], normal), outward


def _sky(rays: Float, weather: Weather) -> Float:
    """Pale near the horizon, deeper above, with clouds on a plane overhead."""
    unit = rays / np.sqrt(np.einsum("ij,ij->i", rays, rays))[:, None]
    up = np.clip(unit[:, 1], 0, 1)
    plane = np.zeros_like(unit)
    plane[:, ::2] = unit[:, ::2] / (np.abs(unit[:, 1:2]) + np.float32(0.2))
    cloud = np.clip(weather.clouds(plane) * np.float32(0.45) + np.float32(weather.cover), 0, 1)
    share = np.clip(up * np.float32(1.7), 0, 1)[:, None]
    blue = hsv(weather.hue, 0.16, 0.97) * (1 - share) + hsv(weather.hue, 0.62, 0.86) * share
    weight = (cloud * np.clip(up * 6, 0.25, 1))[:, None]
    return blue * (1 - weight) + np.array([0.93, 0.94, 0.96], np.float32) * weight
