"""Features of points from three axis-aligned planes (EG3D, Chan et al. 2022, section 4.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.triplane_options import Outside, Planes

# World axes along the width and the height of each plane. The released networks see x and z twice and never (y, z).
AXES: dict[Planes, tuple[tuple[int, int], ...]] = {
    "released": ((0, 1), (0, 2), (2, 0)),
    "xy_xz_yz": ((0, 1), (0, 2), (1, 2)),
}


def sample_planes(features: Tensor, points: Tensor, planes: Planes, outside: Outside) -> Tensor:
    """SUM of the bilinear samples of three planes: ``features`` [B,3,C,H,W] at ``points`` [B,P,3] to [B,C,P].

    Points are in units of half the box, so that the planes cover [-1,1]; values sit at pixel centres (2 i + 1) / H - 1.
    ``outside``: beyond the outermost centres features fade to zero within a pixel, or keep the border's value.
    Computed in float32 whatever the autocast state.
    """
    axes = points.float().unbind(-1)
    total: Tensor | None = None
    with torch.autocast(points.device.type, enabled=False):
        # Plane by plane: as fast as one call for all, with a third of the memory, and the gradient is not copied.
        for plane, (across, down) in zip(features.float().unbind(1), AXES[planes], strict=True):
            grid = torch.stack((axes[across], axes[down]), -1)[:, None]
            sampled = F.grid_sample(plane, grid, mode="bilinear", padding_mode=outside, align_corners=False)
            total = sampled if total is None else total + sampled
    assert total is not None
    return total.squeeze(2)
