"""Flat cards, hollow faces and fog: a low reprojection error says little without these."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness import cameras as cam
from harness.metrics import errors
from harness.metrics.consistency import reprojection_error
from harness.metrics.depth import scale_invariant_depth_error
from harness.metrics.relief import concave_share, depth_std_ratio, opacity_soft, relief_correlation, relief_ratio
from harness.types import Cameras

PRIOR = cam.PRIORS["wide60"]
SIDE = 32


def sphere(cameras: Cameras) -> torch.Tensor:
    """Exact z-depth [N,H,W] of a sphere of radius 0.8, 0 beside it."""
    origins, directions = cam.rays(cameras, SIDE)
    o, d = origins[:, None, None].double(), directions.double()
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 0.64
    root = (b * b - a * c).clamp_min(0).sqrt()
    return torch.where(b * b > a * c, (-b - root) / a, 0.0)


def card(cameras: Cameras) -> torch.Tensor:
    """Exact z-depth [N,H,W] of the plane z = 0 of the world."""
    origins, directions = cam.rays(cameras, SIDE)
    return (-origins[:, None, None, 2] / directions[..., 2]).double()


def hollow(depth: torch.Tensor) -> torch.Tensor:
    """Depth with near and far exchanged about the mean of its positive values."""
    mean = depth.sum((1, 2)) / (depth > 0).sum((1, 2))
    return torch.where(depth > 0, 2 * mean[:, None, None] - depth, depth)


FRONT = cam.stack_sweep(PRIOR, [0.0])
TURNED = cam.stack_sweep(PRIOR, [-0.8, -0.4, 0.4, 0.8], elevation=0.2)


def test_known_ratios_of_standard_deviations() -> None:
    truth = np.array([[[1.0, 2], [3, 4]]])
    assert depth_std_ratio(truth, truth) == 1.0
    assert depth_std_ratio(10 + 3 * truth, truth) == pytest.approx(3.0)
    assert depth_std_ratio(np.full_like(truth, 2.7), truth) == 0.0
    assert math.isnan(depth_std_ratio(truth, np.ones_like(truth)))
    mask = np.array([[[True, True], [False, False]]])
    assert depth_std_ratio(np.array([[[1.0, 1.5], [9, 9]]]), truth, mask=mask) == pytest.approx(0.5)


def test_relief_of_a_sphere() -> None:
    truth = sphere(TURNED)
    mask = truth > 0
    assert relief_correlation(truth, truth, mask=mask) == pytest.approx(1.0)
    assert relief_ratio(truth, truth, mask=mask) == pytest.approx(1.0)
    assert relief_correlation(hollow(truth), truth, mask=mask) < -0.95
    assert concave_share(truth, truth, mask=mask) == 0.0
    half = torch.cat((truth[:2], hollow(truth)[2:]))
    assert concave_share(half, truth, mask=mask) == 0.5
    flatter = truth.amax((1, 2), keepdim=True) * 0.7 + 0.3 * truth
    assert relief_ratio(flatter, truth, mask=mask) == pytest.approx(0.3, rel=0.1)  # flatter, and farther away
    assert depth_std_ratio(flatter, truth, mask=mask) == pytest.approx(0.3)
    assert relief_correlation(flatter, truth, mask=mask) > 0.99


def test_a_plane_in_space_has_no_relief_at_any_angle() -> None:
    """Its depth is not linear in the pixels: a plane fitted to depth instead would leave a curvature of one sign."""
    truth = sphere(TURNED)
    plane = card(TURNED)
    mask = truth > 0
    assert depth_std_ratio(plane, truth, mask=mask) > 0.5  # from its tilt alone
    for depth in (plane, plane.float()):
        np.testing.assert_array_equal(relief_correlation(depth, truth, mask=mask, reduction="none"), 0.0)
        np.testing.assert_array_equal(relief_ratio(depth, truth, mask=mask, reduction="none"), 0.0)
        assert concave_share(depth, truth, mask=mask) == 0.0
    assert math.isnan(relief_correlation(truth.clamp_min(1), plane))
    assert math.isnan(concave_share(truth.clamp_min(1), plane))


def test_a_flat_card_reprojects_well_and_is_found_out() -> None:
    """The negative control of multi-view metrics: one picture on a card, seen from the poses of the sweep."""
    cameras = cam.stack_sweep(PRIOR, [-0.2, -0.1, 0.0, 0.1, 0.2])
    depth, truth = card(cameras), sphere(cameras)
    images = cam.unproject(depth.float(), cameras).movedim(-1, 1).double()  # colour = place on the card
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])
    assert reprojection_error(images, depth, cameras, pairs=pairs, norm="l1")["value"] < 2 / 255
    mask = truth > 0
    own, exact = (
        100 * scale_invariant_depth_error(d.clamp_min(1), truth.clamp_min(1), mask=mask) for d in (depth, truth)
    )
    assert own > 4 > exact
    front = depth_std_ratio(card(FRONT), sphere(FRONT), mask=sphere(FRONT) > 0)
    assert front < 1e-5
    assert relief_ratio(depth, truth, mask=mask) < 1e-5


def test_samples_without_relief_are_left_out_and_counted() -> None:
    truth = sphere(TURNED)
    mask = truth > 0
    mask[0] = False
    mask[1] = False
    mask[1, 10, 10:12] = True
    values = relief_correlation(truth, truth, mask=mask, reduction="none")
    assert np.isnan(values).tolist() == [True, True, False, False]
    assert relief_correlation(truth, truth, mask=mask) == pytest.approx(1.0)
    ratios = depth_std_ratio(truth, truth, mask=mask, reduction="none")
    assert np.isnan(ratios).tolist() == [True, False, False, False]


def test_share_of_soft_rays() -> None:
    opacity = np.array([[[0.0, 0.1, 0.11], [0.5, 0.89, 0.9], [1, 1, 1]], np.ones((3, 3))])
    assert opacity_soft(opacity) == pytest.approx(3 / 18)
    np.testing.assert_allclose(opacity_soft(opacity, reduction="none"), [3 / 9, 0])
    with pytest.raises(errors.OutOfRange):
        opacity_soft(opacity * 2)


def test_bad_input_raises() -> None:
    truth = sphere(FRONT)
    with pytest.raises(errors.NonPositiveDepth, match="preds"):
        relief_correlation(truth, truth)
    with pytest.raises(errors.EmptyInput):
        concave_share(truth, truth, mask=truth < 0)
    with pytest.raises(errors.ShapeMismatch):
        relief_ratio(truth, truth[:, :-1])
    with pytest.raises(errors.NonFinite):
        depth_std_ratio(truth.log(), truth)
    with pytest.raises(errors.UnknownOption):
        depth_std_ratio(truth, truth, reduction="sum")
