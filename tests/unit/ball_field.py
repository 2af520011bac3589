"""A radiance field in closed form: a ball whose radius and colour are its code."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.cameras import rays
from harness.types import Cameras, Guide, Renders
from tests.unit.disc_data import SIDE

SKY = torch.tensor([0.1, 0.5, 0.9])
SOFTNESS, DENSITY = 0.03, 7.0


class Ball:
    """Codes are latents [N,4]: the radius is 0.5 + 0.2 times the first number, the rest is the colour."""

    def __init__(self) -> None:
        self.guides: list[Guide] = []

    def latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 4, generator=generator) * 0.4

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        assert cameras is not None
        return self.render_codes(latents, cameras)

    def codes(self, latents: Tensor) -> Tensor:
        return latents

    def mean_code(self) -> Tensor:
        return torch.zeros(4)

    def radius(self, codes: Tensor) -> Tensor:
        return (0.5 + 0.2 * codes[:, 0]).clamp(0.1, 0.9)

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders:
        origins, directions = rays(cameras, SIDE)
        radius = self.radius(codes)[:, None, None]
        length = directions.square().sum(-1)
        along = -(directions * origins[:, None, None]).sum(-1)
        distance = (origins.square().sum(-1)[:, None, None] - along.square() / length).clamp(min=1e-9).sqrt()
        opacity = torch.sigmoid((radius - distance) / SOFTNESS)
        depth = along / length - ((radius.square() - distance.square()).clamp(min=1e-9) / length).sqrt()
        colour = torch.tanh(codes[:, 1:])[:, :, None, None]
        rgb = opacity[:, None] * colour + (1 - opacity[:, None]) * SKY[:, None, None]
        return Renders(rgb, depth, opacity)

    @torch.no_grad()
    def density(self, codes: Tensor, points: Tensor) -> Tensor:
        return DENSITY * torch.sigmoid((self.radius(codes)[:, None] - points.norm(dim=-1)) / SOFTNESS)
