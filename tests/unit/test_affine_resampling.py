"""The filtered warp: against an explicit reference, at the identity, and through two derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Generator, Tensor

from methods.blocks import affine_resampling
from methods.blocks.affine_resampling import BORDER, DELAY, SYM6, margins, rearrange, resample


def _images(n: int = 3, channels: int = 2, size: int = 12, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, channels, size, size, generator=Generator().manual_seed(0), dtype=dtype) * 2 - 1


def _identity(n: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.eye(2, dtype=dtype).expand(n, 2, 2).clone(), torch.zeros(n, 2, dtype=dtype)


def _rotation(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def _smooth(size: int = 32) -> Tensor:
    """One slow wave per row of the batch; its slope vanishes at the border, where reflection would make a kink."""
    place = torch.arange(size, dtype=torch.float64) / (size - 1) * math.pi
    waves = [torch.cos(a * place)[:, None] * torch.cos(b * place) for a, b in ((1, 1), (2, 1), (1, 2), (2, 2))]
    return torch.stack(waves)[:, None]


def _reference(image: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Reflection, zero insertion, FIR filter, bilinear look-up, FIR filter, decimation, one after the other."""
    size = len(image)
    pad = size - 1
    taps = np.array(SYM6) / sum(SYM6)
    fine = np.zeros([2 * (size + 2 * pad)] * 2)
    fine[::2, ::2] = np.pad(image, pad, mode="reflect")
    for axis in (0, 1):
        # Tap 5 meets a sample at its own place: out[m] = sum_i 2 taps[i] fine[m + 5 - i].
        kernel = np.append(2 * taps, 0)
        fine = ndimage.convolve1d(fine, kernel, axis=axis, mode="constant", origin=5 - len(kernel) // 2)
    # Fine sample m of a source that begins at -pad is at (m - DELAY - 0.5) / 2 - pad - (size - 1) / 2 from the middle.
    place = (np.arange(2 * (size + 2 * BORDER)) - DELAY - 0.5) / 2 - BORDER - (size - 1) / 2
    y, x = np.meshgrid(place, place, indexing="ij")
    source = np.einsum("ij,jhw->ihw", linear, np.stack([x, y])) + shift[:, None, None]
    index = 2 * (source + (size - 1) / 2 + pad) + DELAY + 0.5
    fine = ndimage.map_coordinates(fine, index[::-1], order=1, mode="constant")
    rows = np.zeros((size, len(place)))
    for k in range(size):
        for i, tap in enumerate(taps):
            rows[k, 2 * (k + BORDER) + i - 5] = tap
    return rows @ fine @ rows.T


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_equals_the_explicit_chain_of_filters(angle: float) -> None:
    images = _images(2, 1)
    linear = torch.stack([_rotation(angle) * 0.8, _rotation(-angle) @ torch.diag(torch.tensor([1.2, 0.7]).double())])
    shift = torch.tensor([[0.3, -1.2], [2.0, 0.5]], dtype=torch.float64)
    made = resample(images, linear, shift)
    for k in range(2):
        expected = _reference(images[k, 0].numpy(), linear[k].numpy(), shift[k].numpy())
        np.testing.assert_allclose(made[k, 0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("size", [8, 31, 32, 64])
def test_the_identity_changes_nothing(size: int) -> None:
    images = _images(4, 3, size, torch.float32)
    linear, shift = _identity(4, torch.float32)
    assert margins(linear, shift, size) == ((6, 6), (6, 6))
    torch.testing.assert_close(resample(images, linear, shift), images, atol=2e-5, rtol=0)


def test_margins_are_the_batch_s_and_do_not_change_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(size=20)
    linear, shift = _identity(3)
    linear[1], shift[2] = 1.3 * _rotation(0.3), torch.tensor([3.0, -2.0])
    tight = resample(images, linear, shift)
    assert margins(linear, shift, 20)[0] != margins(linear[:1], shift[:1], 20)[0]
    monkeypatch.setattr(affine_resampling, "margins", lambda *_: ((19, 19), (19, 19)))
    torch.testing.assert_close(resample(images, linear, shift), tight, atol=1e-9, rtol=0)


def test_a_shift_to_the_right_needs_pixels_on_the_left() -> None:
    linear, shift = _identity(1)
    shift[0, 0] = -4.0  # the result at p comes from p - 4
    assert margins(linear, shift, 32) == ((10, 2), (6, 6))


@pytest.mark.parametrize("steps", [(0, 0), (3, 0), (-2, 4)])
def test_whole_shifts_are_exact_in_both_forms(steps: tuple[int, int]) -> None:
    images = _images(size=16)
    linear, shift = _identity(3)
    shift = shift + torch.tensor(steps)
    moved = rearrange(images, linear, shift)
    torch.testing.assert_close(resample(images, linear, shift), moved, atol=1e-6, rtol=0)
    x, y = steps
    inside = (slice(None), slice(None), slice(max(-y, 0), 16 - max(y, 0)), slice(max(-x, 0), 16 - max(x, 0)))
    assert torch.equal(moved[inside], images.roll((-y, -x), (2, 3))[inside])


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_quarter_turns_of_smooth_images(quarter: int) -> None:
    images = _smooth()
    linear = _rotation(quarter * math.pi / 2).expand(4, 2, 2)
    shift = torch.zeros(4, 2, dtype=torch.float64)
    exact = rearrange(images, linear, shift)
    # y points down: the result at p comes from the turned p, so that the picture turns the other way round.
    assert torch.equal(exact, images.rot90(quarter, (2, 3)))
    assert (resample(images, linear, shift) - exact).abs().max() < 0.04


def test_a_flip_is_exact_by_moving_and_close_by_resampling() -> None:
    linear, shift = _identity(4)
    linear[:, 0, 0] = -1
    images = _images(4, 2, 32)
    assert torch.equal(rearrange(images, linear, shift), images.flip(3))
    assert torch.equal(rearrange(rearrange(images, linear, shift), linear, shift), images)
    assert (resample(images, linear, shift) - images.flip(3)).abs().max() < 0.6
    smooth = _smooth()
    assert (resample(smooth, linear, shift) - smooth.flip(3)).abs().max() < 0.04


def test_derivatives_of_first_and_second_order() -> None:
    images = _images(2, 1, 6).requires_grad_()
    linear = torch.stack([1.1 * _rotation(0.7), 0.8 * _rotation(-2.0)])
    shift = torch.tensor([[0.3, -1.2], [0.0, 0.5]], dtype=torch.float64)

    def warped(x: Tensor) -> Tensor:
        return resample(x, linear, shift).sin()

    assert torch.autograd.gradcheck(warped, (images,))
    assert torch.autograd.gradgradcheck(warped, (images,))


def test_constants_made_under_inference_mode_can_be_used_in_training() -> None:
    linear, shift = _identity(1)
    affine_resampling._enlarge_all.cache_clear()
    affine_resampling._reduce.cache_clear()
    with torch.inference_mode():
        resample(_images(1, 1, 9), linear, shift)
    images = _images(1, 1, 9).requires_grad_()
    resample(images, linear, shift).square().sum().backward()
    assert images.grad is not None
