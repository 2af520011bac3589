"""A single scene fitted to posed views by squared error: cameras, quadrature and importance sampling, without a GAN.

The scene is a solid: two balls with a smooth paint, ray-traced in closed form here. A sign error in a camera, a wrong
order of samples or a wrong quadrature makes the fit impossible.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.cameras import look_at, named_prior, rays, select, stack_sweep
from harness.types import Cameras
from methods.blocks.field_rendering import Density, Rendering
from methods.blocks.siren import SirenField
from methods.blocks.volume_rendering import Quadrature
from methods.pigan.model import Generator

PRIOR = named_prior("wide60")
SKY = (0.55, 0.75, 0.95)
BALLS = ((0.0, -0.1, 0.0, 0.6), (0.3, 0.45, 0.35, 0.3))  # x, y, z, radius: not symmetric in any axis


def trace(cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """Exact images [N,3,S,S] in [-1,1] and z-depth [N,S,S], infinite where nothing is hit."""
    origins, directions = rays(cameras, size)
    depth = torch.full(directions.shape[:3], float("inf"))
    for *centre, radius in BALLS:
        offset = (origins - torch.tensor(centre))[:, None, None]
        a, b = (directions**2).sum(-1), (directions * offset).sum(-1)
        root = b * b - a * ((offset**2).sum(-1) - radius**2)
        depth = torch.where(root > 0, torch.minimum(depth, (-b - root.clamp_min(0).sqrt()) / a), depth)
    points = origins[:, None, None] + depth.nan_to_num(posinf=0.0)[..., None] * directions
    paint = 0.5 + 0.35 * torch.sin(points * torch.tensor([4.0, 5.0, 6.0]))
    rgb = torch.where(depth.isfinite()[..., None], paint, torch.tensor(SKY))
    return rgb.permute(0, 3, 1, 2) * 2 - 1, depth


class Unconditional(nn.Module):
    """Constant frequencies and phases: the field of one scene."""

    def __init__(self, field: SirenField) -> None:
        super().__init__()
        self.field = field

    def condition(self, mapping: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
        zeros = z.new_zeros(len(z), self.field.depth + 1, self.field.width)
        return zeros, zeros

    def forward(self, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        return self.field(*arguments)


def fit(steps: int, fine: int, size: int) -> tuple[float, float, float]:
    """PSNR in dB, SIDE and the SIDE of a constant depth on held-out views after fitting 40 views."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    field = SirenField(width=48, depth=3, frequency=(0.0, 12.0), omega=10.0, view_direction=False)
    scene = Generator(nn.Identity(), Unconditional(field), Density(8.0, 9.9, 0.5, bounded=True))  # type: ignore[arg-type]
    angles = torch.rand(2, 40, generator=generator) * 2 - 1
    views = look_at(angles[0] * 1.0, angles[1] * 0.25, PRIOR)
    images, _ = trace(views, size)
    quadrature = Quadrature("left", "softplus_minus_1", "finite")
    how = Rendering(16, fine, quadrature, SKY, shared_jitter=True)
    optimiser = torch.optim.Adam(scene.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps, pct_start=0.1)
    for _ in range(steps):
        chosen = torch.randint(40, (4,), generator=generator)
        view = scene(torch.zeros(4, 1), select(views, chosen), size, how, generator)
        loss = (view.rgb - images[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    held_out = stack_sweep(PRIOR, [-0.7, -0.25, 0.2, 0.65], 0.1)
    target, depth = trace(held_out, size)
    with torch.no_grad():
        view = scene(torch.zeros(4, 1), held_out, size, Rendering(32, fine, quadrature, SKY))
    psnr = -10 * torch.log10((view.rgb - target).square().mean() / 4)
    mask = depth.isfinite() & (view.opacity > 0.5)
    mask = nn.functional.max_pool2d((~mask).float()[:, None], 3, 1, 1)[:, 0] == 0
    ratio = (view.depth.log() - depth.log())[mask]
    flat = depth.log()[mask]
    return float(psnr), float(ratio.std(correction=0)), float(flat.std(correction=0))


def test_a_short_fit_finds_the_shape() -> None:
    psnr, side, constant = fit(steps=100, fine=0, size=16)
    assert psnr > 25
    assert side < 0.75 * constant


@pytest.mark.slow
def test_a_fit_reaches_25_decibels_and_a_small_depth_error() -> None:
    psnr, side, constant = fit(steps=200, fine=8, size=24)
    assert psnr > 25
    assert side < 0.5 * constant
