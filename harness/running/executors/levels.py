"""What executors of other machines share: the order of dependent cells, and waiting for a cell in other hands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from harness.leases import Busy
from harness.running.settings import RunSettings
from harness.store import Store
from harness.types import Cell, Outcome

POLL_SECONDS = 5.0


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


def patiently(
    work: Callable[[Cell, Store, RunSettings], Outcome], cell: Cell, store: Store, settings: RunSettings
) -> Outcome:
    """The outcome of a cell, after waiting for another process that works on it."""
    while True:
        try:
            return work(cell, store, settings)
        except Busy:
            time.sleep(POLL_SECONDS)
