"""Rigid rotation of feature volumes by trilinear resampling (HoloGAN, Nguyen-Phuoc et al. 2019, section 3.1).

Volumes are [N,C,D,H,W] in camera axes: W = x (right), H = y (down), D = z (away from the camera); positions and
matrices use the order (x, y, z). Collapsing D is then looking along the camera's axis.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Centre = Literal["half_voxel", "code"]
Padding = Literal["zeros", "border"]


def object_rotation(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Rotation [N,3,3] in camera axes that shows a still camera what a camera at (azimuth, elevation) [N] would see.

    The object turns by -azimuth about the vertical (azimuth > 0 moves the camera to +X) and then by the elevation about
    the horizontal image axis (elevation > 0 looks down on the object). Computed in fp32.
    """
    a, e = azimuth.float(), elevation.float()
    ca, sa, ce, se = a.cos(), a.sin(), e.cos(), e.sin()
    zero = torch.zeros_like(ca)
    rows = [ca, zero, sa, se * sa, ce, -se * ca, -ce * sa, se, ce * ca]
    return torch.stack(rows, dim=-1).view(-1, 3, 3)


def voxel_positions(size: int, device: torch.device) -> Tensor:
    """Index positions [size^3, 3] of a cube's voxels as (x, y, z), in the memory order of [D,H,W]."""
    line = torch.arange(size, dtype=torch.float32, device=device)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return torch.stack([x, y, z], dim=-1).view(-1, 3)


def source_positions(rotation: Tensor, size: int, centre: Centre = "half_voxel") -> Tensor:
    """Where in the source each target voxel comes from, [N, size^3, 3] as (x, y, z) in index units (inverse warping).

    ``half_voxel`` turns about the cube's middle (size - 1) / 2; ``code`` about size / 2, as the released code did.
    """
    middle = (size - 1) / 2 if centre == "half_voxel" else size / 2
    offsets = voxel_positions(size, rotation.device) - middle
    # The inverse of a rotation is its transpose, and offsets are rows: q^T = p^T (R^T)^T. bf16 could not place a voxel.
    with torch.autocast(rotation.device.type, enabled=False):
        return torch.matmul(offsets, rotation.float()) + middle


def trilinear_taps(positions: Tensor, size: int, padding: Padding = "zeros") -> tuple[Tensor, Tensor]:
    """The 8 neighbours of ``positions`` [N,S,3] (x, y, z; index units) in a cube of ``size``.

    Returns flat indices [N,S,8] into D*H*W (int64, always valid) and weights [N,S,8]. With ``zeros`` neighbours outside
    the cube get weight 0; with ``border`` positions are first clamped to the cube.
    """
    if padding == "border":
        positions = positions.clamp(0, size - 1)
    low = positions.floor()
    fraction = positions - low
    weight = torch.stack([1 - fraction, fraction], dim=-1)
    index = low.long().unsqueeze(-1) + torch.arange(2, device=positions.device)
    inside = (index >= 0) & (index < size)
    weight = weight * inside
    index = index.clamp(0, size - 1)
    x, y, z = index.unbind(dim=-2)
    wx, wy, wz = weight.unbind(dim=-2)
    flat = (z[..., :, None, None] * size + y[..., None, :, None]) * size + x[..., None, None, :]
    weights = wz[..., :, None, None] * wy[..., None, :, None] * wx[..., None, None, :]
    return flat.flatten(-3), weights.flatten(-3)


class _WeightedGather(torch.autograd.Function):
    """``out[r] = sum_k weight[r,k] rows[index[r,k]]`` with the adjoint computed by sorting instead of scattering.

    Differentiable in ``rows`` only. Embedding bags are several times faster than a grid sampler at 8^3 and, unlike
    atomic scatters, deterministic on every device.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.sources = len(rows)
        return F.embedding_bag(index, rows, per_sample_weights=weight, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        taps = index.shape[1]
        _, order = torch.sort(index.view(-1), stable=True)
        counts = torch.bincount(index.view(-1), minlength=ctx.sources)
        offsets = torch.cumsum(counts, 0) - counts
        adjoint = F.embedding_bag(
            order // taps,
            gradients[0].contiguous(),
            offsets,
            per_sample_weights=weight.view(-1)[order],
            mode="sum",
        )
        return adjoint, None, None


def resample(volume: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of voxels: ``volume`` [N,C,D,H,W], taps [N,D*H*W,8] of ``trilinear_taps``; fp32, channels-last."""
    n, channels, *grid = volume.shape
    voxels = index.shape[1]
    rows = volume.permute(0, 2, 3, 4, 1).reshape(n * voxels, channels).float()
    start = torch.arange(n, device=volume.device)[:, None, None] * voxels
    out = _WeightedGather.apply(rows, (index + start).view(n * voxels, -1), weight.reshape(n * voxels, -1))
    return out.view(n, *grid, channels).permute(0, 4, 1, 2, 3)


def rotate(volume: Tensor, rotation: Tensor, centre: Centre = "half_voxel", padding: Padding = "zeros") -> Tensor:
    """Rotate cubes ``volume`` [N,C,n,n,n] by ``rotation`` [N,3,3] (x, y, z) about their middle; fp32 result.

    A feature at p (from the centre) moves to ``rotation @ p``. ``centre="code"`` reproduces the released resampler: the
    rotation centre is half a voxel off and whatever is sampled at or beyond the last index is lost.
    """
    size = volume.shape[-1]
    if volume.shape[-3:] != (size, size, size):
        raise ValueError(f"rotation needs a cube, got {tuple(volume.shape)}")
    positions = source_positions(rotation, size, centre)
    if centre == "code":
        index, weight = trilinear_taps(positions, size, "border")
        weight = weight * ((positions >= 0) & (positions < size - 1)).all(dim=-1, keepdim=True)
    else:
        index, weight = trilinear_taps(positions, size, padding)
    return resample(volume, index, weight)


def sphere_mask(size: int, radius: float) -> Tensor:
    """Weights [n,n,n] that keep a ball: clamp((radius - r) n / 3, 0, 1) with r in half-grid units.

    Takes away the cube's corners, whose outline shows the angle with a 90-degree symmetry.
    """
    middle = (size - 1) / 2
    distance = (voxel_positions(size, torch.device("cpu")) - middle).norm(dim=-1) / (size / 2)
    return ((radius - distance) * size / 3).clamp(0, 1).view(size, size, size)
