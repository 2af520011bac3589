"""Precision, recall, density, coverage: oracle counts, ties, copies and degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.metrics import manifold
from harness.metrics.errors import OutOfRange, ShapeMismatch, TooFew
from harness.metrics.manifold import PRDC, kth_neighbour_distance, precision_recall_density_coverage


def test_oracle_on_a_line() -> None:
    fake, real = np.array([[0.4], [10], [11], [12]]), np.array([[0.0], [1], [2], [3]])
    assert precision_recall_density_coverage(fake, real, k=1) == PRDC(0.25, 1.0, 0.5, 0.5)


@pytest.mark.parametrize("small_d", [0, 64])
def test_balls_are_closed(small_d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifold, "_SMALL_D", small_d)
    real, touching = np.array([[0.0], [1], [2], [3]]), np.array([[-1.0], [-1], [4], [4]])
    assert precision_recall_density_coverage(touching, real, k=1).precision == 1
    beyond = touching * (1 + 1e-12)
    assert precision_recall_density_coverage(beyond, real, k=1).precision == 0


@pytest.mark.parametrize("small_d", [0, 64])
def test_copies_of_real_rows_are_inside_balls_of_radius_zero(small_d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifold, "_SMALL_D", small_d)
    real = np.repeat(np.random.default_rng(0).standard_normal((4, 6)), 5, 0) + 1000
    assert not kth_neighbour_distance(real, k=3).any()
    found = precision_recall_density_coverage(real[:5], real, k=3)
    assert (found.precision, found.coverage) == (1.0, 0.25)
    assert precision_recall_density_coverage(real[:5] + 1e-9, real, k=3).precision == 0


def test_collapsed_generator_is_precise_and_covers_nothing_else() -> None:
    rng = np.random.default_rng(1)
    real = rng.standard_normal((300, 100)).astype(np.float32)
    fake = np.repeat(real[:1], 300, 0)
    found = precision_recall_density_coverage(fake, real, k=5)
    assert found.precision == 1
    assert found.recall == pytest.approx(1 / 300)
    assert found.coverage < 0.2


def test_exact_copies_score_one_everywhere_but_in_density() -> None:
    x = np.random.default_rng(2).standard_normal((50, 80)).astype(np.float32)
    found = precision_recall_density_coverage(x, x, k=3)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx((3 + 1) / 3)  # k neighbours lie in each ball, and its own centre


def test_a_large_common_mean_does_not_cancel_in_float32() -> None:
    x, y = np.random.default_rng(3).standard_normal((2, 200, 128)).astype(np.float32).round(2)
    near = precision_recall_density_coverage(x, y, k=3)
    offset = np.float64(4096)
    assert precision_recall_density_coverage(x + offset, y + offset, k=3) == near


def test_neighbour_distances() -> None:
    rows = np.array([[0.0, 0], [3, 4], [0, 1], [0, 3]])
    np.testing.assert_allclose(kth_neighbour_distance(rows, k=1), [1, np.sqrt(10), 1, 2])
    np.testing.assert_allclose(kth_neighbour_distance(torch.tensor(rows), k=3), [5, 5, np.sqrt(18), np.sqrt(10)])


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
def test_extreme_scales_neither_overflow_nor_vanish(factor: float) -> None:
    x, y = np.random.default_rng(4).standard_normal((2, 60, 80))
    expected = precision_recall_density_coverage(x, y, k=3)
    assert precision_recall_density_coverage(x * factor, y * factor, k=3) == expected
    x32, y32 = (x * factor).astype(np.float32), (y * factor).astype(np.float32)
    assert precision_recall_density_coverage(x32, y32, k=3).precision == pytest.approx(expected.precision, abs=0.02)
    assert np.isfinite(
        kth_neighbour_distance(
            np.float32(1e-44) * np.ones((4, 80), np.float32) * np.arange(4, dtype=np.float32)[:, None], k=1
        )
    ).all()
    np.testing.assert_array_equal(kth_neighbour_distance(x * factor, k=3), kth_neighbour_distance(x, k=3) * factor)


def test_all_rows_zero() -> None:
    zero = np.zeros((5, 80))
    assert precision_recall_density_coverage(zero, zero, k=2) == PRDC(1.0, 1.0, 2.5, 1.0)


def test_bad_input() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(TooFew, match="4 rows have no 4-th"):
        precision_recall_density_coverage(x, np.zeros((9, 2)), k=4)
    with pytest.raises(TooFew):
        precision_recall_density_coverage(np.zeros((9, 2)), x, k=4)
    with pytest.raises(OutOfRange):
        kth_neighbour_distance(x, k=0)
    with pytest.raises(ShapeMismatch):
        precision_recall_density_coverage(x, np.zeros((4, 3)), k=1)
