"""A room as a few templates placed many times: every template's copies are transformed together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.data import meshes
from harness.data.meshes import Array
from harness.data.raycast import Float

Shape = Literal["box", "soft", "ball", "post", "shade", "pot"]
Kind = Literal["plain", "mottled", "stripes", "checker", "boards", "window"]
KINDS: tuple[Kind, ...] = ("plain", "mottled", "stripes", "checker", "boards", "window")


@dataclass(frozen=True)
class Material:
    """How a piece is painted: two linear colours mixed by a pattern of ``frequency`` cycles per metre.

    ``across`` turns stripes and boards by 90 degrees, ``offset`` (metres) shifts the pattern; of a window it is the
    height of the horizon outside. ``glow`` above 0 replaces the light that falls on the piece.
    """

    kind: Kind
    colour: ArrayLike
    second: ArrayLike
    frequency: float = 1.0
    across: bool = False
    offset: float = 0.0
    glow: float = 0.0


@dataclass(frozen=True)
class Frame:
    """Where a piece of furniture stands: its own +Z is its front, turned by ``turn`` radians towards +X."""

    x: float
    z: float
    turn: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """One mesh of all pieces: ``vertices``, unit ``normals`` float32 [V,3], ``faces`` uint32 [F,3] and the number of
    the ``piece`` of each face [F]."""

    vertices: Float
    normals: Float
    faces: NDArray[np.uint32]
    piece: NDArray[np.intp]


@lru_cache(maxsize=8)
def _template(name: Shape) -> meshes.Mesh:
    """Unit primitives: the cube [-1,1]^3, sharp or rounded, the ball, and round bodies of height 1 upon the floor."""
    if name == "box":
        return meshes.box([0, 0, 0], [1, 1, 1])
    if name == "soft":
        sphere = meshes.unit_sphere(12, 20)
        radial = (np.abs(sphere.vertices) ** 5).sum(1) ** (-1 / 5)
        return meshes.displaced_sphere(radial, [1, 1, 1], 12, 20)
    if name == "ball":
        return meshes.ellipsoid([0, 0, 0], [1, 1, 1], rows=9, columns=12)
    low, high, sides = {"post": (1.0, 1.0, 8), "shade": (1.0, 0.6, 16), "pot": (0.72, 1.0, 12)}[name]
    return meshes.frustum([0, 0, 0], [0, 1, 0], low, high, sides)


@dataclass
class Pieces:
    """Collects the pieces of one room, with the label, the thing and the material of each.

    A thing is what a person would name (a bed with its pillows); thing 0 is the room itself.
    """

    labels: list[int] = field(default_factory=list)
    things: list[int] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    thing: int = 0
    _placed: dict[Shape, tuple[list[Array], list[Array], list[int]]] = field(default_factory=dict)

    def begin(self) -> None:
        """Further pieces belong to a new thing."""
        self.thing += 1

    def add(
        self, shape: Shape, label: int, material: Material, frame: Frame, centre: ArrayLike, size: ArrayLike
    ) -> None:
        """Place a template at ``centre`` [3] of ``frame``; ``size`` [3] is its half sizes (of round bodies: radius,
        height, radius)."""
        turned = meshes.rotation_y(frame.turn)
        matrices, offsets, numbers = self._placed.setdefault(shape, ([], [], []))
        matrices.append(turned * np.asarray(size, float))
        offsets.append(turned @ np.asarray(centre, float) + [frame.x, frame.y, frame.z])
        numbers.append(len(self.labels))
        self.labels.append(label)
        self.things.append(self.thing)
        self.materials.append(material)

    def geometry(self) -> Geometry:
        """Everything placed so far as one mesh."""
        vertices: list[Float] = []
        normals: list[Float] = []
        faces: list[NDArray[np.uint32]] = []
        pieces: list[NDArray[np.intp]] = []
        start = 0
        for shape, (matrices, offsets, numbers) in self._placed.items():
            mesh, linear = _template(shape), np.stack(matrices)
            count, size = len(linear), len(mesh.vertices)
            moved = mesh.vertices @ linear.transpose(0, 2, 1) + np.stack(offsets)[:, None]
            turned = mesh.normals @ np.linalg.inv(linear)
            turned /= np.sqrt(np.einsum("nvi,nvi->nv", turned, turned))[..., None]
            shifted = mesh.faces[None] + (start + size * np.arange(count))[:, None, None]
            vertices.append(moved.reshape(-1, 3).astype(np.float32))
            normals.append(turned.reshape(-1, 3).astype(np.float32))
            faces.append(shifted.reshape(-1, 3).astype(np.uint32))
            pieces.append(np.repeat(np.asarray(numbers), len(mesh.faces)))
            start += size * count
        return Geometry(
            np.concatenate(vertices), np.concatenate(normals), np.concatenate(faces), np.concatenate(pieces)
        )
