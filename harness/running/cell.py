"""One cell from what is asked to a stored result: fit, predict, score, each stage sealed and redone only if need be.

Importing this loads no torch, so that a finished cell costs nothing.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.leases import Busy, Lease
from harness.running.settings import Observer, Progress, RunSettings, silent
from harness.running.sources import Registered, Sources
from harness.store import STAGES, Store
from harness.store_files import read_cell
from harness.types import Cell, HarnessError, MissingAsset, Outcome, StoreError, Unsupported

if TYPE_CHECKING:
    from harness.running.stages import Stages


def run_cell(
    cell: Cell,
    store: Store,
    settings: RunSettings,
    observer: Observer | None = None,
    *,
    sources: Sources | None = None,
) -> Outcome:
    """Bring a cell to its end and return how it ended; everything else goes through the store.

    A finished cell whose files are sound is returned as it is (``cached``), older code or not, unless
    ``settings.rerun`` asks for more; a damaged stage is redone, and with it all that other code has made. A missing
    asset or capability is a recorded skip, any other error a recorded failure with its traceback in ``traceback.txt``;
    both keep what was finished. Raises ``leases.Busy`` while another process works on the cell; Ctrl-C passes through
    with a checkpoint saved.
    """
    observe = observer or silent
    started = time.perf_counter()

    def outcome(ending: Mapping[str, Any], cached: bool = False) -> Outcome:
        seconds = time.perf_counter() - started
        return Outcome(cell.key, label(cell), ending["status"], ending.get("reason", ""), seconds, cached)

    if finished(cell, store, settings):
        return outcome(store.ending(cell.key), cached=True)
    with store.lease(cell.key) as lease:
        # Another process may have finished the cell between the first look and the lease.
        if finished(cell, store, settings):
            return outcome(store.ending(cell.key), cached=True)
        return outcome(_work(cell, store, settings, lease, observe, sources or Registered()))


def label(cell: Cell) -> str:
    """How messages name a cell: its variant and seed."""
    return cell.variant if cell.role != "method" else f"{cell.variant} seed {cell.seed}"


def finished(cell: Cell, store: Store, settings: RunSettings) -> bool:
    """Whether nothing is left to do for a cell under ``settings.rerun``; reads every file of the cell once."""
    status = store.status(cell.key)
    if status in ("failed", "skipped"):
        return settings.rerun == "never"
    if status != "done" or settings.rerun == "score":
        return False
    seal = store.seal(cell.key, "score")
    if settings.rerun == "stale" and seal is not None and seal.code != cell.code:
        return False
    return not damages(cell, store)


def damages(cell: Cell, store: Store) -> list[str]:
    """What is wrong with a done cell's files. Predictions over the size cap are not kept, so may have no stamp."""
    needed = [stage for stage in STAGES if stage != "fit" or cell.role == "method"]
    if store.seal(cell.key, "predict") is None:
        needed.remove("predict")
    found = [store.damage(cell.key, stage) for stage in needed]
    try:
        read_cell(store.folder(cell.key) / "cell.json", cell.key)
    except StoreError as error:
        found.append(f"cell.json {error.what}")
    return [text for text in found if text]


def _work(
    cell: Cell, store: Store, settings: RunSettings, lease: Lease, observe: Observer, sources: Sources
) -> Mapping[str, Any]:
    stages: Stages | None = None
    try:
        if store.status(cell.key) == "done":
            for problem in damages(cell, store):
                observe(Progress(cell.key, label(cell), "note", message=f"{problem}; it is redone"))
        store.reopen(cell.key)
        store.record(cell)
        from harness.running.stages import Stages

        stages = Stages(cell, store, settings, lease, observe, sources)
        stages.run()
        ending: dict[str, Any] = {"status": "done", "reason": ""}
        store.discard(cell.key, "failure", "traceback.txt")
    except Busy:
        raise
    except (MissingAsset, Unsupported) as error:
        ending = {"status": "skipped", "reason": _without_places(str(error), cell, store, settings)}
    except Exception as error:
        code = error.exit_code if isinstance(error, HarnessError) else 1
        reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        reason = _without_places(reason, cell, store, settings)
        ending = {"status": "failed", "reason": reason, "exit_code": code, "stage": stages.stage if stages else "data"}
        _keep_traceback(cell, store)
    try:
        store.finish(cell.key, **ending)
    except StoreError as error:
        # Nothing can be recorded on a full disk; the outcome still tells, and the next run tries again.
        ending = {"status": "failed", "reason": ending["reason"] or str(error)}
    return ending


def _without_places(reason: str, cell: Cell, store: Store, settings: RunSettings) -> str:
    """The reason without this machine's paths: tables show it, and equal runs in two places give equal bytes."""
    for name, place in (("store", store.root), ("cache", settings.cache), ("method", Path(cell.source))):
        if place.is_absolute():
            reason = reason.replace(str(place), f"<{name}>")
    return reason


def _keep_traceback(cell: Cell, store: Store) -> None:
    try:
        store.write(cell.key, "traceback.txt", traceback.format_exc().encode())
    except StoreError:
        return


def record_death(cell: Cell, store: Store, reason: str) -> Outcome:
    """Record that the process working on a cell died; what it finished stays, and the next run goes on from there."""
    try:
        with store.lease(cell.key):
            store.record(cell)
            store.finish(cell.key, "failed", reason, stage="process", exit_code=1)
    except StoreError as error:
        reason = f"{reason} ({error})"
    return Outcome(cell.key, label(cell), "failed", reason)
