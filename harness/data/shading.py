"""Rendering of one object: rays, visible surface, Lambert light with one shadow ray, anti-aliased by a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.raycast import Caster, Hits
from harness.data.solids import Float, Solid, Surface

SHADOW = np.float32(0.75)  # share of the direct light that an occluder takes away
SHADOW_OFFSET = 6e-3  # world units off the surface along its geometric normal


@dataclass(frozen=True)
class View:
    """One pinhole camera: ``cam2world`` float64 [4,4], full vertical ``fov`` (radians), principal point in normalised
    image coordinates."""

    cam2world: NDArray[np.float64]
    fov: float
    centre: tuple[float, float] = (0.5, 0.5)

    @property
    def focal(self) -> float:
        """Focal length in units of the image height."""
        return 0.5 / float(np.tan(self.fov / 2))

    @property
    def intrinsics(self) -> Float:
        """K [3,3], normalised by image width and height."""
        return np.array([[self.focal, 0, self.centre[0]], [0, self.focal, self.centre[1]], [0, 0, 1]], np.float32)

    def project(self, points: Float) -> tuple[Float, Float]:
        """Normalised image coordinates [N,2] and z-depth [N] of world points [N,3]."""
        rotation, origin = self.cam2world[:3, :3], self.cam2world[:3, 3]
        local = (points - origin) @ rotation
        return (local[:, :2] / local[:, 2:] * self.focal + np.array(self.centre)).astype(np.float32), local[
            :, 2
        ].astype(np.float32)


@dataclass(frozen=True)
class Light:
    """A distant light: unit ``direction`` [3] towards it (world), ``ambient`` and ``diffuse`` strength.

    ``diffuse`` None leaves albedo unlit.
    """

    direction: NDArray[np.float64]
    ambient: float
    diffuse: float | None


@dataclass(frozen=True)
class Picture:
    """A rendered view at resolution R: ``colour`` linear [R,R,3] and ``coverage`` [R,R] in [0,1] are box averages; the
    rest is taken at pixel centres: ``label`` uint8, z-``depth`` (0 = none), camera-frame ``normal``, ``albedo``."""

    colour: Float
    coverage: Float
    label: NDArray[np.uint8]
    depth: Float
    normal: Float
    albedo: Float


def master_side(resolution: int) -> int:
    """Rays per image side: 128 up to 64 px, so that small sizes are box reductions of one master; 2 per pixel above."""
    return 128 if resolution <= 64 else 2 * resolution


def render(solid: Solid, view: View, light: Light, background: Float, resolution: int) -> Picture:
    """Render ``solid`` before a linear ``background`` [S,S,3] with S = ``master_side(resolution)``.

    Colour is the box average of S x S rays; labels, depth and normals come from further rays through the pixel
    centres and are never averaged. Rays saturate at 1, so that every size is a box average of the same master.
    """
    window = _window(solid, view)
    fine, coarse = _Grid(view, master_side(resolution), window), _Grid(view, resolution, window)
    origin = view.cam2world[:3, 3].astype(np.float32)
    rays = np.concatenate([fine.rays, coarse.rays])
    hits = solid.caster.cast(origin, rays)
    seen = rays[hits.ray]
    surface = _surface(solid, hits, seen)
    albedo, label = solid.paint(surface)
    split = int(np.searchsorted(hits.ray, len(fine.rays)))
    near, far = hits.ray[:split], hits.ray[split:] - len(fine.rays)
    colour = albedo[:split]
    if light.diffuse is not None:
        points = origin + hits.distance[:split, None] * seen[:split]
        outward = _towards_viewer(hits.normal[:split], seen[:split])
        colour = colour * _illumination(solid.caster, light, points, surface.normal[:split], outward)[:, None]
    rotation = view.cam2world[:3, :3].astype(np.float32)
    return Picture(
        colour=_box(fine.placed(np.minimum(colour, 1), near, background), resolution),
        coverage=_box(fine.placed(np.ones(split, np.float32), near), resolution),
        label=coarse.placed(label[split:], far),
        depth=coarse.placed(hits.distance[split:], far),
        normal=coarse.placed(surface.normal[split:] @ rotation, far),
        albedo=coarse.placed(albedo[split:], far),
    )


class _Grid:
    """Rays through the pixel centres of a ``side`` x ``side`` image, restricted to a window."""

    def __init__(self, view: View, side: int, window: tuple[float, float, float, float]) -> None:
        left, top, right, bottom = (
            int(min(max(f(edge * side), 0), side))
            for f, edge in zip((np.floor,) * 2 + (np.ceil,) * 2, window, strict=True)
        )
        self.side, self.rows, self.columns = side, slice(top, bottom), slice(left, right)
        u = ((np.arange(left, right) + 0.5) / side - view.centre[0]) / view.focal
        v = ((np.arange(top, bottom) + 0.5) / side - view.centre[1]) / view.focal
        local = np.ones((len(v), len(u), 3))
        local[..., 0], local[..., 1] = u[None], v[:, None]
        self.shape = local.shape[:2]
        self.rays = (local.reshape(-1, 3) @ view.cam2world[:3, :3].T).astype(np.float32)

    def placed(self, values: NDArray, at: NDArray[np.intp], behind: NDArray | None = None) -> NDArray:
        """A full image with ``values`` at the window's rays ``at`` and ``behind`` (zeros) elsewhere."""
        shape = (self.side, self.side, *values.shape[1:])
        image = np.zeros(shape, values.dtype) if behind is None else np.array(behind, values.dtype)
        window = image[self.rows, self.columns].reshape(-1, *values.shape[1:])
        window[at] = values
        image[self.rows, self.columns] = window.reshape(*self.shape, *values.shape[1:])
        return image


