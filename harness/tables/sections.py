"""Which rows stand together: methods as published, the same methods on an easier task, and variants of one method."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from harness.tables.rows import ROLES, Row
from harness.tables.text import file_name

FEW = 3
"""As many variants of one table stand among the methods; more stand below, in tables of their own."""


def variants(rows: Sequence[Row]) -> list[Row]:
    """The rows that stand apart: changed methods, of tables (suite, data, tier) that have more than ``FEW`` of them.

    The best of many variants is chosen by its test score, so these rows hold no rank.
    """
    by_table: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.changes:
            by_table[row.table].append(row)
    return [row for found in by_table.values() if len({row.label for row in found}) > FEW for row in found]


def main_rows(rows: Sequence[Row]) -> list[Row]:
    """All rows but the variants that stand apart: floors, methods by setting of the task, oracles."""
    apart = {id(row) for row in variants(rows)}
    kept = [row for row in rows if id(row) not in apart]
    return sorted(kept, key=lambda row: (ROLES.index(row.role), row.setting))


def families(rows: Sequence[Row]) -> list[list[Row]]:
    """For every method, setting and budget with variants: the unchanged row, where there is one, and the variants."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.changes:
            found.setdefault(_family(row), []).append(row)
    unchanged = {_family(row): row for row in rows if row.trained and not row.changes}
    return [
        [*([unchanged[key]] if key in unchanged else []), *sorted(members, key=lambda row: _natural(row.changes))]
        for key, members in found.items()
    ]


def _natural(changes: Sequence[str]) -> list[list[str | float]]:
    """Sort key by which 5 stands before 20."""
    parts = [re.split(r"(\d+\.?\d*)", change) for change in changes]
    return [[float(part) if number % 2 else part for number, part in enumerate(one)] for one in parts]


def _family(row: Row) -> tuple[object, ...]:
    return (*contest(row), row.method, row.precision)


def short_name(row: Row) -> str:
    """The row among comparable ones: what was changed, or the method's name."""
    return ", ".join(row.changes) or row.method


def contest(row: Row) -> tuple[object, ...]:
    """What must be equal for two trained rows to be compared: table, setting of the task, budget."""
    return (*row.table, row.setting, row.budget, row.images)


def stem(title: Sequence[str], row: Row, rows: Sequence[Row]) -> str:
    """A file name for a figure about rows like ``row``: title, budget, and what tells it from others of ``rows``."""
    parts = [*title, row.budget]
    if len({other.images for other in rows if other.role == "method" and other.budget == row.budget}) > 1:
        parts.append(str(row.images))
    if len({other.table for other in rows}) > 1:
        parts.append(row.data.partition(", ")[2] or row.data)  # the options in which data sets of one name differ
    return file_name(*parts)
