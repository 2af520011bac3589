"""Normals of depth maps: planes, the sphere, and the cameras that all parts of the harness share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.cameras import look_at, named_prior, rays, unproject
from methods.blocks.depth_normals import back_project, depth_normals, ray_distance, ray_slopes, released_normals

PRIOR = named_prior("wide60")
SIZE = 33  # odd: the middle pixel looks along the axis


def _sphere() -> tuple[Tensor, Tensor]:
    """z-depth [1,S,S] of the unit ball around the origin, 1 where it is missed, and the camera's directions."""
    x, y = ray_slopes(SIZE, SIZE, PRIOR.fov)
    square = x.square() + y.square()[:, None] + 1
    root = PRIOR.radius**2 - square * (PRIOR.radius**2 - 1)
    depth = torch.where(root > 0, (PRIOR.radius - root.clamp(min=0).sqrt()) / square, 1.0)
    return depth[None], root[None] > 0


def test_slopes_are_those_of_the_cameras() -> None:
    cameras = look_at(torch.zeros(1), torch.zeros(1), PRIOR)
    x, y = ray_slopes(6, 8, PRIOR.fov)
    _, directions = rays(cameras, (8, 8))
    torch.testing.assert_close(directions[0, 3, :, 0], x)
    _, directions = rays(cameras, (6, 6))
    torch.testing.assert_close(directions[0, :, 2, 1], -y)


def test_points_are_those_of_the_cameras_in_camera_axes() -> None:
    cameras = look_at(torch.tensor([0.7]), torch.tensor([-0.2]), PRIOR)
    depth = 4 + torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    world = unproject(depth, cameras)[0] - cameras.cam2world[0, :3, 3]
    torch.testing.assert_close(back_project(depth, PRIOR.fov)[0].movedim(0, -1), world @ cameras.cam2world[0, :3, :3])


def test_a_plane_that_faces_the_camera_has_the_normal_along_the_axis() -> None:
    normals = depth_normals(torch.full((2, 8, 8), 4.0), PRIOR.fov)
    torch.testing.assert_close(normals, torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(2, 3, 8, 8))


def test_a_slanted_plane_has_its_analytic_normal() -> None:
    slope = 0.4
    x, _ = ray_slopes(16, 16, PRIOR.fov)
    depth = (4.0 / (1 - slope * x)).expand(1, 16, 16)  # z = 4 + 0.4 X
    normals = depth_normals(depth, PRIOR.fov)[0, :, 1:-1, 1:-1]
    expected = torch.tensor([-slope, 0.0, 1.0]) / math.hypot(slope, 1)
    torch.testing.assert_close(normals, expected[:, None, None].expand_as(normals), atol=1e-5, rtol=0)


def test_the_front_of_a_sphere_has_one_sign_and_its_sides_point_into_it() -> None:
    depth, hit = _sphere()
    normals = depth_normals(depth, PRIOR.fov)
    middle = SIZE // 2
    torch.testing.assert_close(normals[0, :, middle, middle], torch.tensor([0.0, 0.0, 1.0]), atol=1e-5, rtol=0)
    inward = torch.tensor([0.0, 0.0, PRIOR.radius])[:, None, None] - back_project(depth, PRIOR.fov)
    near = hit & (back_project(depth, PRIOR.fov)[:, :2].square().sum(1) < 0.3)
    assert near.sum() > 100
    assert (normals - inward).abs().amax(1)[near].max() < 0.02


def test_distance_along_rays_exceeds_depth_by_the_slant() -> None:
    distance = ray_distance(torch.full((1, SIZE, SIZE), 2.0), PRIOR.fov)
    assert distance[0, SIZE // 2, SIZE // 2] == 2.0
    x, _ = ray_slopes(SIZE, SIZE, PRIOR.fov)
    torch.testing.assert_close(distance[0, SIZE // 2], 2 * (1 + x.square()).sqrt())


def test_the_released_variant_bends_planes_and_agrees_on_the_axis() -> None:
    normals = released_normals(torch.full((1, SIZE, SIZE), 4.0), PRIOR.fov)
    middle = SIZE // 2
    torch.testing.assert_close(normals[0, :, middle, middle], torch.tensor([0.0, 0.0, 1.0]), atol=1e-4, rtol=0)
    tilt = normals[0, 2, middle, 1].acos().rad2deg()
    assert 10 < tilt < 16  # a sphere around the camera would be tilted by the ray's own angle, nearly 15 degrees


def test_gradients_are_finite_everywhere() -> None:
    depth = _sphere()[0].requires_grad_()
    depth_normals(depth, PRIOR.fov).square().mul(torch.arange(3.0)[:, None, None]).sum().backward()
    assert depth.grad is not None
    assert depth.grad.isfinite().all()
