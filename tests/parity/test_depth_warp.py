"""The float64 warp of the metric and the differentiable fp32 warp of the loss are one."""

from __future__ import annotations

import pytest
import torch

from harness.metrics.rotation import rotate, rotation_errors
from methods.blocks.depth_warp import resample, rotation_loss, turn

SIDE = 16


def views(seed: int = 0, n: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    depth, depth_2 = (0.4 + 0.6 * torch.rand(n, SIDE, SIDE, generator=generator) for _ in range(2))
    images, images_2 = (torch.rand(n, 3, SIDE, SIDE, generator=generator) * 2 - 1 for _ in range(2))
    return depth, depth_2, images, images_2, (torch.rand(n, generator=generator) - 0.5) * 1.0


@pytest.mark.parametrize("focal", [1.016, 2.03])
def test_the_warps_agree(focal: float) -> None:
    depth, _, images, _, theta = views()
    ours = rotate(depth.double(), theta.double(), focal=focal * SIDE)
    theirs = turn(depth, theta, focal * SIDE)
    both = ours.inside & theirs.inside
    assert float((ours.inside ^ theirs.inside).double().mean()) < 0.002  # fp32 decides otherwise on the very frame
    torch.testing.assert_close(theirs.depth.double(), ours.z, rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs.grid.double()[both], ours.grid[both], rtol=0, atol=1e-4)
    moved = ours.sample(images.double()), resample(images, theirs.grid).double()
    inside = both[:, None].expand_as(images)
    torch.testing.assert_close(moved[1][inside], moved[0][inside], rtol=0, atol=2e-3)


def test_the_published_loss_is_the_error_times_the_mask() -> None:
    """The loss divides by all pixels, the metric by those in frame; colours are averaged over channels in both."""
    depth, depth_2, images, images_2, theta = views(1)
    focal = 1.016
    found = rotation_errors(depth, depth_2, theta, focal=focal, images=images, images_2=images_2)
    for pictures, column in (((None, None), "e_depth"), ((images, images_2), "e_rgb")):
        loss, share = rotation_loss((depth, pictures[0]), (depth_2, pictures[1]), theta, focal * SIDE)
        assert float(share) == pytest.approx(found["mask_share"], abs=1e-3)
        assert float(loss) == pytest.approx(found[column] * found["mask_share"], rel=1e-3)
