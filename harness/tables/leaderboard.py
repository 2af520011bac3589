"""The store's results as files: metrics.csv (long), leaderboard.csv (wide), leaderboard.md, costs.csv, costs.json,
pictures, and cells.jsonl (with the losses in curves.jsonl), from which the same tables can be made without the store.

Same results, same bytes: nothing here depends on time, order or this machine. What differs between equal runs (seconds,
memory) stands in costs.csv and costs.json alone.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import registry
from harness.atomic import write_bytes
from harness.store import Store, StoredResult
from harness.tables import (
    archive,
    breakdown,
    costs,
    curves,
    label_curves,
    learning_curves,
    loss_curves,
    markdown,
    pictures,
)
from harness.tables.columns import is_ranked, order
from harness.tables.intervals import setting_changes, variant_scores
from harness.tables.learning import learning_of
from harness.tables.ranks import Rank, ranks
from harness.tables.reported import Published, read_published
from harness.tables.rows import Row, columns_of, gather, reference
from harness.tables.text import csv_bytes, number
from harness.types import HarnessError

LONG = (
    "suite", "data", "tier", "budget", "budget_images", "method", "role", "metric", "better", "n_seeds", "seeds",
    "mean", "median", "std", "ci_lo", "ci_hi", "floor", "oracle", "reported", "reported_source", "status", "note",
    "params", "steps", "device", "precision", "protocol", "judge_digest", "data_digest", "content_digest",
    "code_digest",
)  # fmt: skip
WIDE = ("data", "budget", "budget_images", "method", "role", "n_seeds", "status", "states", "params")


def is_stale(result: StoredResult) -> bool:
    """Whether a result was computed by code that has changed since; False where that code is no longer here."""
    cell = result.cell
    try:
        # The folder a cell remembers may be another checkout's: only methods from outside are looked up there.
        known = cell.role != "method" or cell.method in registry.methods()
        method, base = cell.method if known else cell.source, str(cell.config.get("base", ""))
        return result.stale(_code(method, cell.protocol, cell.data.family, base))
    except (HarnessError, OSError):
        return False


@functools.cache
def _code(method: str, protocol: str, family: str, base: str) -> str:
    return registry.code_digest(method, protocol, family, base)


def write(
    store: Store,
    suite: str,
    out: Path,
    tier: str | None = None,
    kept: Path | None = None,
    *,
    price: float | None = None,
    stale: Callable[[StoredResult], bool] = is_stale,
) -> list[Path]:
    """Write the tables of a suite (of one tier) to ``out``/<tier>/<suite>/ and return the files written.

    Reads the store and, where ``kept`` is given, the archives that earlier tables left below that folder. A suite
    without any ended cell writes nothing. ``price`` per hour of the device adds money to costs.csv. Raises StoreError
    where a file cannot be read or written.
    """
    by_tier: dict[str, list[StoredResult]] = defaultdict(list)
    for result in _results(store, suite, tier, kept):
        by_tier[result.cell.tier].append(result)
    written: list[Path] = []
    for name in sorted(by_tier):
        rows = gather(by_tier[name], suite, stale)
        if rows:
            written += _write(rows, by_tier[name], out / name / suite, price)
    return written


def rows_of(store: Store, suite: str, tier: str | None = None, kept: Path | None = None) -> list[Row]:
    """The rows of a suite as the tables show them, for a console."""
    return gather(_results(store, suite, tier, kept), suite, is_stale)


def _results(store: Store, suite: str, tier: str | None, kept: Path | None) -> list[StoredResult]:
    known = archive.merged(store.results(), kept, suite) if kept else store.results()
    return [r for r in known if r.cell.suite == suite and tier in (None, r.cell.tier)]


def _write(rows: Sequence[Row], results: Sequence[StoredResult], folder: Path, price: float | None) -> list[Path]:
    published = read_published(row.method for row in rows)
    learned = learning_of(results, rows)
    drawings = [*label_curves.draw(learned, rows), *learning_curves.draw(learned, rows)]
    drawings += [*setting_changes(rows), *variant_scores(rows)]
    figures = {folder / "pictures" / f"{drawing.name}.png": drawing.png for drawing in drawings}
    drawn = [*curves.draw(results, rows, folder), *pictures.copy(results, rows, folder)]
    # An archive keeps no pictures; the folder does.
    shown = sorted({*drawn, *(folder / "pictures").glob("*.png")} - set(figures))
    parts = breakdown.files(rows)
    pages = [name for name in parts if name.endswith(".md")]
    extras = markdown.Extras(learned, drawings, [path.name for path in shown], pages)
    files = {
        "metrics.csv": long_form(rows, published),
        "leaderboard.csv": wide_form(rows),
        "leaderboard.md": markdown.page(rows, published, extras).encode(),
        **parts,
        "costs.csv": costs.table(rows, price),
        "costs.json": costs.by_cell(results),
        archive.NAME: archive.lines(results),
    }
    losses = loss_curves.lines(loss_curves.losses_of(results))
    if losses:
        files[loss_curves.NAME] = losses
    for path, content in {**{folder / name: content for name, content in files.items()}, **figures}.items():
        write_bytes(path, content)
    return [*(folder / name for name in files), *figures, *shown]


def long_form(rows: Sequence[Row], published: Sequence[Published] = ()) -> bytes:
    """One line per row and metric, with floor, oracle and a published value where data set and metric are the same."""
    lines = []
    for row in rows:
        table = [other for other in rows if other.table == row.table]
        for column in sorted(row.values, key=order):
            value = row.values[column]
            known = [p for p in published if (p.method.lower(), p.dataset, p.metric) == (row.method, row.data, column)]
            score = [number(x) for x in (value.mean, value.median, value.std, value.low, value.high)] + [
                number(reference(table, role, column)) for role in ("floor", "oracle")
            ]
            score += [number(known[0].value), known[0].source] if known else ["", ""]
            lines.append(
                [
                    *_head(row),
                    column,
                    value.better,
                    str(len(value.values)),
                    _seeds(row.done),
                    *score,
                    row.status,
                    value.note,
                    *_tail(row),
                ]
            )
        if not row.values:
            lines.append([*_head(row), "", "", "0", "", *[""] * 9, row.status, _reasons(row), *_tail(row)])
    return csv_bytes(LONG, lines)


def wide_form(rows: Sequence[Row]) -> bytes:
    """One line per row; per metric its mean, and ``best`` and the rank interval among rows of equal budget."""
    columns = columns_of(rows)
    ranked = [column for column in columns if is_ranked(column)]
    header = [*WIDE]
    for column in columns:
        header += [column, f"{column} rank"] if column in ranked else [column]
    places = ranks(rows)
    lines = []
    for row in rows:
        line = [row.data, row.budget, str(row.images or ""), row.label, row.role, str(len(row.done))]
        line += [row.status, row.summary("pose_state"), *_facts(row, "params")]
        for column in columns:
            line.append(number(row.values[column].mean) if column in row.values else "")
            if column in ranked:
                place = places.get((id(row), column))
                line.append("" if place is None else _rank_text(place))
        lines.append(line)
    return csv_bytes(header, lines)


def _head(row: Row) -> list[str]:
    return [row.suite, row.data, row.tier, row.budget, str(row.images or ""), row.label, row.role]


def _tail(row: Row) -> list[str]:
    codes = " ".join(code[:12] for code in row.codes)
    return [
        *_facts(row, "params", "steps", "device", "precision"),
        row.protocol,
        *_facts(row, "judges"),
        row.data_digest[:12],
        " ".join(digest[:12] for digest in row.facts.get("data", ())),
        codes,
    ]


def _rank_text(rank: Rank) -> str:
    span = "?" if rank.low is None else f"{rank.low}" if rank.low == rank.high else f"{rank.low}-{rank.high}"
    return f"best {span}" if rank.best else span


def _facts(row: Row, *names: str) -> list[str]:
    return [" ".join(row.facts.get(name, ()) or sorted(set(row.notes.get(name, {}).values()))) for name in names]


def _seeds(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))


def _reasons(row: Row) -> str:
    return "; ".join(f"seed {seed}: {reason}" for seed, reason in sorted(row.reasons.items()))
