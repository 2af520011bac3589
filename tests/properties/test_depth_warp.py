"""Laws of the turn of a view with depth, for any depth and angle."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.depth_warp import pivot, resample, rotation_loss, turn, unproject

SEEDS = st.integers(0, 10_000)
ANGLES = st.floats(-math.pi, math.pi)
FOCALS = st.floats(8.0, 80.0)


def _depths(seed: int, size: int = 16) -> Tensor:
    return torch.rand(2, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.13


@settings(deadline=None, max_examples=25)
@given(SEEDS, FOCALS)
def test_no_turn_is_the_identity(seed: int, focal: float) -> None:
    depth = _depths(seed)
    turned = turn(depth, torch.zeros(2, dtype=torch.float64), focal)
    assert turned.inside.all()
    # The 1e-8 beside a depth moves a pixel 8 from the centre by up to 8e-8 / 0.13 in x and in y, where slopes reach 1.
    torch.testing.assert_close(resample(depth[:, None], turned.grid)[:, 0], depth, atol=1.3e-6, rtol=0)


@settings(deadline=None, max_examples=25)
@given(SEEDS, ANGLES, FOCALS)
def test_a_turn_keeps_distances_to_its_axis_and_undoes_itself(seed: int, angle: float, focal: float) -> None:
    before = unproject(_depths(seed), focal)
    after = turn(_depths(seed), torch.full((2,), angle, dtype=torch.float64), focal).points
    x, z = pivot(before)
    distances = [(points[:, 0] - x).square() + (points[:, 2] - z).square() for points in (before, after)]
    torch.testing.assert_close(distances[1], distances[0])
    cos, sin = math.cos(-angle), math.sin(-angle)
    back = cos * (after[:, 0] - x) + sin * (after[:, 2] - z) + x
    torch.testing.assert_close(back, before[:, 0])


@settings(deadline=None, max_examples=25)
@given(SEEDS, ANGLES)
def test_a_full_turn_is_no_turn(seed: int, angle: float) -> None:
    one, two = (turn(_depths(seed), torch.full((2,), a, dtype=torch.float64), 16.0) for a in (angle, angle + math.tau))
    torch.testing.assert_close(one.points, two.points)


@settings(deadline=None, max_examples=25)
@given(SEEDS, ANGLES)
def test_what_lies_beyond_the_mask_does_not_count(seed: int, angle: float) -> None:
    one, two, angles = _depths(seed), _depths(seed + 1), torch.full((2,), angle, dtype=torch.float64)
    drawing = torch.Generator().manual_seed(seed)
    pictures = [torch.rand(2, 3, 16, 16, generator=drawing, dtype=torch.float64) for _ in range(2)]
    loss, share = rotation_loss((one, pictures[0]), (two, pictures[1]), angles, 16.0)
    hidden = torch.where(turn(one, angles, 16.0).inside[:, None], pictures[0], 7.0)
    again, _ = rotation_loss((one, hidden), (two, pictures[1]), angles, 16.0)
    assert torch.equal(loss, again)
    assert 0 <= float(share) <= 1
