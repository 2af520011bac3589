"""DiffAugment: each transform against its definition, one row at a time, and derivatives of second order."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from methods.blocks.augmentation import build_augmentation
from methods.blocks.diff_augment import DiffAugment, jitter, translated

POLICIES = ("color", "translation", "cutout", "color,translation,cutout")


def _images(n: int = 4, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(n, channels, height, width, generator=_seed(0)) * 2 - 1


def _seed(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def _augment(images: Tensor, policy: str = POLICIES[-1], seed: int = 1) -> Tensor:
    return DiffAugment(policy, torch.device("cpu"))(images, _seed(seed))


def test_colours_are_brightness_then_saturation_then_contrast() -> None:
    images = _images(3).double()
    brightness, saturation, contrast = torch.rand(3, 3, 1, generator=_seed(), dtype=torch.float64)
    made = jitter(images, brightness, saturation, contrast)
    for k in range(3):
        x = images[k] + brightness[k]
        grey = x.mean(0, keepdim=True)
        x = (x - grey) * saturation[k] + grey
        x = (x - x.mean()) * contrast[k] + x.mean()
        torch.testing.assert_close(made[k], x)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(channels: int) -> None:
    images = _images(8, channels)
    made = _augment(images, "color")
    if channels == 4:
        torch.testing.assert_close(made[:, :3], _augment(images[:, :3], "color"))
        assert torch.equal(made[:, 3], images[:, 3])
    else:
        torch.testing.assert_close(made.expand(-1, 3, -1, -1), _augment(images.expand(-1, 3, -1, -1), "color"))


def test_depth_is_moved_and_cut_with_the_colours() -> None:
    images = _images(8, 4)
    images[:, 3] = images[:, 0]
    made = _augment(images, "translation,cutout")
    assert torch.equal(made[:, 3], made[:, 0])


def test_translation_fills_with_zero() -> None:
    images = _images(3, 2, 6, 8)
    rolled, inside = translated(images, torch.tensor([[0], [2], [-1]]), torch.tensor([[0], [-3], [1]]))
    made = rolled * inside[:, None]
    assert torch.equal(made[0], images[0])
    assert torch.equal(made[1, :, 2:, :5], images[1, :, :4, 3:])
    assert torch.equal(made[2, :, :5, 1:], images[2, :, 1:, :7])
    assert inside.sum((1, 2)).tolist() == [48, 20, 35]
    assert made[1, :, :2].abs().sum() + made[1, :, :, 5:].abs().sum() == 0


def test_translations_are_uniform_up_to_an_eighth() -> None:
    n = 18_000
    made = _augment(torch.ones(n, 1, 32, 16), "translation")
    lost_rows, lost_columns = (32 - made[:, 0].amax(2).sum(1)), (16 - made[:, 0].amax(1).sum(1))
    for lost, most in ((lost_rows, 4), (lost_columns, 2)):
        share = torch.stack([(lost == k).float().mean() for k in range(most + 1)])
        expected = torch.tensor([1.0, *[2.0] * most]) / (2 * most + 1)
        torch.testing.assert_close(share, expected, atol=4 * math.sqrt(0.25 / n), rtol=0)


@pytest.mark.parametrize("size", [16, 18])
def test_cut_squares_have_half_the_size_and_any_centre(size: int) -> None:
    made = _augment(torch.ones(5_000, 2, size, size), "cutout")
    assert torch.equal(made[:, 0], made[:, 1])
    gone = made[:, 0] == 0
    area, side = gone.sum((1, 2)), size // 2
    assert area.max() == side**2
    assert area.min() >= (side // 2) ** 2
    share = gone.float().mean(0)
    torch.testing.assert_close(share, share.flip(0), atol=0.03, rtol=0)
    torch.testing.assert_close(share, share.mT, atol=0.03, rtol=0)
    assert (share > 0.05).all()


def test_order_of_names_and_blanks_do_not_matter() -> None:
    images = _images()
    assert torch.equal(_augment(images, " cutout, color ,translation"), _augment(images))


@pytest.mark.parametrize("policy", POLICIES)
def test_rows_depend_on_their_own_image_and_seed_only(policy: str) -> None:
    images = _images(5)
    made = _augment(images, policy)
    assert torch.equal(_augment(images, policy), made)
    assert not torch.equal(_augment(images, policy, seed=2), made)
    images[[0, 1, 3, 4]] = 9.0
    assert torch.equal(_augment(images, policy)[2], made[2])


def test_a_pixel_that_is_not_finite_is_seen_even_where_it_is_cut_away() -> None:
    for seed in range(20):
        images = _images()
        images[2, 1, 3, 3] = math.inf
        finite = _augment(images, seed=seed).isfinite().flatten(1).all(1)
        assert finite.tolist() == [True, True, False, True]


def test_memory_layout_and_autocast_change_nothing() -> None:
    images = _images()
    made = _augment(images)
    torch.testing.assert_close(_augment(images.contiguous(memory_format=torch.channels_last)), made)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(_augment(images), made)


def test_derivatives_of_first_and_second_order() -> None:
    images = _images(2, 4, 6, 6).double().requires_grad_()

    def seen(x: Tensor) -> Tensor:
        return _augment(x, seed=3).sin()

    assert torch.autograd.gradcheck(seen, (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(seen, (images,), fast_mode=True)


def test_it_is_always_on_and_has_no_state() -> None:
    augmentation = build_augmentation("diffaug", device="cpu")
    augmentation.observe(torch.ones(4))
    augmentation.update(3, 4)
    assert augmentation.probability.item() == 1.0
    assert augmentation.state_dict() == {}
