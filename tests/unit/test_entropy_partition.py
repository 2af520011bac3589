"""The partition into reliable and unreliable pixels against a loop over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.blocks.entropy_partition import Criterion, alpha_at, entropy, partition, uncertainty

ALPHAS = st.floats(0.0, 1.0)


def maps(seed: int, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 6, 7)
    logits = 3.0 * torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits.softmax(1), torch.rand(shape, generator=generator) < 0.8


def by_loop(probabilities: Tensor, valid: Tensor, alpha: float, criterion: Criterion) -> tuple[np.ndarray, float]:
    """The reliable mask and the threshold, pixel by pixel, from the equations."""
    scores = {}
    for n, y, x in np.ndindex(*valid.shape):
        if valid[n, y, x]:
            p = [float(v) for v in probabilities[n, :, y, x]]
            scores[n, y, x] = -sum(v * math.log(v) for v in p if v > 0) if criterion == "entropy" else 1.0 - max(p)
    ordered = sorted(scores.values())
    place = (1.0 - alpha) * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    threshold = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    mask = np.zeros(valid.shape, dtype=bool)
    for where, score in scores.items():
        mask[where] = score < threshold
    return mask, threshold


@pytest.mark.parametrize("criterion", ["entropy", "max_prob"])
@pytest.mark.parametrize("alpha", [0.0, 0.11, 0.2, 0.73, 1.0])
def test_the_partition_is_the_one_of_a_loop_over_pixels(criterion: Criterion, alpha: float) -> None:
    probabilities, valid = maps(3)
    part = partition(uncertainty(probabilities, criterion), valid, alpha, criterion)
    mask, threshold = by_loop(probabilities, valid, alpha, criterion)
    assert float(part.threshold) == pytest.approx(threshold, abs=1e-5)
    # Float32 and float64 may differ about the one or two pixels that define the quantile.
    assert (part.reliable.numpy() != mask).sum() <= (0 if 0 < alpha < 1 else 1)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), alpha=ALPHAS)
def test_the_masks_divide_the_valid_pixels_in_the_asked_shares(seed: int, alpha: float) -> None:
    probabilities, valid = maps(seed)
    scores = entropy(probabilities)
    part = partition(scores, valid, alpha)
    assert not (part.reliable & part.unreliable).any()
    assert torch.equal(part.reliable | part.unreliable, valid)
    assert abs(int(part.unreliable.sum()) - alpha * int(valid.sum())) <= 1.0 + 1e-3
    if part.reliable.any() and part.unreliable.any():
        assert scores[part.reliable].max() <= scores[part.unreliable].min()
    assert float(part.weight) == pytest.approx(valid.numel() / max(int(part.reliable.sum()), 1), rel=1e-6)


def test_the_strict_rule_drops_the_most_uncertain_pixel_at_alpha_0() -> None:
    scores = torch.arange(10.0).view(1, 2, 5)
    part = partition(scores, torch.ones(1, 2, 5, dtype=torch.bool), 0.0)
    assert part.unreliable.sum() == 1
    assert part.unreliable[0, 1, 4]
    assert float(part.weight) == pytest.approx(10 / 9)


def test_equal_scores_are_all_unreliable_and_the_weight_stays_finite() -> None:
    part = partition(torch.ones(1, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool), 0.2)
    assert not part.reliable.any()
    assert float(part.weight) == 9.0


@pytest.mark.parametrize("criterion", ["entropy", "none"])
def test_no_valid_pixel_gives_empty_masks(criterion: Criterion) -> None:
    part = partition(torch.rand(1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool), 0.2, criterion)
    assert not part.reliable.any()
    assert not part.unreliable.any()
    assert torch.isfinite(part.weight)


def test_without_a_criterion_every_valid_pixel_is_reliable() -> None:
    probabilities, valid = maps(1)
    part = partition(uncertainty(probabilities, "none"), valid, 0.2, "none")
    assert torch.equal(part.reliable, valid)


def test_entropy_of_known_distributions() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4, [0.5, 0.5, 0.0, 0.0]])
    values = entropy(rows.T[None, :, :, None]).flatten()
    assert values.tolist() == pytest.approx([0.0, math.log(4.0), math.log(2.0)], abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(progress=st.floats(0.0, 1.0), alpha=ALPHAS)
def test_alpha_stays_between_0_and_its_start(progress: float, alpha: float) -> None:
    assert 0.0 <= alpha_at(progress, alpha, "linear") <= alpha
    assert alpha_at(progress, alpha, "constant") == alpha


def test_alpha_is_exact_at_start_middle_and_end() -> None:
    assert [alpha_at(t, 0.2, "linear") for t in (0.0, 0.5, 1.0)] == [0.2, 0.1, 0.0]
