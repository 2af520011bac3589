"""Differentiable z-buffered rasteriser of triangle meshes to depth maps, in plain torch on any device.

What is visible is decided without gradients. The depth of every covered pixel is then computed anew from the one face
that it shows, so that gradients reach the three vertices in x, y and z. It takes the place of the CUDA renderer of
Unsup3D (Wu et al. 2020).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from harness.types import DataError

SMALLEST_AREA = 1e-12  # squared pixels, twice the area: thinner triangles are not drawn
SLACK = 1e-4  # in pixels and barycentrics: pixel centres on an edge shall belong to both faces despite rounding
NEAREST = 1e-3  # z-depth below which a vertex counts as behind the camera and its faces are not drawn
CHUNK = 1 << 22  # candidate pixels looked at together


@lru_cache(maxsize=16)
def grid_faces(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Faces int64 [2 (height - 1) (width - 1),3] of a grid of row-major vertices: two triangles per cell (cached)."""
    index = torch.arange(height * width, device=device).view(height, width)
    corner, right, below, across = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    first, second = torch.stack((corner, below, right), -1), torch.stack((right, below, across), -1)
    return torch.stack((first, second), dim=2).view(-1, 3)


def rasterise_depth(
    vertices: Tensor, faces: Tensor, focal: float, size: tuple[int, int], far: float
) -> tuple[Tensor, Tensor]:
    """z-depth [B,H,W] of meshes as seen by a pinhole at the origin, and which pixels bool [B,H,W] they cover.

    ``vertices`` [B,N,3] in camera axes (x right, y down, z forward), ``faces`` int64 [F,3], seen from both sides;
    ``focal`` in pixels, the principal point is the middle of the frame, pixel (i, j) has its centre at column j and row
    i. Depth is interpolated with perspective (1/z is linear on screen). Uncovered pixels have depth ``far``, without
    gradient. Raises DataError for other shapes.
    """
    if vertices.ndim != 3 or vertices.shape[-1] != 3 or faces.ndim != 2 or faces.shape[-1] != 3:
        raise DataError(
            f"vertices {list(vertices.shape)} and faces {list(faces.shape)} must be [B,N,3] and [F,3]",
            where="rasterise_depth",
        )
    height, width = size
    pixels = height * width
    with torch.no_grad():
        face = _visible_faces(vertices[:, faces], focal, size)
    covered = face >= 0
    corners = faces[face.clamp(min=0)].view(len(vertices), 3 * pixels)
    shown = vertices.gather(1, corners[..., None].expand(-1, -1, 3)).view(-1, pixels, 3, 3)
    # Any proper triangle will do for empty pixels: it keeps NaN out of gradients that are masked afterwards.
    harmless = vertices.new_tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    shown = torch.where(covered[..., None, None], shown, harmless)
    index = torch.arange(pixels, device=vertices.device)
    shares, _ = _barycentrics(shown, focal, size, index % width, index // width)
    depth = torch.where(covered, _interpolated(shares, shown), far)
    return depth.view(-1, height, width), covered.view(-1, height, width)


def _visible_faces(triangles: Tensor, focal: float, size: tuple[int, int]) -> Tensor:
    """Index int64 [B,H*W] of the nearest face of ``triangles`` [B,F,3,3] at every pixel, -1 where there is none."""
    height, width = size
    batch, count = triangles.shape[:2]
    u, v = _projected(triangles, focal, size)
    drawn = (triangles[..., 2] > NEAREST).all(-1) & (_doubled_area(u, v).abs() >= SMALLEST_AREA)
    left, right = _span(u, width)
    top, bottom = _span(v, height)
    columns, rows = right - left + 1, bottom - top + 1
    area = torch.where(drawn & (columns > 0) & (rows > 0), columns * rows, 0).flatten()
    buffer = triangles.new_full((batch * height * width,), float("inf"))
    face = torch.full((batch * height * width,), count, device=triangles.device)
    for part in _chunks(area):
        # One row per pixel of each triangle's bounding box, whatever its size.
        triangle = torch.repeat_interleave(part, area[part])
        end = area[part].cumsum(0)
        offset = torch.arange(len(triangle), device=area.device) - torch.repeat_interleave(end - area[part], area[part])
        wide = columns.flatten()[triangle]
        column, row = left.flatten()[triangle] + offset % wide, top.flatten()[triangle] + offset // wide
        corners = triangles.flatten(0, 1)[triangle]
        shares, inside = _barycentrics(corners, focal, size, column, row)
        z = _interpolated(shares, corners)[inside]
        place = (triangle // count * (height * width) + row * width + column)[inside]
        which = (triangle % count)[inside]
        before = buffer.clone()
        buffer.scatter_reduce_(0, place, z, "amin")
        face = torch.where(buffer < before, count, face)
        front = z == buffer[place]
        face.scatter_reduce_(0, place[front], which[front], "amin")
    return torch.where(face < count, face, -1).view(batch, height * width)


def _chunks(area: Tensor) -> list[Tensor]:
    """Indices of triangles with pixels, in groups of about ``CHUNK`` pixels."""
    index = area.nonzero().squeeze(1)
    group = area[index].cumsum(0) // CHUNK
    _, sizes = torch.unique_consecutive(group, return_counts=True)
    return list(index.split(sizes.tolist()))


def _projected(points: Tensor, focal: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    x, y, z = points.unbind(-1)
    z = z.clamp(min=NEAREST)
    return focal * x / z + (size[1] - 1) / 2, focal * y / z + (size[0] - 1) / 2


def _span(places: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """First and last pixel centre between the least and greatest of ``places`` [B,F,3] within the frame."""
    low = (places.amin(-1) - SLACK).clamp(-1, limit).ceil().long().clamp(min=0)
    high = (places.amax(-1) + SLACK).clamp(-1, limit).floor().long().clamp(max=limit - 1)
    return low, high


def _doubled_area(u: Tensor, v: Tensor) -> Tensor:
    return (u[..., 1] - u[..., 0]) * (v[..., 2] - v[..., 0]) - (u[..., 2] - u[..., 0]) * (v[..., 1] - v[..., 0])


def _barycentrics(
    corners: Tensor, focal: float, size: tuple[int, int], column: Tensor, row: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Screen-space barycentrics of pixels in the triangles ``corners`` [...,3,3], and whether they lie inside."""
    u, v = _projected(corners, focal, size)
    du, dv = u - column[..., None], v - row[..., None]
    area = _doubled_area(u, v)
    first = (du[..., 1] * dv[..., 2] - du[..., 2] * dv[..., 1]) / area
    second = (du[..., 2] * dv[..., 0] - du[..., 0] * dv[..., 2]) / area
    third = 1 - first - second
    return (first, second, third), (first >= -SLACK) & (second >= -SLACK) & (third >= -SLACK)


def _interpolated(shares: tuple[Tensor, Tensor, Tensor], corners: Tensor) -> Tensor:
    inverse = 1 / corners[..., 2].clamp(min=NEAREST)
    return 1 / (shares[0] * inverse[..., 0] + shares[1] * inverse[..., 1] + shares[2] * inverse[..., 2])
