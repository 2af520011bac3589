"""Masks of class-mix and CutMix: whole classes, half of them; rectangles of half the area."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.mixing import class_mask, rectangle_mask, sometimes

SEEDS = st.integers(0, 2**31)


def _labels(seed: int, classes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (3, 4, 6), generator=generator)
    labels[0] = int(labels[0, 0, 0])  # one image of a single class
    return torch.where(torch.rand(labels.shape, generator=generator) < 0.1, 255, labels)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, classes=st.integers(1, 9), up=st.booleans())
def test_half_of_the_values_of_each_image_are_taken_whole(seed: int, classes: int, up: bool) -> None:
    labels = _labels(seed, classes)
    mask = class_mask(labels, torch.Generator().manual_seed(seed), "image", up=up)
    for own, chosen in zip(labels, mask, strict=True):
        values, taken = set(own.unique().tolist()), set(own[chosen].tolist())
        assert len(taken) == (len(values) + int(up)) // 2
        assert not taken & set(own[~chosen].tolist())


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, classes=st.integers(1, 9))
def test_in_the_scope_of_a_batch_at_most_half_of_its_values_are_taken(seed: int, classes: int) -> None:
    labels = _labels(seed, classes)
    mask = class_mask(labels, torch.Generator().manual_seed(seed), "batch")
    values = len(labels.unique())
    for own, chosen in zip(labels, mask, strict=True):
        taken, left = set(own[chosen].tolist()), set(own[~chosen].tolist())
        assert not taken & left
        assert len(taken) <= -(-values // 2)
        assert len(left) <= values // 2


def test_every_value_is_chosen_about_as_often() -> None:
    labels = torch.arange(5).repeat(2000, 1)[:, None]
    share = class_mask(labels, torch.Generator().manual_seed(0), "image").float().mean((0, 1))
    assert share.sub(0.6).abs().max() < 0.04


def test_an_empty_batch_has_an_empty_mask() -> None:
    mask = class_mask(torch.zeros(0, 4, 6, dtype=torch.long), torch.Generator(), "image")
    assert tuple(mask.shape) == (0, 4, 6)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(8, 40), width=st.integers(8, 60))
def test_rectangles_have_half_the_area(seed: int, height: int, width: int) -> None:
    masks = rectangle_mask(6, height, width, torch.Generator().manual_seed(seed))
    for mask in masks:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        high, wide = len(rows), len(columns)
        assert mask.sum() == high * wide
        assert int(rows[-1] - rows[0]) + 1 == high
        assert int(columns[-1] - columns[0]) + 1 == wide
        assert width // 2 + 1 <= wide <= width - 1
        assert abs(high * wide - height * width / 2) <= wide / 2 + 1e-6


def test_rectangles_reach_every_pixel() -> None:
    masks = rectangle_mask(3000, 12, 20, torch.Generator().manual_seed(0))
    assert masks.any(0).all()
    assert (~masks).any(0).all()


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_a_mask_is_used_for_a_share_of_the_batches(probability: float, share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    used = torch.stack([sometimes(mask, probability, generator).float().mean() for _ in range(2000)])
    assert set(used.tolist()) <= {0.0, 1.0}
    assert abs(float(used.mean()) - share) < 0.04
