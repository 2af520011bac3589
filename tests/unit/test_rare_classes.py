"""Rare-class sampling against the draw it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from methods.blocks.rare_classes import row_weights


def _labels() -> np.ndarray:
    rng = np.random.default_rng(0)
    labels = np.zeros((12, 8, 10), np.uint8)
    labels[:, 4:] = 1
    labels[3, :3, :5] = 2
    labels[7:9, :2, :4] = 2  # too few pixels to count
    labels[rng.random(labels.shape) < 0.05] = 255
    labels[5, :4, :6] = 3
    return labels


def test_weights_are_the_chances_of_drawing_a_class_then_an_image() -> None:
    labels, temperature, least = _labels(), 0.3, 12
    weights = row_weights(labels, 4, temperature, least)
    valid = labels[labels != 255]
    chance = np.array([np.exp((1 - (valid == c).mean()) / temperature) for c in range(4)])
    chance /= chance.sum()
    expected = np.zeros(len(labels))
    for c in range(4):
        holding = [n for n in range(len(labels)) if (labels[n] == c).sum() >= least]
        for n in holding:
            expected[n] += chance[c] / len(holding)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    assert weights.dtype == np.float64
    assert weights.argmax() in (3, 5)


def test_a_low_temperature_draws_the_rarest_class_only() -> None:
    weights = row_weights(_labels(), 4, 0.01, 12)
    assert np.isfinite(weights).all()
    assert weights[3] + weights[5] > 0.99


def test_a_high_temperature_draws_all_classes_alike() -> None:
    weights = row_weights(_labels(), 4, 1e9, 12)
    assert weights[0] == pytest.approx(2 * 0.25 / 12, rel=1e-6)


def test_classes_without_an_image_are_left_out() -> None:
    weights = row_weights(_labels(), 9, 0.1, 12)
    np.testing.assert_allclose(weights, row_weights(_labels(), 4, 0.1, 12))


@pytest.mark.parametrize("labels", [np.full((5, 4, 4), 255, np.uint8), np.zeros((5, 1, 2), np.uint8)])
def test_where_no_class_has_an_image_all_rows_are_alike(labels: np.ndarray) -> None:
    np.testing.assert_allclose(row_weights(labels, 3, 0.1, 12), 0.2)
