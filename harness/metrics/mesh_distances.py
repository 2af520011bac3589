"""Distances to triangles and the inside of meshes: the only module of the metrics that imports open3d, lazily.

Meshes may be made of several closed parts that overlap, as procedural objects are.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.checks import Array
from harness.metrics.errors import OutOfRange
from harness.metrics.samples import float_array, integer_array
from harness.metrics.shape import volume_iou
from harness.types import MissingAsset

Float = NDArray[np.float64]
DIRECTIONS = np.array(  # no two coordinates in a simple ratio, so that rays miss the edges of boxes and grids
    [
        [0.739, 0.413, 0.532],
        [-0.327, 0.851, 0.411],
        [0.173, -0.611, 0.772],
        [-0.571, -0.433, -0.697],
        [0.907, -0.117, -0.405],
    ]
)


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
            where="distances to meshes",
            remedy="Install 'open3d' and 'libusb-package'.",
        ) from error
    return open3d


class Surface:
    """A triangle mesh ready for queries on one thread: ``vertices`` float [V,3], ``faces`` integer [F,3].

    Corners of a face run counter-clockwise seen from outside. Open3D computes in float32: distances are good to about
    1e-6 of the coordinates. Raises OutOfRange (faces name vertices that do not exist), EmptyInput, ShapeMismatch,
    NonFinite, MissingAsset (open3d is not installed).
    """

    def __init__(self, vertices: Array, faces: Array) -> None:
        corners = float_array(vertices, "vertices", (None, 3), metric="Surface").double().cpu().numpy()
        self.faces = integer_array(faces, "faces", (None, 3), metric="Surface").cpu().numpy()
        if self.faces.min() < 0 or self.faces.max() >= len(corners):
            raise OutOfRange(f"faces name vertices outside 0..{len(corners) - 1}", where="Surface")
        self.vertices: Float = corners
        a, b, c = (corners[self.faces[:, k]] for k in range(3))
        self._outward = np.cross(b - a, c - a)
        o3d = _open3d()
        self._tensor = o3d.core.Tensor
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            self._tensor(corners.astype(np.float32)), self._tensor(np.ascontiguousarray(self.faces, np.uint32))
        )

    @property
    def closed(self) -> bool:
        """Whether every edge is used as often in one direction as in the other; corners at one place count as one."""
        _, place = np.unique(self.vertices.astype(np.float32), axis=0, return_inverse=True)
        corners = place.reshape(-1)[self.faces]
        edges = np.concatenate([corners[:, [k, (k + 1) % 3]] for k in range(3)])
        edges = edges[edges[:, 0] != edges[:, 1]]
        there, back = (np.sort(edges[:, k] * len(self.vertices) + edges[:, 1 - k]) for k in (0, 1))
        return bool(np.array_equal(there, back))

    def distance(self, points: Array) -> Float:
        """Unsigned distance float64 [P] of ``points`` [P,3] to the nearest point of a triangle.

        Raises EmptyInput, ShapeMismatch, NonFinite.
        """
        queries = self._tensor(_single(points))
        return self._scene.compute_distance(queries, nthreads=1).numpy().astype(np.float64)

    def occupancy(self, points: Array) -> tuple[NDArray[np.bool_], float]:
        """Whether each of ``points`` [P,3] lies inside, bool [P], and the share of them about which rays disagree.

        Inside is where the winding number, exits less entries along a ray, is not 0, so parts may overlap. The majority
        of five fixed directions decides; where the mesh is closed they differ only by a ray that grazes an edge or
        meets faces of two parts at one place. Raises EmptyInput, ShapeMismatch, NonFinite.
        """
        where = _single(points)
        votes = np.stack([self._winding(where, direction) != 0 for direction in DIRECTIONS]).sum(0)
        return votes * 2 > len(DIRECTIONS), float(((votes > 0) & (votes < len(DIRECTIONS))).mean())

    def _winding(self, points: NDArray[np.float32], direction: Float) -> Float:
        rays = np.empty((len(points), 6), np.float32)
        rays[:, :3], rays[:, 3:] = points, direction
        hits = self._scene.list_intersections(self._tensor(rays), nthreads=1)
        signs = np.sign(self._outward @ direction)[hits["primitive_ids"].numpy()]
        return np.bincount(hits["ray_ids"].numpy(), signs, len(points)).astype(np.float64)


def mesh_iou(preds: Surface, target: Surface, *, resolution: int) -> dict[str, float]:
    """Intersection over union of two meshes on the voxel centres of their joint box, enlarged by 5 %.

    Returns ``volume_iou`` (NaN if no voxel lies in either) and ``disagree``, the share of voxels about which the rays
    of the prediction disagree: the more, the less closed it is. Raises OutOfRange (the truth is not closed, resolution
    below 1).
    """
    metric = "volume_iou"
    if resolution < 1:
        raise OutOfRange(f"resolution is {resolution}", where=metric)
    if not target.closed:
        raise OutOfRange("the true mesh is not closed", where=metric, remedy="Its inside is not defined; close it.")
    corners = np.concatenate([preds.vertices, target.vertices])
    low, high = corners.min(0), corners.max(0)
    middle, half = (low + high) / 2, 1.05 * (high - low) / 2
    axis = (2 * np.arange(resolution) + 1) / resolution - 1
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside, disagree = preds.occupancy(middle + cube * half)
    return {"volume_iou": volume_iou(inside, target.occupancy(middle + cube * half)[0]), "disagree": disagree}


def _single(points: Array) -> NDArray[np.float32]:
    return float_array(points, "points", (None, 3), metric="Surface").cpu().numpy().astype(np.float32)
