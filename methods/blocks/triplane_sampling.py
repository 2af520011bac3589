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


def plane_grid(points: Tensor, planes: Planes) -> Tensor:
    """Positions [B,3,P,2] (width, height) of ``points`` [B,P,3] on the three planes."""
    axes = points.unbind(-1)
    across, down = (torch.stack([axes[pair[k]] for pair in AXES[planes]], 1) for k in (0, 1))
    return torch.stack((across, down), -1)


def sample_planes(features: Tensor, points: Tensor, planes: Planes, outside: Outside) -> Tensor:
    """SUM of the bilinear samples of three planes: ``features`` [B,3,C,H,W] at ``points`` [B,P,3] to [B,C,P].

    Points are in units of half the box, so that the planes cover [-1,1]; values sit at pixel centres (2 i + 1) / H - 1.
    ``outside``: beyond the outermost centres features fade to zero within a pixel, or keep the border's value.
    Computed in float32 whatever the autocast state.
    """
    batch, count = points.shape[:2]
    with torch.autocast(points.device.type, enabled=False):
        # One call for all planes of all scenes.
        grid = plane_grid(points.float(), planes).reshape(batch * 3, 1, count, 2)
        sampled = F.grid_sample(
            features.float().flatten(0, 1), grid, mode="bilinear", padding_mode=outside, align_corners=False
        )
        return sampled.view(batch, 3, -1, count).sum(1)
