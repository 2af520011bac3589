"""Card-driven and family-specific properties of the generation metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.metrics import fid, kid, manifold
from harness.metrics.fid import frechet_distance, frechet_distance_from_moments
from harness.metrics.kid import kernel_distance, kernel_distance_full
from harness.metrics.manifold import PRDC, kth_neighbour_distance, precision_recall_density_coverage
from harness.metrics.moments import FeatureBank, FeatureMoments
from tests.properties.card_properties import Pair, Subject, properties_of

MANY = settings(deadline=None, max_examples=40)


@st.composite
def feature_sets(draw: st.DrawFn, rows: tuple[int, int] = (2, 12), lattice: bool = True) -> Pair:
    """Two sets of equal n; d crosses n and, sometimes, the width from which blocks are float32."""
    n = draw(st.integers(*rows))
    d = draw(st.one_of(st.integers(1, 16), st.just(70)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if lattice and draw(st.booleans()):
        return tuple(rng.integers(-3, 4, (n, d)).astype(np.float64) for _ in range(2))
    stretch = draw(st.sampled_from([1.0, 0.3, 4.0]))
    x, y = rng.standard_normal((n, d)), rng.standard_normal((n, d)) * stretch + draw(st.sampled_from([0.0, 2.0]))
    return x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)


def variance(x: np.ndarray, y: np.ndarray) -> float:
    """Total variance and squared mean difference: the terms whose difference the distance is."""
    return float(x.var(0).sum() + y.var(0).sum() + np.square(x.mean(0) - y.mean(0)).sum()) * 2 + 1e-12


def largest_kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (max(np.square(x).sum(1).max(), np.square(y).sum(1).max()) / x.shape[1] + 1) ** 3


def streamed(x: np.ndarray, y: np.ndarray, size: int) -> float:
    sides = []
    for rows in (x, y):
        side = FeatureMoments(rows.shape[1])
        for start in range(0, len(rows), size):
            side.update(rows[start : start + size])
        sides.append(side.compute())
    return frechet_distance_from_moments(*sides)


def merged_moments(parts: Sequence[Pair]) -> float:
    sides = []
    for side in zip(*parts, strict=True):
        states = [FeatureMoments(side[0].shape[1]) for _ in side]
        for state, rows in zip(states, side, strict=True):
            state.update(rows)
        for state in states[1:]:
            states[0].merge(state)
        sides.append(states[0].compute())
    return frechet_distance_from_moments(*sides)


def banked(parts: Sequence[Pair]) -> list[np.ndarray]:
    sides = []
    for side in zip(*parts, strict=True):
        bank = FeatureBank(side[0].shape[1])
        for rows in side:
            other = FeatureBank(rows.shape[1])
            other.update(rows)
            bank.merge(other)
        sides.append(bank.compute().numpy().astype(np.float64))
    return sides


def kid_full(x: np.ndarray, y: np.ndarray) -> float:
    return kernel_distance_full(x, y)[0]


def kid_subsets(x: np.ndarray, y: np.ndarray) -> float:
    size = max(2, len(x) - 1)
    return kernel_distance(x, y, subsets=4, subset_size=size, generator=np.random.RandomState(0))[0]


def kid_blocks(x: np.ndarray, y: np.ndarray, size: int) -> float:
    with patch.object(kid, "_BLOCK", size):
        return kid_subsets(x, y)


def kid_full_blocks(x: np.ndarray, y: np.ndarray, size: int) -> float:
    with patch.object(kid, "_BLOCK", size):
        return kid_full(x, y)


TestFid = properties_of(
    Subject(
        fid.FID,
        frechet_distance,
        feature_sets(),
        scale=variance,
        exact=2e-7,  # singular covariances: roots of eigenvalues that are round-off
        single=2e-7,
        merged=merged_moments,
        batched=streamed,
    )
)
TestKidFull = properties_of(
    Subject(
        kid.KID_FULL,
        kid_full,
        feature_sets(),
        scale=largest_kernel,
        exact=1e-11,
        merged=lambda parts: kid_full(*banked(parts)),
        batched=kid_full_blocks,
    )
)
TestKid = properties_of(
    Subject(kid.KID, kid_subsets, feature_sets(), scale=largest_kernel, exact=1e-11, batched=kid_blocks)
)


def _prdc(name: str) -> Subject:
    def value(x: np.ndarray, y: np.ndarray) -> float:
        return getattr(precision_recall_density_coverage(x, y, k=2 if len(x) > 2 else 1), name)

    def blocks(x: np.ndarray, y: np.ndarray, size: int) -> float:
        with patch.object(manifold, "_BLOCK", size):
            return value(x, y)

    card = next(card for card in manifold.CARDS if card.name == name)
    # continuous rows only: a rotation of exact ties decides them by rounding
    pairs = feature_sets(rows=(3, 12), lattice=False)
    return Subject(card, value, pairs, merged=lambda parts: value(*banked(parts)), batched=blocks)


TestPrecision = properties_of(_prdc("precision"))
TestRecall = properties_of(_prdc("recall"))
TestDensity = properties_of(_prdc("density"))
TestCoverage = properties_of(_prdc("coverage"))


# ------------------------------------------------------------------------------------------------- of FID alone
@MANY
@given(pair=feature_sets())
def test_every_route_gives_the_same_distance(pair: Pair) -> None:
    x, y = pair
    low_rank, eigh = frechet_distance(x, y, method="lowrank"), frechet_distance(x, y, method="eigh")
    assert low_rank == pytest.approx(eigh, abs=2e-7 * variance(x, y))
    if len(x) > 2 * x.shape[1] and np.linalg.cond(np.atleast_2d(np.cov(x, rowvar=False))) < 1e6:
        assert low_rank == pytest.approx(frechet_distance(x, y, method="cholesky"), abs=1e-9 * variance(x, y))


@MANY
@given(pair=feature_sets(), factor=st.floats(0.1, 10))
def test_distance_scales_with_the_square(pair: Pair, factor: float) -> None:
    x, y = pair
    expected = factor**2 * frechet_distance(x, y)
    assert frechet_distance(x * factor, y * factor) == pytest.approx(expected, abs=2e-7 * variance(x, y) * factor**2)


@MANY
@given(pair=feature_sets(), step=st.floats(-3, 3))
def test_shift_of_one_side_moves_the_distance_by_the_mean_term(pair: Pair, step: float) -> None:
    x, y = pair
    t = np.full(x.shape[1], step)
    moved = frechet_distance(x, y) + t @ t + 2 * t @ (x.mean(0) - y.mean(0))
    assert frechet_distance(x + t, y) == pytest.approx(moved, abs=2e-7 * (variance(x, y) + t @ t))


@MANY
@given(pair=feature_sets())
def test_constant_columns_change_nothing(pair: Pair) -> None:
    x, y = pair
    wide = [np.concatenate([side, np.full((len(side), 3), 7.0)], 1) for side in pair]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(x, y), abs=2e-7 * variance(x, y))


@MANY
@given(pair=feature_sets())
def test_identical_sets_are_at_distance_zero_to_round_off(pair: Pair) -> None:
    x, _ = pair
    if len(x) <= x.shape[1]:
        assert abs(frechet_distance(x, x)) <= 1e-12 * variance(x, x)


# ------------------------------------------------------------------------------------------------- of KID alone
@MANY
@given(pair=feature_sets(rows=(4, 12)), subsets=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_gram_form_equals_direct_subsets(pair: Pair, subsets: int, seed: int) -> None:
    x, y = pair
    size = len(x) - 1
    mean, deviation = kernel_distance(x, y, subsets=subsets, subset_size=size, generator=np.random.RandomState(seed))
    rng, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        a, b = x[rng.choice(len(x), size, replace=False)], y[rng.choice(len(y), size, replace=False)]
        values.append(brute_force_mmd(a, b))
    assert mean == pytest.approx(np.mean(values), abs=1e-10 * largest_kernel(x, y))
    assert deviation == pytest.approx(np.std(values), abs=1e-10 * largest_kernel(x, y))


@MANY
@given(pair=feature_sets(rows=(6, 12)), blocks=st.integers(2, 6))
def test_block_jackknife_equals_leaving_blocks_out(pair: Pair, blocks: int) -> None:
    x, y = pair
    block = np.arange(len(x)) * blocks // len(x)
    assume(np.bincount(block).max() <= len(x) - 2)
    value, stderr = kernel_distance_full(x, y, blocks=blocks)
    left = [brute_force_mmd(x[block != b], y[block != b]) for b in range(blocks)]
    expected = math.sqrt((blocks - 1) * np.var(left))
    assert value == pytest.approx(brute_force_mmd(x, y), abs=1e-10 * largest_kernel(x, y))
    assert stderr == pytest.approx(expected, abs=1e-9 * largest_kernel(x, y))


def brute_force_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m, off = len(x), len(y), lambda gram: gram.sum() - np.trace(gram)
    return float(off(k(x, x)) / (n * (n - 1)) + off(k(y, y)) / (m * (m - 1)) - 2 * k(x, y).mean())


# ------------------------------------------------------------------------------------------------ of PRDC alone
def brute_force_prdc(x: np.ndarray, y: np.ndarray, k: int) -> PRDC:
    distance = np.sqrt(np.square(x[:, None] - y[None]).sum(2))
    radius = [np.sort(np.sqrt(np.square(s[:, None] - s[None]).sum(2)), 1)[:, k] for s in (x, y)]
    in_real, in_fake = distance <= radius[1], distance <= radius[0][:, None]
    return PRDC(
        precision=in_real.any(1).mean(),
        recall=in_fake.any(0).mean(),
        density=in_real.sum() / (k * len(x)),
        coverage=in_real.any(0).mean(),
    )


@MANY
@given(pair=feature_sets(rows=(3, 12)), k=st.integers(1, 11), small=st.booleans(), repeat=st.integers(1, 3))
def test_counts_are_those_of_brute_force_with_ties_and_copies(pair: Pair, k: int, small: bool, repeat: int) -> None:
    x, y = (np.tile(side, (repeat, 1)) for side in pair)
    k = min(k, len(x) - 1)
    with patch.object(manifold, "_SMALL_D", 64 if small else 0):
        found = precision_recall_density_coverage(x, y, k=k)
    expected = brute_force_prdc(x, y, k)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-12)


@MANY
@given(pair=feature_sets(rows=(3, 12), lattice=False), small=st.booleans())
def test_swapping_the_sides_swaps_precision_and_recall(pair: Pair, small: bool) -> None:
    x, y = pair
    with patch.object(manifold, "_SMALL_D", 64 if small else 0):
        there, back = (precision_recall_density_coverage(*sides, k=2) for sides in ((x, y), (y, x)))
    assert (there.precision, there.recall) == (back.recall, back.precision)


@MANY
@given(pair=feature_sets(rows=(3, 12)), k=st.integers(1, 2))
def test_small_and_large_dimension_routes_give_the_same_radii(pair: Pair, k: int) -> None:
    x, _ = pair
    direct = kth_neighbour_distance(x, k=k)
    with patch.object(manifold, "_SMALL_D", 0):
        np.testing.assert_array_equal(kth_neighbour_distance(x, k=k), direct)
