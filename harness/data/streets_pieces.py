"""A street as a few templates placed many times: every template's copies are transformed together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.data import meshes
from harness.data.meshes import Array
from harness.data.solids import Float, Solid

Shape = Literal["box", "gable", "post", "cone", "disc", "triangle", "blob"]
Kind = Literal["flat", "road", "pavement", "leaves", "wall", "sign", "lamps", "car"]
KINDS: tuple[Kind, ...] = ("flat", "road", "pavement", "leaves", "wall", "sign", "lamps", "car")
_ASLANT = np.array([0.31, 0.2, 0.93])  # no post is parallel to it
NUMBERS = 8  # parameters of a material beyond its two colours


@dataclass(frozen=True)
class Material:
    """How a piece is painted: a ``kind`` with up to eight ``numbers`` whose meaning depends on it, and two colours."""

    kind: Kind
    colour: ArrayLike
    second: ArrayLike = (0.0, 0.0, 0.0)
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Geometry:
    """One mesh of all pieces: ``vertices``, ``normals`` (not unit), ``canonical`` float32 [V,3], ``faces`` uint32
    [F,3] and the number of the ``piece`` of each face [F]."""

    vertices: Float
    normals: Float
    canonical: Float
    faces: NDArray[np.uint32]
    piece: NDArray[np.intp]


@dataclass(frozen=True)
class CarPlace:
    """A car of the bank: its first piece and how it stands, ``world = matrix @ own + offset``."""

    solid: Solid
    piece: int
    matrix: Array
    offset: Array


@lru_cache(maxsize=16)
def _template(name: Shape) -> meshes.Mesh:
    """Unit primitives: the cube [-1,1]^3, a ridge along z, upright posts of height 1 and plates across z."""
    if name == "box":
        return meshes.box([0, 0, 0], [1, 1, 1])
    if name == "gable":
        return meshes.box([0, 0.5, 0], [1, 0.5, 1], taper=0.04)
    if name == "post":
        return meshes.frustum([0, 0, 0], [0, 1, 0], 1.0, 0.75, 8)
    if name == "cone":
        return meshes.frustum([0, 0, 0], [0, 1, 0], 1.0, 0.45, 10)
    if name == "blob":
        return meshes.ellipsoid([0, 0, 0], [1, 1, 1], rows=9, columns=12)
    plate = meshes.frustum([0, 0, -1], [0, 0, 1], 1.0, 1.0, 3 if name == "triangle" else 18)
    x, y, _ = plate.vertices[0]
    return plate.moved(meshes.rotation_z(np.pi / 2 - np.arctan2(y, x)), [0, 0, 0])  # a corner on top


@dataclass
class Pieces:
    """Collects the pieces of one scene, with the class, the thing and the material of each."""

    labels: list[int] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    cars: list[CarPlace] = field(default_factory=list)
    _placed: dict[Shape, tuple[list[Array], list[Array], list[int]]] = field(default_factory=dict)

    def add(
        self, shape: Shape, label: int, material: Material, centre: ArrayLike, size: ArrayLike, instance: int = 0
    ) -> None:
        """Place a template: ``size`` is its half sizes [3] or a linear map [3,3]."""
        linear = np.asarray(size, float)
        matrices, offsets, numbers = self._placed.setdefault(shape, ([], [], []))
        matrices.append(np.diag(linear) if linear.ndim == 1 else linear)
        offsets.append(np.asarray(centre, float))
        numbers.append(self._register(label, material, instance))

    def post(
        self,
        label: int,
        material: Material,
        start: ArrayLike,
        end: ArrayLike,
        radius: float,
        instance: int = 0,
        shape: Shape = "post",
    ) -> None:
        """A round bar from ``start`` to ``end``, slightly thinner at the end."""
        a = np.asarray(start, float)
        axis = np.asarray(end, float) - a
        side = meshes.normalised(meshes.cross(axis, _ASLANT))
        across = meshes.normalised(meshes.cross(side, axis))
        self.add(shape, label, material, a, np.stack([side * radius, axis, across * radius], 1), instance)

    def add_car(self, solid: Solid, label: int, matrix: Array, offset: Array, instance: int) -> None:
        """Place a car; its primitives become consecutive pieces."""
        first = len(self.labels)
        for _ in range(int(solid.primitive.max()) + 1):
            self._register(label, Material("car", (0.0, 0.0, 0.0), numbers=(len(self.cars),)), instance)
        self.cars.append(CarPlace(solid, first, matrix, offset))

    def _register(self, label: int, material: Material, instance: int) -> int:
        self.labels.append(label)
        self.instances.append(instance)
        self.materials.append(material)
        return len(self.labels) - 1

    def geometry(self) -> Geometry:
        """Everything placed so far as one mesh."""
        parts: list[tuple[Float, Float, Float, NDArray[Any], NDArray[np.intp]]] = []
        for shape, (matrices, offsets, numbers) in self._placed.items():
            mesh, linear, offset = _template(shape), np.stack(matrices), np.stack(offsets)
            count, size = len(linear), len(mesh.vertices)
            vertices = mesh.vertices @ linear.transpose(0, 2, 1) + offset[:, None]
            normals = mesh.normals @ np.linalg.inv(linear)
            normals /= np.sqrt(np.einsum("nvi,nvi->nv", normals, normals))[..., None]
            faces = mesh.faces[None] + size * np.arange(count)[:, None, None]
            parts.append(
                (
                    vertices.reshape(-1, 3).astype(np.float32),
                    normals.reshape(-1, 3).astype(np.float32),
                    np.tile(mesh.canonical.astype(np.float32), (count, 1)),
                    faces.reshape(-1, 3),
                    np.repeat(np.asarray(numbers), len(mesh.faces)),
                )
            )
        for car in self.cars:
            solid, matrix = car.solid, car.matrix.astype(np.float32)
            scale = np.float32(1 / np.linalg.norm(car.matrix[:, 0]))
            parts.append(
                (
                    solid.vertices @ matrix.T + car.offset.astype(np.float32),
                    solid.normals @ matrix.T * scale,
                    solid.canonical,
                    solid.faces,
                    car.piece + solid.primitive.astype(np.intp),
                )
            )
        starts = np.cumsum([0, *(len(part[0]) for part in parts[:-1])])
        shifted = [part[3].astype(np.uint32) + np.uint32(start) for part, start in zip(parts, starts, strict=True)]
        return Geometry(
            vertices=np.concatenate([part[0] for part in parts]),
            normals=np.concatenate([part[1] for part in parts]),
            canonical=np.concatenate([part[2] for part in parts]),
            faces=np.concatenate(shifted),
            piece=np.concatenate([part[4] for part in parts]),
        )
