"""Colour jitter and blur: what they leave alone, and by how much they change the rest."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from methods.blocks.photometric import GREY, colour_jitter, gaussian_blur


def _images(n: int = 5, height: int = 20, width: int = 40) -> Tensor:
    return torch.rand(n, 3, height, width, generator=Generator().manual_seed(0)) * 1.2 - 0.6


@pytest.mark.parametrize(("strength", "probability"), [(0.2, 0.0), (0.0, 1.0)])
def test_without_strength_or_chance_colours_stay(strength: float, probability: float) -> None:
    images = _images()
    made = colour_jitter(images, strength, probability, Generator().manual_seed(1))
    torch.testing.assert_close(made, images, atol=1e-5, rtol=0)


def test_jitter_differs_from_image_to_image_and_stays_in_range() -> None:
    images = _images(1).expand(4, -1, -1, -1)
    made = colour_jitter(images, 0.2, 1.0, Generator().manual_seed(1))
    assert made.abs().max() <= 1
    assert all((made[0] - other).abs().max() > 0.01 for other in made[1:])


def test_whether_is_drawn_once_for_a_batch() -> None:
    images, generator = _images(3), Generator().manual_seed(2)
    changed = [(colour_jitter(images, 0.2, 0.5, generator) - images).abs().amax((1, 2, 3)) > 1e-3 for _ in range(200)]
    together = torch.stack(changed)
    assert (together.all(1) | ~together.any(1)).all()
    assert 0.35 < together[:, 0].float().mean() < 0.65


def test_grey_stays_grey_and_its_lightness_moves_by_the_strength_at_most() -> None:
    images = torch.full((200, 3, 4, 4), 0.2)  # 0.6 in [0,1]; of uniform images only the brightness changes
    made = colour_jitter(images, 0.2, 1.0, Generator().manual_seed(3))
    torch.testing.assert_close(made, made[:, :1].expand_as(made), atol=2e-3, rtol=0)
    lightness = made[:, 0, 0, 0] * 0.5 + 0.5
    assert lightness.min() < 0.5
    assert lightness.max() > 0.7
    assert ((lightness > 0.6 * 0.8 - 1e-3) & (lightness < 0.6 * 1.2 + 1e-3)).all()


def test_hue_turns_but_lightness_is_the_brightness_alone() -> None:
    images = torch.tensor([0.3, -0.2, 0.1])[None, :, None, None].expand(100, 3, 4, 4)
    made = colour_jitter(images, 0.2, 1.0, Generator().manual_seed(4))[:, :, 0, 0] * 0.5 + 0.5
    grey = torch.tensor(GREY)
    before = (images[0, :, 0, 0] * 0.5 + 0.5) @ grey
    ratio = (made @ grey) / before
    assert ((ratio > 0.799) & (ratio < 1.201)).all()
    red_most = made.argmax(1) == 0
    assert 0 < int(red_most.sum()) < 100


def test_blur_keeps_flat_images_and_spares_batches() -> None:
    flat = torch.full((3, 3, 20, 40), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, 1.0, Generator().manual_seed(0)), flat)
    images = _images()
    torch.testing.assert_close(gaussian_blur(images, 0.0, Generator().manual_seed(0)), images)


def test_blur_of_a_point_is_a_gaussian_of_its_image() -> None:
    images = torch.zeros(4, 3, 95, 99)
    images[:, :, 47, 49] = 1.0
    made = gaussian_blur(images, 1.0, Generator().manual_seed(5))
    sigma = 0.15 + torch.rand(5, generator=Generator().manual_seed(5))[1:]
    for image, s in zip(made, sigma.tolist(), strict=True):
        row = torch.tensor([math.exp(-0.5 * (x / s) ** 2) for x in range(-4, 5)])
        row = row / row.sum()
        for channel in image:
            torch.testing.assert_close(channel[43:52, 45:54], row[:, None] * row, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("size", "taps"), [(24, 3), (40, 3), (48, 5), (64, 7), (96, 9), (512, 9)])
def test_the_reach_of_a_blur_grows_with_the_image(size: int, taps: int) -> None:
    images = torch.zeros(1, 3, size, size)
    images[:, :, size // 2, size // 2] = 1e6
    made = gaussian_blur(images, 1.0, Generator().manual_seed(7))
    assert int((made[0, 0, size // 2] > 0).sum()) == taps
