"""The depth rasteriser against ray casting of the same meshes by Open3D."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.data.raycast import Caster
from harness.types import MissingAsset
from methods.blocks.depth_normals import back_project, ray_slopes
from methods.blocks.depth_rasteriser import grid_faces, rasterise_depth

FOV, FAR, CENTRE = math.radians(30.0), 9.0, 4.2


@pytest.mark.parametrize(("size", "yaw", "pitch"), [(32, 0.4, 0.1), (32, -1.0, 0.3), (48, 0.8, -0.5)])
def test_depth_equals_that_of_cast_rays(size: int, yaw: float, pitch: float) -> None:

    generator = torch.Generator().manual_seed(size)
    depth = 4 + 0.2 * torch.rand(1, size, size, generator=generator)
    depth[:, size // 4 : -size // 4, size // 3 : -size // 3] -= 0.8  # a block that hides what is behind it
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = math.cos(pitch), math.sin(pitch)
    turn = turn @ torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    pivot = torch.tensor([0.0, 0.0, CENTRE])
    vertices = (back_project(depth, FOV).flatten(2).transpose(1, 2) - pivot) @ turn.T + pivot
    faces = grid_faces(size, size)
    seen, covered = rasterise_depth(vertices, faces, size / 2 / math.tan(FOV / 2), (size, size), FAR)

    x, y = (slopes.numpy() for slopes in ray_slopes(size, size, FOV))
    directions = np.stack(np.broadcast_arrays(x[None], y[:, None], np.float32(1)), -1).reshape(-1, 3)
    try:
        caster = Caster(vertices[0].numpy(), faces.numpy().astype(np.uint32))
    except MissingAsset as error:
        pytest.skip(str(error))
    hits = caster.cast(np.zeros(3, np.float32), directions)
    exact = np.full(size * size, FAR, np.float32)
    exact[hits.ray] = hits.distance
    difference = np.abs(seen.numpy().ravel() - exact)
    assert covered.float().mean() > 0.3
    # A ray through an edge may take either side of it.
    assert (difference > 1e-4).mean() < 0.003
    assert np.median(difference) < 1e-6
