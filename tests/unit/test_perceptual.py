import math

import numpy as np
import pytest
import torch

from harness.metrics import errors
from harness.metrics.perceptual import (
    count_out_of_range,
    feature_distance,
    mean_squared_error,
    peak_signal_noise_ratio,
    structural_similarity,
)
from harness.metrics.ssim import ssim_per_channel

UNIT = (0.0, 1.0)


def flat(value: float, side: int = 16) -> torch.Tensor:
    return torch.full((1, 1, side, side), value, dtype=torch.float64)


def ramp() -> torch.Tensor:
    return torch.linspace(0, 1, 16, dtype=torch.float64)[:, None].expand(16, 16)[None, None]


def checkerboard() -> torch.Tensor:
    i = torch.arange(16)
    return ((i[:, None] + i) % 2).double()[None, None]


def noise(n: int = 3, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TwoLayers:
    """A space with hand-made layers: the image itself, and its spatial mean."""

    def layers(self, images):
        return [
            (images, torch.tensor([1.0, 2.0, 3.0])),
            (images.mean((2, 3), keepdim=True), torch.full((3,), 0.5)),
        ]


# ------------------------------------------------------------------------------------------------- MSE and PSNR
def test_mse_of_a_shift_is_its_square_and_scales_with_the_range():
    x = noise() * 0.5
    assert mean_squared_error(x, x + 0.25, value_range=UNIT) == pytest.approx(0.0625, abs=1e-15)
    wide = mean_squared_error(2 * x - 1, 2 * (x + 0.25) - 1, value_range=(-1, 1))
    assert wide == pytest.approx(4 * 0.0625, abs=1e-15)


def test_masked_mse_divides_by_masked_elements_and_leaves_out_empty_samples():
    x, y = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    y[:, :, 0, 0] = 0.5
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[0, 0, 0, :2] = True
    values = mean_squared_error(x, y, value_range=UNIT, mask=mask, reduction="none")
    assert values[0] == 0.125
    assert math.isnan(values[1])
    assert mean_squared_error(x, y, value_range=UNIT, mask=mask) == 0.125


def test_psnr_oracles():
    zero, tenth = flat(0.0), flat(0.1)
    assert peak_signal_noise_ratio(zero, tenth, value_range=UNIT) == pytest.approx(20.0, abs=1e-12)
    assert peak_signal_noise_ratio(zero, tenth, value_range=(-1, 1)) == pytest.approx(26.0206, abs=1e-4)
    half = flat(0.1 / math.sqrt(2))
    assert peak_signal_noise_ratio(zero, half, value_range=UNIT) == pytest.approx(20 + 3.0103, abs=1e-4)


def test_psnr_of_equal_images_is_infinite_and_capped_in_the_mean():
    x = torch.cat((flat(0.0), flat(0.1)))
    y = torch.zeros_like(x)
    assert peak_signal_noise_ratio(x, y, value_range=UNIT, reduction="none")[0] == math.inf
    assert peak_signal_noise_ratio(x, y, value_range=UNIT) == pytest.approx(60.0)
    assert peak_signal_noise_ratio(x, y, value_range=UNIT, cap=40) == pytest.approx(30.0)


def test_psnr_is_a_mean_of_decibels_not_the_decibels_of_a_mean():
    x = torch.cat((flat(0.1), flat(0.01)))
    assert peak_signal_noise_ratio(x, torch.zeros_like(x), value_range=UNIT) == pytest.approx(30.0)


def test_uint8_images_need_no_range_and_numpy_equals_torch():
    x = np.zeros((2, 3, 4, 4), np.uint8)
    y = np.full_like(x, 255)
    assert mean_squared_error(x, y) == 255**2
    assert peak_signal_noise_ratio(x, y) == 0.0
    assert mean_squared_error(torch.from_numpy(x), torch.from_numpy(y)) == 255**2
    with pytest.raises(errors.OutOfRange):
        mean_squared_error(x, y, value_range=UNIT)


# --------------------------------------------------------------------------------------------------------- SSIM
def test_ssim_oracles():
    def ssim(a, b):
        return structural_similarity(a, b, value_range=UNIT)

    assert ssim(flat(0.2), flat(0.6)) == pytest.approx(0.2401 / 0.4001, abs=1e-12)
    assert ssim(checkerboard(), 1 - checkerboard()) == pytest.approx(-0.996406, abs=1e-6)
    assert ssim(ramp(), 1 - ramp()) == pytest.approx(-0.826622, abs=1e-6)
    assert ssim(ramp(), ramp() / 2) == pytest.approx(0.650837, abs=1e-6)
    shifted = ssim_per_channel(ramp()[0], ramp()[0] + 0.1, low=0, high=1, window=11, sigma=1.5)
    assert float(shifted) == pytest.approx(0.981264, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ssim_is_exactly_one_on_equal_images(dtype):
    x = noise().to(dtype)
    assert (structural_similarity(x, x.clone(), value_range=UNIT, reduction="none") == 1).all()


def test_ssim_does_not_depend_on_the_block_size():
    x, y = noise(seed=1).flatten(0, 1), noise(seed=2).flatten(0, 1)
    one, many = (
        ssim_per_channel(x, y, low=0, high=1, window=7, sigma=1.5, elements=elements) for elements in (1, 1 << 20)
    )
    torch.testing.assert_close(one, many, atol=1e-15, rtol=0)


def test_ssim_needs_room_for_its_window():
    small = flat(0.5, side=10)
    with pytest.raises(errors.TooSmall):
        structural_similarity(small, small, value_range=UNIT)
    assert structural_similarity(small, small, value_range=UNIT, window=7) == 1.0
    with pytest.raises(errors.UnknownOption):
        structural_similarity(small, small, value_range=UNIT, window=8)


# ---------------------------------------------------------------------------------------------- feature distance
def test_feature_distance_of_hand_made_layers():
    x = torch.zeros(1, 3, 2, 2)
    x[:, 0] = 1.0  # [1, -1, -1] after scaling to [-1, 1]
    y = torch.zeros(1, 3, 2, 2)
    y[:, 1] = 1.0  # [-1, 1, -1]
    # Unit vectors differ by (2, -2, 0) / sqrt(3): squares (4/3, 4/3, 0), weights (1, 2, 3) and 0.5.
    expected = (4 + 8) / 3 + 0.5 * 8 / 3
    assert feature_distance(x, y, space=TwoLayers(), value_range=UNIT) == pytest.approx(expected, rel=1e-6)


def test_feature_distance_takes_a_plain_feature_space():
    def space(images):
        return images.float().mean((2, 3)) + 1

    x = torch.full((5, 3, 4, 4), 0.2)
    y = torch.full((5, 3, 4, 4), 0.8)
    assert feature_distance(x, y, space=space, value_range=UNIT) == pytest.approx(0.0, abs=1e-12)  # same direction
    y[:, 0] = 0.0
    assert feature_distance(x, y, space=space, value_range=UNIT, reduction="none").shape == (5,)
    assert feature_distance(x, y, space=space, value_range=UNIT) > 0.01


# ------------------------------------------------------------------------------------------------ what goes wrong
def test_bad_input_raises_the_typed_error():
    x = noise()
    with pytest.raises(errors.UnknownOption, match="value_range"):
        mean_squared_error(x, x)
    with pytest.raises(errors.ShapeMismatch):
        mean_squared_error(x, x[:, :1], value_range=UNIT)
    with pytest.raises(errors.ShapeMismatch):
        mean_squared_error(x[0], x[0], value_range=UNIT)
    with pytest.raises(errors.ShapeMismatch):
        mean_squared_error(x, (x * 255).to(torch.uint8), value_range=UNIT)
    with pytest.raises(errors.ShapeMismatch):
        mean_squared_error(x.tolist(), x, value_range=UNIT)
    with pytest.raises(errors.EmptyInput):
        mean_squared_error(x[:0], x[:0], value_range=UNIT)
    with pytest.raises(errors.EmptyInput):
        mean_squared_error(x, x, value_range=UNIT, mask=torch.zeros(3, 1, 16, 16, dtype=torch.bool))
    with pytest.raises(errors.UnknownOption, match="reduction"):
        mean_squared_error(x, x, value_range=UNIT, reduction="sum")
    with pytest.raises(errors.OutOfRange, match="spans"):
        mean_squared_error(2 * x, x, value_range=UNIT)
    bad = x.clone()
    bad[1, 2, 3, 4] = math.nan
    with pytest.raises(errors.NonFinite, match=r"1 NaN.*\(1, 2, 3, 4\)"):
        structural_similarity(bad, x, value_range=UNIT)


def test_small_excess_is_clamped_counted_and_left_in_the_argument():
    x = flat(1.0005)
    before = x.clone()
    assert mean_squared_error(x, flat(1.0), value_range=UNIT) == 0.0
    assert torch.equal(x, before)
    assert count_out_of_range(x, value_range=UNIT) == 256
