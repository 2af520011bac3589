"""Finished cells as one text file beside the tables, so that the tables can be made again without the store.

``cells.jsonl`` has a line per ended cell: what was asked, how it ended, its metrics, notes and facts, the digest of its
code, what it cost, and its small arrays (curves). Checkpoints, predictions and pictures stay in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.store import StoredResult
from harness.store_files import cell_of, from_number, to_number
from harness.types import Cell, StoreError, canonical_json

NAME = "cells.jsonl"
_LOCAL = ("source",)
"""Parts of a cell that name places of the machine it ran on."""

SMALL = 64
"""Arrays of at most this many numbers are kept."""


def lines(results: Iterable[StoredResult]) -> bytes:
    """The archive of ended cells, ordered by key: equal results give equal bytes."""
    ended = [r for r in results if r.status in ("done", "failed", "skipped")]
    texts = [canonical_json(_entry(result)) for result in sorted(ended, key=lambda r: r.key)]
    return "".join(f"{text}\n" for text in texts).encode()


def read(path: Path) -> Iterator[StoredResult]:
    """The results of an archive; raises StoreError naming the line that is damaged or of another version."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path)) from error
    for number, text in enumerate(texts, 1):
        yield _result(text, f"{path}:{number}", path.parent)


def merged(store: Iterable[StoredResult], folder: Path, suite: str) -> list[StoredResult]:
    """What the store knows and, for cells it never ended, what ``folder``/<tier>/<suite>/cells.jsonl keeps."""
    results = {result.key: result for result in store}
    for path in sorted(folder.glob(f"*/{suite}/{NAME}")):
        for kept in read(path):
            known = results.get(kept.key)
            if known is None or known.status not in ("done", "failed", "skipped"):
                results[kept.key] = kept
    return [results[key] for key in sorted(results)]


def _entry(result: StoredResult) -> dict[str, Any]:
    cell = {name: value for name, value in asdict(result.cell).items() if name not in _LOCAL}
    return {
        "key": result.key,
        "cell": cell,
        "status": result.status,
        "reason": result.reason,
        "metrics": {name: to_number(value) for name, value in result.metrics.items()},
        "notes": dict(result.notes),
        "facts": dict(result.facts),
        "code": result.code,
        "cost": dict(result.cost),
        "arrays": _arrays(result),
    }


def _arrays(result: StoredResult) -> dict[str, list[float | str | None]]:
    try:
        arrays = result.per_sample
    except StoreError:
        return {}  # the tables do not depend on arrays, only curves do
    small = {name: array for name, array in sorted(arrays.items()) if array.ndim == 1 and array.size <= SMALL}
    return {name: [to_number(value) for value in array.tolist()] for name, array in small.items()}


def _result(text: str, where: str, folder: Path) -> StoredResult:
    try:
        entry: Mapping[str, Any] = json.loads(text)
        cell: Cell = cell_of(entry["cell"])
        result = StoredResult(
            cell=cell,
            key=entry["key"],
            folder=folder,
            status=entry["status"],
            reason=entry["reason"],
            metrics={name: from_number(value) for name, value in entry["metrics"].items()},
            notes=entry["notes"],
            facts=entry["facts"],
            code=entry["code"],
            cost=entry["cost"],
        )
        # Fills the cache of the property that would read the store's files.
        vars(result)["per_sample"] = {
            name: np.array([from_number(value) for value in values]) for name, values in entry["arrays"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Restore the file, or make it again from the store with the leaderboard command."
        raise StoreError(f"does not describe a finished cell: {error}", where=where, remedy=remedy) from error
    if cell.key != result.key:
        raise StoreError("the cell does not give its key: damaged, or written by another version", where=where)
    return result
