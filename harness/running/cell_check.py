"""One archived cell against its stored predictions: scored once more, every metric compared bit for bit."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness import leases
from harness.running.cell import damages
from harness.running.settings import RunSettings
from harness.running.sources import Sources
from harness.store import Store, StoredResult
from harness.tables.leaderboard import is_stale
from harness.types import HarnessError, MissingAsset, StoreError

State = Literal["agrees", "differs", "not re-scored"]
NOT_SCORED: State = "not re-scored"
NO_PREDICTIONS = "no predictions in the store"


@dataclass(frozen=True)
class Deviation:
    """One metric that is not the same bit for bit; None stands for an absent one."""

    metric: str
    committed: float | None
    found: float | None

    @property
    def relative(self) -> float:
        """Difference by the larger magnitude; infinite where one of the two is absent or no finite number."""
        if self.committed is None or self.found is None:
            return math.inf
        if not (math.isfinite(self.committed) and math.isfinite(self.found)):
            return math.inf
        return abs(self.committed - self.found) / max(abs(self.committed), abs(self.found), math.ulp(0.0))

    def __str__(self) -> str:
        before, now = ("absent" if value is None else repr(value) for value in (self.committed, self.found))
        how = "" if math.isinf(self.relative) else f" (relative {self.relative:.2g})"
        return f"{self.metric} {before} committed, {now} re-scored{how}"


@dataclass(frozen=True)
class Check:
    """How one cell of an archive fared; ``reason`` says why it differs or was not re-scored."""

    result: StoredResult
    state: State
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


def check_cell(result: StoredResult, store: Store, settings: RunSettings, *, sources: Sources | None = None) -> Check:
    """Score the stored predictions of one archived cell and compare every metric with the archive, bit for bit.

    Every file of the cell must fit its stamp first. The cell is scored with as many threads as it was then. The store
    stays as it is.
    """
    if absent := _absent(result.key, store):
        return Check(result, NOT_SCORED, absent)
    try:
        stored = store.read(result.key)
        if damaged := damages(stored.cell, store):
            raise StoreError("; ".join(damaged))
        from harness.running.rescoring import rescore

        as_then = replace(settings, threads=int(stored.env.get("threads", settings.threads)))
        scores = rescore(stored.cell, store, as_then, sources=sources)
    except MissingAsset as error:
        return Check(result, NOT_SCORED, str(error))
    except Exception as error:
        if busy := _absent(result.key, store):  # a run began to work on it meanwhile
            return Check(result, NOT_SCORED, busy)
        reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return Check(result, "differs", f"cannot be scored: {reason}")
    found = deviations(result.metrics, scores.metrics)
    if not found:
        return Check(result, "agrees")
    text = f"{len(found)} of {len({*result.metrics, *scores.metrics})} metrics differ, most of all {_largest(found)}"
    return Check(result, "differs", "; ".join([text, *_hints(result, store, scores.notes)]))


def _largest(found: Sequence[Deviation]) -> Deviation:
    """The largest of the differences between numbers, where there are any."""
    return max(found, key=lambda one: (math.isfinite(one.relative), one.relative))


def deviations(committed: Mapping[str, float], found: Mapping[str, float]) -> list[Deviation]:
    """The metrics that are not the same bit for bit, by name; NaN equals NaN, but not an absent metric."""
    pairs = [Deviation(name, committed.get(name), found.get(name)) for name in sorted({*committed, *found})]
    return [one for one in pairs if _bits(one.committed) != _bits(one.found)]


def _bits(value: float | None) -> bytes:
    return b"" if value is None else struct.pack("<d", math.nan if math.isnan(value) else value)


def _absent(key: str, store: Store) -> str:
    """Why a cell cannot be scored here, which is no error; empty where it can. A broken stamp is not among these."""
    status, folder = store.status(key), store.folder(key)
    if status == "absent":
        return "not in the store"
    if leases.is_held(folder / "lease"):
        return "another process is working on it"
    if status != "done":
        return f"{status} in the store"
    return "" if (folder / "predictions").is_dir() else NO_PREDICTIONS


def _hints(result: StoredResult, store: Store, notes: Mapping[str, str]) -> list[str]:
    """What besides the metrics is not as it was when the tables were written."""
    hints = ["the code has changed since"] if is_stale(result) else []
    seal, trained = store.seal(result.key, "fit"), result.facts.get("checkpoint")
    if seal is not None and trained and trained not in seal.files.values():
        hints.append("the store holds another training of this cell")
    if notes.get("judges") != result.notes.get("judges"):
        hints.append(f"judges {result.notes.get('judges')} then, {notes.get('judges')} here")
    return hints
