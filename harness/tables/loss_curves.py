"""Training losses of finished cells, thinned out: ``curves.jsonl`` beside ``cells.jsonl`` keeps them without the store.

A line per cell: its key, the steps, and by name of the loss its mean since the step before. Seconds are left out, so
that equal runs give equal lines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.store import TRAIN_LOG, StoredResult
from harness.store_files import from_number, to_number
from harness.types import StoreError, canonical_json

NAME = "curves.jsonl"
POINTS = 24
"""A longer log becomes the means of so many stretches of equal length."""


@dataclass(frozen=True)
class Losses:
    """The losses of one cell: ``steps`` where stretches end, and by name their means, NaN where nothing was logged."""

    steps: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]


def losses_of(results: Iterable[StoredResult]) -> dict[str, Losses]:
    """The losses of done cells by key, from their logs or, where they come from an archive, from the file beside it.

    Raises StoreError for a damaged file beside an archive; a damaged line of a log is left out.
    """
    kept: dict[Path, dict[str, Losses]] = {}
    found = {}
    for result in results:
        if result.status != "done":
            continue
        made = _logged(result.folder / TRAIN_LOG)
        if made is None:
            if result.folder not in kept:
                kept[result.folder] = read(result.folder / NAME)
            made = kept[result.folder].get(result.key)
        if made is not None:
            found[result.key] = made
    return found


def lines(found: Mapping[str, Losses]) -> bytes:
    """The file of all these cells, ordered by key: equal losses give equal bytes."""
    entries = [{"key": key, "steps": one.steps, "losses": _plain(one)} for key, one in sorted(found.items())]
    return "".join(f"{canonical_json(entry)}\n" for entry in entries).encode()


def read(path: Path) -> dict[str, Losses]:
    """Losses by key from a file that ``lines`` made; empty without one. Raises StoreError naming a damaged line."""
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path)) from error
    found = {}
    for number, text in enumerate(texts, 1):
        try:
            entry = json.loads(text)
            values = {str(name): tuple(map(from_number, curve)) for name, curve in entry["losses"].items()}
            found[str(entry["key"])] = Losses(tuple(map(int, entry["steps"])), values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "Restore the file, or make it again from the store with the leaderboard command."
            where = f"{path}:{number}"
            raise StoreError(f"does not describe losses: {error}", where=where, remedy=remedy) from error
    return found


def _logged(path: Path) -> Losses | None:
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    records: dict[int, Mapping[str, Any]] = {}
    for text in texts:
        try:
            entry = json.loads(text)
            records[int(entry["step"])] = dict(entry["losses"])
        except (ValueError, KeyError, TypeError):
            continue  # the last line of a killed run may be cut
    return _thinned(sorted(records.items())) if records else None


def _thinned(records: Sequence[tuple[int, Mapping[str, Any]]]) -> Losses:
    count = min(POINTS, len(records))
    edges = [round(place * len(records) / count) for place in range(count + 1)]
    stretches = [records[start:end] for start, end in pairwise(edges)]
    names = sorted({str(name) for _, losses in records for name in losses})
    values = {name: tuple(_mean([losses.get(name) for _, losses in part]) for part in stretches) for name in names}
    return Losses(tuple(part[-1][0] for part in stretches), values)


def _mean(values: Sequence[Any]) -> float:
    """The mean of the finite numbers, at the four digits that a figure shows; infinite where a number is not finite."""
    known = [from_number(v) for v in values if isinstance(v, (int, float)) or v in ("inf", "-inf")]
    if any(not math.isfinite(value) for value in known):
        return math.inf
    return float(f"{math.fsum(known) / len(known):.4g}") if known else math.nan


def _plain(one: Losses) -> dict[str, list[float | str | None]]:
    return {name: [to_number(value) for value in curve] for name, curve in one.values.items()}
