"""Comparing numbers bit for bit, texts by line, and costs over any seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.running.cell_check import deviations
from harness.store import STAGES
from harness.store_files import from_number, to_number
from harness.tables.costs import costs_of
from harness.tables.reproduction import first_difference

METRICS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(), max_size=6)
LINES = st.lists(st.lists(st.text("ab,\"'", max_size=4), min_size=1, max_size=3).map(";".join), max_size=5)
SECONDS = st.floats(0, 1e6)


@settings(deadline=None, max_examples=100)
@given(METRICS)
def test_what_went_through_an_archive_does_not_deviate(metrics: dict[str, float]) -> None:
    kept = {name: from_number(to_number(value)) for name, value in metrics.items()}
    assert deviations(kept, metrics) == []


@settings(deadline=None, max_examples=100)
@given(METRICS, METRICS)
def test_deviations_are_those_of_the_mirror_image(one: dict[str, float], other: dict[str, float]) -> None:
    found, mirrored = deviations(one, other), deviations(other, one)
    assert [d.metric for d in found] == [d.metric for d in mirrored]
    assert [d.relative for d in found] == [d.relative for d in mirrored]
    same = {name for name in one if name in other and repr(one[name]) == repr(other[name])}
    assert {d.metric for d in found} == (set(one) | set(other)) - same
    assert all(d.relative >= 0 and not math.isnan(d.relative) for d in found)


@settings(deadline=None, max_examples=100)
@given(LINES, LINES, st.booleans())
def test_unequal_texts_differ_in_the_line_that_is_named(one: list[str], other: list[str], table: bool) -> None:
    first, second = ("".join(f"{line}\n" for line in lines) for lines in (one, other))
    if first == second:
        return
    told = first_difference(first.encode(), second.encode(), table=table)
    unequal = [k for k, (a, b) in enumerate(zip(first.split("\n"), second.split("\n"), strict=False), 1) if a != b]
    assert told.startswith(f"line {unequal[0]}" if unequal else "has ")


@dataclass(frozen=True)
class Spent:
    """What a result says of its cost."""

    cost: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=lambda: {"device": "cpu"})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=1, max_size=6))
def test_a_mean_cost_lies_between_the_least_and_the_most_and_adds_up(seeds: list[tuple[float, ...]]) -> None:
    spent = [Spent({f"{s}_cpu_seconds": x for s, x in zip(STAGES, one, strict=True)}) for one in seeds]
    (cost,) = costs_of(spent)
    (reversed_cost,) = costs_of(spent[::-1])
    assert cost == reversed_cost
    assert cost.least <= cost.mean * (1 + 1e-12)
    assert cost.mean <= cost.most * (1 + 1e-12)
    assert math.isclose(sum(cost.stages.values()), cost.mean, rel_tol=1e-12)
    assert math.isclose(cost.money(7200.0), 2 * cost.mean)
