"""Work on a cell that needs no torch, so that spawned workers start at once."""

from __future__ import annotations

import os
import signal
import time

from harness.running.settings import Observer, Progress, RunSettings
from harness.store import Store
from harness.types import Budget, Cell, DataSpec, Outcome


def light_cell(seed: int, upstream: str = "") -> Cell:
    data = DataSpec("objects/none", 8, {})
    needs = {"generator": upstream} if upstream else {}
    return Cell("light", "none", "none", "smoke", seed, Budget("quick", 1), data, upstream=needs)


def work(cell: Cell, store: Store, settings: RunSettings, observer: Observer | None) -> Outcome:
    """Record the cell as done. Seed 13 is killed by the system, as when memory runs out; seed 14 takes a minute, and
    saves something when it is interrupted."""
    with store.lease(cell.key):
        store.record(cell)
        if cell.seed == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            if observer:
                observer(Progress(cell.key, str(cell.seed), "fit", 1, 1))
            time.sleep(60 if cell.seed == 14 else 0)
        except KeyboardInterrupt:
            store.write(cell.key, "saved", b"")
            raise
        ready = all(store.status(key) == "done" for key in cell.upstream.values())
        store.finish(cell.key, "done" if ready else "failed")
    return Outcome(cell.key, str(cell.seed), "done" if ready else "failed")
