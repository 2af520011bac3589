"""Pinhole cameras around an object: poses, priors, rays, projection.

World: right-handed, +Y up, the object's front faces +Z, +X is to the right of a viewer in front of it. Camera: OpenCV
axes (x right, y down, z forward). Azimuth 0 sees the front and grows towards +X, elevation grows upwards, there is no
roll. Pixel (i, j) has its centre at ((j + 0.5) / W, (i + 0.5) / H) in normalised coordinates. Depth is z-depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from harness.priors import PRIORS as PRIORS
from harness.priors import named_prior as named_prior
from harness.priors import shifted as shifted
from harness.priors import widened as widened
from harness.types import Cameras, ConfigError, DataError, PosePrior

GAUSS_CLIP = 2.5  # standard deviations


# -------------------------------------------------------------------------------------------------- angles
def wrap(angles: Tensor) -> Tensor:
    """Angles in radians brought to [-pi, pi); those already there keep their bits."""
    turned = torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
    return torch.where((angles >= -math.pi) & (angles < math.pi), angles, turned)


def sample_angles(prior: PosePrior, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw ``n`` azimuths and elevations (radians, float32 [n]) from the prior, on the generator's device."""
    if n < 0:
        raise ConfigError(f"cannot sample {n} cameras")
    device = generator.device
    if prior.kind == "gauss":
        unit = torch.randn(2, n, generator=generator, device=device).clamp(-GAUSS_CLIP, GAUSS_CLIP)
    else:
        unit = torch.rand(2, n, generator=generator, device=device) * 2 - 1
    azimuth = prior.azimuth[0] + prior.azimuth[1] * unit[0]
    if prior.kind == "area":
        low, high = (math.sin(_within_poles(prior.elevation[0] + s * prior.elevation[1])) for s in (-1, 1))
        elevation = torch.asin((low + (high - low) * (unit[1] + 1) / 2).clamp(-1, 1))
    else:
        elevation = prior.elevation[0] + prior.elevation[1] * unit[1]
    return wrap(azimuth), elevation


def _within_poles(elevation: float) -> float:
    return min(max(elevation, -math.pi / 2), math.pi / 2)


# ------------------------------------------------------------------------------------------- building cameras
def look_at(azimuth: Tensor, elevation: Tensor, prior: PosePrior) -> Cameras:
    """Cameras on the prior's sphere that look at the origin without roll.

    ``azimuth``, ``elevation``: radians [N], kept as given in the result. The camera stands at
    r (sin a cos e, sin e, cos a cos e); field of view, radius and depth range come from ``prior``. The poles are
    legal: the up direction there is the limit along the meridian. Raises DataError for shapes other than [N].
    """
    if azimuth.ndim != 1 or azimuth.shape != elevation.shape:
        raise DataError(
            f"azimuth {tuple(azimuth.shape)} and elevation {tuple(elevation.shape)} must both be [N]", where="look_at"
        )
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    zero, one = torch.zeros_like(sin_a), torch.ones_like(sin_a)
    backward = torch.stack((sin_a * cos_e, sin_e, cos_a * cos_e), dim=-1)
    right = torch.stack((cos_a, zero, -sin_a), dim=-1)
    down = torch.stack((sin_a * sin_e, -cos_e, cos_a * sin_e), dim=-1)
    upper = torch.stack((right, down, -backward, prior.radius * backward), dim=-1)
    bottom = torch.stack((zero, zero, zero, one), dim=-1)[:, None]
    return Cameras(
        cam2world=torch.cat((upper, bottom), dim=1).float(),
        intrinsics=_intrinsics(prior.fov, azimuth.device).expand(len(azimuth), 3, 3).contiguous(),
        azimuth=azimuth.float(),
        elevation=elevation.float(),
        radius=prior.radius,
        near=prior.near,
        far=prior.far,
    )


def _intrinsics(fov: float, device: torch.device) -> Tensor:
    focal = 0.5 / math.tan(fov / 2)
    return torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]], device=device)


