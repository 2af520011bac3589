"""Depth, normals and meshes as colours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from harness.cameras import look_at, rays
from harness.data.raycast import Caster
from harness.metrics.depth import normals_from_depth
from harness.metrics.isosurface import Mesh
from harness.types import PosePrior

Bytes = NDArray[np.uint8]
ANCHORS = np.array(
    [
        [48, 18, 59],
        [70, 117, 237],
        [27, 208, 213],
        [97, 252, 108],
        [209, 232, 52],
        [254, 155, 45],
        [219, 58, 7],
        [122, 4, 3],
    ]
)
"""Colours from far to near: a rainbow of even steps."""
NEAR, FAR = 0.9, 0.5
"""Object radii before and behind the origin between which colours tell depths apart."""
BACKDROP = np.array([40, 40, 48])
CLAY, LIGHT, AMBIENT = np.array([205, 200, 190]), np.array([0.35, 0.6, 0.72]), 0.25
SIDE = 96


def depth_colours(depth: NDArray, mask: NDArray, prior: PosePrior) -> Bytes:
    """Depth [...,H,W] as colours [...,H,W,3], near red and far blue; transparent pixels are dark."""
    level = np.clip((prior.radius + FAR - depth.astype(np.float64)) / (NEAR + FAR), 0, 1) * (len(ANCHORS) - 1)
    low = np.minimum(level.astype(int), len(ANCHORS) - 2)
    share = (level - low)[..., None]
    colour = ANCHORS[low] * (1 - share) + ANCHORS[low + 1] * share
    return _behind(colour, mask)


def normal_colours(depth: NDArray, mask: NDArray, prior: PosePrior) -> Bytes:
    """Normals of depth [...,H,W] in the camera's frame as colours: x to the right red, y upwards green, towards the
    camera blue."""
    flat = torch.from_numpy(np.where(mask > 127, depth, 0).astype(np.float32)).flatten(0, -3)
    intrinsics = look_at(torch.zeros(1), torch.zeros(1), prior).intrinsics.expand(len(flat), 3, 3)
    normals = np.asarray(normals_from_depth(flat, intrinsics)).reshape(*depth.shape, 3)
    known = (normals != 0).any(-1)
    return _behind(127.5 + 127.5 * normals * np.array([1, -1, -1]), np.where(known, mask, 0))


def mesh_picture(mesh: Mesh, azimuth: float, prior: PosePrior) -> Bytes:
    """A mesh in clay [96,96,3] from the prior's middle height, lit from over the camera's right shoulder; where its
    inside can be seen it is blue."""
    picture = np.broadcast_to(BACKDROP, (SIDE * SIDE, 3)).astype(np.float64)
    if len(mesh.faces):
        cameras = look_at(torch.tensor([azimuth]).float(), torch.tensor([prior.elevation[0]]).float(), prior)
        origins, directions = (a[0].double().numpy() for a in rays(cameras, SIDE))
        caster = Caster(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
        lines = directions.reshape(-1, 3)
        hits = caster.cast(origins.astype(np.float32), lines.astype(np.float32))
        right, down, forward = cameras.cam2world[0, :3, :3].T.double().numpy()
        light = LIGHT[0] * right - LIGHT[1] * down - LIGHT[2] * forward
        inner = (hits.normal * lines[hits.ray]).sum(1) > 0
        facing = np.abs(hits.normal @ (light / np.linalg.norm(light)))
        colour = np.where(inner[:, None], CLAY[::-1] * 0.6, CLAY)
        picture[hits.ray] = colour * (AMBIENT + (1 - AMBIENT) * facing[:, None])
    return picture.reshape(SIDE, SIDE, 3).astype(np.uint8)


def _behind(colour: NDArray, mask: NDArray) -> Bytes:
    return np.where((mask > 127)[..., None], colour, BACKDROP).clip(0, 255).astype(np.uint8)
