"""Ranks as intervals, among trained rows of equal budget on equal data."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.tables.columns import is_ranked, style
from harness.tables.rows import Row, columns_of
from harness.tables.sections import contest, variants
from harness.tables.stats import rank_intervals
from harness.tables.text import fixed


@dataclass(frozen=True)
class Rank:
    """Possible ranks from ``low`` to ``high``, None where a row of one seed leaves them unknown.

    ``best`` marks every mean of its group that is shown as the best one is, and none where all are shown alike.
    """

    low: int | None
    high: int | None
    best: bool


def ranks(rows: Sequence[Row], columns: Sequence[str] = ()) -> dict[tuple[int, str], Rank]:
    """Rank of every trained row in every metric that has a direction, by (id of the row, column).

    ``columns`` are those compared, by default all on the whole test data. Rows are compared only within one table
    (suite, data, tier), one setting of the task and one budget. Floors and oracles hold no rank, nor do variants that
    stand apart. A group of one row has none either.
    """
    apart = {id(row) for row in variants(rows)}
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.role == "method" and id(row) not in apart:
            groups[contest(row)].append(row)
    found: dict[tuple[int, str], Rank] = {}
    for group in groups.values():
        for column in columns or columns_of(group):
            found |= _column(group, column)
    return found


def _column(group: Sequence[Row], column: str) -> dict[tuple[int, str], Rank]:
    better = style(column).better
    rivals = [row for row in group if column in row.values and math.isfinite(row.values[column].mean)]
    if not is_ranked(column) or len(rivals) < 2:
        return {}
    values = [row.values[column] for row in rivals]
    means = [value.mean for value in values]
    shown = [fixed(mean, style(column).digits) for mean in means]
    top = fixed(min(means) if better == "lower" else max(means), style(column).digits)
    alike = len(set(shown)) == 1
    if all(math.isfinite(value.low) for value in values):
        spans = rank_intervals([(value.low, value.high) for value in values], better=better)
    else:
        spans = [(None, None)] * len(values)  # type: ignore[list-item]
    return {
        (id(row), column): Rank(low, high, text == top and not alike)
        for row, (low, high), text in zip(rivals, spans, shown, strict=True)
    }
