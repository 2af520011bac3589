"""Depth bins, the depth space, shared edges and swaps against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics.binned_depth import binned_cross_entropy, depth_bins, frequency_logits
from harness.metrics.depth_space import depth_statistics
from harness.metrics.errors import EmptyInput, MetricError, NonFinite, NonPositiveDepth, OutOfRange, TooFew, TooSmall
from harness.metrics.rgbd_structure import change_along, edge_correlation


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bins_cover_the_range_and_clamp_beyond_it() -> None:
    codes = torch.tensor([-3.0, -1.0, -0.81, -0.79, 0.0, 0.99, 1.0, 7.0])
    assert depth_bins(codes, 10).tolist() == [0, 0, 0, 1, 5, 9, 9, 9]
    line = depth_bins(torch.linspace(-1.5, 1.5, 301), 10)
    assert bool((line.diff() >= 0).all())
    assert line.unique().tolist() == list(range(10))


def test_cross_entropy_of_equal_and_of_certain_logits() -> None:
    depth = noise(3, 4, 4) * 2 - 1
    assert binned_cross_entropy(torch.zeros(3, 10, 4, 4), depth) == pytest.approx(math.log(10))
    certain = 50.0 * torch.nn.functional.one_hot(depth_bins(depth, 10), 10).permute(0, 3, 1, 2).double()
    assert binned_cross_entropy(certain, depth) == pytest.approx(0, abs=1e-12)
    expected = torch.nn.functional.cross_entropy(noise(3, 10, 4, 4), depth_bins(depth, 10))
    assert binned_cross_entropy(noise(3, 10, 4, 4), depth) == pytest.approx(float(expected))


def test_frequencies_are_the_best_blind_predictor() -> None:
    depth = noise(200, 2, 2) ** 2 * 2 - 1
    blind = frequency_logits(depth, 5)
    assert blind.exp().sum(0).numpy() == pytest.approx(np.ones((2, 2)))
    value = binned_cross_entropy(blind.expand(200, -1, -1, -1), depth)
    counts = torch.stack([(depth_bins(depth, 5) == k).double().mean(0) for k in range(5)])
    entropy = float(-(counts * counts.clamp(min=1e-12).log()).sum(0).mean())
    assert entropy <= value < entropy + 0.01
    assert value < math.log(5)
    with pytest.raises(OutOfRange):
        frequency_logits(depth, 1)


def test_block_means() -> None:
    ramp = torch.arange(16.0).expand(2, 16, 16)
    rows = depth_statistics(ramp)
    assert rows.shape == (2, 64)
    assert rows.dtype == torch.float64
    assert rows[0].reshape(8, 8)[3].tolist() == [0.5 + 2 * k for k in range(8)]
    small = noise(3, 8, 8)
    assert torch.equal(depth_statistics(small), small.flatten(1))
    assert depth_statistics(noise(2, 12, 20)).shape == (2, 64)
    assert depth_statistics(noise(2, 32, 32)).mean(1).numpy() == pytest.approx(noise(2, 32, 32).mean((1, 2)).numpy())
    with pytest.raises(TooSmall):
        depth_statistics(noise(2, 7, 9))
    with pytest.raises(NonFinite):
        depth_statistics(torch.full((1, 8, 8), math.nan))


def test_edges_at_the_same_place_correlate() -> None:
    step = torch.where(torch.arange(12) < 6, 1.0, 2.0).expand(1, 12, 12).contiguous()
    images = step[:, None].expand(-1, 3, -1, -1)
    assert edge_correlation(images, step) == pytest.approx(1)
    assert edge_correlation(-0.3 * images + 5, 7 * step) == pytest.approx(1)
    assert edge_correlation(images, step.mT.contiguous()) < 0.1
    both = edge_correlation(images.repeat(2, 1, 1, 1), torch.cat([step, torch.ones(1, 12, 12)]), reduction="none")
    assert both[0] == pytest.approx(1)  # type: ignore[index]
    assert math.isnan(both[1])  # type: ignore[index]


def test_changes_along_each_code() -> None:
    maps = torch.tensor([[0.0, 1.0, 3.0], [10.0, 10.0, 10.0]])[..., None, None].expand(2, 3, 4, 4)
    assert change_along(maps, 1) == pytest.approx((1 + 3) / 4)
    assert change_along(maps, 0) == pytest.approx((10 + 9 + 7) / 3)
    assert change_along(maps[1:].numpy(), 1) == 0
    with pytest.raises(TooFew):
        change_along(maps[1:], 0)


def test_bad_input_is_named() -> None:
    images, depth = noise(2, 3, 8, 8), noise(2, 8, 8) + 1
    for error, call in (
        (NonPositiveDepth, lambda: edge_correlation(images, depth - 1.5)),
        (TooSmall, lambda: edge_correlation(images[..., :2], depth[..., :2])),
        (MetricError, lambda: edge_correlation(images, depth[:1])),
        (NonFinite, lambda: edge_correlation(images * math.nan, depth)),
        (EmptyInput, lambda: edge_correlation(images[:0], depth[:0])),
        (MetricError, lambda: binned_cross_entropy(images, depth[:1])),
        (MetricError, lambda: change_along(depth[0, 0], 0)),
    ):
        with pytest.raises(error):
            call()
