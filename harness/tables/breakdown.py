"""Metrics on parts of the test data: by category, by kind of defect, by size of defect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.tables.columns import MEANS, PARTS, Part, order, part_of
from harness.tables.metric_tables import HEADER, entry, head_cells, heading, is_defined, reasons
from harness.tables.ranks import ranks
from harness.tables.rows import Row
from harness.tables.sections import main_rows
from harness.tables.text import cell, csv_bytes, markdown_table, number

PAGE = "breakdowns.md"
SIZES = ("small", "medium", "large")
LONG = ("suite", "data", "tier", "budget", "budget_images", "method", "role", "metric")
SCORE = ("better", "n_seeds", "mean", "std", "ci_lo", "ci_hi", "note")


def files(rows: Sequence[Row]) -> dict[str, bytes]:
    """``by_<field>.csv`` for every field that some column names, and the page of all; empty without such columns."""
    found = {f"by_{field}.csv": _long_form(rows, field) for field in PARTS if _columns(rows, field)}
    return {**found, PAGE: _page(rows).encode()} if found else {}


def _columns(rows: Sequence[Row], field: str) -> dict[str, Part]:
    """Columns of a field in reading order, with what they cover."""
    found = {column: part_of(column) for row in rows for column in row.values}
    parts = {column: part for column, part in found.items() if part is not None and part.field == field}
    return dict(sorted(parts.items(), key=lambda item: (order(item[1].whole), _position(item[1].member))))


def _position(member: str) -> tuple[int, str]:
    return (SIZES.index(member) if member in SIZES else 0), member


def _long_form(rows: Sequence[Row], field: str) -> bytes:
    """One line per row, metric and member."""
    lines = []
    for row in rows:
        for column, part in _columns([row], field).items():
            value = row.values[column]
            head = [row.suite, row.data, row.tier, row.budget, str(row.images or ""), row.label, row.role]
            score = [number(x) for x in (value.mean, value.std, value.low, value.high)]
            lines.append([*head, part.whole, part.member, value.better, str(len(value.values)), *score, value.note])
    return csv_bytes([*LONG, field, *SCORE], lines)


def _page(rows: Sequence[Row]) -> str:
    first = rows[0]
    fields = [field for field in PARTS if _columns(rows, field)]
    files = ", ".join(f"by_{field}.csv" for field in fields)
    parts = [
        f"# {cell(first.suite)}, tier {cell(first.tier)}, in parts\n",
        "Mean over seeds ± sample standard deviation; **bold** is the best mean of a column among trained rows of one "
        f"budget and task; the first column of numbers is the whole test data. Intervals, and all variants, are in "
        f"{files}. The main tables are in [leaderboard.md](leaderboard.md).\n",
        "".join(f"- {field}: {PARTS[field]}\n" for field in fields),
    ]
    for table in dict.fromkeys(row.table for row in rows):
        members = main_rows([row for row in rows if row.table == table])
        parts.append(f"## {cell(members[0].data)}\n")
        parts += [text for field in fields for text in _pivots(members, field)]
    return "\n".join(parts)


def _pivots(rows: Sequence[Row], field: str) -> Iterator[str]:
    """A table per metric: a line per row, a column per member."""
    columns = _columns(rows, field)
    for whole in dict.fromkeys(part.whole for part in columns.values()):
        members = [column for column, part in columns.items() if part.whole == whole]
        shown = [row for row in rows if any(is_defined(row.values.get(column)) for column in members)]
        if not shown:
            continue
        mean = MEANS.get(whole, whole)
        places = ranks(shown, [mean, *members])
        gaps: dict[str, str] = {}
        lines = []
        for row in shown:
            cells = []
            for column in (mean, *members):
                place = places.get((id(row), column))
                best = replace(place, low=None, high=None) if place else None  # a mark, not a rank, per part
                cells.append(entry(row.values.get(column), best, gaps))
            lines.append([*head_cells(row), *cells])
        header = [*HEADER, "all", *(cell(columns[column].member) for column in members)]
        table = markdown_table(header, lines)
        yield "\n".join(part for part in (f"### {heading(whole)} by {field}\n", table, reasons(gaps)) if part)
