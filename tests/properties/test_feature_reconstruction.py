"""Laws of masks, jitter, score maps and image scores."""

from __future__ import annotations

import math

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.types import ConfigError
from methods.blocks.attention import neighbour_mask
from methods.blocks.feature_jitter import Jitter
from methods.blocks.feature_map import resize
from methods.blocks.feature_reconstruction import error_map, image_score

SIDES, WINDOWS = st.integers(1, 7), st.integers(0, 7)


def _randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(SIDES, SIDES, WINDOWS, WINDOWS)
@settings(deadline=None, max_examples=60)
def test_masks_are_symmetric_hide_the_token_and_its_clipped_window(height: int, width: int, h: int, w: int) -> None:
    try:
        hidden = neighbour_mask(height, width, (h, w)).isneginf()
    except ConfigError:
        covered = h // 2 >= height // 2 and w // 2 >= width // 2
        assert covered
        return
    assert hidden.equal(hidden.T)
    assert hidden.diagonal().all()
    rows, columns = torch.arange(height), torch.arange(width)
    tall = (rows + h // 2).clamp(max=height - 1) - (rows - h // 2).clamp(min=0) + 1
    wide = (columns + w // 2).clamp(max=width - 1) - (columns - w // 2).clamp(min=0) + 1
    assert hidden.sum(1).view(height, width).equal(tall[:, None] * wide)
    turned = neighbour_mask(width, height, (w, h)).isneginf().view(width, height, width, height)
    assert hidden.view(height, width, height, width).equal(turned.permute(1, 0, 3, 2))


@given(st.integers(0, 2**31), st.floats(0.5, 30), st.floats(0.1, 100))
@settings(deadline=None, max_examples=20)
def test_jitter_has_mean_zero_and_the_spread_of_its_token(seed: int, alpha: float, scale: float) -> None:
    tokens = _randn(2, 3, 4096, seed=seed) * scale
    kept = tokens.clone()
    noise = Jitter(alpha, 1.0)(tokens, torch.Generator().manual_seed(seed)) - tokens
    assert tokens.equal(kept)
    sigma = tokens.norm(dim=-1) * alpha / 4096
    assert (noise.mean(-1).abs() < 5.5 * sigma / math.sqrt(4096)).all()
    assert ((noise.std(-1) / sigma - 1).abs() < 5.5 / math.sqrt(2 * 4096)).all()
    louder = Jitter(alpha, 1.0)(2 * tokens, torch.Generator().manual_seed(seed)) - 2 * tokens
    torch.testing.assert_close(louder, 2 * noise, rtol=1e-3, atol=1e-4 * scale)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=10)
def test_jitter_of_probability_one_half_takes_all_of_a_batch_or_nothing(seed: int) -> None:
    tokens, generator = _randn(4, 5, 8, seed=seed), torch.Generator().manual_seed(seed)
    for _ in range(10):
        changed = (Jitter(2.0, 0.5)(tokens, generator) != tokens).flatten(1).any(1)
        assert changed.all() or not changed.any()
    assert Jitter(0.0, 1.0)(tokens, generator) is tokens
    assert Jitter(2.0, 0.0)(tokens, generator) is tokens
    assert Jitter(2.0, 1.0)(tokens, None) is tokens


@given(st.integers(0, 2**31), st.integers(2, 5), st.floats(0.01, 100))
@settings(deadline=None, max_examples=30)
def test_score_maps_are_positive_zero_for_a_copy_and_homogeneous(seed: int, grid: int, scale: float) -> None:
    features, rebuilt = _randn(2, 6, grid, grid, seed=seed), _randn(2, 6, grid, grid, seed=seed + 1)
    maps = error_map(features, rebuilt, (16, 16))
    assert (maps >= 0).all()
    assert not error_map(features, features.clone(), (16, 16)).any()
    torch.testing.assert_close(error_map(scale * features, scale * rebuilt, (16, 16)), scale * maps, rtol=1e-4, atol=0)
    corners = (features - rebuilt).norm(dim=1)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(maps[:, [0, 0, -1, -1], [0, -1, 0, -1]], corners)
    assert maps[1:].equal(error_map(features[1:], rebuilt[1:], (16, 16)))


@given(st.integers(0, 2**31), st.integers(1, 16))
@settings(deadline=None, max_examples=30)
def test_pooled_maximum_is_at_most_the_maximum_and_at_least_the_mean_of_whole_windows(seed: int, window: int) -> None:
    maps = _randn(3, 16, 16, seed=seed).abs()
    pooled = image_score(maps, "max", window)
    assert (pooled <= maps.amax((1, 2)) + 1e-6).all()
    if 16 % window == 0:
        assert (pooled >= image_score(maps, "mean", window) - 1e-6).all()
    constant = torch.full((1, 16, 16), 3.0)
    torch.testing.assert_close(image_score(constant, "max", window), image_score(constant, "mean", window))
    assert image_score(constant, "std", window).abs().max() < 1e-6


def test_windows_that_do_not_divide_the_side_may_stay_below_the_mean() -> None:
    maps = torch.zeros(1, 64, 64)
    maps[:, ::5] += 1
    maps[:, :, ::5] += 1
    maps = (maps == 2).float()
    assert image_score(maps, "max", 5) < image_score(maps, "mean", 5)


@given(st.integers(2, 9), st.integers(2, 14), st.floats(-3, 3), st.floats(-3, 3))
@settings(deadline=None, max_examples=30)
def test_bilinear_resizing_keeps_planes_from_corner_to_corner(side: int, grid: int, a: float, b: float) -> None:
    assume(side != grid)

    def plane(n: int) -> torch.Tensor:
        axis = torch.linspace(0, 1, n)
        return (a * axis[:, None] + b * axis)[None, None]

    torch.testing.assert_close(resize(plane(side), grid, "bilinear"), plane(grid), atol=1e-5, rtol=1e-4)
    average = resize(plane(side), 1, "average")
    torch.testing.assert_close(average, plane(side).mean().view(1, 1, 1, 1), atol=1e-5, rtol=1e-4)
