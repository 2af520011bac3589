"""Turning a picture with depth about a vertical axis: unproject, rotate, project (DepthGAN, Shi et al. 2022).

Depth is metric up to one scale, focal lengths are in pixels, the principal point is the middle of the picture. The axis
passes through the middle of the visible cloud, (max + min) / 2 of X and of Z over all pixels. Everything is fp32 and
differentiable, the axis included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

HalfPixel = Literal["fixed", "official"]
NEAREST_DEPTH = 0.13
"""Metric depth of the code -1."""


def metric_depth(coded: Tensor) -> Tensor:
    """Depth (d + 1) / 2 + 0.13 of codes d, in [0.13, 1.13] for d in [-1, 1]; any shape."""
    return (coded + 1) / 2 + NEAREST_DEPTH


@dataclass(frozen=True)
class Turned:
    """Pixels of a view after the turn: ``points`` [N,3,H,W] in camera axes (x right, y down, z forward), ``grid``
    [N,H,W,2] where ``grid_sample`` finds them in the other view, ``inside`` bool [N,H,W] whether that is in its frame.
    """

    points: Tensor
    grid: Tensor
    inside: Tensor

    @property
    def depth(self) -> Tensor:
        """Depth [N,H,W] that the pixels have in the other view."""
        return self.points[:, 2]


def unproject(depth: Tensor, focal: float, half_pixel: HalfPixel = "fixed") -> Tensor:
    """Points [N,3,H,W] of depth [N,H,W]. ``official`` takes integer pixel coordinates for their centres."""
    height, width = depth.shape[1:]
    shift = 0.5 if half_pixel == "fixed" else 0.0
    u = torch.arange(width, device=depth.device, dtype=depth.dtype) + (shift - width / 2)
    v = torch.arange(height, device=depth.device, dtype=depth.dtype) + (shift - height / 2)
    return torch.stack((depth * (u / focal), depth * (v / focal)[:, None], depth), dim=1)


def pivot(points: Tensor) -> tuple[Tensor, Tensor]:
    """Where the axis stands: mid-range [N,1,1] of X and of Z over the pixels of points [N,3,H,W]."""
    flat = points[:, ::2].flatten(2)
    middle = (flat.amax(2) + flat.amin(2)) / 2
    return middle[:, 0, None, None], middle[:, 1, None, None]


def turn(depth: Tensor, angle: Tensor, focal: float, half_pixel: HalfPixel = "fixed") -> Turned:
    """Turn the view of ``depth`` [N,H,W] by ``angle`` [N] radians, yaw of the other view minus its own.

    There is no guard against points that come to lie behind the camera, as published. In the ``official`` form the
    identity samples half a pixel beside every centre, and blends the border with the zeros beyond it.
    """
    height, width = depth.shape[1:]
    points = unproject(depth, focal, half_pixel)
    x, y, z = points.unbind(1)
    centre_x, centre_z = pivot(points)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    turned_x = cos * (x - centre_x) + sin * (z - centre_z) + centre_x
    turned_z = -sin * (x - centre_x) + cos * (z - centre_z) + centre_z
    scale = 2 * focal / (turned_z + 1e-8)
    # 2 (f X / Z + W / 2) / W - 1, without the detour over pixels, which costs a rounding of half a frame.
    grid = torch.stack((turned_x * scale / width, y * scale / height), dim=-1)
    return Turned(torch.stack((turned_x, y, turned_z), dim=1), grid, (grid.abs() <= 1).all(-1))


def resample(values: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples [N,C,H,W] of ``values`` at ``grid`` [N,H,W,2] of pixel centres; zeros beyond the frame."""
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def rotation_loss(
    first: tuple[Tensor, Tensor | None],
    second: tuple[Tensor, Tensor | None],
    angle: Tensor,
    focal: float,
    half_pixel: HalfPixel = "fixed",
    occlusion_aware: bool = False,
) -> tuple[Tensor, Tensor]:
    """How badly two views of one scene agree: mean over ALL pixels of mask * |difference|, and the mask's mean.

    A view is (metric depth [N,H,W], picture [N,C,H,W] or None); without pictures depths are compared. ``angle`` [N] is
    the second view's yaw minus the first's. The mask holds the pixels that land in the second frame.
    ``occlusion_aware`` adds the other direction and leaves out what lies behind the surface that the other view sees.
    """
    loss, share = _one_way(first, second, angle, focal, half_pixel, occlusion_aware)
    if not occlusion_aware:
        return loss, share
    back, share_back = _one_way(second, first, -angle, focal, half_pixel, occlusion_aware)
    return loss + back, (share + share_back) / 2


def _one_way(
    first: tuple[Tensor, Tensor | None],
    second: tuple[Tensor, Tensor | None],
    angle: Tensor,
    focal: float,
    half_pixel: HalfPixel,
    occlusion_aware: bool,
) -> tuple[Tensor, Tensor]:
    (depth, picture), (other_depth, other_picture) = first, second
    turned = turn(depth, angle, focal, half_pixel)
    mask = turned.inside
    seen = None
    if occlusion_aware or other_picture is None:
        seen = resample(other_depth[:, None], turned.grid)[:, 0]
    if occlusion_aware and seen is not None:
        mask = mask & (turned.depth < seen)
    if picture is None or other_picture is None:
        assert seen is not None
        difference = (seen - turned.depth)[:, None]
    else:
        difference = resample(other_picture, turned.grid) - picture
    # where instead of a product: 0 x infinity is not 0.
    kept = torch.where(mask[:, None], difference.abs(), 0.0)
    return kept.mean(), mask.float().mean().detach()
