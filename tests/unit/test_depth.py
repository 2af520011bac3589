import math

import numpy as np
import pytest
import torch

from harness import cameras as cam
from harness.metrics import errors
from harness.metrics.depth import (
    depth_errors,
    mean_angle_deviation,
    normals_from_depth,
    scale_invariant_depth_error,
    standardised_depth_error,
)


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, None]


TRUTH, CONSTANT = row(1, 2, 4), row(2, 2, 2)


def test_side_oracles():
    assert scale_invariant_depth_error(CONSTANT, TRUTH) == pytest.approx(math.log(2) * math.sqrt(2 / 3), abs=1e-12)
    alternating = torch.tensor([1, math.e] * 8, dtype=torch.float64).reshape(1, 4, 4)
    assert scale_invariant_depth_error(alternating, torch.ones(1, 4, 4)) == pytest.approx(0.5, abs=1e-12)


def test_side_ignores_scale_and_masked_pixels_but_not_shift():
    mask = torch.tensor([[[True, True, False]]])
    assert scale_invariant_depth_error(7 * TRUTH, TRUTH) == pytest.approx(0.0, abs=1e-12)
    assert scale_invariant_depth_error(TRUTH + 1, TRUTH) > 0.1
    negative_outside = row(2, 4, -9)
    assert scale_invariant_depth_error(negative_outside, TRUTH, mask=mask) == pytest.approx(0.0, abs=1e-12)


def test_a_flat_prediction_is_fine_in_side_and_undefined_when_standardised():
    flat = torch.full((1, 5, 5), 0.1)
    assert scale_invariant_depth_error(flat, 3 * flat) == 0.0
    assert math.isnan(standardised_depth_error(flat, torch.rand(1, 5, 5)))
    assert standardised_depth_error(CONSTANT, TRUTH, eps=1e-8) == pytest.approx(1.0, abs=1e-6)


def test_standardised_error_is_twice_one_minus_correlation():
    preds = row(1, 2, 3)
    r = np.corrcoef([1, 2, 3], [1, 2, 4])[0, 1]
    assert standardised_depth_error(preds, TRUTH) == pytest.approx(2 * (1 - r), abs=1e-12)
    assert standardised_depth_error(preds, TRUTH) == pytest.approx(0.0360390, abs=1e-7)
    assert standardised_depth_error(-3 * preds, TRUTH) == pytest.approx(2 * (1 + r), abs=1e-12)


def test_benchmark_errors_of_a_constant():
    values = depth_errors(CONSTANT, TRUTH, align="none")
    expected = {
        "abs_rel": 0.5,
        "rmse": 1.290994,
        "rmse_log": 0.565952,
        "delta1": 1 / 3,
        "delta2": 1 / 3,
        "delta3": 1 / 3,
    }
    assert values == pytest.approx(expected, abs=1e-6)


def test_deltas_are_strict():
    values = depth_errors(row(1.25, 1.5625, 1.24), row(1, 1, 1), align="none")
    assert values["delta1"] == pytest.approx(1 / 3)
    assert values["delta2"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("align", "change"),
    [
        ("median", lambda d: 3 * d),
        ("scale", lambda d: 0.2 * d),
        ("affine", lambda d: 3 * d + 2),
        ("affine_disp", lambda d: 1 / (0.5 / d + 0.1)),
    ],
)
def test_each_alignment_removes_what_it_names(align, change):
    values = depth_errors(change(TRUTH), TRUTH, align=align)
    assert values["rmse"] == pytest.approx(0.0, abs=1e-12)
    assert values["delta1"] == 1.0


def test_median_alignment_with_an_even_count_and_a_mask():
    mask = torch.tensor([[[True, True, True, True, False]]])
    values = depth_errors(row(2, 4, 6, 8, 900), row(1, 2, 3, 4, 1), mask=mask, align="median")
    assert values["rmse"] == pytest.approx(0.0, abs=1e-12)


def test_affine_fit_of_a_constant_is_the_mean_and_a_negative_fit_has_no_log():
    assert depth_errors(CONSTANT, TRUTH, align="affine")["rmse"] == pytest.approx(np.std([1, 2, 4]), abs=1e-12)
    values = depth_errors(row(1, 1.1, 4), row(0.01, 3, 10), align="affine")
    assert values["delta3"] < 1
    assert math.isfinite(values["rmse"])
    below = depth_errors(row(1, 2, 3, 30), row(5, 0.5, 0.1, 0.01), align="affine")
    assert math.isnan(below["rmse_log"])


