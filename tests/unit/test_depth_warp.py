"""The turn of a view with depth: closed forms, exact renders of rooms, gradients, and the metric's own warp."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import rooms_source
from harness.metrics import rotation
from methods.blocks.depth_warp import metric_depth, pivot, resample, rotation_loss, turn, unproject

SIZE, FOCAL = 32, 1.016 * 32


def _depths(n: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(n, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) + 0.13


def _image(n: int = 3, seed: int = 1) -> Tensor:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_codes_and_metric_depth() -> None:
    torch.testing.assert_close(metric_depth(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([0.13, 0.63, 1.13]))


def test_no_turn_changes_nothing_at_pixel_centres() -> None:
    turned = turn(_depths(), torch.zeros(3), FOCAL)
    assert turned.inside.all()
    torch.testing.assert_close(turned.depth, _depths())
    assert (resample(_image(), turned.grid) - _image()).abs().max() < 1e-4


def test_the_published_warp_is_half_a_pixel_off() -> None:
    turned = turn(_depths(), torch.zeros(3), FOCAL, "official")
    shifted = resample(_image(), turned.grid)
    assert 0.15 < (shifted - _image()).abs().mean() < 0.6
    # Every sample is the mean of four neighbours, zeros beyond the border.
    expected = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(_image(), (1, 0, 1, 0)), 2, 1)
    torch.testing.assert_close(shifted, expected, atol=1e-4, rtol=0)
    assert turned.inside.float().mean() > 0.9


def test_a_fronto_parallel_plane_has_a_closed_form() -> None:
    angle = torch.tensor([0.2, -0.1])
    depth = torch.full((2, SIZE, SIZE), 0.7)
    turned = turn(depth, angle, FOCAL)
    x = unproject(depth, FOCAL)[:, 0]
    # The plane's mid-range is the optical axis: the turn tilts it there.
    torch.testing.assert_close(turned.depth, 0.7 - angle.sin()[:, None, None] * x)
    torch.testing.assert_close(turned.points[:, 0], angle.cos()[:, None, None] * x)


def test_distances_to_the_axis_and_heights_stay() -> None:
    depth, angle = _depths(), torch.tensor([0.26, -0.5, 3.0])
    before, after = unproject(depth, FOCAL), turn(depth, angle, FOCAL).points
    centre_x, centre_z = pivot(before)
    distance = [(p[:, 0] - centre_x).square() + (p[:, 2] - centre_z).square() for p in (before, after)]
    torch.testing.assert_close(distance[1], distance[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(after[:, 1], before[:, 1])


def test_the_metric_has_the_same_warp() -> None:
    depth, angle = _depths(), torch.tensor([0.2, -0.26, 0.05])
    ours, theirs = turn(depth, angle, FOCAL), rotation.rotate(depth.double(), angle.double(), focal=FOCAL)
    torch.testing.assert_close(ours.depth.double(), theirs.z, atol=1e-5, rtol=1e-5)
    both = ours.inside & theirs.inside
    assert both.float().mean() > 0.5
    assert (ours.inside != theirs.inside).float().mean() < 0.01
    torch.testing.assert_close(ours.grid[both].double(), theirs.grid[both], atol=1e-4, rtol=1e-4)


def test_the_loss_counts_every_pixel_and_masked_ones_as_zero() -> None:
    one, two, angle = _depths(seed=2), _depths(seed=3), torch.tensor([0.2, 0.1, -0.2])
    turned = turn(one, angle, FOCAL)
    seen = resample(two[:, None], turned.grid)[:, 0]
    loss, share = rotation_loss((one, None), (two, None), angle, FOCAL)
    by_hand = ((seen - turned.depth).abs() * turned.inside).sum() / one.numel()
    torch.testing.assert_close(loss, by_hand)
    torch.testing.assert_close(share, turned.inside.float().mean())


def test_the_colour_loss_scales_with_colour() -> None:
    depths, angle = (_depths(seed=2), _depths(seed=3)), torch.tensor([0.2, 0.1, -0.2])
    losses = [
        rotation_loss((depths[0], k * _image()), (depths[1], k * _image(seed=4)), angle, FOCAL)[0] for k in (1.0, 3.0)
    ]
    torch.testing.assert_close(losses[1], 3 * losses[0])


def test_equal_views_agree_at_no_turn_even_in_both_directions() -> None:
    for occlusion_aware in (False, True):
        view = (_depths(), _image())
        loss, _ = rotation_loss(view, view, torch.zeros(3), FOCAL, occlusion_aware=occlusion_aware)
        assert loss < 1e-4


def test_what_lies_behind_the_other_view_s_surface_is_left_out() -> None:
    near, far, angle = torch.full((1, SIZE, SIZE), 0.5), torch.full((1, SIZE, SIZE), 1.0), torch.zeros(1)
    # From the far view nothing is visible in the near one; the other way everything is.
    loss, share = rotation_loss((far, None), (near, None), angle, FOCAL, occlusion_aware=True)
    torch.testing.assert_close(loss, torch.tensor(0.5), atol=1e-3, rtol=0)
    assert float(share) == pytest.approx(0.5)
    loss, _ = rotation_loss((far, None), (near, None), angle, FOCAL)
    torch.testing.assert_close(loss, torch.tensor(0.5), atol=1e-3, rtol=0)


def test_gradients_reach_both_views_the_grid_and_the_axis() -> None:
    one, two = (_depths(seed=s).requires_grad_() for s in (2, 3))
    rotation_loss((one, None), (two, None), torch.tensor([0.2, 0.1, -0.2]), FOCAL)[0].backward()
    for depth in (one, two):
        assert depth.grad is not None
        assert depth.grad.isfinite().all()
        assert depth.grad.abs().sum() > 0
    # Through the axis alone: the farthest pixel moves it, and with it every other pixel's depth.
    depth = _depths(1).requires_grad_()
    turn(depth, torch.tensor([0.2]), FOCAL).depth[0, 0, 0].backward()
    assert depth.grad is not None
    assert (depth.grad[0].flatten()[1:] != 0).sum() >= 2


def test_points_behind_the_camera_give_finite_losses() -> None:
    depth = (_depths() - 0.6).requires_grad_()
    loss, _ = rotation_loss((depth, None), (depth.roll(1, 0), None), torch.tensor([0.2, 0.1, -0.2]), FOCAL)
    assert loss.isfinite()


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor, Tensor]:
    """Metric depth [K,5,H,W], images [K,5,3,H,W] and yaw [K,5] of rooms seen five times."""
    from harness.data.cache import open_dataset

    spec = rooms_source.spec("micro", None, 0, {"multiview": 60}, {})
    view = (
        open_dataset(spec, tmp_path_factory.mktemp("rooms")).split("multiview").view(("image", "depth_coded", "pose"))
    )
    depth = metric_depth(torch.from_numpy(np.asarray(view["depth_coded"], np.float32)) / 30000 - 1)
    image = torch.from_numpy(np.array(view["image"])).permute(0, 3, 1, 2).float() / 127.5 - 1
    yaw = torch.from_numpy(np.asarray(view["pose"], np.float32))[:, 0]
    return tuple(x.unflatten(0, (-1, 5)) for x in (depth, image, yaw))


def _errors(first: Tensor, second: Tensor, angle: Tensor, pictures: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Mean absolute differences over the pixels in frame, of depth and of colour."""
    turned = turn(first, angle, FOCAL)
    kept = turned.inside
    depth = (resample(second[:, None], turned.grid)[:, 0] - turned.depth).abs()
    colour = (resample(pictures[1], turned.grid) - pictures[0]).abs().mean(1)
    return tuple(float((x * kept).sum() / kept.sum()) for x in (depth, colour))  # type: ignore[return-value]


@pytest.mark.parametrize(("one", "two"), [(1, 3), (3, 1), (2, 4)])
def test_exact_renders_agree_best_at_the_true_angle(rooms: tuple[Tensor, Tensor, Tensor], one: int, two: int) -> None:
    depth, image, yaw = rooms
    angle = yaw[:, two] - yaw[:, one]
    pictures = (image[:, one], image[:, two])
    true = _errors(depth[:, one], depth[:, two], angle, pictures)
    still = _errors(depth[:, one], depth[:, two], 0 * angle, pictures)
    flipped = _errors(depth[:, one], depth[:, two], -angle, pictures)
    other = (pictures[0], pictures[1].roll(1, 0))
    shuffled = _errors(depth[:, one], depth[:, two].roll(1, 0), angle, other)
    for kind in range(2):
        assert true[kind] < still[kind] < flipped[kind]
        assert true[kind] < 0.75 * shuffled[kind]
    assert math.isclose(float(angle.abs().mean()), math.radians(15), rel_tol=1e-4)
