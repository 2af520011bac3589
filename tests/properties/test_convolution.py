"""Laws of the projection's merge, of folded upsampling and of learning-rate schedules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.convolution import same_crop, upsampling_kernel
from methods.blocks.schedule import rate_factor
from methods.hologan.model import merge_depth

SIZES = st.integers(1, 5)


@given(st.tuples(SIZES, SIZES, SIZES, SIZES, SIZES), st.data())
@settings(deadline=None, max_examples=60)
def test_a_voxel_stays_in_its_pixel(shape: tuple[int, int, int, int, int], data: st.DataObject) -> None:
    n, c, d, h, w = (data.draw(st.integers(0, size - 1)) for size in shape)
    volume = torch.zeros(shape)
    volume[n, c, d, h, w] = 1.0
    merged = merge_depth(volume)
    assert merged.shape == (shape[0], shape[1] * shape[2], shape[3], shape[4])
    assert merged.nonzero().tolist() == [[n, d * shape[1] + c, h, w]]


@given(st.sampled_from([2, 3]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_the_folded_kernel_is_upsampling_then_convolution(
    dims: int, inputs: int, outputs: int, side: int, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, *[3] * dims, generator=g)
    x = torch.randn(2, inputs, *[side] * dims, generator=g)
    convolve, transpose = (F.conv2d, F.conv_transpose2d) if dims == 2 else (F.conv3d, F.conv_transpose3d)
    expected = convolve(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    folded = transpose(x, upsampling_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(folded, expected, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=60)
def test_same_crops_leave_stride_times_the_input(kernel: int, stride: int, size: int) -> None:
    if kernel >= stride:
        start, end = same_crop(kernel, stride)
        assert (size - 1) * stride + kernel - start - end == stride * size
        assert 0 <= end - start <= 1


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100)
def test_rates_fall_and_stay_within_bounds(step: int, total: int, hold: float, floor: float) -> None:
    now, later = (rate_factor(s, total, "linear_to_zero", hold, floor) for s in (step, step + 1))
    assert floor <= now <= 1
    assert later <= now
