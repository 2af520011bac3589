"""What executors of other machines share: the order of dependent cells, and waiting for a cell in other hands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.leases import Busy
from harness.running.settings import Observer, RunSettings
from harness.store import Store
from harness.types import Cell, Outcome

POLL_SECONDS = 5.0
Work = Callable[[Cell, Store, RunSettings, Observer | None], Outcome]
"""What an executor does with a cell: ``run_cell``, or a stand-in in tests."""


def levels(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Groups of cells such that every cell comes in a later group than the given cells it builds on."""
    depth: dict[str, int] = {}
    groups: dict[int, list[Cell]] = {}
    for cell in cells:
        # Plans order upstream cells first, so that their depth is known.
        depth[cell.key] = 1 + max((depth.get(key, -1) for key in cell.upstream.values()), default=-1)
        groups.setdefault(depth[cell.key], []).append(cell)
    for number in sorted(groups):
        yield groups[number]


def remotely(work: Work, cell: Cell, root: Path, settings: RunSettings) -> Outcome:
    """Do a cell's work in a job's own process, after waiting for any other process that works on it."""
    while True:
        try:
            return work(cell, Store(root), settings, None)
        except Busy:
            time.sleep(POLL_SECONDS)
