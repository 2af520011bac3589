"""Properties of statistics and text of the tables."""

from __future__ import annotations

import csv
import io
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tables.rows import gather
from harness.tables.stats import bootstrap_interval, mean_and_deviation, rank_intervals
from harness.tables.text import cell, code, csv_bytes, fixed, number
from tests.unit.stored_results import result

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8)
few = settings(deadline=None, max_examples=30)


@few
@given(VALUES, st.randoms())
def test_the_interval_contains_the_mean_and_ignores_order(values: list[float], shuffler: object) -> None:
    low, high = bootstrap_interval(values, resamples=500)
    mean, _ = mean_and_deviation(values)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert low - slack <= mean <= high + slack or len(set(values)) > 1
    shuffler.shuffle(values)  # type: ignore[attr-defined]
    assert bootstrap_interval(values, resamples=500) == (low, high)


@few
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.sampled_from(["lower", "higher"]))
def test_point_values_get_the_ranks_of_sorting(values: list[float], better: str) -> None:
    signed = values if better == "lower" else [-v for v in values]
    for own, (low, high) in zip(signed, rank_intervals([(v, v) for v in values], better=better), strict=True):
        assert low == 1 + sum(other < own for other in signed)
        assert high == len(signed) - sum(other > own for other in signed)


@few
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=1, max_size=6))
def test_rank_intervals_widen_with_the_intervals(spans: list[tuple[float, float]]) -> None:
    narrow = rank_intervals([(x, x) for x, _ in spans], better="lower")
    wide = rank_intervals([(x - w, x + w) for x, w in spans], better="lower")
    assert all(a <= b and c >= d for (a, c), (b, d) in zip(wide, narrow, strict=True))


@few
@given(st.lists(st.text(), min_size=1, max_size=4))
def test_csv_fields_come_back_on_one_line(fields: list[str]) -> None:
    (row,) = csv.reader(io.StringIO(csv_bytes(["h"] * len(fields), [fields]).decode().split("\n", 1)[1], newline=""))
    assert [got.removeprefix("'").split() for got in row] == [field.removeprefix("'").split() for field in fields]
    for got in row:
        assert not got.startswith(("=", "+", "-", "@")) or _is_number(got)


@few
@given(st.text())
def test_markdown_cells_hold_no_live_pipe_or_tag(text: str) -> None:
    for shown in (cell(text), code(text)):
        assert "\n" not in shown
        assert "|" not in shown.replace("\\|", "")
    assert "<" not in cell(text)


@few
@given(st.one_of(st.just(math.nan), st.floats(-1e300, 1e300)))
def test_numbers_are_stable_text(value: float) -> None:
    text = number(value)
    assert text == "" if math.isnan(value) else math.isclose(float(text), value, rel_tol=1e-9)
    assert not fixed(value, 3).startswith("-0.000")


@few
@given(st.permutations(range(5)))
def test_rows_do_not_depend_on_the_order_of_seeds(order: list[int]) -> None:
    assert gather([result(seed=seed) for seed in order]) == gather([result(seed=seed) for seed in range(5)])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
