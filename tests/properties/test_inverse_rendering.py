"""Properties of the inverse renderer's geometry, of its losses and of losses between depth maps."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.priors import named_prior
from methods.blocks.depth_losses import depth_bins, scale_shift_loss
from methods.blocks.depth_normals import back_project, depth_normals
from methods.blocks.inverse_losses import feature_loss, laplacian_loss
from methods.blocks.inverse_rendering import canonical_depth, pose_of, ranges_of, to_canonical, to_view

SEEDS = st.integers(0, 2**31 - 1)
RANGES = ranges_of(named_prior("wide60"))


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.1, 30.0), st.floats(-20.0, 20.0))
def test_canonical_depth_keeps_its_range_and_ignores_a_constant(seed: int, gain: float, constant: float) -> None:
    raw = _random((2, 8, 8), seed) * gain
    depth = canonical_depth(raw, RANGES)
    assert depth.min() >= RANGES.nearest - 1e-5
    assert depth.max() <= RANGES.farthest + 1e-5
    torch.testing.assert_close(canonical_depth(raw + constant, RANGES), depth, atol=2e-4, rtol=0)


@settings(deadline=None, max_examples=25)
@given(SEEDS)
def test_the_view_is_rigid_and_can_be_undone(seed: int) -> None:
    pose = pose_of(torch.tanh(_random((3, 6), seed)), RANGES)
    identity = torch.eye(3).expand(3, 3, 3)
    torch.testing.assert_close(pose.rotation @ pose.rotation.transpose(1, 2), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(pose.rotation), torch.ones(3), atol=1e-5, rtol=0)
    points = back_project(4 + 0.1 * _random((3, 6, 6), seed), RANGES.fov)
    there = to_view(points, pose, RANGES.centre)
    torch.testing.assert_close(to_canonical(there, pose, RANGES.centre), points, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.2, 5.0))
def test_normals_have_unit_length_and_ignore_the_scale_of_depth(seed: int, scale: float) -> None:
    depth = 4 + 0.2 * _random((2, 8, 8), seed)
    normals = depth_normals(depth, RANGES.fov)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(2, 8, 8), atol=1e-4, rtol=0)
    torch.testing.assert_close(depth_normals(depth * scale, RANGES.fov), normals, atol=1e-3, rtol=0)
    assert (normals[:, 2, 1:-1, 1:-1] > 0).all()


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 1.5), st.floats(0.01, 5.0), st.floats(1.01, 2.0))
def test_the_laplacian_is_least_at_its_scale_and_grows_with_the_residual(
    residual: float, scale: float, factor: float
) -> None:
    image, mask = torch.zeros(1, 3, 2, 2, dtype=torch.float64), torch.ones(1, 1, 2, 2)

    def loss(residual: float, scale: float) -> float:
        return float(laplacian_loss(image, image + residual, torch.full_like(image[:, :1], scale), mask))

    best = math.sqrt(2) * residual
    assert loss(residual, best) <= loss(residual, scale) + 1e-9
    assert loss(residual * factor, scale) > loss(residual, scale)
    at = torch.full((1, 1, 2, 2), best, dtype=torch.float64, requires_grad=True)
    laplacian_loss(image, image + residual, at, mask).backward()
    assert at.grad is not None
    assert at.grad.abs().max() * best < 1e-4


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_losses_do_not_see_what_lies_outside_the_mask(seed: int) -> None:
    image, other = _random((2, 3, 8, 8), seed), _random((2, 3, 8, 8), seed + 1)
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 4:] = 1
    changed = other + 9 * _random((2, 3, 8, 8), seed + 2) * (1 - mask)
    scale = torch.ones(2, 1, 8, 8)
    torch.testing.assert_close(laplacian_loss(image, other, scale, mask), laplacian_loss(image, changed, scale, mask))
    torch.testing.assert_close(feature_loss(image, other, scale, mask), feature_loss(image, changed, scale, mask))


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.floats(0.1, 9.0), st.floats(-50.0, 50.0))
def test_scale_and_shift_of_either_depth_change_nothing(seed: int, scale: float, shift: float) -> None:
    first, second = _random((2, 6, 6), seed), _random((2, 6, 6), seed + 1)
    mask = (_random((2, 6, 6), seed + 2) > -0.5).float()
    loss = scale_shift_loss(first, second, mask)
    assert 0 <= loss <= 2
    torch.testing.assert_close(scale_shift_loss(first * scale + shift, second, mask), loss, atol=1e-3, rtol=0)
    torch.testing.assert_close(scale_shift_loss(first, second * scale + shift, mask), loss, atol=1e-3, rtol=0)
    assert scale_shift_loss(first, first * scale + shift, mask) < 1e-3


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(2, 20))
def test_bins_hold_the_depths_between_their_edges(seed: int, bins: int) -> None:
    depth = 3 + 2 * torch.rand(50, generator=torch.Generator().manual_seed(seed))
    index = depth_bins(depth, 3.0, 5.0, bins)
    width = 2.0 / bins
    assert (index >= 0).all()
    assert (index < bins).all()
    assert ((depth - 3 - index * width) > -1e-4).all()
    assert ((depth - 3 - (index + 1) * width) < 1e-4).all()
