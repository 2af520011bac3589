"""Invariances of the paired statistics."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tables import stats
from harness.tables.claims import decide

DIFFERENCES = st.lists(st.integers(-1000, 1000).map(lambda i: i / 64), min_size=2, max_size=10)
few = settings(deadline=None, max_examples=40)


@few
@given(DIFFERENCES, st.randoms())
def test_the_order_of_seeds_does_not_matter(values: list[float], shuffler: Any) -> None:
    def everything() -> list[object]:
        spans = stats.sign_flip_interval(values), stats.studentised_bootstrap(values)
        return [stats.sign_flip(values), spans, decide(values, 0.5)]

    before = everything()
    shuffler.shuffle(values)
    assert everything() == before


@few
@given(DIFFERENCES)
def test_turning_the_claim_round_turns_the_intervals_round(values: list[float]) -> None:
    turned = [-value for value in values]
    low, high, coverage = stats.sign_flip_interval(values)
    assert stats.sign_flip_interval(turned) == pytest.approx((-high, -low, coverage))
    low, high = stats.studentised_bootstrap(values)
    assert stats.studentised_bootstrap(turned) == pytest.approx((-high, -low), abs=1e-9)
    assert stats.sign_flip(turned)[1] == stats.sign_flip(values)[1]


@few
@given(DIFFERENCES, st.sampled_from([0.125, 4.0, 1024.0]), st.sampled_from([0.0, 0.5, 2.0]))
def test_the_unit_does_not_matter(values: list[float], unit: float, smallest: float) -> None:
    scaled = [unit * value for value in values]
    assert stats.sign_flip(scaled) == stats.sign_flip(values)
    assert decide(scaled, unit * smallest) == decide(values, smallest)
    ends = [unit * end for end in stats.sign_flip_interval(values)[:2]]
    assert list(stats.sign_flip_interval(scaled)[:2]) == pytest.approx(ends)
    assert list(stats.studentised_bootstrap(scaled)) == pytest.approx(
        [unit * end for end in stats.studentised_bootstrap(values)]
    )


@few
@given(DIFFERENCES, st.integers(-640, 640).map(lambda i: i / 64))
def test_an_added_constant_moves_the_interval_along(values: list[float], shift: float) -> None:
    low, high, coverage = stats.sign_flip_interval(values)
    moved = stats.sign_flip_interval([value + shift for value in values])
    assert moved == pytest.approx((low + shift, high + shift, coverage))


@few
@given(DIFFERENCES, st.floats(0, 20))
def test_a_better_seed_never_weakens_the_evidence(values: list[float], gain: float) -> None:
    better = [values[0] + gain, *values[1:]]
    assert stats.sign_flip(better)[0] <= stats.sign_flip(values)[0] + 1e-12
    assert stats.sign_flip_interval(better)[0] >= stats.sign_flip_interval(values)[0] - 1e-9


@few
@given(DIFFERENCES)
def test_test_and_interval_agree(values: list[float]) -> None:
    p, _ = stats.sign_flip(values)
    low, _, _ = stats.sign_flip_interval(values)
    assert (p <= stats.ALPHA) == (low > 1e-9)
    assert 2.0 ** -len(values) <= p <= 1


@few
@given(DIFFERENCES, st.floats(0, 5), st.floats(0, 5))
def test_a_larger_smallest_effect_never_helps_a_claim(values: list[float], first: float, second: float) -> None:
    order = ("SUPPORTED", "INCONCLUSIVE", "REFUTED")
    lenient, strict = (order.index(decide(values, effect)[0]) for effect in sorted((first, second)))
    assert lenient <= strict


@few
@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), max_size=8))
def test_holm_raises_p_and_keeps_the_order(values: list[float]) -> None:
    adjusted = stats.holm(values)
    tested = [(p, a) for p, a in zip(values, adjusted, strict=True) if not math.isnan(p)]
    assert all(p <= a <= 1 for p, a in tested)
    assert [a for _, a in sorted(tested)] == sorted(a for _, a in tested)
    assert all(a <= min(1.0, len(tested) * p) + 1e-12 for p, a in tested if p == min(p for p, _ in tested))
    assert [math.isnan(a) for a in adjusted] == [math.isnan(p) for p in values]
