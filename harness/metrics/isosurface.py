"""Surfaces of density fields: marching cubes on a regular grid over [-1,1]^3, and the pieces the solid falls into."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import OutOfRange, ShapeMismatch, TooSmall
from harness.metrics.samples import float_array

FLOATERS = MetricCard(
    "floaters",
    unit="pieces",
    better="lower",
    range=(0.0, math.inf),
    protocol=("r", "level", "n"),
    bias="rises with the resolution of the grid",
    floor="independent noise at every grid point",
    oracle="the true volume on the same grid",
    identity=0.0,
)
CARDS: tuple[MetricCard, ...] = (FLOATERS,)


@dataclass(frozen=True)
class Mesh:
    """Triangles: ``vertices`` float64 [V,3], ``faces`` int64 [F,3], corners counter-clockwise seen from outside."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]


@dataclass(frozen=True)
class EmptySurface:
    """The density exceeds ``level`` nowhere, so there is no isosurface; its highest value is ``top``."""

    level: float
    top: float


@dataclass(frozen=True)
class Pieces:
    """Connected parts of a solid: their ``count`` and the share of the solid's grid points in the ``largest``.

    Without any solid ``count`` is 0 and ``largest`` NaN.
    """

    count: int
    largest: float

    @property
    def floaters(self) -> int:
        """Parts beside the largest."""
        return max(self.count - 1, 0)


def grid_points(resolution: int, device: torch.device | str = "cpu") -> Tensor:
    """Points [r^3,3] float32 of the grid over [-1,1]^3, faces of the cube included, z fastest.

    ``density.reshape(r, r, r)`` of the density there is what the functions below take. Raises TooSmall (r < 2).
    """
    if resolution < 2:
        raise TooSmall(f"a grid of {resolution} points a side has no cells", where="grid_points")
    axis = torch.linspace(-1, 1, resolution, device=device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def half_opaque_level(resolution: int) -> float:
    """Density per unit of length at which one step of the grid, 2 / (r - 1), has opacity 1/2: ln 2 / step."""
    if resolution < 2:
        raise TooSmall(f"a grid of {resolution} points a side has no cells", where="half_opaque_level")
    return math.log(2) * (resolution - 1) / 2


def isosurface(density: Array, *, level: float | None = None) -> Mesh | EmptySurface:
    """Surface where the density on a grid over [-1,1]^3 passes ``level``, by marching cubes (Lewiner et al. 2003).

    ``density`` float [r,r,r] per unit of length at ``grid_points(r)``, axes x, y, z; ``level`` None:
    ``half_opaque_level(r)``. Outside the cube the density counts as 0, so that a solid that reaches its faces is closed
    there and the mesh is watertight. Returns EmptySurface where nothing passes the level. Raises OutOfRange (a level
    that is not positive), TooSmall, ShapeMismatch, NonFinite.
    """
    values, threshold = _grid(density, level, "isosurface")
    top = float(values.max())
    if not top > threshold:
        return EmptySurface(level=threshold, top=top)
    side = len(values)
    vertices, faces, _, _ = marching_cubes(np.pad(values, 1), threshold, allow_degenerate=False)
    inside = np.clip(vertices.astype(np.float64) - 1, 0, side - 1)
    return Mesh(vertices=inside * (2 / (side - 1)) - 1, faces=faces[:, ::-1].astype(np.int64))


def pieces(density: Array, *, level: float | None = None) -> Pieces:
    """Connected parts of the solid {density > level}; points of the grid touch across faces, edges and corners.

    Arguments as in ``isosurface``. Cavities do not count, unlike in the components of a mesh. Raises OutOfRange,
    TooSmall, ShapeMismatch, NonFinite.
    """
    values, threshold = _grid(density, level, "floaters")
    labels, count = ndimage.label(values > threshold, structure=np.ones((3, 3, 3), bool))
    if not count:
        return Pieces(0, math.nan)
    sizes = np.bincount(labels.ravel())[1:]
    return Pieces(int(count), float(sizes.max() / sizes.sum()))


def _grid(density: Array, level: float | None, metric: str) -> tuple[NDArray[np.float64], float]:
    grid = float_array(density, "density", (None, None, None), metric=metric)
    side = len(grid)
    if tuple(grid.shape) != (side, side, side):
        raise ShapeMismatch(f"density is {tuple(grid.shape)}, expected a cube [r,r,r]", where=metric)
    threshold = half_opaque_level(side) if level is None else float(level)
    if side < 2:
        raise TooSmall(f"density is {tuple(grid.shape)}, expected at least 2 points a side", where=metric)
    if not (threshold > 0 and math.isfinite(threshold)):
        raise OutOfRange(f"level is {threshold}, expected a positive density", where=metric)
    return grid.double().cpu().numpy(), threshold
