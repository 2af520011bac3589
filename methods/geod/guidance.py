"""Supervision of a generator: the geometry that a head reads from its images against what it rendered (GeoD, 4.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.metrics.depth import eroded
from harness.types import SceneRenders
from methods.blocks.depth_normals import depth_normals, released_normals
from methods.blocks.geometry_head import LOG_GAIN, GeometryHead, SceneHead
from methods.geod.options import Options


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [B,C,H,W] at ``size``: plain bilinear, half-pixel centres, no antialiasing, as released."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def rendered_geometry(scene: SceneRenders, size: tuple[int, int], opaque: float, erosion: int) -> tuple[Tensor, Tensor]:
    """Depth of the generator [B,h,w] at ``size`` and where it counts, bool [B,h,w].

    Resizing weighs depths by opacity, so that the background does not leak in. The mask holds the pixels with more
    opacity than ``opaque`` without a rim of ``erosion`` pixels, nor the frame's: silhouettes are no surfaces.
    """
    depth, opacity = scene.depth, scene.opacity
    if tuple(depth.shape[1:]) != size:
        weight = resized(opacity[:, None], size)[:, 0]
        carried = resized((depth * opacity)[:, None], size)[:, 0]
        opacity, depth = weight, torch.where(weight > 1e-3, carried / weight.clamp(min=1e-3), scene.cameras.far)
    with torch.no_grad():
        mask = eroded(opacity > opaque, erosion)
    return depth, mask


def normal_loss(rendered: Tensor, read: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels of ``mask`` [B,h,w] of the L1 distance of unit normals [B,3,h,w], summed over components.

    In [0, 2 sqrt 3]; 0 where the mask is empty.
    """
    gap = (rendered - read).abs().sum(1)
    return torch.where(mask, gap, 0.0).sum() / mask.sum().clamp(min=1)


def depth_loss(rendered: Tensor, read: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels of ``mask`` of |delta - mean delta|, delta the log ratio of depths [B,h,w], all positive.

    The mean of delta is each image's own, so that a factor on either depth changes nothing. 0 where the mask is empty.
    """
    delta = torch.where(mask, rendered, 1.0).log() - torch.where(mask, read, 1.0).log()
    count = mask.sum((1, 2), keepdim=True).clamp(min=1)
    centred = delta - delta.sum((1, 2), keepdim=True) / count
    return torch.where(mask, centred.abs(), 0.0).sum() / mask.sum().clamp(min=1)


def geometry_loss(head: GeometryHead, images: Tensor, scene: SceneRenders, options: Options) -> dict[str, Tensor]:
    """The terms of L_geo by name, ``normals`` and ``depth``, for ``images`` [B,3,H,W] that show ``scene``.

    ``head`` must not collect gradients itself; they reach the generator through its depth and, unless the caller has
    detached them, through ``images``. Log depths are compared in the unit of the head's own loss, so that both
    terms are of order one; a scene head compares depths in its own way.
    """
    o, terms = options, dict[str, Tensor]()
    if o.geo_target != "depth":
        read, meant = head.normals(images)
        depth, mask = rendered_geometry(scene, _size(read), o.opaque, o.mask_erosion)
        rendered = depth_normals(depth, head.fov) if o.z_conversion else released_normals(depth, head.fov)
        terms["normals"] = normal_loss(rendered, read, mask & (meant[:, 0] > 0))
    if o.geo_target != "normals":
        if isinstance(head, SceneHead):
            depth, mask = rendered_geometry(scene, _size(images), o.opaque, o.mask_erosion)
            terms["depth"] = head.compare(images, depth, mask.float())
        else:
            seen = head.geometry(images)
            depth, mask = rendered_geometry(scene, _size(seen.depth), o.opaque, o.mask_erosion)
            terms["depth"] = depth_loss(depth, seen.depth, mask & (seen.mask[:, 0] > 0)) / LOG_GAIN
    return terms


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