def sample_cameras(prior: PosePrior, n: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Cameras:
    """Draw ``n`` cameras from the prior; the draw happens on the generator's device, the result lives on ``device``."""
    azimuth, elevation = sample_angles(prior, n, generator)
    return look_at(azimuth.to(device), elevation.to(device), prior)


def stack_sweep(
    prior: PosePrior,
    azimuths: Tensor | Sequence[float],
    elevation: float = 0.0,
    device: torch.device | str = "cpu",
) -> Cameras:
    """One camera per azimuth (radians) at one common ``elevation``: the views of a turntable."""
    azimuth = torch.as_tensor(azimuths, dtype=torch.float32, device=device)
    return look_at(azimuth, torch.full_like(azimuth, elevation), prior)


# ---------------------------------------------------------------------------------------- rearranging cameras
def select(cameras: Cameras, index: int | slice | Sequence[int] | Tensor) -> Cameras:
    """The cameras at ``index`` (integer, slice, list, index or boolean tensor), always with a leading dimension."""
    if not isinstance(index, slice):
        index = torch.atleast_1d(torch.as_tensor(index, device=cameras.azimuth.device))
    return replace(
        cameras,
        cam2world=cameras.cam2world[index],
        intrinsics=cameras.intrinsics[index],
        azimuth=cameras.azimuth[index],
        elevation=cameras.elevation[index],
    )


def to_device(cameras: Cameras, device: torch.device | str) -> Cameras:
    """The same cameras with their tensors on ``device``."""
    return replace(
        cameras,
        cam2world=cameras.cam2world.to(device),
        intrinsics=cameras.intrinsics.to(device),
        azimuth=cameras.azimuth.to(device),
        elevation=cameras.elevation.to(device),
    )


def mirrored(cameras: Cameras) -> Cameras:
    """Cameras of the horizontally flipped images of the mirrored world: C -> S C S with S = diag(-1, 1, 1, 1)."""
    sign = cameras.cam2world.new_tensor([-1.0, 1.0, 1.0, 1.0])
    flip = cameras.intrinsics.clone()
    flip[:, 0, 2] = 1 - flip[:, 0, 2]
    return replace(
        cameras,
        cam2world=cameras.cam2world * sign[:, None] * sign,
        intrinsics=flip,
        azimuth=wrap(-cameras.azimuth),
    )


# ------------------------------------------------------------------------------------------ rays and projection
def pixel_centres(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Normalised coordinates of pixel centres: u float32 [width] and v float32 [height], (i + 0.5) / n."""
    u = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    v = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    return u, v


def rays(cameras: Cameras, resolution: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
    """World rays through the pixel centres: origins [N,3] and directions [N,H,W,3].

    ``resolution`` is the side of a square image or (height, width). A direction has camera-frame z component 1, so
    that ``origin + t * direction`` lies at z-depth t; its length is the ray length per unit of z-depth.
    """
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    u, v = pixel_centres(height, width, cameras.cam2world.device)
    k = cameras.intrinsics
    # Element-wise products rather than matrix products: the latter may run in TF32 on an accelerator.
    y = (v[None] - k[:, 1, 2, None]) / k[:, 1, 1, None]
    x = (u[None, None] - k[:, 0, 2, None, None] - k[:, 0, 1, None, None] * y[..., None]) / k[:, 0, 0, None, None]
    right, down, forward = cameras.cam2world[:, None, None, :3, :3].unbind(-1)
    directions = x[..., None] * right + y[:, :, None, None] * down + forward
    return cameras.cam2world[:, :3, 3], directions


def project(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project world points [N,P,3] into their cameras: normalised image coordinates [N,P,2] and z-depth [N,P].

    Coordinates mean something only where the z-depth is positive. Raises DataError if the cameras do not number N.
    """
    if points.ndim != 3 or points.shape[-1] != 3 or len(points) != len(cameras):
        raise DataError(f"points {tuple(points.shape)} must be [{len(cameras)},P,3]", where="project")
    offset = points - cameras.cam2world[:, None, :3, 3]
    local = (offset[..., None] * cameras.cam2world[:, None, :3, :3]).sum(-2)
    x, y, z = local.unbind(-1)
    k = cameras.intrinsics
    u = (k[:, 0, 0, None] * x + k[:, 0, 1, None] * y) / z + k[:, 0, 2, None]
    v = k[:, 1, 1, None] * y / z + k[:, 1, 2, None]
    return torch.stack((u, v), dim=-1), z


def unproject(depth: Tensor, cameras: Cameras) -> Tensor:
    """World points [N,H,W,3] of the pixel centres at z-depth [N,H,W]. Raises DataError if shapes do not match."""
    if depth.ndim != 3 or len(depth) != len(cameras):
        raise DataError(f"depth {tuple(depth.shape)} must be [{len(cameras)},H,W]", where="unproject")
    origins, directions = rays(cameras, cast("tuple[int, int]", tuple(depth.shape[1:])))
    return origins[:, None, None] + depth[..., None] * directions
