"""Assembling primitives into one object, framed in the unit sphere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.data.meshes import Array, Mesh, frustum, joined
from harness.data.raycast import Caster
from harness.data.textures import hsv

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Surface:
    """Points where rays met an object: ``part`` and ``primitive`` [N] ids, ``canonical`` coordinates of the primitive
    [N,3] and unit ``normal`` [N,3] in the object's frame."""

    part: NDArray[np.uint8]
    primitive: NDArray[np.uint8]
    canonical: Float
    normal: Float


Paint = Callable[[Surface], tuple[Float, NDArray[np.uint8]]]
"""Maps surface points to linear albedo [N,3] and part labels [N]: painted parts are regions of a primitive."""


@dataclass(frozen=True)
class Solid:
    """An object inside the unit sphere around the origin, front towards +Z.

    ``vertices``, ``normals``, ``canonical`` float32 [V,3]; ``faces`` uint32 [F,3]; ``part`` and ``primitive`` uint8
    [F]; ``keypoints`` float32 [P,3]; ``scale`` is the factor from the builder's units.
    """

    vertices: Float
    normals: Float
    canonical: Float
    faces: NDArray[np.uint32]
    part: NDArray[np.uint8]
    primitive: NDArray[np.uint8]
    keypoints: Float
    scale: float
    paint: Paint

    @cached_property
    def caster(self) -> Caster:
        """Ray casting against this object, set up once."""
        return Caster(self.vertices, self.faces)


class Assembly:
    """Collects primitives while an object is being built."""

    def __init__(self) -> None:
        self._meshes: list[Mesh] = []
        self._parts: list[int] = []

    def add(self, meshes: Mesh | Sequence[Mesh], part: int) -> int:
        """Add one or several primitives of one part; returns the id of the last one."""
        for mesh in [meshes] if isinstance(meshes, Mesh) else meshes:
            self._meshes.append(mesh)
            self._parts.append(part)
        return len(self._meshes) - 1

    @property
    def vertices(self) -> Array:
        """All vertices so far, [V,3]."""
        return np.concatenate([mesh.vertices for mesh in self._meshes])

    def finish(self, keypoints: ArrayLike, paint: Paint) -> Solid:
        """Scale and shift everything into the unit sphere."""
        whole = joined(self._meshes)
        counts = [len(mesh.faces) for mesh in self._meshes]
        centre, radius = bounding_ball(whole.vertices)
        scale = 1 / (radius * (1 + 1e-6))
        return Solid(
            vertices=((whole.vertices - centre) * scale).astype(np.float32),
            normals=whole.normals.astype(np.float32),
            canonical=whole.canonical.astype(np.float32),
            faces=whole.faces.astype(np.uint32),
            part=np.repeat(np.array(self._parts, np.uint8), counts),
            primitive=np.repeat(np.arange(len(counts), dtype=np.uint8), counts),
            keypoints=((np.asarray(keypoints, float) - centre) * scale).astype(np.float32),
            scale=scale,
            paint=paint,
        )


def reframed(solid: Solid) -> Solid:
    """``solid`` moved and scaled back into the unit sphere after its vertices have changed."""
    centre, radius = bounding_ball(solid.vertices.astype(np.float64))
    scale = 1 / (radius * (1 + 1e-6))
    return replace(
        solid,
        vertices=((solid.vertices - centre) * scale).astype(np.float32),
        keypoints=((solid.keypoints - centre) * scale).astype(np.float32),
        scale=solid.scale * scale,
    )


def with_hat(solid: Solid, part: int, generator: np.random.Generator) -> Solid:
    """``solid`` with a brightly coloured hat of its own part id on the point nearest to the zenith."""
    above = np.array([[0.0, 2.0, 0.0]], np.float32)
    top = solid.caster.closest(above)[0].astype(np.float64)
    base = top - np.array([0, 0.06, 0])
    width, height = generator.uniform((0.16, 0.18), (0.26, 0.34))
    colour = hsv(generator.random(), 0.85, 0.85)
    crown = frustum(base, top + np.array([0, height, 0]), width, width * generator.uniform(0.1, 0.9), 16)
    brim = frustum(base, top - np.array([0, 0.02, 0]), width * 1.6, width * 1.6, 18)
    hat = joined([crown, brim])
    below = solid.paint

    def paint(surface: Surface) -> tuple[Float, NDArray[np.uint8]]:
        albedo, label = below(surface)
        new = surface.part == part
        albedo[new], label[new] = colour, part
        return albedo, label

    count = len(hat.faces)
    return reframed(
        replace(
            solid,
            vertices=np.concatenate([solid.vertices, hat.vertices.astype(np.float32)]),
            normals=np.concatenate([solid.normals, hat.normals.astype(np.float32)]),
            canonical=np.concatenate([solid.canonical, hat.canonical.astype(np.float32)]),
            faces=np.concatenate([solid.faces, (hat.faces + len(solid.vertices)).astype(np.uint32)]),
            part=np.concatenate([solid.part, np.full(count, part, np.uint8)]),
            primitive=np.concatenate([solid.primitive, np.full(count, solid.primitive.max() + 1, np.uint8)]),
            paint=paint,
        )
    )


def lopsided(solid: Solid, generator: np.random.Generator) -> Solid:
    """``solid`` with one half (left or right) narrower: breaks the mirror symmetry of shape that all classes share."""
    side = 1.0 if generator.random() < 0.5 else -1.0
    share = np.float32(generator.uniform(0.55, 0.75))
    half = solid.vertices[:, 0] * side > 0
    vertices, normals, keypoints = solid.vertices.copy(), solid.normals.copy(), solid.keypoints.copy()
    vertices[half, 0] *= share
    normals[half, 0] /= share
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    keypoints[keypoints[:, 0] * side > 0, 0] *= share
    return reframed(replace(solid, vertices=vertices, normals=normals, keypoints=keypoints))


def bounding_ball(vertices: Array, rounds: int = 16) -> tuple[Array, float]:
    """A near-minimal enclosing ball whose centre lies on the mirror plane x = 0: centre [3] and exact radius.

    Steps towards the farthest point by 1/(k+1) (Badoiu and Clarkson 2003), from the middle of the bounding box.
    """
    low, high = vertices.min(0), vertices.max(0)
    centre = (low + high) / 2
    centre[0] = 0.0
    squared = np.einsum("ij,ij->i", vertices, vertices)
    best, best_radius = centre, np.inf
    for k in range(rounds):
        reach = squared - 2 * (vertices @ centre)
        far = int(reach.argmax())
        radius = float(np.sqrt(reach[far] + centre @ centre))
        if radius < best_radius:
            best, best_radius = centre, radius
        step = (vertices[far] - centre) / (k + 3)
        step[0] = 0.0
        centre = centre + step
    return best, float(np.linalg.norm(vertices - best, axis=1).max())
