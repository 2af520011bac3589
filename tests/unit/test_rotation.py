"""Resampling against index permutations, the framework's sampler and the harness's cameras."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.cameras import look_at
from harness.priors import PRIORS
from methods.blocks.rotation import object_rotation, resample, rotate, source_positions, sphere_mask, trilinear_taps


def _volume(n: int = 2, channels: int = 3, size: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, size, size, size, generator=torch.Generator().manual_seed(seed))


def _turn(azimuth: float, elevation: float = 0.0, n: int = 2) -> Tensor:
    return object_rotation(torch.full((n,), azimuth), torch.full((n,), elevation))


def test_identity_returns_the_volume() -> None:
    volume = _volume()
    torch.testing.assert_close(rotate(volume, _turn(0.0)), volume, atol=1e-6, rtol=0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_about_the_vertical_permute_indices(turns: int) -> None:
    volume = _volume()
    # A camera that moves to +X sees the right side of the object come to the front: high W becomes low D.
    expected = torch.rot90(volume, turns, dims=(2, 4))
    torch.testing.assert_close(rotate(volume, _turn(turns * math.pi / 2)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_about_the_image_axis_permute_indices(turns: int) -> None:
    volume = _volume()
    expected = torch.rot90(volume, turns, dims=(3, 2))
    torch.testing.assert_close(rotate(volume, _turn(0.0, turns * math.pi / 2)), expected, atol=1e-5, rtol=0)


def test_a_voxel_on_the_right_comes_to_the_front() -> None:
    volume = torch.zeros(1, 1, 5, 5, 5)
    volume[0, 0, 2, 2, 4] = 1.0  # x = +2 of the centre: the object's side at world +X
    seen = rotate(volume, _turn(math.pi / 2, n=1))
    assert seen[0, 0, 0, 2, 2] == pytest.approx(1.0, abs=1e-5)  # depth 0 is nearest to the camera


def test_a_voxel_on_top_comes_to_the_front_when_seen_from_above() -> None:
    volume = torch.zeros(1, 1, 5, 5, 5)
    volume[0, 0, 2, 0, 2] = 1.0  # row 0 is up
    seen = rotate(volume, _turn(0.0, math.pi / 2, n=1))
    assert seen[0, 0, 0, 2, 2] == pytest.approx(1.0, abs=1e-5)


def test_rotation_agrees_with_the_cameras() -> None:
    angles = torch.tensor([0.3, -0.9, 2.0]), torch.tensor([0.2, -0.1, 0.5])
    cameras = look_at(*angles, PRIORS["wide60"])
    canonical = look_at(torch.zeros(1), torch.zeros(1), PRIORS["wide60"]).cam2world[0, :3, :3]
    # Canonical camera axes -> world -> axes of the moved camera.
    expected = cameras.cam2world[:, :3, :3].transpose(1, 2) @ canonical
    torch.testing.assert_close(object_rotation(*angles), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_agrees_with_the_grid_sampler(padding: str) -> None:
    volume, rotation = _volume(3, 4, 8), object_rotation(torch.tensor([0.4, -1.0, 2.2]), torch.tensor([0.1, 0.3, -0.2]))
    grid = F.affine_grid(F.pad(rotation.transpose(1, 2), (0, 1)), [3, 1, 8, 8, 8], align_corners=False)
    expected = F.grid_sample(volume, grid, padding_mode=padding, align_corners=False)
    torch.testing.assert_close(rotate(volume, rotation, padding=padding), expected, atol=1e-5, rtol=1e-5)


def test_gradient_is_the_adjoint_and_matches_the_grid_sampler() -> None:
    volume, rotation = _volume(2, 2, 5).double(), _turn(0.7, 0.2)
    weights = _volume(2, 2, 5, seed=1)
    ours = volume.float().requires_grad_()
    (rotate(ours, rotation) * weights).sum().backward()
    theirs = volume.float().requires_grad_()
    grid = F.affine_grid(F.pad(rotation.transpose(1, 2), (0, 1)), [2, 1, 5, 5, 5], align_corners=False)
    (F.grid_sample(theirs, grid, align_corners=False) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)


def test_released_centre_loses_the_last_slices() -> None:
    volume = torch.ones(1, 1, 4, 4, 4)
    seen = rotate(volume, _turn(0.0, n=1), centre="code")
    assert seen[..., :3, :3, :3].min() == pytest.approx(1.0)
    assert seen[..., 3].abs().max() == 0
    assert seen[..., 3, :].abs().max() == 0
    assert seen[:, :, 3].abs().max() == 0


def test_released_centre_is_half_a_voxel_off() -> None:
    positions = source_positions(_turn(math.pi, n=1), 4, "code")
    torch.testing.assert_close(positions[0, -1], torch.tensor([1.0, 3.0, 1.0]), atol=1e-5, rtol=0)


def test_positions_stay_exact_under_autocast() -> None:
    volume = _volume()
    with torch.autocast("cpu", torch.bfloat16):
        seen = rotate(volume, _turn(math.pi / 2))
    torch.testing.assert_close(seen, torch.rot90(volume, 1, dims=(2, 4)), atol=1e-5, rtol=0)


def test_taps_outside_weigh_nothing() -> None:
    index, weight = trilinear_taps(torch.tensor([[[-5.0, 0.0, 0.0], [0.5, 0.0, 0.0]]]), 3)
    assert weight[0, 0].sum() == 0
    assert weight[0, 1].sum() == 1
    assert index.min() >= 0
    assert index.max() < 27


def test_border_clamps() -> None:
    index, weight = trilinear_taps(torch.tensor([[[9.0, 0.0, 0.0]]]), 3, "border")
    volume = torch.arange(27.0).view(1, 1, 3, 3, 3)
    assert (volume.view(-1)[index] * weight).sum() == 2.0


def test_resample_is_fp32_and_channels_last() -> None:
    index, weight = trilinear_taps(source_positions(_turn(0.1), 4), 4)
    out = resample(_volume(2, 3, 4).bfloat16(), index, weight)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_sphere_mask_is_isotropic_and_cuts_corners() -> None:
    mask = sphere_mask(8, 1.1)
    assert mask.max() == 1
    assert mask[0, 0, 0] == 0
    for dims in ((0, 1), (0, 2), (1, 2)):
        assert torch.equal(torch.rot90(mask, 1, dims), mask)


def test_refuses_a_grid_that_is_no_cube() -> None:
    with pytest.raises(ValueError, match="cube"):
        rotate(torch.zeros(1, 1, 4, 4, 5), _turn(0.0, n=1))
