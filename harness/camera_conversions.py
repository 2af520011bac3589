"""Our camera convention to and from those of other libraries; see ``harness.cameras`` for ours.

Every pair of functions is an exact inverse up to rounding, and both sides put the same 3D point on the same pixel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.cameras import look_at
from harness.types import Cameras, DataError, PosePrior


def from_matrices(cam2world: Tensor, intrinsics: Tensor, *, near: float, far: float) -> Cameras:
    """Cameras from ``cam2world`` [N,4,4] (OpenCV axes) and normalised ``intrinsics`` [N,3,3].

    Azimuth and elevation (radians) are those of the position seen from the origin, the radius is the mean distance.
    Raises DataError for other shapes, no camera, or one that stands at the origin.
    """
    n = len(cam2world)
    if cam2world.shape != (n, 4, 4) or intrinsics.shape != (n, 3, 3) or n == 0:
        raise DataError(
            f"cam2world {tuple(cam2world.shape)} and intrinsics {tuple(intrinsics.shape)} must be [N,4,4] and [N,3,3]",
            where="from_matrices",
        )
    x, y, z = cam2world[:, :3, 3].double().unbind(-1)
    distance = torch.sqrt(x * x + y * y + z * z)
    if bool((distance == 0).any()):
        raise DataError("a camera at the origin has no azimuth", where="from_matrices")
    return Cameras(
        cam2world=cam2world.float(),
        intrinsics=intrinsics.float(),
        azimuth=torch.atan2(x, z).float(),
        elevation=torch.atan2(y, torch.hypot(x, z)).float(),
        radius=float(distance.mean()),
        near=near,
        far=far,
    )


def invert_rigid(matrix: Tensor) -> Tensor:
    """Inverse of rigid transforms [N,4,4]: ``world2cam`` from ``cam2world`` (the OpenCV extrinsics) and back."""
    rotation = matrix[:, :3, :3].transpose(1, 2)
    inverse = torch.zeros_like(matrix)
    inverse[:, :3, :3] = rotation
    inverse[:, :3, 3] = -(rotation * matrix[:, None, :3, 3]).sum(-1)
    inverse[:, 3, 3] = 1
    return inverse


# ---------------------------------------------------------------------------------------------------- OpenGL
def to_opengl(cam2world: Tensor) -> Tensor:
    """``cam2world`` [N,4,4] with OpenGL camera axes (y up, looking along -z), as in Blender, NeRF and kaolin."""
    return cam2world * cam2world.new_tensor([1.0, -1.0, -1.0, 1.0])


def from_opengl(cam2world: Tensor) -> Tensor:
    """``cam2world`` [N,4,4] with OpenCV axes from one with OpenGL axes: the change is its own inverse."""
    return to_opengl(cam2world)


# ------------------------------------------------------------------------------------------------------ EG3D
def to_eg3d(cameras: Cameras) -> Tensor:
    """EG3D's conditioning label [N,25]: flattened ``cam2world`` (16), then normalised intrinsics (9)."""
    return torch.cat((cameras.cam2world.flatten(1), cameras.intrinsics.flatten(1)), dim=1)


def from_eg3d(label: Tensor, *, near: float, far: float) -> Cameras:
    """Cameras from EG3D labels [N,25]; raises DataError for another shape."""
    if label.ndim != 2 or label.shape[1] != 25:
        raise DataError(f"labels {tuple(label.shape)} must be [N,25]", where="from_eg3d")
    return from_matrices(label[:, :16].reshape(-1, 4, 4), label[:, 16:].reshape(-1, 3, 3), near=near, far=far)


# ---------------------------------------------------------------------------------------------------- pi-GAN
def to_pigan(cameras: Cameras) -> Tensor:
    """pi-GAN's angles [N,2] in radians: h = pi/2 - azimuth, v = pi/2 - elevation.

    Its cameras stand at distance 1: divide lengths by ``cameras.radius``.
    """
    return math.pi / 2 - torch.stack((cameras.azimuth, cameras.elevation), dim=-1)


def from_pigan(angles: Tensor, prior: PosePrior) -> Cameras:
    """Cameras on the prior's sphere from pi-GAN's angles (h, v) [N,2] in radians."""
    azimuth, elevation = (math.pi / 2 - angles).unbind(-1)
    return look_at(azimuth, elevation, prior)


