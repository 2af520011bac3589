"""Triangle primitives: ellipsoids, boxes, frusta and lofts with smooth normals and canonical coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Faces = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """One primitive: ``vertices``, unit ``normals`` and ``canonical`` coordinates (where painted parts live), each
    [V,3]; ``faces`` [F,3] wind counter-clockwise seen from outside."""

    vertices: Array
    normals: Array
    canonical: Array
    faces: Faces

    def moved(self, rotation: Array, offset: ArrayLike, scale: float = 1.0) -> Mesh:
        """The mesh after scaling, rotation ([3,3]) and translation; canonical coordinates stay."""
        return replace(
            self,
            vertices=(self.vertices * scale) @ rotation.T + np.asarray(offset),
            normals=self.normals @ rotation.T,
        )


def rotation_x(angle: float) -> Array:
    """Rotation about +X by ``angle`` radians (+Y towards +Z)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> Array:
    """Rotation about +Y by ``angle`` radians (+Z towards +X)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> Array:
    """Rotation about +Z by ``angle`` radians (+X towards +Y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def normalised(vectors: Array) -> Array:
    """Unit vectors along the last axis; zero vectors stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


@lru_cache(maxsize=64)
def _tube_faces(rows: int, columns: int) -> Faces:
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    k = (j + 1) % columns
    a, b, c, d = i * columns + j, i * columns + k, (i + 1) * columns + j, (i + 1) * columns + k
    return np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))]).astype(np.int32)


def tube_normals(points: Array) -> Array:
    """Smooth outward normals of a tube of rings [rows, columns, 3] by central differences.

    Rings turn clockwise about the direction from the first to the last row; a collapsed ring (pole) takes the mean
    normal of its neighbour.
    """
    around = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    normals = normalised(cross(along, around))
    for pole, neighbour in ((0, 1), (-1, -2)):
        if np.abs(around[pole]).max() < 1e-9:
            normals[pole] = normalised(normals[neighbour].mean(0))
    return normals


def cross(a: Array, b: Array) -> Array:
    """Cross product along the last axis (several times faster than np.cross on small arrays)."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


@lru_cache(maxsize=16)
def unit_sphere(rows: int = 14, columns: int = 20) -> Mesh:
    """The unit sphere as rings from the pole +Y to the pole -Y (cached: do not write into it)."""
    polar = np.linspace(0.0, np.pi, rows)[:, None]
    around = np.linspace(0.0, 2 * np.pi, columns, endpoint=False)[None]
    radius = np.sin(polar)
    radius[[0, -1]] = 0.0
    x, z = radius * np.sin(around), radius * np.cos(around)
    vertices = np.stack([x, np.cos(polar) + 0 * around, z], -1).reshape(-1, 3)
    return Mesh(vertices, vertices, vertices, _tube_faces(rows, columns))


def displaced_sphere(radial: Array, radii: ArrayLike, rows: int, columns: int) -> Mesh:
    """``unit_sphere`` with its radius times ``radial`` [V] and its axes times ``radii`` [3]; smooth normals."""
    sphere = unit_sphere(rows, columns)
    vertices = sphere.vertices * radial[:, None] * np.asarray(radii)
    normals = tube_normals(vertices.reshape(rows, columns, 3)).reshape(-1, 3)
    return Mesh(vertices, normals, sphere.canonical, sphere.faces)


def ellipsoid(
    centre: ArrayLike, radii: ArrayLike, *, rows: int = 14, columns: int = 20, rotation: Array | None = None
) -> Mesh:
    """An ellipsoid; canonical coordinates are those of the unit sphere."""
    sphere = unit_sphere(rows, columns)
    scale = np.asarray(radii, float)
    mesh = replace(sphere, vertices=sphere.vertices * scale, normals=normalised(sphere.normals / scale))
    return mesh.moved(np.eye(3) if rotation is None else rotation, centre)


@lru_cache(maxsize=1)
def _unit_box() -> Mesh:
    vertices: list[Array] = []
    normals: list[Array] = []
    faces: list[Faces] = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            corners = np.zeros((4, 3))
            corners[:, axis] = side
            corners[:, (axis + 1) % 3] = np.array([-1, 1, 1, -1]) * side
            corners[:, (axis + 2) % 3] = [-1, -1, 1, 1]
            normal = np.zeros((4, 3))
            normal[:, axis] = side
            faces.append(np.array([[0, 1, 2], [0, 2, 3]], np.int32) + 4 * len(vertices))
            vertices.append(corners)
            normals.append(normal)
    stacked = np.concatenate(vertices)
    return Mesh(stacked, np.concatenate(normals), stacked, np.concatenate(faces))


def box(centre: ArrayLike, half: ArrayLike, *, taper: float = 1.0, rotation: Array | None = None) -> Mesh:
    """A box of half sizes ``half`` with flat faces; ``taper`` scales the width (x) of the upper face.

    Canonical coordinates are those of the cube [-1,1]^3.
    """
    cube = _unit_box()
    vertices = cube.vertices * np.asarray(half, float)
    normals = cube.normals
    if taper != 1.0:
        vertices[:, 0] *= 1 + (taper - 1) * (cube.vertices[:, 1] + 1) / 2
        lean = (taper - 1) * np.asarray(half, float)[0] / (2 * np.asarray(half, float)[1])
        sides = normals[:, 0] != 0
        normals = normals.copy()
        normals[sides, 1] = -lean
        normals = normalised(normals)
    return replace(cube, vertices=vertices, normals=normals).moved(np.eye(3) if rotation is None else rotation, centre)


@lru_cache(maxsize=16)
def _unit_frustum(sides: int) -> tuple[Array, Faces]:
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), -np.sin(angle)], -1)
    i = np.arange(sides)
    k = (i + 1) % sides
    wall = np.concatenate([np.stack([i, sides + i, k], 1), np.stack([k, sides + i, sides + k], 1)])
    lids = [np.stack([np.full(sides, 4 * sides), 2 * sides + i, 2 * sides + k], 1)]
    lids.append(np.stack([np.full(sides, 4 * sides + 1), 3 * sides + k, 3 * sides + i], 1))
    return ring, np.concatenate([wall, *lids]).astype(np.int32)


