"""Committed tables made once more from the archive beside them, and compared byte for byte."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.store import Store, StoredResult
from harness.tables import archive, leaderboard, ledger
from harness.tables.costs import price_in
from harness.types import ConfigError, StoreError

LEDGER = ("claims.csv", "claims.md")
SHOWN = 60
"""Characters shown on either side of the first difference of a line."""


@dataclass(frozen=True)
class Tables:
    """What came of comparing the files of one suite and tier: ``compared`` names all of them, ``differences`` maps a
    file that differs to how; ``aged`` says that they agree only with the code of the day on which they were written."""

    compared: tuple[str, ...]
    differences: dict[str, str]
    aged: bool = False


def compare(results: Path, tier: str, suite: str, scratch: Path) -> Tables:
    """Write the tables of ``results``/<tier>/<suite>/ anew from its cells.jsonl below ``scratch`` and compare them.

    Whether a cell is stale depends on the code of today: where the files differ, they are also compared with those of
    a day on which nothing was stale. Figures need only be there, as their bytes depend on the drawing library. Raises
    StoreError where the archive is damaged.
    """
    kept = list(archive.read(results / tier / suite / archive.NAME))
    today = _compared(results, tier, suite, scratch / "today", leaderboard.is_stale)
    if not today.differences or not any(map(leaderboard.is_stale, kept)):
        return today
    then = _compared(results, tier, suite, scratch / "then", lambda result: False)
    return today if then.differences else Tables(then.compared, {}, aged=True)


def _compared(results: Path, tier: str, suite: str, scratch: Path, stale: Callable[[StoredResult], bool]) -> Tables:
    committed, made = results / tier / suite, scratch / tier / suite
    pictures = made / "pictures"
    pictures.mkdir(parents=True)
    for path in sorted((committed / "pictures").glob("*.png")):
        (pictures / path.name).touch()  # the page lists what lies there
    nothing, price = Store(scratch / "no store"), price_in(committed / "costs.csv")
    written = leaderboard.write(nothing, suite, scratch, tier, results, price=price, stale=stale)
    if not written:
        return Tables((), {archive.NAME: "holds no finished cell of this tier"})
    found: dict[str, str] = {}
    if any((committed / name).exists() for name in LEDGER):
        try:
            ledger.write(nothing, registry.suite(suite), scratch, tier, results, stale=stale)
        except ConfigError as error:
            found = dict.fromkeys(LEDGER, f"cannot be made: {error}")
        written += [made / name for name in LEDGER]
    names = [path.relative_to(made).as_posix() for path in written]
    found = {name: found.get(name) or difference(committed / name, made / name) for name in names}
    return Tables(
        tuple(name for name in names if not name.endswith(".png")), {name: text for name, text in found.items() if text}
    )


def difference(committed: Path, made: Path) -> str:
    """How a committed file differs from one made now, empty for not at all; a picture only has to exist."""
    if not committed.is_file():
        return "is missing"
    if committed.suffix == ".png":
        return ""
    try:
        before, now = committed.read_bytes(), made.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if before == now else first_difference(before, now, table=committed.suffix == ".csv")


def first_difference(committed: bytes, made: bytes, *, table: bool = False) -> str:
    """Where two unequal texts first differ, by line; of a ``table`` also by column."""
    before, now = (content.decode("utf-8", "replace").split("\n") for content in (committed, made))
    for number, (one, other) in enumerate(zip(before, now, strict=False), 1):
        if one != other:
            column = _column(before[0], one, other) if table and number > 1 else ""
            place = f"line {number}{column and f', column {column}'}"
            return f"{place}: {_around(one, other)} committed, {_around(other, one)} made from the archive"
    if len(before) != len(now):
        return f"has {len(before) - 1} lines, made from the archive {len(now) - 1}"
    return "differs in bytes that are no text"


def _column(header: str, one: str, other: str) -> str:
    """The name of the first column in which two lines of one CSV file differ."""
    names, first, second = (next(csv.reader(io.StringIO(line)), []) for line in (header, one, other))
    for name, a, b in zip(names, first, second, strict=False):
        if a != b:
            return name
    return ""


def _around(text: str, other: str) -> str:
    """The part of ``text`` around the place where it leaves ``other``."""
    place = next((k for k, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start, end = max(0, place - SHOWN), place + SHOWN
    return repr(f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}")


def archived(results: Path) -> list[tuple[str, str]]:
    """Tier and suite of every folder of tables below ``results``. Raises StoreError for one without its archive."""
    found = sorted({path.parent for name in ("leaderboard.csv", archive.NAME) for path in results.glob(f"*/*/{name}")})
    for folder in found:
        if not (folder / archive.NAME).is_file():
            remedy = "Restore it, or write the tables again with the leaderboard command."
            raise StoreError(f"{archive.NAME} is missing beside the tables", where=str(folder), remedy=remedy)
    return [(folder.parent.name, folder.name) for folder in found]