def test_normals_45_degrees_apart():
    a = torch.tensor([[[[0.0, 0, 1]]]], dtype=torch.float64)
    b = torch.tensor([[[[1.0, 0, 1]]]], dtype=torch.float64) / math.sqrt(2)
    assert mean_angle_deviation(a, b, erode=0) == pytest.approx(45.0, abs=1e-12)
    assert mean_angle_deviation(a, -a, erode=0) == pytest.approx(180.0, abs=1e-12)


def test_tiny_angles_survive_single_precision():
    angle = 1e-3
    a = torch.tensor([[[[0.0, 0, 1]]]])
    b = torch.tensor([[[[math.sin(angle), 0, math.cos(angle)]]]])
    assert mean_angle_deviation(a, b, erode=0) == pytest.approx(math.degrees(angle), rel=1e-4)


def test_erosion_drops_the_border_of_the_mask():
    a = torch.zeros(1, 5, 5, 3)
    a[..., 2] = -1
    b = a.clone()
    b[:, 0] = torch.tensor([1.0, 0, 0])  # wrong in the first row only
    assert mean_angle_deviation(a, b, erode=0) == pytest.approx(18.0)
    assert mean_angle_deviation(a, b) == 0.0
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 2, 2] = True
    assert math.isnan(mean_angle_deviation(a, b, mask=mask))


def test_normals_must_have_unit_length():
    a = torch.ones(1, 3, 3, 3)
    with pytest.raises(errors.OutOfRange):
        mean_angle_deviation(a, a)


def test_normals_of_planes_and_of_a_sphere():
    camera = cam.stack_sweep(cam.PRIORS["wide60"], [0.0])
    plane = normals_from_depth(torch.full((1, 6, 6), 4.0), camera.intrinsics)
    torch.testing.assert_close(plane[0, 1:-1, 1:-1], torch.tensor([0.0, 0, -1]).expand(4, 4, 3), atol=1e-6, rtol=0)
    assert (plane[:, 0] == 0).all()
    assert (plane[..., -1, :] == 0).all()

    origins, directions = cam.rays(camera, 64)
    o, d = origins[:, None, None].double(), directions.double()
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    hit = b * b - a * c > 0
    depth = torch.where(hit, (-b - (b * b - a * c).clamp_min(0).sqrt()) / a, 0.0)
    exact = (o + depth[..., None] * d) @ camera.cam2world[0, :3, :3].double()
    exact = torch.where(hit[..., None], exact, 0.0)
    normals = normals_from_depth(depth, camera.intrinsics)
    centre = hit & (exact[..., 2] < -0.6)
    assert mean_angle_deviation(normals, exact, mask=centre) < 0.1


def test_normals_keep_container_and_dtype():
    intrinsics = cam.stack_sweep(cam.PRIORS["wide60"], [0.0]).intrinsics.numpy()
    normals = normals_from_depth(np.ones((1, 4, 4), np.float32), intrinsics)
    assert isinstance(normals, np.ndarray)
    assert normals.dtype == np.float32
    assert normals_from_depth(torch.ones(1, 2, 2), torch.from_numpy(intrinsics)).abs().sum() == 0


def test_too_few_pixels_make_a_sample_undefined_and_none_at_all_raises():
    depth = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0)) + 1
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    mask[1] = False
    mask[1, 0, 0] = True
    values = scale_invariant_depth_error(depth, depth.flip(1), mask=mask, reduction="none")
    assert math.isfinite(values[0])
    assert math.isnan(values[1])
    assert scale_invariant_depth_error(depth, depth.flip(1), mask=mask) == values[0]
    alone = depth_errors(depth[:1], depth.flip(1)[:1], align="none")
    assert depth_errors(depth, depth.flip(1), mask=mask, align="none") == pytest.approx(alone)
    with pytest.raises(errors.EmptyInput):
        scale_invariant_depth_error(depth, depth, mask=torch.zeros(2, 3, 3, dtype=torch.bool))


def test_bad_depths_raise():
    bad = TRUTH.clone()
    bad[0, 0, 1] = 0
    with pytest.raises(errors.NonPositiveDepth, match=r"\(0, 0, 1\)"):
        scale_invariant_depth_error(bad, TRUTH)
    with pytest.raises(errors.NonPositiveDepth, match="target"):
        depth_errors(TRUTH, bad, align="none")
    bad[0, 0, 1] = math.inf
    with pytest.raises(errors.NonFinite):
        standardised_depth_error(bad, TRUTH)
    with pytest.raises(errors.ShapeMismatch):
        scale_invariant_depth_error(TRUTH, TRUTH[..., :2])
    with pytest.raises(errors.ShapeMismatch, match="bool"):
        scale_invariant_depth_error(TRUTH, TRUTH, mask=torch.ones(1, 1, 3))
    with pytest.raises(errors.UnknownOption, match="median"):
        depth_errors(TRUTH, TRUTH, align="medain")
