"""Frechet distance: oracle values, routes, degenerate input, uncertainty and the accumulators."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics.errors import (
    CountMismatch,
    EmptyInput,
    NonFinite,
    NotCovariance,
    OutOfRange,
    ProtocolMismatch,
    ShapeMismatch,
    SingularCovariance,
    TooFew,
    UnknownOption,
)
from harness.metrics.fid import (
    frechet_distance,
    frechet_distance_extrapolated,
    frechet_distance_from_moments,
    frechet_distance_interval,
    frechet_distance_per_class,
    frechet_distance_stderr,
)
from harness.metrics.moments import FeatureBank, FeatureMoments, Moments, moments

SQUARE = np.array([(0, 0), (2, 0), (0, 2), (2, 2)], float)
OBLONG = np.array([(1, 1), (5, 1), (1, 3), (5, 3)], float)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


# ------------------------------------------------------------------------------------------------------ oracles
@pytest.mark.parametrize("method", ["auto", "cholesky", "eigh", "lowrank"])
def test_two_rectangles(method: str) -> None:
    assert frechet_distance(SQUARE, OBLONG, method=method) == pytest.approx(19 / 3, abs=1e-12)


def test_one_dimension() -> None:
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])) == pytest.approx(6, abs=1e-12)


def test_gaussians_given_by_moments() -> None:
    d, s, t = 7, 1.5, np.arange(7.0)
    near, far = Moments(100, np.zeros(d), np.eye(d)), Moments(100, t, s**2 * np.eye(d))
    assert frechet_distance_from_moments(near, far) == pytest.approx(t @ t + d * (1 - s) ** 2, abs=1e-12)


def test_divisor_is_n_minus_one() -> None:
    x = np.array([[-1.0], [1.0]])
    assert frechet_distance(x, 2 * x) == pytest.approx(2.0)  # (sqrt 2 - sqrt 8)^2; divisor n would give 1


def test_all_rows_equal_leave_means_and_one_trace(rng: np.random.Generator) -> None:
    y = rng.standard_normal((50, 4))
    constant = np.full((50, 4), 3.0)
    expected = np.square(3 - y.mean(0)).sum() + y.var(0, ddof=1).sum()
    assert frechet_distance(constant, y) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(constant, constant) == 0


def test_low_rank_keeps_the_digits_that_roots_of_round_off_lose(rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 200))
    spread = np.square(x - x.mean(0)).sum() / 19
    assert abs(frechet_distance(x, x)) < 1e-12 * spread
    assert abs(frechet_distance_from_moments(moments(x), moments(x))) < 1e-7 * spread


def test_mixed_counts_around_d_agree_with_the_full_route(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((15, 40)), rng.standard_normal((400, 40))
    full = frechet_distance_from_moments(moments(x), moments(y))
    assert frechet_distance(x, y, allow_unequal=True) == pytest.approx(full, rel=1e-7)


def test_bias_of_equal_laws_follows_the_closed_form(rng: np.random.Generator) -> None:
    n, d = 800, 16
    values = [frechet_distance(rng.standard_normal((n, d)), rng.standard_normal((n, d))) for _ in range(10)]
    assert np.mean(values) == pytest.approx(d * (d + 4) / (2 * n), rel=0.1)


# ---------------------------------------------------------------------------------------------------- bad input
def test_unequal_counts_need_permission() -> None:
    with pytest.raises(CountMismatch, match="4 rows, real has 3"):
        frechet_distance(SQUARE, OBLONG[:3])
    assert math.isfinite(frechet_distance(SQUARE, OBLONG[:3], allow_unequal=True))


def test_bad_input_says_what_and_where() -> None:
    bad = SQUARE.copy()
    bad[2, 1] = math.nan
    with pytest.raises(NonFinite, match=r"fid: fake holds 1 NaN.*\(2, 1\)"):
        frechet_distance(bad, OBLONG)
    with pytest.raises(ShapeMismatch, match=r"\(4, 2\).*\(4, 1\)"):
        frechet_distance(SQUARE, OBLONG[:, :1])
    with pytest.raises(ShapeMismatch, match="int64"):
        frechet_distance(SQUARE.astype(int), OBLONG)
    with pytest.raises(ShapeMismatch, match="list"):
        frechet_distance(SQUARE.tolist(), OBLONG)
    with pytest.raises(EmptyInput):
        frechet_distance(SQUARE[:0], OBLONG)
    with pytest.raises(TooFew):
        frechet_distance(SQUARE[:1], OBLONG[:1])
    with pytest.raises(UnknownOption, match="lowrank"):
        frechet_distance(SQUARE, OBLONG, method="low-rank")
    with pytest.raises(SingularCovariance):
        frechet_distance(np.ones((9, 2)), np.ones((9, 2)), method="cholesky")


def test_moments_that_are_no_covariance() -> None:
    good = Moments(9, np.zeros(2), np.eye(2))
    with pytest.raises(NotCovariance):
        frechet_distance_from_moments(Moments(9, np.zeros(2), np.diag([1.0, -0.1])), good)
    with pytest.raises(NotCovariance):
        frechet_distance_from_moments(good, Moments(9, np.zeros(2), np.diag([1.0, -0.1])))
    with pytest.raises(ShapeMismatch):
        frechet_distance_from_moments(Moments(9, np.zeros(3), np.eye(2)), good)
    with pytest.raises(NonFinite):
        frechet_distance_from_moments(Moments(9, np.zeros(2), np.full((2, 2), math.inf)), good)


# -------------------------------------------------------------------------------------------------- uncertainty
def test_standard_error_matches_the_spread_of_repeated_samples(rng: np.random.Generator) -> None:
    values, errors = [], []
    for _ in range(60):
        x, y = rng.standard_normal((400, 6)), rng.standard_normal((400, 6)) * 1.5 + 0.5
        values.append(frechet_distance(x, y))
        errors.append(frechet_distance_stderr(x, y))
    assert np.std(values) / np.mean(errors) == pytest.approx(1, abs=0.25)


def test_standard_error_in_one_dimension_is_the_delta_method(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((500, 1)), rng.standard_normal((500, 1)) * 2 + 1
    sx, sy, delta = x.std(ddof=1), y.std(ddof=1), x.mean() - y.mean()
    psi_x = 2 * delta * (x - x.mean()) + (1 - sy / sx) * np.square(x - x.mean())
    psi_y = -2 * delta * (y - y.mean()) + (1 - sx / sy) * np.square(y - y.mean())
    expected = math.sqrt(psi_x.var(ddof=1) / 500 + psi_y.var(ddof=1) / 500)
    assert frechet_distance_stderr(x, y) == pytest.approx(expected, rel=1e-10)


def test_standard_error_needs_regular_covariances(rng: np.random.Generator) -> None:
    x = rng.standard_normal((30, 40))
    with pytest.raises(TooFew):
        frechet_distance_stderr(x, x)
    flat = np.concatenate([x[:, :3], x[:, :1]], 1)
    with pytest.raises(SingularCovariance):
        frechet_distance_stderr(flat, flat)
    with pytest.raises(SingularCovariance):
        frechet_distance_stderr(np.ones((9, 2)), rng.standard_normal((9, 2)))


def test_shifted_interval_holds_the_estimate_and_raw_percentiles_would_not(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((120, 16)), rng.standard_normal((120, 16))
    estimate = frechet_distance(x, y)
    low, high = frechet_distance_interval(x, y, method="shifted", generator=np.random.default_rng(0))
    assert low < estimate < high
    resampled = [frechet_distance(x[rng.integers(0, 120, 120)], y[rng.integers(0, 120, 120)]) for _ in range(50)]
    assert min(resampled) > estimate  # the bias is counted twice
    again = frechet_distance_interval(x, y, method="shifted", generator=np.random.default_rng(0))
    assert again == (low, high)


def test_auto_interval_is_influence_when_regular_and_shifted_when_not(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((60, 5)) + 1
    low, high = frechet_distance_interval(x, y, level=0.6826894921370859, generator=rng)
    assert (high - low) / 2 == pytest.approx(frechet_distance_stderr(x, y), rel=1e-9)
    wide = rng.standard_normal((10, 30))
    auto, shifted = (
        frechet_distance_interval(wide, wide + 1, method=m, resamples=9, generator=torch.Generator().manual_seed(3))
        for m in ("auto", "shifted")
    )
    assert auto == shifted
    with pytest.raises(TooFew):
        frechet_distance_interval(wide, wide, method="influence", generator=rng)
    with pytest.raises(UnknownOption):
        frechet_distance_interval(wide, wide, method="percentile", generator=rng)
    with pytest.raises(OutOfRange):
        frechet_distance_interval(wide, wide, level=95, generator=rng)


def test_extrapolation_removes_the_bias(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2000, 8)), rng.standard_normal((2000, 8))
    intercept, slope = frechet_distance_extrapolated(x, y, generator=rng)
    assert abs(intercept) < 0.5 * frechet_distance(x, y)
    assert slope == pytest.approx(8 * 12 / 2, rel=0.3)
    with pytest.raises(TooFew):
        frechet_distance_extrapolated(x[:7], y[:7], generator=rng)


# ---------------------------------------------------------------------------------------------------- per class
def test_per_class_uses_one_count_and_marks_what_is_undefined(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((60, 3)), rng.standard_normal((60, 3))
    label_x = np.repeat([0, 1, 2], [30, 29, 1])
    label_y = np.repeat([0, 1, 7], [30, 20, 10])
    found = frechet_distance_per_class(x, label_x, y, label_y, generator=np.random.default_rng(1))
    assert set(found) == {0, 1, 2, 7}
    assert math.isnan(found[2])
    assert math.isnan(found[7])
    whole = frechet_distance_per_class(x, label_x, y, label_y, n_per_class=20, generator=np.random.default_rng(1))
    np.testing.assert_equal(found, whole)
    with pytest.raises(TooFew, match=r"classes \[1\]"):
        frechet_distance_per_class(x, label_x, y, label_y, n_per_class=21, generator=rng)
    with pytest.raises(ShapeMismatch):
        frechet_distance_per_class(x, label_x[:-1], y, label_y, generator=rng)
    with pytest.raises(ShapeMismatch):
        frechet_distance_per_class(x, label_x.astype(float), y, label_y, generator=rng)


def test_per_class_with_all_rows_is_the_distance_of_the_class(rng: np.random.Generator) -> None:
    x, y, label = rng.standard_normal((40, 3)), rng.standard_normal((40, 3)), np.arange(40) % 2
    found = frechet_distance_per_class(x, label, y, label, generator=rng)
    assert found[1] == pytest.approx(frechet_distance(x[1::2], y[1::2]), abs=1e-12)


# ------------------------------------------------------------------------------------------------- accumulators
def test_streamed_moments_equal_one_shot(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((101, 9)) + 100
    state = FeatureMoments(9)
    for part in np.array_split(rows, 7):
        state.update(part)
    state.update(rows[:0])
    found = state.compute()
    assert found.n == 101
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.cov, np.cov(rows, rowvar=False), rtol=1e-10, atol=1e-13)
    assert state.per_sample() is None


@pytest.mark.parametrize("kind", [FeatureMoments, FeatureBank])
def test_accumulators_survive_saving_and_refuse_strangers(kind: type, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((12, 4)).astype(np.float32)
    state, other = kind(4, space="a"), kind(4, space="a")
    state.update(rows)
    other.load_state_dict(state.state_dict())
    assert str(other.compute()) == str(state.compute())
    with pytest.raises(ProtocolMismatch):
        state.merge(kind(4, space="b"))
    with pytest.raises(ProtocolMismatch):
        state.merge(kind(5, space="a"))
    with pytest.raises(ShapeMismatch):
        state.update(rows[:, :3])
    with pytest.raises(ShapeMismatch):
        kind(3).load_state_dict(state.state_dict())
    with pytest.raises(NonFinite):
        state.update(rows * np.float32(math.inf))
    state.reset()
    state.update(rows[:2])
    assert len(state.state_dict()[("rows" if kind is FeatureBank else "n")]) == (2 if kind is FeatureBank else 1)


def test_moments_of_one_row_are_undefined() -> None:
    state = FeatureMoments(2)
    state.update(SQUARE[:1])
    with pytest.raises(TooFew):
        state.compute()


def test_bank_keeps_order_and_never_drops(rng: np.random.Generator) -> None:
    rows = rng.standard_normal((5, 2)).astype(np.float32)
    bank = FeatureBank(2, capacity=5)
    assert bank.compute().shape == (0, 2)
    bank.update(rows[:3])
    bank.update(rows[3:])
    np.testing.assert_array_equal(bank.compute(), rows)
    with pytest.raises(OutOfRange, match="5 of 5"):
        bank.update(rows[:1])
    rows[:] = 0
    assert bank.compute().abs().sum() > 0