def frustum(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float, sides: int = 14) -> Mesh:
    """A closed cylinder or cone from ``start`` to ``end``; canonical coordinates are (x, y) on the unit disc and the
    height in [0, 1]."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    axis = b - a
    length = float(np.linalg.norm(axis))
    axis = axis / length
    side = normalised(cross(axis, np.array([0.31, 0.87, 0.4])))
    up = cross(axis, side)
    ring, faces = _unit_frustum(sides)
    spokes = ring @ np.stack([side, up])
    low, high = a + spokes * radius, b + spokes * end_radius
    vertices = np.concatenate([low, high, low, high, a[None], b[None]])
    slope = normalised(spokes + axis * (radius - end_radius) / length)
    lids = np.repeat([-axis, axis], len(ring), axis=0)
    normals = np.concatenate([slope, slope, lids, -axis[None], axis[None]])
    flat = np.concatenate([np.concatenate([ring, np.full((len(ring), 1), h)], 1) for h in (0.0, 1.0)])
    canonical = np.concatenate([flat, flat, [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    return Mesh(vertices, normals, canonical, faces)


def capsule(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float) -> list[Mesh]:
    """A frustum with a sphere at each end."""
    ends = ((start, radius), (end, end_radius))
    caps = [ellipsoid(c, [r] * 3, rows=9, columns=12) for c, r in ends]
    return [frustum(start, end, radius, end_radius, 12), *caps]


def loft(
    along: Array,
    middle: Array,
    half_width: Array,
    half_height: Array,
    *,
    exponent: float = 4.0,
    columns: int = 28,
    tumblehome: float = 0.0,
) -> Mesh:
    """A closed body of superellipse sections stacked along z.

    ``along``, ``middle`` (y of the section's centre), ``half_width`` and ``half_height`` are [rows]; ``tumblehome`` is
    the share by which the top of a section is narrower than its bottom. Canonical coordinates are the object's own.
    """
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False) + np.pi / columns
    cos, sin = np.cos(angle), -np.sin(angle)
    across = np.sign(cos) * np.abs(cos) ** (2 / exponent)
    upward = np.sign(sin) * np.abs(sin) ** (2 / exponent)
    x = half_width[:, None] * across * (1 - tumblehome * (upward + 1) / 2)
    y = middle[:, None] + half_height[:, None] * upward
    points = np.stack([x, y, np.broadcast_to(along[:, None], x.shape)], -1)
    lids = np.stack([np.broadcast_to([0.0, middle[k], along[k]], (columns, 3)) for k in (0, -1)])
    rings = np.concatenate([lids[:1], points, lids[1:]])
    normals = np.concatenate([lids[:1] * 0 - [0, 0, 1], tube_normals(points), lids[1:] * 0 + [0, 0, 1]])
    vertices = rings.reshape(-1, 3)
    return Mesh(vertices, normals.reshape(-1, 3), vertices, _tube_faces(len(rings), columns))


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """All meshes as one; face indices are shifted."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.canonical for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]).astype(np.int32),
    )
