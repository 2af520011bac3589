"""What a run shows: bars with time left and live losses on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from harness.running.settings import Progress
from harness.types import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from harness.tables.rows import Row

_NUMBER = re.compile(r"[-+]?[\d,.]*|\?|n/a")
FIRST = (
    "fid", "kid", "precision", "recall", "pose_corr", "pose_mae", "id_var_ratio", "side", "mad", "reproj_l1",
    "image_auroc", "pixel_auroc", "aupro", "mean7", "shortcut_ratio", "error_ratio",
)  # fmt: skip
"""Metrics that a narrow screen shows before all others."""
LINE_SECONDS = 15.0
"""Least time between two plain lines of one cell's stage."""


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text of a table: columns as wide as their widest cell, two spaces apart, numbers to the right.

    A heading may have several lines.
    """
    depth = max(name.count("\n") for name in header) + 1
    parts = [[*name.split("\n"), *[""] * depth][:depth] for name in header]
    heads = [[part[line] for part in parts] for line in range(depth)]
    table = [*heads, *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    right = [bool(rows) and all(_numeric(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)) for row in table
    ]
    lines.insert(depth, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def leaderboard_text(rows: Sequence[Row], width: int | None = None, price: float | None = None) -> str:
    """The rows of one tier as text: what a result costs, also as money where there is a ``price`` per hour, and means
    of the ranked metrics, as many columns as fit into ``width`` characters."""
    from harness.tables.columns import metric_of, style
    from harness.tables.rows import columns_of

    names = [name for name in columns_of(rows) if style(name).better != "none" and style(name).page]
    names = [n for n in names if any(n in row.values and math.isfinite(row.values[n].mean) for row in rows)]
    limit = width or shutil.get_terminal_size((160, 24)).columns
    chosen: list[str] = []
    for name in sorted(names, key=lambda n: (metric_of(n) not in FIRST, names.index(n))):
        trial = _leaderboard(rows, [n for n in names if n in (*chosen, name)], price)
        if max(len(line) for line in trial.splitlines()) <= limit:
            chosen.append(name)
    ended = [f"{_row_name(row)}: {row.status}" for row in rows if row.status != "done"]
    return "\n".join([_leaderboard(rows, [n for n in names if n in chosen], price), *ended])


def _leaderboard(rows: Sequence[Row], names: Sequence[str], price: float | None) -> str:
    from harness.tables.columns import metric_of, style
    from harness.tables.costs import console_columns
    from harness.tables.text import fixed

    costs = console_columns(rows, price)
    header = ["row", "seeds", *(name for name, _ in costs)]
    for name in names:
        qualifiers = name.removeprefix(metric_of(name)).strip("[]")
        header.append("\n".join([metric_of(name), *(qualifiers.split("|") if qualifiers else [])]))
    table = [
        [_row_name(row), str(len(row.done)), *(cells[number] for _, cells in costs)]
        + [fixed(row.values[name].mean, style(name).digits) if name in row.values else "" for name in names]
        for number, row in enumerate(rows)
    ]
    return columns(header, table)


def duration(seconds: float) -> str:
    """A time as people say it: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Console:
    """Shows a run as it happens; use as a context manager, pass ``observe`` to an executor.

    ``weights`` are the cells' expected seconds by key, from which the time left is estimated; ``workers`` run at once.
    """

    def __init__(self, weights: Mapping[str, float], *, workers: int = 1, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.weights, self.workers = dict(weights), workers
        self.started = time.monotonic()
        self.finished: set[str] = set()
        self.fractions: dict[str, float] = {}
        self.spent: dict[str, float] = {}
        self._said: dict[tuple[str, str], float] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Console:
        if self.stream.isatty():
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=RichConsole(file=self.stream),
            )
            self._tasks["run"] = self._bars.add_task(f"{len(self.weights)} cells", total=1.0, note="")
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def line(self, text: str = "") -> None:
        """Print text above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)

    def observe(self, progress: Progress) -> None:
        """Take in one sign of life of a running cell."""
        fraction = progress.step / progress.total if progress.total else 0.0
        if progress.stage == "fit":
            self.fractions[progress.key], self.spent[progress.key] = fraction, progress.seconds
        if progress.stage == "note":
            self.line(f"{progress.label}: {progress.message}")
        elif self._bars is not None:
            self._draw(progress, fraction)
        else:
            self._say(progress)

    def outcome(self, outcome: Outcome) -> None:
        """Take in the end of a cell."""
        self.finished.add(outcome.key)
        if self._bars is not None and outcome.key in self._tasks:
            self._bars.remove_task(self._tasks.pop(outcome.key))
        how = "done before" if outcome.cached else f"{outcome.status} in {duration(outcome.seconds)}"
        reason = f": {outcome.reason.removeprefix(f'{outcome.label}: ')}" if outcome.reason else ""
        count = f"[{len(self.finished)}/{len(self.weights)}]"
        self.line(f"{count} {outcome.label}: {how}{reason}{self._left()}")
        self._draw_total()

    def seconds_left(self) -> float:
        """Expected seconds until all cells are done, corrected by how the estimates of training have held so far."""
        expected = sum(self.weights.get(key, 0.0) * part for key, part in self.fractions.items())
        pace = sum(self.spent.values()) / expected if expected > 0 else 1.0
        parts = {**self.fractions, **dict.fromkeys(self.finished, 1.0)}
        left = [weight * (1.0 - parts.get(key, 0.0)) for key, weight in self.weights.items()]
        return max(sum(left) / self.workers, max(left, default=0.0)) * pace

    def _left(self) -> str:
        return f", about {duration(self.seconds_left())} left" if len(self.finished) < len(self.weights) else ""

    def _say(self, progress: Progress) -> None:
        now, place = time.monotonic(), (progress.key, progress.stage)
        last = self._said.get(place)
        ended = progress.total > 0 and progress.step >= progress.total
        if last is not None and now - last < LINE_SECONDS and not ended:
            return
        self._said[place] = now
        text = f"{progress.label}: {progress.message or progress.stage}"
        if progress.total:
            text += f" {progress.step}/{progress.total}"
        self.line("  ".join(filter(None, [text, _losses(progress.losses)])))

    def _draw(self, progress: Progress, fraction: float) -> None:
        assert self._bars is not None
        note = "  ".join(filter(None, [progress.message or progress.stage, _losses(progress.losses)]))
        if progress.key not in self._tasks:
            self._tasks[progress.key] = self._bars.add_task(progress.label, total=1.0, note=note)
        self._bars.update(self._tasks[progress.key], completed=fraction, note=note)
        self._draw_total()

    def _draw_total(self) -> None:
        if self._bars is not None:
            spent = time.monotonic() - self.started
            left = self.seconds_left()
            share = 1.0 if len(self.finished) == len(self.weights) else spent / max(spent + left, 1e-9)
            note = f"{len(self.finished)} done{self._left()}"
            self._bars.update(self._tasks["run"], completed=share, note=note)


def _row_name(row: Row) -> str:
    return f"{row.label} ({row.budget})" if row.budget else row.label


def _losses(losses: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in list(losses.items())[:6])


def _numeric(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text))
