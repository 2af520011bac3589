"""Warping views by depth: exact for planes, blind to what lies outside masks and frames."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.cameras import PRIORS, look_at, pixel_centres
from harness.types import Cameras
from methods.blocks.view_warp import landing, sample, seen_from, view_difference, visible

PRIOR = PRIORS["wide60"]
SIDE = 32


def facing(*degrees: float) -> Cameras:
    azimuth = torch.tensor(degrees).deg2rad()
    return look_at(azimuth, torch.zeros_like(azimuth), PRIOR)


def plane(cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [N,S,S] of the world's plane z = 0, and where on it one looks: across and down, [N,S,S] each."""
    u, v = pixel_centres(SIDE, SIDE)
    focal = 0.5 / math.tan(PRIOR.fov / 2)
    x, y = ((u - 0.5) / focal)[None, None, :], ((v - 0.5) / focal)[None, :, None]
    cos, sin = cameras.azimuth.cos()[:, None, None], cameras.azimuth.sin()[:, None, None]
    depth = (PRIOR.radius * cos / (cos + x * sin)).expand(-1, SIDE, SIDE)
    return depth, x * depth * cos + (PRIOR.radius - depth) * sin, y * depth


def pattern(across: Tensor, down: Tensor) -> Tensor:
    return torch.stack((torch.sin(2 * across), torch.cos(1.5 * down), torch.sin(across + down)), dim=1)


def test_identical_cameras_change_nothing() -> None:
    cameras = facing(10.0, -40.0)
    depth = PRIOR.radius + 0.3 * torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    landed = landing(depth, cameras, cameras)
    assert landed.inside.all()
    assert torch.allclose(landed.z, depth, atol=1e-5)
    picture = torch.rand(2, 3, SIDE, SIDE)
    assert torch.allclose(sample(picture, landed.position), picture, atol=1e-4)
    mask = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    loss, used = view_difference(picture, depth, mask, cameras, cameras, picture, depth, 0.02)
    assert float(loss) < 1e-4
    assert used.dtype == torch.bool
    assert used.all()
    assert torch.allclose(seen_from(picture, depth, cameras, cameras)[0], picture, atol=1e-4)


@pytest.mark.parametrize("degrees", [-20.0, 5.0, 25.0])
def test_a_plane_under_yaw_is_warped_by_its_homography(degrees: float) -> None:
    here, there = facing(0.0), facing(degrees)
    (depth, *at), (depth_there, *at_there) = plane(here), plane(there)
    assert torch.allclose(depth, torch.full_like(depth, PRIOR.radius), atol=1e-5)
    landed = landing(depth, here, there)
    # The homography of the plane: a point (a, b, 0) of the world as the turned camera sees it.
    turn, focal = math.radians(degrees), 0.5 / math.tan(PRIOR.fov / 2)
    z = PRIOR.radius - at[0] * math.sin(turn)
    wanted = torch.stack((focal * at[0] * math.cos(turn) / z + 0.5, focal * at[1] / z + 0.5), dim=-1)
    assert torch.allclose(landed.z, z, atol=1e-4)
    assert torch.allclose(landed.position, wanted, atol=1e-5)
    mask = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    loss, used = view_difference(pattern(*at), depth, mask, here, there, pattern(*at_there), depth_there, 0.02)
    assert used.float().mean() > 0.5
    assert float(loss) < 0.01
    other, _ = view_difference(pattern(*at), depth, mask, here, there, pattern(*at), depth_there, 0.02)
    assert float(other) > 10 * float(loss) or abs(degrees) <= 5


def test_a_camera_turned_by_fixed_points_sees_the_plane() -> None:
    here, there = facing(0.0), facing(20.0)
    (depth, *at), (_, *at_there) = plane(here), plane(there)
    made, inside = seen_from(pattern(*at), depth, here, there)
    gap = (made - pattern(*at_there)).abs().mean(1)[inside]
    assert inside.float().mean() > 0.8
    assert float(gap.mean()) < 0.01


def test_what_is_hidden_or_out_of_frame_is_not_visible() -> None:
    here, there = facing(0.0), facing(20.0)
    depth = torch.full((1, SIDE, SIDE), PRIOR.radius)
    landed = landing(depth, here, there)
    assert visible(landed, plane(there)[0], 0.02)[landed.inside].all()
    assert not visible(landed, 0.8 * plane(there)[0], 0.02).any()
    near = torch.full((1, SIDE, SIDE), 0.2 * PRIOR.radius)
    assert not landing(near, here, facing(80.0)).inside.all()


def test_pixels_outside_the_mask_do_not_count() -> None:
    here, there = facing(0.0), facing(10.0)
    (depth, *at), (depth_there, *at_there) = plane(here), plane(there)
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 8:24, 8:24] = True
    picture, other = pattern(*at), pattern(*at_there)
    loss, _ = view_difference(picture, depth, mask, here, there, other, depth_there, 0.02)
    spoilt = torch.where(mask[:, None], picture, 9.0), torch.where(mask, depth, float("inf"))
    again, _ = view_difference(*spoilt, mask, here, there, other, depth_there, 0.02)
    assert again.equal(loss)
    nothing, used = view_difference(picture, depth, mask & False, here, there, other, depth_there, 0.02)
    assert float(nothing) == 0
    assert not used.any()


def test_gradients_reach_the_depth_and_are_finite() -> None:
    here, there = facing(0.0), facing(15.0)
    depth, *at = plane(here)
    depth = depth.clone().requires_grad_(True)
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 4:28, 4:28] = True
    shown = torch.where(mask, depth, float("inf"))
    (depth_there, *at_there) = plane(there)
    loss, _ = view_difference(pattern(*at), shown, mask, here, there, pattern(*at_there).add(0.3), depth_there, 0.05)
    (slope,) = torch.autograd.grad(loss, depth)
    assert slope.isfinite().all()
    assert slope[mask].any()
    assert not slope[~mask].any()
