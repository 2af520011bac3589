"""Total variation of a radiance field's density (EG3D, Chan et al. 2022, supplement): against seams and floaters."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from methods.blocks.field_rendering import FORWARD, Field

POINTS = 1000
DEVIATION = 0.004  # world units


def density_variation(field: Field, scenes: int, generator: Generator) -> Tensor:
    """Mean absolute difference of raw densities between random points of [-1,1]^3 and points beside them, a scalar.

    ``field`` is conditioned on ``scenes`` scenes; 1,000 points of each, displaced by N(0, 0.004).
    """
    device = generator.device
    points = torch.rand(scenes, POINTS, 3, generator=generator, device=device) * 2 - 1
    beside = points + torch.randn(points.shape, generator=generator, device=device) * DEVIATION
    both = torch.cat((points, beside), 1)
    raw = field(both, both.new_tensor(FORWARD).expand_as(both))[0].float()
    return (raw[:, :POINTS] - raw[:, POINTS:]).abs().mean()
