"""What must hold for every padding, size and order of pictures."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.backbones import open_backbone, pretext
from harness.backbones.efficientnet import PaddedConv2d, same_padding

BACKBONE = open_backbone("random-features", Path("unused"))


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_gives_the_rounded_up_size_with_the_fewest_zeros(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    assert 0 <= before <= after <= before + 1
    wanted = math.ceil(size / stride)

    def outputs(padded: int) -> int:
        return (padded - kernel) // stride + 1

    assert outputs(size + before + after) == wanted
    assert before + after == 0 or outputs(size + before + after - 1) < wanted


@settings(deadline=None, max_examples=20)
@given(st.integers(6, 20), st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.integers(0, 999))
def test_padded_convolution_equals_padding_then_convolution(size: int, kernel: int, stride: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    plain = nn.Conv2d(4, 4, kernel, stride=stride, groups=2, bias=False)
    before, after = same_padding(size, kernel, stride)
    padded = PaddedConv2d(plain, before, after)
    weight = torch.randn(plain.weight.shape, generator=draws)
    images = torch.randn(2, 4, size, size, generator=draws)
    canvas = torch.zeros(2, 4, size + before + after, size + before + after)
    canvas[..., before : before + size, before : before + size] = images
    with torch.no_grad():
        plain.weight.copy_(weight)
        padded.weight.copy_(weight)
        torch.testing.assert_close(padded(images), plain(canvas), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
def test_maps_follow_their_pictures(count: int, rows: int, columns: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 8 * rows, 8 * columns, generator=draws) * 2 - 1
    order = torch.randperm(count, generator=draws)
    for straight, shuffled in zip(BACKBONE.stages(images), BACKBONE.stages(images[order]), strict=True):
        torch.testing.assert_close(straight[order], shuffled)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.sampled_from([16, 24, 64]), st.integers(0, 999))
def test_pretext_pictures_are_finite_and_within_range(repeats: int, side: int, seed: int) -> None:
    images, labels = pretext.pictures(repeats, side, torch.Generator().manual_seed(seed))
    assert images.shape == (24 * repeats, 3, side, side)
    assert images.isfinite().all()
    assert float(images.abs().max()) <= 1
    assert labels.tolist() == sorted(list(range(24)) * repeats)
