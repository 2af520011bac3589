"""The feature volume: stages, scale and shift, trilinear samples and their derivatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.blocks.feature_volume import Box, FeatureVolume, sample_volume

UNIT: Box = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_stage_after_the_first_doubles_the_volume() -> None:
    volume = FeatureVolume(6, (5, 4, 3), 7, seeded())
    assert volume.size == 16
    assert volume(torch.randn(2, 7, generator=seeded(1))).shape == (2, 3, 16, 16, 16)


def test_the_parameters_of_the_released_volume() -> None:
    volume = FeatureVolume(256, (256, 128, 64, 32), 512, seeded())
    convolutions = 27 * (256 * 256 + 256 * 128 + 128 * 64 + 64 * 32) + 256 + 128 + 64 + 32
    style = 512 * 960 + 960
    assert sum(p.numel() for p in volume.parameters()) == convolutions + style + 256 * 4**3


def test_scales_are_used_raw_so_that_a_style_of_zeros_gives_an_empty_volume() -> None:
    volume = FeatureVolume(6, (5, 4), 7, seeded())
    torch.nn.init.zeros_(volume.style.weight)
    torch.nn.init.zeros_(volume.style.bias)
    assert torch.equal(volume(torch.ones(1, 7)), torch.zeros(1, 4, 8, 8, 8))


def test_the_fused_norm_computes_the_same_and_the_gradients_agree() -> None:
    w = torch.randn(2, 7, generator=seeded(1))
    plain, fused = FeatureVolume(6, (5, 4), 7, seeded()), FeatureVolume(6, (5, 4), 7, seeded(), fused=True)
    made = [module(w) for module in (plain, fused)]
    torch.testing.assert_close(*made, atol=1e-4, rtol=1e-4)
    for one in made:
        one.square().sum().backward()
    for a, b in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=2e-2, rtol=2e-2)


def test_a_volume_of_coordinates_is_read_as_the_coordinates_with_x_along_the_last_axis() -> None:
    line = torch.linspace(-1, 1, 5)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    points = torch.rand(1, 50, 3, generator=seeded()) * 2 - 1
    torch.testing.assert_close(sample_volume(torch.stack((x, y, z))[None], points, UNIT), points)


def test_corners_of_the_box_are_corner_voxels_and_the_border_goes_on_outside() -> None:
    volume = torch.randn(1, 2, 3, 4, 5, generator=seeded())
    box: Box = ((-0.2, 0.0, 1.0), (0.3, 0.5, 4.0))
    points = torch.tensor([[box[0], box[1], (-9.0, -9.0, -9.0), (0.3, 0.0, 99.0)]])
    expected = torch.stack((volume[..., 0, 0, 0], volume[..., 2, 3, 4], volume[..., 0, 0, 0], volume[..., 2, 0, 4]), 1)
    torch.testing.assert_close(sample_volume(volume, points, box), expected)


def test_first_derivatives_are_those_of_grid_sampling() -> None:
    volume = torch.randn(2, 3, 4, 4, 4, generator=seeded(), requires_grad=True)
    points = torch.rand(2, 20, 3, generator=seeded(1)) * 2.4 - 1.2
    weights = torch.randn(2, 20, 3, generator=seeded(2))
    (ours,) = torch.autograd.grad((sample_volume(volume, points, UNIT) * weights).sum(), volume)
    plain = F.grid_sample(volume, points[:, :, None, None], padding_mode="border", align_corners=True)
    (theirs,) = torch.autograd.grad((plain.flatten(2).transpose(1, 2) * weights).sum(), volume)
    torch.testing.assert_close(ours, theirs)


def test_second_derivatives_are_those_of_the_linear_map_that_sampling_is() -> None:
    points = torch.rand(1, 6, 3, generator=seeded()) * 2 - 1
    basis = torch.eye(27).view(27, 1, 3, 3, 3)
    matrix = sample_volume(basis, points.expand(27, -1, -1), UNIT)[..., 0].t()  # [6,27]

    def curvature(read: Tensor, volume: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(read.pow(3).sum(), volume, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), volume)
        return second.flatten()

    volume = torch.randn(1, 1, 3, 3, 3, generator=seeded(1), requires_grad=True)
    flat = volume.detach().flatten().requires_grad_(True)
    ours = curvature(sample_volume(volume, points, UNIT), volume)
    torch.testing.assert_close(ours, curvature(matrix @ flat, flat), atol=1e-4, rtol=1e-4)
