"""Meshes of fields and of depth maps, packed into arrays, and the points of them that the cameras can see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at, unproject
from harness.data.raycast import Caster
from harness.metrics.isosurface import EmptySurface, Mesh, grid_points, isosurface
from harness.metrics.shape import sample_surface
from harness.types import PosePrior, RadianceField
from suites.protocols.generation.sizes import sweep, tilt

POINTS_AT_ONCE = 1 << 17
LEVEL = math.log(2) / 0.2
"""Density per unit of length at which a tenth of the object's diameter is half opaque. Where one step of the grid is,
five times denser at 48 points, lies only the core of a soft field, far behind the depth that it renders."""
HALF_LARGEST = float(np.finfo(np.float16).max)
LOOKS = (7, 3)
"""Azimuths and elevations, even over the prior, from which a point may be seen."""
OVERDRAWN = 4
LIFT = 1e-3
"""Of the object's radius: how far above the surface a ray starts, so that it does not hit where it starts."""


@dataclass(frozen=True)
class Meshes:
    """Some meshes; an object without a surface has no vertices."""

    items: tuple[Mesh, ...]

    def packed(self, prefix: str) -> dict[str, NDArray]:
        """Arrays ``<prefix>_vertices`` float32 [sum V,3], ``_faces`` int32 [sum F,3] and ``_counts`` int64 [K,2]."""
        return {
            f"{prefix}_vertices": np.concatenate([mesh.vertices for mesh in self.items]).astype(np.float32),
            f"{prefix}_faces": np.concatenate([mesh.faces for mesh in self.items]).astype(np.int32),
            f"{prefix}_counts": np.asarray([[len(mesh.vertices), len(mesh.faces)] for mesh in self.items], np.int64),
        }

    @classmethod
    def unpacked(cls, arrays: Mapping[str, NDArray], prefix: str) -> Meshes:
        """What ``packed`` wrote."""
        ends = arrays[f"{prefix}_counts"].cumsum(0)[:-1]
        vertices = np.split(arrays[f"{prefix}_vertices"].astype(np.float64), ends[:, 0])
        faces = np.split(arrays[f"{prefix}_faces"].astype(np.int64), ends[:, 1])
        return cls(tuple(Mesh(*pair) for pair in zip(vertices, faces, strict=True)))

    @classmethod
    def of_densities(cls, densities: NDArray) -> Meshes:
        """Surfaces of densities [K,r,r,r] over [-1,1]^3 per unit of length, where they pass ``LEVEL``."""
        return cls(tuple(_or_nothing(isosurface(density.astype(np.float64), level=LEVEL)) for density in densities))

    def __iter__(self) -> Iterator[Mesh]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@torch.no_grad()
def densities(model: RadianceField, codes: Tensor, resolution: int) -> NDArray[np.float16]:
    """Density of every scene at the points of a grid over [-1,1]^3: float16 [N,r,r,r], cut at 65504."""
    points = grid_points(resolution, codes.device)
    scenes = []
    for row in range(len(codes)):
        parts = [model.density(codes[row : row + 1], part[None])[0] for part in points.split(POINTS_AT_ONCE)]
        scenes.append(torch.cat(parts).float().clamp(0, HALF_LARGEST).reshape((resolution,) * 3).cpu().numpy())
    return np.stack(scenes).astype(np.float16)


def height_fields(depth: NDArray, mask: NDArray, prior: PosePrior) -> Meshes:
    """Depth maps [K,H,W] seen from the prior's centre as sheets: two triangles per 2x2 pixels that are all opaque."""
    centre = torch.full((len(depth),), prior.azimuth[0]), torch.full((len(depth),), prior.elevation[0])
    points = unproject(torch.from_numpy(depth.astype(np.float32)), look_at(*centre, prior)).numpy()
    height, width = depth.shape[1:]
    index = np.arange(height * width).reshape(height, width)
    a, b, c, d = (index[i : height - 1 + i, j : width - 1 + j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], axis=2)
    solid = mask > 127
    whole = solid[:, :-1, :-1] & solid[:, :-1, 1:] & solid[:, 1:, :-1] & solid[:, 1:, 1:]
    return Meshes(
        tuple(
            Mesh(p.reshape(-1, 3).astype(np.float64), faces[w].reshape(-1, 3))
            for p, w in zip(points, whole, strict=True)
        )
    )


def seen_points(mesh: Mesh, prior: PosePrior, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most ``count`` points, uniform on what the prior's cameras see of a mesh, and their normals: [n,3] each.

    A point is seen that has nothing between it and one of 7 x 3 cameras far away. Parts inside a solid, the inner wall
    of a shell and the back that no camera of the data looks at do not count. Without such points: [0,3].
    """
    nothing = np.zeros((0, 3))
    if not len(mesh.faces):
        return nothing, nothing
    generator = torch.Generator().manual_seed(seed)
    points, normals = sample_surface(mesh.vertices, mesh.faces, OVERDRAWN * count, generator=generator)
    caster = Caster(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    seen = np.zeros(len(points), bool)
    for towards in _directions(prior):
        facing = np.flatnonzero(~seen & (normals @ towards > 0))
        if len(facing):
            origins = (points[facing] + LIFT * normals[facing]).astype(np.float32)
            seen[facing] = ~caster.blocked(origins, towards.astype(np.float32))
    chosen = np.flatnonzero(seen)[:count]
    return points[chosen], normals[chosen]


def _directions(prior: PosePrior) -> Sequence[NDArray[np.float64]]:
    """Unit vectors [3] from the origin to cameras all over the prior."""
    azimuth, elevation = (
        torch.from_numpy(a.reshape(-1).copy()) for a in np.meshgrid(sweep(prior, LOOKS[0]), tilt(prior, LOOKS[1]))
    )
    backward = -look_at(azimuth, elevation, prior).cam2world[:, :3, 2]
    return list(backward.double().numpy())


def _or_nothing(found: Mesh | EmptySurface) -> Mesh:
    return found if isinstance(found, Mesh) else Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
