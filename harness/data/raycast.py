"""Ray casting against triangles: the only module that imports open3d, and only when a picture is rendered."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.types import MissingAsset

Float = NDArray[np.float32]


@lru_cache(maxsize=1)
def _open3d() -> Any:
    """open3d, after the libusb it links against has been loaded from its wheel (so that no root is needed)."""
    try:
        import libusb_package

        library = libusb_package.get_library_path()
        if library is not None:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        import open3d
    except (ImportError, OSError) as error:
        raise MissingAsset(
            f"open3d cannot be loaded ({error})",
            where="rendering of procedural objects",
            remedy="Install 'open3d' and 'libusb-package', or build the data elsewhere and copy the cache here.",
        ) from error
    return open3d


@dataclass(frozen=True)
class Hits:
    """Rays that hit something: their index ``ray`` [M], ``distance`` in lengths of the ray's direction, ``face``,
    ``barycentric`` [M,2] of the face's second and third corner, and the face's unit ``normal`` [M,3]."""

    ray: NDArray[np.intp]
    distance: Float
    face: NDArray[np.uint32]
    barycentric: Float
    normal: Float


class Caster:
    """A triangle soup ready for ray casting on one thread: ``vertices`` float32 [V,3], ``faces`` uint32 [F,3]."""

    def __init__(self, vertices: Float, faces: NDArray[np.uint32]) -> None:
        o3d = _open3d()
        self._tensor = o3d.core.Tensor
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(self._tensor(vertices), self._tensor(faces))

    def cast(self, origin: Float, directions: Float) -> Hits:
        """First hits of rays from one ``origin`` [3] along ``directions`` [N,3]."""
        rays = np.empty((len(directions), 6), np.float32)
        rays[:, :3] = origin
        rays[:, 3:] = directions
        hits = self._scene.cast_rays(self._tensor(rays), nthreads=1)
        distance = hits["t_hit"].numpy()
        ray = np.flatnonzero(np.isfinite(distance))
        names = ("primitive_ids", "primitive_uvs", "primitive_normals")
        return Hits(ray, distance[ray], *(hits[name].numpy()[ray] for name in names))

    def blocked(self, origins: Float, direction: Float) -> NDArray[np.bool_]:
        """Whether anything lies in one ``direction`` [3] as seen from each of ``origins`` [N,3]."""
        rays = np.empty((len(origins), 6), np.float32)
        rays[:, :3] = origins
        rays[:, 3:] = direction
        return self._scene.test_occlusions(self._tensor(rays), nthreads=1).numpy()

    def closest(self, points: Float) -> Float:
        """The surface points nearest to ``points`` [N,3]."""
        return self._nearest(points)["points"].numpy()

    def nearest_face(self, points: Float) -> tuple[NDArray[np.uint32], Float]:
        """The faces nearest to ``points`` [N,3] and the barycentric coordinates [N,2] of the nearest point in them."""
        found = self._nearest(points)
        return found["primitive_ids"].numpy(), found["primitive_uvs"].numpy()

    def _nearest(self, points: Float) -> Any:
        queries = self._tensor(np.ascontiguousarray(points, np.float32))
        return self._scene.compute_closest_points(queries, nthreads=1)

    def distance(self, points: Float) -> Float:
        """Unsigned distance of ``points`` [N,3] to the nearest surface."""
        return self._scene.compute_distance(self._tensor(np.ascontiguousarray(points, np.float32)), nthreads=1).numpy()
