"""Kernel distance: oracle value, bias, choice of algorithm and degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics.errors import CountMismatch, OutOfRange, ShapeMismatch, TooFew
from harness.metrics.kid import kernel_distance, kernel_distance_full


def test_oracle_in_one_dimension() -> None:
    value, stderr = kernel_distance_full(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert value == pytest.approx(297.5, abs=1e-10)
    assert math.isnan(stderr)


def test_kernel_parameters() -> None:
    x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 2.0]])
    value, _ = kernel_distance_full(x, y, degree=1, gamma=2.0, coef0=5.0)
    assert value == pytest.approx(5 + 5 - 2 * 7)


def test_mean_over_samples_of_one_law_is_zero() -> None:
    rng = np.random.default_rng(0)
    values = [kernel_distance_full(*rng.standard_normal((2, 40, 5)))[0] for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0  # unbiased, and not clipped


def test_jackknife_matches_the_spread_of_repeated_samples() -> None:
    rng = np.random.default_rng(1)
    found = np.array(
        [kernel_distance_full(rng.standard_normal((200, 4)), rng.normal(0.7, 1, (200, 4))) for _ in range(80)]
    )
    assert found[:, 0].std() / found[:, 1].mean() == pytest.approx(1, abs=0.3)


def test_grows_with_a_mean_shift_and_equal_rows_fall_slightly_below_zero() -> None:
    x, y = np.random.default_rng(2).standard_normal((2, 100, 5))
    values = [kernel_distance_full(x, y + shift)[0] for shift in (0, 0.5, 1, 2)]
    assert values == sorted(values)
    assert -0.2 < kernel_distance_full(x, x)[0] < 0


def test_subset_of_all_rows_is_the_full_estimator_without_a_spread() -> None:
    x, y = np.random.default_rng(3).standard_normal((2, 30, 5))
    mean, deviation = kernel_distance(x, y, subset_size=30, generator=np.random.RandomState(0))
    assert mean == pytest.approx(kernel_distance_full(x, y)[0], abs=1e-12)
    assert math.isnan(deviation)


def test_float32_blocks_are_close_to_float64() -> None:
    x, y = np.random.default_rng(4).standard_normal((2, 400, 300)).astype(np.float32) + 0.5
    y *= np.float32(1.2)
    single, double = (
        kernel_distance(x.astype(t), y.astype(t), subsets=20, subset_size=100, generator=np.random.RandomState(0))
        for t in (np.float32, np.float64)
    )
    assert single == pytest.approx(double, rel=1e-5)


def test_few_small_subsets_of_many_rows_take_the_direct_form() -> None:
    x, y = np.random.default_rng(5).standard_normal((2, 300, 4))
    few = kernel_distance(x, y, subsets=2, subset_size=10, generator=np.random.RandomState(7))
    rng = np.random.RandomState(7)
    values = []
    for _ in range(2):
        i, j = rng.choice(300, 10, replace=False), rng.choice(300, 10, replace=False)
        values.append(kernel_distance_full(x[i], y[j])[0])
    assert few == pytest.approx((np.mean(values), np.std(values)), abs=1e-12)


def test_every_kind_of_generator_is_reproducible() -> None:
    x, y = np.random.default_rng(6).standard_normal((2, 50, 4))
    for make in (np.random.RandomState, np.random.default_rng, lambda seed: torch.Generator().manual_seed(seed)):
        one, two, other = (kernel_distance(x, y, subset_size=20, generator=make(seed)) for seed in (1, 1, 2))
        assert one == two != other


def test_large_features_do_not_overflow_float32() -> None:
    x, y = np.random.default_rng(7).standard_normal((2, 30, 100)).astype(np.float32) * np.float32(1e9)
    exact = kernel_distance_full(x.astype(np.float64), y.astype(np.float64))
    assert kernel_distance_full(x, y) == pytest.approx(exact, rel=1e-12)


def test_bad_input() -> None:
    x = np.zeros((10, 3))
    generator = np.random.default_rng(0)
    with pytest.raises(TooFew, match="subset_size 1000 exceeds n = 10"):
        kernel_distance(x, x, generator=generator)
    with pytest.raises(OutOfRange):
        kernel_distance(x, x, subsets=0, subset_size=5, generator=generator)
    with pytest.raises(OutOfRange):
        kernel_distance_full(x, x, blocks=1)
    with pytest.raises(CountMismatch):
        kernel_distance_full(x, x[:9])
    with pytest.raises(TooFew):
        kernel_distance_full(x[:1], x[:1])
    with pytest.raises(ShapeMismatch):
        kernel_distance_full(x, x[:, :2])
    value, _ = kernel_distance_full(x, x[:9], allow_unequal=True)
    assert value == pytest.approx(0, abs=1e-12)
