"""Cameras: round trips through other conventions, and the same 3D points on the same pixels."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import camera_conversions as convert
from harness import cameras as cam
from harness.types import Cameras

modest = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**31 - 1)
priors = st.sampled_from(list(cam.PRIORS.values()))


@st.composite
def posed(draw) -> Cameras:
    """Any prior, any angle, poles included."""
    n = draw(st.integers(1, 4))
    angle = st.floats(-math.pi, math.pi)
    height = st.floats(-math.pi / 2, math.pi / 2)
    azimuth = draw(st.lists(angle, min_size=n, max_size=n))
    elevation = draw(st.lists(height, min_size=n, max_size=n))
    return cam.look_at(torch.tensor(azimuth), torch.tensor(elevation), draw(priors))


def points_of(cameras: Cameras, seed: int, n: int = 8) -> torch.Tensor:
    """Points in the unit sphere's cube."""
    draw = torch.rand(len(cameras), n, 3, generator=torch.Generator().manual_seed(seed))
    return 1.2 * draw - 0.6


def same_views(one: Cameras, two: Cameras, seed: int) -> None:
    points = points_of(one, seed)
    for a, b in zip(cam.project(points, one), cam.project(points, two), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@modest
@given(posed())
def test_cam2world_is_rigid_and_looks_at_the_origin(cameras):
    rotation = cameras.cam2world[:, :3, :3]
    eye = torch.eye(3).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), eye, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(cameras)), atol=1e-6, rtol=0)
    uv, z = cam.project(torch.zeros(len(cameras), 1, 3), cameras)
    torch.testing.assert_close(uv, torch.full_like(uv, 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(z, torch.full_like(z, cameras.radius), atol=1e-5, rtol=1e-6)


@modest
@given(posed(), seeds)
def test_no_roll(cameras, seed):
    """The world's up direction projects to a vertical line upwards, except at the poles."""
    up = torch.tensor([[[0.0, 0, 0], [0, 0.3, 0]]]).expand(len(cameras), 2, 3)
    uv, _ = cam.project(up, cameras)
    torch.testing.assert_close(uv[:, 0, 0], uv[:, 1, 0], atol=1e-5, rtol=0)
    assert (uv[:, 1, 1] <= uv[:, 0, 1] + 1e-5).all()


@modest
@given(posed(), seeds, st.integers(2, 6), st.integers(2, 6))
def test_unproject_then_project_is_the_pixel_grid(cameras, seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    depth = cameras.near + (cameras.far - cameras.near) * torch.rand(len(cameras), height, width, generator=generator)
    uv, z = cam.project(cam.unproject(depth, cameras).flatten(1, 2), cameras)
    u, v = cam.pixel_centres(height, width)
    torch.testing.assert_close(uv[..., 0].reshape(depth.shape), u.expand_as(depth), atol=2e-5, rtol=0)
    torch.testing.assert_close(uv[..., 1].reshape(depth.shape), v[:, None].expand_as(depth), atol=2e-5, rtol=0)
    torch.testing.assert_close(z.reshape(depth.shape), depth, atol=1e-5, rtol=1e-5)


@modest
@given(posed(), seeds)
def test_mirrored_cameras_see_the_mirrored_points(cameras, seed):
    points = points_of(cameras, seed)
    flipped = points * torch.tensor([-1.0, 1.0, 1.0])
    uv, z = cam.project(points, cameras)
    other_uv, other_z = cam.project(flipped, cam.mirrored(cameras))
    torch.testing.assert_close(other_uv[..., 0], 1 - uv[..., 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(other_uv[..., 1], uv[..., 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(other_z, z, atol=1e-5, rtol=0)
    torch.testing.assert_close(cam.mirrored(cam.mirrored(cameras)).cam2world, cameras.cam2world)


@modest
@given(posed(), seeds)
def test_opengl_round_trip_and_projection(cameras, seed):
    opengl = convert.to_opengl(cameras.cam2world)
    assert torch.equal(convert.from_opengl(opengl), cameras.cam2world)
    points = points_of(cameras, seed)
    local = (points - opengl[:, None, :3, 3]) @ opengl[:, :3, :3]  # y up, looking along -z
    k = cameras.intrinsics
    u = k[:, :1, 0] * local[..., 0] / -local[..., 2] + 0.5
    v = -k[:, 1:2, 1] * local[..., 1] / -local[..., 2] + 0.5
    torch.testing.assert_close(torch.stack((u, v), -1), cam.project(points, cameras)[0], atol=2e-5, rtol=0)


@modest
@given(posed(), seeds)
def test_eg3d_label_round_trip(cameras, seed):
    label = convert.to_eg3d(cameras)
    assert label.shape == (len(cameras), 25)
    back = convert.from_eg3d(label, near=cameras.near, far=cameras.far)
    assert torch.equal(back.cam2world, cameras.cam2world)
    assert torch.equal(back.intrinsics, cameras.intrinsics)
    same_views(cameras, back, seed)


@modest
@given(posed())
def test_position_gives_back_the_angles(cameras):
    back = convert.from_matrices(cameras.cam2world, cameras.intrinsics, near=cameras.near, far=cameras.far)
    torch.testing.assert_close(back.elevation, cameras.elevation, atol=1e-3, rtol=0)
    apart = cam.wrap(back.azimuth - cameras.azimuth).abs() * cameras.elevation.cos()
    torch.testing.assert_close(apart, torch.zeros_like(apart), atol=1e-3, rtol=0)
    assert math.isclose(back.radius, cameras.radius, rel_tol=1e-6)


@modest
@given(posed(), priors, seeds)
def test_pigan_angles_round_trip_and_position(cameras, prior, seed):
    h, v = convert.to_pigan(cameras).unbind(-1)
    position = torch.stack((v.sin() * h.cos(), v.cos(), v.sin() * h.sin()), -1) * cameras.radius
    torch.testing.assert_close(position, cameras.cam2world[:, :3, 3], atol=1e-5, rtol=1e-5)
    back = convert.from_pigan(torch.stack((h, v), -1), prior)
    torch.testing.assert_close(back.azimuth, cameras.azimuth, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(back.elevation, cameras.elevation, atol=1e-6, rtol=1e-6)


@modest
@given(posed(), seeds, st.integers(1, 640), st.integers(1, 640))
def test_colmap_round_trip_and_projection(cameras, seed, height, width):
    quaternion, translation, params = convert.to_colmap(cameras, (height, width))
    torch.testing.assert_close(quaternion.norm(dim=-1), torch.ones(len(cameras)))
    assert (quaternion[:, 0] >= 0).all()
    points = points_of(cameras, seed)
    local = points @ convert.rotation_from_quaternion(quaternion).transpose(1, 2) + translation[:, None]
    x = params[:, None, 0] * local[..., 0] / local[..., 2] + params[:, None, 2]
    y = params[:, None, 1] * local[..., 1] / local[..., 2] + params[:, None, 3]
    scaled = cam.project(points, cameras)[0] * torch.tensor([width, height])
    torch.testing.assert_close(torch.stack((x, y), -1), scaled, atol=2e-2, rtol=1e-5)
    back = convert.from_colmap(quaternion, translation, params, (height, width), near=cameras.near, far=cameras.far)
    same_views(cameras, back, seed)


@modest
@given(posed(), seeds)
def test_pytorch3d_round_trip_and_projection(cameras, seed):
    rotation, translation = convert.to_pytorch3d(cameras.cam2world)
    torch.testing.assert_close(convert.from_pytorch3d(rotation, translation), cameras.cam2world, atol=5e-6, rtol=1e-6)
    points = points_of(cameras, seed)
    view = points @ rotation + translation[:, None]  # x left, y up
    k = cameras.intrinsics
    u = 0.5 - k[:, :1, 0] * view[..., 0] / view[..., 2]
    v = 0.5 - k[:, 1:2, 1] * view[..., 1] / view[..., 2]
    torch.testing.assert_close(torch.stack((u, v), -1), cam.project(points, cameras)[0], atol=2e-5, rtol=0)


@modest
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 1e-3))
def test_quaternion_round_trip_keeps_every_digit(values):
    rotation = convert.rotation_from_quaternion(torch.tensor([values], dtype=torch.float64))
    again = convert.rotation_from_quaternion(convert.quaternion_from_rotation(rotation))
    torch.testing.assert_close(again, rotation, atol=1e-14, rtol=0)


@modest
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=5))
def test_wrapped_angles_are_the_same_directions(angles):
    given_angles = torch.tensor(angles, dtype=torch.float64)
    wrapped = cam.wrap(given_angles)
    assert ((wrapped >= -math.pi) & (wrapped < math.pi)).all()
    torch.testing.assert_close(wrapped.sin(), given_angles.sin(), atol=1e-12, rtol=0)
    torch.testing.assert_close(wrapped.cos(), given_angles.cos(), atol=1e-12, rtol=0)
