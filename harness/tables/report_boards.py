"""Leaderboards as the report page shows them: rows in blocks that may be compared, a column per metric, marks, gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.tables.columns import GROUPS, is_ranked, metric_of, style
from harness.tables.metric_tables import is_defined
from harness.tables.ranks import Rank, ranks
from harness.tables.rows import Row, Value, columns_of, meaning
from harness.tables.sections import contest, main_rows, variants
from harness.tables.text import count, fixed

LEADING = (
    "fid", "kid_full", "pose_corr", "side", "relief_corr", "fid_depth", "yaw_corr", "gain_depth", "depth_agree",
    "image_auroc", "pixel_auroc", "aupro[limit=0.3]", "shortcut_ratio", "error_ratio",
    "miou", "miou[classes=tail]", "pl_acc", "queue_fnr",
)  # fmt: skip
"""Metrics (their first column) or columns that are shown first. A suite without any of them shows the first ranked
column of every group."""
COST = "Cost"
ARROWS = {"lower": "↓", "higher": "↑", "none": ""}
UNRANKED = "the best of many is chosen by its test score, so they hold no rank"


@dataclass(frozen=True)
class Column:
    """One column: the metric's name with what qualifies it, its arrow, group and reading."""

    name: str
    metric: str
    qualifier: str
    arrow: str
    group: str
    leading: bool
    reading: str


@dataclass(frozen=True)
class Score:
    """One number of a table: its text, interval and rank; ``sort`` is what sorting compares, empty sorts last."""

    text: str
    interval: str = ""
    rank: str = ""
    best: bool = False
    sort: str = ""
    mark: str = ""
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row; ``name`` stands large, ``changes`` below it, ``marks`` say what to beware of."""

    label: str
    name: str
    changes: str
    role: str
    seeds: str
    marks: tuple[tuple[str, str], ...]
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Block:
    """Rows that may be compared with each other; ``reference`` rows are not trained."""

    title: str
    note: str
    lines: tuple[Line, ...]
    reference: bool


@dataclass(frozen=True)
class Board:
    """The table of one data set."""

    data: str
    columns: tuple[Column, ...]
    groups: tuple[str, ...]
    blocks: tuple[Block, ...]
    gaps: tuple[tuple[str, str], ...]


def board(rows: Sequence[Row]) -> Board:
    """The leaderboard of the rows of one table (suite, data, tier)."""
    names = [column for column in columns_of(rows) if style(column).page]
    names = [column for column in names if any(is_defined(row.values.get(column)) for row in rows)]
    chosen = leading(names)
    names = [*chosen, *(name for name in names if name not in chosen)]
    columns = [_column(name, name in chosen) for name in names]
    units = sorted({cost.unit for row in rows for cost in row.costs})
    extra = [Column(unit, unit, "", "↓", COST, True, "mean cost of one result: training, prediction, scoring")
             for unit in units]  # fmt: skip
    extra.append(Column("parameters", "parameters", "", "", COST, False, "parameters of all networks"))
    places, gaps = ranks(rows), dict[str, str]()
    groups = [group for group in GROUPS if any(column.group == group for column in columns)]
    blocks = []
    for title, note, members in arranged(rows, chosen):
        lines = [
            Line(
                label=row.label,
                name=row.method,
                changes=", ".join((*row.changes, *row.setting)),
                role=row.role,
                seeds=str(len(row.done)),
                marks=marks(row),
                scores=(
                    *(_score(row.values.get(name), places.get((id(row), name)), gaps) for name in names),
                    *(_cost(row, unit) for unit in units),
                    _parameters(row),
                ),
            )
            for row in members
        ]
        blocks.append(Block(title, note, tuple(lines), not members[0].trained))
    listed = tuple((mark, reason) for reason, mark in gaps.items())
    return Board(rows[0].data, (*columns, *extra), (*groups, COST), tuple(blocks), listed)


def leading(columns: Sequence[str]) -> list[str]:
    """The columns that are shown first."""
    found = []
    for wanted in LEADING:
        alike = [column for column in columns if wanted in (column, metric_of(column))]
        found += [column for column in alike[:1] if column not in found]
    if not any(is_ranked(column) for column in found):
        for group in GROUPS:
            found += [c for c in columns if style(c).group == group and is_ranked(c)][:1]
    return found or list(columns[:6])


def primary(rows: Sequence[Row]) -> str:
    """The column that a suite's methods are first compared by; empty where none is ranked."""
    names = [c for c in columns_of(rows) if any(is_defined(row.values.get(c)) for row in rows if row.role == "method")]
    return next((column for column in leading(names) if is_ranked(column)), "")


