"""Normals of depth maps by central differences, differentiable (Wu et al. 2020; GeoD, Shi et al. 2022).

Camera axes are x right, y down, z forward and pixel centres lie at (j + 0.5) / W, as in ``harness.cameras``. The normal
points away from the camera: a plane that faces it has (0, 0, +1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-7


def ray_slopes(height: int, width: int, fov: float, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """x / z of every column [W] and y / z of every row [H]; ``fov`` is the full vertical angle in radians."""
    tangent = math.tan(fov / 2)
    x = (torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2) * (2 * tangent / width)
    y = (torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2) * (2 * tangent / height)
    return x, y


def back_project(depth: Tensor, fov: float) -> Tensor:
    """Points [B,3,H,W] in camera axes of the pixel centres of z-depth [B,H,W]."""
    x, y = ray_slopes(depth.shape[1], depth.shape[2], fov, depth.device)
    return torch.stack((depth * x, depth * y[:, None], depth), dim=1)


def point_normals(points: Tensor) -> Tensor:
    """Unit normals [B,3,H,W] of a grid of points [B,3,H,W]; the outermost ring, without neighbours, is (0, 0, 1)."""
    across = points[:, :, 1:-1, 2:] - points[:, :, 1:-1, :-2]
    along = points[:, :, 2:, 1:-1] - points[:, :, :-2, 1:-1]
    normal = torch.linalg.cross(across, along, dim=1)
    normal = normal / (normal.square().sum(1, keepdim=True) + _EPSILON**2).sqrt()
    plane = F.pad(normal[:, :2], (1, 1, 1, 1))
    return torch.cat((plane, F.pad(normal[:, 2:], (1, 1, 1, 1), value=1.0)), dim=1)


def depth_normals(depth: Tensor, fov: float) -> Tensor:
    """Normals [B,3,H,W] of z-depth [B,H,W], positive, seen with the full vertical angle ``fov`` in radians."""
    return point_normals(back_project(depth.float(), fov))


def ray_distance(depth: Tensor, fov: float) -> Tensor:
    """Distance along the ray [B,H,W] of z-depth [B,H,W]."""
    x, y = ray_slopes(depth.shape[1], depth.shape[2], fov, depth.device)
    return depth * (1 + x.square() + y.square()[:, None]).sqrt()


def released_normals(depth: Tensor, fov: float) -> Tensor:
    """Normals [B,3,H,W] of z-depth [B,H,W] as the authors' release takes those of its generator.

    Two small errors are kept: the distance along the ray is read as z-depth, and the outermost pixel centres are taken
    to lie on the edge of the frame, which makes the grid W / (W - 1) too wide.
    """
    distance = ray_distance(depth.float(), fov)
    height, width = depth.shape[1:]
    x, y = ray_slopes(height, width, fov, depth.device)
    x, y = x * (width / (width - 1)), y * (height / (height - 1))
    return point_normals(torch.stack((distance * x, distance * y[:, None], distance), dim=1))
