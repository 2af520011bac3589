"""Markdown tables of metrics: a line per row, a column per metric, reasons for gaps and readings below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.tables.columns import GROUPS, style
from harness.tables.ranks import Rank
from harness.tables.rows import Row, Value, columns_of
from harness.tables.text import cell, code, count, fixed, markdown_table

ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}
Places = Mapping[tuple[int, str], Rank]
HEADER = ("", "images", "seeds")


def group_tables(rows: Sequence[Row], places: Places, level: str = "###", *, readings: bool = True) -> list[str]:
    """A section per group of columns under a heading of ``level``; rows without any of its columns stand below."""
    parts = []
    for group in GROUPS:
        columns = [column for column in columns_of(rows) if style(column).group == group and style(column).page]
        columns = [column for column in columns if any(is_defined(row.values.get(column)) for row in rows)]
        if not columns:
            continue
        header = [*HEADER, *(heading(column) for column in columns)]
        scored = [row for row in rows if any(is_defined(row.values.get(column)) for column in columns)]
        gaps: dict[str, str] = {}
        lines = [
            [
                *head_cells(row),
                *(entry(row.values.get(column), places.get((id(row), column)), gaps) for column in columns),
            ]
            for row in scored
        ]
        below = reasons(gaps) + (_readings(columns) if readings else "")
        below += "".join(_without(row, columns) for row in rows if row.done and row not in scored)
        parts.append("\n".join([f"{level} {group}\n", markdown_table(header, lines), *([below] if below else [])]))
    return parts


def name(row: Row) -> str:
    """A row's label with its budget, unescaped."""
    return f"{row.label} ({row.budget})" if row.budget else row.label


def head_cells(row: Row) -> list[str]:
    """The cells below ``HEADER``."""
    return [cell(name(row)), count(row.images) if row.images else "", str(len(row.done))]


def heading(column: str) -> str:
    """A column's name and direction."""
    return code(column) + ARROWS[style(column).better]


def is_defined(value: Value | None) -> bool:
    """Whether there is a mean to show."""
    return value is not None and math.isfinite(value.mean)


def entry(value: Value | None, rank: Rank | None, gaps: dict[str, str]) -> str:
    """One cell: mean, deviation, bold for the best, open ranks; ``gaps`` collects a mark for every reason of a gap."""
    if value is None:
        return ""
    mark = gaps.setdefault(value.note, chr(ord("a") + len(gaps))) if value.note else ""
    mark = f" <sup>{mark}</sup>" if mark else ""
    if not math.isfinite(value.mean):
        return f"n/a{mark}"
    digits = style(value.column).digits
    text = fixed(value.mean, digits)
    if math.isfinite(value.std):
        text += f" ± {fixed(value.std, digits)}"
    if rank is not None and rank.best:
        text = f"**{text}**"
    if rank is not None and rank.low is not None:
        text += f" ({rank.low}{'' if rank.low == rank.high else f'–{rank.high}'})"
    return text + mark


def reasons(gaps: Mapping[str, str]) -> str:
    """The list of what the marks in a table stand for."""
    return "".join(f"- <sup>{mark}</sup> {cell(reason)}\n" for reason, mark in gaps.items())


def _readings(columns: Sequence[str]) -> str:
    named: dict[str, list[str]] = {}
    for column in columns:
        named.setdefault(style(column).reading, []).append(f"`{column}`")
    return "".join(f"- {', '.join(names)}: {reading}\n" for reading, names in named.items() if reading)


def _without(row: Row, columns: Sequence[str]) -> str:
    found = sorted({row.values[column].note for column in columns if column in row.values} - {""})
    return f"- {cell(name(row))} is not in this table: {cell('; '.join(found) or 'it has no such columns')}\n"