# ---------------------------------------------------------------------------------------------------- COLMAP
def to_colmap(cameras: Cameras, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """COLMAP poses and PINHOLE parameters for images of ``size`` (height, width).

    Returns unit quaternions [N,4] (w, x, y, z; w >= 0) and translations [N,3] of ``world2cam``, and (fx, fy, cx, cy)
    [N,4] in pixels, with pixel centres at + 0.5 as ours.
    """
    height, width = size
    world2cam = invert_rigid(cameras.cam2world)
    k = cameras.intrinsics
    params = torch.stack((k[:, 0, 0] * width, k[:, 1, 1] * height, k[:, 0, 2] * width, k[:, 1, 2] * height), dim=-1)
    return quaternion_from_rotation(world2cam[:, :3, :3]), world2cam[:, :3, 3], params


def from_colmap(
    quaternion: Tensor, translation: Tensor, params: Tensor, size: tuple[int, int], *, near: float, far: float
) -> Cameras:
    """Cameras from COLMAP quaternions [N,4], translations [N,3] and PINHOLE parameters [N,4] in pixels of ``size``."""
    height, width = size
    world2cam = _rigid(rotation_from_quaternion(quaternion), translation)
    fx, fy, cx, cy = (params / params.new_tensor([width, height, width, height])).unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    intrinsics = torch.stack((fx, zero, cx, zero, fy, cy, zero, zero, one), dim=-1).reshape(-1, 3, 3)
    return from_matrices(invert_rigid(world2cam), intrinsics, near=near, far=far)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions [N,4] (w, x, y, z; w >= 0) of rotation matrices [N,3,3].

    Each row of the outer product 4 q q^T is proportional to q; the row with the largest diagonal loses no digits.
    """
    m = rotation
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    yz, zy, zx, xz, xy, yx = m[:, 1, 2], m[:, 2, 1], m[:, 2, 0], m[:, 0, 2], m[:, 0, 1], m[:, 1, 0]
    rows = torch.stack(
        (
            torch.stack((1 + xx + yy + zz, zy - yz, xz - zx, yx - xy), dim=-1),
            torch.stack((zy - yz, 1 + xx - yy - zz, xy + yx, xz + zx), dim=-1),
            torch.stack((xz - zx, xy + yx, 1 - xx + yy - zz, yz + zy), dim=-1),
            torch.stack((yx - xy, xz + zx, yz + zy, 1 - xx - yy + zz), dim=-1),
        ),
        dim=1,
    )
    best = rows.diagonal(dim1=1, dim2=2).argmax(-1)
    quaternion = torch.nn.functional.normalize(rows[torch.arange(len(m), device=m.device), best], dim=-1)
    return torch.where(quaternion[:, :1] < 0, -quaternion, quaternion)


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation matrices [N,3,3] of quaternions [N,4] (w, x, y, z), which are normalised first."""
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


# ------------------------------------------------------------------------------------------------- PyTorch3D
def to_pytorch3d(cam2world: Tensor) -> tuple[Tensor, Tensor]:
    """PyTorch3D's R [N,3,3] and T [N,3] for row vectors, X_view = X_world R + T, with axes x left, y up, z forward."""
    world2cam = invert_rigid(cam2world)
    sign = cam2world.new_tensor([-1.0, -1.0, 1.0])
    return (world2cam[:, :3, :3] * sign[:, None]).transpose(1, 2), world2cam[:, :3, 3] * sign


def from_pytorch3d(rotation: Tensor, translation: Tensor) -> Tensor:
    """``cam2world`` [N,4,4] from PyTorch3D's R [N,3,3] and T [N,3]."""
    sign = rotation.new_tensor([-1.0, -1.0, 1.0])
    return invert_rigid(_rigid(rotation.transpose(1, 2) * sign[:, None], translation * sign))


def _rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    matrix = torch.zeros(len(rotation), 4, 4, dtype=rotation.dtype, device=rotation.device)
    matrix[:, :3, :3], matrix[:, :3, 3], matrix[:, 3, 3] = rotation, translation, 1
    return matrix
