"""Cross entropies of segmentation against sums over single pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.blocks.pixel_losses import (
    IGNORE,
    hard_examples,
    mean_over_all,
    mean_over_valid,
    reliable_ratio,
    resized,
)


def _sample(seed: int = 0, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    return logits, labels.masked_fill(torch.rand(2, 5, 6, generator=generator) < ignored, IGNORE)


def _each(logits: Tensor, labels: Tensor) -> list[float]:
    """Loss of every labelled pixel, one by one."""
    losses = []
    for n, y, x in (labels != IGNORE).nonzero().tolist():
        row = logits[n, :, y, x].double()
        losses.append(float(row.logsumexp(0) - row[labels[n, y, x]]))
    return losses


def test_denominators() -> None:
    logits, labels = _sample()
    losses = _each(logits, labels)
    assert 0 < len(losses) < labels.numel()
    assert float(mean_over_all(logits, labels)) == pytest.approx(sum(losses) / labels.numel(), rel=1e-5)
    assert float(mean_over_valid(logits, labels)) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    expected = sum(losses) / len(losses) * labels.numel() / len(losses)
    assert float(reliable_ratio(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_weights_scale_pixels_and_stay_out_of_the_denominator() -> None:
    logits, labels = _sample()
    weights = torch.full(labels.shape, 0.25)
    torch.testing.assert_close(mean_over_all(logits, labels, weights), 0.25 * mean_over_all(logits, labels))
    weights[0] = 0.0
    expected = sum(_each(logits[1:], labels[1:])) * 0.25 / labels.numel()
    assert float(mean_over_all(logits, labels, weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [mean_over_all, mean_over_valid, reliable_ratio])
def test_nothing_labelled_costs_nothing_and_has_a_gradient(loss: object) -> None:
    logits, labels = _sample()
    logits.requires_grad_()
    value = loss(logits, torch.full_like(labels, IGNORE))  # type: ignore[operator]
    value.backward()
    assert float(value.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def _mined(logits: Tensor, labels: Tensor, threshold: float, least: int) -> float:
    losses = _each(logits, labels)
    if len(losses) < least:
        return sum(losses) / len(losses)
    probabilities = sorted(math.exp(-loss) for loss in losses)
    bound = max(threshold, probabilities[least - 1]) + 1e-7
    kept = [loss for loss in losses if math.exp(-loss) <= bound]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("least", [1, 10, 30, 45, 60, 61, 1000])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7])
def test_hard_examples_against_a_plain_loop(threshold: float, least: int) -> None:
    logits, labels = _sample(1)
    made = float(hard_examples(logits, labels, threshold, least))
    assert made == pytest.approx(_mined(logits, labels, threshold, least), rel=1e-5)


def test_hard_examples_of_a_batch_without_labels() -> None:
    logits, labels = _sample()
    assert float(hard_examples(logits, torch.full_like(labels, IGNORE), 0.7, 4)) == 0.0


@pytest.mark.parametrize("corners", [True, False])
def test_logits_are_resampled_only_where_needed(corners: bool) -> None:
    logits = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert resized(logits, (4, 5), corners) is logits
    made = resized(logits.bfloat16(), (8, 10), corners)
    assert made.dtype == torch.float32
    if corners:
        torch.testing.assert_close(made[..., 0, 0], logits.bfloat16().float()[..., 0, 0])
