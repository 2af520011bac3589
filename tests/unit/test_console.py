"""What a run shows: tables, times, progress in plain lines."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.console import Console, columns, duration
from harness.running.settings import Progress
from harness.types import Outcome

WORDS = st.text(st.characters(whitelist_categories=["L", "N"]), max_size=8)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_columns_line_up(rows: list[tuple[str, str]]) -> None:
    lines = columns(["first", "second\n[unit]"], rows).split("\n")
    assert len(lines) == len(rows) + 3
    first, second = lines[2].split("  ")
    assert len(first) == max(5, *(len(row[0]) for row in rows), 5)
    assert len(second) == max(6, *(len(row[1]) for row in rows), 6)
    for line, row in zip(lines[3:], rows, strict=True):
        assert line[: len(first)].strip() == row[0].strip()
        assert line[len(first) :].strip() == row[1].strip()


def test_numbers_stand_to_the_right() -> None:
    assert columns(["row", "n"], [["a", "1"], ["b", "1,234.5"]]).splitlines()[2] == "a          1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def shown(*events: Progress | Outcome, weights: dict[str, float] | None = None) -> list[str]:
    stream = io.StringIO()
    with Console(weights or {"a": 1.0, "b": 1.0}, stream=stream) as console:
        for event in events:
            (console.observe if isinstance(event, Progress) else console.outcome)(event)  # type: ignore[operator]
    return stream.getvalue().splitlines()


def test_plain_lines_are_few_and_say_what_happens() -> None:
    steps = [Progress("a", "hologan seed 0", "fit", step, 100, losses={"g": 0.5}) for step in range(1, 101)]
    lines = shown(*steps, Outcome("a", "hologan seed 0", "done", seconds=3.0))
    assert lines[0] == "hologan seed 0: fit 1/100  g 0.5"
    assert lines[1] == "hologan seed 0: fit 100/100  g 0.5"
    assert lines[2].startswith("[1/2] hologan seed 0: done in 3 s, about")
    assert len(lines) == 3


def test_notes_failures_and_cached_cells_are_told() -> None:
    lines = shown(
        Progress("a", "x", "note", message="the checkpoint is damaged"),
        Outcome("a", "x", "failed", "loss is nan", seconds=1.0),
        Outcome("b", "y", "done", cached=True),
    )
    assert lines == ["x: the checkpoint is damaged", lines[1], "[2/2] y: done before"]
    assert lines[1].startswith("[1/2] x: failed in 1 s: loss is nan, about")


def test_time_left_shrinks_with_what_is_done() -> None:
    console = Console({"a": 10.0, "b": 30.0}, workers=2, stream=io.StringIO())
    assert console.seconds_left() == pytest.approx(30.0), "the longest cell has one worker"
    console.observe(Progress("b", "b", "fit", 50, 100))
    first = console.seconds_left()
    console.outcome(Outcome("a", "a", "done"))
    console.outcome(Outcome("b", "b", "done"))
    assert first < 30.0
    assert console.seconds_left() == 0.0
