"""Warping one view of a scene into another by z-depth and known cameras; differentiable, in float32.

Coordinates are those of `harness/cameras.py`: normalised, pixel centres at (i + 0.5) / n. Two directions: where the
pixels of a view with depth land in another (``landing``), and what another camera would see of a view with depth
(``seen_from``, by fixed-point iteration instead of a rasteriser, for rotations below about 30 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.cameras import pixel_centres, project, unproject
from harness.types import Cameras

ITERATIONS = 5


@dataclass(frozen=True)
class Landing:
    """Where pixels of a view land in another: normalised ``position`` [N,H,W,2] (u, v), their z-depth ``z`` [N,H,W]
    there, and ``inside`` bool [N,H,W], whether that is in frame and in front of the camera."""

    position: Tensor
    z: Tensor
    inside: Tensor


def landing(depth: Tensor, cameras: Cameras, other: Cameras) -> Landing:
    """Project the pixel centres of z-depth [N,H,W] seen by ``cameras`` into ``other``; gradients reach the depth."""
    height, width = depth.shape[1:]
    flat, z = project(unproject(depth, cameras).flatten(1, 2), other)
    position, z = flat.unflatten(1, (height, width)), z.unflatten(1, (height, width))
    return Landing(position, z, _framed(position.detach()) & (z.detach() > 0))


def sample(values: Tensor, position: Tensor) -> Tensor:
    """Bilinear samples [N,C,h,w] of ``values`` [N,C,H,W] at normalised positions [N,h,w,2]; the border is repeated."""
    return F.grid_sample(values, 2 * position - 1, mode="bilinear", padding_mode="border", align_corners=False)


def visible(landed: Landing, depth: Tensor, tolerance: float) -> Tensor:
    """bool [N,H,W]: in frame, and within ``tolerance`` times its z-depth of the surface that the other view sees there.

    ``depth`` is the other view's z-depth [N,h,w]. Carries no gradient.
    """
    with torch.no_grad():
        seen = sample(depth[:, None], landed.position)[:, 0]
        return landed.inside & ((landed.z - seen).abs() <= tolerance * landed.z)


def view_difference(
    picture: Tensor,
    depth: Tensor,
    mask: Tensor,
    cameras: Cameras,
    other: Cameras,
    other_picture: Tensor,
    other_depth: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Mean over visible pixels of the mask of |other_picture(X) - picture|, channels averaged, and the pixels used.

    ``picture`` [N,C,H,W] and z-depth [N,H,W] belong to ``cameras``, the other pair to ``other``; ``mask`` bool [N,H,W].
    Returns a scalar (0 where no pixel is visible) and bool [N,H,W]. Depth outside the mask is never looked at.
    """
    # Any point in front of both cameras will do outside the mask: infinite positions would make NaN of zero gradients.
    landed = landing(torch.where(mask, depth, cameras.radius), cameras, other)
    used = mask & visible(landed, other_depth, tolerance)
    gap = (sample(other_picture, landed.position) - picture).abs().mean(1)
    return torch.where(used, gap, 0.0).sum() / used.sum().clamp(min=1), used


@torch.no_grad()
def seen_from(
    values: Tensor, depth: Tensor, cameras: Cameras, other: Cameras, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor]:
    """What ``other`` sees of the view ``values`` [N,C,H,W], z-depth [N,H,W] of ``cameras``, and where that is in frame.

    For every pixel p of the other view the position q that lands on p is found by q <- q + (p - landing(q)). Converges
    where depth is smooth against the rotation; behind edges it repeats what it last found (GeoD dossier, trap 3).
    """
    n, height, width = depth.shape
    u, v = pixel_centres(height, width, depth.device)
    target = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1).expand(n, height, width, 2)
    position = target
    for _ in range(iterations):
        found = sample(depth[:, None], position)[:, 0]
        flat, _ = project(_lift(position, found, cameras).flatten(1, 2), other)
        position = position + target - flat.unflatten(1, (height, width))
    return sample(values, position), _framed(position)


def _lift(position: Tensor, depth: Tensor, cameras: Cameras) -> Tensor:
    """World points [N,H,W,3] at normalised positions [N,H,W,2] and z-depth [N,H,W]."""
    k = cameras.intrinsics[:, None, None]
    y = (position[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    x = (position[..., 0] - k[..., 0, 2] - k[..., 0, 1] * y) / k[..., 0, 0]
    right, down, forward = cameras.cam2world[:, None, None, :3, :3].unbind(-1)
    directions = x[..., None] * right + y[..., None] * down + forward
    return cameras.cam2world[:, None, None, :3, 3] + depth[..., None] * directions


def _framed(position: Tensor) -> Tensor:
    return ((position >= 0) & (position <= 1)).all(-1)
