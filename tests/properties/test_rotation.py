"""Laws of rigid resampling."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.rotation import object_rotation, rotate, voxel_positions

ANGLES = st.floats(-math.pi, math.pi)


def _one(azimuth: float, elevation: float) -> Tensor:
    return object_rotation(torch.tensor([azimuth]), torch.tensor([elevation]))


def _blob(size: int, centre: Tensor, width: float) -> Tensor:
    """A Gaussian ball [1,1,n,n,n]: band-limited, and inside the inscribed sphere."""
    offsets = voxel_positions(size, torch.device("cpu")) - (size - 1) / 2 - centre
    return torch.exp(-offsets.square().sum(-1) / (2 * width**2)).view(1, 1, size, size, size)


@given(ANGLES, ANGLES)
@settings(deadline=None, max_examples=50)
def test_matrices_are_proper_rotations(azimuth: float, elevation: float) -> None:
    matrix = _one(azimuth, elevation)[0].double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3).double(), atol=1e-6, rtol=0)
    assert abs(float(torch.linalg.det(matrix)) - 1) < 1e-6


@given(ANGLES, ANGLES, st.integers(0, 2**31), st.floats(-3, 3), st.floats(-3, 3))
@settings(deadline=None, max_examples=25)
def test_linear_in_the_features(azimuth: float, elevation: float, seed: int, a: float, b: float) -> None:
    x, y = torch.randn(2, 1, 2, 5, 5, 5, generator=torch.Generator().manual_seed(seed))
    turn = _one(azimuth, elevation)
    torch.testing.assert_close(
        rotate(a * x + b * y, turn), a * rotate(x, turn) + b * rotate(y, turn), atol=1e-4, rtol=1e-4
    )


@given(ANGLES, ANGLES, st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_acts_per_channel_and_never_exceeds_the_range(azimuth: float, elevation: float, seed: int) -> None:
    x = torch.rand(1, 3, 5, 5, 5, generator=torch.Generator().manual_seed(seed))
    turn = _one(azimuth, elevation)
    seen = rotate(x, turn)
    torch.testing.assert_close(seen[:, :1], rotate(x[:, :1], turn))
    assert seen.min() >= 0
    assert seen.max() <= 1 + 1e-5


@given(ANGLES, st.floats(-0.6, 0.6), ANGLES)
@settings(deadline=None, max_examples=20)
def test_two_turns_compose(first: float, elevation: float, second: float) -> None:
    blob = _blob(16, torch.tensor([2.0, -1.0, 1.5]), 2.0)
    one, two = _one(first, elevation), _one(second, 0.0)
    torch.testing.assert_close(rotate(rotate(blob, one), two), rotate(blob, two @ one), atol=0.12, rtol=0)


@given(ANGLES, ANGLES)
@settings(deadline=None, max_examples=20)
def test_mass_inside_the_sphere_is_kept(azimuth: float, elevation: float) -> None:
    blob = _blob(16, torch.tensor([1.5, 0.5, -1.0]), 1.8)
    assert abs(float(rotate(blob, _one(azimuth, elevation)).sum() / blob.sum()) - 1) < 0.03


@given(ANGLES, ANGLES)
@settings(deadline=None, max_examples=20)
def test_gradient_of_the_sum_is_near_one_inside(azimuth: float, elevation: float) -> None:
    volume = torch.zeros(1, 1, 12, 12, 12, requires_grad=True)
    rotate(volume, _one(azimuth, elevation)).sum().backward()
    assert volume.grad is not None
    inside = (voxel_positions(12, torch.device("cpu")) - 5.5).norm(dim=-1) < 4
    gradient = volume.grad.view(-1)[inside]
    assert abs(float(gradient.mean()) - 1) < 0.02
    assert gradient.min() > 0.4
    assert gradient.max() < 1.8


@given(ANGLES, ANGLES, st.lists(st.floats(-2, 2), min_size=3, max_size=3))
@settings(deadline=None, max_examples=30)
def test_a_ball_moves_to_where_the_matrix_sends_it(azimuth: float, elevation: float, offset: list[float]) -> None:
    turn, start = _one(azimuth, elevation), torch.tensor(offset)
    seen = rotate(_blob(16, start, 1.8), turn).view(-1)
    centroid = (voxel_positions(16, torch.device("cpu")) * seen[:, None]).sum(0) / seen.sum() - 7.5
    torch.testing.assert_close(centroid, turn[0] @ start, atol=0.05, rtol=0)
