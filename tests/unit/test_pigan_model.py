"""The pi-GAN generator on scenes whose images are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harness.cameras import look_at, named_prior, rays, select
from harness.types import Cameras
from methods.blocks.field_rendering import Density, Rendering
from methods.blocks.siren import MappingNetwork, SirenField
from methods.blocks.volume_rendering import Quadrature
from methods.pigan.model import Generator

PRIOR = named_prior("wide60")
SKY = (0.55, 0.75, 0.95)
SHARP = Rendering(samples=200, fine=0, quadrature=Quadrature("left", "relu", "finite"), background=SKY)


class Ball(nn.Module):
    """A solid ball of one colour; or, with ``by_direction``, of the colour that its view direction names."""

    def __init__(self, radius: float, by_direction: bool = False) -> None:
        super().__init__()
        self.radius, self.by_direction, self.points = radius, by_direction, 0

    def condition(self, mapping: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
        return z, z

    def forward(self, points: Tensor, directions: Tensor, frequencies: Tensor, phases: Tensor) -> tuple[Tensor, Tensor]:
        self.points = points.shape[1]
        colour = directions * 0.5 + 0.5 if self.by_direction else torch.full_like(points, 0.25)
        return 1e7 * (self.radius - points.norm(dim=-1)), colour


def ball(radius: float = 0.6, by_direction: bool = False, bounded: bool = False) -> Generator:
    return Generator(nn.Identity(), Ball(radius, by_direction), Density(bounded=bounded))  # type: ignore[arg-type]


def siren(bounded: bool = True, view: bool = True) -> Generator:
    torch.manual_seed(0)
    field = SirenField(width=16, depth=2, frequency=(5, 10), omega=8.3, view_direction=view)
    return Generator(MappingNetwork(4, 16, 1, 3, 16), field, Density(8.0, 9.9, 0.5, bounded)).eval()


def cameras(n: int) -> Cameras:
    generator = torch.Generator().manual_seed(n)
    return look_at(torch.rand(n, generator=generator) * 2 - 1, torch.rand(n, generator=generator) - 0.5, PRIOR)


def latents(n: int) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("bounded", [True, False])
def test_ball_has_its_analytic_depth_silhouette_and_colour(bounded: bool) -> None:
    radius, size = 0.6, 33
    views = ball(radius, bounded=bounded)(latents(3), cameras(3), size, SHARP)
    _, directions = rays(cameras(3), size)
    length = directions.norm(dim=-1)
    sine = (1 - 1 / length**2).clamp_min(0).sqrt() * PRIOR.radius  # distance of the ray from the centre
    hit, miss = sine < radius - 0.03, sine > radius + 0.03
    distance = PRIOR.radius / length - (radius**2 - sine**2).clamp_min(0).sqrt()
    expected = distance / length
    spacing = (PRIOR.far - PRIOR.near) / 199
    error = (views.depth - expected)[hit]
    assert error.min() >= -1e-3  # the left rule sees a surface at the first sample behind it
    assert error.max() <= spacing + 1e-3
    centre = views.depth[:, size // 2, size // 2]
    torch.testing.assert_close(centre, torch.full((3,), PRIOR.radius - radius), rtol=0, atol=spacing)
    assert views.opacity[hit].min() > 0.999
    assert views.opacity[miss].max() < 1e-6
    assert (views.depth[miss] == PRIOR.far).all()
    inside = views.rgb.permute(0, 2, 3, 1)[hit]
    torch.testing.assert_close(inside, torch.full_like(inside, -0.5), rtol=0, atol=1e-3)
    outside = views.rgb.permute(0, 2, 3, 1)[miss]
    torch.testing.assert_close(outside, (torch.tensor(SKY) * 2 - 1).expand_as(outside))


def test_silhouette_is_where_the_tangent_is() -> None:
    size, radius = 128, 0.8
    opacity = ball(radius)(latents(1), cameras(1), size, SHARP).opacity[0]
    tangent = math.tan(math.asin(radius / PRIOR.radius)) / math.tan(PRIOR.fov / 2) * size / 2
    assert (opacity > 0.5).sum().item() == pytest.approx(math.pi * tangent**2, rel=0.02)


def test_one_coloured_ball_looks_alike_from_everywhere() -> None:
    views = ball()(latents(4), cameras(4), 16, SHARP)
    assert (views.rgb - views.rgb[:1]).abs().max() < 1e-3
    assert (views.depth - views.depth[:1]).abs().max() < 0.02


def test_hierarchical_samples_sharpen_the_depth() -> None:
    quadrature = Quadrature("left", "relu", "finite")
    _, directions = rays(cameras(1), 24)
    length = directions.norm(dim=-1)
    sine = (1 - 1 / length**2).clamp_min(0).sqrt() * PRIOR.radius
    hit = sine < 0.4
    exact = (PRIOR.radius / length - (0.36 - sine**2).clamp_min(0).sqrt()) / length
    errors = []
    for coarse, fine in ((24, 24), (48, 0)):
        how = Rendering(coarse, fine, quadrature)
        draws = [ball()(latents(1), cameras(1), 24, how, torch.Generator().manual_seed(k)).depth for k in range(4)]
        errors.append(sum(((depth - exact)[hit].abs().mean().item() for depth in draws), 0.0))
    assert errors[0] < 0.8 * errors[1]


def test_culling_changes_nothing_and_saves_points() -> None:
    culled, whole = siren(bounded=True), siren(bounded=False)
    counted = ball(bounded=True)
    how = Rendering(24, 0, Quadrature("left", "softplus", "finite"), SKY)
    z, cams = latents(3), cameras(3)
    counted(z, cams, 16, how)
    assert counted.field.points < 0.5 * 16 * 16 * 24  # type: ignore[operator]

    class Clipped(nn.Module):
        """The same field without culling: density zero outside the ball by an explicit mask."""

        condition = whole.field.condition

        def forward(self, points: Tensor, directions: Tensor, f: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
            raw, colour = whole.field(points, directions, f, p)
            return torch.where(points.norm(dim=-1) < 1, raw, -1e9), colour

    explicit = Generator(whole.mapping, Clipped(), whole.density)  # type: ignore[arg-type]
    a, b = culled(z, cams, 16, how), explicit(z, cams, 16, how)
    torch.testing.assert_close(a.rgb, b.rgb, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a.opacity, b.opacity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fine", [0, 6])
def test_rendering_is_repeatable_and_does_not_depend_on_the_batch(fine: int) -> None:
    net = siren()
    how = Rendering(8, fine, Quadrature("left", "softplus", "finite"), SKY)
    z, cams = latents(4), cameras(4)
    whole = net(z, cams, 8, how)
    torch.testing.assert_close(net(z, cams, 8, how).rgb, whole.rgb, rtol=0, atol=0)
    parts = [net(z[k : k + 1], select(cams, k), 8, how).rgb for k in range(4)]
    torch.testing.assert_close(torch.cat(parts), whole.rgb, rtol=1e-4, atol=1e-4)


def test_a_locked_view_direction_hides_the_camera_from_the_field() -> None:
    cams = cameras(3)
    free = ball(by_direction=True)(latents(3), cams, 9, SHARP).rgb[:, :, 4, 4]
    assert (free - free[:1]).abs().max() > 0.1
    locked = ball(by_direction=True)
    locked.lock_view = True
    fixed = locked(latents(3), cams, 9, SHARP).rgb[:, :, 4, 4]
    torch.testing.assert_close(fixed, torch.tensor([0.0, 0.0, -1.0]).expand(3, 3), rtol=0, atol=1e-3)


def test_field_without_view_direction_ignores_it() -> None:
    how = Rendering(8, 0, Quadrature("left", "softplus", "finite"))
    net, locked = siren(view=False), siren(view=False)
    locked.lock_view = True
    torch.testing.assert_close(net(latents(2), cameras(2), 8, how).rgb, locked(latents(2), cameras(2), 8, how).rgb)


def test_jitter_is_shared_only_when_asked_and_noise_needs_a_generator() -> None:
    base = Rendering(6, 0, Quadrature("left", "softplus", "finite"))
    net, z = siren(bounded=False, view=False), latents(1).expand(2, -1)
    twice = select(cameras(1), [0, 0])

    def difference(how: Rendering, seed: int | None) -> float:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        rgb = net(z, twice, 8, how, generator).rgb
        return float((rgb[0] - rgb[1]).detach().abs().max())

    shared = Rendering(6, 0, base.quadrature, shared_jitter=True)
    noisy = Rendering(6, 0, base.quadrature, shared_jitter=True, noise=1.0)
    assert difference(shared, 1) < 1e-5
    assert difference(base, 1) > 1e-3
    assert difference(noisy, 1) > 1e-3
    assert difference(noisy, None) < 1e-5


def test_lengths_in_camera_radii_scale_the_density() -> None:
    """Halving the unit of length and doubling the gain is the same medium."""
    torch.manual_seed(0)
    net = siren(bounded=False)
    other = Generator(net.mapping, net.field, Density(16.0, 9.9, 0.5, length=0.5))
    how = Rendering(8, 0, Quadrature("left", "softplus", "finite"))
    a, b = net(latents(2), cameras(2), 8, how), other(latents(2), cameras(2), 8, how)
    torch.testing.assert_close(a.rgb, b.rgb, rtol=1e-4, atol=1e-4)