def _window(solid: Solid, view: View) -> tuple[float, float, float, float]:
    uv, _ = view.project(solid.vertices)
    return (*uv.min(0), *uv.max(0))


def _box(image: Float, resolution: int) -> Float:
    """Mean over square blocks: by slices, which is ten times faster than a mean over strided axes."""
    factor = len(image) // resolution
    stacked = image.reshape(resolution, factor, -1)
    rows = stacked[:, 0].copy()
    for k in range(1, factor):
        rows += stacked[:, k]
    cells = rows.reshape(resolution, resolution, factor, *image.shape[2:])
    total = cells[:, :, 0].copy()
    for k in range(1, factor):
        total += cells[:, :, k]
    return total * np.float32(1 / factor**2)


def _surface(solid: Solid, hits: Hits, seen: Float) -> Surface:
    corners = np.concatenate([solid.normals, solid.canonical], 1)[solid.faces]
    weights = np.empty((len(seen), 3), np.float32)
    weights[:, 1:] = hits.barycentric
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    mixed = np.einsum("nc,nck->nk", weights, corners.take(hits.face, axis=0, mode="clip"))
    normal = mixed[:, :3]
    # Interpolated normals may turn away from the viewer at silhouettes: bring them back to grazing.
    along = np.einsum("ij,ij->i", normal, seen)
    length = np.einsum("ij,ij->i", seen, seen)
    away = np.flatnonzero(along > -0.02 * length)
    normal[away] -= (along[away] / length[away] + np.float32(0.02))[:, None] * seen[away]
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None]
    return Surface(solid.part[hits.face], solid.primitive[hits.face], mixed[:, 3:], normal)


def _towards_viewer(normals: Float, seen: Float) -> Float:
    return np.where(np.einsum("ij,ij->i", normals, seen)[:, None] > 0, -normals, normals)


def _illumination(caster: Caster, light: Light, points: Float, normals: Float, outward: Float) -> Float:
    """Hemispheric ambient plus Lambert with one shadow ray, [N]."""
    direction = light.direction.astype(np.float32)
    facing = np.clip(normals @ direction, 0, 1)
    lit = np.flatnonzero(facing > 0)
    blocked = caster.blocked(points[lit] + outward[lit] * np.float32(SHADOW_OFFSET), direction)
    facing[lit] *= 1 - SHADOW * blocked
    ambient = np.float32(light.ambient) * (np.float32(0.75) + np.float32(0.25) * normals[:, 1])
    return ambient + np.float32(light.diffuse or 0.0) * facing
