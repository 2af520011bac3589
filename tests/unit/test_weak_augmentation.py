"""Weak augmentation: images and labels move together; what lies outside is ignored."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from methods.blocks.weak_augmentation import WeakOptions, weaken


def _sample(n: int = 6, height: int = 16, width: int = 32) -> tuple[Tensor, Tensor]:
    """Pictures whose brightness is their label / 10, in blocks of eight pixels."""
    coarse = torch.randint(0, 8, (n, height // 8, width // 8), generator=Generator().manual_seed(0))
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return (labels[:, None] / 10).expand(-1, 3, -1, -1).contiguous(), labels


def test_off_means_untouched_and_nothing_is_drawn() -> None:
    images, labels = _sample()
    generator = Generator().manual_seed(0)
    before = generator.get_state()
    same, kept = weaken(images, labels, WeakOptions((), 0.0, ()), generator)
    assert same is images
    assert kept is labels
    assert generator.get_state().equal(before)


def test_a_flip_is_a_mirror() -> None:
    images, labels = _sample()
    made, moved = weaken(images, labels, WeakOptions((), 1.0, ()), Generator().manual_seed(0))
    assert moved is not None
    torch.testing.assert_close(made, images.flip(3), atol=1e-5, rtol=0)
    assert moved.equal(labels.flip(2))


def test_a_crop_is_a_part_of_the_image() -> None:
    images, labels = _sample()
    _, moved = weaken(images, labels, WeakOptions((), 0.0, (8, 8)), Generator().manual_seed(1))
    assert moved is not None
    assert tuple(moved.shape) == (6, 8, 8)
    assert (moved != 255).all()
    for own, part in zip(labels, moved, strict=True):
        assert set(part.unique().tolist()) <= set(own.unique().tolist())


def test_labels_follow_images() -> None:
    images, labels = _sample()
    made, moved = weaken(images, labels, WeakOptions((0.5, 2.0), 0.5, (24, 40)), Generator().manual_seed(2))
    assert moved is not None
    assert tuple(made.shape) == (6, 3, 24, 40)
    inside = moved != 255
    near = (made[:, 0] * 10 - moved).abs() < 0.05
    assert near[inside].float().mean() > 0.6  # the rest lies on the edges of blocks
    assert 0.05 < (~inside).float().mean() < 0.9


def test_padding_is_grey_and_ignored_around_the_middle() -> None:
    images, labels = _sample()
    made, moved = weaken(images + 0.2, labels, WeakOptions((), 0.0, (32, 64)), Generator().manual_seed(3))
    assert moved is not None
    assert moved[:, 8:24, 16:48].equal(labels)
    assert (moved[:, :8] == 255).all()
    assert (moved[:, :, 48:] == 255).all()
    assert not made[:, :, :7].any()


def test_half_of_the_scales_are_below_one() -> None:
    images = torch.ones(400, 3, 16, 16)
    _, moved = weaken(
        images, torch.zeros(400, 16, 16, dtype=torch.long), WeakOptions((0.5, 2.0), 0.0, ()), Generator().manual_seed(4)
    )
    assert moved is not None
    shrunk = (moved == 255).any((1, 2)).float().mean()
    assert 0.4 < shrunk < 0.56
