"""From the outputs of the inverse renderer's networks to a rendered image (Unsup3D, Wu et al. 2020; GeoD, section 3.3).

A canonical view (depth, albedo) is lit, turned into the view of the image and sampled there. Cameras are those of the
harness: axes x right, y down, z forward, pixel centres at (j + 0.5) / W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import PosePrior
from methods.blocks.depth_normals import back_project, depth_normals
from methods.blocks.depth_rasteriser import grid_faces, rasterise_depth

BORDER_MIX = 0.7  # share of the farthest depth in the clamped border columns


@dataclass(frozen=True)
class InverseRanges:
    """What the outputs can express, in world units and radians.

    Canonical depth lies in [``nearest``, ``farthest``]; the view turns by at most ``rotation`` about each axis through
    the point at depth ``centre`` and moves by ``shift`` across and ``push`` along the optical axis. ``border`` columns
    on each side of the canonical depth are clamped; ``fov`` is the full vertical angle.
    """

    nearest: float
    farthest: float
    centre: float
    fov: float
    rotation: float = math.radians(60.0)
    shift: float = 0.1
    push: float = 0.0
    border: int = 2

    @property
    def margin(self) -> float:
        """How far the depth of a view may leave the canonical range."""
        return (self.farthest - self.nearest) / 2


@dataclass(frozen=True)
class Pose:
    """A rigid motion from canonical to input view: ``rotation`` [B,3,3] about a centre, then ``shift`` [B,3]."""

    rotation: Tensor
    shift: Tensor


def ranges_of(prior: PosePrior) -> InverseRanges:
    """Ranges for objects that fill the unit ball around the origin, as seen by the cameras of ``prior``.

    The surface that faces the camera lies in the nearer half of the ball; a wider range invites exaggerated relief.
    """
    return InverseRanges(prior.radius - 0.95, prior.radius - 0.15, prior.radius, prior.fov)


def canonical_depth(raw: Tensor, ranges: InverseRanges) -> Tensor:
    """Depth [B,S,S] in [nearest, farthest] of raw maps [B,S,S], blind to a constant added to these; border clamped."""
    bounded = torch.tanh(raw - raw.mean((1, 2), keepdim=True))
    depth = (1 + bounded) / 2 * ranges.farthest + (1 - bounded) / 2 * ranges.nearest
    if not ranges.border:
        return depth
    edge = BORDER_MIX * ranges.farthest + (1 - BORDER_MIX) * ranges.nearest
    inner = depth[:, :, ranges.border : -ranges.border]
    return F.pad(inner, (ranges.border, ranges.border), value=edge)


def with_mirrored(maps: Tensor) -> Tensor:
    """Maps [B,...,S] followed on the batch axis by their mirror images: [2B,...,S]."""
    return torch.cat((maps, maps.flip(-1)))


def shaded(albedo: Tensor, normals: Tensor, light: Tensor) -> Tensor:
    """Lambertian image [B,3,S,S] in [-1,...] of ``albedo`` in [-1,1] under ``light`` [B,4] in (-1,1).

    Light is ambient share and diffuse share, both brought to [0,1], and x and y of the direction (x, y, 1) from the
    surface away from the camera, in which normals [B,3,S,S] count.
    """
    ambient, diffuse = (light[:, :2] / 2 + 0.5)[:, :, None, None].unbind(1)
    direction = F.normalize(F.pad(light[:, 2:], (0, 1), value=1.0), dim=1)
    cosine = (normals * direction[:, :, None, None]).sum(1).clamp(min=0)
    return (albedo / 2 + 0.5) * (ambient + diffuse * cosine)[:, None] * 2 - 1


def pose_of(view: Tensor, ranges: InverseRanges) -> Pose:
    """The motion of view outputs [B,6] in (-1,1): angles about x, y, z (applied in this order), then x, y, z shifts."""
    x, y, z = (view[:, :3] * ranges.rotation).unbind(1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, 1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, x.cos(), -x.sin(), zero, x.sin(), x.cos())
    about_y = matrix(y.cos(), zero, y.sin(), zero, one, zero, -y.sin(), zero, y.cos())
    about_z = matrix(z.cos(), -z.sin(), zero, z.sin(), z.cos(), zero, zero, zero, one)
    reach = view.new_tensor([ranges.shift, ranges.shift, ranges.push])
    return Pose(_product(_product(about_z, about_y), about_x), view[:, 3:] * reach)


def to_view(points: Tensor, pose: Pose, centre: float) -> Tensor:
    """Canonical points [B,3,S,S] in the input view: R (p - c) + c + t."""
    pivot = _pivot(points, centre)
    return _turned(pose.rotation, points - pivot) + pivot + pose.shift[:, :, None, None]


def to_canonical(points: Tensor, pose: Pose, centre: float) -> Tensor:
    """Points [B,3,S,S] of the input view in canonical axes, the inverse of ``to_view``."""
    pivot = _pivot(points, centre)
    return _turned(pose.rotation.transpose(1, 2), points - pose.shift[:, :, None, None] - pivot) + pivot


def view_depth(depth: Tensor, pose: Pose, ranges: InverseRanges) -> tuple[Tensor, Tensor]:
    """z-depth [B,S,S] of the canonical surface ``depth`` [B,S,S] as the input view sees it, drawn as a mesh.

    Second, float [B,1,S,S] without gradient: the pixels that it covers. Others have the farthest depth that is allowed.
    """
    size, limit = depth.shape[-1], ranges.farthest + ranges.margin
    moved = to_view(back_project(depth, ranges.fov), pose, ranges.centre)
    vertices = moved.flatten(2).transpose(1, 2).contiguous()
    faces = grid_faces(size, size, depth.device)
    seen, _ = rasterise_depth(vertices, faces, _focal(size, ranges), (size, size), limit)
    seen = seen.clamp(ranges.nearest - ranges.margin, limit)
    return seen, (seen.detach() < limit).to(depth.dtype)[:, None]


def reproject(image: Tensor, seen: Tensor, pose: Pose, ranges: InverseRanges) -> Tensor:
    """The canonical ``image`` [B,3,S,S] in the input view, whose z-depth is ``seen`` [B,S,S]; zero outside the image.

    Every pixel is traced back to the canonical view by the depth that it shows, and sampled there bilinearly.
    """
    size = seen.shape[-1]
    x, y, z = to_canonical(back_project(seen, ranges.fov), pose, ranges.centre).unbind(1)
    # Pixel / (S - 1) * 2 - 1 with the pixel at f x / z + (S - 1) / 2: corners are aligned.
    grid = torch.stack((x, y), dim=-1) / z[..., None] * (2 * _focal(size, ranges) / (size - 1))
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def canonical_image(albedo: Tensor, depth: Tensor, light: Tensor, ranges: InverseRanges) -> Tensor:
    """The lit canonical view [B,3,S,S] of ``albedo`` [B,3,S,S] on z-depth [B,S,S] under ``light`` [B,4]."""
    return shaded(albedo, depth_normals(depth, ranges.fov), light)


def _focal(size: int, ranges: InverseRanges) -> float:
    """Focal length in pixels."""
    return size / 2 / math.tan(ranges.fov / 2)


def _pivot(points: Tensor, centre: float) -> Tensor:
    return points.new_tensor([0.0, 0.0, centre])[:, None, None]


def _turned(rotation: Tensor, points: Tensor) -> Tensor:
    # Element-wise products rather than matrix products: the latter may run in bf16 or TF32.
    return (rotation[..., None, None] * points[:, None]).sum(2)


def _product(first: Tensor, second: Tensor) -> Tensor:
    return (first[..., None] * second[:, None]).sum(2)
