"""Texture atlas of an object: box charts per primitive, packed on shelves, baked from the paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.raycast import Caster
from harness.data.solids import Float, Solid, Surface

SIDE = 128  # texels
GUTTER = 1.0  # texels around every chart; the rest is filled from the nearest chart


def charts(solid: Solid) -> tuple[NDArray[np.intp], Float]:
    """Box charts: the chart number of every face and its corners projected along the chart's axis, [F,3,2].

    Faces of one primitive whose normals have the same dominant signed axis share a chart.
    """
    corners = solid.vertices[solid.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normals).argmax(1)
    backward = np.take_along_axis(normals, axis[:, None], 1)[:, 0] < 0
    _, chart = np.unique(solid.primitive.astype(np.int64) * 6 + axis * 2 + backward, return_inverse=True)
    others = np.array([[2, 1], [0, 2], [0, 1]])[axis]
    return chart, np.take_along_axis(corners, others[:, None], 2)


def unwrap(solid: Solid) -> Float:
    """Texture coordinates of every face corner, [F,3,2] in [0,1] (v down), with one density for the whole object."""
    chart, flat = charts(solid)
    count = int(chart.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, chart, flat.min(1))
    np.maximum.at(high, chart, flat.max(1))
    extent = high - low
    fits, too_large = 0.0, float(SIDE) / max(float(extent.max()), 1e-6)
    for _ in range(12):
        scale = (fits + too_large) / 2
        fits, too_large = (scale, too_large) if _shelves(extent * scale) is not None else (fits, scale)
    corner = _shelves(extent * fits)
    if corner is None:  # more charts than texels allow at any density
        return np.zeros(flat.shape, np.float32)
    return (((flat - low[chart][:, None]) * fits + corner[chart][:, None]) / SIDE).astype(np.float32)


def _shelves(sizes: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Lower corners of rectangles [N,2] packed on shelves in the square, highest first; None if they do not fit."""
    padded = sizes + 2 * GUTTER
    corner = np.zeros_like(padded)
    x = y = shelf = 0.0
    for k in np.argsort(-padded[:, 1], kind="stable"):
        width, height = padded[k]
        if x + width > SIDE:
            x, y, shelf = 0.0, y + shelf, 0.0
        shelf = max(shelf, height)
        if x + width > SIDE or y + height > SIDE:
            return None
        corner[k] = x + GUTTER, y + GUTTER
        x += width
    return corner


def bake(solid: Solid, uv: Float) -> NDArray[np.uint8]:
    """Linear albedo times 255 of every texel [SIDE,SIDE,3], from the surface point of the nearest face in the atlas."""
    plane = np.zeros((len(uv) * 3, 3), np.float32)
    plane[:, :2] = uv.reshape(-1, 2)
    atlas = Caster(plane, np.arange(len(plane), dtype=np.uint32).reshape(-1, 3))
    centres = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / SIDE
    texels = np.zeros((SIDE * SIDE, 3), np.float32)
    texels[:, 0], texels[:, 1] = np.tile(centres, SIDE), np.repeat(centres, SIDE)
    face, barycentric = atlas.nearest_face(texels)
    weights = np.concatenate([1 - barycentric.sum(1, keepdims=True), barycentric], 1)
    corners = solid.faces[face]
    normal = np.einsum("nc,nck->nk", weights, solid.normals[corners])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    canonical = np.einsum("nc,nck->nk", weights, solid.canonical[corners])
    albedo, _ = solid.paint(Surface(solid.part[face], solid.primitive[face], canonical, normal))
    return np.rint(np.clip(albedo, 0, 1) * 255).astype(np.uint8).reshape(SIDE, SIDE, 3)