def arranged(rows: Sequence[Row], chosen: Sequence[str]) -> list[tuple[str, str, list[Row]]]:
    """(title, note, rows) of every block: references first, then each budget and setting, its variants below it; rows
    in the order of the first leading column."""
    column = next((name for name in chosen if is_ranked(name)), "")
    apart = variants(rows)
    blocks = []
    untrained = [row for row in rows if not row.trained]
    if untrained:
        note = "not trained: trivial predictors and the truth itself, the usable range of every column"
        blocks.append(("Floors and oracles", note, untrained))
    contests = dict.fromkeys(contest(row) for row in main_rows(rows) if row.trained)
    contests |= dict.fromkeys(contest(row) for row in apart)
    for one in sorted(contests, key=contest_order):
        main = [row for row in main_rows(rows) if row.trained and contest(row) == one]
        changed = [row for row in apart if contest(row) == one]
        title = contest_title((main or changed)[0])
        if main:
            blocks.append((title, "", _ordered(main, column)))
        if changed:
            blocks.append((f"{title}: variants", UNRANKED, _ordered(changed, column)))
    return blocks


def contest_order(key: tuple[object, ...]) -> tuple[object, ...]:
    """Sort key of what ``contest`` gives: budgets that bear verdicts first, the largest first, then by setting."""
    *table, setting, budget, images = key
    return budget != "claims", budget == "custom", -int(str(images)), setting, table


def contest_title(row: Row) -> str:
    """Budget and setting that the rows of a block have in common."""
    setting = [f"{name} ({meaning(name)})" for name in row.setting]
    return ", ".join([f"budget {row.budget}, {count(row.images)} images", *setting])


def marks(row: Row) -> tuple[tuple[str, str], ...]:
    """(word, explanation) of what a reader must know of a row."""
    found = []
    if row.trained and row.role == "oracle":
        found.append(("oracle", "trained on what the setting hides from the others: a bound, without a rank"))
    if row.stale:
        told = f"the code has changed since these seeds were computed: {', '.join(map(str, row.stale))}"
        found.append(("stale", told))
    for word, seeds in (("failed", row.failed), ("skipped", row.skipped), ("corrupt", row.corrupt)):
        if seeds:
            found.append((f"{len(seeds)} {word}", f"seeds {', '.join(map(str, seeds))}; reasons stand under Endings"))
    if row.trained and len(row.done) == 1:
        found.append(("one seed", "no interval, so its rank is unknown"))
    return tuple(found)


def display_name(row: Row) -> str:
    """A row among rows of one budget and setting: its method and what was changed, with the precision where two differ
    in that alone."""
    precision = f" ({row.precision})"
    changed = f"[{', '.join(row.changes)}]" if row.changes else ""
    return f"{row.method}{changed}{precision if row.label.endswith(precision) else ''}"


def interval_text(value: Value) -> str:
    """The bootstrap interval of the mean in brackets; empty for one seed."""
    if not (math.isfinite(value.low) and math.isfinite(value.high)):
        return ""
    digits = style(value.column).digits
    return f"[{fixed(value.low, digits)}, {fixed(value.high, digits)}]"


def rank_text(rank: Rank | None) -> str:
    """The ranks that the intervals leave open; empty where they are unknown."""
    if rank is None or rank.low is None:
        return ""
    return f"{rank.low}" if rank.low == rank.high else f"{rank.low}–{rank.high}"


def _ordered(rows: Sequence[Row], column: str) -> list[Row]:
    def place(row: Row) -> tuple[bool, bool, float, str]:
        value = row.values.get(column)
        mean = value.mean if value is not None and is_defined(value) else math.inf
        return row.role == "oracle", mean == math.inf, -mean if style(column).better == "higher" else mean, row.label

    return sorted(rows, key=place)


def _column(name: str, chosen: bool) -> Column:
    metric, known = metric_of(name), style(name)
    qualifier = name.removeprefix(metric).strip("[]").replace("|", " · ")
    return Column(name, metric, qualifier, ARROWS[known.better], known.group, chosen, known.reading)


def _score(value: Value | None, rank: Rank | None, gaps: dict[str, str]) -> Score:
    if value is None:
        return Score("")
    mark = gaps.setdefault(value.note, _letters(len(gaps))) if value.note else ""
    if not math.isfinite(value.mean):
        return Score("n/a", mark=mark, note=value.note)
    digits = style(value.column).digits
    text = fixed(value.mean, digits)
    if math.isfinite(value.std):
        text += f" ± {fixed(value.std, digits)}"
    best = rank is not None and rank.best
    return Score(text, interval_text(value), rank_text(rank), best, repr(value.mean), mark, value.note)


def _cost(row: Row, unit: str) -> Score:
    known = [cost for cost in row.costs if cost.unit == unit]
    if not known:
        return Score("")
    cost = known[0]
    span = f"[{fixed(cost.least, 0)}, {fixed(cost.most, 0)}]" if cost.seeds > 1 else ""
    return Score(fixed(cost.mean, 0 if cost.mean >= 10 else 1), span, sort=repr(cost.mean))


def _parameters(row: Row) -> Score:
    known = [text for text in row.facts.get("params", ()) if text.isdigit()]
    return Score(", ".join(count(int(text)) for text in known), sort=known[0]) if known else Score("")


def _letters(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)
