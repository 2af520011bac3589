"""The inverse renderer's image formation where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.priors import named_prior
from methods.blocks.depth_normals import ray_slopes
from methods.blocks.inverse_rendering import (
    Pose,
    canonical_depth,
    canonical_image,
    pose_of,
    ranges_of,
    reproject,
    shaded,
    view_depth,
    with_mirrored,
)

SIZE = 16
RANGES = ranges_of(named_prior("wide60"))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _bump(n: int = 2) -> Tensor:
    """A smooth symmetric relief [n,S,S] within the ranges."""
    x, y = ray_slopes(SIZE, SIZE, 2.0)
    hill = torch.exp(-(x.square() + (y[:, None] - 0.2).square()))
    return (RANGES.centre - 0.1 - 0.5 * hill).expand(n, -1, -1)


def _still(n: int = 2) -> Pose:
    return pose_of(torch.zeros(n, 6), RANGES)


def test_without_a_turn_the_view_is_the_canonical_one() -> None:
    image = torch.rand(2, 3, SIZE, SIZE, generator=_generator())
    depth = canonical_depth(torch.randn(2, SIZE, SIZE, generator=_generator()), RANGES)
    seen, mask = view_depth(depth, _still(), RANGES)
    assert (mask == 1).all()
    assert (seen - depth).abs().max() < 1e-5
    assert (reproject(image, seen, _still(), RANGES) - image).abs().max() < 1e-4


def test_a_turned_relief_samples_the_canonical_place_of_every_pixel() -> None:
    pose = pose_of(torch.tensor([[0.1, 0.4, -0.05, 0.5, -0.5, 0.0]]), RANGES)
    depth = _bump(1)
    x, y = ray_slopes(SIZE, SIZE, RANGES.fov)
    place = torch.stack(torch.broadcast_tensors(x / x.max(), y[:, None] / x.max()))[None]
    seen, mask = view_depth(depth, pose, RANGES)
    sampled = reproject(place, seen, pose, RANGES)
    inside = (mask[:, 0] > 0) & (sampled.abs() < 0.9).all(1)
    assert 0.4 < inside.float().mean() < 1
    # Back at the canonical place, the surface must have the depth from which the view was drawn.
    there = reproject(depth[:, None], seen, pose, RANGES)[:, 0]
    points = torch.stack((sampled[:, 0] * x.max() * there, sampled[:, 1] * x.max() * there, there), 1)
    moved = (pose.rotation @ (points - torch.tensor([0, 0, RANGES.centre])[:, None, None]).flatten(2)).view_as(points)
    z = moved[:, 2] + RANGES.centre + pose.shift[:, 2, None, None]
    # Up to the difference between triangles and bilinear patches.
    assert (z - seen).abs()[inside].max() < 0.01


def test_a_symmetric_object_seen_from_the_front_is_its_own_mirror_image() -> None:
    depth = canonical_depth(-4 * _bump(), RANGES)
    albedo = torch.rand(2, 3, SIZE, SIZE // 2, generator=_generator())
    albedo = torch.cat((albedo, albedo.flip(-1)), -1)
    light = torch.tensor([[0.1, 0.8, 0.0, 0.3]]).repeat(4, 1)
    both = with_mirrored(depth)
    seen, mask = view_depth(both, _still(4), RANGES)
    image = reproject(canonical_image(with_mirrored(albedo), both, light, RANGES), seen, _still(4), RANGES)
    torch.testing.assert_close(image[:2], image[2:])
    torch.testing.assert_close(image[:2], image[:2].flip(-1))
    assert (mask == 1).all()


def test_the_border_lies_seven_tenths_back_and_the_rest_between_the_ends() -> None:
    ranges = replace(RANGES, border=2)
    depth = canonical_depth(torch.randn(1, SIZE, SIZE, generator=_generator()), ranges)
    edge = 0.7 * ranges.farthest + 0.3 * ranges.nearest
    torch.testing.assert_close(depth[:, :, :2], torch.full((1, SIZE, 2), edge))
    torch.testing.assert_close(depth[:, :, -2:], torch.full((1, SIZE, 2), edge))
    middle = (ranges.nearest + ranges.farthest) / 2
    free = replace(ranges, border=0)
    torch.testing.assert_close(canonical_depth(torch.zeros(1, 4, 4), free), torch.full((1, 4, 4), middle))


def test_shading_adds_ambient_and_diffuse_light() -> None:
    albedo = torch.full((1, 3, 1, 2), 0.5)  # a reflectance of 0.75
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]).T.reshape(1, 3, 1, 2)
    light = torch.tensor([[-0.5, 0.5, 0.0, 0.0]])  # ambient 0.25, diffuse 0.75, along the axis
    image = shaded(albedo, normals, light)
    torch.testing.assert_close(image[0, 0, 0], torch.tensor([2 * 0.75 - 1, 2 * 0.75 * 0.25 - 1]))
    slanted = shaded(albedo, normals, torch.tensor([[-0.5, 0.5, 1.0, 0.0]]))
    torch.testing.assert_close(slanted[0, 0, 0, 0], torch.tensor(2 * 0.75 * (0.25 + 0.75 / math.sqrt(2)) - 1))


@pytest.mark.parametrize(("axis", "moved"), [(0, [0, 0, 1]), (1, [1, 0, 0]), (2, [0, 1, 0])])
def test_rotations_are_right_handed_about_x_y_and_z(axis: int, moved: list[int]) -> None:
    view = torch.zeros(1, 6)
    view[0, axis] = 1.0
    rotation = pose_of(view, replace(RANGES, rotation=math.pi / 2)).rotation[0]
    start = torch.eye(3)[(axis + 1) % 3]
    torch.testing.assert_close(rotation @ start, torch.eye(3)[(axis + 2) % 3], atol=1e-6, rtol=0)
    assert moved == torch.eye(3)[(axis + 2) % 3].round().int().tolist()


def test_rotations_about_several_axes_are_applied_in_the_order_x_y_z() -> None:
    angles = torch.tensor([[0.3, -0.5, 0.7]])
    single = [pose_of(torch.cat((angles * torch.eye(3)[k], torch.zeros(1, 3)), 1), RANGES).rotation for k in range(3)]
    whole = pose_of(torch.cat((angles, torch.zeros(1, 3)), 1), RANGES).rotation
    torch.testing.assert_close(whole, single[2] @ single[1] @ single[0])


def test_gradients_reach_depth_light_albedo_and_view() -> None:
    raw = torch.randn(2, SIZE, SIZE, generator=_generator()).requires_grad_()
    albedo = torch.rand(2, 3, SIZE, SIZE, generator=_generator()).requires_grad_()
    light, view = torch.full((2, 4), 0.2).requires_grad_(), torch.full((2, 6), 0.1).requires_grad_()
    depth, pose = canonical_depth(raw, RANGES), pose_of(view, RANGES)
    seen, mask = view_depth(depth, pose, RANGES)
    (reproject(canonical_image(albedo, depth, light, RANGES), seen, pose, RANGES) * mask).square().sum().backward()
    for leaf in (raw, albedo, light, view):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() > 0
