"""Properties of counting, of blocks and of putting phases together."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.flops import Work, count_work
from harness.metrics.kernel_time import busy_seconds
from harness.metrics.throughput import FINEST, enough_calls
from harness.running.profiling.largest_batch import largest_fitting
from harness.running.profiling.phase_costs import phase_costs, rates_of, whole_step
from harness.running.profiling.phases import Spent, StepRecord
from harness.running.profiling.steps import declared_intervals, period_of

few = settings(deadline=None, max_examples=40)
SIZES = st.integers(1, 6)


@few
@given(SIZES, SIZES, SIZES, st.sampled_from((1, 3)), st.integers(3, 7), st.integers(1, 2))
def test_a_convolution_costs_its_closed_form(n: int, cin: int, cout: int, k: int, side: int, stride: int) -> None:
    images, weights = torch.zeros(n, cin, side, side), torch.zeros(cout, cin, k, k)
    out = F.conv2d(images, weights, stride=stride)
    work = count_work(lambda: F.conv2d(images, weights, stride=stride))
    assert work.flops == 2 * out.numel() * cin * k * k


@few
@given(SIZES, SIZES, SIZES)
def test_work_of_two_things_is_the_sum(n: int, m: int, k: int) -> None:
    a, b = torch.zeros(n, m), torch.zeros(m, k)
    once = count_work(lambda: a @ b)
    assert count_work(lambda: (a @ b, a @ b)) == once.scaled(2)
    assert once.flops == 2 * n * m * k


@few
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12), st.randoms())
def test_busy_time_is_the_size_of_the_union(spans: list[tuple[int, int]], shuffler: object) -> None:
    pieces = [(start, start + length) for start, length in spans]
    covered = set(itertools.chain.from_iterable(range(start, stop) for start, stop in pieces))
    shuffler.shuffle(pieces)  # type: ignore[attr-defined]
    assert busy_seconds(pieces) == len(covered)


@few
@given(st.integers(1, 64), st.floats(1e-9, 10), st.floats(1e-9, 1e-2))
def test_a_block_is_long_enough_for_its_clock(calls: int, seconds: float, resolution: float) -> None:
    enough = enough_calls(calls, seconds, resolution)
    assert enough % calls == 0
    assert resolution <= FINEST * enough * seconds * (1 + 1e-9) or seconds < resolution / 100


@few
@given(st.integers(1, 4000), st.integers(1, 4096))
def test_the_largest_batch_is_found_within_an_eighth(known: int, true: int) -> None:
    true = max(known, true)
    asked: list[int] = []

    def fits(batch: int) -> bool:
        asked.append(batch)
        return batch <= true

    found = largest_fitting(fits, known)
    assert found <= true or found == known
    assert true - found <= max(1, true // 8)
    assert len(asked) <= 20


@st.composite
def patterns(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, float]]:
    names = draw(st.lists(st.sampled_from(("g", "d", "r1", "path", "tv")), min_size=1, unique=True))
    return (
        {name: draw(st.sampled_from((1, 2, 4, 16))) for name in names},
        {name: draw(st.integers(1, 64)) / 8 for name in names},
    )


def record(intervals: dict[str, int], seconds: dict[str, float], step: int) -> StepRecord:
    calls = [
        (name, Spent(seconds[name], seconds[name] / 2, Work(seconds[name], 1.0)))
        for name, interval in intervals.items()
        if step % interval == 0
    ]
    whole = sum(spent.seconds for _, spent in calls) + 0.5
    return StepRecord(Spent(whole, whole / 2, Work(whole, 10.0)), calls)


@few
@given(patterns())
def test_single_phases_put_together_cost_what_whole_periods_cost(
    pattern: tuple[dict[str, int], dict[str, float]],
) -> None:
    intervals, seconds = pattern
    config = {f"{name}_every": interval for name, interval in intervals.items()}
    period = period_of(config)
    assert declared_intervals(config) == intervals
    steps = [record(intervals, seconds, step) for step in range(2 * period)]
    whole = whole_step(phase_costs(steps, steps[:period]))
    mean = sum(step.whole.seconds for step in steps) / len(steps)
    assert whole.seconds == pytest.approx(mean)
    assert whole.work.flops == pytest.approx(sum(step.whole.work.flops for step in steps) / len(steps))
    few_steps = [steps[0], *([steps[1]] if period > 1 else [])]
    rates = rates_of(steps[0], few_steps[1:], intervals, period)
    put_together = whole_step(phase_costs(few_steps, steps[:1], rates))
    assert put_together.seconds == pytest.approx(mean)
    assert put_together.work.flops == pytest.approx(whole.work.flops)
