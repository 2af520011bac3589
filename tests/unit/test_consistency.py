import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import cameras as cam
from harness.metrics import errors
from harness.metrics.consistency import (
    cycle_displacement,
    depth_reprojection_error,
    reprojection_error,
    warping_error,
)
from harness.types import Cameras

PRIOR = cam.PRIORS["wide60"]
SWEEP = [-0.4, -0.2, 0.0, 0.2, 0.4]
NEIGHBOURS = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])


def sphere(cameras: Cameras, resolution: int, radius: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact images (colour = world position: the same from every view) and z-depths of a sphere."""
    origins, directions = cam.rays(cameras, resolution)
    o, d = origins[:, None, None].double(), directions.double()
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - radius**2
    hit = b * b - a * c > 0
    depth = torch.where(hit, (-b - (b * b - a * c).clamp_min(0).sqrt()) / a, 0.0)
    return torch.where(hit[..., None], o + depth[..., None] * d, 0.0).movedim(-1, 1), depth


def plane_views(pixels: int = 20, focal: float = 50.0, move: float = 0.1) -> tuple[torch.Tensor, torch.Tensor, Cameras]:
    """Two parallel cameras before the plane z = 2 with a texture linear in x: a shift of focal * move / 2 pixels."""
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[1, 0, 3] = move
    f = focal / pixels
    k = torch.tensor([[f, 0, 0.5], [0, f, 0.5], [0, 0, 1]]).repeat(2, 1, 1)
    cameras = Cameras(pose, k, torch.zeros(2), torch.zeros(2), radius=2.0, near=1.0, far=3.0)
    depth = torch.full((2, pixels, pixels), 2.0)
    x = ((torch.arange(pixels) + 0.5) - pixels / 2) / focal * 2  # world x in view 0
    images = torch.stack((x, x + move))[:, None, None].expand(2, 3, pixels, pixels)
    return images, depth, cameras


def test_unmoved_cameras_have_exactly_no_error():
    cameras = cam.select(cam.stack_sweep(PRIOR, [0.3], elevation=0.2), [0, 0])
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 16, 16, generator=generator).repeat(2, 1, 1, 1)
    depth = (4 + torch.rand(1, 16, 16, generator=generator)).repeat(2, 1, 1)
    pairs = torch.tensor([[0, 1]])
    assert reprojection_error(image, depth, cameras, pairs=pairs, norm="l2")["value"] == 0.0
    assert depth_reprojection_error(depth, cameras, pairs=pairs) == pytest.approx(0.0, abs=1e-15)
    assert cycle_displacement(depth, cameras, pairs=pairs) == 0.0


def test_plane_shifts_by_the_known_number_of_pixels_and_linear_texture_has_no_error():
    images, depth, cameras = plane_views()
    points = cam.unproject(depth, cameras)
    uv, _ = cam.project(points.flatten(1, 2).flip(0), cameras)  # points of each view seen from the other
    shift = (uv[1, :, 0].reshape(20, 20) - (torch.arange(20) + 0.5) / 20) * 20
    torch.testing.assert_close(shift, torch.full((20, 20), -2.5), atol=1e-4, rtol=0)
    scores = reprojection_error(images, depth, cameras, pairs=torch.tensor([[0, 1]]), norm="l1")
    assert scores["value"] == pytest.approx(0.0, abs=1e-6)
    # Shifted left by 2.5 pixels, and a border of one pixel: rows 1..18, columns 3 (just on the border) or 4..19.
    assert 16 * 18 / 400 <= scores["valid_fraction"] <= 17 * 18 / 400
    wrong = images.clone()
    wrong[1] += 0.5
    assert reprojection_error(wrong, depth, cameras, pairs=torch.tensor([[0, 1]]), norm="l2")["value"] == pytest.approx(
        0.25, abs=1e-6
    )


def test_error_falls_with_resolution_on_an_exact_sphere():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    values = [
        reprojection_error(*sphere(cameras, side), cameras, pairs=NEIGHBOURS, norm="l2")["value"]
        for side in (12, 24, 48)
    ]
    assert values[0] > 2 * values[1] > 4 * values[2]
    assert values[2] < (2 / 255) ** 2


def test_occluded_pixels_do_not_count_and_pairs_without_overlap_are_skipped():
    cameras = cam.stack_sweep(PRIOR, [0.0, 3.0])
    images, depth = sphere(cameras, 24)
    scores = reprojection_error(images, depth, cameras, pairs=torch.tensor([[0, 1]]), norm="l2")
    assert scores["n_skipped"] == 1.0
    assert math.isnan(scores["value"])


def test_views_of_different_objects_are_worse():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 24)
    mixed = images.clone()
    mixed[1::2] *= -1
    good, bad = (reprojection_error(i, depth, cameras, pairs=NEIGHBOURS, norm="l1")["value"] for i in (images, mixed))
    assert bad > 10 * good
    other = torch.where(depth > 0, depth + torch.tensor([0.0, 0.3, 0, 0.3, 0])[:, None, None], 0.0)
    assert depth_reprojection_error(other, cameras, pairs=NEIGHBOURS) > 3 * depth_reprojection_error(
        depth, cameras, pairs=NEIGHBOURS
    )
    assert cycle_displacement(other, cameras, pairs=NEIGHBOURS) > 10 * cycle_displacement(
        depth, cameras, pairs=NEIGHBOURS
    )


def test_world_motion_and_scale_change_nothing():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 16)
    motion = torch.eye(4)
    motion[:3, :3] = cam.look_at(torch.tensor([0.7]), torch.tensor([-0.4]), PRIOR).cam2world[0, :3, :3]
    motion[:3, 3] = torch.tensor([1.0, -2, 3])
    moved = replace(cameras, cam2world=motion @ cameras.cam2world)
    scale = torch.tensor([1.0, 1, 1, 3])  # the last column holds the positions
    position = torch.where(torch.arange(4) < 3, scale[3], torch.tensor(1.0))
    wide = cameras.cam2world.clone()
    wide[:, :, 3] *= position
    scaled = replace(cameras, cam2world=wide, near=3 * cameras.near, far=3 * cameras.far)
    base = reprojection_error(images, depth, cameras, pairs=NEIGHBOURS, norm="l2")
    assert reprojection_error(images, depth, moved, pairs=NEIGHBOURS, norm="l2") == pytest.approx(base, rel=1e-3)
    assert reprojection_error(images, 3 * depth, scaled, pairs=NEIGHBOURS, norm="l2") == pytest.approx(base, rel=1e-3)
    gap = depth_reprojection_error(depth, cameras, pairs=NEIGHBOURS)
    assert depth_reprojection_error(3 * depth, scaled, pairs=NEIGHBOURS) == pytest.approx(gap, rel=1e-4)


def test_adding_a_constant_to_all_images_changes_nothing():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 16)
    one, two = (reprojection_error(i, depth, cameras, pairs=NEIGHBOURS, norm="l2") for i in (images, images + 0.3))
    assert two["value"] == pytest.approx(one["value"], rel=1e-9)


def test_depth_gap_is_capped():
    cameras = cam.select(cam.stack_sweep(PRIOR, [0.0]), [0, 0])
    depth = torch.ones(2, 8, 8) * torch.tensor([4.0, 40.0])[:, None, None]
    assert depth_reprojection_error(depth, cameras, pairs=torch.tensor([[0, 1]])) == pytest.approx(0.1)


def test_a_surface_that_is_not_there_in_the_next_view_counts_as_the_largest_gap():
    cameras = cam.select(cam.stack_sweep(PRIOR, [0.0]), [0, 0])
    depth = torch.full((2, 8, 8), 4.0)
    depth[1, :, 4:] = 0
    pairs = torch.tensor([[0, 1]])
    assert depth_reprojection_error(depth, cameras, pairs=pairs) == pytest.approx(0.1 * 3 / 6)  # without the border
    found = reprojection_error(torch.zeros(2, 3, 8, 8), depth, cameras, pairs=pairs, norm="l1")
    assert found["valid_fraction"] == pytest.approx(6 * 3 / 64)


def test_opacity_selects_the_foreground():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 16)
    opacity = (depth > 0).float()
    assert reprojection_error(
        images, depth, cameras, pairs=NEIGHBOURS, norm="l2", opacity=opacity
    ) == reprojection_error(images, depth, cameras, pairs=NEIGHBOURS, norm="l2")
    with pytest.raises(errors.NonPositiveDepth):
        reprojection_error(images, depth, cameras, pairs=NEIGHBOURS, norm="l2", opacity=torch.ones_like(depth))
    with pytest.raises(errors.EmptyInput):
        depth_reprojection_error(depth, cameras, pairs=NEIGHBOURS, opacity=torch.zeros_like(depth))


def warp_of_identity(n: int, side: int, depth: torch.Tensor) -> torch.Tensor:
    u, v = cam.pixel_centres(side, side)
    return torch.stack((u.expand(n, side, side), v[:, None].expand(n, side, side), depth), dim=-1)


def test_warping_error_is_a_ratio_of_sums_and_zero_without_motion():
    generator = torch.Generator().manual_seed(0)
    images, depth = torch.rand(2, 3, 8, 8, generator=generator), 1 + torch.rand(2, 8, 8, generator=generator)
    images[1], depth[1] = images[0], depth[0]
    pairs = torch.tensor([[0, 1], [1, 0]])
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0] = True
    mask[1, 0] = True
    coords = warp_of_identity(2, 8, depth)
    scores = warping_error(images, depth, coords, mask, pairs=pairs)
    assert scores == pytest.approx({"rgb": 0.0, "depth": 0.0}, abs=1e-6)
    images[1] = images[0] + 0.1  # every masked pixel of both pairs now differs by 0.1
    coords[1, ..., 2] += 0.5  # 8 of the 72 masked pixels
    scores = warping_error(images, depth, coords, mask, pairs=pairs)
    assert scores == pytest.approx({"rgb": 0.1, "depth": 0.5 * 8 / 72}, abs=1e-6)


def test_numpy_input_gives_the_same_number():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 16)
    one = reprojection_error(images, depth, cameras, pairs=NEIGHBOURS, norm="l1")
    two = reprojection_error(images.numpy(), depth.numpy(), cameras, pairs=NEIGHBOURS.numpy(), norm="l1")
    assert one == two


def test_bad_input_raises():
    cameras = cam.stack_sweep(PRIOR, SWEEP)
    images, depth = sphere(cameras, 8)
    with pytest.raises(errors.UnknownOption, match="l1"):
        reprojection_error(images, depth, cameras, pairs=NEIGHBOURS, norm="l3")
    with pytest.raises(errors.OutOfRange, match="pairs"):
        reprojection_error(images, depth, cameras, pairs=np.array([[0, 5]]), norm="l2")
    with pytest.raises(errors.ShapeMismatch):
        reprojection_error(images[:, :2], depth, cameras, pairs=NEIGHBOURS, norm="l2")
    with pytest.raises(errors.ShapeMismatch, match="cameras"):
        depth_reprojection_error(depth[:3], cameras, pairs=NEIGHBOURS)
    with pytest.raises(errors.EmptyInput):
        depth_reprojection_error(depth, cameras, pairs=np.zeros((0, 2), np.int64))
    with pytest.raises(errors.NonFinite):
        depth_reprojection_error(depth.log(), cameras, pairs=NEIGHBOURS)
